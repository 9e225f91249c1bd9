// What stands beside the lanes: all that is known of the selected event, or else how to read them.

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") made.onclick = value;
    else if (name === "style") made.style.cssText = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

class Panel {
  constructor(container, view, go) {
    this.container = container;
    this.view = view;
    this.go = go;
    this.shownFor = undefined;
  }

  draw() {
    const { view } = this;
    const state = `${view.selected},${view.onlyPast}`;
    if (state === this.shownFor) return;
    this.shownFor = state;
    this.container.replaceChildren(...(view.selected < 0 ? this.legend() : this.event(view.selected)));
    this.container.scrollTop = 0;
  }

  link(event, text) {
    const { model } = this.view;
    const label = text ?? `#${stepOf(model, event)}`;
    return element("button", { class: "go", type: "button", title: textOf(model, event), onclick: () => this.go(event) }, label);
  }

  list(pairs) {
    const rows = pairs.filter(([, value]) => value !== null && value !== undefined);
    return element("dl", {}, ...rows.flatMap(([name, value]) => [
      element("dt", {}, name),
      element("dd", {}, ...(Array.isArray(value) ? value : [value])),
    ]));
  }

  event(event) {
    const { model } = this.view;
    const host = model.hostOf[event];
    const parts = [
      element("h2", {}, `Step ${stepOf(model, event)}`),
      element("p", { class: "record" }, textOf(model, event)),
      this.list([
        ["time", timeOf(model, event)],
        ["host", model.hosts[host]],
        ["before", model.before[event] >= 0 ? [this.link(model.before[event]), ` on ${model.hosts[host]}`] : null],
        ["after", model.after[event] >= 0 ? [this.link(model.after[event]), ` on ${model.hosts[host]}`] : null],
        ["timer set", model.setBy[event] >= 0 ? this.apart(model.setBy[event], event) : null],
        ["timer fires", model.firedAt[event] >= 0 ? this.apart(event, model.firedAt[event], true) : null],
      ]),
      ...(event === model.found ? [element("p", { class: "record", style: "color: var(--bad)" }, model.finding)] : []),
      ...this.packet(event),
      ...this.states(host, event),
      ...this.past(),
    ];
    return parts;
  }

  // An event that belongs to another, and how far they are apart.
  apart(first, second, isSecond = false) {
    const { model } = this.view;
    const nanos = (model.seconds[second] - model.seconds[first]) * 1e9 + model.nanos[second] - model.nanos[first];
    return [this.link(isSecond ? second : first), ` ${durationText(nanos)} ${isSecond ? "later" : "before"}`];
  }

  packet(event) {
    const { model } = this.view;
    const { arrows } = model;
    const arrow = model.arrowTo[event] >= 0 ? model.arrowTo[event] : model.arrowFrom[event];
    if (arrow < 0) return [];
    const packet = arrows.packet[arrow];
    const rows = [];
    for (let other = 0; other < arrows.count; other++) {
      if (arrows.packet[other] !== packet) continue;
      const [from, to] = [arrows.from[other], arrows.to[other]];
      const name = KINDS[model.kindOf[from]] === "copied" ? "copied" : "sent";
      rows.push([name, [this.link(from), ` on ${model.hosts[model.hostOf[from]]}`]]);
      rows.push([
        "then",
        to < 0
          ? FATE_TEXTS[arrows.fate[other]]
          : [`${FATE_TEXTS[arrows.fate[other]]} `, this.link(to), ` on ${model.hosts[model.hostOf[to]]}, ${this.apart(from, to, true)[1].trim()}`],
      ]);
    }
    const about = model.cause[arrows.from[arrow]];
    if (about >= 0) rows.push(["about", [this.link(about)]]);
    const bytes = packetBytes(model, packet);
    return [
      element("h3", {}, `Packet ${packet}`),
      this.list(rows),
      ...(bytes.length ? [element("pre", {}, dump(bytes))] : []),
    ];
  }

  states(host, event) {
    const { model } = this.view;
    const states = statesBy(model, host, event);
    if (states.length === 0) return [];
    return [
      element("h3", {}, `States on ${model.hosts[host]}`),
      this.list(states.map(([connection, [at, text]]) => [this.link(at, `#${connection}`), text])),
    ];
  }

  past() {
    const { view } = this;
    const { model, past } = view;
    const hosts = [...past.upTo].map((event, host) => [host, event]).filter(([, event]) => event >= 0);
    return [
      element("h3", {}, "Causal past"),
      element("p", {}, `${past.count} of ${model.count} events. The last of each host:`),
      this.list(hosts.map(([host, event]) => [model.hosts[host], [this.link(event), ` ${this.short(event)}`]])),
      element("p", {}, element("button", { type: "button", id: "onlyPast", "aria-pressed": String(view.onlyPast), onclick: () => this.toggleOnlyPast() },
        view.onlyPast ? "Show everything (c)" : "Show nothing else (c)")),
    ];
  }

  short(event) {
    const text = textOf(this.view.model, event);
    return text.length > 44 ? `${text.slice(0, 43)}…` : text;
  }

  legend() {
    const arrow = (fate, dash) => {
      const color = `var(${FATE_COLORS[fate]})`;
      const svg = (name, attributes) => {
        const made = document.createElementNS("http://www.w3.org/2000/svg", name);
        for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
        return made;
      };
      const picture = svg("svg", { width: 46, height: 12 });
      const end = fate === "dropped" ? 32 : fate === "way" ? 26 : 38;
      picture.append(svg("line", { x1: 2, y1: 6, x2: end, y2: 6, stroke: color, "stroke-width": 1.6, "stroke-dasharray": dash ?? "none" }));
      if (fate === "dropped") picture.append(svg("path", { d: "M28 2l8 8M36 2l-8 8", stroke: color, "stroke-width": 2 }));
      else if (fate !== "way") picture.append(svg("path", { d: "M44 6l-8 -3.5v7z", fill: fate === "refused" ? "none" : color, stroke: color }));
      return [picture, FATE_TEXTS[FATE[fate]]];
    };
    const key = (name, text) => [element("kbd", {}, name), text];
    const bar = (kind, text) => [element("span", { style: `display:inline-block;width:${kind === "down" || kind === "still" ? 18 : 4}px;height:12px;background:var(--${kind});opacity:0.8` }), text];
    return [
      element("h2", {}, "Click an event"),
      element("p", {}, "It shows what is known of it, and everything that it can have been caused by: what its host did before, what was sent for what arrived there, and so on."),
      element("h3", {}, "Packets"),
      this.list([arrow("delivered"), arrow("late"), arrow("copy", "5 3"), arrow("corrupted"), arrow("dropped", "3 2"), arrow("refused"), arrow("way", "5 3")]),
      element("h3", {}, "Bars"),
      this.list([
        bar("down", "the host is down, or its process dead"), bar("still", "it stands still"),
        bar("cut", "packets do not get through"), bar("link", "a link is another"),
        bar("slow", "its callbacks cost time"),
      ]),
      element("h3", {}, "Keys"),
      this.list([
        key("↑ ↓", "next event"), key("← →", "next event of the same host"), key("Enter", "the other end of the packet or timer"),
        key("/", "search"), key("n N", "next match, the one before"), key("c", "only the causal past"), key("x", "the finding"),
        key("t", "axis: order or time"), key("+ −", "zoom, as Ctrl and the wheel"), key("Esc", "clear"),
      ]),
      element("p", {}, "A click on a host's name hides its events."),
    ];
  }
}

// Bytes in hexadecimal and as characters, eight in a line.
function dump(bytes) {
  const lines = [];
  for (let place = 0; place < bytes.length; place += 8) {
    const part = [...bytes.subarray(place, place + 8)];
    const hex = part.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const text = part.map((byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : "·")).join("");
    lines.push(`${place.toString(16).padStart(4, "0")}  ${hex.padEnd(23)}  ${text}`);
  }
  return lines.join("\n");
}
