// The page of a live tracker. One message of the WebSocket is one picture with its tracks; the overlay is drawn
// here, at the resolution of the screen.

const GOLDEN_RATIO = (Math.sqrt(5) - 1) / 2;
const TRAIL_S = 2;
const TRAIL_SPACING = 0.005; // of the picture's size
const FIGURES_EVERY_MS = 250;
const SPARK_SAMPLES = 120;
const EVENTS_KEPT = 200;
const ROWS_SHOWN = 100;
const CASING = "rgb(22 22 26)";
const REGION_COLORS = [[60, 190, 255], [255, 200, 90], [120, 230, 140], [255, 140, 230]]; // in turn, as on the overlay video
const REGION_TINT = 0.16;
const Status = { TENTATIVE: 0, CONFIRMED: 1, COASTING: 2 };
const STATUS_WORDS = ["tentative", "seen", "coasting"];

const element = (id) => document.getElementById(id);

// ---------------------------------------------------------------------------------------------------- colours

/** The colour of an identity as [red, green, blue], the same as on the overlay video: OKLCH, hues by the golden ratio. */
export function trackColor(id) {
  const hue = 2 * Math.PI * ((id * GOLDEN_RATIO) % 1);
  const lightness = [0.74, 0.85, 0.66][id % 3];
  let rgb;
  let chroma = 0.2;
  while (Math.min(...(rgb = linearRgb(lightness, chroma, hue))) < 0 || Math.max(...rgb) > 1) chroma -= 0.005;
  return rgb.map((x) => Math.round(255 * (x <= 0.0031308 ? 12.92 * x : 1.055 * x ** (1 / 2.4) - 0.055)));
}

function linearRgb(lightness, chroma, hue) {
  const a = chroma * Math.cos(hue);
  const b = chroma * Math.sin(hue);
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
}

/** Black or white, whichever stands out more on the colour (contrast as in WCAG 2). */
function lettersOn(rgb) {
  const linear = rgb.map((x) => (x / 255 <= 0.04045 ? x / 255 / 12.92 : ((x / 255 + 0.055) / 1.055) ** 2.4));
  const luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  return (luminance + 0.05) ** 2 > 0.05 * 1.05 ? "rgb(16 16 16)" : "white";
}

const css = (rgb, alpha = 1) => `rgb(${rgb.join(" ")} / ${alpha})`;

// ---------------------------------------------------------------------------------------------------- what is known

const layers = { boxes: true, ids: true, classes: true, ages: false, trails: true, ellipses: true, coasting: true, tentative: true, regions: true };
const trails = new Map(); // id -> [{ time, x, y }, ...], feet of the boxes, oldest first
const samples = { seen: [], latency: [] };
let newest = null; // the last message, whether shown or not
let shown = null; // { header, bitmap } on the screen
let frozen = false;
let selected = null; // an id
let drawTimes = [];
let drawRequested = false;

/** Rows of a header's table of tracks, those in front last. */
function rowsOf(header) {
  const t = header.tracks;
  return t.ids
    .map((id, row) => ({
      id, box: t.boxes_xyxy[row], class: t.classes[row], classText: t.class_texts[row], score: t.scores[row],
      status: t.status[row], age: t.ages_s[row], covariance: t.center_covariance[row],
      radius: t.ellipse_radius[row],
    }))
    .sort((a, b) => a.box[3] - b.box[3]);
}

const isShown = (row) =>
  (row.status !== Status.COASTING || layers.coasting) && (row.status !== Status.TENTATIVE || layers.tentative);

function extendTrails(header) {
  const oldest = header.time_s - TRAIL_S;
  const spacing = TRAIL_SPACING * Math.sqrt(header.width_px * header.height_px);
  for (const { id, box, status } of rowsOf(header)) {
    if (status === Status.TENTATIVE) continue;
    const trail = trails.get(id) ?? [];
    const [before, last] = trail.slice(-2);
    // The newest point slides along until it is worth a point of its own.
    if (last && Math.hypot(last.x - before.x, last.y - before.y) < spacing) trail.pop();
    trail.push({ time: header.time_s, x: (box[0] + box[2]) / 2, y: box[3] });
    trails.set(id, trail);
  }
  for (const [id, trail] of trails) {
    const fresh = trail.filter(({ time }) => time >= oldest && time <= header.time_s);
    if (fresh.length) trails.set(id, fresh);
    else trails.delete(id);
  }
}

// ---------------------------------------------------------------------------------------------------- drawing

/** Draw the overlay of one message into a context of which a picture's pixel covers `scale` units. */
function drawOverlay(context, header, scale, unit) {
  const line = Math.max(2, Math.round((0.6 + 1.7 * unit.size) * unit.ratio));
  const pen = { line, casing: Math.round(unit.ratio), unit };
  const rows = rowsOf(header).filter(isShown);
  const named = rows.filter((row) => row.status !== Status.TENTATIVE);
  const dim = (row) => { context.globalAlpha = selected === null || row.id === selected ? 1 : 0.22; };
  const each = (list, draw) => { for (const row of list) { dim(row); draw(context, row, scale, pen); } };

  context.lineJoin = "round";
  if (layers.regions) header.regions.forEach((region, n) => drawRegion(context, region, REGION_COLORS[n % REGION_COLORS.length], scale, pen));
  if (layers.trails) each(named, (c, row, s, p) => drawTrail(c, row, header.time_s, s, p));
  if (layers.boxes) each(rows, drawBox);
  if (layers.ellipses) each(named, drawEllipse);
  if (layers.ids || layers.classes || layers.ages) each(named, drawLabel);
  context.globalAlpha = 1;
}

function drawRegion(context, { name, kind, points, counts }, color, scale, pen) {
  const corners = points.map(([x, y]) => [x * scale, y * scale]);
  const outline = new Path2D();
  corners.forEach(([x, y]) => outline.lineTo(x, y));
  if (kind === "area") {
    outline.closePath();
    context.fillStyle = css(color, REGION_TINT);
    context.fill(outline, "evenodd");
  } else {
    outline.addPath(arrowToTheRight(corners, 8 * pen.line));
  }
  for (const [ink, width] of [[CASING, pen.line + 2 * pen.casing], [css(color), pen.line]]) {
    context.strokeStyle = ink;
    context.lineWidth = width;
    context.stroke(outline);
  }
  const [x, y] = kind === "area" ? corners.reduce((a, b) => (b[1] < a[1] ? b : a)) : corners[0];
  drawTag(context, `${name}: ${counts}`, x, y, CASING, css(color), pen);
}

/** A short arrow on the middle of a line, which points to its right as seen from its first point. */
function arrowToTheRight([[x0, y0], [x1, y1]], length) {
  const across = Math.hypot(x1 - x0, y1 - y0);
  const along = [(x1 - x0) / across, (y1 - y0) / across];
  const right = [-along[1], along[0]]; // the picture's y axis points down
  const middle = [(x0 + x1) / 2, (y0 + y1) / 2];
  const tip = middle.map((m, i) => m + length * right[i]);
  const arrow = new Path2D();
  arrow.moveTo(...middle);
  arrow.lineTo(...tip);
  const barb = (sign) => tip.map((t, i) => t - 0.4 * length * (right[i] + sign * along[i]));
  arrow.moveTo(...barb(-1));
  arrow.lineTo(...tip);
  arrow.lineTo(...barb(1));
  return arrow;
}

function drawTrail(context, row, now, scale, pen) {
  const trail = (trails.get(row.id) ?? []).filter(({ time }) => time <= now);
  context.lineCap = "round";
  for (let i = 1; i < trail.length; i++) {
    const fresh = Math.max(0, 1 - (now - trail[i - 1].time) / TRAIL_S);
    context.strokeStyle = css(trackColor(row.id), fresh);
    context.lineWidth = pen.line * (0.5 + fresh);
    context.beginPath();
    context.moveTo(trail[i - 1].x * scale, trail[i - 1].y * scale);
    context.lineTo(trail[i].x * scale, trail[i].y * scale);
    context.stroke();
  }
}

function drawBox(context, row, scale, pen) {
  const faint = row.status === Status.TENTATIVE;
  const line = faint ? Math.max(1, Math.round(pen.line / 2)) : pen.line * (row.id === selected ? 2 : 1);
  // On whole pixels: crisp edges.
  const [left, top, right, bottom] = row.box.map((x) => Math.round(x * scale) + (line % 2) / 2);
  context.lineCap = "butt";
  context.setLineDash(row.status === Status.COASTING ? [3.2 * pen.line, 2.4 * pen.line] : []);
  if (!faint) {
    context.strokeStyle = CASING;
    context.lineWidth = line + 2 * pen.casing;
    context.strokeRect(left, top, right - left, bottom - top);
  }
  context.strokeStyle = css(trackColor(row.id), faint ? 0.7 : 1);
  context.lineWidth = line;
  context.strokeRect(left, top, right - left, bottom - top);
  context.setLineDash([]);
}

function drawEllipse(context, row, scale, pen) {
  if (row.radius === 0) return;
  const [xx, xy, yy] = row.covariance;
  const middle = (xx + yy) / 2;
  const spread = Math.hypot((xx - yy) / 2, xy);
  const radius = (variance) => row.radius * Math.sqrt(Math.max(variance, 0)) * scale;
  context.beginPath();
  context.ellipse(
    ((row.box[0] + row.box[2]) / 2) * scale, ((row.box[1] + row.box[3]) / 2) * scale,
    radius(middle + spread), radius(middle - spread), Math.atan2(2 * xy, xx - yy) / 2, 0, 2 * Math.PI,
  );
  context.strokeStyle = CASING;
  context.lineWidth = 0.6 * pen.line + pen.casing;
  context.stroke();
  context.strokeStyle = css(trackColor(row.id));
  context.lineWidth = 0.6 * pen.line;
  context.stroke();
}

function drawLabel(context, row, scale, pen) {
  const words = [];
  if (layers.ids) words.push(`${row.id}`);
  if (layers.classes && row.classText) words.push(row.classText);
  if (layers.ages) words.push(duration(row.age));
  if (!words.length) return;
  const color = trackColor(row.id);
  const [ground, letters] = row.status === Status.COASTING ? [CASING, css(color)] : [css(color), lettersOn(color)];
  const rim = pen.line / 2 + pen.casing;
  drawTag(context, words.join("  "), row.box[0] * scale - rim, row.box[1] * scale - rim, ground, letters, pen);
}

/** Write on a plate whose lower left corner is at a place, moved as far as needed to be in the picture. */
function drawTag(context, text, x, y, ground, letters, pen) {
  const size = Math.max(11, 7 + 6 * pen.unit.size) * pen.unit.ratio;
  context.font = `600 ${size}px system-ui, sans-serif`;
  const width = context.measureText(text).width + 0.8 * size;
  const height = 1.35 * size;
  const { width: across, height: down } = context.canvas;
  const left = Math.max(0, Math.min(x, across - width));
  const top = Math.max(0, Math.min(y - height, down - height));
  context.beginPath();
  context.roundRect(left, top, width, height, 0.3 * height);
  context.fillStyle = ground;
  context.fill();
  context.fillStyle = letters;
  context.textBaseline = "middle";
  context.fillText(text, left + 0.4 * size, top + 0.53 * height);
}

/** Bring the screen up to date at its next refresh. */
function requestDraw() {
  if (drawRequested) return;
  drawRequested = true;
  requestAnimationFrame(() => {
    drawRequested = false;
    draw();
  });
}

function draw() {
  if (!shown) return;
  const { header, bitmap: image } = shown;
  const screen = element("screen");
  const picture = element("picture");
  const overlay = element("overlay");
  if (picture.width !== image.width || picture.height !== image.height) {
    picture.width = image.width;
    picture.height = image.height;
  }
  picture.getContext("2d").drawImage(image, 0, 0);

  const room = document.fullscreenElement === screen ? innerHeight : Math.max(240, innerHeight - 190);
  const phone = matchMedia("(max-width: 34rem)").matches;
  const width = Math.min(screen.clientWidth, phone ? Infinity : (room * header.width_px) / header.height_px);
  const height = (width * header.height_px) / header.width_px;
  for (const canvas of [picture, overlay]) {
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  screen.style.setProperty("--shape", `${header.width_px} / ${header.height_px}`);
  const ratio = devicePixelRatio || 1;
  const [across, down] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (overlay.width !== across || overlay.height !== down) {
    overlay.width = across;
    overlay.height = down;
  }
  const context = overlay.getContext("2d");
  context.clearRect(0, 0, across, down);
  drawOverlay(context, header, across / header.width_px, { size: Math.sqrt(width * height) / 1000, ratio });
  element("veil").hidden = true;
}

// ---------------------------------------------------------------------------------------------------- figures

function clockText(seconds) {
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, Math.floor(seconds) % 60];
  const two = (x) => String(x).padStart(2, "0");
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

function duration(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  return seconds < 60 ? `${Math.round(seconds)} s` : clockText(seconds);
}

const whole = (count) => count.toLocaleString("en").replaceAll(",", "\u202f");
const milliseconds = (ms) => `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;

function setText(id, text) {
  const target = element(id);
  if (target.textContent !== text) target.textContent = text;
}

function setState(state, text = state) {
  element("state").dataset.state = state;
  setText("state", text);
}

function showFigures() {
  const now = performance.now();
  drawTimes = drawTimes.filter((time) => now - time < 2000);
  setText("view-fps", (drawTimes.length / 2).toFixed(0));
  if (!newest) return;
  const { stats } = newest;
  setText("identities", whole(stats.identities));
  setText("fps", stats.fps.toFixed(1));
  setText("latency", stats.latency_ms < 10 ? stats.latency_ms.toFixed(1) : stats.latency_ms.toFixed(0));
  setText("latency-p99", milliseconds(stats.latency_p99_ms));
  setText("detector", milliseconds(stats.detector_ms));
  setText("tracker", milliseconds(stats.tracker_ms));
  setText("processed", whole(stats.processed));
  const share = stats.captured ? (100 * stats.dropped) / stats.captured : 0;
  setText("dropped", `${whole(stats.dropped)} (${share.toFixed(1)} %)`);
  setText("skipped", whole(stats.skipped));
  setText("reconnects", whole(stats.reconnects));
  element("dropped").classList.toggle("alert", share > 5);
  element("skipped").classList.toggle("alert", stats.skipped > 0);
  setPressed("pause", newest.paused);

  if (newest.frame === null) return;
  const status = newest.tracks.status;
  const count = (which) => status.filter((s) => s === which).length;
  setText("seen", whole(count(Status.CONFIRMED)));
  setText("others", `${count(Status.COASTING)} coasting, ${count(Status.TENTATIVE)} tentative`);
  for (const [name, value] of [["seen", count(Status.CONFIRMED)], ["latency", stats.latency_ms]]) {
    samples[name].push(value);
    if (samples[name].length > SPARK_SAMPLES) samples[name].shift();
    drawSpark(element(`${name}-spark`), samples[name]);
  }
  showRegions(newest.regions);
  if (shown) showObjects(shown.header);
}

function showRegions(regions) {
  element("regions-card").hidden = element("regions-layer").hidden = !regions.length;
  const list = element("regions");
  while (list.children.length > regions.length) list.lastChild.remove();
  regions.forEach(({ name, counts }, n) => {
    const line = list.children[n] ?? list.appendChild(document.createElement("div"));
    if (!line.children.length) line.append(document.createElement("dt"), document.createElement("dd"));
    [name, counts].forEach((text, i) => {
      if (line.children[i].textContent !== text) line.children[i].textContent = text;
    });
  });
}

function drawSpark(canvas, values) {
  const ratio = devicePixelRatio || 1;
  const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
  canvas.width = width;
  canvas.height = height;
  const top = Math.max(...values, 1e-9) * 1.15;
  const context = canvas.getContext("2d");
  const color = getComputedStyle(canvas).color;
  const x = (i) => width - (values.length - 1 - i) * (width / (SPARK_SAMPLES - 1));
  const y = (value) => height - ratio - (value / top) * (height - 2 * ratio);
  context.beginPath();
  values.forEach((value, i) => context.lineTo(x(i), y(value)));
  context.strokeStyle = color;
  context.lineWidth = 1.5 * ratio;
  context.lineJoin = "round";
  context.stroke();
  context.lineTo(width, height);
  context.lineTo(x(0), height);
  context.globalAlpha = 0.14;
  context.fillStyle = color;
  context.fill();
}

/** Keep one table row per object, and the focus where it is. */
function showObjects(header) {
  const body = element("objects");
  const rows = rowsOf(header).sort((a, b) => a.id - b.id).slice(0, ROWS_SHOWN);
  const wanted = new Set(rows.map(({ id }) => String(id)));
  for (const line of [...body.rows]) if (!wanted.has(line.dataset.id)) line.remove();
  rows.forEach((row, place) => {
    let line = body.rows[place];
    if (line?.dataset.id !== String(row.id)) line = body.insertBefore(newLine(row.id), line ?? null);
    const texts = [null, row.class, duration(row.age), row.score.toFixed(2), STATUS_WORDS[row.status]];
    texts.forEach((text, i) => {
      if (text !== null && line.cells[i].textContent !== text) line.cells[i].textContent = text;
    });
    line.className = row.status === Status.CONFIRMED ? "" : "aside";
    line.cells[0].firstChild.setAttribute("aria-pressed", String(row.id === selected));
  });
  element("nobody").hidden = rows.length > 0;
  const seen = rows.filter(({ status }) => status === Status.CONFIRMED).length;
  element("overlay").setAttribute("aria-label", `Frame ${header.frame}: ${seen} objects seen; the table of objects lists them`);
  setText("frame", whole(header.frame));
  setText("clock", clockText(header.time_s));
}

function newLine(id) {
  const line = document.createElement("tr");
  line.dataset.id = id;
  for (let i = 0; i < 5; i++) line.insertCell();
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = id;
  button.title = "Single out on the picture";
  button.style.setProperty("--swatch", css(trackColor(id)));
  button.addEventListener("click", () => select(selected === id ? null : id));
  line.cells[0].append(button);
  return line;
}

function addEvents(events) {
  const list = element("events");
  for (const event of events) {
    const line = document.createElement("li");
    const time = document.createElement("time");
    time.textContent = clockText(event.time_s);
    time.title = `frame ${event.frame}`;
    line.append(time, event.text);
    list.prepend(line);
  }
  while (list.children.length > EVENTS_KEPT) list.lastChild.remove();
  element("uneventful").hidden = list.children.length > 0;
}

// ---------------------------------------------------------------------------------------------------- the wire

let socket = null;
let retry_ms = 500;
let retryTimer = 0;
let lastEvent = 0;

const tell = (command) => {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(command));
};

function connect() {
  clearTimeout(retryTimer);
  const address = new URL("live", location.href);
  address.protocol = address.protocol.replace("http", "ws");
  const mine = new WebSocket(address);
  let work = Promise.resolve(); // messages are taken one after the other
  socket = mine;
  mine.binaryType = "arraybuffer";
  mine.addEventListener("open", () => {
    retry_ms = 500;
    if (document.hidden) tell({ do: "watch", on: false });
  });
  mine.addEventListener("message", ({ data }) => {
    work = work.then(() => take(data)).finally(() => {
      if (mine.readyState === WebSocket.OPEN) mine.send('{"do":"ack"}');
    });
  });
  mine.addEventListener("close", async () => {
    if (newest?.state !== "ended") setState("disconnected", "disconnected, trying again");
    if (await isRefused()) setState("refused", "refused: open the printed address, with its token");
    retryTimer = setTimeout(connect, retry_ms);
    retry_ms = Math.min(2 * retry_ms, 8000);
  });
}

async function isRefused() {
  try {
    return (await fetch("health")).status === 401;
  } catch {
    return false; // nobody there
  }
}

async function take(data) {
  const length = new DataView(data).getUint32(0);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
  const jpeg = new Uint8Array(data, 4 + length);
  if (newest && header.run !== newest.run) forget();
  addEvents(header.events.filter(({ number }) => number > lastEvent));
  lastEvent = header.events.at(-1)?.number ?? lastEvent;
  newest = header;
  setState(header.state);
  if (jpeg.length && !frozen) {
    const bitmap = await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
    extendTrails(header);
    shown?.bitmap.close();
    shown = { header, bitmap };
    drawTimes.push(performance.now());
    requestDraw();
  }
}

/** The tracker has been started anew: what was known belongs to other objects. */
function forget() {
  trails.clear();
  samples.seen.length = samples.latency.length = 0;
  element("events").replaceChildren();
  lastEvent = 0;
  selected = null;
}

// ---------------------------------------------------------------------------------------------------- doing

function setPressed(id, on) {
  element(id).setAttribute("aria-pressed", String(on));
}

function select(id) {
  selected = id;
  requestDraw();
  if (shown) showObjects(shown.header);
}

function toggleFreeze() {
  frozen = !frozen;
  setPressed("freeze", frozen);
  element("frozen").hidden = !frozen;
}

function togglePause() {
  tell({ do: "pause", on: !newest?.paused });
}

function saveSnapshot() {
  if (!shown) return;
  const { header, bitmap: image } = shown;
  const canvas = document.createElement("canvas");
  canvas.width = image.width;
  canvas.height = image.height;
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const unit = { size: Math.sqrt(image.width * image.height) / 1000, ratio: 1 };
  drawOverlay(context, header, image.width / header.width_px, unit);
  canvas.toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `frame-${String(header.frame).padStart(6, "0")}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }, "image/png");
}

function toggleFullscreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else element("screen").requestFullscreen();
}

function selectAt(event) {
  if (!shown) return;
  const area = event.currentTarget.getBoundingClientRect();
  const x = ((event.clientX - area.left) / area.width) * shown.header.width_px;
  const y = ((event.clientY - area.top) / area.height) * shown.header.height_px;
  const hit = rowsOf(shown.header)
    .filter(isShown)
    .findLast(({ box }) => box[0] <= x && x <= box[2] && box[1] <= y && y <= box[3]);
  select(hit === undefined || hit.id === selected ? null : hit.id);
}

const remembered = {
  read() {
    try {
      return JSON.parse(localStorage.getItem("layers")) ?? {};
    } catch {
      return {}; // storage is refused, or holds something else
    }
  },
  write() {
    try {
      localStorage.setItem("layers", JSON.stringify(layers));
    } catch {
      // storage is refused: the choice lasts as long as the page
    }
  },
};

const keys = {
  " ": () => element("freeze").click(),
  p: () => element("pause").click(),
  s: () => element("snapshot").click(),
  d: () => element("download").click(),
  f: () => element("fullscreen").click(),
  b: "boxes", i: "ids", c: "classes", a: "ages", t: "trails", e: "ellipses", o: "coasting", n: "tentative", r: "regions",
};

function onKey(event) {
  if (event.key === "Escape") return select(null);
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || !element("shortcuts").checked) return;
  // Space belongs to the control that has the focus.
  if (event.key === " " && event.target.closest("button, a, input, summary, .scroll")) return;
  const action = keys[event.key.toLowerCase()];
  if (action === undefined) return;
  event.preventDefault();
  if (typeof action === "string") element("layers").querySelector(`[data-layer="${action}"]`).click();
  else action();
}

function start() {
  Object.assign(layers, remembered.read());
  for (const box of element("layers").querySelectorAll("input")) {
    box.checked = layers[box.dataset.layer];
    box.addEventListener("change", () => {
      layers[box.dataset.layer] = box.checked;
      remembered.write();
      requestDraw();
    });
  }
  element("freeze").addEventListener("click", toggleFreeze);
  element("pause").addEventListener("click", togglePause);
  element("snapshot").addEventListener("click", saveSnapshot);
  element("fullscreen").addEventListener("click", toggleFullscreen);
  element("fullscreen").hidden = !document.fullscreenEnabled;
  element("overlay").addEventListener("click", selectAt);
  document.addEventListener("keydown", onKey);
  document.addEventListener("fullscreenchange", requestDraw);
  document.addEventListener("visibilitychange", () => {
    tell({ do: "watch", on: !document.hidden });
    if (!document.hidden && socket?.readyState === WebSocket.CLOSED) connect();
  });
  new ResizeObserver(requestDraw).observe(element("screen"));
  addEventListener("resize", requestDraw);
  setInterval(showFigures, FIGURES_EVERY_MS);
  connect();
}

start();
