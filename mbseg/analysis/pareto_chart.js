"use strict";

// The first part of the page's script: the chart of the page's JSON. All texts become text nodes and attributes, never
// markup.

const { costs: COSTS, scores: SCORES, points: POINTS } = JSON.parse(document.getElementById("data").textContent);
const GROUPS = [...new Set(POINTS.map((point) => point.group))];
const COLOURS = 7;
const MARKS = [  // outlines about the origin, one unit in radius, in the order of the PNG's markers
  "M-1 0A1 1 0 0 1 1 0A1 1 0 0 1-1 0Z",
  "M-.9-.9H.9V.9H-.9Z",
  "M0-1.1L1.1.9H-1.1Z",
  "M0-1.25L1.25 0L0 1.25L-1.25 0Z",
  "M0 1.1L1.1-.9H-1.1Z",
  "M-.4-1.1H.4V-.4H1.1V.4H.4V1.1H-.4V.4H-1.1V-.4H-.4Z",
  "M-.5-1.1L0-.6L.5-1.1L1.1-.5L.6 0L1.1.5L.5 1.1L0 .6L-.5 1.1L-1.1.5L-.6 0L-1.1-.5Z",
  "M0-1.3L.38-.4L1.24-.4L.62.2L.8 1.05L0 .6L-.8 1.05L-.62.2L-1.24-.4L-.38-.4Z",
];
const RADIUS = 6.5;
const MARGIN = { left: 58, right: 18, top: 14, bottom: 48 };
const LOG_FROM = 5;  // times the smallest cost: the cheap points would crowd on a linear axis

const chart = document.getElementById("chart");
const tooltip = document.getElementById("tooltip");
const hidden = new Set();  // groups
const choice = { cost: COSTS[0], score: SCORES[0], log: false };

function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

function shape(name, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// ---- what is shown

const costOf = (point) => point.costs[choice.cost];
const scoreOf = (point) => point.scores[choice.score];
const isKnown = (point) => costOf(point) !== undefined && scoreOf(point) !== undefined;
const isShown = (point) => isKnown(point) && !hidden.has(point.group);
const byCost = (one, other) => costOf(one) - costOf(other) || scoreOf(other) - scoreOf(one);

/** The measured points that no other measured one equals in both figures and beats in one, the cheapest first. */
function paretoFront(points) {
  const front = [];
  for (const point of points.filter((point) => !point.published).sort(byCost)) {
    const best = front.at(-1);
    if (!best || scoreOf(point) > scoreOf(best) || byCost(point, best) === 0) front.push(point);
  }
  return front;
}

function spreadOf(point, score = choice.score) {
  return point.spread[score] ?? [point.scores[score], point.scores[score]];
}

// ---- figures as text

const plain = (number) => String(Number(number.toPrecision(4)));
const percent = (fraction) => (100 * fraction).toFixed(2);
const fourDigits = (number) => (number < 1000 ? number.toPrecision(4) : number.toFixed(0));
const costText = (point, cost) => (cost in point.costs ? fourDigits(point.costs[cost]) : "–");

function scoreText(point, score) {
  if (!(score in point.scores)) return "–";
  const range = score in point.spread ? ` (${point.spread[score].map(percent).join(" to ")})` : "";
  return percent(point.scores[score]) + range;
}

// ---- axes

function logTicks(low, high) {
  const steps = high / low < 1000 ? [1, 2, 5] : [1];
  const decades = Array.from({ length: 40 }, (_, index) => 10 ** (index - 20));
  return decades.flatMap((decade) => steps.map((step) => step * decade)).filter((tick) => tick >= low && tick <= high);
}

function linearTicks(low, high) {
  const rough = (high - low) / 6;
  const decade = 10 ** Math.floor(Math.log10(rough));
  const step = decade * [1, 2, 5, 10].find((factor) => factor * decade >= rough);
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, index) => (first + index) * step);
}

/** An axis over the values with a tenth of room on both sides: `place` gives pixels from `from` to `to`. */
function axisOf(values, from, to, log) {
  const bend = log ? Math.log : (value) => value;
  const unbend = log ? Math.exp : (value) => value;
  let [low, high] = [bend(Math.min(...values)), bend(Math.max(...values))];
  const room = (high - low || Math.abs(high) * 0.2 || 1) / 10;
  [low, high] = [low - room, high + room];
  const ticks = (log ? logTicks : linearTicks)(unbend(low), unbend(high));
  return { place: (value) => from + ((bend(value) - low) / (high - low)) * (to - from), ticks };
}

// ---- the chart

function draw() {
  const focused = document.activeElement?.dataset?.index;
  const points = POINTS.filter(isShown).sort(byCost);
  const width = Math.max(280, chart.parentNode.clientWidth);
  const height = Math.round(Math.min(560, Math.max(320, width * 0.55)));
  chart.setAttribute("viewBox", `0 0 ${width} ${height}`);
  chart.setAttribute("height", height);
  chart.replaceChildren();
  hide();
  if (points.length) drawPoints(points, width, height);
  else write(nothingText(), { x: width / 2, y: height / 2, "text-anchor": "middle" });
  markRows();
  document.getElementById("note").textContent = noteText();
  if (focused !== undefined) pointNode(focused)?.focus();
}

function drawPoints(points, width, height) {
  const x = axisOf(points.map(costOf), MARGIN.left, width - MARGIN.right, choice.log);
  const scores = points.flatMap((point) => spreadOf(point)).map((score) => 100 * score);
  const y = axisOf(scores, height - MARGIN.bottom, MARGIN.top, false);
  const at = (point) => [x.place(costOf(point)), y.place(100 * scoreOf(point))];
  const front = paretoFront(points);
  drawAxes(x, y, width, height);
  drawFront(front.map(at), width);
  for (const point of points) chart.append(spreadNode(point, at(point)[0], y));
  const nodes = points.map((point) => markNode(point, at(point), front.includes(point)));
  drawLabels([...front, ...points.filter((point) => !front.includes(point))], at, front, width, height);
  chart.append(...nodes);
}

function drawAxes(x, y, width, height) {
  const [left, right, top, bottom] = [MARGIN.left, width - MARGIN.right, MARGIN.top, height - MARGIN.bottom];
  for (const tick of x.ticks) {
    chart.append(shape("path", { class: "grid", d: `M${x.place(tick)} ${top}V${bottom}` }));
    write(plain(tick), { x: x.place(tick), y: bottom + 20, "text-anchor": "middle" });
  }
  for (const tick of y.ticks) {
    chart.append(shape("path", { class: "grid", d: `M${left} ${y.place(tick)}H${right}` }));
    write(plain(tick), { x: left - 8, y: y.place(tick) + 4.5, "text-anchor": "end" });
  }
  chart.append(shape("path", { class: "axis", d: `M${left} ${top}V${bottom}H${right}` }));
  const turned = `translate(14 ${(top + bottom) / 2}) rotate(-90)`;
  write(choice.cost, { class: "title", x: (left + right) / 2, y: height - 6, "text-anchor": "middle" });
  write(`${choice.score} [%]`, { class: "title", transform: turned, "text-anchor": "middle" });
}

function write(text, attributes) {
  const node = shape("text", attributes, text);
  chart.append(node);
  return node;
}

/** A staircase: the best score that a cost buys. */
function drawFront(places, width) {
  if (!places.length) return;
  const steps = places.slice(1).map(([x, y]) => `H${x}V${y}`).join("");
  chart.append(shape("path", { class: "front", d: `M${places[0]}${steps}H${width - MARGIN.right}` }));
}

function spreadNode(point, x, y) {
  const [low, high] = spreadOf(point).map((score) => y.place(100 * score));
  const path = low === high ? "" : `M${x - 4} ${low}h8m-4 0V${high}m-4 0h8`;
  return shape("path", { class: "spread", style: colourOf(point.group), d: path });
}

function markNode(point, [x, y], isBest) {
  const index = POINTS.indexOf(point);
  const node = shape(
    "g",
    {
      class: "point", transform: `translate(${x} ${y})`, style: colourOf(point.group), "data-index": index,
      tabindex: 0, role: "img", "aria-label": spoken(point, isBest), "aria-describedby": "tooltip",
    },
    shape("circle", { class: "halo", r: 2 * RADIUS }),
    markPath(point.group, point.published),
  );
  node.addEventListener("mouseenter", () => show(index));
  node.addEventListener("mouseleave", hide);
  node.addEventListener("focus", () => show(index));
  node.addEventListener("blur", hide);
  return node;
}

function markPath(group, published) {
  const outline = MARKS[GROUPS.indexOf(group) % MARKS.length];
  return shape("path", { class: published ? "mark published" : "mark", d: outline, transform: `scale(${RADIUS})` });
}

function colourOf(group) {
  return `--colour: var(--colour-${GROUPS.indexOf(group) % COLOURS})`;
}

/** Labels where there is room, the important ones first; the tooltip and the table name the others. */
function drawLabels(points, at, front, width, height) {
  const frame = { left: MARGIN.left, right: width - 2, top: 2, bottom: height - MARGIN.bottom };
  const marks = points.map((point) => boxAround(at(point), at(point)));
  const lines = [...stairs(front.map(at), frame.right)];
  const labels = [];
  for (const point of points) {
    const kind = `label${front.includes(point) ? " best" : ""}${point.published ? " published" : ""}`;
    const text = write(point.label, { class: kind });
    const free = placesRound(at(point), text.getComputedTextLength())
      .filter((box) => isInside(box, frame) && ![...marks, ...labels].some((other) => overlap(box, other)));
    const box = free.find((place) => !lines.some((line) => overlap(place, line))) ?? free[0];
    if (box) {
      labels.push(box);
      filled(text, { x: box.left, y: box.bottom - 4 }, []);
    } else {
      text.remove();
    }
  }
}

/** What the front covers. */
function* stairs(places, right) {
  for (const [index, [x, y]] of places.entries()) {
    const [nextX, nextY] = places[index + 1] ?? [right, y];
    yield boxAround([x, y], [nextX, y], 1);
    yield boxAround([nextX, nextY], [nextX, y], 1);
  }
}

function boxAround([left, top], [right, bottom], margin = RADIUS) {
  return { left: left - margin, right: right + margin, top: top - margin, bottom: bottom + margin };
}

/** Boxes for a label of that length, the best first: right, above, below, at the corners, left. */
function placesRound([x, y], length) {
  const [near, tall] = [RADIUS + 3, 16];
  const [lefts, tops] = [[x - near - length, x - length / 2, x + near], [y - near - tall, y - tall / 2, y + near]];
  return [[2, 1], [1, 0], [1, 2], [2, 0], [2, 2], [0, 0], [0, 2], [0, 1]]
    .map(([column, row]) => ({ left: lefts[column], top: tops[row] }))
    .map(({ left, top }) => ({ left, top, right: left + length, bottom: top + tall }));
}

function isInside(box, frame) {
  return box.left > frame.left && box.right < frame.right && box.top > frame.top && box.bottom < frame.bottom;
}

function overlap(one, other) {
  return one.left < other.right && other.left < one.right && one.top < other.bottom && other.top < one.bottom;
}
