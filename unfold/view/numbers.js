// Numbers as text and as colours, and the small helpers that everything below uses.

const data = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";

/** An element by its id. */
const byId = (id) => document.getElementById(id);

/** A new HTML element with attributes, and text or children. */
function make(tag, attributes = {}, ...content) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  e.append(...content);
  return e;
}

/** A new SVG element. */
function draw(tag, attributes = {}, parent = null) {
  const e = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  if (parent) parent.append(e);
  return e;
}

/** Set an attribute only where it changes: most do not from one frame to the next. */
function set(e, name, value) {
  const known = e.known || (e.known = {});
  if (known[name] !== value) {
    known[name] = value;
    e.setAttribute(name, value);
  }
}

/** The same for text. */
function say(e, text) {
  if (e.said !== text) {
    e.said = text;
    e.textContent = text;
  }
}

const SUPER = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };

/** Four digits; small and large ones as 1.23·10⁻⁵. */
function number(value, digits = 4) {
  const x = Number(value);
  if (Number.isNaN(x)) return "NaN";
  if (!Number.isFinite(x)) return x > 0 ? "∞" : "−∞";
  if (x === 0) return "0";
  const size = Math.abs(x);
  let text;
  if (size >= 1e-3 && size < 1e5) {
    text = String(Number(x.toPrecision(digits)));
  } else {
    const [mantissa, power] = x.toExponential(Math.max(0, digits - 2)).split("e");
    const raised = [...String(Number(power))].map((c) => SUPER[c]).join("");
    text = `${Number(mantissa)}·10${raised}`;
  }
  return text.replace("-", "−");
}

/** Bytes in the largest fitting unit. */
function bytes(n) {
  if (n < 1000) return `${n} B`;
  if (n < 1e6) return `${Number((n / 1e3).toPrecision(3))} kB`;
  return `${Number((n / 1e6).toPrecision(3))} MB`;
}

const thousands = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, " ");

/** Little-endian float32 from base64. */
function floats(text) {
  const raw = atob(text);
  const octets = new Uint8Array(raw.length);
  for (let k = 0; k < raw.length; k++) octets[k] = raw.charCodeAt(k);
  const view = new DataView(octets.buffer);
  return Float32Array.from({ length: raw.length / 4 }, (_, k) => view.getFloat32(4 * k, true));
}

/** Ranges [[lo, hi], …] as a list of positions. */
function positions(ranges) {
  const found = [];
  for (const [lo, hi] of ranges) for (let t = lo; t <= hi; t++) found.push(t);
  return found;
}

// Blue over paper to orange: told apart by every kind of colour vision, and by lightness.
const NEGATIVE = { light: [0, 96, 168], dark: [86, 170, 240] };
const POSITIVE = { light: [200, 84, 0], dark: [255, 160, 80] };
const PAPER = { light: [247, 246, 242], dark: [36, 40, 48] };

/** The colour of a value between -1 and 1, as [r, g, b]; the root makes small values visible. */
function shade(x, theme) {
  const to = (x < 0 ? NEGATIVE : POSITIVE)[theme];
  const share = Math.sqrt(Math.min(1, Math.abs(x)));
  return PAPER[theme].map((c, k) => Math.round(c + (to[k] - c) * share));
}

/** The theme that is shown: "light" or "dark". */
function theme() {
  const chosen = document.documentElement.dataset.theme;
  if (chosen) return chosen;
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

/** A colour of the style sheet. */
const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** The name of an element: `a[3,1]`. */
function element(row, t, index) {
  const at = row.rest ? [...row.rest] : [];
  if (row.rest === null) return `${row.var} …`;
  if (row.clock !== null) at.splice(row.at, 0, index === undefined ? t : index);
  return at.length ? `${row.var}[${at.join(",")}]` : row.var;
}
