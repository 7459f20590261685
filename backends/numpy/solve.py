"""Implicit equations: the iterations, written to be read.

The native backend takes the same steps in the same order. What the methods are and when they stop
is said at `unfold.program.Solver`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from unfold.derivative import Forward
from unfold.expr import Const, Expr, Ref, walk
from unfold.graph import Node
from unfold.graph.implicit import RECORDS, UNKNOWN
from unfold.implicit import DEPTH, GROWTH, dependent, is_affine, tolerance
from unfold.program import Solver

from .values import Array, constant, function, number, storage

#: The change of an unknown, by name, in the tangent of a map.
DIRECTION = ".dz"


class Unsolved(Exception):
    """No solution was found; ``value`` stands for it, every component NaN."""

    def __init__(self, value: Array, residual: float, steps: int) -> None:
        super().__init__(residual, steps)
        self.value = value
        self.residual = residual
        self.steps = steps


def solution(node: Node, dtype: str) -> Callable[..., Array]:
    """The function from the operands of a node ``solve`` to its value.

    It raises `Unsolved` where there is none.
    """
    solver: Solver = node.attr("solver")
    rhs: Expr = node.attr("map")
    start: Expr | None = node.attr("start")
    z = Ref(UNKNOWN, (), node.shape, node.type)
    shape = number(node.shape)
    size = int(np.prod(shape))
    kind = storage(node.type, dtype)
    epsilon = float(np.finfo(kind).eps)
    within = tolerance(solver, epsilon)
    affine = is_affine(rhs, z)
    moved = Ref(DIRECTION, (), node.shape, node.type)
    slope = Forward({UNKNOWN: DIRECTION}, RECORDS).of(rhs)
    roots = [rhs] if slope is None else [rhs, slope]
    evaluated = Evaluation(roots, [z, moved], dtype)
    begin = None if start is None else Evaluation([start], [], dtype)

    def solve(*operands: Array) -> Array:
        given = {f".{k}": value for k, value in enumerate(operands)}
        still = evaluated.still(given)
        first = np.zeros(shape, kind)
        if begin is not None:
            first = np.array(begin.values(0, begin.still(given), {}), kind)

        def value(x: Array) -> Array:
            at = {UNKNOWN: x.reshape(shape)}
            return np.asarray(evaluated.values(0, still, at), kind).reshape(size)

        def jacobian(x: Array) -> Array:
            columns = np.zeros((size, size), kind)
            for k in range(size) if slope is not None else ():
                unit = np.zeros(size, kind)
                unit[k] = 1
                at = {UNKNOWN: x.reshape(shape), DIRECTION: unit.reshape(shape)}
                columns[:, k] = np.asarray(evaluated.values(1, still, at), kind).reshape(size)
            return columns

        x = first.reshape(size)
        if solver.method == "newton":
            iteration = newton(value, jacobian, x)
        elif solver.method == "anderson":
            iteration = anderson(value, x, dependent(epsilon), node.attr("patience"))
        else:
            iteration = picard(value, x)
        residual, steps = float("nan"), 0
        for steps, (old, new) in enumerate(iteration, start=1):
            residual = change(old, new, affine)
            if residual <= within:
                return new.reshape(shape)
            if steps == solver.max_steps or not np.isfinite(residual):
                break
        raise Unsolved(np.full(shape, np.nan, kind), residual, steps)

    return solve


def change(old: Array, new: Array, affine: bool) -> float:
    """The largest change of a component: relative to 1 + its magnitude, or for an affine equation
    to the largest component."""
    moved = np.abs(new - old)
    if not affine:
        return float(np.max(moved / (1 + np.abs(new)), initial=0.0))
    largest = np.max(np.maximum(np.abs(new), np.abs(old)), initial=0.0)
    top = np.max(moved, initial=0.0)
    return 0.0 if top == 0 else float(top / largest)


# --- the methods: pairs (where the map was taken, the next value) ---------------------------------


def picard(value: Callable[[Array], Array], x: Array) -> Iterator[tuple[Array, Array]]:
    """``x = F(x)``."""
    while True:
        following = value(x)
        yield x, following
        x = following


def newton(
    value: Callable[[Array], Array], jacobian: Callable[[Array], Array], x: Array
) -> Iterator[tuple[Array, Array]]:
    """``x += (I - dF/dx)^-1 (F(x) - x)``."""
    unit = np.eye(x.size, dtype=x.dtype)
    while True:
        try:
            step = np.linalg.solve(unit - jacobian(x), value(x) - x)
        except np.linalg.LinAlgError:
            step = np.full_like(x, np.nan)
        yield x, x + step
        x = x + step


def anderson(
    value: Callable[[Array], Array], x: Array, smallest: float, patience: float
) -> Iterator[tuple[Array, Array]]:
    """Anderson acceleration: extrapolate to where the residual, if it were linear, would be least.

    Steps are plain until one leaves more than ``patience`` of the residual. The least squares
    problem is solved by orthogonalising the changes of the residual, the newest first; one that is
    all but dependent on newer ones is left out. A step that makes the residual more than `GROWTH`
    times as large is taken back, and a plain one taken instead.
    """
    changes: list[tuple[Array, Array]] = []  # of residual and value, the newest first
    before: tuple[Array, Array] | None = None
    begun = False
    while True:
        image = value(x)
        yield x, image
        residual = image - x
        if before is not None:
            last, last_image = before
            if changes and np.linalg.norm(residual) > GROWTH * np.linalg.norm(last):
                changes.clear()
                x = last_image
                continue
            begun = begun or np.linalg.norm(residual) > patience * np.linalg.norm(last)
            if begun:
                changes.insert(0, (residual - last, image - last_image))
            del changes[DEPTH:]
        before = residual, image
        x = image - extrapolation(residual, changes, smallest)


def extrapolation(
    residual: Array, changes: Sequence[tuple[Array, Array]], smallest: float
) -> Array:
    """``sum(c[j] * change[j] of the value)`` for the ``c`` that make the residual least."""
    basis: list[Array] = []
    upper = np.zeros((len(changes), len(changes)), residual.dtype)
    weights = np.zeros(len(changes), residual.dtype)
    for j, (column, _) in enumerate(changes):
        size = np.linalg.norm(column)
        rest = column.copy()
        for i, q in enumerate(basis):
            upper[i, j] = q @ rest
            rest = rest - upper[i, j] * q
        upper[j, j] = np.linalg.norm(rest)
        kept = upper[j, j] > smallest * size
        basis.append(rest / upper[j, j] if kept else np.zeros_like(rest))
        upper[j, j] = upper[j, j] if kept else 1
        weights[j] = basis[j] @ residual
    for j in reversed(range(len(changes))):
        weights[j] = (weights[j] - upper[j, j + 1 :] @ weights[j + 1 :]) / upper[j, j]
    total = np.zeros_like(residual)
    for weight, (_, moved) in zip(weights, changes, strict=True):
        total = total + weight * moved
    return total


# --- evaluating an expression again and again -----------------------------------------------------


class Evaluation:
    """Expressions whose moving reads change from step to step; the rest is computed once.

    `still` takes the values of the other reads by name, `values` then those of the moving ones.
    """

    def __init__(self, roots: Sequence[Expr], moving: Sequence[Ref], dtype: str) -> None:
        self.roots = roots
        self.dtype = dtype
        self.first: dict[Expr, None] = {}
        self.plans: list[list[Expr]] = []
        changing: set[Expr] = set(moving)
        for root in roots:
            plan = []
            for e in walk(root):
                if any(a in changing for a in getattr(e, "args", ())):
                    changing.add(e)
                if e in changing:
                    plan.append(e)
                else:
                    self.first[e] = None
            self.plans.append(plan)

    def still(self, given: dict[str, Array]) -> dict[Expr, Any]:
        """The values of everything that does not move."""
        found: dict[Expr, Any] = {}
        for e in self.first:
            found[e] = self._one(e, given, found)
        return found

    def values(self, which: int, still: dict[Expr, Any], given: dict[str, Array]) -> Array:
        """The value of a root for given values of the moving reads."""
        found = dict(still)
        for e in self.plans[which]:
            found[e] = self._one(e, given, found)
        return np.asarray(found[self.roots[which]])

    def _one(self, e: Expr, given: dict[str, Array], found: dict[Expr, Any]) -> Any:
        if isinstance(e, Ref):
            return given[e.name]
        if isinstance(e, Const):
            return constant(e.value, e.shape, e.type, self.dtype)
        args = [found[a] for a in e.args]  # type: ignore[attr-defined]
        value = function(e.op, dict(e.attrs))(*args)  # type: ignore[attr-defined]
        return np.asarray(value).astype(storage(e.type, self.dtype), copy=False)


__all__ = ["Unsolved", "solution"]
