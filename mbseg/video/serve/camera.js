// The second part of the page's script: the visitor's camera, whose frames the server answers.

const LONGEST_SIDE = 640; // pixels of a camera's picture
const JPEG_QUALITY = 0.8;
const HEAD_START = 40; // milliseconds that a camera's frame may come too early: sooner, it would grow old waiting

const video = Object.assign(document.createElement("video"), { muted: true, playsInline: true });
const shutter = document.createElement("canvas");

async function startCamera() {
  if (!navigator.mediaDevices) {
    const way = "ssh -L PORT:localhost:PORT HOST";
    tell(`Browsers lend cameras to https and localhost only; forward the port: ${way}`, { bad: true });
    return;
  }
  node("camera").disabled = true; // until the visitor has allowed it, or not
  try {
    const wanted = { width: { ideal: LONGEST_SIDE }, height: { ideal: 480 } };
    state.camera = await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
    state.camera.getVideoTracks()[0].addEventListener("ended", stopCamera);
    video.srcObject = state.camera;
    await video.play();
  } catch (error) {
    stopCamera();
    tell(`The camera cannot be used: ${error.message || error.name}`, { bad: true });
    return;
  }
  forget();
  describe();
  takeFrames(state.camera);
}

function stopCamera() {
  for (const track of state.camera?.getTracks() ?? []) track.stop();
  state.camera = video.srcObject = null;
  state.sent.clear();
  forget();
  describe();
  ask();
}

/** Nothing of the picture before is compared with the next one. */
function forget() {
  state.moments = [];
  setPaused(false);
}

function onNextFrame(act) {
  if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(act);
  else requestAnimationFrame(act);
}

function takeFrames(camera) {
  if (state.camera !== camera) return; // stopped, and perhaps begun anew
  const isDue = state.sent.size < MOST_ASKED && performance.now() >= state.nextAt;
  if (isDue && isOpen() && !state.paused && video.videoWidth) sendFrame();
  onNextFrame(() => takeFrames(camera));
}

function sendFrame() {
  const factor = Math.min(1, LONGEST_SIDE / Math.max(video.videoWidth, video.videoHeight));
  shutter.width = Math.round(factor * video.videoWidth);
  shutter.height = Math.round(factor * video.videoHeight);
  shutter.getContext("2d").drawImage(video, 0, 0, shutter.width, shutter.height);
  const [number, taken] = [(state.number += 1), performance.now()];
  state.sent.set(number, { picture: null, taken });
  shutter.toBlob((picture) => deliver(number, taken, picture), "image/jpeg", JPEG_QUALITY);
}

function deliver(number, taken, picture) {
  if (!state.sent.has(number) || !isOpen()) return;
  state.sent.set(number, { picture, taken });
  state.socket.send(new Blob([new Uint32Array([number]), picture]));
}

// ---- answers

/** The camera's next frame is to reach the network shortly before that is done with the one it looks at now. */
function plan(answer, roundTrip) {
  answer.round_trip_ms = roundTrip;
  const way = roundTrip - answer.server_ms;
  state.nextAt = performance.now() + Math.max(0, answer.network_ms - way - HEAD_START);
}

/** The JPEG and the moment of a camera's frame; it and all older ones are no longer waited for. */
function answered(number) {
  const { picture, taken } = state.sent.get(number) ?? { picture: null, taken: null };
  for (const older of [...state.sent.keys()].filter((one) => one <= number)) state.sent.delete(older);
  return [picture, taken];
}
