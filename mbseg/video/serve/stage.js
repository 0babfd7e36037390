// The first part of the page's script: an answer of the server read, and drawn over its picture.

const BARE = 0; // transparent
const IGNORED = 255; // pixels that belong to no class
const TEXT = 13; // CSS pixels

const stage = document.getElementById("stage");
const pen = stage.getContext("2d");
const cover = document.createElement("canvas"); // the class map in colours
let coverPixels = null;

// ---- what a message holds

/** Head (uint32 length, JSON), picture (JPEG), runs (where each ends, uint32; then their classes, uint8). */
function readAnswer(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const picture = new Blob([buffer.slice(4 + length, 4 + length + head.picture)], { type: "image/jpeg" });
  const runs = buffer.slice(4 + length + head.picture);
  const count = runs.byteLength / 5;
  return { ...head, picture, ends: new Uint32Array(runs, 0, count), classes: new Uint8Array(runs, 4 * count) };
}

/** Pixels by class id. */
function pixelCounts(answer) {
  const counts = new Float64Array(256);
  let start = 0;
  answer.ends.forEach((end, run) => {
    counts[answer.classes[run]] += end - start;
    start = end;
  });
  return counts;
}

/** Boxes by class id. */
function boxCounts(answer) {
  const counts = new Map();
  for (const [, , , , , label] of answer.boxes ?? []) counts.set(label, (counts.get(label) ?? 0) + 1);
  return counts;
}

// ---- drawing

/** The picture, the colours of its class map over it, and its boxes over both. */
function drawAnswer(answer, bitmap, look) {
  const unit = fitStage(answer.size);
  pen.drawImage(bitmap, 0, 0);
  if (answer.ends.length && look.opacity) drawMask(answer, look);
  drawBoxes(answer.boxes ?? [], look, answer.size[1], unit);
}

/** As fine as the screen, or as the picture if that is finer; from here on all counts in the picture's pixels.
 * Gives how many of them a CSS pixel is. */
function fitStage([height, width]) {
  const zoom = Math.min(stage.clientWidth / width, stage.clientHeight / height) || 1;
  const fineness = Math.max(1, zoom * devicePixelRatio);
  const size = { width: Math.round(fineness * width), height: Math.round(fineness * height) };
  if (stage.width !== size.width || stage.height !== size.height) Object.assign(stage, size);
  pen.setTransform(size.width / width, 0, 0, size.height / height, 0, 0);
  return 1 / zoom;
}

function drawMask(answer, look) {
  const [height, width] = answer.size;
  if (coverPixels?.width !== width || coverPixels.height !== height) {
    Object.assign(cover, { width, height });
    coverPixels = new ImageData(width, height);
  }
  const pixels = new Uint32Array(coverPixels.data.buffer);
  let start = 0;
  answer.ends.forEach((end, run) => {
    pixels.fill(look.inks[answer.classes[run]], start, end);
    start = end;
  });
  cover.getContext("2d").putImageData(coverPixels, 0, 0);
  pen.globalAlpha = look.opacity;
  pen.drawImage(cover, 0, 0);
  pen.globalAlpha = 1;
}

/** The most probable on top; lines and letters as large as on any other page, however large the picture is. */
function drawBoxes(boxes, look, width, unit) {
  pen.font = `${TEXT * unit}px system-ui, sans-serif`;
  pen.textBaseline = "middle";
  for (const [left, top, right, bottom, score, label] of [...boxes].sort((one, other) => one[4] - other[4])) {
    const line = look.boxLines.get(label);
    if (!line) continue;
    pen.lineWidth = 2 * unit;
    pen.strokeStyle = css(line.colour);
    pen.strokeRect(left, top, right - left, bottom - top);
    drawTag([left, top], `${line.name} ${score.toFixed(2)}`, line.colour, width, unit);
  }
}

/** Above the upper left corner of a box, or in it if there is no room. */
function drawTag([left, top], text, colour, pictureWidth, unit) {
  const tag = { width: pen.measureText(text).width + 8 * unit, height: (TEXT + 6) * unit };
  const x = Math.max(0, Math.min(left - unit, pictureWidth - tag.width));
  const y = top >= tag.height ? top - tag.height : Math.max(0, top);
  pen.fillStyle = css(colour);
  pen.fillRect(x, y, tag.width, tag.height);
  pen.fillStyle = isLight(colour) ? "#000" : "#fff";
  pen.fillText(text, x + 4 * unit, y + tag.height / 2);
}

// ---- colours

const css = ([red, green, blue]) => `rgb(${red} ${green} ${blue})`;
const isLight = ([red, green, blue]) => 0.2 * red + 0.6 * green + 0.2 * blue > 100;
const isBlack = (colour) => colour.every((part) => part === 0); // the background's in most palettes: left bare

/** What to paint each class id with, as ImageData holds it (RGBA in memory order). */
function makeInks(lines) {
  const inks = new Uint32Array(256).fill(BARE);
  for (const { mask, colour } of lines) {
    if (mask !== null && mask !== IGNORED && !isBlack(colour)) {
      inks[mask] = new Uint32Array(new Uint8ClampedArray([...colour, 255]).buffer)[0];
    }
  }
  return inks;
}
