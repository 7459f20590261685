"""Loops of one iteration become statements.

before:  scan t in T..T backward: g[t] = y[t] * 2
after:   g[T] = y[T] * 2
requires: a plan whose loops are cut (`split` leaves the ends of a range on their own).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from .fuse import at
from .nodes import Loop, Node, Plan, Statement


def peel(plan: Plan) -> Plan:
    """The plan without loops that run exactly once."""
    return replace(plan, shared=tuple(_nodes(plan.shared)), body=tuple(_nodes(plan.body)))


def _nodes(nodes: Sequence[Node]) -> Iterator[Node]:
    for node in nodes:
        if isinstance(node, Loop):
            ((lows, highs), *more) = node.ranges
            if not more and lows == highs and len(lows) == 1:
                plain = [s for s in node.body if isinstance(s, Statement)]
                if len(plain) == len(node.body):
                    yield from (at(s, {node.index: lows[0]}) for s in plain)
                    continue
            node = replace(node, body=tuple(_nodes(node.body)))
        yield node
