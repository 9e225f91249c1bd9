// What the page knows of the run: columns of numbers, and the texts that they make.

// The kinds of records, in the order of `classes.rs`.
const KINDS = [
  "sent", "delivered", "dropped", "copied", "corrupted", "late", "refused", "callback", "write",
  "control", "fired", "set", "task", "turn", "host", "mark", "report", "draw",
];
const KIND = Object.fromEntries(KINDS.map((name, number) => [name, number]));

// What became of a packet, in the order of `joins.rs`.
const FATES = ["delivered", "late", "copy", "corrupted", "dropped", "refused", "way"];
const FATE = Object.fromEntries(FATES.map((name, number) => [name, number]));
const FATE_TEXTS = [
  "delivered", "delivered late", "delivered twice: this is the copy", "delivered, corrupted",
  "dropped", "refused", "on its way at the end",
];

// What bars tell, in the order of `bars.rs`.
const BARS = ["down", "still", "cut", "link", "slow", "clock"];

// How many events share a list of the arrows that go by them.
const CHUNK = 512;

function decode(json) {
  const count = json.at.length;
  const model = {
    ...json,
    count,
    hostOf: Uint32Array.from(json.at),
    shapeOf: Uint32Array.from(json.kinds),
    kindOf: new Uint8Array(count),
    time: new Float64Array(count),
    seconds: new Float64Array(count),
    nanos: new Uint32Array(count),
    pieces: json.shapes.map((shape) => shape.split("\u0001")),
    fillingAt: new Uint32Array(count + 1),
  };
  decodeTimes(model);
  let filling = 0;
  for (let event = 0; event < count; event++) {
    const shape = model.shapeOf[event];
    model.kindOf[event] = json.classes[shape];
    model.fillingAt[event] = filling;
    filling += model.pieces[shape].length - 1;
  }
  model.fillingAt[count] = filling;
  decodeArrows(model);
  decodeCauses(model);
  decodeStates(model);
  decodeBars(model);
  return model;
}

// Times are differences in nanoseconds; a negative number is a step of whole seconds.
function decodeTimes(model) {
  let [seconds, nanos, place] = [0, 0, 0];
  for (let event = 0; event < model.count; event++) {
    let step = model.times[place++];
    if (step < 0) {
      seconds -= step;
      step = model.times[place++];
    }
    nanos += step;
    seconds += Math.floor(nanos / 1e9);
    nanos %= 1e9;
    model.seconds[event] = seconds;
    model.nanos[event] = nanos;
    model.time[event] = seconds * 1e9 + nanos;
  }
}

function decodeArrows(model) {
  const flat = model.arrows;
  const count = flat.length / 5;
  const arrows = {
    count,
    packet: new Uint32Array(count),
    from: new Int32Array(count),
    host: new Int32Array(count),
    to: new Int32Array(count),
    fate: new Uint8Array(count),
    // By chunks of events, those that go by; and those that go by very many.
    chunks: Array.from({ length: Math.ceil(model.count / CHUNK) }, () => []),
    long: [],
  };
  for (let arrow = 0, place = 0; arrow < count; arrow++, place += 5) {
    arrows.packet[arrow] = flat[place];
    arrows.from[arrow] = flat[place + 1];
    arrows.host[arrow] = flat[place + 2];
    arrows.to[arrow] = flat[place + 3];
    arrows.fate[arrow] = flat[place + 4];
    const first = Math.floor(flat[place + 1] / CHUNK);
    const last = Math.floor(Math.max(flat[place + 1], flat[place + 3]) / CHUNK);
    if (last - first > 32) {
      arrows.long.push(arrow);
      continue;
    }
    for (let chunk = first; chunk <= last; chunk++) arrows.chunks[chunk].push(arrow);
  }
  model.arrows = arrows;
}

// Beside the event before it on its host, an event has at most one cause: what was sent for what
// arrives, or what `joins.rs` says. Timers are set on their own host, so they are shown and add nothing to the past.
function decodeCauses(model) {
  const { arrows, count } = model;
  model.cause = new Int32Array(count).fill(-1);
  model.arrowTo = new Int32Array(count).fill(-1);
  model.arrowFrom = new Int32Array(count).fill(-1);
  for (let arrow = 0; arrow < arrows.count; arrow++) {
    model.arrowFrom[arrows.from[arrow]] = arrow;
    if (arrows.to[arrow] >= 0) {
      model.cause[arrows.to[arrow]] = arrows.from[arrow];
      model.arrowTo[arrows.to[arrow]] = arrow;
    }
  }
  for (let place = 0; place < model.causes.length; place += 2) {
    model.cause[model.causes[place]] = model.causes[place + 1];
  }
  model.setBy = new Int32Array(count).fill(-1);
  model.firedAt = new Int32Array(count).fill(-1);
  for (let place = 0; place < model.timers.length; place += 2) {
    const [fired, set] = [model.timers[place], model.timers[place + 1]];
    model.setBy[fired] = set;
    model.firedAt[set] = fired;
  }
  model.before = new Int32Array(count).fill(-1);
  model.after = new Int32Array(count).fill(-1);
  const last = new Int32Array(model.hosts.length).fill(-1);
  for (let event = 0; event < count; event++) {
    const host = model.hostOf[event];
    model.before[event] = last[host];
    if (last[host] >= 0) model.after[last[host]] = event;
    last[host] = event;
  }
}

function decodeStates(model) {
  model.stateAt = new Int32Array(model.count).fill(-1);
  for (let place = model.states.length - 3; place >= 0; place -= 3) {
    model.stateAt[model.states[place]] = place;
  }
}

// Bars beside one lane that overlap in time get different slots.
function decodeBars(model) {
  const slots = new Map();
  model.bars = model.bars.map(([kind, from, seconds, nanos, to, toSeconds, toNanos], number) => {
    const bar = {
      kind: BARS[kind],
      text: model.barTexts[number],
      hosts: model.barHosts[number],
      from,
      began: [seconds, nanos],
      time: seconds * 1e9 + nanos,
      to: to ?? model.count,
      ended: to === undefined ? null : [toSeconds, toNanos],
      endTime: to === undefined ? Infinity : toSeconds * 1e9 + toNanos,
      slots: [],
    };
    for (const host of bar.hosts) {
      if (bar.kind === "down" || bar.kind === "still") continue;
      if (!slots.has(host)) slots.set(host, []);
      const taken = slots.get(host);
      let slot = taken.findIndex((end) => end < bar.time);
      if (slot < 0) slot = taken.length;
      taken[slot] = bar.endTime;
      bar.slots.push([host, slot]);
    }
    return bar;
  });
}

function textOf(model, event) {
  const pieces = model.pieces[model.shapeOf[event]];
  let text = pieces[0];
  for (let place = model.fillingAt[event], piece = 1; piece < pieces.length; piece++, place++) {
    text += model.fillings[place] + pieces[piece];
  }
  return text;
}

function stepOf(model, event) {
  return model.first + event;
}

function timeText([seconds, nanos]) {
  return `${seconds}.${String(nanos).padStart(9, "0")}s`;
}

function timeOf(model, event) {
  return timeText([model.seconds[event], model.nanos[event]]);
}

// A length of time in nanoseconds, with the digits that matter.
function durationText(nanos) {
  const units = [[1e9, "s"], [1e6, "ms"], [1e3, "µs"]];
  const [size, unit] = units.find(([size]) => nanos >= size) ?? [1, "ns"];
  return `${Number((nanos / size).toPrecision(6))} ${unit}`;
}

// What protocols said right after an event: pairs of connection and text.
function statesAt(model, event) {
  const said = [];
  let place = model.stateAt[event];
  while (place >= 0 && place < model.states.length && model.states[place] === event) {
    said.push([model.states[place + 1], model.stateTexts[model.states[place + 2]]]);
    place += 3;
  }
  return said;
}

// When connections were lost: of each host, pairs of connection and event.
function lossesOf(model) {
  if (!model.losses) {
    model.losses = model.hosts.map(() => []);
    const isLoss = model.shapes.map((shape) => shape.endsWith(" connection_lost"));
    for (let event = 0; event < model.count; event++) {
      if (!isLoss[model.shapeOf[event]]) continue;
      model.losses[model.hostOf[event]].push([model.fillings[model.fillingAt[event]], event]);
    }
  }
  return model.losses;
}

// What the protocols of a host last said, up to an event, in the life of its process then: those
// whose connection is not lost before it.
function statesBy(model, host, event) {
  const last = new Map();
  const downs = model.bars.filter((bar) => bar.kind === "down" && bar.hosts[0] === host);
  const born = Math.max(-1, ...downs.filter((bar) => bar.from <= event).map((bar) => bar.from));
  for (let place = 0; place < model.states.length; place += 3) {
    const at = model.states[place];
    if (at > event) break;
    if (at < born || model.hostOf[at] !== host) continue;
    last.set(model.states[place + 1], [at, model.stateTexts[model.states[place + 2]]]);
  }
  for (const [connection, lost] of lossesOf(model)[host]) {
    if (lost >= born && lost < event) last.delete(connection);
  }
  return [...last].sort(([a], [b]) => a - b);
}

// Everything that can have caused an event, the event included: of each host, all up to some event.
function pastOf(model, event) {
  const upTo = new Int32Array(model.hosts.length).fill(-1);
  upTo[model.hostOf[event]] = event;
  let count = 0;
  for (let earlier = event; earlier >= 0; earlier--) {
    if (earlier > upTo[model.hostOf[earlier]]) continue;
    count++;
    const cause = model.cause[earlier];
    if (cause >= 0) {
      const host = model.hostOf[cause];
      upTo[host] = Math.max(upTo[host], cause);
    }
  }
  return { event, upTo, count };
}

function isPast(model, past, event) {
  return event <= past.upTo[model.hostOf[event]];
}

// The bytes that are known of what is in a packet.
function packetBytes(model, packet) {
  return Uint8Array.from(atob(model.data[packet - model.firstPacket] ?? ""), (char) => char.charCodeAt(0));
}
