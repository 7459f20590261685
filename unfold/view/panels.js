// What stands around the graph: equations, values, memory, gradients, samples. Each panel is an
// object with `show(frame)`, and where it has something to do with what is pointed at, `light(what)`.

/** A canvas that is as sharp as the screen; `paint(context, width, height)` draws it. */
function sheet(host, height, paint, label) {
  const canvas = make("canvas", { role: "img", "aria-label": label });
  canvas.style.height = `${height}px`;
  host.append(canvas);
  let wide = 0;
  return {
    canvas,
    paint() {
      const scale = Math.min(2, devicePixelRatio || 1);
      const width = wide || (wide = canvas.clientWidth);
      if (!width) return;
      if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
        canvas.width = Math.round(width * scale);
        canvas.height = Math.round(height * scale);
      }
      const c = canvas.getContext("2d");
      c.setTransform(scale, 0, 0, scale, 0, 0);
      c.clearRect(0, 0, width, height);
      paint(c, width, height);
    },
    resize() {
      wide = 0;
    },
  };
}

const absent = (host, text) => host.append(make("p", { class: "absent" }, text));
/** The colours that canvases use; read again when the theme changes. */
let inks = {};
function readInks() {
  for (const name of ["ink", "soft", "rule", "forward", "adjoint", "param", "paper"]) inks[name] = ink(`--${name}`);
}
const SERIES = ["#D55E00", "#0072B2", "#009E73", "#CC79A7", "#8a7a00", "#56B4E9"];
const DASHES = [[], [6, 3], [2, 3], [8, 3, 2, 3], [1, 2], [12, 4]];

// --- equations --------------------------------------------------------------------------------

const equations = (() => {
  const host = byId("equations");
  const kinds = new Map(data.margin.map((m) => [m.name, m.kind]));
  for (const row of data.rows) kinds.set(row.var, row.kind);
  for (const e of data.equations) if (!kinds.has(e.var)) kinds.set(e.var, e.part === "adjoint" ? "adjoint" : "variable");
  for (const g of data.gradients) kinds.set(`${g.name}_bar`, "adjoint");

  /** Text with the names in it coloured. */
  function coloured(text) {
    return text.split(/([A-Za-z_][\w.]*)/).map((word, k) => (k % 2 && kinds.has(word) ? make("span", { class: `name ${kinds.get(word)}` }, word) : word));
  }

  const head = make("details", { class: "declarations" });
  head.append(make("summary", {}, data.head[0] || `model ${data.model}:`), make("pre", {}, ...coloured(data.head.slice(1).join("\n"))));
  host.append(head);
  const buttons = [];
  let part = null;
  let list = null;
  for (const e of data.equations) {
    if (e.part !== part) {
      part = e.part;
      if (part) host.append(make("h3", {}, part));
      list = make("ul");
      host.append(list);
    }
    const button = make("button", { type: "button", class: "equation", "aria-pressed": "false" });
    button.append(...coloured(e.text));
    list.append(make("li", {}, button));
    const uses = new Set([...e.text.matchAll(/[A-Za-z_][\w.]*/g)].map((m) => m[0]));
    buttons.push({ button, e, uses });
    const what = () => ({ vars: new Set([e.var]), margin: null, key: null, equation: e });
    button.addEventListener("pointerenter", () => hover(what()));
    button.addEventListener("pointerleave", () => hover(null));
    button.addEventListener("focus", () => hover(what()));
    button.addEventListener("blur", () => hover(null));
    button.addEventListener("click", () => choose(what()));
  }

  /** What the last step of unrolling and each tick computes. */
  function show(frame) {
    const now = new Set(computed(frame).map(([row]) => row.var));
    if (frame.phase === "backward") {
      for (const { e } of buttons) if (/_bar$/.test(e.var) && gradientMoves(e.var.replace(/_bar$/, ""), frame.k)) now.add(e.var);
    }
    for (const { button, e } of buttons) button.classList.toggle("now", now.has(e.var));
  }

  function gradientMoves(name, k) {
    const g = data.gradients.find((found) => found.name === name);
    return g && Number(g.partial[k]) !== (k ? Number(g.partial[k - 1]) : 0);
  }

  function light(what, chosen) {
    for (const { button, e, uses } of buttons) {
      let lit = false;
      if (what) lit = what.margin ? uses.has(what.margin) : what.equation ? what.equation === e : what.vars.has(e.var);
      button.classList.toggle("lit", lit);
      const held = chosen && (chosen.equation ? chosen.equation === e : chosen.vars.has(e.var));
      button.setAttribute("aria-pressed", held ? "true" : "false");
    }
    if (what && !what.equation) {
      const first = buttons.find(({ button }) => button.classList.contains("lit"));
      if (first) keepInView(first.button);
    }
  }

  /** Scroll the list and nothing else. */
  function keepInView(e) {
    const top = e.offsetTop - host.offsetTop;
    if (top < host.scrollTop || top + e.offsetHeight > host.scrollTop + host.clientHeight) host.scrollTop = top - host.clientHeight / 3;
  }

  return { show, light };
})();

// --- values -----------------------------------------------------------------------------------

const heat = (() => {
  const host = byId("heat");
  const select = byId("heat-name");
  const found = data.heat.filter((h) => h.shown > 0);
  if (!found.length) {
    absent(host, "There is nothing over time to show in this model.");
    select.closest("label").hidden = true;
    return { show() {}, resize() {}, theme() {}, select() {} };
  }
  const titles = { variable: "Computed", input: "Data", adjoint: "Adjoints" };
  for (const kind of ["variable", "input", "adjoint"]) {
    const own = found.filter((h) => h.kind === kind);
    if (!own.length) continue;
    const group = make("optgroup", { label: titles[kind] });
    for (const h of own) group.append(make("option", { value: h.name }, h.name));
    select.append(group);
  }
  const own = found.filter((h) => h.kind === "variable");
  const best = own.find((h) => h.rows > 1 && isRecurrent(h.name)) || own.find((h) => isRecurrent(h.name)) || own.find((h) => h.labels.axes.length) || found[0];
  select.value = best.name;
  const readout = make("p", { class: "readout", "aria-live": "polite" });
  const bar = make("div", { class: "colourbar", "aria-hidden": "true" });
  const note = make("p", { class: "fine" });
  const table = make("table");
  const alternative = make("details");
  alternative.append(make("summary", {}, "The values at this step as a table"), table);
  let h = best;
  let values = null;
  let image = null;
  let frame = frames[0];
  let cell = null; // [row, column] under the pointer or the keys
  let high = 220;
  let canvas = null;
  let tableOf = "";

  function isRecurrent(name) {
    return data.lines.some((l) => l.kind === "flow" && data.rows[l.from].var === name && data.rows[l.to].var === name && l.shift);
  }

  const cache = new Map();
  function load() {
    h = found.find((x) => x.name === select.value);
    if (!cache.has(h.name)) cache.set(h.name, floats(h.data));
    values = cache.get(h.name);
    high = Math.max(56, Math.min(260, h.shown * (h.shown > 24 ? 4 : 18)));
    if (canvas) canvas.canvas.remove();
    canvas = sheet(host, high, paint, "");
    host.prepend(canvas.canvas);
    canvas.canvas.tabIndex = 0;
    canvas.canvas.setAttribute("role", "application");
    canvas.canvas.setAttribute("aria-roledescription", "heat map");
    canvas.canvas.setAttribute("aria-label", `${h.name}: ${h.shown} rows of numbers by ${h.steps} steps. Arrow keys move from cell to cell.`);
    canvas.canvas.addEventListener("pointermove", (e) => at(e));
    canvas.canvas.addEventListener("pointerleave", () => seen(null));
    canvas.canvas.addEventListener("blur", () => seen(null));
    canvas.canvas.addEventListener("keydown", keys);
    canvas.canvas.addEventListener("click", (e) => {
      at(e);
      if (cell) goToColumn(h, h.first + cell[1]);
    });
    cell = null;
    render();
    const most = Number(h.most);
    bar.replaceChildren(make("span", {}, `−${number(most, 3)}`), make("i"), make("span", {}, number(most, 3)));
    const left = h.rows - h.shown;
    say(note, left ? `The first ${h.shown} of ${thousands(h.rows)} rows; the page would be too large with all of them.` : "");
    tableOf = "";
    show(frame);
  }

  /** One pixel a cell, all of it: what is not there yet is covered when painting. */
  function render() {
    const canvas_ = make("canvas");
    canvas_.width = h.steps;
    canvas_.height = h.shown;
    const c = canvas_.getContext("2d");
    const pixels = c.createImageData(h.steps, h.shown);
    const name = theme();
    const most = Number(h.most) || 1;
    for (let k = 0; k < values.length; k++) {
      const there = tickOf(Math.floor(k / h.steps), k % h.steps) >= 0;
      const rgb = there ? (Number.isNaN(values[k]) ? [128, 128, 128] : shade(values[k] / most, name)) : null;
      pixels.data.set(rgb ? [...rgb, 255] : [0, 0, 0, 0], 4 * k);
    }
    c.putImageData(pixels, 0, 0);
    image = canvas_;
  }

  const perGroup = () => h.rows / h.groups;
  const tickOf = (row, column) => h.ticks[Math.floor(row / perGroup()) * h.steps + column];
  const reached = () => {
    const p = progress(frame);
    return h.kind === "adjoint" ? p.backward : p.forward;
  };

  function paint(c, width, height) {
    const limit = reached();
    c.imageSmoothingEnabled = false;
    const w = width / h.steps;
    const tall = height / h.shown;
    const block = perGroup();
    // What the model does not define stays blank, what is not computed yet is hatched faintly.
    for (let g = 0; g * block < h.shown; g++) {
      const top = g * block * tall;
      const rows = Math.min(block, h.shown - g * block);
      let from = 0;
      while (from < h.steps) {
        const done = h.ticks[g * h.steps + from] >= 0 && h.ticks[g * h.steps + from] <= limit;
        let to = from + 1;
        while (to < h.steps && (h.ticks[g * h.steps + to] >= 0 && h.ticks[g * h.steps + to] <= limit) === done) to++;
        if (done) c.drawImage(image, from, g * block, to - from, rows, from * w, top, (to - from) * w, rows * tall);
        from = to;
      }
    }
    c.strokeStyle = inks.rule;
    c.strokeRect(0.5, 0.5, width - 1, height - 1);
    const here = currentColumn();
    if (here !== null && h.labels.axes.length) {
      // Of a table, the cells that are computed now.
      c.strokeStyle = h.kind === "adjoint" ? inks.adjoint : inks.forward;
      h.ticks.forEach((tick, k) => {
        const g = Math.floor(k / h.steps);
        if (tick === limit && g * block < h.shown) c.strokeRect((k % h.steps) * w + 1, g * block * tall + 1, Math.max(w - 2, 2), Math.max(block * tall - 2, 2));
      });
    } else if (here !== null) {
      c.strokeStyle = h.kind === "adjoint" ? inks.adjoint : inks.forward;
      c.lineWidth = 2;
      c.strokeRect(here * w, 1, Math.max(w, 3), height - 2);
    }
    if (cell) {
      c.strokeStyle = inks.ink;
      c.lineWidth = 1.5;
      c.strokeRect(cell[1] * w, cell[0] * tall, Math.max(w, 3), Math.max(tall, 3));
    }
    c.lineWidth = 1;
  }

  /** The column of the step that the frame is about. */
  function currentColumn() {
    if (!["forward", "backward"].includes(frame.phase)) return null;
    const c = columns[focus(frame)];
    if (!c || c.length !== h.clock) return null;
    const k = c.t - h.first;
    return k >= 0 && k < h.steps ? k : null;
  }

  /** `h[3], unit 2`, for a row and a column. */
  function nameOf(row, column) {
    const { axes, shape, time } = h.labels;
    const sizes = [...axes.map((a) => a[1]), ...shape];
    const index = [];
    let left = row;
    for (const n of [...sizes].reverse()) {
      index.unshift(left % n);
      left = Math.floor(left / n);
    }
    const at = index.slice(0, axes.length).map((k, n) => k + axes[n][0]);
    at.splice(time, 0, h.first + column);
    const inside = index.slice(axes.length);
    return `${h.name}[${at.join(",")}]${inside.length ? `, component ${inside.join(", ")}` : ""}`;
  }

  function valueOf(row, column) {
    const tick = tickOf(row, column);
    if (tick < 0) return "not defined by the model";
    if (tick > reached()) return "not computed yet";
    return number(values[row * h.steps + column], 5);
  }

  function at(e) {
    const box = canvas.canvas.getBoundingClientRect();
    const column = Math.floor(((e.clientX - box.left) / box.width) * h.steps);
    const row = Math.floor(((e.clientY - box.top) / box.height) * h.shown);
    if (row >= 0 && row < h.shown && column >= 0 && column < h.steps) seen([row, column]);
  }

  function seen(where) {
    cell = where;
    say(readout, where ? `${nameOf(...where)}: ${valueOf(...where)}` : hint());
    canvas.paint();
  }

  const hint = () => "Point at a cell, or move with the arrow keys, to read its value.";

  function keys(e) {
    const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    if (!moves[e.key] || e.altKey || e.ctrlKey || e.metaKey) return;
    e.preventDefault();
    e.stopPropagation();
    const [row, column] = cell || [0, (currentColumn() ?? 0) - moves[e.key][1]];
    const to = [row + moves[e.key][0], column + moves[e.key][1]];
    seen([Math.min(h.shown - 1, Math.max(0, to[0])), Math.min(h.steps - 1, Math.max(0, to[1]))]);
  }

  function fillTable() {
    if (!alternative.open) return;
    const here = currentColumn() ?? h.steps - 1;
    const key = `${h.name} ${here} ${reached()}`;
    if (key === tableOf) return;
    tableOf = key;
    const rows = [make("caption", {}, `${h.name} at ${data.clocks.find((c) => c.length === h.clock).index} = ${h.first + here}`)];
    const head = make("tr");
    head.append(make("th", { scope: "col" }, "element"), make("th", { scope: "col" }, "value"));
    rows.push(head);
    for (let row = 0; row < Math.min(h.shown, 128); row++) {
      const line = make("tr");
      line.append(make("th", { scope: "row" }, nameOf(row, here)), make("td", {}, valueOf(row, here)));
      rows.push(line);
    }
    table.replaceChildren(...rows);
  }

  function show(f) {
    frame = f;
    canvas.paint();
    say(readout, cell ? `${nameOf(...cell)}: ${valueOf(...cell)}` : hint());
    fillTable();
  }

  host.append(bar, readout, note, alternative);
  select.addEventListener("change", load);
  alternative.addEventListener("toggle", fillTable);
  load();
  return {
    show,
    resize() {
      canvas.resize();
      canvas.paint();
    },
    theme() {
      render();
      canvas.paint();
    },
    /** Show a variable, if it has values here. */
    select(name) {
      if (!found.some((x) => x.name === name) || select.value === name) return;
      select.value = name;
      load();
    },
    /** A variable's numbers at a step, once they are computed. */
    vector(name, column) {
      const x = found.find((y) => y.name === name);
      if (!x || x.labels.axes.length || x.rows !== x.shown) return null;
      if (!cache.has(name)) cache.set(name, floats(x.data));
      const own = cache.get(name);
      return Array.from({ length: x.rows }, (_, r) => own[r * x.steps + column - x.first]);
    },
  };
})();

// --- memory -----------------------------------------------------------------------------------

const memory = (() => {
  const host = byId("memory");
  const s = data.stored;
  if (!s) {
    absent(host, data.losses && Object.keys(data.losses).length ? "Nothing is kept: there is no gradient in parameters." : "Nothing has to be kept: no gradient flows back.");
    return { show() {}, resize() {} };
  }
  const most = Math.max(1, s.forward.at(-1));
  const big = make("p", { class: "big" });
  const value = make("strong", { id: "stored" });
  big.append(value, make("span"));
  host.append(big);
  const ticks = data.last + 1;
  const reel = sheet(host, 90, paint, "Bytes stored on the way forward and still needed on the way back");
  const names = Object.entries(s.variables).sort((a, b) => b[1] - a[1]);
  const list = names.slice(0, 8).map(([n, b]) => `${n} ${bytes(b)}`).join(" · ");
  host.append(
    make("p", { class: "fine" }, names.length ? `${list}${names.length > 8 ? ` · and ${names.length - 8} more` : ""}` : "The adjoint reads no state."),
    make("p", { class: "fine" }, `A call of the compiled gradient takes ${bytes(s.native)} in all, with parameters, inputs, results and work space.`),
  );
  let frame = frames[0];

  function paint(c, width, height) {
    const p = progress(frame);
    const x = (k) => 2 + ((width - 4) * k) / (2 * ticks - 1);
    const y = (b) => height - 14 - (b / most) * (height - 22);
    const all = [...s.forward, ...s.backward];
    const reached = p.backward >= 0 ? ticks + p.backward : p.forward;
    const line = (to, fill) => {
      c.beginPath();
      c.moveTo(x(0), y(0));
      for (let k = 0; k <= to; k++) {
        if (k) c.lineTo(x(k), y(all[k - 1]));
        c.lineTo(x(k), y(all[k]));
      }
      if (fill) {
        c.lineTo(x(to), y(0));
        c.closePath();
        c.fillStyle = fill;
        c.fill();
      } else c.stroke();
    };
    c.strokeStyle = inks.rule;
    line(all.length - 1, null);
    if (reached >= 0) {
      c.save();
      c.beginPath();
      c.rect(0, 0, x(Math.min(reached, ticks - 1)) + 1, height);
      c.clip();
      c.globalAlpha = 0.35;
      line(Math.min(reached, ticks - 1), inks.forward);
      c.restore();
      if (reached >= ticks) {
        c.save();
        c.beginPath();
        c.rect(x(ticks - 1), 0, x(reached) - x(ticks - 1) + 1, height);
        c.clip();
        c.globalAlpha = 0.35;
        line(reached, inks.adjoint);
        c.restore();
      }
      c.fillStyle = reached >= ticks ? inks.adjoint : inks.forward;
      c.beginPath();
      c.arc(x(reached), y(all[reached]), 3.5, 0, 7);
      c.fill();
    }
    c.strokeStyle = inks.rule;
    c.beginPath();
    c.moveTo(0, height - 13.5);
    c.lineTo(width, height - 13.5);
    c.stroke();
    c.fillStyle = inks.soft;
    c.font = "11px system-ui, sans-serif";
    c.textAlign = "left";
    c.fillText("forward →", 2, height - 2);
    c.textAlign = "right";
    c.fillText("→ backward", width - 2, height - 2);
  }

  function show(f) {
    frame = f;
    const p = progress(f);
    const now = p.backward >= 0 ? s.backward[p.backward] : p.forward >= 0 ? s.forward[p.forward] : 0;
    say(value, bytes(now));
    say(big.lastChild, p.backward >= 0 ? ` still needed of ${bytes(most)}` : ` stored, of ${bytes(s.forward.at(-1))} in the end`);
    reel.paint();
  }
  return { show, resize: () => (reel.resize(), reel.paint()) };
})();

// --- costates ---------------------------------------------------------------------------------

const costates = (() => {
  const host = byId("costates");
  const all = data.costates.filter((c) => c.norms.some((x) => Number(x) !== 0));
  if (!all.length) {
    absent(host, data.backward ? "No state of this model has a gradient." : data.why[0] || "No gradient flows back.");
    return { show() {}, resize() {}, light() {} };
  }
  // Those that carry the recurrence first.
  const carries = (name) => data.lines.some((l) => l.kind === "flow" && data.rows[l.from].var === name && l.shift);
  const shown = [...all].sort((a, b) => Number(carries(b.name)) - Number(carries(a.name))).slice(0, 6);
  const rows = data.rows;
  for (const c of shown) {
    const row = rows.find((r) => r.var === c.name && r.kind === "variable");
    // The costate of an element is there in mirror order of the element.
    c.tick = c.norms.map((_, k) => {
      const own = rows.filter((r) => r.var === c.name).map((r) => r.tickAt.get(c.first + k)).filter((t) => t !== undefined);
      return own.length ? data.last - Math.min(...own) : 0;
    });
    c.known = Boolean(row);
    c.logs = c.norms.map((x) => (Number(x) > 0 && Number.isFinite(Number(x)) ? Math.log10(Number(x)) : null));
  }
  const logs = shown.flatMap((c) => c.logs).filter((x) => x !== null);
  let low = Math.floor(Math.min(...logs) - 0.05);
  let high = Math.ceil(Math.max(...logs) + 0.05);
  if (high - low < 2) low = high - 2;
  const lo = Math.min(...shown.map((c) => c.first));
  const hi = Math.max(...shown.map((c) => c.first + c.norms.length - 1));
  host.append(make("p", { class: "fine" }, "‖∂loss/∂state‖ at each step, on a logarithmic scale."));
  const reel = sheet(host, 150, paint, "Norms of costates by step; the numbers stand below");
  const key = make("ul", { class: "key" });
  const numbers = shown.map((c, k) => {
    const li = make("li");
    const mark = make("i");
    mark.style.color = SERIES[k];
    mark.dataset.dash = String(k);
    const value = make("output", { "data-costate": c.name });
    li.append(mark, make("span", { class: "mono" }, c.name), value);
    key.append(li);
    return value;
  });
  host.append(key);
  if (all.length > shown.length) host.append(make("p", { class: "fine" }, `${all.length - shown.length} more states are not drawn.`));
  let frame = frames[0];

  function paint(c, width, height) {
    const reached = progress(frame).backward;
    const left = 34;
    const x = (t) => left + 4 + ((width - left - 10) * (t - lo)) / Math.max(1, hi - lo);
    const y = (v) => 8 + ((height - 28) * (high - v)) / (high - low);
    c.font = "11px system-ui, sans-serif";
    c.textAlign = "right";
    const every = Math.max(1, Math.ceil((high - low) / 5));
    for (let p = low; p <= high; p += every) {
      c.strokeStyle = inks.rule;
      c.beginPath();
      c.moveTo(left, y(p));
      c.lineTo(width, y(p));
      c.stroke();
      c.fillStyle = inks.soft;
      c.fillText(p === 0 ? "1" : `10${[...String(p)].map((d) => SUPER[d]).join("")}`, left - 4, y(p) + 4);
    }
    c.textAlign = "center";
    const index = data.clocks[0] ? data.clocks[0].index : "t";
    c.fillText(`${index} = ${lo}`, x(lo) + 14, height - 3);
    if (hi > lo) c.fillText(`${hi}`, x(hi) - 8, height - 3);
    shown.forEach((s, n) => {
      c.strokeStyle = SERIES[n];
      c.fillStyle = SERIES[n];
      for (const done of [false, true]) {
        c.globalAlpha = done ? 1 : 0.18;
        c.lineWidth = done ? 2 : 1.5;
        c.setLineDash(DASHES[n]);
        c.beginPath();
        let pen = false;
        s.logs.forEach((v, k) => {
          const on = v !== null && (!done || s.tick[k] <= reached);
          if (on) pen ? c.lineTo(x(s.first + k), y(v)) : c.moveTo(x(s.first + k), y(v));
          pen = on;
        });
        c.stroke();
        c.setLineDash([]);
        if (done && s.logs.length <= 40) {
          s.logs.forEach((v, k) => {
            if (v === null || s.tick[k] > reached) return;
            c.beginPath();
            c.arc(x(s.first + k), y(v), 2.6, 0, 7);
            c.fill();
          });
        }
      }
    });
    c.globalAlpha = 1;
    c.lineWidth = 1;
  }

  function show(f) {
    frame = f;
    const reached = progress(f).backward;
    shown.forEach((s, n) => {
      let at = -1;
      s.tick.forEach((tick, k) => {
        if (tick <= reached && (at < 0 || tick > s.tick[at] || (tick === s.tick[at] && k < at))) at = k;
      });
      say(numbers[n], at < 0 ? "–" : `${number(s.norms[at])} at ${s.first + at}`);
    });
    reel.paint();
  }
  return { show, resize: () => (reel.resize(), reel.paint()) };
})();

// --- gradients of parameters ------------------------------------------------------------------

const gradients = (() => {
  const host = byId("gradients");
  const all = data.gradients;
  if (!all.length) {
    absent(host, data.margin.some((m) => m.kind === "param") ? data.why[0] || "No gradient reaches a parameter." : "There are no parameters to learn in this model.");
    return { show() {}, resize() {}, light() {} };
  }
  host.append(make("p", { class: "fine" }, "The norm of the sum so far, of ‖∂loss/∂parameter‖ in the end. Every step adds its share."));
  const table = make("table", { class: "sums" });
  table.append(make("caption", { class: "hidden" }, "Gradients of the parameters, summed up to this step"));
  const items = all.map((g) => {
    const most = Math.max(0, ...g.partial.map(Number).filter(Number.isFinite));
    const fill = make("i");
    const track = make("span", { class: "track", "aria-hidden": "true" }, fill);
    const value = make("td", { class: "mono", "data-gradient": g.name });
    const row = make("tr");
    const name = make("th", { scope: "row", class: "mono param" }, g.name);
    row.append(name, make("td", { class: "bar" }, track), value, make("td", { class: "mono end" }, `of ${number(g.norm)}`));
    table.append(row);
    row.addEventListener("pointerenter", () => hover({ vars: new Set(), margin: g.name, key: null }));
    row.addEventListener("pointerleave", () => hover(null));
    row.addEventListener("click", () => choose({ vars: new Set(), margin: g.name, key: null }));
    return { g, most, fill, value, row };
  });
  host.append(make("div", { class: "scroller" }, table));
  const outside = all.filter((g) => Number(g.outside) !== 0).map((g) => g.name);
  if (outside.length) host.append(make("p", { class: "fine" }, `${listed(outside)}: used outside of time as well, which is added at the end.`));

  function show(f) {
    const k = progress(f).backward;
    for (const { g, most, fill, value } of items) {
      const now = k < 0 ? 0 : Number(g.partial[k]);
      say(value, k < 0 ? "–" : number(g.partial[k]));
      fill.style.transform = `scaleX(${most > 0 && Number.isFinite(now) ? now / most : 0})`;
    }
  }
  function light(what) {
    for (const { g, row } of items) row.classList.toggle("lit", Boolean(what && what.margin === g.name));
  }
  return { show, resize() {}, light };
})();

// --- samples ----------------------------------------------------------------------------------

const samples = (() => {
  const host = byId("sample");
  const s = data.sample;
  if (!s.tokens) return { show() {} };
  host.append(make("p", { class: "fine" }, `What ${s.source} expects next, and what is drawn from it and fed back as ${s.token}.`));
  const text = make("p", { class: "text mono", "aria-label": "The text so far" });
  const given = make("span", { class: "given" });
  const drawn = make("span", { class: "drawn" });
  const caret = make("span", { class: "caret", "aria-hidden": "true" });
  text.append(given, drawn, caret);
  const table = make("table", { class: "sums odds" });
  table.append(make("caption", { class: "hidden" }, "The most likely next tokens and their probabilities"));
  const bars = Array.from({ length: Math.min(10, s.vocabulary.length) }, () => {
    const fill = make("i");
    const row = make("tr");
    const name = make("th", { scope: "row", class: "mono" });
    const value = make("td", { class: "mono" });
    row.append(name, make("td", { class: "bar" }, make("span", { class: "track", "aria-hidden": "true" }, fill)), value);
    table.append(row);
    return { row, name, fill, value };
  });
  host.append(text, table);
  const words = s.tokens.map((k) => s.vocabulary[k]);
  // Numbers for tokens need blanks between them; letters do not.
  const between = words.some((w) => w.length > 1) && s.vocabulary.every((w) => /^\d+$/.test(w)) ? " " : "";

  function show(f) {
    const k = progress(f).tokens;
    say(given, words.slice(0, s.prompt).join(between) + (s.prompt ? between : ""));
    say(drawn, words.slice(s.prompt, k).join(between));
    const next = s.rows[k] || [];
    const taken = s.tokens[k];
    bars.forEach(({ row, name, fill, value }, n) => {
      const odds = next[n];
      row.classList.toggle("none", !odds);
      row.classList.toggle("taken", Boolean(odds) && odds[0] === taken);
      say(name, odds ? visible(s.vocabulary[odds[0]]) : "");
      say(value, odds ? number(odds[1], 3) : "");
      fill.style.transform = `scaleX(${odds ? odds[1] : 0})`;
    });
    table.hidden = !next.length;
  }
  return { show };
})();
