"""The equations of a sub-model, moved into the model that uses it.

    h[t] = tanh(W @ x[t] + U @ h[t-1])          in `cell`
    enc = cell(e, H)                            here
    enc.h[t] = tanh(enc.W @ e[t] + enc.U @ enc.h[t-1])

Names get the prefix of the instance, bound names become what they are bound to, sizes and lengths
what they are here, indices the names they have here. Under `reverse` every position on an axis of
length T (or of the first input) is reflected, p -> T+1-p: the recurrence then runs from T to 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..domain import Domain
from ..expr import (
    Call,
    Const,
    Expr,
    Guard,
    Position,
    Reduce,
    Ref,
    Type,
    subs_sizes,
    walk,
    with_operands,
)
from ..ops import call
from ..poly import Poly, Shape
from ..program import Axis, Equation, Program, Var, equation
from .scope import Instance, Scope


class Transplant:
    """The renaming of one instance."""

    def __init__(self, scope: Scope, instance: Instance) -> None:
        self.scope = scope
        self.instance = instance
        self.program = instance.program
        self.symbols: Mapping[str, Poly] = instance.symbols
        self.renamed = {i: Poly.symbol(n) for i, n in instance.indices.items()}
        self.everything = {**self.symbols, **self.renamed}
        self.mirror = None
        self.time = _time(self.program)
        if instance.reverse is not None and self.time is not None:
            self.mirror = self.symbols[self.time] + 1

    # --- variables ----------------------------------------------------------------------------

    def name(self, inner: str) -> str:
        """What a variable of the sub-model is called here."""
        return self.instance.bound.get(inner, f"{self.instance.name}.{inner}")

    def shape(self, shape: Shape) -> Shape:
        """A shape in the sizes of the using model."""
        return tuple(n.subs(self.symbols) for n in shape)

    def type(self, kind: Type) -> Type:
        """A type in the sizes of the using model."""
        return kind if kind.bound is None else Type(kind.kind, kind.bound.subs(self.symbols))

    def axis(self, axis: Axis) -> Axis:
        """An axis with the name and range that it has here."""
        lo, hi = axis.lo.subs(self.symbols), axis.hi.subs(self.symbols)
        if self.mirror is not None and self.is_time(axis.index):
            lo, hi = self.mirror - hi, self.mirror - lo
        return Axis(self.instance.indices.get(axis.index, axis.index), lo, hi)

    def var(self, v: Var) -> Var:
        """A variable as it is declared here."""
        return replace(
            v,
            name=self.name(v.name),
            axes=tuple(self.axis(a) for a in v.axes),
            shape=self.shape(v.shape),
            type=self.type(v.type),
        )

    def is_time(self, index: str) -> bool:
        """Whether an index of the sub-model runs over its time."""
        bounds = self.program.indices.get(index)
        return bounds is not None and any(self.time in p.symbols for p in bounds)

    # --- equations ----------------------------------------------------------------------------

    def equation(self, eq: Equation) -> Equation:
        """An equation in the names that hold here."""
        indices, domain, values = self.place(eq)
        rhs = self._start(eq) or self.expr(eq.rhs, values)
        return equation(self.name(eq.name), indices, domain, rhs, eq.span, eq.solver)

    def place(self, eq: Equation) -> tuple[tuple[str, ...], Domain, dict[str, Poly]]:
        """The indices and domain of an equation here, and what its symbols stand for."""
        v = self.program.vars[eq.name]
        mirrored = {i for i, a in zip(eq.indices, v.axes, strict=True) if self.is_time(a.index)}
        inner = {i for n in walk(eq.rhs) if isinstance(n, Reduce) for i in n.indices}
        values = dict(self.everything)
        for i in {*inner, *eq.indices}:
            values.setdefault(i, Poly.symbol(i))
            # Indices that run under a reduction are reflected too: any order of them is as good.
            reflected = i in mirrored or (i not in eq.indices and self.is_time(i))
            if self.mirror is not None and reflected:
                values[i] = self.mirror - values[i]
        indices = tuple(self.instance.indices.get(i, i) for i in eq.indices)
        return indices, eq.domain.subs(values), values

    def _start(self, eq: Equation) -> Expr | None:
        """What is given as the start of a state, in the place of `h[0] = …`."""
        given = self.instance.bound.get(f"{eq.name}0")
        if given is None or f"{eq.name}0" in self.program.vars or len(eq.indices) != 1:
            return None
        if eq.domain.fixed(eq.indices[0]) != Poly():
            return None
        v = self.program.vars[eq.name]
        return self._fitted(given, (), self.shape(v.shape), self.type(v.type))

    def expr(self, e: Expr, values: Mapping[str, Poly]) -> Expr:
        """An expression, every symbol replaced at once."""
        memo: dict[Expr, Expr] = {}
        for node in walk(e):
            memo[node] = self._node(node, tuple(memo[c] for c in node.operands), values)
        return memo[e]

    def _node(self, node: Expr, inner: tuple[Expr, ...], values: Mapping[str, Poly]) -> Expr:
        if isinstance(node, Ref):
            return self._ref(node, values)
        if isinstance(node, Position):
            return Position(node.poly.subs(values))
        if isinstance(node, Reduce):
            names = tuple(self.instance.indices.get(i, i) for i in node.indices)
            return Reduce(node.op, names, node.domain.subs(values), inner[0])
        if isinstance(node, Guard):
            return Guard(node.domain.subs(values), inner[0])
        if isinstance(node, Call):
            bare = subs_sizes(Call(node.op, (), node.attrs, node.shape, node.type), self.symbols)  # type: ignore[arg-type]
            assert isinstance(bare, Call)
            return Call(node.op, inner, bare.attrs, bare.shape, bare.type)
        if isinstance(node, Const):
            return Const(node.value, self.shape(node.shape), node.type)
        return with_operands(node, inner)

    def _ref(self, node: Ref, values: Mapping[str, Poly]) -> Expr:
        v = self.program.vars[node.name]
        index = []
        for p, axis in zip(node.index, v.axes, strict=True):
            at = p.subs(values)
            if self.mirror is not None and self.is_time(axis.index):
                at = self.mirror - at
            index.append(at)
        return self._fitted(
            self.name(node.name), tuple(index), self.shape(node.shape), self.type(node.type)
        )

    def _fitted(self, name: str, index: tuple[Poly, ...], shape: Shape, kind: Type) -> Expr:
        """A read of a variable here, in the shape and type that the sub-model expects."""
        d = self.scope.definitions[name]
        assert d.shape is not None
        assert d.type is not None
        e: Expr = Ref(name, index, d.shape, d.type)
        if e.type.kind == "int" and kind.kind == "real":
            e = call("real", e)
        return e if e.shape == shape else call("broadcast", e, shape=shape)


def _time(program: Program) -> str | None:
    """The length that `reverse` reflects: T, or that of the first input's axis."""
    lengths = program.lengths
    if "T" in lengths:
        return "T"
    ends = [a.hi.symbols for v in program.inputs for a in v.axes]
    return next((n for symbols in ends for n in lengths if n in symbols), None)


def members(scope: Scope, instance: Instance) -> list[Var]:
    """The variables that a sub-model brings along."""
    move = Transplant(scope, instance)
    return [move.var(v) for v in instance.program.vars.values() if v.name not in instance.bound]


def equations(scope: Scope, instance: Instance) -> list[Equation]:
    """The equations that a sub-model brings along."""
    move = Transplant(scope, instance)
    return [move.equation(eq) for eq in instance.program.equations]


def minimum(program: Program, instance: Instance) -> dict[str, int]:
    """What a sub-model asks of the lengths here."""
    found: dict[str, int] = {}
    for length, least in program.minimum.items():
        here = instance.symbols.get(length)
        if here is None:
            continue
        name = here.as_symbol
        for symbol in here.symbols if name is None else (name,):
            # T+1 and the like: the offset counts too.
            found[symbol] = max(found.get(symbol, 1), least - here.offset)
    return found


__all__ = ["Transplant", "equations", "members", "minimum"]
