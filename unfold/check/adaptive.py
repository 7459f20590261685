"""`dopri5`: a step of time in as many steps of its own as a tolerance asks for.

The language is static, so the attempts stand on an axis of their own, ``n`` in ``1..max_steps``,
and what happens in them is said by equations. With one state ``h`` and ``dt`` the step:

    h.y[t, 0] = h[t-1]                         the state after n attempts
    h.k1[t, n] = f(h.y[t, n])
    h.done[t, n], h.next[t, n]                 how much of the step is done; what to attempt next
    h.try2[t, n] … h.try7[t, n], h.error[t, n] an attempt, and its error relative to the tolerance
    h.cut[t, n]                                the part of dt[t] that attempt n covers; 0: rejected
    h.k2[t, n] … h.k6[t, n]                    the slopes of the step that is made
    h.y[t, n] = h.y[t, n-1] + h.cut[t, n] * dt[t] * (35/384 * h.k1[t, n-1] + …)
    h[t] = arrived(h.y[t, max_steps], h.done[t, max_steps], max_steps, rtol)

Everything about the size of steps is detached: the derivative is that of the accepted steps, with
their sizes (as parts of ``dt[t]``, in which there is a derivative) held fixed. A rejected attempt,
and one after the end, is a step of length 0: no derivative sees what it tried, be it not finite.

Sizes are parts of the whole step, so it may be negative (back in time) or zero. The scheme, its
embedded estimate of the error and the choice of the first size are those of Hairer, Nørsett and
Wanner, *Solving Ordinary Differential Equations I*, 1993, sections II.4 and II.5, with the largest
component for a norm; the safety factors are theirs as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..schemes import DOPRI5
from ..syntax import tree as t
from .terms import Terms

#: The error of an attempt is of order 5 in its size.
_POWER = 0.2
_SAFETY, _LEAST, _MOST = 0.9, 0.2, 5.0


@dataclass(frozen=True)
class Tolerance:
    """What an attempt may be wrong by, ``atol + rtol * |h|``, and how many there may be."""

    rtol: float = 1e-8
    atol: float = 1e-8
    max_steps: int = 100


#: The slopes of all states where the states have these values.
Slopes = Callable[[Sequence[t.Expr]], "list[t.Expr]"]


def equations(
    w: Terms,
    index: t.Name,
    targets: Sequence[t.Name | t.Subscript],
    names: Sequence[str],
    start: Sequence[t.Expr],
    step: t.Expr,
    slopes: Slopes,
    tolerance: Tolerance,
) -> list[t.Statement]:
    """The equations of a flow by `dopri5`; ``index`` is a new name for the axis of attempts."""
    flow = _Adaptive(w, index, names, step, slopes, tolerance)
    end = w.number(tolerance.max_steps)
    found: list[t.Statement] = [t.Axis((index,), end, span=w.span)]
    found += flow.beginning(start) + flow.attempt() + flow.control() + flow.made()
    for target, name in zip(targets, names, strict=True):
        value = w.call(
            "arrived", w.read(f"{name}.y", end), w.read(flow.done, end), end,
            w.number(tolerance.rtol),
        )  # fmt: skip
        found.append(t.Equation((target,), value, span=target.span))
    return found


class _Adaptive:
    def __init__(
        self,
        w: Terms,
        index: t.Name,
        names: Sequence[str],
        step: t.Expr,
        slopes: Slopes,
        tolerance: Tolerance,
    ) -> None:
        self.w = w
        self.names = names
        self.step = step
        self.slopes = slopes
        self.tolerance = tolerance
        first = names[0]
        self.done, self.next, self.most = f"{first}.done", f"{first}.next", f"{first}.most"
        self.cut, self.size, self.error = f"{first}.cut", f"{first}.size", f"{first}.error"
        self.zero, self.now = w.number(0), index
        self.before = w.binary("-", index, w.number(1))

    def all(self, stem: str, *more: t.Expr) -> list[t.Expr]:
        """An element for every state: ``h.k1[t, n]``, …"""
        return [self.w.read(f"{name}.{stem}", *more) for name in self.names]

    def define_all(self, stem: str, values: list[t.Expr], *more: t.Expr) -> list[t.Statement]:
        return [
            self.w.define(f"{name}.{stem}", value, *more)
            for name, value in zip(self.names, values, strict=True)
        ]

    def norm(self, values: Sequence[t.Expr], sizes: Sequence[Sequence[t.Expr]]) -> t.Expr:
        """The largest component, relative to ``atol + rtol * |size|``; no derivative passes."""
        w = self.w
        found = []
        for value, magnitudes in zip(values, sizes, strict=True):
            size = w.largest(*(w.call("abs", m) for m in magnitudes))
            scale = w.binary(
                "+", w.number(self.tolerance.atol), w.times(w.number(self.tolerance.rtol), size)
            )
            relative = w.call("abs", w.binary("/", value, scale))
            found.append(w.call("max", t.Stack((relative,), span=w.span)))
        return w.call("detach", w.largest(*found))

    def beginning(self, start: Sequence[t.Expr]) -> list[t.Statement]:
        """Before the first attempt: the states, and a first size (section II.4, page 169)."""
        w, zero = self.w, self.zero
        first = self.names[0]
        states, slopes = self.all("y", zero), self.all("k1", zero)
        found = self.define_all("y", list(start), zero)
        found += self.define_all("k1", self.slopes(states), zero)
        sizes = [[s] for s in states]
        d0, d1, d2, guess = (w.read(f"{first}.{n}") for n in ("d0", "d1", "d2", "guess"))
        moved = [w.times(self.step, k) for k in slopes]
        found.append(w.define(f"{first}.d0", self.norm(states, sizes)))
        found.append(w.define(f"{first}.d1", self.norm(moved, sizes)))
        small = w.compare(w.call("min", d0, d1), "<", w.number(1e-5))
        ratio = w.binary("/", w.times(w.number(0.01), d0), w.largest(d1, w.number(1e-5)))
        found.append(w.define(
            f"{first}.guess",
            w.call("min", w.number(1), w.call("where", small, w.number(1e-3), ratio)),
        ))  # fmt: skip
        probe = [
            w.call("detach", w.moved(s, w.times(guess, self.step), k))
            for s, k in zip(states, slopes, strict=True)
        ]
        found += self.define_all("probe", probe)
        found += self.define_all("bend", self.slopes(self.all("probe")))
        change = [
            w.binary("/", w.times(self.step, w.binary("-", bent, k)), guess)
            for bent, k in zip(self.all("bend"), slopes, strict=True)
        ]
        found.append(w.define(f"{first}.d2", self.norm(change, sizes)))
        curved = w.binary(
            "**", w.binary("/", w.number(0.01), w.largest(d1, d2, w.number(1e-15))),
            w.number(_POWER),
        )  # fmt: skip
        size = w.call("min", w.number(1), w.call("min", w.times(w.number(100), guess), curved))
        # Where the right-hand side is not finite beside the start, a smaller size may do.
        safe = w.call("where", w.compare(size, ">", zero), size, w.number(1e-3))
        found.append(w.define(self.next, w.call("detach", safe), zero))
        found.append(w.define(self.most, w.number(_MOST), zero))
        found.append(w.define(self.done, zero, zero))
        return found

    def attempt(self) -> list[t.Statement]:
        """The stages of an attempt and its error; nothing of it is differentiated."""
        w, now, before = self.w, self.now, self.before
        states = self.all("y", before)
        size = w.read(self.size, now)
        found: list[t.Statement] = [w.define(self.size, self.tried(), now)]
        length = w.times(size, self.step)
        slopes = [[k] for k in self.all("k1", before)]
        last = states
        for stage, row in enumerate(DOPRI5.a[1:], 2):
            here = [
                w.call("detach", w.moved(s, length, w.combination(row, k)))
                for s, k in zip(states, slopes, strict=True)
            ]
            found += self.define_all(f"there{stage}", here, now)
            last = self.all(f"there{stage}", now)
            found += self.define_all(f"try{stage}", self.slopes(last), now)
            for known, k in zip(slopes, self.all(f"try{stage}", now), strict=True):
                known.append(k)
        wrong = []
        for stages in slopes:
            estimate = w.combination(DOPRI5.error, stages)
            assert estimate is not None
            wrong.append(w.times(length, estimate))
        sizes = [list(pair) for pair in zip(states, last, strict=True)]
        found.append(w.define(self.error, self.norm(wrong, sizes), now))
        return found

    def left(self) -> t.Expr:
        return self.w.binary("-", self.w.number(1), self.w.read(self.done, self.before))

    def is_last(self) -> t.Expr:
        """Whether an attempt goes to the end of the step: rather that than a very short rest."""
        w = self.w
        stretched = w.times(w.number(1.01), w.read(self.next, self.before))
        return w.compare(stretched, ">=", self.left())

    def tried(self) -> t.Expr:
        return self.w.call(
            "where", self.is_last(), self.left(), self.w.read(self.next, self.before)
        )

    def control(self) -> list[t.Statement]:
        """Accept or reject, and the next size."""
        w, now, before = self.w, self.now, self.before
        error, size = w.read(self.error, now), w.read(self.size, now)
        done, cut = w.read(self.done, before), w.read(self.cut, now)
        good = w.compare(error, "<=", w.number(1))
        found: list[t.Statement] = [
            w.define(self.cut, w.call("where", good, size, self.zero), now),
            w.define(self.done, w.call(
                "where", t.Logical("and", (good, self.is_last()), span=w.span), w.number(1),
                w.binary("+", done, cut),
            ), now),
            # No growth right after a rejected attempt.
            w.define(self.most, w.call("where", good, w.number(_MOST), w.number(1)), now),
        ]  # fmt: skip
        power = w.binary("**", w.largest(error, w.number(1e-10)), w.number(-_POWER))
        wanted = w.largest(w.number(_LEAST), w.times(w.number(_SAFETY), power))
        factor = w.call("min", w.read(self.most, before), wanted)
        # An attempt that left the numbers says nothing but that it was too long.
        finite = w.compare(error, "<=", w.number(1e30))
        factor = w.call("where", finite, factor, w.number(_LEAST))
        found.append(w.define(self.next, w.times(size, factor), now))
        return found

    def made(self) -> list[t.Statement]:
        """The step that is made: of length 0 if the attempt was rejected."""
        w, now, before = self.w, self.now, self.before
        states = self.all("y", before)
        length = w.times(w.read(self.cut, now), self.step)
        slopes = [[k] for k in self.all("k1", before)]
        found: list[t.Statement] = []
        for stage, row in enumerate(DOPRI5.a[1:-1], 2):
            here = [
                w.moved(s, length, w.combination(row, k))
                for s, k in zip(states, slopes, strict=True)
            ]
            found += self.define_all(f"at{stage}", here, now)
            found += self.define_all(f"k{stage}", self.slopes(self.all(f"at{stage}", now)), now)
            for known, k in zip(slopes, self.all(f"k{stage}", now), strict=True):
                known.append(k)
        ends = [
            w.moved(s, length, w.combination(DOPRI5.b, k))
            for s, k in zip(states, slopes, strict=True)
        ]
        found += self.define_all("y", ends, now)
        found += self.define_all("k1", self.slopes(self.all("y", now)), now)
        return found


__all__ = ["Tolerance", "equations"]
