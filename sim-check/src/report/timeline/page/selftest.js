// The page tries itself when it is opened as `#selftest`, and writes down how that went.

function check(isSo, what) {
  if (!isSo) throw new Error(what);
}

// What can have caused an event, by going back from cause to cause.
function pastByWalking(model, event) {
  const past = new Set();
  const left = [event];
  while (left.length) {
    const next = left.pop();
    if (past.has(next)) continue;
    past.add(next);
    for (const cause of [model.before[next], model.cause[next], model.setBy[next]]) {
      if (cause >= 0) left.push(cause);
    }
  }
  return past;
}

// The colours of an event's place on the screen.
function pixelsAt(app, event) {
  const { painter, model } = app;
  const x = (painter.x(model.hostOf[event]) - 5) * painter.ratio;
  const y = (painter.y(event) - 4) * painter.ratio;
  const size = Math.round(10 * painter.ratio);
  return painter.canvas.getContext("2d").getImageData(Math.round(x), Math.round(y), size, size).data.join();
}

function testClick(app) {
  const { model, view, painter } = app;
  const isArrival = (event) => KINDS[model.kindOf[event]] === "delivered" && model.cause[event] >= 0;
  const arrivals = [...view.shown].filter(isArrival);
  if (arrivals.length === 0) return "nothing arrives";
  const event = arrivals[arrivals.length >> 1];
  view.reveal(event);
  app.draw();
  const outside = () => [...view.shown].find((other) => other !== event && view.isOnScreen(other) && !isPast(model, view.past, other));
  const box = painter.canvas.getBoundingClientRect();
  const [x, y] = [painter.x(model.hostOf[event]), painter.y(event)];
  painter.canvas.dispatchEvent(new MouseEvent("click", { clientX: box.left + x, clientY: box.top + y, bubbles: true }));
  app.draw();
  check(view.selected === event, "a click selects the event at its place");
  check(app.by("details").textContent.includes(textOf(model, event)), "its details show its record");
  check(isPast(model, view.past, model.cause[event]), "what was sent is in the past of what arrived");
  if (event + 1 < model.count) check(!isPast(model, view.past, event + 1), "what comes later is not");
  const walked = pastByWalking(model, event);
  check(walked.size === view.past.count, "the past has as many events as there are on the ways back");
  for (let other = 0; other < model.count; other++) {
    check(walked.has(other) === isPast(model, view.past, other), "the past is what the ways back lead to");
  }
  const dimmed = outside();
  if (dimmed !== undefined) {
    const dim = pixelsAt(app, dimmed);
    document.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
    app.draw();
    check(view.selected < 0 && view.past === null, "Escape clears the selection");
    check(pixelsAt(app, dimmed) !== dim, "what is not in the past is dimmed");
  }
  app.select(event);
  app.toggleOnlyPast();
  app.draw();
  check(view.shown.every((other) => other === model.found || walked.has(other)), "only the past is shown");
  app.select(-1);
  app.draw();
  check(view.shown.length > 0 && !view.onlyPast, "and then everything again");
  return `${walked.size} events in the past of #${stepOf(model, event)}`;
}

function testSearch(app) {
  const { model, view } = app;
  const input = app.by("search");
  const word = textOf(model, view.shown[view.shown.length >> 1] ?? 0);
  input.value = word;
  app.search(input.value);
  app.draw();
  let wanted = 0;
  for (let event = 0; event < model.count; event++) wanted += textOf(model, event).includes(word);
  check(wanted > 0 && view.matches.length >= wanted, "a search finds every record with its text");
  input.focus();
  input.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true }));
  app.draw();
  check(view.matches.includes(view.selected), "Enter goes to a match");
  check(view.isOnScreen(view.selected), "and scrolls to it");
  view.search(`#${model.first}`);
  check(view.matches.length === 1 && view.matches[0] === 0, "a step is found by its number");
  input.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
  check(view.matches.length === 0 && input.value === "", "Escape clears the search");
  app.select(-1);
  return `${wanted} records found`;
}

function testFilter(app) {
  const { model, view } = app;
  const all = view.shown.length;
  for (const chip of document.querySelectorAll("#filters button")) {
    const { kinds } = FILTERS.find(({ name }) => name === chip.dataset.filter);
    const of = (event) => kinds.includes(KINDS[model.kindOf[event]]);
    const isOff = chip.getAttribute("aria-pressed") === "false";
    if (isOff) chip.click();
    check([...view.shown].some(of), `${chip.dataset.filter} are shown`);
    chip.click();
    check(![...view.shown].some((event) => event !== model.found && of(event)), `${chip.dataset.filter} are hidden`);
    if (!isOff) chip.click();
  }
  check(view.shown.length === all, "all filters are as they were");
  app.toggleHost(0);
  check(![...view.shown].some((event) => event !== model.found && model.hostOf[event] === 0), "a host is hidden");
  app.toggleHost(0);
  return `${all} events shown`;
}

function testAxes(app) {
  const { model, view } = app;
  const frames = (count) => {
    const took = [];
    for (let place = 0; place <= count; place++) {
      view.scrollTo((view.length * place) / count);
      const start = performance.now();
      app.draw();
      took.push(performance.now() - start);
    }
    return `${took.sort((a, b) => a - b)[took.length >> 1].toFixed(1)} ms`;
  };
  const told = [];
  for (const axis of ["time", "order"]) {
    app.setAxis(axis);
    const near = frames(40);
    for (let zoom = 0; zoom < 40; zoom++) view.zoom(1 / 1.5);
    told.push(`${axis} ${near}, from afar ${frames(10)}`);
    for (let zoom = 0; zoom < 40; zoom++) view.zoom(1.5);
  }
  view.row = 20;
  view.scrollTo(0);
  app.draw();
  document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowDown", bubbles: true }));
  document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowDown", bubbles: true }));
  check(view.selected === (view.shown[Math.min(1, view.shown.length - 1)] ?? -1), "the arrow keys step through events");
  app.select(-1);
  check(model.count < 2 || model.time.every((time, event) => event === 0 || time >= model.time[event - 1]), "time does not go back");
  return `a frame takes: ${told.join("; ")}`;
}

// Asks for something from elsewhere: the page's policy does not let it.
async function testAlone() {
  const refused = await fetch("http://192.0.2.1/").then(() => false, () => true);
  check(refused, "nothing is asked for from elsewhere");
  check(performance.getEntriesByType("resource").every(({ transferSize }) => transferSize === 0), "nothing was fetched");
  return "alone";
}

async function selftest() {
  const root = document.documentElement;
  try {
    if (app.model.count === 0) return (root.dataset.selftest = "ok: nothing happened");
    const did = [testClick(app), testSearch(app), testFilter(app), testAxes(app), await testAlone()];
    root.dataset.selftest = `ok: ${did.join("; ")}`;
  } catch (error) {
    root.dataset.selftest = `failed: ${error.message}`;
  }
}

if (location.hash === "#selftest") selftest();
