// Puts the parts together, and takes what the reader does.

class App {
  constructor(model) {
    const by = (id) => document.getElementById(id);
    this.by = by;
    this.model = model;
    this.view = new View(model);
    this.painter = new Painter(by("lanes"), this.view);
    this.overview = new Overview(by("overview"), this.view, this.painter);
    this.panel = new Panel(by("details"), this.view, (event) => this.select(event));
    this.panel.toggleOnlyPast = () => this.toggleOnlyPast();
    this.isDue = false;
    this.showHead();
    this.showFilters();
    this.listen();
    this.draw();
    this.openLink();
  }

  // Draws, once for all that happens before the next frame.
  refresh() {
    if (this.isDue) return;
    this.isDue = true;
    requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.isDue = false;
    this.painter.draw();
    this.overview.draw();
    this.panel.draw();
    const { view, by } = this;
    const place = view.matches.indexOf(view.selected);
    by("found").value = view.query ? (place >= 0 ? `${place + 1} of ${view.matches.length}` : `${view.matches.length} found`) : "";
    by("byOrder").setAttribute("aria-pressed", view.axis === "order");
    by("byTime").setAttribute("aria-pressed", view.axis === "time");
  }

  select(event) {
    this.view.select(event);
    if (event >= 0) this.painter.revealLane(this.model.hostOf[event]);
    this.refresh();
  }

  showHead() {
    const { model, by } = this;
    const hosts = model.hosts.length;
    by("facts").textContent =
      `${model.count.toLocaleString("en")} events on ${hosts} hosts, ${timeText(model.end)} virtual, trace hash ${model.hash}`;
    by("notes").append(...model.notes.map((note) => element("code", {}, note)));
    if (model.finding !== null) {
      by("finding").textContent = model.finding;
      by("finding").hidden = false;
      by("finding").onclick = () => this.select(model.found);
    }
    this.showFaults();
  }

  // The plan, and what happened of it and beside it; a click goes there.
  showFaults() {
    const { model, by } = this;
    const most = 200;
    const chip = (text, time, color, onclick) => element("button", { type: "button", style: `--kind: var(${color})`, onclick },
      element("time", {}, time ? `${timeText(time).slice(0, -4)} ` : ""), text);
    const plan = model.planTexts.map((text, entry) => {
      const [seconds, nanos] = model.planTimes[entry];
      const time = seconds * 1e9 + nanos;
      return chip(text, null, "--accent", () => seconds !== undefined && this.goToTime(time));
    });
    const faults = model.bars.map((bar) => chip(bar.text, bar.began, `--${bar.kind === "clock" ? "slow" : bar.kind}`, () => this.goToBar(bar)));
    const kinds = ["dropped", "copied", "corrupted", "late", "refused"];
    const single = [];
    for (let event = 0; event < model.count && single.length <= most; event++) {
      const kind = KINDS[model.kindOf[event]];
      if (kinds.includes(kind)) {
        single.push(chip(textOf(model, event), [model.seconds[event], model.nanos[event]], KIND_COLORS[kind], () => this.select(event)));
      }
    }
    // Where packets are lost all the time, a list of them helps nobody: there is the filter.
    const groups = [["plan", plan], ["faults", faults.slice(0, most)], ["packets", single.length > most ? [] : single]];
    for (const [name, chips] of groups) {
      if (chips.length) by("faults").append(element("span", {}, name), ...chips);
    }
  }

  goToBar(bar) {
    const { view, model } = this;
    const of = (event) => bar.hosts.length === 0 || bar.hosts.includes(model.hostOf[event]);
    let row = view.rowOf[Math.min(bar.from, model.count)];
    while (row < view.shown.length && !of(view.shown[row])) row++;
    this.select(view.shown[row] ?? view.shown[view.shown.length - 1] ?? -1);
  }

  goToTime(time) {
    const { view, model } = this;
    const row = lowerBound(view.shown.length, (row) => model.time[view.shown[row]] >= time);
    this.select(view.shown[Math.min(row, view.shown.length - 1)] ?? -1);
  }

  showFilters() {
    const { model, view } = this;
    const counts = new Uint32Array(KINDS.length);
    model.kindOf.forEach((kind) => counts[kind]++);
    const chips = FILTERS.map(({ name, color, kinds }) => {
      const count = kinds.reduce((sum, kind) => sum + counts[KIND[kind]], 0);
      if (count === 0) return null;
      const made = element("button", { type: "button", "data-filter": name, style: `--kind: var(${color})`, "aria-pressed": String(!view.hidden.has(name)) },
        `${name} `, element("small", {}, count.toLocaleString("en")));
      made.onclick = () => this.toggleFilter(name, made);
      return made;
    });
    this.by("filters").append(...chips.filter((made) => made));
  }

  toggleFilter(name, made) {
    const { view } = this;
    const isShown = view.hidden.delete(name);
    if (!isShown) view.hidden.add(name);
    made.setAttribute("aria-pressed", String(isShown));
    view.anchored(() => view.refilter());
    this.refresh();
  }

  toggleHost(host) {
    const { view } = this;
    if (!view.hiddenHosts.delete(host)) view.hiddenHosts.add(host);
    view.anchored(() => view.refilter());
    this.refresh();
  }

  toggleOnlyPast() {
    const { view } = this;
    if (!view.past) return;
    view.onlyPast = !view.onlyPast;
    view.anchored(() => view.refilter());
    this.refresh();
  }

  search(query) {
    this.view.search(query);
    const { view } = this;
    if (view.matches.length && !view.matches.some((event) => view.isOnScreen(event))) {
      const match = view.nextMatch(1);
      view.reveal(match);
    }
    this.refresh();
  }

  goToMatch(direction) {
    const match = this.view.nextMatch(direction);
    if (match >= 0) this.select(match);
  }

  setAxis(axis) {
    this.view.setAxis(axis);
    this.refresh();
  }

  zoom(factor) {
    this.view.zoom(factor);
    this.refresh();
  }

  listen() {
    const { by, view } = this;
    const lanes = by("lanes");
    lanes.addEventListener("click", (click) => this.click(click.offsetX, click.offsetY));
    lanes.addEventListener("mousemove", (move) => this.point(move.offsetX, move.offsetY));
    lanes.addEventListener("mouseleave", () => this.point(-1, -1));
    lanes.addEventListener("wheel", (wheel) => this.wheel(wheel), { passive: false });
    by("search").addEventListener("input", () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.search(by("search").value), this.model.count > 20000 ? 150 : 0);
    });
    by("next").onclick = () => this.goToMatch(1);
    by("previous").onclick = () => this.goToMatch(-1);
    by("onlyMatches").onchange = (change) => {
      view.onlyMatches = change.target.checked;
      view.anchored(() => view.refilter());
      this.refresh();
    };
    by("byOrder").onclick = () => this.setAxis("order");
    by("byTime").onclick = () => this.setAxis("time");
    by("in").onclick = () => this.zoom(1.5);
    by("out").onclick = () => this.zoom(1 / 1.5);
    document.addEventListener("keydown", (key) => this.key(key));
    const drag = (move) => {
      if (move.buttons & 1) {
        const share = move.offsetY / Math.max(by("overview").clientHeight, 1);
        view.scrollTo(share * view.length - view.height / 2);
        this.refresh();
      }
    };
    by("overview").addEventListener("pointerdown", (down) => {
      by("overview").setPointerCapture(down.pointerId);
      drag(down);
    });
    by("overview").addEventListener("pointermove", drag);
    // At once: a frame in between would show the old one, stretched.
    new ResizeObserver(() => this.draw()).observe(by("stage"));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.painter.readColors();
      this.refresh();
    });
    window.addEventListener("hashchange", () => this.openLink());
  }

  // `#step=17` opens the page at a step, `#step=17&axis=time` on the other axis.
  openLink() {
    const link = new URLSearchParams(location.hash.slice(1));
    if (link.get("axis") === "time") this.setAxis("time");
    const event = link.has("step") ? Number(link.get("step")) - this.model.first : -1;
    if (event >= 0 && event < this.model.count) this.select(event);
    else if (this.model.found !== null) {
      this.view.reveal(this.model.found);
      this.refresh();
    }
  }

  click(x, y) {
    const host = y < HEAD ? this.painter.hostAt(x) : -1;
    if (host >= 0) this.toggleHost(host);
    else if (y >= HEAD) this.select(this.painter.eventAt(x, y));
  }

  point(x, y) {
    const { view, model, by } = this;
    const event = x < 0 ? -1 : this.painter.eventAt(x, y);
    const tip = by("tip");
    tip.hidden = event < 0 || x > this.painter.textLeft;
    if (!tip.hidden) {
      const said = statesAt(model, event).map(([connection, text]) => element("div", {}, `state of #${connection}: ${text}`));
      tip.replaceChildren(
        element("div", {}, `${timeOf(model, event)}  ${model.hosts[model.hostOf[event]]}  #${stepOf(model, event)}`),
        element("div", { style: "color: var(--ink)" }, textOf(model, event)), ...said);
      tip.style.left = `${Math.min(x + 16, Math.max(this.painter.width - 320, 0))}px`;
      const isLow = y > this.painter.height - 110;
      tip.style.top = isLow ? "auto" : `${y + 16}px`;
      tip.style.bottom = isLow ? `${this.painter.height - y + 10}px` : "auto";
    }
    if (event !== view.hovered) {
      view.hovered = event;
      this.refresh();
    }
  }

  wheel(wheel) {
    wheel.preventDefault();
    const unit = wheel.deltaMode === 1 ? 20 : wheel.deltaMode === 2 ? this.view.height : 1;
    if (wheel.ctrlKey || wheel.metaKey) return this.zoom(wheel.deltaY < 0 ? 1.15 : 1 / 1.15);
    const across = wheel.shiftKey ? wheel.deltaY : wheel.deltaX;
    this.painter.pan += across * unit;
    if (!wheel.shiftKey) this.view.scrollTo(this.view.top + wheel.deltaY * unit);
    this.refresh();
  }

  // The other end of a packet, or of a timer.
  other(event) {
    const { model } = this;
    const { arrows } = model;
    if (model.arrowTo[event] >= 0) return arrows.from[model.arrowTo[event]];
    if (model.arrowFrom[event] >= 0) return arrows.to[model.arrowFrom[event]];
    return Math.max(model.setBy[event], model.firedAt[event]);
  }

  key(key) {
    const { view, by } = this;
    const isTyping = key.target === by("search");
    if (key.key === "Escape") {
      if (isTyping || view.query) {
        by("search").value = "";
        this.search("");
        by("lanes").focus();
      } else {
        this.select(-1);
      }
      return key.preventDefault();
    }
    if (isTyping && key.key === "Enter") {
      clearTimeout(this.typing);
      if (by("search").value.trim() !== view.query) this.search(by("search").value);
      this.goToMatch(key.shiftKey ? -1 : 1);
      return key.preventDefault();
    }
    if (isTyping || key.ctrlKey || key.metaKey || key.altKey) return;
    const isOnButton = key.target instanceof HTMLButtonElement && (key.key === "Enter" || key.key === " ");
    if (isOnButton) return;
    const step = (direction, isOfHost) => () => {
      const event = view.neighbour(direction, isOfHost);
      if (event >= 0) this.select(event);
    };
    const scroll = (by) => () => {
      view.scrollTo(view.top + by);
      this.refresh();
    };
    const actions = {
      ArrowDown: step(1, false),
      ArrowUp: step(-1, false),
      ArrowRight: step(1, true),
      ArrowLeft: step(-1, true),
      PageDown: scroll(view.height * 0.9),
      PageUp: scroll(-view.height * 0.9),
      Home: scroll(-Infinity),
      End: scroll(Infinity),
      Enter: () => {
        const event = view.selected >= 0 ? this.other(view.selected) : -1;
        if (event >= 0) this.select(event);
      },
      "/": () => by("search").focus(),
      n: () => this.goToMatch(1),
      N: () => this.goToMatch(-1),
      c: () => this.toggleOnlyPast(),
      t: () => this.setAxis(view.axis === "order" ? "time" : "order"),
      x: () => this.model.found !== null && this.select(this.model.found),
      "+": () => this.zoom(1.5),
      "=": () => this.zoom(1.5),
      "-": () => this.zoom(1 / 1.5),
    };
    if (Object.hasOwn(actions, key.key)) {
      actions[key.key]();
      key.preventDefault();
    }
  }
}

const began = performance.now();
const app = new App(decode(JSON.parse(document.getElementById("data").textContent)));
document.documentElement.dataset.loaded = `${Math.round(performance.now() - began)} ms`;
