"""Through how many steps an influence has to pass: temporal path lengths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..api import as_program
from ..errors import InputError
from ..function import Function
from ..graph import Graph, unfold
from ..jacobian import Element
from ..model import Model
from ..program import TIME
from ..streaming import time_axis
from .result import COLOURS, Result, dress, spread, table, whole_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PathLengths(Result):
    """Paths through the unrolled graph from every element of a sequence to one output.

    Attributes:
        model, of: the output, ``"y[T]"``; ``steps`` is T.
        at: for each variable the positions s of its elements.
        lengths: for each the steps through time of the shortest path from v[s] (see
            `unfold.graph.Graph.path_length`); NaN where there is none.
        counts: for each how many paths there are in the graph of elements, exactly.
    """

    model: str
    of: str
    steps: int
    at: dict[str, Array]
    lengths: dict[str, Array]
    counts: dict[str, list[int]]

    def __str__(self) -> str:
        rows = []
        for name, lengths in self.lengths.items():
            for k in spread(len(lengths), 10):
                length = "none" if np.isnan(lengths[k]) else str(int(lengths[k]))
                rows.append(
                    [f"{name}[{int(self.at[name][k])}]", length, _large(self.counts[name][k])]
                )
        reached = [v[np.isfinite(v)] for v in self.lengths.values()]
        longest = max((float(v.max()) for v in reached if len(v)), default=0.0)
        lines = [
            f"paths to {self.of} of {self.model} over {self.steps} steps",
            table(["from", "steps through time", "paths"], rows),
            f"maximum path length: {int(longest)}",
        ]
        return "\n".join(lines)

    def _draw(self, ax: Axes) -> None:
        for k, (name, lengths) in enumerate(self.lengths.items()):
            ax.plot(self.at[name], lengths, "o-", color=COLOURS[(k + 1) % 8], markersize=4,
                    linewidth=1.2, label=name)  # fmt: skip
        dress(ax, f"{self.model}: shortest path to {self.of}", "step s", "path length (steps)")
        whole_ticks(ax.xaxis)
        whole_ticks(ax.yaxis)
        ax.set_ylim(bottom=-0.2)
        if len(self.lengths) > 1:
            ax.legend(frameon=False, fontsize=8)


def _large(count: int) -> str:
    text = str(count)
    return text if len(text) <= 9 else f"{text[0]}.{text[1:3]}e{len(text) - 1}"


def path_lengths(
    model: Model | Function | str,
    of: str | None = None,
    *,
    steps: int = 12,
    lengths: Mapping[str, int] | None = None,
) -> PathLengths:
    """The shortest ways, and the number of ways, from all elements of the inputs over t (or the
    states, for a model without) to an output.

    Args:
        model: what is unrolled; no sizes are needed.
        of: one element, such as ``"y[T]"`` or ``"loss"``. Default: the last element of the first
            output over t, else the first loss.
        steps: T; ``lengths`` of other axes (default: ``steps``).

    Raises:
        InputError: an unknown name, or a position outside the run.
    """
    program = model.declared if isinstance(model, Function) else as_program(model)
    at = dict.fromkeys(program.lengths, steps) | dict(lengths or {})
    if of is None:
        last = [o.name for o in program.outputs if time_axis(program.vars[o.name]) is not None]
        names = [n for n in last if len(program.vars[n].axes) == 1] or list(program.losses)
        if not names:
            raise InputError(f"{program.name} has no output to which paths could lead (`of=`)")
        of = f"{names[0]}[T]" if program.vars[names[0]].axes else names[0]
    element = Element.of(of, program)
    if None in element.index:
        raise InputError(f"{of}: paths lead to one element, such as {of}[T]")
    try:
        graph = unfold(program, at, "equation")
    except ValueError as error:
        raise InputError(str(error)) from None
    index = tuple(p.evaluate(at) for p in element.index if p is not None)
    if (element.name, index) not in graph.elements:
        raise InputError(f"{of}: {program.name} has no such element over {steps} steps")
    goal = graph.elements[element.name, index]
    sources = [
        v.name for v in program.inputs if time_axis(v) is not None and not v.noise
    ] or [v.name for v in program.role("variable") if time_axis(v) is not None]  # fmt: skip
    shortest, counts = _backward(graph, goal)
    found: dict[str, list[tuple[int, float, int]]] = {n: [] for n in sources}
    for (name, where), k in graph.elements.items():
        if name in found and len(where) >= 1:
            s = where[time_axis(program.vars[name]) or 0]
            found[name].append((s, shortest[k], counts[k]))
    found = {n: sorted(v) for n, v in found.items() if any(c for _, _, c in v)}
    if not found:
        raise InputError(f"{of} depends on no element of {', '.join(sources) or 'a sequence'}")
    return PathLengths(
        program.name,
        of,
        at.get(TIME, steps),
        {n: np.array([s for s, _, _ in v]) for n, v in found.items()},
        {n: np.array([length for _, length, _ in v]) for n, v in found.items()},
        {n: [c for _, _, c in v] for n, v in found.items()},
    )


def _backward(graph: Graph, goal: int) -> tuple[list[float], list[int]]:
    """For each node the steps through time of the shortest path to the goal, and the number of
    paths; operands stand before their users, so one walk from the end does."""
    times = [graph.time(node) for node in graph.table]
    counts = [0] * len(times)
    counts[goal] = 1
    # For each node the least number of steps by the time of the next element that has one.
    best: list[dict[tuple[str, int] | None, int]] = [{} for _ in times]
    best[goal] = {times[goal]: 0}
    for k in range(goal, -1, -1):
        if not counts[k]:
            continue
        for operand in dict.fromkeys(graph.table[k].operands):
            counts[operand] += counts[k]
            here = times[operand]
            for then, steps in best[k].items():
                moved = here is not None and then is not None and here != then
                key, cost = (then if here is None else here), steps + moved
                if cost < best[operand].get(key, cost + 1):
                    best[operand][key] = cost
    return [float(min(b.values())) if b else float("nan") for b in best], counts
