// The third part of the page's script: the connection, the controls and the figures.

const MOST_ASKED = 2; // frames on their way: one travels while the other is looked at
const PATIENCE = [0.5, 1, 2, 4, 8]; // seconds before each next try to connect
const PARTINGS = { 1001: "The demo has ended", 1013: "All places are taken" }; // by WebSocket's codes
const FPS_WINDOW = 2000; // milliseconds
const REFRESH = 250; // milliseconds between two updates of figures: a reader has to keep up

const node = (id) => document.getElementById(id);
const element = (name, attributes, ...children) => {
  const made = Object.assign(document.createElement(name), attributes);
  made.append(...children);
  return made;
};

const state = {
  socket: null,
  tries: 0,
  hello: null,
  hidden: new Set(), // names of classes
  opacity: 0, // 0 to 1
  paused: false,
  asked: 0, // frames of the source that are on their way
  camera: null, // MediaStream
  sent: new Map(), // number of a camera's frame -> its JPEG and when it was taken
  number: 0,
  nextAt: 0, // when the camera's next frame is wanted, in performance.now()
  shown: null, // the answer on the stage and its bitmap
  moments: [], // when the last answers were drawn
  drawing: Promise.resolve(),
};

// ---- connection

function connect() {
  const address = new URL("socket", location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  address.search = location.search;
  const socket = Object.assign(new WebSocket(address), { binaryType: "arraybuffer" });
  socket.addEventListener("message", ({ data }) => {
    if (typeof data === "string") listen(JSON.parse(data));
    else receive(data);
  });
  socket.addEventListener("close", lost);
  state.socket = socket;
}

function lost({ code }) {
  const seconds = PATIENCE[Math.min(state.tries, PATIENCE.length - 1)];
  state.tries += 1;
  state.asked = 0;
  state.sent.clear();
  const said = PARTINGS[code] ?? "No connection to mbseg";
  tell(`${said}; trying again in ${seconds} s. If it is started anew, open the address that it prints.`, { bad: true });
  setTimeout(connect, 1000 * seconds);
}

function listen(message) {
  if (message.error) {
    tell(message.error, { bad: true });
    state.sent.clear(); // no answer to it will come
  }
  if (message.hello) greet(message.hello);
}

function greet(hello) {
  if (!state.hello) setOpacity(Math.round(100 * hello.opacity)); // who comes back keeps what was chosen here
  Object.assign(state, { hello, tries: 0 });
  document.title = node("title").textContent = hello.title;
  node("description").textContent = hello.description;
  makeLegend();
  describe();
  ask();
}

const isOpen = () => state.socket.readyState === WebSocket.OPEN;

/** Frames of the source come for the asking only: whoever pauses or is slow is sent nothing. */
function ask() {
  while (isOpen() && state.hello.has_source && !state.camera && !state.paused && state.asked < MOST_ASKED) {
    state.socket.send("next");
    state.asked += 1;
  }
}

function receive(buffer) {
  const answer = readAnswer(buffer);
  state.drawing = state.drawing.then(() => show(answer)).catch(({ message }) => tell(message, { bad: true }));
}

/** An answer on the stage, unless the other picture is looked at by now. */
async function show(answer) {
  if (answer.of === "source") state.asked = Math.max(0, state.asked - 1);
  const [picture, taken] = answer.of === "camera" ? answered(answer.number) : [answer.picture, null];
  if (picture && isWanted(answer)) {
    const bitmap = await createImageBitmap(picture);
    if (taken !== null) plan(answer, performance.now() - taken);
    if (isWanted(answer)) put(answer, bitmap);
  }
  ask();
}

const isWanted = (answer) => answer.of === (state.camera ? "camera" : "source") && !state.paused;

function put(answer, bitmap) {
  state.shown?.bitmap.close();
  state.shown = { answer, bitmap };
  state.moments.push(performance.now());
  redraw();
}

function redraw() {
  if (!state.shown) return;
  const lines = state.hello.classes.filter(({ name }) => !state.hidden.has(name));
  const boxLines = new Map(lines.filter(({ box }) => box !== null).map((line) => [line.box, line]));
  drawAnswer(state.shown.answer, state.shown.bitmap, { inks: makeInks(lines), boxLines, opacity: state.opacity });
  stage.dataset.number = state.shown.answer.number;
  node("hint").textContent = "";
}

// ---- texts, controls and figures

function tell(text, { bad = false } = {}) {
  node("status").textContent = text;
  node("status").classList.toggle("bad", bad);
}

/** What there is to see, and what can be done. */
function describe() {
  const { has_source: hasSource } = state.hello ?? {};
  const camera = Boolean(state.camera);
  node("camera").disabled = !state.hello;
  node("camera").textContent = !camera ? "Use my camera" : hasSource ? "Back to the source" : "Stop my camera";
  node("pause").disabled = !camera && !hasSource;
  if (!camera && !hasSource) {
    state.shown = null;
    pen.reset();
    node("hint").textContent = "“Use my camera” shows what the model sees in it.";
  }
  const privacy = `Your camera's pictures go to ${location.host} and are not stored.`;
  tell(camera ? privacy : hasSource ? "Connected: the newest picture of the source." : "Connected.");
}

function setPaused(paused) {
  state.paused = paused;
  node("pause").textContent = paused ? "Go on" : "Pause";
  if (!paused) ask();
}

function setOpacity(percent) {
  state.opacity = percent / 100;
  node("opacity").value = percent;
  node("opacity-value").textContent = `${percent} %`;
  redraw();
}

function makeLegend() {
  const rows = state.hello.classes.map(({ name, colour }) => {
    const button = element("button", { type: "button" }, element("i"), element("span", {}, name), element("small"));
    button.style.setProperty("--colour", css(colour));
    button.addEventListener("click", () => setHidden([name], !state.hidden.has(name)));
    return element("li", {}, button);
  });
  node("legend").replaceChildren(...rows);
  setHidden([], false);
}

function setHidden(names, hidden) {
  for (const name of names) state.hidden[hidden ? "add" : "delete"](name);
  state.hello.classes.forEach(({ name }, index) => {
    node("legend").children[index].firstChild.setAttribute("aria-pressed", String(!state.hidden.has(name)));
  });
  redraw();
}

/** Share of the pixels, number of boxes; nothing where there are none. */
function found({ mask, box }, pixels, boxes, all) {
  const share = mask === null ? 0 : (100 * pixels[mask]) / all;
  const count = boxes.get(box) ?? 0;
  return [count && `${count} ×`, share && `${share < 0.1 ? "< 0.1" : share.toFixed(1)} %`].filter(Boolean).join(", ");
}

function refreshLegend({ answer }) {
  const [pixels, boxes] = [pixelCounts(answer), boxCounts(answer)];
  state.hello.classes.forEach((line, index) => {
    const button = node("legend").children[index].firstChild;
    const text = found(line, pixels, boxes, answer.size[0] * answer.size[1]);
    button.lastChild.textContent = text;
    button.classList.toggle("absent", !text);
  });
}

function refresh() {
  if (!state.shown || state.paused) return;
  const { answer } = state.shown;
  const now = performance.now();
  state.moments = state.moments.filter((moment) => moment > now - FPS_WINDOW);
  const span = Math.max(now - state.moments[0], REFRESH);
  setFigure("fps", state.moments.length > 1 && `${((1000 * state.moments.length) / span).toFixed(1)} FPS`);
  setFigure("network", milliseconds(answer.network_ms));
  setFigure("server", milliseconds(answer.server_ms));
  setFigure("round-trip", milliseconds(answer.round_trip_ms));
  setFigure("size", `${answer.size[1]} × ${answer.size[0]}`);
  refreshLegend(state.shown);
}

const milliseconds = (value) => value != null && `${value.toFixed(value < 10 ? 1 : 0)} ms`;

/** What nobody knows is not shown. */
function setFigure(id, text) {
  node(id).textContent = text || "";
  node(id).parentNode.hidden = !text;
}

node("camera").addEventListener("click", () => (state.camera ? stopCamera() : startCamera()));
node("pause").addEventListener("click", () => setPaused(!state.paused));
node("all").addEventListener("click", () => setHidden(state.hello.classes.map(({ name }) => name), false));
node("none").addEventListener("click", () => setHidden(state.hello.classes.map(({ name }) => name), true));
node("opacity").addEventListener("input", ({ target }) => setOpacity(target.value));
window.addEventListener("resize", redraw);
setInterval(refresh, REFRESH);
connect();
