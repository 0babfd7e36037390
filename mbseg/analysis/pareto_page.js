// The second part of the page's script: texts, tooltip, legend, table and controls round the chart.

// ---- texts about the chart

function spoken(point, isBest) {
  const figures = `${choice.score} ${scoreText(point, choice.score)} %, ${choice.cost} ${costText(point, choice.cost)}`;
  const remarks = [point.published && "published", isBest && "on the Pareto front"].filter(Boolean);
  return [`${point.label}, ${point.group}: ${figures}`, ...remarks].join(", ");
}

function nothingText() {
  return POINTS.some(isKnown) ? "Every group is hidden." : `No row has ${choice.score} and ${choice.cost} yet.`;
}

function noteText() {
  const missing = POINTS.filter((point) => !isKnown(point)).length;
  if (!missing || missing === POINTS.length) return "";
  return `${missing} of ${POINTS.length} rows lack ${choice.score} or ${choice.cost} and are in the table only.`;
}

// ---- one point and its row

const pointNode = (index) => chart.querySelector(`[data-index="${index}"]`);
const rowNode = (index) => document.getElementById(`row-${index}`);

function show(index) {
  hide();
  pointNode(index)?.classList.add("active");
  rowNode(index).classList.add("active");
  tooltip.replaceChildren(...tooltipContent(POINTS[index]));
  tooltip.hidden = false;
  placeTooltip(pointNode(index).getBoundingClientRect(), chart.parentNode.getBoundingClientRect());
}

function hide() {
  for (const node of document.querySelectorAll(".active")) node.classList.remove("active");
  tooltip.hidden = true;
}

function tooltipContent(point) {
  const figures = [
    ...SCORES.filter((score) => score in point.scores).map((score) => [`${score} [%]`, scoreText(point, score)]),
    ...COSTS.filter((cost) => cost in point.costs).map((cost) => [cost, costText(point, cost)]),
    ...Object.entries(point.details),
  ];
  const lines = figures.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]);
  const kind = point.published ? `${point.group}, published` : point.group;
  return [element("strong", {}, point.label), element("em", {}, kind), element("dl", {}, ...lines)];
}

/** Beside the mark, on the side that has more room; below it if that is too little. */
function placeTooltip(mark, plot) {
  const [width, height] = [tooltip.offsetWidth, tooltip.offsetHeight];
  const [before, after] = [mark.left - plot.left - 4, mark.right - plot.left + 4];
  const fits = Math.max(before, plot.width - after) >= width;
  const left = before > plot.width - after ? before - width : after;
  tooltip.style.left = `${Math.max(0, Math.min(left, plot.width - width))}px`;
  tooltip.style.top = `${fits ? Math.max(0, mark.top - plot.top - height / 2) : mark.bottom - plot.top + 4}px`;
}

// ---- legend, table, controls: made once

function swatch(...children) {
  return shape("svg", { width: 18, height: 18, viewBox: "-9 -9 18 18", "aria-hidden": "true" }, ...children);
}

function makeLegend() {
  const legend = document.getElementById("legend");
  for (const group of GROUPS) {
    const attributes = { type: "button", "aria-pressed": "true", style: colourOf(group) };
    const button = element("button", attributes, swatch(markPath(group, false)), group);
    button.addEventListener("click", () => toggle(group, button));
    legend.append(button);
  }
  const line = shape("path", { class: "front", d: "M-9 4H0V-4H9" });
  legend.append(element("span", {}, swatch(line), "Pareto front, bold in the table"));
  if (POINTS.some((point) => Object.keys(point.spread).length)) {
    const range = shape("path", { class: "spread", d: "M-4-7h8m-4 0V7m-4 0h8", style: "--colour: var(--faint)" });
    legend.append(element("span", {}, swatch(range), "range over seeds"));
  }
  if (POINTS.some((point) => point.published)) {
    const hollow = shape("circle", { class: "mark published", r: RADIUS, style: "--colour: var(--faint)" });
    legend.append(element("span", {}, swatch(hollow), "published"));
  }
}

function toggle(group, button) {
  if (!hidden.delete(group)) hidden.add(group);
  button.setAttribute("aria-pressed", String(!hidden.has(group)));
  draw();
}

function makeTable() {
  const details = [...new Set(POINTS.flatMap((point) => Object.keys(point.details)))];
  const head = element(
    "tr",
    {},
    ...["row", "group"].map((name) => heading(name)),
    ...SCORES.map((score) => heading(`${score} [%]`, "number")),
    ...COSTS.map((cost) => heading(cost, "number")),
    ...details.map((name) => heading(name)),
  );
  const body = element("tbody", {}, ...POINTS.map((point, index) => tableRow(point, index, details)));
  document.getElementById("table").append(element("thead", {}, head), body);
}

function heading(name, kind = "text") {
  return element("th", { scope: "col", class: kind }, name);
}

function tableRow(point, index, details) {
  const mark = element("span", { style: colourOf(point.group) }, swatch(markPath(point.group, point.published)));
  const name = element("th", { scope: "row" }, mark, point.label);
  if (point.published) name.append(element("span", { class: "badge" }, "published"));
  const numbers = [...SCORES.map((score) => scoreText(point, score)), ...COSTS.map((cost) => costText(point, cost))];
  const row = element(
    "tr",
    { id: `row-${index}` },
    name,
    element("td", {}, point.group),
    ...numbers.map((text) => element("td", { class: "number" }, text)),
    ...details.map((detail) => element("td", {}, point.details[detail] ?? "")),
  );
  row.addEventListener("mouseenter", () => lightUp(index));
  row.addEventListener("mouseleave", hide);
  return row;
}

function lightUp(index) {
  hide();
  rowNode(index).classList.add("active");
  pointNode(index)?.classList.add("active");
}

function markRows() {
  const front = paretoFront(POINTS.filter(isShown));
  POINTS.forEach((point, index) => {
    rowNode(index).classList.toggle("hidden", !isShown(point));
    rowNode(index).classList.toggle("best", front.includes(point));
  });
}

function makeSelect(id, names) {
  const select = document.getElementById(id);
  select.append(...names.map((name) => element("option", {}, name)));
  select.addEventListener("change", () => {
    choice[id] = names[select.selectedIndex];
    suggestLog();
    draw();
  });
}

function suggestLog() {
  const box = document.getElementById("log");
  const costs = POINTS.filter(isKnown).map(costOf);
  box.disabled = !costs.length || Math.min(...costs) <= 0;
  choice.log = box.checked = !box.disabled && Math.max(...costs) > LOG_FROM * Math.min(...costs);
}

makeSelect("cost", COSTS);
makeSelect("score", SCORES);
makeLegend();
makeTable();
suggestLog();
document.getElementById("log").addEventListener("change", (event) => {
  choice.log = event.target.checked;
  draw();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") hide();
});
window.addEventListener("resize", draw);
draw();
