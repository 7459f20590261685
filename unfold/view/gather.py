"""Everything that the page shows, as plain data: what `page.js` reads.

Numbers are rounded to six digits; large arrays are float32 in base64, as a browser has them.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..graph import Graph
from ..model import Model
from ..poly import show_shape
from ..program import Equation, Program
from ..show.order import sections
from ..show.program import equation_lines, to_rec
from ..transform.untie import time_axis
from .choose import Setting
from .places import Places, Row, base, places
from .record import Run, Values, differentiated, record
from .sample import Sample, sample
from .stored import stored
from .timeline import Timeline, timeline

Array = NDArray[Any]

#: The most numbers of one heat map, and of all together: 4 bytes each, a third more as base64.
CELLS, ALL_CELLS = 120_000, 330_000


def gather(model: Model, setting: Setting, prompt: str | None = None) -> dict[str, Any]:
    """The data of the page.

    Raises `InputError` as `unfold.view` says.
    """
    run = record(setting)
    graph = run.graph
    times = timeline(graph)
    where = places(graph, times)
    # Of variables that were simplified away the time is that in the program as it was written.
    when = _Moments([(run.written, timeline(run.written)), (graph, times)], times.last)
    values = _Norms(run)
    fn = setting.function
    text, _ = differentiated(model.program)
    data: dict[str, Any] = {
        "model": model.name,
        "about": _about(model.source),
        "sizes": {**fn.compiler.sizes, **fn.compiler.constants},
        "lengths": run.lengths,
        "notes": [f"{note}." for note in setting.notes],
        "why": list(run.why),
        "losses": {n: _number(x) for n, x in run.losses.items()},
        "last": times.last,
        "head": _declarations(text),
        "equations": _equations(text),
        "clocks": [{"length": c, "index": i, "lo": lo, "hi": hi} for c, i, lo, hi in where.clocks],
        "rows": [_row(row, values, run.program) for row in where.rows],
        "lines": [_line(line, where) for line in where.lines],
        "margin": _margin(where, run, fn.program),
        "heat": _heat(run, where, _ticks(graph, times)),
        "costates": _costates(run),
        "gradients": _gradients(run, when.step, times.last),
        "backward": bool(run.costates or run.gradients)
        or any(row.kind == "adjoint" for row in where.rows),
        "stored": None,
        "sample": _sample(sample(setting, run, prompt)),
    }
    if run.gradients:
        bill = stored(fn, run.lengths, when.element, times.last)
        data["stored"] = {
            "variables": bill.variables,
            "forward": bill.forward,
            "backward": bill.backward,
            "native": bill.native,
        }
    return data


class _Moments:
    """When elements of variables are there on the way forward."""

    def __init__(self, graphs: Iterable[tuple[Graph, Timeline]], last: int) -> None:
        self.last = last
        self.elements: dict[str, dict[tuple[int, ...], int]] = {}
        self.steps: dict[str, dict[int, int]] = {}
        for graph, times in graphs:
            for at, tick in times.forward.items():
                node = graph.table[at]
                if node.is_element and node.operands:
                    tick = min(tick, last)
                    self.elements.setdefault(node.var, {})[node.index] = tick
                    time = graph.time(node)
                    by_step = self.steps.setdefault(node.var, {})
                    step = time[1] if time else 0
                    by_step[step] = max(by_step.get(step, 0), tick)

    def element(self, name: str, index: tuple[int, ...]) -> int:
        """When an element is there. Of what is never computed, a place in a box that an equation
        leaves out, when the last of its variable's elements is."""
        known = self.elements.get(name, {})
        return known.get(index, max(known.values(), default=self.last))

    def step(self, name: str, t: int) -> int:
        """When all elements of a time are there (of a variable without time, the variable)."""
        known = self.steps.get(name, {})
        return known.get(t, known.get(0, min(max(t, 0), self.last)))


# --- text -------------------------------------------------------------------------------------


def _about(source: str | None) -> str:
    """What the comment at the head of a file says, up to what it says to try."""
    lines = []
    for line in (source or "").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    return " ".join(lines).partition(" Try: ")[0]


def _declarations(program: Program) -> list[str]:
    """The lines of the text before its equations."""
    lines = to_rec(program).splitlines()
    end = next((k for k, line in enumerate(lines) if not line), len(lines))
    return [line.rstrip() for line in lines[:end]]


def _equations(program: Program) -> list[dict[str, Any]]:
    """The equations in reading order; the section is `` or ``adjoint``."""

    def shown(eq: Equation, section: str) -> dict[str, Any]:
        return {"var": eq.name, "text": "\n".join(equation_lines(program, eq)), "part": section}

    return [shown(eq, s.title) for s in sections(program) for eq in s.equations]


# --- boxes and lines --------------------------------------------------------------------------


def _row(row: Row, norms: _Norms, program: Program) -> dict[str, Any]:
    v = program.vars[row.var]
    steps = sorted(row.ticks)
    return {
        "var": row.var,
        "rest": None if row.rest is None else list(row.rest),
        "at": time_axis(v) or 0,
        "kind": row.kind,
        "clock": row.clock,
        "hidden": row.hidden,
        "steps": _ranges(steps),
        "ticks": [row.ticks[t] for t in steps],
        "sizes": [_number(norms.of(row, t)) for t in steps],
        "scalar": not v.shape,
        "type": f"{v.type}{show_shape(v.shape)}",
        "base": base(row.var) if row.kind == "adjoint" else row.var,
    }


def _ranges(steps: Sequence[int]) -> list[list[int]]:
    found: list[list[int]] = []
    for t in steps:
        if found and found[-1][1] == t - 1:
            found[-1][1] = t
        else:
            found.append([t, t])
    return found


def _line(line: Any, where: Places) -> dict[str, Any]:
    kinds = where.rows[line.source].kind, where.rows[line.reader].kind
    kind = "flow"
    if kinds[1] == "adjoint":
        kind = "adjoint" if kinds[0] == "adjoint" else "recall"
    found = {"from": line.source, "to": line.reader, "kind": kind}
    if line.shift is None:
        return {**found, "reads": _reads(line.pairs)}
    return {**found, "shift": line.shift, "spans": line.spans}


def _reads(pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Pairs of what is read and its reader as ``[reader, first, last]``."""
    by_reader: dict[int, list[int]] = {}
    for source, reader in pairs:
        by_reader.setdefault(reader, []).append(source)
    return [[r, lo, hi] for r in sorted(by_reader) for lo, hi in _ranges(sorted(by_reader[r]))]


def _margin(where: Places, run: Run, program: Program) -> list[dict[str, Any]]:
    """Parameters in order of declaration, then what else has no place in time."""
    order = [v.name for v in program.vars.values() if v.role in ("param", "input")]
    names = [n for n in order if n in where.margin] + [n for n in where.margin if n not in order]
    found = []
    for name in names:
        v = run.program.vars[name]
        value = run.values.get(name)
        found.append(
            {
                "name": name,
                "kind": v.role,
                "type": f"{v.type}{show_shape(v.shape)}",
                "uses": {
                    str(r): _ranges(at)
                    for r, at in where.uses.get(name, {}).items()
                },
                "size": None if value is None else _number(_norm(value.array)),
            }
        )  # fmt: skip
    return found


class _Norms:
    """The size of what stands in a box: the number of a scalar, else the Euclidean norm."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._known: dict[str, Array] = {}

    def of(self, row: Row, t: int) -> float:
        v = self.run.program.vars[row.var]
        values = self.run.values[row.var]
        axis = time_axis(v)
        array = np.asarray(values.array, float)
        index: list[Any] = [slice(None)] * len(v.axes)
        rest = list(row.rest) if row.rest is not None else None
        for k in range(len(v.axes)):
            if k == axis:
                index[k] = t - values.first[k]
            elif rest is not None:
                index[k] = rest.pop(0) - values.first[k]
        cell = array[tuple(index)]
        return float(cell) if cell.ndim == 0 else _norm(cell)


def _norm(a: Array) -> float:
    flat = np.asarray(a, float).ravel()
    return float(flat[0]) if np.ndim(a) == 0 else float(np.linalg.norm(flat))


# --- numbers over time ------------------------------------------------------------------------


def _ticks(graph: Graph, times: Timeline) -> dict[str, dict[tuple[int, ...], int]]:
    """When each element is computed, by variable and positions."""
    found: dict[str, dict[tuple[int, ...], int]] = {}
    for at, node in enumerate(graph.table):
        if node.is_element:
            tick = times.backward.get(at, times.forward.get(at, 0))
            found.setdefault(node.var, {})[node.index] = tick
    return found


def _heat(
    run: Run, where: Places, ticks: Mapping[str, Mapping[tuple[int, ...], int]]
) -> list[dict[str, Any]]:
    """The values of variables as pictures: rows of components, columns of steps. What a variable
    does not define is -1 in ``ticks``, which stand there for each position on all axes."""
    kinds = {row.var: row.kind for row in where.rows if row.clock is not None}
    rank = {"variable": 0, "input": 1, "adjoint": 2}
    names = sorted(kinds, key=lambda n: rank.get(kinds[n], 3))
    found, total = [], 0
    for name in names:
        v = run.program.vars[name]
        values = run.values[name]
        axis = time_axis(v)
        if axis is None:
            continue
        array = np.moveaxis(np.asarray(values.array, float), axis, -1)
        # Rows: the other axes' positions, then the components.
        array = array.reshape(-1, array.shape[-1])
        rows, steps = array.shape
        kept = max(1, min(rows, CELLS // max(steps, 1)))
        if total + kept * steps > ALL_CELLS:
            kept = (ALL_CELLS - total) // max(steps, 1)
        shown = array[: max(kept, 0)]
        total += shown.size
        finite = shown[np.isfinite(shown)]
        extent = np.shape(values.array)[: len(v.axes)]
        when: Array = np.full(extent, -1)
        for index, tick in ticks[name].items():
            when[tuple(i - f for i, f in zip(index, values.first, strict=True))] = tick
        when = np.moveaxis(when, axis, -1).reshape(-1, steps)
        found.append(
            {
                "name": name,
                "kind": kinds[name],
                "clock": next(r.clock for r in where.rows if r.var == name),
                "first": values.first[axis],
                "steps": steps,
                "rows": rows,
                "shown": len(shown),
                "labels": _labels(v, values, axis, len(shown), run),
                "ticks": when.ravel().tolist(),
                "groups": len(when),
                "most": _number(float(np.abs(finite).max(initial=0.0))),
                "data": base64.b64encode(shown.astype("<f4").tobytes()).decode("ascii"),
            }
        )
    return found


def _labels(v: Any, values: Values, axis: int, count: int, run: Run) -> dict[str, Any]:
    """How rows are called: the shape that they are an index of, and where each axis begins."""
    others = [k for k in range(len(v.axes)) if k != axis]
    shape = np.shape(values.array)
    return {
        "time": axis,
        "axes": [[values.first[k], shape[k]] for k in others],
        "shape": list(shape[len(v.axes) :]),
        "count": count,
    }


def _costates(run: Run) -> list[dict[str, Any]]:
    """The norm of each costate by step."""
    found = []
    for name, values in run.costates.items():
        v = run.program.vars.get(name)
        if v is None:
            continue
        axis = time_axis(v) or 0
        array = np.moveaxis(np.asarray(values.array, float), axis, 0)
        norms = np.linalg.norm(array.reshape(len(array), -1), axis=1)
        clock = next(iter((v.axes[axis].hi - v.axes[axis].lo).symbols))
        found.append(
            {
                "name": name,
                "clock": clock,
                "first": values.first[axis],
                "norms": [_number(x) for x in norms],
            }
        )
    return found


def _gradients(run: Run, when: Callable[[str, int], int], last: int) -> list[dict[str, Any]]:
    """How the gradient of each parameter comes together on the way back."""
    found = []
    for name, gradient in run.gradients.items():
        total = np.zeros_like(gradient)
        arriving = np.zeros((last + 1, *gradient.shape))
        steps: dict[int, Array] = {}
        for part in run.parts:
            if part.param != name:
                continue
            for k, more in enumerate(part.steps.array):
                t = part.steps.first[0] + k
                arriving[last - min(when(part.reader, t), last)] += more
                steps[t] = steps.get(t, 0) + more
                total = total + more
        outside = gradient - total
        scale = float(np.abs(gradient).max(initial=0.0))
        if float(np.abs(outside).max(initial=0.0)) <= 1e-9 * max(scale, 1e-300):
            outside = np.zeros_like(outside)
        else:
            # What enters outside of time is complete when all of time is.
            arriving[last] += outside
        partial = np.cumsum(arriving, axis=0)
        found.append(
            {
                "name": name,
                "norm": _number(_norm(np.atleast_1d(gradient))),
                "outside": _number(_norm(np.atleast_1d(outside))),
                "partial": [_number(_norm(np.atleast_1d(p))) for p in partial],
                "first": min(steps, default=0),
                "steps": [
                    _number(_norm(np.atleast_1d(steps.get(t, np.zeros(1)))))
                    for t in range(min(steps, default=0), max(steps, default=-1) + 1)
                ],
            }
        )
    return found


def _sample(found: Sample | str) -> dict[str, Any]:
    if isinstance(found, str):
        return {"why": found}
    return {
        "source": found.source,
        "token": found.token,
        "vocabulary": list(found.vocabulary),
        "prompt": found.prompt,
        "tokens": list(found.tokens),
        "rows": [_most_likely(row) for row in found.probabilities],
    }


def _most_likely(row: Array, count: int = 12) -> list[list[float]]:
    """The most likely tokens and their probabilities."""
    if not np.all(np.isfinite(row)):
        return []
    order = np.argsort(-row, kind="stable")[:count]
    return [[int(k), _number(float(row[k]))] for k in order]


def _number(x: float) -> Any:
    """Six digits; what is not finite as text, since JSON has no such numbers."""
    if math.isfinite(x):
        return float(f"{x:.6g}")
    return "NaN" if math.isnan(x) else "Infinity" if x > 0 else "-Infinity"


__all__ = ["gather"]
