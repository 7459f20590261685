"""When each element is computed: the frames of the animation.

A sequence arrives one element at a time: ``x[t]`` at tick ``t``. Everything else is computed as
soon as what it reads is there, one tick later where what it reads was computed at another position.
So a causal model is at step ``t`` at tick ``t``, a reversed chain begins when the sequence has
ended, a table is computed diagonal by diagonal. Gradients flow back in mirror order: the adjoint of
what was computed at tick ``k`` of ``n`` is there at tick ``n - k`` of the way back, when the
adjoints of all that read it are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..graph import Graph, Node


@dataclass(frozen=True)
class Timeline:
    """Ticks by positions in `Graph.table`.

    Attributes:
        forward: of each node of the model; ``backward`` of each node of its adjoint.
        last: the last tick of either way; the first is 0.
    """

    forward: Mapping[int, int]
    backward: Mapping[int, int]
    last: int


def timeline(graph: Graph) -> Timeline:
    """The ticks of a graph at level "equation"."""
    places = [_place(graph, node) for node in graph.table]
    back = set[int]()
    forward: dict[int, int] = {}
    for at, node in enumerate(graph.table):
        if node.role == "adjoint" or any(o in back for o in node.operands):
            back.add(at)
            continue
        tick = 0
        if node.op == "input" and places[at] is not None:
            tick = max(0, _time(places[at]))
        for o in node.operands:
            # What is given is there from when it arrives on, wherever it is read.
            made = bool(graph.table[o].operands)
            tick = max(tick, forward[o] + (_moves(places[o], places[at]) if made else 0))
        forward[at] = tick
    # Until an adjoint reads them, what only it reads (its helpers) would be in nobody's way.
    last = max((t for k, t in forward.items() if graph.table[k].operands), default=0)
    forward = {k: min(t, last) for k, t in forward.items()}
    backward: dict[int, int] = {}
    for at in sorted(back):
        node = graph.table[at]
        tick = max((backward[o] for o in node.operands if o in back), default=0)
        mirror = graph.elements.get((_adjoint_of(graph, node), node.index))
        if mirror is not None and mirror in forward and graph.table[mirror].operands:
            tick = max(tick, last - forward[mirror])
        elif not any(o in back for o in node.operands):
            # A derivative of the loss, which is wanted where it is read from the model.
            read = [forward[o] for o in node.operands if o in forward and places[o] is not None]
            tick = max(tick, last - max(read, default=last))
        backward[at] = min(tick, last)
    return Timeline(forward, backward, last)


def _adjoint_of(graph: Graph, node: Node) -> str:
    v = graph.program.vars.get(node.var)
    return (v.adjoint_of or "") if v is not None else ""


#: The lengths that a variable's axes run over, and the positions on them.
_Place = tuple[tuple[str, ...], tuple[int, ...]]


def _place(graph: Graph, node: Node) -> _Place | None:
    v = graph.program.vars.get(node.var)
    if v is None or not node.is_element:
        return None
    clocks, at = [], []
    for axis, position in zip(v.axes, node.index, strict=False):
        symbols = (axis.hi - axis.lo).symbols & set(graph.lengths)
        if symbols:
            clocks.append(min(symbols))
            at.append(position)
    return (tuple(clocks), tuple(at)) if at else None


def _time(place: _Place | None) -> int:
    assert place is not None
    return place[1][0]


def _moves(read: _Place | None, reader: _Place | None) -> int:
    """1 where something is read from another position, else 0."""
    if read is None or reader is None:
        return 0
    if read[0] == reader[0]:
        return int(read[1] != reader[1])
    return int(read[0][0] != reader[0][0] or read[1][0] != reader[1][0])


__all__ = ["Timeline", "timeline"]
