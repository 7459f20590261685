// The frames of the story, and what is said at each.
//
// A frame is {phase, k}. "loop": the model as it is written. "unroll": k columns of the chain are
// out. "forward", "backward": everything up to tick k is computed. "sample": k tokens are known.

const columns = data.clocks.flatMap((c, clock) =>
  Array.from({ length: c.hi - c.lo + 1 }, (_, n) => ({ clock, length: c.length, t: c.lo + n, label: `${c.index} = ${c.lo + n}` })),
);
const columnOf = new Map(columns.map((c, k) => [`${c.length}:${c.t}`, k]));
data.rows.forEach((row) => {
  row.number = data.rows.indexOf(row);
  row.times = positions(row.steps);
  row.tickAt = new Map(row.times.map((t, k) => [t, row.ticks[k]]));
  row.sizeAt = new Map(row.times.map((t, k) => [t, row.sizes[k]]));
});

const PHASES = [
  { name: "loop", title: "Loop" },
  { name: "unroll", title: "Unroll" },
  { name: "forward", title: "Forward" },
  { name: "backward", title: "Backward" },
  { name: "sample", title: "Sample" },
];

/** The numbers of columns that are out in the frames that unroll: all of them if there are few. */
function peels(count) {
  if (count <= 14) return Array.from({ length: count }, (_, k) => k + 1);
  const few = [1, 2, 3, 4, 5, 6];
  for (let n = 9; n < count; n = Math.ceil(n * 1.6)) few.push(n);
  return [...few, count];
}

function framesOf() {
  const frames = [{ phase: "loop", k: 0 }];
  if (columns.length) for (const k of peels(columns.length)) frames.push({ phase: "unroll", k });
  for (let k = 0; k <= data.last; k++) frames.push({ phase: "forward", k });
  if (data.backward) for (let k = 0; k <= data.last; k++) frames.push({ phase: "backward", k });
  const tokens = data.sample.tokens;
  if (tokens) for (let k = data.sample.prompt; k <= tokens.length; k++) frames.push({ phase: "sample", k });
  return frames;
}

const frames = framesOf();
const startOf = (phase) => frames.findIndex((f) => f.phase === phase);

/** How far each part is: which tick is reached, -1 for none. */
function progress(frame) {
  const order = PHASES.findIndex((p) => p.name === frame.phase);
  return {
    out: frame.phase === "loop" ? 0 : frame.phase === "unroll" ? frame.k : columns.length,
    forward: order < 2 ? -1 : frame.phase === "forward" ? frame.k : data.last,
    backward: order < 3 ? -1 : frame.phase === "backward" ? frame.k : data.backward ? data.last : -1,
    tokens: frame.phase === "sample" ? frame.k : data.sample.tokens ? data.sample.prompt : 0,
  };
}

/** Whether a box is computed in a frame, and whether just now. */
function stateOf(row, t, frame, at) {
  const tick = row.tickAt.get(t);
  const reached = row.kind === "adjoint" ? at.backward : at.forward;
  const phase = row.kind === "adjoint" ? "backward" : "forward";
  return { done: tick <= reached, now: frame.phase === phase && tick === frame.k };
}

// The elements of each tick, as [row, t]: on the way forward, and on the way back.
const ticking = { forward: new Map(), backward: new Map() };
for (const row of data.rows) {
  const way = row.kind === "adjoint" ? ticking.backward : ticking.forward;
  row.times.forEach((t, k) => {
    if (!way.has(row.ticks[k])) way.set(row.ticks[k], []);
    way.get(row.ticks[k]).push([row, t]);
  });
}

/** The elements that a frame computes, as [row, t]. */
const computed = (frame) => (ticking[frame.phase] || new Map()).get(frame.k) || [];

/** The column that a frame is about. */
function focus(frame) {
  if (frame.focus === undefined) frame.focus = focusOf(frame);
  return frame.focus;
}

function focusOf(frame) {
  if (frame.phase === "loop") return 0;
  if (frame.phase === "unroll") return frame.k - 1;
  if (frame.phase === "sample") return columns.length - 1;
  const places = computed(frame)
    .filter(([row]) => row.clock !== null && row.kind !== "input")
    .map(([row, t]) => columnOf.get(`${row.clock}:${t}`));
  if (!places.length) return frame.phase === "backward" ? columns.length - 1 - frame.k : frame.k;
  return frame.phase === "backward" ? Math.min(...places) : Math.max(...places);
}

/** A list of names, the middle left out if it is long. */
function listed(names) {
  if (names.length > 6) return `${names.slice(0, 4).join(", ")}, … and ${names.length - 4} more`;
  return names.length > 1 ? `${names.slice(0, -1).join(", ")} and ${names.at(-1)}` : names[0];
}

/** What happens in a frame, in a sentence or two. */
function summary(frame) {
  const { phase, k } = frame;
  if (phase === "loop") {
    if (!columns.length) return "The model as it is written. Nothing in it runs over time.";
    return "The model as it is written: a loop. Lines with a label reach to another step, the others stay within one.";
  }
  if (phase === "unroll") {
    const all = columns.length;
    const left = all - k;
    const end = left ? `${left} still in the loop.` : "The loop is a chain now, with the same parameters at every step.";
    return `${k} of ${all} steps unrolled (${columns[k - 1].label}). ${end}`;
  }
  if (phase === "sample") return sampleSummary(k);
  const names = computed(frame)
    .filter(([row]) => row.kind !== "input")
    .map(([row, t]) => {
      const shown = row.scalar ? "" : "‖";
      return phase === "backward" || row.scalar
        ? `${shown}${element(row, t)}${shown} = ${number(row.sizeAt.get(t))}`
        : element(row, t);
    });
  const what = names.length ? listed(names) : "nothing new";
  const head = `${phase === "forward" ? "Forward" : "Backward"}, ${k} of ${data.last}: ${what}.`;
  if (!data.stored) return head;
  return phase === "forward"
    ? `${head} ${bytes(data.stored.forward[k])} stored for the way back.`
    : `${head} ${bytes(data.stored.backward[k])} of what was stored are still needed.`;
}

function sampleSummary(k) {
  const s = data.sample;
  if (k === 0) return "Sampling: nothing is drawn yet.";
  const word = s.vocabulary[s.tokens[k - 1]];
  const odds = s.rows[k - 1]?.find(([token]) => token === s.tokens[k - 1]);
  if (k <= s.prompt) return `Sampling begins after ${s.prompt} given ${s.prompt === 1 ? "token" : "tokens"}, ${visible(word)} the last.`;
  const chance = odds ? ` of probability ${number(odds[1], 3)}` : "";
  return `Sampling, token ${k - s.prompt}: ${visible(word)}${chance} is drawn and fed back.`;
}

/** A token so that blanks can be seen. */
function visible(word) {
  return { " ": "␣", "\n": "↵", "\t": "⇥", "": "∅" }[word] ?? word;
}
