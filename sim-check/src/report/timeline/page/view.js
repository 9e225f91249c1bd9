// What is shown of the run, and where: filters, search, selection, and the two axes.

// The filters, with the kinds of records that each is about. The last are off at first: what
// happens all the time.
const FILTERS = [
  { name: "packets", color: "--sent", kinds: ["sent", "delivered", "late", "refused"] },
  { name: "packet faults", color: "--bad", kinds: ["dropped", "copied", "corrupted"] },
  { name: "callbacks", color: "--callback", kinds: ["callback"] },
  { name: "calls", color: "--call", kinds: ["write", "control"] },
  { name: "timers", color: "--timer", kinds: ["fired"] },
  { name: "hosts", color: "--host", kinds: ["host"] },
  { name: "marks", color: "--mark", kinds: ["mark", "report"] },
  { name: "timers set", color: "--timer", kinds: ["set"], isOff: true },
  { name: "tasks", color: "--faint", kinds: ["task"], isOff: true },
  { name: "turns", color: "--faint", kinds: ["turn"], isOff: true },
  { name: "draws", color: "--faint", kinds: ["draw"], isOff: true },
];

const ROW_MIN = 3;
const ROW_MAX = 40;

class View {
  constructor(model) {
    this.model = model;
    this.axis = "order";
    this.row = 20;
    this.top = 0;
    this.height = 1;
    this.selected = -1;
    this.hovered = -1;
    this.past = null;
    this.onlyPast = false;
    this.onlyMatches = false;
    this.query = "";
    this.matches = [];
    this.isMatch = null;
    this.hidden = new Set(FILTERS.filter((filter) => filter.isOff).map(({ name }) => name));
    this.hiddenHosts = new Set();
    const span = model.count ? model.time[model.count - 1] - model.time[0] : 0;
    this.span = Math.max(span, 1);
    this.refilter();
    this.perPixel = Math.max(this.span / Math.max(this.shown.length * 2, 600), 0.01);
  }

  // Which events are shown, and how many of them are before each event.
  refilter() {
    const { model } = this;
    const wanted = new Uint8Array(KINDS.length);
    for (const { name, kinds } of FILTERS) {
      if (!this.hidden.has(name)) kinds.forEach((kind) => (wanted[KIND[kind]] = 1));
    }
    const shown = new Int32Array(model.count);
    this.rowOf = new Int32Array(model.count + 1);
    let count = 0;
    for (let event = 0; event < model.count; event++) {
      this.rowOf[event] = count;
      const isShown =
        wanted[model.kindOf[event]] &&
        !this.hiddenHosts.has(model.hostOf[event]) &&
        !(this.onlyMatches && this.isMatch && !this.isMatch[event]) &&
        !(this.onlyPast && this.past && !isPast(model, this.past, event));
      // What is selected is shown, and what was found.
      if (isShown || event === this.selected || event === model.found) shown[count++] = event;
    }
    this.rowOf[model.count] = count;
    this.shown = shown.subarray(0, count);
    this.isBusy = new Uint8Array(model.hosts.length);
    for (const event of this.shown) this.isBusy[model.hostOf[event]] = 1;
  }

  isShown(event) {
    return this.shown[this.rowOf[event]] === event;
  }

  // Where things are, in pixels from the top of all.

  get length() {
    return this.axis === "order" ? this.shown.length * this.row : this.span / this.perPixel + 40;
  }

  ofTime(time) {
    return (time - (this.model.time[0] ?? 0)) / this.perPixel + 20;
  }

  ofEvent(event) {
    if (this.axis === "time") return this.ofTime(this.model.time[event]);
    const middle = this.isShown(event) ? 0.5 : 0;
    return (this.rowOf[event] + middle) * this.row;
  }

  // The edge of a bar: a time, or the place of the first event after it.
  ofEdge(place, time) {
    if (this.axis === "time") return time === Infinity ? this.length : this.ofTime(time);
    return this.rowOf[Math.min(place, this.model.count)] * this.row;
  }

  // The first of the shown events at or below a place.
  firstBelow(y) {
    if (this.axis === "order") {
      return Math.min(Math.max(Math.floor(y / this.row), 0), this.shown.length);
    }
    return lowerBound(this.shown.length, (row) => this.ofEvent(this.shown[row]) >= y);
  }

  // The rows of the shown events between two places.
  rows(from, to) {
    if (this.axis === "order") {
      return [this.firstBelow(from), Math.min(Math.ceil(to / this.row), this.shown.length)];
    }
    return [this.firstBelow(from), this.firstBelow(to)];
  }

  scrollTo(top) {
    this.top = Math.min(Math.max(top, 0), Math.max(this.length - this.height, 0));
  }

  // Scrolls as little as needed, or to the middle if it is far.
  reveal(event) {
    const y = this.ofEvent(event);
    const margin = Math.min(60, this.height / 4);
    if (y < this.top - this.height || y > this.top + 2 * this.height) {
      this.scrollTo(y - this.height / 2);
    } else if (y < this.top + margin) {
      this.scrollTo(y - margin);
    } else if (y > this.top + this.height - margin) {
      this.scrollTo(y - this.height + margin);
    }
  }

  // Keeps what is in the middle, or selected, where it is while `change` moves everything.
  anchored(change) {
    const selected = this.selected >= 0 && this.isOnScreen(this.selected) ? this.selected : -1;
    const middle = this.shown[Math.min(this.firstBelow(this.top + this.height / 2), this.shown.length - 1)];
    const anchor = selected >= 0 ? selected : middle;
    const offset = anchor === undefined ? 0 : this.ofEvent(anchor) - this.top;
    change();
    if (anchor !== undefined) this.scrollTo(this.ofEvent(anchor) - offset);
  }

  isOnScreen(event) {
    const y = this.ofEvent(event) - this.top;
    return y >= 0 && y <= this.height;
  }

  setAxis(axis) {
    this.anchored(() => (this.axis = axis));
  }

  zoom(factor) {
    this.anchored(() => {
      if (this.axis === "order") {
        this.row = Math.min(Math.max(this.row * factor, ROW_MIN), ROW_MAX);
      } else {
        const whole = this.span / Math.max(this.height - 40, 1);
        this.perPixel = Math.min(Math.max(this.perPixel / factor, 0.01), Math.max(whole, 0.01));
      }
    });
  }

  select(event) {
    const wasOnlyPast = this.onlyPast;
    this.selected = event;
    this.past = event >= 0 ? pastOf(this.model, event) : null;
    if (event < 0) this.onlyPast = false;
    if (wasOnlyPast || event < 0 || !this.isShown(event)) this.anchored(() => this.refilter());
    if (event >= 0) this.reveal(event);
  }

  // The next shown event in a direction, on the same host if asked.
  neighbour(direction, isOfHost) {
    const { model, shown } = this;
    if (this.selected < 0) return shown[this.firstBelow(this.top + 1)] ?? -1;
    const host = model.hostOf[this.selected];
    let row = this.rowOf[this.selected] + direction;
    while (isOfHost && row >= 0 && row < shown.length && model.hostOf[shown[row]] !== host) {
      row += direction;
    }
    return shown[row] ?? -1;
  }

  // Finds the events whose text, host or state has the words of a query.
  search(query) {
    const { model } = this;
    this.query = query.trim();
    this.matches = [];
    this.isMatch = null;
    const wanted = this.query.toLowerCase();
    const step = /^#(\d+)$/.exec(wanted);
    if (wanted) {
      this.isMatch = new Uint8Array(model.count);
      const states = model.stateTexts.map((text) => text.toLowerCase().includes(wanted));
      const hosts = model.hosts.map((name) => name.toLowerCase() === wanted);
      for (let event = 0; event < model.count; event++) {
        const isMatch = step
          ? stepOf(model, event) === Number(step[1])
          : hosts[model.hostOf[event]] || textOf(model, event).toLowerCase().includes(wanted);
        if (isMatch) this.isMatch[event] = 1;
      }
      for (let place = 0; !step && place < model.states.length; place += 3) {
        if (states[model.states[place + 2]]) this.isMatch[model.states[place]] = 1;
      }
      for (let event = 0; event < model.count; event++) {
        if (this.isMatch[event]) this.matches.push(event);
      }
    }
    if (this.onlyMatches) this.anchored(() => this.refilter());
  }

  // The next match in a direction from what is selected, or from what is on the screen.
  nextMatch(direction) {
    const { matches } = this;
    if (matches.length === 0) return -1;
    const here = this.selected >= 0 ? this.selected : (this.shown[this.firstBelow(this.top)] ?? 0) - 1;
    const after = lowerBound(matches.length, (place) => matches[place] > here);
    const before = lowerBound(matches.length, (place) => matches[place] >= here) - 1;
    const place = direction > 0 ? after : before;
    return matches[(place + matches.length) % matches.length];
  }
}

// The first of so many places for which `isBehind` holds, as it does for all later ones.
function lowerBound(count, isBehind) {
  let [low, high] = [0, count];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isBehind(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}
