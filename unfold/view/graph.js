// The loop that unrolls into the chain: boxes in rows (variables) and slots (steps), lines between
// them, parameters at the margin. Boxes keep their names and rows from the first frame to the last.

const BOX = { height: 30, gap: 26 };
const CHIP = { height: 20, pitch: 24 };
const GAP = 46; // the width of what stands for steps that are left out
const LETTERS = 18; // the longest label; of longer ones the middle is left out

const graph = (() => {
  const host = byId("graph");
  const rows = data.rows;
  const loops = [...new Set(rows.map((r) => r.var))].map((name) => {
    const own = rows.flatMap((r, k) => (r.var === name ? [k] : []));
    return { name, own, row: rows[own[0]], middle: own.reduce((a, b) => a + b, 0) / own.length };
  });
  const loopOf = new Map(loops.map((l) => [l.name, l]));
  const hasFree = rows.some((r) => r.clock === null);
  const pitchY = rows.length > 22 ? 34 : 40;
  const letters = Math.max(4, ...rows.map((r) => element(r, r.times.at(-1)).length));
  const width = Math.min(128, Math.max(56, 6.6 * Math.min(letters, LETTERS) + 10));
  const pitchX = width + BOX.gap;
  const chipLetters = Math.max(0, ...data.margin.map((m) => m.name.length));
  const chipWidth = data.margin.length ? Math.min(132, Math.max(54, 6.7 * chipLetters + 22)) : 0;
  const tall = data.margin.length * CHIP.pitch > rows.length * pitchY + 20;
  const chipColumns = tall ? 2 : 1;
  const rail = chipWidth ? chipColumns * (chipWidth + 8) + 34 : 12;
  const top = 16;
  const height = Math.max(rows.length * pitchY, Math.ceil(data.margin.length / chipColumns) * CHIP.pitch) + top + 36;
  const gradientOf = new Map(data.gradients.map((g) => [g.name, g]));

  const svg = draw("svg", { role: "img", "aria-label": graphLabel() });
  const defs = draw("defs", {}, svg);
  for (const kind of ["flow", "adjoint", "recall", "use", "gather"]) {
    const m = draw("marker", { id: `arrow-${kind}`, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 6, markerHeight: 6, orient: "auto-start-reverse" }, defs);
    draw("path", { d: "M0.5 0.5 7.5 4 0.5 7.5 2 4z", class: `arrow ${kind}` }, m);
  }
  const band = draw("rect", { class: "band", y: 0, rx: 8 }, svg);
  const layers = {};
  for (const name of ["lines", "headings", "boxes", "chips"]) layers[name] = draw("g", { class: name }, svg);
  host.append(svg);

  const boxes = new Map(); // by key: what is drawn, where it is and where it goes
  const lines = new Map();
  const headings = [];
  let chipsAt = new Map();
  let room = 6; // how many slots there are at a time
  let total = 0; // the width there is
  const SMALLEST = 0.7; // what the picture may shrink to so that all steps are seen
  let frame = frames[0];
  let lit = null; // {vars: Set, margin, key}
  let animation = 0;

  const y = (index) => top + (rows.length - 1 - index) * pitchY + pitchY / 2;

  function graphLabel() {
    const names = (kind) => [...new Set(data.rows.filter((r) => r.kind === kind).map((r) => r.var))];
    const said = [["inputs", "input"], ["variables", "variable"], ["losses", "loss"], ["adjoints", "adjoint"]]
      .map(([title, kind]) => [title, names(kind)])
      .filter(([, found]) => found.length)
      .map(([title, found]) => `${title} ${found.join(", ")}`);
    return `Dependence graph of ${data.model}: ${said.join("; ")}. The equations beside it say the same.`;
  }

  // --- chips at the margin ---

  data.margin.forEach((m, k) => {
    const perColumn = Math.ceil(data.margin.length / chipColumns);
    const block = Math.min(data.margin.length, perColumn) * CHIP.pitch;
    const x = 4 + Math.floor(k / perColumn) * (chipWidth + 8);
    const at = top + Math.max(0, (rows.length * pitchY - block) / 2) + (k % perColumn) * CHIP.pitch;
    const g = draw("g", { class: `chip ${m.kind}`, transform: `translate(${x},${at})`, tabindex: 0, role: "button", "aria-label": `${m.name}, ${m.kind === "param" ? "parameter" : m.kind}: ${m.type}` }, layers.chips);
    const face = draw("rect", { width: chipWidth, height: CHIP.height, rx: m.kind === "param" ? 10 : 4, class: "face" }, g);
    const bar = draw("rect", { width: 0, height: CHIP.height, rx: 10, class: "fill" }, g);
    draw("text", { x: chipWidth / 2, y: 14 }, g).textContent = short(m.name, 15);
    draw("title", {}, g).textContent = `${m.name}: ${m.type}`;
    chipsAt.set(m.name, { g, bar, kind: m.kind, most: mostOf(m.name), face, x: x + chipWidth, y: at + CHIP.height / 2, uses: new Map(Object.entries(m.uses).map(([r, s]) => [Number(r), s])) });
    point(g, () => ({ vars: new Set(), margin: m.name, key: null }));
  });

  /** The largest that the sum of a gradient is on the way. */
  function mostOf(name) {
    const g = gradientOf.get(name);
    return g ? Math.max(...g.partial.map(Number).filter(Number.isFinite), 0) : 0;
  }

  function short(text, most) {
    if (text.length <= most) return text;
    const end = Math.max(5, text.length - Math.max(text.lastIndexOf("_bar"), text.length - 10));
    return `${text.slice(0, most - end - 1)}…${text.slice(-end)}`;
  }

  /** Whether a row reads a name of the margin at a position. */
  const reads = (chip, row, t) => (chip.uses.get(row) || []).some(([lo, hi]) => lo <= t && t <= hi);

  // --- what is under the pointer ---

  function point(e, what) {
    e.addEventListener("pointerenter", () => hover(what()));
    e.addEventListener("pointerleave", () => hover(null));
    e.addEventListener("focus", () => hover(what()));
    e.addEventListener("blur", () => hover(null));
    e.addEventListener("click", () => choose(what()));
    e.addEventListener("keydown", (event) => {
      if (event.key === "Enter") choose(what());
    });
  }

  // --- slots ---

  /** The slots of a frame: columns, gaps of columns that are left out, the loop that is left. */
  function slotsOf(f) {
    const out = progress(f).out;
    const left = out < columns.length || !columns.length ? 1 : 0;
    const shown = new Set();
    if (out + left <= room) {
      for (let c = 0; c < out; c++) shown.add(c);
    } else {
      const span = Math.max(1, Math.floor(room - left - 2 - (2 * (GAP + BOX.gap)) / pitchX));
      const here = Math.min(Math.max(focus(f), 0), out - 1);
      const from = Math.max(0, Math.min(here - Math.floor(span / 2), out - span));
      for (let c = from; c < Math.min(from + span, out); c++) shown.add(c);
      shown.add(0);
      shown.add(out - 1);
      if (shown.has(2)) shown.add(1);
      if (shown.has(out - 3)) shown.add(out - 2);
    }
    const slots = [];
    let before = -1;
    for (const c of [...shown].sort((a, b) => a - b)) {
      if (c > before + 1) slots.push({ kind: "gap", from: before + 1, to: c - 1 });
      slots.push({ kind: "column", column: c });
      before = c;
    }
    if (left) slots.push({ kind: "loop", from: out, to: columns.length - 1 });
    return slots;
  }

  /** Where everything goes in a frame. */
  function arrange(f) {
    const slots = slotsOf(f);
    let x = rail + width / 2 + 8;
    if (slots.length === 1 && slots[0].kind === "loop") x = Math.max(x, rail + (total - rail) / 2 - pitchX / 2);
    for (const s of slots) {
      const wide = s.kind === "gap" ? GAP : width;
      s.x = x + (wide - width) / 2;
      x += wide + BOX.gap;
    }
    const loop = slots.find((s) => s.kind === "loop");
    const freeX = x + (loop ? 24 : 0);
    const slotOf = new Map();
    slots.forEach((s, k) => {
      if (s.kind === "column") slotOf.set(s.column, k);
      else for (let c = s.from; c <= s.to; c++) slotOf.set(c, k);
    });
    return { slots, slotOf, freeX, loop, end: freeX + width / 2 + 10 };
  }

  /** The box that stands for an element: itself, the loop, or the dots of a gap; and its column. */
  function keyOf(row, t, place) {
    const r = rows[row];
    if (r.clock === null) return place.loop && !columns.length ? `loop/${r.var}` : `free/${row}`;
    const column = columnOf.get(`${r.clock}:${t}`);
    const slot = place.slotOf.get(column);
    if (slot === undefined) return null;
    const kind = place.slots[slot].kind;
    if (kind === "column") return `${row}/${slot}`;
    return kind === "loop" ? `loop/${r.var}` : `gap/${row}/${slot}`;
  }

  // --- one frame ---

  function box(key, kind) {
    let b = boxes.get(key);
    if (!b) {
      const g = draw("g", { class: "box" }, layers.boxes);
      const rect = draw("rect", { width, height: BOX.height, x: -width / 2, y: -BOX.height / 2, rx: kind === "input" ? 4 : 9 }, g);
      const glow = draw("rect", { width, height: BOX.height, x: -width / 2, y: -BOX.height / 2, rx: kind === "input" ? 4 : 9, class: "glow" }, g);
      const label = draw("text", { y: -2, class: "label" }, g);
      const value = draw("text", { y: 10, class: "value" }, g);
      b = { g, rect, glow, label, value, dots: kind === "gap", x: null, y: null, o: 0 };
      boxes.set(key, b);
      point(g, () => ({ vars: new Set([b.row.var]), margin: null, key, row: b.row, t: b.t }));
    }
    b.wanted = true;
    return b;
  }

  const adjointSizes = rows.filter((r) => r.kind === "adjoint").flatMap((r) => r.sizes.map(Number)).filter((s) => Number.isFinite(s) && s !== 0).map((s) => Math.log10(Math.abs(s)));
  const lowest = Math.min(...adjointSizes);
  const highest = Math.max(...adjointSizes);

  /** How strong an adjoint glows: by the logarithm of its size. */
  function strength(size) {
    const x = Math.abs(Number(size));
    if (!Number.isFinite(x) || x === 0 || !adjointSizes.length) return 0;
    if (highest - lowest < 1e-9) return 0.6;
    // At least three decades from end to end, so that what hardly changes looks alike.
    const span = Math.max(3, highest - lowest);
    return 0.06 + 0.8 * Math.max(0, 1 - (highest - Math.log10(x)) / span);
  }

  function place(b, x, at, opacity, origin) {
    b.tx = x;
    b.ty = at;
    b.to = opacity;
    if (b.x === null) {
      b.x = origin ? origin.x : x;
      b.y = origin ? origin.y : at;
    }
  }

  function fill(b, row, t, label, f, at) {
    b.row = row;
    b.t = t;
    say(b.label, short(label, LETTERS));
    const loopy = t === null;
    const { done, now } = loopy ? { done: false, now: false } : stateOf(row, t, f, at);
    const size = loopy ? undefined : row.sizeAt.get(t);
    const known = done && size !== undefined;
    const norm = row.scalar || row.rest === null ? number(size, 3) : `‖${number(size, 3)}‖`;
    say(b.value, known ? norm : "");
    set(b.label, "y", known ? -2 : 4);
    const early = row.kind === "adjoint" && f.phase !== "backward" && f.phase !== "sample";
    const names = ["box", row.kind, done ? "done" : "", now ? "now" : "", early ? "early" : ""];
    if (lit) names.push(isLit(b, row, t) ? "lit" : "unlit");
    set(b.g, "class", names.filter(Boolean).join(" "));
    set(b.glow, "fill-opacity", known && row.kind === "adjoint" ? strength(size).toFixed(3) : known ? "1" : "0");
  }

  function isLit(b, row, t) {
    if (lit.key) return boxes.get(lit.key) === b || lit.near.has(b);
    if (lit.margin) {
      const chip = chipsAt.get(lit.margin);
      const own = rows.flatMap((r, k) => (r.var === row.var && (t === null || r === row) ? [k] : []));
      return own.some((k) => (t === null ? chip.uses.has(k) : reads(chip, k, t)));
    }
    return lit.vars.has(row.var);
  }

  function show(f, animate) {
    frame = f;
    const at = progress(f);
    const now = arrange(f);
    for (const b of boxes.values()) b.wanted = false;
    if (lit && lit.key) {
      lit.near = new Set();
      eachLine(now, f, (a, z) => {
        if (a === lit.key && boxes.has(z)) lit.near.add(boxes.get(z));
        if (z === lit.key && boxes.has(a)) lit.near.add(boxes.get(a));
      });
    }
    rows.forEach((row, k) => {
      if (row.clock === null) {
        if (!columns.length || now.loop && now.slots.length === 1) return;
        const b = box(`free/${k}`, row.kind);
        const t = row.times[0];
        place(b, now.freeX, y(k), 1, { x: now.freeX, y: y(k) });
        fill(b, row, t, element(row, t), f, at);
        return;
      }
      now.slots.forEach((s, n) => {
        if (s.kind === "column" && columns[s.column].length === row.clock && row.tickAt.has(columns[s.column].t)) {
          const t = columns[s.column].t;
          const b = box(`${k}/${n}`, row.kind);
          const origin = f.phase === "unroll" && s.column === f.k - 1 ? { x: s.x + (now.loop ? pitchX : 0), y: y(loopOf.get(row.var).middle) } : null;
          place(b, s.x, y(k), 1, origin);
          fill(b, row, t, element(row, t), f, at);
        } else if (s.kind === "gap" && crosses(row, s)) {
          const b = box(`gap/${k}/${n}`, "gap");
          place(b, s.x, y(k), 1, null);
          b.row = row;
          b.t = null;
          say(b.label, "⋯");
          set(b.label, "y", 5);
          say(b.value, "");
          set(b.glow, "fill-opacity", "0");
          const names = ["box gap", row.kind, row.kind === "adjoint" && f.phase !== "backward" && f.phase !== "sample" ? "early" : "", lit ? (lit.vars.has(row.var) ? "lit" : "unlit") : ""];
          set(b.g, "class", names.filter(Boolean).join(" "));
        }
      });
    });
    if (now.loop) {
      for (const l of loops) {
        const alone = now.slots.length === 1;
        if (l.row.clock === null && !alone) continue;
        if (l.row.clock !== null && !crosses(l.row, now.loop)) continue;
        const b = box(`loop/${l.name}`, l.row.kind);
        place(b, now.loop.x, y(l.middle), 1, null);
        const timeless = !columns.length;
        fill(b, l.row, timeless ? l.row.times[0] : null, symbol(l.row), f, at);
        if (timeless) continue;
        b.g.setAttribute("class", `${b.g.getAttribute("class")} loop`);
        b.g.known.class = null;
      }
    }
    for (const [key, b] of boxes) {
      if (b.wanted) continue;
      b.g.remove();
      boxes.delete(key);
    }
    headingsOf(now, f);
    chipsOf(f, at);
    linesOf(now, f, at);
    size();
    move(animate);
    keepInView();
  }

  /** Where the picture is higher than its place, scroll to what is computed now. */
  function keepInView() {
    if (height * scale <= host.clientHeight || lit) return;
    const way = frame.phase === "backward" || frame.phase === "sample";
    const now = [...boxes.values()].filter((b) => b.row && b.t !== null && stateOf(b.row, b.t, frame, progress(frame)).now);
    const own = now.length ? now : [...boxes.values()].filter((b) => (b.row.kind === "adjoint") === way);
    if (!own.length) return;
    const first = Math.min(...own.map((b) => b.ty)) * scale;
    const last = Math.max(...own.map((b) => b.ty)) * scale;
    const [from, to] = [host.scrollTop, host.scrollTop + host.clientHeight];
    if (first >= from + 20 && last <= to - 20) return;
    host.scrollTop = last - first < host.clientHeight - 40 ? (first + last - host.clientHeight) / 2 : way ? first - 40 : last - host.clientHeight + 60;
  }

  /** Whether a row has a box in one of the columns of a gap or of the loop. */
  function crosses(row, s) {
    row.columns ||= row.times.map((t) => columnOf.get(`${row.clock}:${t}`)).sort((p, q) => p - q);
    return row.columns.some((c) => c >= s.from) && row.columns[0] <= s.to && (s.to - s.from > 2 || row.columns.some((c) => c >= s.from && c <= s.to));
  }

  /** `h[t]`, as it stands in the equations. */
  function symbol(row) {
    if (row.clock === null) return element(row, row.times[0]);
    const index = data.clocks.find((c) => c.length === row.clock).index;
    const others = "ijkmn".replace(index, "");
    const at = row.rest ? row.rest.map((_, k) => others[k] || "·") : data.rows.find((r) => r.var === row.var && r.rest).rest.map((_, k) => others[k] || "·");
    at.splice(row.at, 0, index);
    return `${row.var}[${at.join(",")}]`;
  }

  function headingsOf(now, f) {
    const here = focus(f);
    let found = null;
    now.slots.forEach((s, k) => {
      const h = headings[k] || (headings[k] = draw("text", { class: "heading" }, layers.headings));
      const hidden = s.to - s.from + 1;
      const text = s.kind === "column" ? columns[s.column].label : s.kind === "gap" ? `${hidden} steps` : columns.length ? "the loop" : "";
      say(h, text);
      set(h, "x", s.x);
      set(h, "y", height - 12);
      const mine = s.kind === "column" && s.column === here && ["unroll", "forward", "backward"].includes(f.phase);
      set(h, "class", mine ? "heading now" : "heading");
      if (mine) found = s;
    });
    headings.splice(now.slots.length).forEach((h) => h.remove());
    set(band, "opacity", found ? 1 : 0);
    if (found) {
      set(band, "x", found.x - width / 2 - 8);
      set(band, "width", width + 16);
      set(band, "height", height - 2);
    }
  }

  function chipsOf(f, at) {
    for (const [name, chip] of chipsAt) {
      const active = f.phase !== "loop" && activeUses(chip, f).length > 0;
      const names = ["chip", chip.kind];
      if (active) names.push("now");
      if (lit) names.push(lit.margin === name || (lit.key && lit.row && usesBox(chip, lit)) || [...lit.vars].some((v) => !lit.key && rows.some((r, k) => r.var === v && chip.uses.has(k))) ? "lit" : "unlit");
      set(chip.g, "class", names.join(" "));
      const g = gradientOf.get(name);
      const part = g && at.backward >= 0 && chip.most > 0 ? Number(g.partial[at.backward]) / chip.most : 0;
      set(chip.bar, "width", (Math.max(0, Math.min(1, part || 0)) * chipWidth).toFixed(1));
    }
  }

  const usesBox = (chip, what) => rows.some((r, k) => r === what.row && (what.t === null ? chip.uses.has(k) : reads(chip, k, what.t)));

  /** The boxes that use a parameter in a frame, as [row, t]. */
  function activeUses(chip, f) {
    if (chip.frame !== f) [chip.frame, chip.active] = [f, activeUsesOf(chip, f)];
    return chip.active;
  }

  function activeUsesOf(chip, f) {
    const found = [];
    if (f.phase === "loop") {
      for (const l of loops) {
        const k = l.own.find((own) => l.row.kind !== "adjoint" && chip.uses.has(own));
        if (k !== undefined) found.push([k, rows[k].clock === null ? 0 : columns.at(-1)?.t ?? 0]);
      }
    }
    if (f.phase === "unroll") {
      const c = columns[f.k - 1];
      rows.forEach((row, k) => {
        if (row.clock === c.length && row.kind !== "adjoint" && row.tickAt.has(c.t) && reads(chip, k, c.t)) found.push([k, c.t]);
      });
    }
    if (f.phase === "forward") {
      for (const [row, t] of computed(f)) if (reads(chip, row.number, t)) found.push([row.number, t]);
    }
    if (f.phase === "backward") {
      // A gradient is gathered where the adjoint of what read the parameter is known now.
      for (const [row, t] of computed(f)) {
        if (readersOf(row).some((k) => reads(chip, k, t))) found.push([row.number, t]);
      }
    }
    return found;
  }

  /** The rows that an adjoint is the adjoint of. */
  function readersOf(row) {
    row.readers ||= rows.flatMap((r, k) => (r.var === row.base && r.kind !== "adjoint" && String(r.rest) === String(row.rest) ? [k] : []));
    return row.readers;
  }

  // --- lines ---

  /** Call `use(a, b, kind, group, t)` for every line between two boxes of a frame. */
  function eachLine(now, f, use) {
    const shownColumns = now.slots.filter((s) => s.kind === "column").map((s) => columns[s.column]);
    const seen = new Set();
    const join = (a, b, line, t) => {
      if (!a || !b || (a === b && !a.startsWith("loop/"))) return;
      const key = `${a}>${b}>${line.kind}`;
      if (seen.has(key) || (a.startsWith("gap/") && b.startsWith("gap/"))) return;
      seen.add(key);
      use(a, b, line, t);
    };
    for (const line of data.lines) {
      const from = rows[line.from];
      const to = rows[line.to];
      if (now.loop) {
        const stays = line.shift === 0 || line.shift === undefined;
        const inside = from.clock === null || to.clock === null ? now.slots.length === 1 : crosses(from, now.loop) && crosses(to, now.loop);
        if (inside && !(stays && from.var === to.var)) {
          join(`loop/${from.var}`, `loop/${to.var}`, line, null);
        }
      }
      if (line.shift !== undefined) {
        for (const [lo, hi] of line.spans) {
          for (const c of shownColumns) {
            if (c.length !== to.clock) continue;
            if (lo <= c.t && c.t <= hi) join(keyOf(line.from, c.t - line.shift, now), keyOf(line.to, c.t, now), line, c.t);
            const reader = c.t + line.shift;
            if (line.shift && lo <= reader && reader <= hi) join(keyOf(line.from, c.t, now), keyOf(line.to, reader, now), line, reader);
          }
        }
        continue;
      }
      for (const [reader, lo, hi] of line.reads) {
        const b = keyOf(line.to, reader, now);
        if (!b || b.startsWith("gap/")) continue;
        if (from.clock === null) {
          join(keyOf(line.from, lo, now), b, line, reader);
          continue;
        }
        for (const c of shownColumns) if (c.length === from.clock && lo <= c.t && c.t <= hi) join(keyOf(line.from, c.t, now), b, line, reader);
        for (const s of now.slots) {
          if (s.kind === "column") continue;
          const t = [lo, hi].find((p) => {
            const c = columnOf.get(`${from.clock}:${p}`);
            return c >= s.from && c <= s.to;
          });
          if (t !== undefined && !(s.kind === "loop" && b.startsWith("loop/"))) join(keyOf(line.from, t, now), b, line, reader);
        }
      }
    }
  }

  function linesOf(now, f, at) {
    for (const l of lines.values()) l.wanted = false;
    eachLine(now, f, (a, z, line, t) => {
      const start = boxes.get(a);
      const end = boxes.get(z);
      if (!start || !end) return;
      const touching = lit && (lit.key ? a === lit.key || z === lit.key : lit.vars.has(end.row.var));
      if (line.kind === "recall" && !touching) return;
      const state = end.t === null ? { done: false, now: false } : stateOf(end.row, end.t, f, at);
      const names = ["line", line.kind, state.done ? "done" : "", state.now ? "now" : ""];
      if (rows[line.to].kind === "adjoint" && f.phase !== "backward" && f.phase !== "sample") names.push("early");
      if (lit) names.push(touching ? "lit" : "unlit");
      const l = wire(`${a}>${z}>${line.kind}`, line.kind, names);
      l.a = start;
      l.b = end;
      l.loop = a.startsWith("loop/") && z.startsWith("loop/");
      if (l.loop) (l.shifts ||= new Set()).add(line.shift === undefined ? 0 : line.shift);
    });
    for (const [name, chip] of chipsAt) {
      const wanted = new Map();
      if (lit && lit.margin === name) {
        for (const [key, b] of boxes) if (b.row && !key.startsWith("gap/") && isLit(b, b.row, b.t)) wanted.set(key, "use");
      } else if (!lit) {
        const here = columns[focus(f)];
        for (const [k, t] of activeUses(chip, f)) {
          // Lines to one step only; at the others the boxes and the chip light up.
          if (f.phase !== "loop" && rows[k].clock !== null && here && (rows[k].clock !== here.length || t !== here.t)) continue;
          const key = f.phase === "loop" ? `loop/${rows[k].var}` : keyOf(k, t, now);
          if (key && !key.startsWith("gap/")) wanted.set(key, f.phase === "backward" ? "gather" : "use");
        }
      }
      for (const [key, kind] of wanted) {
        const b = boxes.get(key);
        if (!b) continue;
        const l = wire(`${name}~${key}`, kind, ["line", kind, "now"]);
        l.a = chip;
        l.b = b;
        l.loop = false;
      }
    }
    for (const [key, l] of lines) {
      if (l.wanted) continue;
      l.path.remove();
      if (l.label) l.label.remove();
      lines.delete(key);
    }
  }

  function wire(key, kind, names) {
    let l = lines.get(key);
    if (!l) {
      l = { path: draw("path", {}, layers.lines), kind };
      lines.set(key, l);
    }
    if (!l.wanted) l.shifts = null;
    l.wanted = true;
    l.kind = kind;
    set(l.path, "class", names.filter(Boolean).join(" "));
    set(l.path, "marker-end", kind === "gather" ? "" : `url(#arrow-${kind})`);
    set(l.path, "marker-start", kind === "gather" ? `url(#arrow-${kind})` : "");
    return l;
  }

  const half = BOX.height / 2;
  /** Half the width of a box; of the dots of a gap. */
  const reach = (b) => (b.dots ? 14 : width / 2);

  function trace(l) {
    const { a, b } = l;
    if (a.uses) {
      const x = b.x - width / 2 - 1;
      const bend = Math.max(30, (x - a.x) / 2);
      set(l.path, "d", `M${a.x + 1} ${a.y}C${(a.x + bend).toFixed(1)} ${a.y} ${(x - bend).toFixed(1)} ${b.y.toFixed(1)} ${x.toFixed(1)} ${b.y.toFixed(1)}`);
      return;
    }
    const far = l.loop && [...(l.shifts || [])].some((s) => s !== 0);
    if (far) return loopTrace(l);
    if (l.label) {
      l.label.remove();
      l.label = null;
    }
    const dx = b.x - a.x;
    if (Math.abs(dx) < 2) {
      const up = b.y < a.y;
      const apart = Math.abs(b.y - a.y) / pitchY;
      if (apart < 1.5) {
        set(l.path, "d", `M${a.x.toFixed(1)} ${(a.y + (up ? -half : half)).toFixed(1)}L${b.x.toFixed(1)} ${(b.y + (up ? half + 1 : -half - 1)).toFixed(1)}`);
        return;
      }
      const side = l.kind === "adjoint" ? 1 : -1;
      const x = a.x + (side * width) / 2;
      const bulge = x + side * Math.min(30, 8 + 4 * apart);
      set(l.path, "d", `M${x.toFixed(1)} ${(a.y - 4).toFixed(1)}C${bulge.toFixed(1)} ${a.y.toFixed(1)} ${bulge.toFixed(1)} ${b.y.toFixed(1)} ${(x + side).toFixed(1)} ${(b.y + 5).toFixed(1)}`);
      return;
    }
    const side = dx > 0 ? 1 : -1;
    const x1 = a.x + side * reach(a);
    const x2 = b.x - side * (reach(b) + 1);
    const bend = Math.max(14, Math.abs(x2 - x1) / 2) * side;
    set(l.path, "d", `M${x1.toFixed(1)} ${a.y.toFixed(1)}C${(x1 + bend).toFixed(1)} ${a.y.toFixed(1)} ${(x2 - bend).toFixed(1)} ${b.y.toFixed(1)} ${x2.toFixed(1)} ${b.y.toFixed(1)}`);
  }

  /** A line of the loop that reaches to another step, with its distance. */
  function loopTrace(l) {
    const { a, b } = l;
    const x = a.x + width / 2;
    const apart = Math.abs(a.y - b.y) / pitchY;
    const bulge = x + 34 + 9 * Math.min(apart, 7);
    const [y1, y2] = apart < 0.1 ? [a.y - 9, b.y + 9] : [a.y, b.y];
    set(l.path, "d", `M${x.toFixed(1)} ${y1.toFixed(1)}C${bulge.toFixed(1)} ${y1.toFixed(1)} ${bulge.toFixed(1)} ${y2.toFixed(1)} ${(x + 1).toFixed(1)} ${y2.toFixed(1)}`);
    if (!l.label) l.label = draw("text", {}, layers.lines);
    set(l.label, "class", `distance ${l.kind} ${l.path.getAttribute("class").includes("early") ? "early" : ""}`);
    set(l.label, "x", (x + (bulge - x) * 0.75 + 4).toFixed(1));
    set(l.label, "y", ((y1 + y2) / 2 + 3.5).toFixed(1));
    const index = (data.clocks.find((c) => c.length === a.row.clock) || { index: "t" }).index;
    const shifts = [...l.shifts].filter((s) => s !== 0);
    const said = shifts.sort((p, q) => p - q).map((s) => `${index}${s > 0 ? "−" : "+"}${Math.abs(s)}`);
    say(l.label, said.length > 2 ? `${said[0]} … ${said.at(-1)}` : said.join(", "));
  }

  // --- movement ---

  function apply() {
    for (const b of boxes.values()) {
      set(b.g, "transform", `translate(${b.x.toFixed(1)},${b.y.toFixed(1)})`);
      set(b.g, "opacity", b.o.toFixed(2));
    }
    for (const l of lines.values()) trace(l);
  }

  function move(animate) {
    cancelAnimationFrame(animation);
    const start = [...boxes.values()].map((b) => [b, b.x, b.y, b.o]);
    const finish = () => {
      for (const b of boxes.values()) [b.x, b.y, b.o] = [b.tx, b.ty, b.to];
      apply();
    };
    const moving = start.some(([b, x0, y0]) => Math.abs(b.tx - x0) > 0.5 || Math.abs(b.ty - y0) > 0.5);
    if (!animate || !moving || matchMedia("(prefers-reduced-motion: reduce)").matches) return finish();
    const began = performance.now();
    const tick = (time) => {
      const u = Math.min(1, Math.max(0, (time - began) / 420));
      const eased = u < 0.5 ? 4 * u ** 3 : 1 - (2 - 2 * u) ** 3 / 2;
      for (const [b, x0, y0, o0] of start) {
        b.x = x0 + (b.tx - x0) * eased;
        b.y = y0 + (b.ty - y0) * eased;
        b.o = o0 + (b.to - o0) * Math.min(1, 2 * u);
      }
      if (u >= 1) return finish();
      apply();
      animation = requestAnimationFrame(tick);
    };
    for (const [b, x0, y0, o0] of start) [b.x, b.y, b.o] = [x0, y0, o0];
    apply();
    animation = requestAnimationFrame(tick);
  }

  let scale = 1;

  function size() {
    const wide = Math.max(total, Math.ceil(full));
    set(svg, "width", Math.floor(wide * scale));
    set(svg, "height", Math.ceil(height * scale));
    set(svg, "viewBox", `0 0 ${wide} ${height}`);
  }

  let full = 0; // the width of all slots

  function resize() {
    const there = host.clientWidth - 4;
    const slots = (n) => rail + n * pitchX + (hasFree ? pitchX : 0) + 30;
    // All steps if they fit, be it a little smaller; else as many as there is room for.
    const all = slots(columns.length);
    const fits = all <= there / SMALLEST;
    room = fits ? columns.length + 1 : Math.max(5, Math.floor((there / 0.8 - slots(0)) / pitchX));
    full = fits ? all : slots(room);
    scale = Math.max(SMALLEST, Math.min(1, there / full));
    total = there / scale;
    show(frame, false);
  }

  function light(what) {
    lit = what;
    set(svg, "class", what ? "has-lit" : "");
    show(frame, false);
  }

  return { show, resize, light };
})();
