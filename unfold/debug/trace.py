"""Inside one equation at one point: which operation made a value that is not finite.

The equation is evaluated by the interpreter's own `evaluate` on the operands that the run has left,
and followed from its root to the operation where the value first is not finite. Whether a component
of an operand is the cause is tried out: with all others replaced by ones, does the result stay as
bad? That needs to know nothing of what an op does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..expr import Call, Const, Expr, Guard, Position, Reduce, Ref
from ..ops import OPS
from .elements import Index, Values
from .reasons import is_honest

Array = NDArray[Any]
#: Of one operation, no more components than this are tried as the cause.
_TRIED = 1024

Bad = Callable[[Any], Any]


def is_infinite(x: Any) -> Any:
    """Where components are infinite (integers and truth values never are)."""
    a = np.asarray(x)
    return np.isinf(a) if a.dtype.kind == "f" else np.zeros(a.shape, np.bool_)


def is_nan(x: Any) -> Any:
    """Where components are not a number."""
    a = np.asarray(x)
    return np.isnan(a) if a.dtype.kind == "f" else np.zeros(a.shape, np.bool_)


@dataclass(frozen=True)
class Place:
    """A value inside an equation: the expression, its bound indices, and a component."""

    expr: Expr
    at: Mapping[str, int]
    value: Array
    component: Index

    @property
    def number(self) -> float:
        return float(self.value[self.component])


@dataclass(frozen=True)
class Trace:
    """The way from a value to what made it not finite.

    Attributes:
        path: places from the root down; the last one is where it first is not finite: an
            operation, a read, or a constant.
        operands: of that operation, each with the component that matters (none where many do).
        before: for a NaN of infinite operands, how each of those came about.
    """

    path: tuple[Place, ...]
    operands: tuple[Place, ...] = ()
    before: tuple[Trace, ...] = ()

    @property
    def end(self) -> Place:
        return self.path[-1]

    @property
    def read(self) -> Ref | None:
        """The read that the value was passed on from, if it was."""
        return self.end.expr if isinstance(self.end.expr, Ref) else None

    @property
    def op(self) -> str:
        """The operation where it was made; ``const`` for a number in the text, ``nothing`` for a
        reduction over no points."""
        e = self.end.expr
        if isinstance(e, Call):
            return e.op
        if isinstance(e, Reduce):
            return f"reduce_{e.op}" if self.operands else "nothing"
        return "const"

    @property
    def is_honest(self) -> bool:
        """Whether an infinite value was passed on from elsewhere, or stands for a number."""
        if np.isnan(self.end.number):
            return False
        if self.read is not None:
            return True
        if any(is_infinite(p.value).any() for p in self.operands):
            return True
        return is_honest(
            self.op, [p.number for p in self.operands if p.value.size], self.end.number
        )

    @property
    def first(self) -> Trace:
        """What happened first: the operation that made the infinity, if it should not have."""
        for earlier in self.before:
            if not earlier.is_honest:
                return earlier.first
        return self


class Tracer:
    """Follows values through the equations of one sequence."""

    def __init__(self, values: Values, dtype: str) -> None:
        from unfold.backends.numpy import evaluate
        from unfold.backends.numpy.values import function, number

        self.values = values
        self.dtype = dtype
        self._evaluate = evaluate
        self._function = function
        self._number = number

    def value(self, e: Expr, at: Mapping[str, int]) -> Array:
        """What an expression is at a point, as the interpreter has it."""
        at = {**self.values.lengths.values, **at}
        return np.asarray(self._evaluate(e, self.values, at, self.dtype))

    def trace(self, e: Expr, at: Mapping[str, int], component: Index) -> Trace | None:
        """The way down from a component that is not finite; ``None`` if the interpreter finds a
        finite number there."""
        value = self.value(e, at)
        component = component if len(component) == value.ndim else (0,) * value.ndim
        if np.isfinite(value[component]):
            return None
        path = [Place(e, dict(at), value, component)]
        while True:
            here = path[-1]
            bad = is_nan if np.isnan(here.number) else is_infinite
            below = self._below(here, bad)
            if below is None:
                return self._made(path, bad)
            path.append(below)

    def _below(self, here: Place, bad: Bad) -> Place | None:
        """The operand that alone makes a place as bad as it is."""
        e = here.expr
        if isinstance(e, Guard):
            return Place(e.body, here.at, here.value, here.component)
        if isinstance(e, Reduce):
            for point in e.domain.points(e.indices, {**self.values.lengths.values, **here.at}):
                at = {**here.at, **dict(zip(e.indices, point, strict=True))}
                value = self.value(e.body, at)
                same = bad is is_nan or value[here.component] == here.number
                if same and bad(value)[here.component]:
                    return Place(e.body, at, value, here.component)
            return None
        if not isinstance(e, Call):
            return None
        args = [self.value(a, here.at) for a in e.args]
        found = self._cause(e, args, here.component, bad)
        if found is None:
            return None
        k, component = found
        return Place(e.args[k], here.at, args[k], component)

    def _cause(
        self, e: Call, args: Sequence[Array], component: Index, bad: Bad
    ) -> tuple[int, Index] | None:
        """The operand and its component that alone make a component of the result as bad."""
        run = self._function(e.op, dict(e.attrs))
        clean = [np.where(np.isfinite(a), a, 1).astype(a.dtype) for a in args]
        tried = [
            (k, tuple(map(int, j)))
            for k, a in enumerate(args)
            for j in islice(np.argwhere(bad(a)), _TRIED)
        ]
        # The component of the same position comes first: for most ops it is the one.
        tried.sort(key=lambda c: c[1] != _same(component, args[c[0]].shape))
        for k, j in tried:
            trial = [a.copy() if n == k else a for n, a in enumerate(clean)]
            trial[k][j] = args[k][j]
            with np.errstate(all="ignore"):
                result = np.asarray(run(*trial))
            if bad(result)[component]:
                return k, j
        return None

    def _made(self, path: list[Place], bad: Bad) -> Trace:
        """The end of the way: here it was made."""
        here = path[-1]
        e = here.expr
        operands: list[Place] = []
        if isinstance(e, Reduce):
            for point in e.domain.points(e.indices, {**self.values.lengths.values, **here.at}):
                at = {**here.at, **dict(zip(e.indices, point, strict=True))}
                value = self.value(e.body, at)
                if not operands or is_infinite(value)[here.component]:
                    operands.append(Place(e.body, at, value, here.component))
                if len(operands) > 2:
                    break
        elif isinstance(e, Call):
            elementwise = e.op not in OPS or OPS[e.op].elementwise
            for a in e.args:
                value = self.value(a, here.at)
                at_component = _same(here.component, value.shape)
                if not elementwise or at_component is None:
                    wrong = np.argwhere(is_infinite(value))
                    at_component = tuple(map(int, wrong[0])) if len(wrong) else (0,) * value.ndim
                operands.append(Place(a, here.at, value, at_component))
        else:
            return Trace(tuple(path))
        before: list[Trace] = []
        if bad is is_nan:
            for p in operands:
                if np.isinf(p.number) and not isinstance(p.expr, (Const, Position)):
                    found = self.trace(p.expr, p.at, p.component)
                    if found is not None:
                        before.append(found)
        return Trace(tuple(path), tuple(operands), tuple(before))


def _same(component: Index, shape: tuple[int, ...]) -> Index | None:
    """The component of an operand that meets one of the result when shapes are broadcast; ``None``
    where there is none."""
    if len(shape) > len(component):
        return None
    own = component[len(component) - len(shape) :]
    found = tuple(0 if n == 1 else i for i, n in zip(own, shape, strict=True))
    return found if all(i < n for i, n in zip(found, shape, strict=True)) else None


__all__ = ["Place", "Trace", "Tracer", "is_infinite", "is_nan"]
