// Draws what is on the screen, and nothing else.

const KIND_COLORS = {
  sent: "--sent", delivered: "--delivered", dropped: "--bad", copied: "--copy", corrupted: "--mark",
  late: "--late", refused: "--bad", callback: "--callback", write: "--call", control: "--call",
  fired: "--timer", set: "--timer", task: "--faint", turn: "--faint", host: "--host", mark: "--mark",
  report: "--bad", draw: "--faint",
};
const FATE_COLORS = {
  delivered: "--delivered", late: "--late", copy: "--copy", corrupted: "--mark", dropped: "--bad",
  refused: "--bad", way: "--faint",
};

const HEAD = 26;
const GUTTER = 166;
const DIM = 0.13;
// With more events than this on the screen each is a dot; with more arrows they are lines, and only
// so many are drawn.
const DETAIL_MAX = 1500;
const HEADS_MAX = 400;
const ARROWS_MAX = 4000;

class Painter {
  constructor(canvas, view) {
    this.canvas = canvas;
    this.view = view;
    this.pan = 0;
    this.seen = new Int32Array(view.model.arrows.count);
    this.frame = 0;
    this.readColors();
  }

  readColors() {
    const style = getComputedStyle(document.documentElement);
    const names = new Set([
      ...Object.values(KIND_COLORS), ...Object.values(FATE_COLORS),
      ...BARS.map((kind) => `--${kind}`),
      "--back", "--panel", "--ink", "--soft", "--line", "--lane", "--accent", "--match", "--row",
      "--select", "--state",
    ]);
    this.colors = Object.fromEntries([...names].map((name) => [name, style.getPropertyValue(name).trim()]));
    this.colors["--clock"] = this.colors["--slow"];
    this.mono = style.getPropertyValue("--mono");
    this.kindColors = KINDS.map((kind) => this.colors[KIND_COLORS[kind]]);
    this.fateColors = FATES.map((fate) => this.colors[FATE_COLORS[fate]]);
    this.hatch = null;
  }

  // Fits the drawing to the element's size.
  resize() {
    const { width, height } = this.canvas.getBoundingClientRect();
    const ratio = window.devicePixelRatio || 1;
    const [pixelsWide, pixelsHigh] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.canvas.width !== pixelsWide || this.canvas.height !== pixelsHigh) {
      this.canvas.width = pixelsWide;
      this.canvas.height = pixelsHigh;
      this.hatch = null;
    }
    [this.width, this.height, this.ratio] = [width, height, ratio];
    this.view.height = Math.max(height - HEAD, 1);
    this.placeLanes(Math.max(width - GUTTER, 100));
    this.textLeft = GUTTER + this.lanesWide + 12;
    const rest = width - this.textLeft;
    this.stateLeft = this.view.model.states.length ? this.textLeft + rest * 0.62 : width;
  }

  // Lanes on which nothing is shown, nor ends, are narrow.
  placeLanes(room) {
    const { model, isBusy } = this.view;
    const busy = Math.max(isBusy.reduce((sum, one) => sum + one, 0), 1);
    const idle = 26 * (model.hosts.length - busy);
    this.lane = Math.min(Math.max((room * 0.42 - idle) / busy, 34), 132);
    this.lefts = [0];
    for (const one of isBusy) this.lefts.push(this.lefts.at(-1) + (one ? this.lane : 26));
    this.lanesWide = Math.min(this.lefts.at(-1), room * 0.62);
    this.pan = Math.min(Math.max(this.pan, 0), this.lefts.at(-1) - this.lanesWide);
  }

  // The middle of a lane.
  x(host) {
    return GUTTER + (this.lefts[host] + this.lefts[host + 1]) / 2 - this.pan;
  }

  // Brings the lane of a host to the screen.
  revealLane(host) {
    const [left, right] = [this.lefts[host], this.lefts[host + 1]];
    this.pan = Math.max(Math.min(this.pan, left), right - this.lanesWide);
  }

  y(event) {
    return this.view.ofEvent(event) - this.view.top + HEAD;
  }

  alpha(event) {
    const { past, model } = this.view;
    return !past || isPast(model, past, event) ? 1 : DIM;
  }

  draw() {
    this.resize();
    this.frame++;
    const { view } = this;
    view.scrollTo(view.top);
    const c = this.canvas.getContext("2d", { alpha: false });
    this.c = c;
    c.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    c.fillStyle = this.colors["--back"];
    c.fillRect(0, 0, this.width, this.height);
    [this.first, this.last] = view.rows(view.top - 10, view.top + view.height + 10);
    this.isSparse = this.last - this.first <= DETAIL_MAX;
    this.drawRows();
    this.clipped(GUTTER, this.lanesWide, () => {
      this.drawLanes();
      this.drawBars();
      this.drawArrows();
      if (this.isSparse) this.drawEvents();
      else this.drawDots();
      this.drawBarLabels();
    });
    this.drawTexts();
    this.drawHead();
  }

  clipped(x, width, draw) {
    const { c } = this;
    c.save();
    c.beginPath();
    c.rect(x, HEAD, width, this.height - HEAD);
    c.clip();
    draw();
    c.restore();
    c.globalAlpha = 1;
  }

  // The backgrounds of rows: found, pointed at, selected, and the finding.
  drawRows() {
    const { c, view, colors } = this;
    const high = view.axis === "order" ? view.row : 16;
    const fill = (event, color, alpha) => {
      c.globalAlpha = alpha;
      c.fillStyle = color;
      c.fillRect(0, this.y(event) - high / 2, this.width, high);
      c.globalAlpha = 1;
    };
    if (view.isMatch && this.isSparse) {
      for (let row = this.first; row < this.last; row++) {
        if (view.isMatch[view.shown[row]]) fill(view.shown[row], colors["--match"], 0.75);
      }
    }
    if (view.hovered >= 0) fill(view.hovered, colors["--row"], 1);
    if (view.selected >= 0) fill(view.selected, colors["--select"], 1);
    const { found } = view.model;
    if (found !== null) {
      const y = this.y(found) + high / 2;
      fill(found, colors["--bad"], 0.16);
      c.fillStyle = colors["--bad"];
      c.fillRect(0, y - 1, this.width, 2);
    }
  }

  drawLanes() {
    const { c, view, colors } = this;
    c.strokeStyle = colors["--lane"];
    c.lineWidth = 1;
    c.beginPath();
    view.model.hosts.forEach((_, host) => {
      const x = Math.round(this.x(host)) + 0.5;
      c.moveTo(x, HEAD);
      c.lineTo(x, this.height);
    });
    c.stroke();
  }

  // A bar's edges on the screen, or null if it is not there.
  barEdges(bar) {
    const { view } = this;
    const top = view.ofEdge(bar.from, bar.time) - view.top + HEAD;
    const bottom = view.ofEdge(bar.to, bar.endTime) - view.top + HEAD;
    if (bottom < HEAD || top > this.height || bar.kind === "clock") return null;
    return [top, Math.max(bottom, top + 3)];
  }

  barSide(slot) {
    return 8 + slot * 6;
  }

  drawBars() {
    const { c, view, colors } = this;
    for (const bar of view.model.bars) {
      const edges = this.barEdges(bar);
      if (!edges) continue;
      const [top, bottom] = edges;
      const color = colors[`--${bar.kind}`];
      if (bar.kind === "down" || bar.kind === "still") {
        const half = Math.min(this.lane * 0.3, 16);
        const x = this.x(bar.hosts[0]);
        c.fillStyle = colors["--back"];
        c.fillRect(x - half, top, 2 * half, bottom - top);
        c.fillStyle = bar.kind === "down" ? this.hatched(color) : color;
        c.globalAlpha = bar.kind === "down" ? 1 : 0.25;
        c.fillRect(x - half, top, 2 * half, bottom - top);
        c.globalAlpha = 1;
        c.strokeStyle = color;
        c.lineWidth = 1;
        c.strokeRect(x - half, top, 2 * half, bottom - top);
      }
      c.fillStyle = color;
      for (const [host, slot] of bar.slots) {
        c.fillRect(this.x(host) + this.barSide(slot), top, 4, bottom - top);
      }
      if (bar.hosts.length === 0) c.fillRect(GUTTER + 2, top, 4, bottom - top);
    }
  }

  hatched(color) {
    if (!this.hatch) {
      const tile = document.createElement("canvas");
      tile.width = tile.height = 8;
      const c = tile.getContext("2d");
      c.strokeStyle = color;
      c.globalAlpha = 0.55;
      c.lineWidth = 1.5;
      c.beginPath();
      for (const shift of [-8, 0, 8]) {
        c.moveTo(shift, 8);
        c.lineTo(shift + 8, 0);
      }
      c.stroke();
      this.hatch = this.c.createPattern(tile, "repeat");
    }
    return this.hatch;
  }

  // The text of a bar, at its upper end or at the upper end of the screen.
  drawBarLabels() {
    const { c, view, colors } = this;
    if (this.lane < 56) return;
    c.font = `10.5px ${this.mono}`;
    c.textBaseline = "middle";
    const taken = new Map();
    for (const bar of view.model.bars) {
      const edges = this.barEdges(bar);
      if (!edges || bar.hosts.length === 0) continue;
      const host = bar.hosts[0];
      const slot = bar.slots[0]?.[1];
      const left = this.x(host) + (slot === undefined ? Math.min(this.lane * 0.3, 16) : this.barSide(slot) + 4) + 3;
      const y = Math.max(edges[0], HEAD) + 9;
      const labels = taken.get(host) ?? [];
      taken.set(host, labels);
      if (labels.some((other) => Math.abs(other - y) < 13)) continue;
      labels.push(y);
      const text = this.fitted(bar.text, this.lane * 2.4);
      c.fillStyle = colors["--back"];
      c.globalAlpha = 0.85;
      c.fillRect(left - 1, y - 7, c.measureText(text).width + 4, 14);
      c.globalAlpha = 1;
      c.fillStyle = colors[`--${bar.kind}`];
      c.fillText(text, left + 1, y);
    }
  }

  fitted(text, width, letter = 6.4) {
    const most = Math.max(Math.floor(width / letter), 2);
    return text.length > most ? `${text.slice(0, most - 1)}…` : text;
  }

  drawArrows() {
    const { view } = this;
    const { arrows } = view.model;
    if (this.first >= this.last) return;
    const firstEvent = this.first > 0 ? view.shown[this.first - 1] : 0;
    const lastEvent = this.last < view.shown.length ? view.shown[this.last] : view.model.count - 1;
    const found = [];
    const find = (arrow) => {
      if (this.seen[arrow] === this.frame || found.length === ARROWS_MAX) return;
      this.seen[arrow] = this.frame;
      if (arrows.from[arrow] > lastEvent || Math.max(arrows.to[arrow], arrows.from[arrow]) < firstEvent) return;
      const isShown = view.isShown(arrows.from[arrow]) || (arrows.to[arrow] >= 0 && view.isShown(arrows.to[arrow]));
      if (isShown) found.push(arrow);
    };
    arrows.long.forEach(find);
    const lastChunk = Math.min(Math.floor(lastEvent / CHUNK), arrows.chunks.length - 1);
    for (let chunk = Math.floor(firstEvent / CHUNK); chunk <= lastChunk && found.length < ARROWS_MAX; chunk++) {
      arrows.chunks[chunk].forEach(find);
    }
    if (found.length <= HEADS_MAX) found.forEach((arrow) => this.drawArrow(arrow, false));
    else this.drawLines(found);
    if (view.selected >= 0) this.drawSelectedArrows();
  }

  // Very many arrows: all of one fate at once, without heads.
  drawLines(found) {
    const { c, view } = this;
    const { arrows, hostOf } = view.model;
    const groups = new Map();
    for (const arrow of found) {
      const isBright = this.isBright(arrow);
      const key = arrows.fate[arrow] * 2 + Number(isBright);
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(arrow);
    }
    c.lineWidth = 0.8;
    for (const [key, group] of groups) {
      c.globalAlpha = key % 2 ? 0.6 : DIM;
      c.strokeStyle = this.fateColors[key >> 1];
      c.beginPath();
      for (const arrow of group) {
        const [from, to, target] = [arrows.from[arrow], arrows.to[arrow], arrows.host[arrow]];
        const fromX = this.x(hostOf[from]);
        const fromY = this.y(from);
        c.moveTo(fromX, fromY);
        c.lineTo(this.endOfArrow(arrow, fromX, target >= 0 ? this.x(target) : fromX + this.lane * 0.6), to >= 0 ? this.y(to) : fromY + 18);
      }
      c.stroke();
    }
    c.globalAlpha = 1;
  }

  // True unless an arrow is dimmed: what is selected has nothing to do with it.
  isBright(arrow) {
    const { past, model } = this.view;
    const { from, to, fate } = model.arrows;
    if (!past) return true;
    if (!isPast(model, past, from[arrow])) return false;
    return to[arrow] < 0 || fate[arrow] === FATE.dropped || isPast(model, past, to[arrow]);
  }

  // The arrows of the selected event, in strong lines; and from a timer's setting to its firing.
  drawSelectedArrows() {
    const { view } = this;
    const { model, selected } = view;
    for (const arrow of [model.arrowTo[selected], model.arrowFrom[selected]]) {
      if (arrow >= 0) this.drawArrow(arrow, true);
    }
    const [set, fired] = model.setBy[selected] >= 0 ? [model.setBy[selected], selected] : [selected, model.firedAt[selected]];
    if (fired < 0) return;
    const { c } = this;
    const x = this.x(model.hostOf[selected]);
    const [top, bottom] = [this.y(set), this.y(fired)];
    const out = Math.min(this.lane * 0.45, 26);
    c.strokeStyle = this.colors["--timer"];
    c.lineWidth = 1.5;
    c.setLineDash([3, 3]);
    c.beginPath();
    c.moveTo(x - 5, top);
    c.bezierCurveTo(x - out, top, x - out, top, x - out, Math.min(top + 20, (top + bottom) / 2));
    c.lineTo(x - out, Math.max(bottom - 20, (top + bottom) / 2));
    c.bezierCurveTo(x - out, bottom, x - out, bottom, x - 5, bottom);
    c.stroke();
    c.setLineDash([]);
  }

  drawArrow(arrow, isStrong) {
    const { c, view } = this;
    const { arrows, hostOf } = view.model;
    const [from, to, fate] = [arrows.from[arrow], arrows.to[arrow], arrows.fate[arrow]];
    const [fromX, fromY] = [this.x(hostOf[from]), this.y(from)];
    const target = arrows.host[arrow];
    const targetX = target >= 0 ? this.x(target) : fromX + this.lane * 0.6;
    const toX = this.endOfArrow(arrow, fromX, targetX);
    const toY = to >= 0 ? this.y(to) : fromY + 18;
    const past = view.past;
    const isBright = this.isBright(arrow);
    c.globalAlpha = isStrong ? 1 : isBright ? (past ? 0.95 : 0.8) : DIM;
    c.strokeStyle = c.fillStyle = this.fateColors[fate];
    c.lineWidth = isStrong ? 2.6 : past && isBright ? 1.6 : 1.1;
    if (fate === FATE.copy || fate === FATE.way) c.setLineDash([5, 3]);
    else if (fate === FATE.dropped) c.setLineDash([3, 2]);
    c.beginPath();
    if (target === hostOf[from]) {
      // To itself: around the right side of the lane.
      const out = fromX + Math.min(this.lane * 0.42, 30);
      c.moveTo(fromX, fromY);
      c.bezierCurveTo(out, fromY, out, toY, fromX + 4, toY);
    } else {
      c.moveTo(fromX, fromY);
      c.lineTo(toX, toY);
    }
    c.stroke();
    c.setLineDash([]);
    if (fate === FATE.dropped) this.cross(toX, toY, isStrong ? 5.5 : 4.5);
    else if (fate !== FATE.way) this.head(fromX, fromY, toX, toY, target === hostOf[from], fate);
    c.globalAlpha = 1;
  }

  // Where an arrow ends: what is dropped ends near the host that it is dropped on.
  endOfArrow(arrow, fromX, targetX) {
    const { arrows, hostOf } = this.view.model;
    const [from, to, fate] = [arrows.from[arrow], arrows.to[arrow], arrows.fate[arrow]];
    if (fate === FATE.way) return fromX + (targetX - fromX) * 0.3;
    if (fate !== FATE.dropped) return targetX;
    if (hostOf[to] === hostOf[from]) return fromX + Math.sign(targetX - fromX) * Math.min(Math.abs(targetX - fromX) * 0.35, 44);
    return targetX - Math.sign(targetX - fromX) * 9;
  }

  head(fromX, fromY, toX, toY, isLoop, fate) {
    const { c } = this;
    const angle = isLoop ? Math.PI : Math.atan2(toY - fromY, toX - fromX);
    const [tipX, tipY] = [toX - 4 * Math.cos(angle), toY - 4 * Math.sin(angle)];
    c.beginPath();
    c.moveTo(tipX, tipY);
    for (const side of [0.42, -0.42]) {
      c.lineTo(tipX - 8 * Math.cos(angle + side), tipY - 8 * Math.sin(angle + side));
    }
    c.closePath();
    if (fate === FATE.refused) {
      c.lineWidth = 1.2;
      c.stroke();
    } else {
      c.fill();
    }
  }

  cross(x, y, size) {
    const { c } = this;
    c.lineWidth = 2.2;
    c.beginPath();
    c.moveTo(x - size, y - size);
    c.lineTo(x + size, y + size);
    c.moveTo(x + size, y - size);
    c.lineTo(x - size, y + size);
    c.stroke();
  }

  drawEvents() {
    const { c, view } = this;
    for (let row = this.first; row < this.last; row++) {
      const event = view.shown[row];
      c.globalAlpha = this.alpha(event);
      this.drawEvent(event, this.x(view.model.hostOf[event]), this.y(event));
    }
    if (view.selected >= 0) {
      c.globalAlpha = 1;
      c.strokeStyle = this.colors["--accent"];
      c.lineWidth = 2;
      c.beginPath();
      c.arc(this.x(view.model.hostOf[view.selected]), this.y(view.selected), 8, 0, 7);
      c.stroke();
    }
  }

  drawEvent(event, x, y) {
    const { c, view } = this;
    const kind = view.model.kindOf[event];
    const size = Math.min(Math.max(view.axis === "order" ? view.row / 5.5 : 3.6, 1.6), 4.2);
    c.fillStyle = c.strokeStyle = this.kindColors[kind];
    c.lineWidth = 1.4;
    c.beginPath();
    switch (KINDS[kind]) {
      case "sent":
        c.arc(x, y, size, 0, 7);
        c.save();
        c.fillStyle = this.colors["--back"];
        c.fill();
        c.restore();
        c.stroke();
        return;
      case "callback":
        c.rect(x - size, y - size, 2 * size, 2 * size);
        break;
      case "fired":
      case "set":
        c.moveTo(x, y - size - 1);
        c.lineTo(x + size + 1, y);
        c.lineTo(x, y + size + 1);
        c.lineTo(x - size - 1, y);
        c.closePath();
        if (KINDS[kind] === "set") {
          c.stroke();
          return;
        }
        break;
      case "write":
      case "control":
        c.moveTo(x - size, y - size);
        c.lineTo(x + size, y);
        c.lineTo(x - size, y + size);
        c.closePath();
        break;
      case "host":
      case "mark":
      case "report":
        c.rect(x - size - 1.5, y - size - 0.5, 2 * size + 3, 2 * size + 1);
        break;
      case "task":
      case "turn":
      case "draw":
        c.arc(x, y, size / 2, 0, 7);
        break;
      case "dropped":
        c.arc(x, y, size * 0.7, 0, 7);
        break;
      default:
        c.arc(x, y, size, 0, 7);
    }
    c.fill();
  }

  // So many events that each is a dot, and one dot stands for all of its place.
  drawDots() {
    const { c, view } = this;
    const high = Math.ceil(this.height) + 1;
    const seen = new Uint8Array(view.model.hosts.length * high);
    for (let row = this.first; row < this.last; row++) {
      const event = view.shown[row];
      const y = Math.round(this.y(event));
      const host = view.model.hostOf[event];
      if (y < 0 || y >= high || seen[host * high + y]) continue;
      seen[host * high + y] = 1;
      c.globalAlpha = this.alpha(event);
      c.fillStyle = this.kindColors[view.model.kindOf[event]];
      c.fillRect(this.x(host) - 4, y - 0.5, 8, 1);
    }
  }

  // Steps and times on the left, records and states on the right, where there is room.
  drawTexts() {
    const { c, view, colors } = this;
    const { model } = view;
    const high = view.axis === "order" ? view.row : 14;
    if (high < 11 && view.axis === "order") return;
    c.textBaseline = "middle";
    const rows = [];
    let lastY = -Infinity;
    for (let row = this.first; row < this.last; row++) {
      const event = view.shown[row];
      const y = this.y(event);
      const isWanted = event === view.selected || event === view.hovered;
      if (view.axis === "time" && y - lastY < 13 && !isWanted) continue;
      if (view.axis === "time" && isWanted && y - lastY < 13) rows.pop();
      lastY = y;
      rows.push([event, y]);
    }
    const column = (left, right, wanted, draw) => {
      if (right <= left) return;
      this.clipped(left, right - left, () => rows.forEach(([event, y]) => {
        if (!wanted(event)) return;
        c.globalAlpha = Math.max(this.alpha(event), 0.28);
        draw(event, y);
      }));
    };
    const [always, hasState] = [() => true, (event) => model.stateAt[event] >= 0];
    c.font = `11.5px ${this.mono}`;
    c.textAlign = "right";
    column(0, GUTTER - 2, always, (event, y) => {
      c.fillStyle = colors["--soft"];
      c.fillText(String(stepOf(model, event)), 58, y);
      c.fillText(timeOf(model, event), GUTTER - 10, y);
    });
    c.textAlign = "left";
    const drawRecord = (event, y) => {
      // The lane tells the host too, so its name goes first where there is little room.
      const names = this.stateLeft - this.textLeft > 520 ? this.nameWide() : 0;
      c.fillStyle = colors["--soft"];
      if (names > 0) c.fillText(this.fitted(model.hosts[model.hostOf[event]], names), this.textLeft, y);
      c.fillStyle = this.isQuiet(event) ? colors["--soft"] : this.textColor(event);
      c.fillText(textOf(model, event), this.textLeft + names, y);
    };
    // Without a state beside it a record has all the room.
    column(this.textLeft, this.stateLeft - 10, hasState, drawRecord);
    column(this.textLeft, this.width, (event) => !hasState(event), drawRecord);
    column(this.stateLeft, this.width, hasState, (event, y) => {
      const said = statesAt(model, event);
      c.fillStyle = colors["--state"];
      c.fillText(said.map(([, text]) => text).join(" · "), this.stateLeft, y);
    });
  }

  // How wide the names of hosts are, so that what stands behind them is aligned.
  nameWide() {
    if (this.nameFont !== this.c.font) {
      this.nameFont = this.c.font;
      const names = this.view.model.hosts.map((name) => this.c.measureText(`${name} `).width);
      this.nameWidth = Math.min(Math.max(...names, 0), 110);
    }
    return this.nameWidth;
  }

  isQuiet(event) {
    return KIND_COLORS[KINDS[this.view.model.kindOf[event]]] === "--faint";
  }

  textColor(event) {
    const color = KIND_COLORS[KINDS[this.view.model.kindOf[event]]];
    return ["--bad", "--late", "--copy", "--mark"].includes(color) ? this.colors[color] : this.colors["--ink"];
  }

  drawHead() {
    const { c, view, colors } = this;
    c.fillStyle = colors["--panel"];
    c.fillRect(0, 0, this.width, HEAD);
    c.fillStyle = colors["--line"];
    c.fillRect(0, HEAD - 1, this.width, 1);
    c.textBaseline = "middle";
    c.font = `600 11.5px ${this.mono}`;
    const y = HEAD / 2;
    c.fillStyle = colors["--soft"];
    c.textAlign = "right";
    c.fillText("step", 58, y);
    c.fillText("time", GUTTER - 10, y);
    c.textAlign = "left";
    c.fillText("record", this.textLeft, y);
    if (this.stateLeft < this.width) c.fillText("state", this.stateLeft, y);
    c.save();
    c.beginPath();
    c.rect(GUTTER, 0, this.lanesWide, HEAD);
    c.clip();
    c.textAlign = "center";
    view.model.hosts.forEach((name, host) => {
      const isHidden = view.hiddenHosts.has(host);
      c.fillStyle = isHidden ? colors["--lane"] : colors["--ink"];
      const wide = this.lefts[host + 1] - this.lefts[host] - 4;
      c.font = `600 ${wide < 7 * name.length ? 10 : 11.5}px ${this.mono}`;
      const text = this.fitted(name, wide, wide < 7 * name.length ? 6 : 6.95);
      c.fillText(text, this.x(host), y);
      if (isHidden) c.fillRect(this.x(host) - c.measureText(text).width / 2, y, c.measureText(text).width, 1);
    });
    c.restore();
  }

  // The host whose lane is at a place, or -1.
  hostAt(x) {
    if (x < GUTTER || x > GUTTER + this.lanesWide) return -1;
    return this.lefts.findIndex((left) => left > x - GUTTER + this.pan) - 1;
  }

  // The event at a place: that of the row, or the nearest on the axis of time.
  eventAt(x, y) {
    const { view } = this;
    const place = y - HEAD + view.top;
    if (y < HEAD) return -1;
    if (view.axis === "order") return view.shown[Math.floor(place / view.row)] ?? -1;
    let [best, least] = [-1, Infinity];
    const [first, last] = view.rows(place - 9, place + 9);
    for (let row = first; row < last; row++) {
      const event = view.shown[row];
      const across = x > GUTTER && x < GUTTER + this.lanesWide ? Math.abs(this.x(view.model.hostOf[event]) - x) / 4 : 0;
      const distance = across + Math.abs(view.ofEvent(event) - place);
      if (distance < least) [best, least] = [event, distance];
    }
    return best;
  }
}
