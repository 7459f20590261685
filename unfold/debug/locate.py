"""The first fault of a sequence: a scan of the arrays, then a look inside of few equations.

What is not a number is a fault. What is infinite may stand for a number: -inf is the logarithm of
0. An infinity is a fault if an operation made it of finite numbers, other than by such a logarithm;
to know that, the equation is interpreted at that one point.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..program import Equation
from .elements import Index, Values
from .order import Key, Order
from .trace import Trace, Tracer

#: So many infinite elements of a sequence are interpreted, and so many components of each.
EXAMINED, COMPONENTS = 2000, 16
#: How the variable is called that says whether the steps of a flow were completed.
ARRIVED = ".arrived"


@dataclass(frozen=True)
class Found:
    """A fault's place: an equation at a point, the component, and what happened inside, if the
    interpreter sees it."""

    equation: Equation
    index: Index
    component: Index
    value: float
    trace: Trace | None

    @property
    def arrival(self) -> bool:
        """Whether it is a flow that did not reach the end of its step."""
        return self.equation.name.endswith(ARRIVED)


@dataclass
class Budget:
    """How many infinite elements may still be interpreted; ``spent`` when some were not."""

    left: int = EXAMINED
    spent: bool = False


def bad_elements(values: Values, number: int) -> NDArray[np.int64]:
    """The positions of an equation's elements that are not finite, of shape (points, axes)."""
    program = values.lengths.program
    eq = program.equations[number]
    v = program.vars[eq.name]
    array = values.arrays[eq.name]
    axes = len(v.axes)
    if v.type.kind != "real" or not array.size:
        return np.empty((0, axes), np.int64)
    ok = array >= 1 if eq.name.endswith(ARRIVED) else np.isfinite(array)
    if ok.all():
        return np.empty((0, axes), np.int64)
    bad = ~ok.reshape(*ok.shape[:axes], -1).all(axis=-1) & values.lengths.masks[number]
    return np.argwhere(bad) + np.asarray(values.lengths.origins[eq.name], np.int64).reshape(1, -1)


def candidates(
    values: Values, order: Order, names: Collection[str]
) -> Iterator[tuple[Key, int, Index]]:
    """The elements of some variables that are not finite, in the order of computing."""
    program = values.lengths.program
    streams = []
    for number, eq in enumerate(program.equations):
        if eq.name in names:
            points = bad_elements(values, number)
            if len(points):
                streams.append(order.sorted(number, points, values.lengths.values))
    return heapq.merge(*streams)


def first_fault(
    tracer: Tracer, order: Order, names: Collection[str], strict: bool, budget: Budget
) -> Found | None:
    """The first fault among some variables of a sequence; with ``strict`` any infinity is one."""
    values = tracer.values
    for _, number, index in candidates(values, order, names):
        eq = values.lengths.program.equations[number]
        found = examine(tracer, eq, index, strict, budget)
        if found is not None:
            return found
    return None


def examine(
    tracer: Tracer, eq: Equation, index: Index, strict: bool, budget: Budget
) -> Found | None:
    """The fault of one element, if it has one."""
    value = tracer.values[eq.name, index]
    if eq.name.endswith(ARRIVED):
        return Found(eq, index, (), float(value), None)
    nan = np.argwhere(np.isnan(value))
    if len(nan):
        return _found(tracer, eq, index, nan[0])
    infinite = np.argwhere(np.isinf(value))
    if strict or eq.solver is not None:
        return _found(tracer, eq, index, infinite[0])
    if budget.left <= 0:
        budget.spent = True
        return None
    budget.left -= 1
    for component in infinite[:COMPONENTS]:
        found = _found(tracer, eq, index, component)
        if found.trace is None or not found.trace.is_honest:
            return found
    return None


def _found(tracer: Tracer, eq: Equation, index: Index, component: Any) -> Found:
    at = tuple(int(k) for k in component)
    value = float(tracer.values[eq.name, index][at])
    trace = None
    if eq.solver is None:
        point = dict(zip(eq.indices, index, strict=True))
        trace = tracer.trace(eq.rhs, point, at)
    return Found(eq, index, at, value, trace)


def origin(tracer: Tracer, name: str, index: Index, component: Index) -> Found | None:
    """Where the infinity of an element comes from: its equation, or that of what it reads, or of
    what that reads. ``None`` where it was given."""
    values = tracer.values
    while True:
        eq = values.lengths.piece(name, index)
        if eq is None:
            return None
        found = _found(tracer, eq, index, component)
        trace = None if found.trace is None else _passed_on(tracer, found.trace)
        if trace is None or trace.read is None:
            return found
        point = {**values.lengths.values, **trace.end.at}
        name = trace.read.name
        index = tuple(p.evaluate(point) for p in trace.read.index)
        component = trace.end.component


def _passed_on(tracer: Tracer, trace: Trace | None) -> Trace | None:
    """The way on from an operation that is infinite because several operands are: a logsumexp of
    -inf alone."""
    while trace is not None and trace.read is None and not np.isnan(trace.end.number):
        infinite = [p for p in trace.operands if np.isinf(p.number)]
        if not infinite:
            break
        trace = tracer.trace(infinite[0].expr, infinite[0].at, infinite[0].component)
    return trace


__all__ = ["ARRIVED", "Budget", "Found", "candidates", "examine", "first_fault", "origin"]
