// The page as a whole: controls, keys, what is pointed at, theme.

const controls = { scrub: byId("scrub"), play: byId("play"), place: byId("place"), speed: byId("speed") };
let position = 0;
let playing = 0; // the timer, 0 while paused
let hovered = null;
let chosen = null;

// --- what never changes ---

byId("name").append(data.model);
byId("about").append(data.about);
const facts = [
  ...Object.entries(data.sizes).map(([n, k]) => `${n} = ${k}`),
  ...Object.entries(data.lengths).map(([n, k]) => `${n} = ${k}`),
  ...Object.entries(data.losses).map(([n, x]) => `${n} = ${number(x, 6)}`),
];
byId("notes").append(make("li", { class: "facts mono" }, facts.join("   ")));
const notes = [...data.notes, ...data.why, ...(data.sample.why ? [data.sample.why] : [])];
for (const note of notes) byId("notes").append(make("li", {}, note));
for (const [kind, text] of [["input", "data"], ["variable", "computed"], ["adjoint", "adjoint"], ["param", "parameter"]]) {
  const there = kind === "param" ? data.margin.some((m) => m.kind === "param") : data.rows.some((r) => r.kind === kind);
  if (there) byId("legend").append(make("span", { class: kind }, make("i"), text));
}
const tabs = PHASES.map((p) => {
  const start = startOf(p.name);
  const button = make("button", { type: "button", "data-phase": p.name }, p.title);
  if (start < 0) button.disabled = true;
  if (start < 0) button.title = p.name === "sample" ? data.sample.why || "" : p.name === "backward" ? data.why[0] || "" : "Nothing runs over time";
  button.addEventListener("click", () => {
    pause();
    go(start, true);
  });
  byId("phases").append(button);
  return { button, name: p.name };
});
controls.scrub.max = frames.length - 1;

// --- moving ---

/** Show a frame. */
function go(to, animate = false) {
  position = Math.min(frames.length - 1, Math.max(0, to));
  const frame = frames[position];
  controls.scrub.value = position;
  controls.scrub.setAttribute("aria-valuetext", `${frame.phase} ${frame.k}`);
  say(controls.place, `${position + 1} / ${frames.length}`);
  for (const { button, name } of tabs) {
    if (name === frame.phase) button.setAttribute("aria-current", "step");
    else button.removeAttribute("aria-current");
  }
  document.body.dataset.phase = frame.phase;
  document.body.dataset.k = frame.k;
  say(byId("summary"), summary(frame));
  graph.show(frame, animate);
  for (const panel of [equations, heat, memory, costates, gradients, samples]) panel.show(frame);
}

/** The frame in which an element of a variable in the picture of values is computed. */
function goToColumn(h, t) {
  const phase = h.kind === "adjoint" ? "backward" : "forward";
  const tick = h.ticks[t - h.first];
  if (tick < 0) return;
  pause();
  go(frames.findIndex((f) => f.phase === phase && f.k === tick), false);
}

function pause() {
  clearTimeout(playing);
  playing = 0;
  controls.play.setAttribute("aria-label", "Play");
  byId("play-shape").setAttribute("d", "M8 5v14l11-7z");
  // What happens at each frame is not read aloud while it plays.
  byId("summary").setAttribute("aria-live", "polite");
}

function play() {
  if (position === frames.length - 1) go(0);
  controls.play.setAttribute("aria-label", "Pause");
  byId("play-shape").setAttribute("d", "M7 5v14M17 5v14");
  byId("summary").setAttribute("aria-live", "off");
  const next = () => {
    if (position >= frames.length - 1) return pause();
    go(position + 1, true);
    playing = setTimeout(next, pace(frames[position]));
  };
  playing = setTimeout(next, 120);
}

/** Milliseconds for a frame: long parts go faster, so that none takes much more than 20 s. */
function pace(frame) {
  const count = frames.filter((f) => f.phase === frame.phase).length;
  const usual = frame.phase === "sample" ? 350 : 950;
  return Math.max(30, Math.min(usual, 20000 / count)) / Number(controls.speed.value);
}

const toggle = () => (playing ? pause() : play());
const step = (by, animate = true) => {
  pause();
  go(position + by, animate);
};

controls.play.addEventListener("click", toggle);
byId("first").addEventListener("click", () => step(-Infinity));
byId("back").addEventListener("click", () => step(-1));
byId("next").addEventListener("click", () => step(1));
// A drag tells of more places than there are screens to show them on: one a screen is drawn.
let dragged = 0;
controls.scrub.addEventListener("input", () => {
  pause();
  cancelAnimationFrame(dragged);
  const to = Number(controls.scrub.value);
  dragged = requestAnimationFrame(() => go(to, false));
});

document.addEventListener("keydown", (e) => {
  if (e.altKey || e.ctrlKey || e.metaKey || byId("help").open) return;
  const tag = e.target.tagName;
  if (tag === "SELECT" || (tag === "INPUT" && e.target.type !== "range")) return;
  const onButton = tag === "BUTTON" || tag === "SUMMARY";
  const part = PHASES.findIndex((p) => p.name === frames[position].phase);
  const keys = {
    " ": onButton ? null : toggle,
    ArrowRight: () => step(e.shiftKey ? 10 : 1, !e.repeat && !e.shiftKey),
    ArrowLeft: () => step(e.shiftKey ? -10 : -1, !e.repeat && !e.shiftKey),
    ArrowDown: () => phaseBy(part, 1),
    ArrowUp: () => phaseBy(part, -1),
    Home: () => step(-Infinity),
    End: () => step(Infinity),
    Escape: () => choose(null),
    "?": () => byId("help").showModal(),
  };
  if (!keys[e.key]) return;
  e.preventDefault();
  keys[e.key]();
});

function phaseBy(part, by) {
  for (let k = part + by; k >= 0 && k < PHASES.length; k += by) {
    const start = startOf(PHASES[k].name);
    if (start >= 0) return step(start - position);
  }
}

// --- what is pointed at ---

function hover(what) {
  hovered = what;
  light();
}

function choose(what) {
  const again = chosen && what && chosen.margin === what.margin && String([...chosen.vars]) === String([...what.vars]) && chosen.key === what.key;
  chosen = again ? null : what;
  if (chosen && chosen.vars.size) heat.select([...chosen.vars][0]);
  light();
}

function light() {
  const what = hovered || chosen;
  graph.light(what);
  equations.light(what, chosen);
  if (gradients.light) gradients.light(what);
  say(byId("detail"), what ? detail(what) : "");
}

/** A line about what is pointed at. */
function detail(what) {
  if (what.margin) {
    const m = data.margin.find((x) => x.name === what.margin);
    const steps = new Set(Object.entries(m.uses).flatMap(([r, spans]) => (data.rows[r].kind === "adjoint" ? [] : positions(spans))));
    const readers = [...new Set(Object.keys(m.uses).map((r) => data.rows[r].var))];
    const g = data.gradients.find((x) => x.name === m.name);
    const norm = m.kind === "param" ? `, of norm ${number(m.size)}` : "";
    const end = g ? ` Its gradient has norm ${number(g.norm)}.` : "";
    return `${m.name}: ${m.type}${norm}. Used at ${steps.size} ${steps.size === 1 ? "step" : "steps"}, by ${listed(readers) || "nothing shown here"}.${end}`;
  }
  if (!what.row || what.t === null || what.t === undefined) {
    const name = [...what.vars][0];
    const row = data.rows.find((r) => r.var === name);
    return row ? `${name}: ${row.type}, ${row.kind === "adjoint" ? "an adjoint" : row.kind === "input" ? "data" : row.kind}.` : `${name} has no box of its own.`;
  }
  const { row, t } = what;
  const at = progress(frames[position]);
  const { done } = stateOf(row, t, frames[position], at);
  const name = element(row, t);
  if (!done) return `${name}: ${row.type}, not computed yet.`;
  const vector = row.clock === null ? null : heat.vector(row.var, t);
  const size = row.scalar || row.rest === null ? "" : ` Norm ${number(row.sizeAt.get(t))}.`;
  if (!vector) return `${name} = ${number(row.sizeAt.get(t))}: ${row.type}.${size}`;
  const some = vector.slice(0, 8).map((x) => number(x, 3)).join(", ");
  return row.scalar ? `${name} = ${number(vector[0], 6)}` : `${name} = [${some}${vector.length > 8 ? `, … ${vector.length} numbers` : ""}].${size}`;
}

// --- theme, size, beginning ---

const THEMES = ["", "light", "dark"];
function setTheme(name) {
  if (name) document.documentElement.dataset.theme = name;
  else delete document.documentElement.dataset.theme;
  byId("theme").setAttribute("aria-label", `Colours: ${name || "as the system has them"}`);
  readInks();
  heat.theme();
  go(position);
}
byId("theme").addEventListener("click", () => {
  // The first click is a change that can be seen.
  const now = document.documentElement.dataset.theme || "";
  const other = theme() === "dark" ? "light" : "dark";
  setTheme(now === "" ? other : THEMES[(THEMES.indexOf(now) + 1) % 3]);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTheme(document.documentElement.dataset.theme || ""));
byId("help-button").addEventListener("click", () => byId("help").showModal());
document.addEventListener("click", (e) => {
  if (e.target.tagName === "svg") choose(null);
});

let resized = 0;
addEventListener("resize", () => {
  cancelAnimationFrame(resized);
  resized = requestAnimationFrame(() => {
    graph.resize();
    for (const panel of [heat, memory, costates]) panel.resize();
  });
});

readInks();
// `page.html#backward-3` opens at a frame.
const [, phase, k] = location.hash.match(/^#(\w+)-(\d+)$/) || [];
const asked = frames.findIndex((f) => f.phase === phase && f.k === Number(k));
position = Math.max(0, asked);
graph.resize();
go(position);
