"""Random programs and data for property tests.

`programs` draws small recurrences that are well-formed whatever their length: several variables
that run forward or backward, alone or in pairs, offsets of one or two steps, boundary values as
pieces of their own or as guards, matrices and scalars, choices by index and by value, reductions
over all of time or over the past, one or two losses. They are built from expressions, not from
text, and sizes are numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from unfold.domain import Domain
from unfold.expr import Const, Expr, Guard, Position, Reduce, Ref, lift
from unfold.ops import call
from unfold.ops.linear import matmul
from unfold.ops.record import broadcast_to, sum_over, where
from unfold.poly import Poly, Shape
from unfold.program import Axis, Equation, Output, Program, Var, equation, verify

Array = NDArray[Any]
T, t, s = Poly.symbol("T"), Poly.symbol("t"), Poly.symbol("s")
ONE = Poly.const(1)
SMOOTH = ("tanh", "sigmoid", "sin", "softplus", "erf", "cos", "atan")


@dataclass(frozen=True)
class _Chain:
    """A variable over time: ``step`` is -1 for one that reads its past, +1 for its future."""

    name: str
    shape: Shape
    step: int
    reach: int

    def at(self, index: Poly) -> Ref:
        return Ref(self.name, (index,), self.shape)


Draw = Callable[[st.SearchStrategy[Any]], Any]


class _Writer:
    """Draws right-hand sides out of what may be read."""

    def __init__(self, draw: Draw, size: int, done: list[_Chain], history: bool) -> None:
        self.draw = draw
        self.n = Poly.const(size)
        self.done = done
        self.history = history

    def pick(self, *options: Any) -> Any:
        return self.draw(st.sampled_from(options))

    def leaf(self, shape: Shape, now: Poly, own: list[Expr]) -> Expr:
        """A read or a number that exists at every step."""
        options: list[Expr] = [e for e in own if e.shape == shape]
        options += [c.at(now) for c in self.done if c.shape == shape]
        if shape:
            options += [Ref("x", (now,), shape), Ref("b", (), shape)]
        else:
            options += [Ref("u", (now,)), Ref("a"), Const(0.7), Position(now) * 0.1]
        return self.pick(*options)

    def elsewhere(self, shape: Shape, now: Poly) -> Expr | None:
        """A read of a finished chain or an input at another step."""
        chains = [c for c in self.done if c.shape == shape]
        names = [c.name for c in chains] + (["x"] if shape else ["u"])
        name = self.pick(*names)
        where_ = self.pick("first", "last", "shift", "mirror")
        if where_ == "first":
            return Ref(name, (ONE,), shape)
        if where_ == "last":
            return Ref(name, (T,), shape)
        if where_ == "mirror":
            return Ref(name, (T + 1 - now,), shape)
        offset = self.pick(-2, -1, 1, 2)
        index = now + offset
        return Guard(Domain.of((index - 1, T - index)), Ref(name, (index,), shape))

    def reduction(self, shape: Shape, now: Poly | None, depth: int) -> Expr:
        """A reduction over all of time, or over the steps before or after one."""
        inner = self.value(shape, s, [], depth - 1, reduce=False)
        domain = Domain.range("s", 1, T)
        if now is not None:
            domain = domain & self.pick(
                Domain(), Domain.of((now - s,)), Domain.of((s - now,)), Domain.of((now - s - 1,))
            )
        op = self.pick("sum", "sum", "max", "min", "logsumexp")
        # A maximum over nothing is infinite: these run over all of time, or end at this step.
        if op != "sum":
            domain = Domain.range("s", 1, T) if now is None else self.pick(
                Domain.range("s", 1, T), Domain.range("s", 1, now)
            )  # fmt: skip
        return Reduce(op, ("s",), domain, inner)

    def value(
        self, shape: Shape, now: Poly, own: list[Expr], depth: int, reduce: bool = True
    ) -> Expr:
        """An expression of a shape at one step; ``own`` are reads of chains still unfinished."""
        if depth <= 0:
            return self.leaf(shape, now, own)

        def again(other: Shape = shape) -> Expr:
            return self.value(other, now, own, depth - 1, reduce)

        kind = self.pick(
            "leaf", "function", "add", "sub", "mul", "where", "choice", "elsewhere", "max",
            "shape", "reduce", "square",
        )  # fmt: skip
        if kind == "function":
            return call(self.pick(*SMOOTH), again())
        if kind == "add":
            return again() + again(self.pick(shape, ()))
        if kind == "sub":
            return again() - again()
        if kind == "mul":
            return again() * again(self.pick(shape, ()))
        if kind == "square":
            return again() ** 2.0
        if kind == "where":
            condition = call(self.pick("gt", "le"), again(self.pick(shape, ())), lift(0.1))
            return broadcast_to(where(condition, again(), again(self.pick(shape, ()))), shape)
        if kind == "choice":
            cut = self.pick(2, 3)
            first, rest = Domain.of((cut - now,)), Domain.of((now - cut - 1,))
            return Guard(first, again()) + Guard(rest, again())
        if kind == "elsewhere":
            found = self.elsewhere(shape, now)
            assert found is not None
            return found
        if kind == "max":
            return call(self.pick("maximum", "minimum"), again(), again())
        if kind == "shape":
            vector = again((self.n,))
            if shape:
                return matmul(Ref("W", (), (self.n, self.n)), vector)
            return self.pick(sum_over(vector, None), matmul(vector, Ref("b", (), (self.n,))))
        if kind == "reduce" and reduce:
            return self.reduction(shape, now, depth)
        return self.leaf(shape, now, own)


@st.composite
def programs(draw: Draw, history: bool = True) -> Program:
    """A random recurrence over ``t`` in 1..T with inputs, params, chains and losses.

    With ``history`` a chain may also reduce over its own past or future.
    """
    size = draw(st.integers(1, 3))
    n = Poly.const(size)
    done: list[_Chain] = []
    variables = {
        v.name: v
        for v in (
            Var("x", "input", (Axis("t", ONE, T),), (n,)),
            Var("u", "input", (Axis("t", ONE, T),)),
            Var("W", "param", (), (n, n)),
            Var("b", "param", (), (n,)),
            Var("a", "param"),
            Var("h0", "param", (), (n,)),
        )
    }
    equations: list[Equation] = []
    writer = _Writer(draw, size, done, history)
    for number in range(draw(st.integers(1, 3))):
        step = writer.pick(-1, 1)
        group = [
            _Chain(f"v{number}{k}", writer.pick((n,), (n,), ()), step, draw(st.integers(1, 2)))
            for k in range(writer.pick(1, 1, 2))
        ]
        for k, chain in enumerate(group):
            equations += _chain_equations(writer, chain, group, k)
            lo = 1 - chain.reach if step < 0 else 1
            hi = T if step < 0 else T + chain.reach
            axis = Axis("t", Poly.const(lo), hi)
            variables[chain.name] = Var(chain.name, "variable", (axis,), chain.shape)
        done += group
    losses = []
    for number in range(writer.pick(1, 1, 2)):
        name = f"loss{number}"
        body = writer.value((), s, [], 3, reduce=False)
        last = done[-1]
        total = sum_over(last.at(s) ** 2.0, None) if last.shape else last.at(s) ** 2.0
        rhs: Expr = Reduce("sum", ("s",), Domain.range("s", 1, T), body * 0.3 + total)
        if writer.pick(True, False):
            end = writer.pick(*done).at(writer.pick(ONE, T))
            rhs = rhs + (sum_over(end, None) if end.shape else end)
        if writer.pick(True, False):
            rhs = rhs / Position(T)
        variables[name] = Var(name, "variable")
        equations.append(equation(name, (), Domain(), rhs))
        losses.append(name)
    outputs = tuple(Output(c.name, ((ONE, T),)) for c in done)
    return verify(
        Program(
            "random",
            (),
            {"t": (ONE, T), "s": (ONE, T)},
            variables,
            tuple(equations),
            outputs,
            tuple(losses),
            {"T": 1},
        )
    )


def _chain_equations(
    writer: _Writer, chain: _Chain, group: list[_Chain], number: int
) -> list[Equation]:
    """The pieces of one chain: its boundary, then a step."""
    own: list[Expr] = [
        c.at(t + c.step * k) for c in group for k in range(1, min(c.reach, chain.reach) + 1)
    ]
    # Within a step the second of a pair reads the first.
    own += [c.at(t) for c in group[:number]]
    if writer.history and writer.pick(True, False, False):
        past = Domain.range("s", 1, t - 1) if chain.step < 0 else Domain.range("s", t + 1, T)
        own.append(Reduce("sum", ("s",), past, call("tanh", chain.at(s))))
    must = writer.pick(
        *[e for e in own if e.shape == chain.shape] or [writer.leaf(chain.shape, t, [])]
    )
    step = writer.value(chain.shape, t, own, 3)
    pieces = [
        equation(chain.name, ("t",), Domain.range("t", 1, T), call("tanh", step + must * 0.5))
    ]
    for k in range(chain.reach):
        at = Poly.const(-k) if chain.step < 0 else T + 1 + k
        start: Expr
        if chain.shape:
            start = writer.pick(Ref("h0", (), chain.shape), broadcast_to(Const(0.0), chain.shape))
        else:
            start = writer.pick(Ref("a"), Const(0.0))
        pieces.append(equation(chain.name, ("t",), Domain.point("t", at), start))
    return pieces


def arrays(program: Program, lengths: Mapping[str, int], seed: int = 0) -> dict[str, Array]:
    """Random inputs and parameters of a program without free sizes."""
    rng = np.random.default_rng(seed)
    found: dict[str, Array] = {}
    for v in (*program.inputs, *program.params):
        axes = tuple(a.hi.evaluate(lengths) - a.lo.evaluate(lengths) + 1 for a in v.axes)
        shape = (*axes, *(k.evaluate({}) for k in v.shape))
        if v.type.kind == "int":
            bound = v.type.bound.evaluate({}) if v.type.bound is not None else 3
            found[v.name] = rng.integers(0, bound, shape)
        elif v.type.kind == "bool":
            found[v.name] = rng.integers(0, 2, shape) == 1
        else:
            found[v.name] = np.asarray(rng.normal(size=shape) * 0.8)
    return found
