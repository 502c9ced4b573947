"use strict";
// Evaluates the work that Python exported as data; it holds no formula of any op.
const DATA = JSON.parse(document.getElementById("page-data").textContent);
const VARIABLES = ["batch", "queries", "past", "onchip"];
const ROW = Object.fromEntries(DATA.quantities.map((name, i) => [name, i]));
const LARGEST = 2 ** 32;
const $ = (id) => document.getElementById(id);

/* ---- evaluation ---- */
const OPERATORS = {
  "+": (a, b) => a + b, "-": (a, b) => a - b, "*": (a, b) => a * b, "/": (a, b) => a / b,
  min: Math.min, max: Math.max, floor: Math.floor, ceil: Math.ceil, pow: Math.pow,
};

function value(expr, step) {
  if (typeof expr === "number") return expr;
  if (typeof expr === "string") return step[expr];
  return OPERATORS[expr[0]](...expr.slice(1).map((part) => value(part, step)));
}

function stepOf(setting, onchip) {
  const prompt = setting.phase === "prefill";
  return {
    batch: setting.batch, queries: prompt ? setting.context : 1,
    past: prompt ? 0 : setting.context, onchip,
  };
}

function rowValues(step) {
  const exprs = DATA.exprs.map((expr) => value(expr, step));
  return DATA.rows.map((pairs) => pairs.reduce((sum, [i, c]) => sum + c * exprs[i], 0));
}

function templateOf(s) { return DATA.templates[[s.phase, s.weights, s.kv, s.tp].join("|")]; }

function combine(a, b, sharpness) {
  const longer = Math.max(a, b, 1e-300);
  return longer * (1 + (Math.min(a, b) / longer) ** sharpness) ** (1 / sharpness);
}

function timesOf(kind, numbers, launches, device, calibrated) {
  const moved = numbers.weight_bytes + numbers.input_bytes + numbers.output_bytes + numbers.kv_bytes;
  const special = device.special ? numbers.special_ops / device.special : 0;
  const parts = {
    compute: Math.max(numbers.ops / device.peaks[kind.peak], special),
    memory: moved / device.bandwidth,
    link: device.link ? numbers.link_bytes / device.link : 0,
  };
  const bound = ["compute", "memory", "link"].reduce((best, key) => (parts[key] > parts[best] ? key : best));
  let time = Math.max(parts.compute, parts.memory, parts.link), floor = 0, error = 0;
  if (calibrated) {
    const [compute, memory, sharpness, launch, miss, bounded] = device.laws[kind.law];
    const busy = moved + numbers.link_bytes > 0;
    const expected = combine(parts.compute / compute, Math.max(parts.memory, parts.link) / memory, sharpness);
    time = busy ? Math.max(time * bounded, expected) : time;
    floor = busy ? launch * launches : 0;
    error = miss;
  }
  return { moved, bound, time, floor, error };
}

function memoryOf(setting) {
  const template = templateOf(setting), values = rowValues(stepOf(setting, 1e30));
  let cache = 0, live = 0;
  for (const [, k, count] of template.ops) {
    const rows = DATA.kinds[k].rows;
    cache += count * values[rows[ROW.cached_bytes]];
    live = Math.max(live, values[rows[ROW.input_bytes]] + values[rows[ROW.output_bytes]]);
  }
  return { weights: template.stored, cache, live, total: template.stored + cache + live };
}

function largest(setting, axis) {
  const capacity = DATA.devices[setting.device].capacity;
  const fits = (n) => memoryOf({ ...setting, [axis]: n }).total <= capacity;
  if (!fits(1)) return 0;
  let low = 1, high = 2;
  while (high < LARGEST && fits(high)) { low = high; high *= 2; }
  if (high >= LARGEST) return LARGEST;
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (fits(middle)) low = middle; else high = middle;
  }
  return low;
}

function analyze(setting) {
  const device = DATA.devices[setting.device], template = templateOf(setting);
  const values = rowValues(stepOf(setting, device.onchip));
  const roles = new Map();
  let total = 0, weighted = 0;
  const shares = { compute: 0, memory: 0, link: 0 };
  for (const [r, k, count, launches] of template.ops) {
    const kind = DATA.kinds[k];
    const numbers = Object.fromEntries(DATA.quantities.map((name, i) => [name, values[kind.rows[i]]]));
    const one = timesOf(kind, numbers, launches, device, setting.calibrated);
    const seconds = count * one.time + one.floor;
    const entry = roles.get(r) || { role: DATA.roles[r], op: kind.op, count: 0, ops: 0, bytes: 0, time: 0, bounds: {} };
    entry.count += count; entry.ops += count * numbers.ops; entry.bytes += count * one.moved; entry.time += seconds;
    entry.bounds[one.bound] = (entry.bounds[one.bound] || 0) + seconds;
    roles.set(r, entry);
    total += seconds; weighted += seconds * one.error; shares[one.bound] += seconds;
  }
  const ops = [...roles.values()].map((op) => ({
    ...op, share: total ? op.time / total : 0, intensity: op.bytes ? op.ops / op.bytes : 0,
    bound: Object.entries(op.bounds).sort((a, b) => b[1] - a[1])[0][0],
  }));
  return { setting, total, ops, shares, error: total ? weighted / total : 0, memory: memoryOf(setting), device };
}

/* ---- words ---- */
const UNITS = [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""], [1e-3, "m"], [1e-6, "µ"], [1e-9, "n"]];
function si(number, unit) {
  if (!number) return `0 ${unit}`;
  const [scale, prefix] = UNITS.find(([s]) => Math.abs(number) >= s) || [1e-9, "n"];
  return `${Number((number / scale).toPrecision(4))} ${prefix}${unit}`;
}
const percent = (share) => `${(100 * share).toFixed(1)} %`;
const short = (role) => role.replace(/^.*\.\*\./, "");
const count = (n) => (n >= LARGEST ? "any" : n.toLocaleString("en"));

/* ---- building elements: text never becomes markup ---- */
const SVG = "http://www.w3.org/2000/svg";
function make(name, attributes = {}, ...children) {
  const svg = ["svg", "g", "line", "path", "circle", "text", "polyline"].includes(name);
  const node = svg ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, val] of Object.entries(attributes)) if (val !== null) node.setAttribute(key, val);
  node.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return node;
}

/* ---- controls ---- */
const state = { ...DATA.start };
let kept = null, sorting = { key: "time", down: true };
const CONTROLS = [
  ["phase", "Phase", DATA.phases], ["batch", "Batch", null], ["context", "Context", null],
  ["weights", "Weights", DATA.choices.weights], ["kv", "KV cache", DATA.choices.kv],
  ["device", "Device", DATA.choices.device], ["tp", "Devices (tp)", DATA.choices.tp],
  ["calibrated", "Times", ["ideal", "calibrated"]],
];

function buildControls() {
  for (const [key, label, options] of CONTROLS) {
    const input = options
      ? make("select", { id: key, name: key }, ...options.map((o) => make("option", { value: o }, o)))
      : make("input", { id: key, name: key, type: "number", min: key === "batch" ? 1 : 0, step: 1 });
    input.value = key === "calibrated" ? (state.calibrated ? "calibrated" : "ideal") : state[key];
    input.addEventListener("input", () => change(key, input));
    $("controls").append(make("label", { for: key }, label, input));
  }
  $("controls").addEventListener("submit", (event) => event.preventDefault());
}

function change(key, input) {
  let next = input.value;
  if (key === "calibrated") next = next === "calibrated";
  if (key === "tp") next = Number(next);
  if (key === "batch" || key === "context") {
    next = Number(next);
    const least = key === "context" && state.phase === "decode" ? 0 : 1;
    const good = Number.isInteger(next) && next >= least && next <= LARGEST && input.value !== "";
    input.setAttribute("aria-invalid", String(!good));
    input.setCustomValidity(good ? "" : `a whole number of at least ${least}`);
    if (!good) return;
  }
  state[key] = next;
  if (state.phase === "prefill" && state.context < 1) { state.context = 1; $("context").value = 1; }
  render();
}

/* ---- parts of the page ---- */
function card(title, big, text, bad = false, extra = {}) {
  return make("div", { class: bad ? "card bad" : "card" }, make("h3", {}, title), make("div", { class: "big", ...extra }, big), make("p", {}, text));
}

function renderTotals(result) {
  const { memory, device, setting } = result, fits = memory.total <= device.capacity;
  const bound = Object.entries(result.shares).filter(([, s]) => s > 0)
    .map(([name, s]) => `${name} ${Math.round(100 * s / result.total)} %`).join(", ");
  const tokens = setting.phase === "prefill" ? setting.batch * setting.context : setting.batch;
  const batch = largest(setting, "batch"), context = largest(setting, "context");
  const words = setting.calibrated ? `expected; median error of such kernels ${Math.round(100 * result.error)} %` : "at least: the ideal roof";
  $("totals").replaceChildren(
    card("Time", si(result.total, "s"), words, false, { id: "time", "data-time": result.total }),
    card("Bound by", Object.entries(result.shares).sort((a, b) => b[1] - a[1])[0][0], bound),
    card("Rate", si(tokens / result.total, "token/s"), setting.phase === "prefill" ? "of the prompt" : "of all sequences"),
    card("Memory", fits ? "fits" : "does not fit", `${si(memory.total, "B")} of ${si(device.capacity, "B")}: weights ${si(memory.weights, "B")}, cache ${si(memory.cache, "B")}, live ${si(memory.live, "B")}`, !fits, { id: "fits", "data-bytes": memory.total }),
    card("Largest that fits", `batch ${count(batch)}`, `at this context; context ${count(context)} at this batch`, batch === 0, { id: "largest", "data-batch": batch, "data-context": context }),
  );
}

function showTip(text, node) {
  const tip = $("tip"), box = node.getBoundingClientRect();
  tip.textContent = text; tip.hidden = false;
  const left = Math.min(Math.max(8, box.left), window.innerWidth - tip.offsetWidth - 8);
  const above = box.top - tip.offsetHeight - 8;
  tip.style.left = `${left}px`; tip.style.top = `${above > 0 ? above : box.bottom + 8}px`;
}

function tipFor(node, text) {
  const show = () => showTip(text, node), hide = () => { $("tip").hidden = true; };
  for (const event of ["mouseenter", "focus"]) node.addEventListener(event, show);
  for (const event of ["mouseleave", "blur"]) node.addEventListener(event, hide);
}

function describe(op) {
  return `${op.role}\n${op.op}, ${op.count} of them\n${si(op.ops, "op")}, ${si(op.bytes, "B")}\n` +
    `${Number(op.intensity.toPrecision(3))} op/B, bound by ${op.bound}\n${si(op.time, "s")}, ${percent(op.share)}`;
}

function renderRoof(result) {
  const W = Math.max(320, Math.min(1040, $("roof").clientWidth)), H = Math.round(Math.max(260, W * 0.42)), L = 52, R = 16, T = 14, B = 40, device = result.device;
  const points = result.ops.filter((op) => op.ops > 0 && op.bytes > 0 && op.time > 0);
  const used = new Set(templateOf(result.setting).ops.map(([, k]) => DATA.kinds[k]).filter((k) => !k.peak.startsWith("vector")).map((k) => device.peaks[k.peak]));
  const peaks = [...used].sort((a, b) => a - b), top = Math.max(...peaks);
  const xs = [...points.map((p) => p.intensity), ...peaks.map((p) => p / device.bandwidth)];
  const x0 = Math.floor(Math.log10(Math.min(...xs) / 1.5)), x1 = Math.ceil(Math.log10(Math.max(...xs) * 2));
  const speeds = points.map((p) => p.ops / p.time);
  const y0 = Math.floor(Math.log10(Math.min(...speeds))), y1 = Math.ceil(Math.log10(top * 1.3));
  const x = (v) => L + (W - L - R) * (Math.log10(v) - x0) / (x1 - x0);
  const y = (v) => H - B - (H - T - B) * (Math.log10(v) - y0) / (y1 - y0);
  const svg = make("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": "Roofline: speed over arithmetic intensity" });
  const every = W < 600 ? 2 : 1;
  for (let e = x0; e <= x1; e += every) svg.append(make("line", { class: "grid", x1: x(10 ** e), x2: x(10 ** e), y1: T, y2: H - B }), make("text", { x: x(10 ** e), y: H - B + 16, "text-anchor": "middle" }, e >= 0 && e < 5 ? 10 ** e : `1e${e}`));
  for (let e = y0; e <= y1; e++) svg.append(make("line", { class: "grid", x1: L, x2: W - R, y1: y(10 ** e), y2: y(10 ** e) }), make("text", { x: L - 6, y: y(10 ** e) + 4, "text-anchor": "end" }, si(10 ** e, "")));
  const roof = (bandwidth, peak, kind) => {
    const ridge = peak / bandwidth, low = Math.max(10 ** x0, 10 ** y0 / bandwidth);
    const line = [[low, low * bandwidth], [Math.min(ridge, 10 ** x1), Math.min(peak, 10 ** x1 * bandwidth)], [10 ** x1, Math.min(peak, 10 ** x1 * bandwidth)]];
    svg.append(make("polyline", { class: kind, points: line.map(([a, b]) => `${x(a)},${y(b)}`).join(" ") }));
  };
  for (const [, bandwidth] of device.levels) roof(bandwidth, top, "roof level");
  for (const peak of peaks) { roof(device.bandwidth, peak, "roof"); svg.append(make("text", { x: W - R - 4, y: y(peak) - 5, "text-anchor": "end" }, si(peak, "op/s"))); }
  svg.append(make("text", { x: (L + W) / 2, y: H - 6, "text-anchor": "middle" }, "arithmetic intensity (op/B)"), make("text", { x: L, y: T + 2 }, "op/s"));
  for (const op of [...points].sort((a, b) => b.share - a.share)) {
    const circle = make("circle", { class: `point ${op.bound}`, cx: x(op.intensity), cy: y(op.ops / op.time), r: (5 + 26 * Math.sqrt(op.share)) * Math.min(1, W / 700), tabindex: 0, role: "listitem", "aria-label": describe(op) });
    tipFor(circle, describe(op));
    svg.append(circle);
  }
  $("roof").replaceChildren(svg);
  const swatch = (name) => make("span", {}, make("span", { class: "swatch", style: `background: var(--${name})` }), `bound by ${name}`);
  const levels = device.levels.map(([name]) => name).join(", ");
  $("legend").replaceChildren(...["memory", "compute", "link"].map(swatch), ...(levels ? [make("span", {}, `dashed: ${levels}`)] : []));
}

function renderBars(result) {
  const rows = [...result.ops].sort((a, b) => b.time - a.time).slice(0, 14), most = rows[0] ? rows[0].time : 1;
  $("bars").replaceChildren(...rows.map((op) => make("div", { class: "bar" }, make("span", {}, short(op.role)),
    make("div", { class: "track" }, make("div", { class: "fill", style: `width: ${100 * op.time / most}%; background: var(--${op.bound})` })),
    make("span", { class: "number" }, percent(op.share)))));
}

function renderGraph(result) {
  const layered = result.ops.filter((op) => op.role.includes(".*."));
  const prefix = (layered[0] || result.ops[0]).role.split(".*.")[0];
  const ops = layered.length ? layered.filter((op) => op.role.startsWith(prefix)) : result.ops;
  const each = (op) => op.time / op.count, most = Math.max(...ops.map(each));
  $("graph").replaceChildren(...ops.map((op) => {
    const node = make("span", { class: "node", tabindex: 0, style: `width: ${40 + 60 * each(op) / most}%; border-color: var(--${op.bound})` }, short(op.role));
    tipFor(node, describe(op));
    return node;
  }));
}

const COLUMNS = [["role", "op"], ["count", "n"], ["ops", "op"], ["bytes", "byte"], ["intensity", "op/B"], ["bound", "bound"], ["time", "time"], ["share", "share"]];
function cell(op, key) {
  if (key === "ops") return si(op.ops, "op");
  if (key === "bytes") return si(op.bytes, "B");
  if (key === "time") return si(op.time, "s");
  if (key === "share") return percent(op.share);
  return key === "intensity" ? Number(op.intensity.toPrecision(3)) : op[key];
}

function renderTable(result) {
  const words = $("filter").value.toLowerCase(), sign = sorting.down ? -1 : 1;
  const rows = result.ops.filter((op) => `${op.role} ${op.op} ${op.bound}`.toLowerCase().includes(words))
    .sort((a, b) => sign * (a[sorting.key] > b[sorting.key] ? 1 : a[sorting.key] < b[sorting.key] ? -1 : 0));
  const head = make("tr", {}, ...COLUMNS.map(([key, label]) => {
    const button = make("button", { type: "button", "data-key": key }, label);
    button.addEventListener("click", () => {
      sorting = { key, down: sorting.key === key ? !sorting.down : key !== "role" && key !== "bound" };
      render();
      document.querySelector(`th button[data-key="${key}"]`).focus();
    });
    const order = sorting.key === key ? (sorting.down ? "descending" : "ascending") : "none";
    return make("th", { scope: "col", "aria-sort": order }, button);
  }));
  const body = rows.map((op) => make("tr", {}, ...COLUMNS.map(([key]) => make("td", {}, cell(op, key)))));
  $("ops").replaceChildren(make("thead", {}, head), make("tbody", {}, ...body));
}

function nameOf(s) { return `${s.phase}, batch ${s.batch}, context ${s.context}, ${s.weights}, KV ${s.kv}, ${s.device}, tp ${s.tp}, ${s.calibrated ? "calibrated" : "ideal"}`; }

function renderComparison(result) {
  if (!kept) { $("compare").replaceChildren(); return; }
  const before = new Map(kept.ops.map((op) => [op.role, op.time]));
  const row = (name, a, b) => make("tr", {}, make("td", {}, name), make("td", {}, a === undefined ? "-" : si(a, "s")), make("td", {}, si(b, "s")), make("td", {}, a && b ? `${(a / b).toFixed(2)}x` : "-"));
  const head = make("tr", {}, ...["", "kept", "now", "speed-up"].map((t) => make("th", { scope: "col" }, t)));
  $("compare").replaceChildren(
    make("caption", {}, `kept: ${nameOf(kept.setting)}`), make("thead", {}, head),
    make("tbody", {}, row("all", kept.total, result.total), ...result.ops.map((op) => row(short(op.role), before.get(op.role), op.time))),
  );
}

function render() {
  const result = analyze(state);
  renderTotals(result); renderRoof(result); renderBars(result); renderGraph(result); renderTable(result); renderComparison(result);
  const notes = ["Computed in this page from the work that hwsim exported; no network is used."];
  if (state.calibrated && result.device.borrowed.length) notes.push(`Kernels without measurements on ${state.device} are borrowed from ${result.device.borrowed.join(", ")}.`);
  if (DATA.command) notes.push(`Made by: ${DATA.command}`);
  $("footer").textContent = notes.join(" ");
  window.current = result;
}

function setTheme(dark) {
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  $("theme").textContent = dark ? "Light" : "Dark";
}

document.title = `Roofline: ${DATA.model}`;
$("model").textContent = DATA.model;
setTheme(window.matchMedia("(prefers-color-scheme: dark)").matches);
$("theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme !== "dark"));
$("filter").addEventListener("input", render);
$("keep").addEventListener("click", () => { kept = analyze({ ...state }); render(); });
buildControls();
window.addEventListener("resize", render);
render();
