// The whole run in a strip: how much happens where, what went wrong, and what is on the screen.

class Overview {
  constructor(canvas, view, painter) {
    this.canvas = canvas;
    this.view = view;
    this.painter = painter;
    this.still = document.createElement("canvas");
    this.drawnFor = "";
  }

  // Where something is in the strip.
  ofEvent(event) {
    return (this.view.ofEvent(event) / Math.max(this.view.length, 1)) * this.height;
  }

  draw() {
    const { width, height } = this.canvas.getBoundingClientRect();
    const ratio = window.devicePixelRatio || 1;
    [this.width, this.height] = [width, height];
    const [pixelsWide, pixelsHigh] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.canvas.width !== pixelsWide || this.canvas.height !== pixelsHigh) {
      [this.canvas.width, this.canvas.height] = [pixelsWide, pixelsHigh];
    }
    const { view, painter } = this;
    // What does not move with the screen is drawn anew only when something of it has changed.
    const state = [pixelsWide, pixelsHigh, view.axis, view.shown.length, view.selected, view.query,
      view.onlyPast, [...view.hidden], [...view.hiddenHosts], painter.colors["--back"]].join();
    if (state !== this.drawnFor) {
      this.drawnFor = state;
      [this.still.width, this.still.height] = [pixelsWide, pixelsHigh];
      const c = this.still.getContext("2d");
      c.setTransform(ratio, 0, 0, ratio, 0, 0);
      this.drawStill(c);
    }
    const c = this.canvas.getContext("2d");
    c.setTransform(1, 0, 0, 1, 0, 0);
    c.clearRect(0, 0, pixelsWide, pixelsHigh);
    c.drawImage(this.still, 0, 0);
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    const scale = height / Math.max(view.length, 1);
    const [top, high] = [view.top * scale, Math.max(Math.min(view.height * scale, height), 6)];
    c.fillStyle = painter.colors["--accent"];
    c.globalAlpha = 0.16;
    c.fillRect(0, top, width, high);
    c.globalAlpha = 0.8;
    c.fillRect(0, top, width, 1);
    c.fillRect(0, top + high - 1, width, 1);
    c.globalAlpha = 1;
  }

  drawStill(c) {
    const { view, painter, width, height } = this;
    const { model } = view;
    const rows = Math.ceil(height) + 1;
    const hosts = Math.max(model.hosts.length, 1);
    const [many, past] = [new Uint32Array(rows * hosts), new Uint32Array(rows * hosts)];
    const bad = new Uint8Array(rows);
    let most = 1;
    for (const event of view.shown) {
      const y = Math.min(Math.max(Math.floor(this.ofEvent(event)), 0), rows - 1);
      const place = y * hosts + model.hostOf[event];
      most = Math.max(most, ++many[place]);
      if (view.past && isPast(model, view.past, event)) past[place]++;
      const kind = KINDS[model.kindOf[event]];
      if (kind === "dropped" || kind === "report") bad[y] = 1;
    }
    const lane = (width - 24) / hosts;
    for (let y = 0; y < rows; y++) {
      for (let host = 0; host < hosts; host++) {
        const place = y * hosts + host;
        if (!many[place]) continue;
        c.globalAlpha = 0.35 + 0.65 * Math.sqrt(many[place] / most);
        c.fillStyle = painter.colors[past[place] ? "--accent" : "--soft"];
        c.fillRect(12 + host * lane, y, Math.max(lane * 0.72, 1), 1);
      }
      c.globalAlpha = 1;
      c.fillStyle = painter.colors["--bad"];
      if (bad[y]) c.fillRect(width - 9, y, 6, 1.5);
    }
    const scale = height / Math.max(view.length, 1);
    for (const bar of model.bars) {
      c.fillStyle = painter.colors[`--${bar.kind}`];
      const top = view.ofEdge(bar.from, bar.time) * scale;
      const bottom = Math.min(view.ofEdge(bar.to, bar.endTime) * scale, height);
      const x = bar.kind === "down" || bar.kind === "still" ? 2 : 6;
      c.fillRect(x, top, 3, Math.max(bottom - top, 2));
    }
    c.fillStyle = painter.colors["--late"];
    for (const event of view.matches) {
      if (view.isShown(event)) c.fillRect(width - 14, this.ofEvent(event), 4, 1.5);
    }
    if (model.found !== null) {
      c.fillStyle = painter.colors["--bad"];
      c.fillRect(0, this.ofEvent(model.found) - 1, width, 2.5);
    }
    if (view.selected >= 0) {
      c.fillStyle = painter.colors["--ink"];
      c.fillRect(0, this.ofEvent(view.selected), width, 1);
    }
  }
}
