"""Expressions: the right-hand sides of equations.

Six kinds of node and no more:

========== ===================================================================================
`Const`    a number (or a nested tuple of numbers: a constant array)
`Position` an affine expression in indices, lengths and sizes, read as an integer: ``t``, ``T-1``
`Ref`      one element of a variable: ``h[t-1]``, ``W``
`Call`     a primitive operation on components: ``tanh(a)``, ``W @ x``; what it means stands in
           `unfold.ops`
`Reduce`   a reduction over indices: ``sum[s <= t](…)``; ops sum, max, min, logsumexp
`Guard`    an expression that counts only where an affine condition on the indices holds, and is
           zero (and not evaluated, so its reads need not exist) elsewhere
========== ===================================================================================

Every node knows the shape and type of its components; a shape is a tuple of sizes and does not
include the axes that indices run over. Nodes are interned: equal expressions are one object, so
equality and hashing are by identity and shared subexpressions are recognised for free.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias, Union

from .domain import EVERYWHERE, Domain
from .intern import Value
from .poly import Poly, PolyLike, Shape, ShapeError, broadcast


@dataclass(frozen=True, eq=False)
class Type(Value):
    """The type of a component: ``real``, ``bool``, or ``int`` (below ``bound`` if known)."""

    kind: str
    bound: Poly | None = None

    def __str__(self) -> str:
        return f"int<{self.bound}>" if self.bound is not None else self.kind


REAL, INT, BOOL = Type("real"), Type("int"), Type("bool")

Attr: TypeAlias = Any
Number: TypeAlias = bool | int | float
ExprLike: TypeAlias = Union["Expr", bool, int, float]


@dataclass(frozen=True, eq=False)
class Expr(Value):
    """Base of all nodes. Arithmetic operators build element-wise `Call` nodes.

    ``operands`` are the direct subexpressions.
    """

    operands: ClassVar[tuple[Expr, ...]] = ()

    @property
    def shape(self) -> Shape:  # overridden by a field or property of each node
        raise AttributeError

    @property
    def type(self) -> Type:
        raise AttributeError

    @property
    def is_real(self) -> bool:
        """Whether a derivative with respect to this value can exist."""
        return self.type.kind == "real"

    def __add__(self, other: ExprLike) -> Expr:
        return elementwise("add", self, other)

    def __radd__(self, other: ExprLike) -> Expr:
        return elementwise("add", other, self)

    def __sub__(self, other: ExprLike) -> Expr:
        return elementwise("sub", self, other)

    def __rsub__(self, other: ExprLike) -> Expr:
        return elementwise("sub", other, self)

    def __mul__(self, other: ExprLike) -> Expr:
        return elementwise("mul", self, other)

    def __rmul__(self, other: ExprLike) -> Expr:
        return elementwise("mul", other, self)

    def __truediv__(self, other: ExprLike) -> Expr:
        return elementwise("div", self, other)

    def __rtruediv__(self, other: ExprLike) -> Expr:
        return elementwise("div", other, self)

    def __pow__(self, other: ExprLike) -> Expr:
        return elementwise("pow", self, other)

    def __neg__(self) -> Expr:
        return elementwise("neg", self)


@dataclass(frozen=True, eq=False)
class Const(Expr):
    """A constant; ``value`` is a number or a nested tuple of numbers of that ``shape``."""

    value: Any
    shape: Shape = ()
    type: Type = REAL

    @staticmethod
    def _key(*fields: Any) -> tuple[Any, ...]:
        value, shape, kind = fields
        return repr(value), shape, kind


@dataclass(frozen=True, eq=False)
class Position(Expr):
    """An affine expression in indices, lengths and sizes, as an integer value."""

    poly: Poly

    @property
    def shape(self) -> Shape:
        return ()

    @property
    def type(self) -> Type:
        return INT


@dataclass(frozen=True, eq=False)
class Ref(Expr):
    """The element of variable ``name`` at the positions ``index`` (one for each of its axes)."""

    name: str
    index: tuple[Poly, ...] = ()
    shape: Shape = ()
    type: Type = REAL


@dataclass(frozen=True, eq=False)
class Call(Expr):
    """A primitive operation. Built by `unfold.ops.call`, which infers shape and type."""

    op: str
    args: tuple[Expr, ...]
    attrs: tuple[tuple[str, Attr], ...] = ()
    shape: Shape = ()
    type: Type = REAL

    def __post_init__(self) -> None:
        vars(self)["operands"] = self.args

    def attr(self, name: str) -> Attr:
        """The attribute of that name. Raises ``KeyError``."""
        return dict(self.attrs)[name]


#: What a reduction over no terms is.
NEUTRAL = {"sum": 0.0, "max": -math.inf, "min": math.inf, "logsumexp": -math.inf}


@dataclass(frozen=True, eq=False)
class Reduce(Expr):
    """``op[indices in domain](body)``: sum, max, min or logsumexp over all points of ``domain``.

    ``domain`` holds every constraint on the bound ``indices``, their ranges included. The value on
    an empty domain is the neutral element: 0 for sum, -inf for max and logsumexp, inf for min.
    """

    op: str
    indices: tuple[str, ...]
    domain: Domain
    body: Expr

    def __post_init__(self) -> None:
        vars(self)["operands"] = (self.body,)

    @property
    def shape(self) -> Shape:
        return self.body.shape

    @property
    def type(self) -> Type:
        return self.body.type


@dataclass(frozen=True, eq=False)
class Guard(Expr):
    """``body`` where ``domain`` (on indices and lengths) holds, zero elsewhere."""

    domain: Domain
    body: Expr

    def __post_init__(self) -> None:
        vars(self)["operands"] = (self.body,)

    @property
    def shape(self) -> Shape:
        return self.body.shape

    @property
    def type(self) -> Type:
        return self.body.type


def lift(value: ExprLike) -> Expr:
    """A Python number as a constant; an expression as it is. Integers become reals."""
    if isinstance(value, Expr):
        return value
    if isinstance(value, bool):
        return Const(value, (), BOOL)
    return Const(float(value), (), REAL)


def promote(*types: Type) -> Type:
    """The type of an arithmetic result: real if any operand is, else int."""
    return REAL if any(t.kind == "real" for t in types) else INT


def elementwise(op: str, *operands: ExprLike) -> Expr:
    """An arithmetic operation, element by element. Raises `ShapeError`."""
    args = tuple(lift(a) for a in operands)
    for position, a in enumerate(args):
        if a.type.kind == "bool":
            raise ShapeError("arithmetic needs numbers, not a truth value", (position,))
    shape = broadcast(*(a.shape for a in args))
    kind = REAL if op == "div" else promote(*(a.type for a in args))
    return Call(op, args, (), shape, kind)


# --- walking and rebuilding -------------------------------------------------------------------


def with_operands(e: Expr, new: tuple[Expr, ...]) -> Expr:
    """The same node over other subexpressions of the same shapes and types."""
    if new == e.operands:
        return e
    if isinstance(e, Call):
        return Call(e.op, new, e.attrs, e.shape, e.type)
    if isinstance(e, Reduce):
        return Reduce(e.op, e.indices, e.domain, new[0])
    if isinstance(e, Guard):
        return Guard(e.domain, new[0])
    return e


def walk(e: Expr) -> Sequence[Expr]:
    """Every distinct node, operands before the nodes that use them."""
    if not e.operands:
        return (e,)
    found: list[Expr] = []
    seen: set[Expr] = set()
    stack = [(e, False)]
    while stack:
        node, done = stack.pop()
        if done:
            found.append(node)
        elif node not in seen:
            seen.add(node)
            if node.operands:
                stack.append((node, True))
                stack.extend([(c, False) for c in node.operands[::-1]])
            else:
                found.append(node)
    return found


def rewrite(e: Expr, fn: Callable[[Expr], Expr]) -> Expr:
    """Rebuild bottom-up, passing every node (its operands already rewritten) through ``fn``."""
    memo: dict[Expr, Expr] = {}
    for node in walk(e):
        below = node.operands
        same = with_operands(node, tuple([memo[c] for c in below])) if below else node
        memo[node] = fn(same)
    return memo[e]


@dataclass(frozen=True)
class Read:
    """One occurrence of a `Ref` with what encloses it inside the right-hand side.

    ``bound`` are the reduction indices in scope, ``domain`` the reductions' domains and the guards.
    """

    ref: Ref
    bound: tuple[str, ...]
    domain: Domain


def reads(e: Expr, bound: tuple[str, ...] = (), domain: Domain = EVERYWHERE) -> Iterable[Read]:
    """All element reads, each with its reduction indices and guards."""
    if bound or domain is not EVERYWHERE:
        return _reads(e, bound, domain)
    found: tuple[Read, ...] | None = vars(e).get("_reads")
    if found is None:
        found = vars(e)["_reads"] = tuple(_reads(e, bound, domain))
    return found


def _reads(e: Expr, bound: tuple[str, ...], domain: Domain) -> Iterator[Read]:
    seen: set[tuple[Expr, Domain]] = set()
    stack: list[tuple[Expr, tuple[str, ...], Domain]] = [(e, bound, domain)]
    while stack:
        node, b, d = stack.pop()
        if (node, d) in seen:
            continue
        seen.add((node, d))
        if isinstance(node, Ref):
            yield Read(node, b, d)
        elif isinstance(node, Reduce):
            stack.append((node.body, b + node.indices, d & node.domain))
        elif isinstance(node, Guard):
            stack.append((node.body, b, d & node.domain))
        else:
            stack.extend((c, b, d) for c in node.operands)


def names(e: Expr) -> frozenset[str]:
    """The names of all variables that are read."""
    found: Found | None = e.__dict__.get("_names")
    return found if found is not None else _known(e, "_names", _own_names)


def _own_names(node: Expr, below: frozenset[str]) -> frozenset[str]:
    return below | {node.name} if isinstance(node, Ref) else below


def free_symbols(e: Expr) -> frozenset[str]:
    """Indices, lengths and sizes on which the value depends, without the bound indices."""
    found: Found | None = e.__dict__.get("_free")
    return found if found is not None else _known(e, "_free", _own_symbols)


def _own_symbols(node: Expr, below: frozenset[str]) -> frozenset[str]:
    if isinstance(node, Position):
        return below | node.poly.symbols
    if isinstance(node, Ref):
        return below.union(*(p.symbols for p in node.index))
    if isinstance(node, Guard):
        return below | node.domain.symbols
    if isinstance(node, Reduce):
        return (below | node.domain.symbols) - frozenset(node.indices)
    return below


def kinds(e: Expr) -> frozenset[str]:
    """What the expression is made of: kinds of node (``"Guard"``, but not ``"Call"``) and names of
    operations (``"matmul"``)."""
    found: Found | None = e.__dict__.get("_kinds")
    return found if found is not None else _known(e, "_kinds", _own_kind)


def _own_kind(node: Expr, below: frozenset[str]) -> frozenset[str]:
    kind = node.op if isinstance(node, Call) else type(node).__name__
    return below if kind in below else below | {kind}


Found: TypeAlias = frozenset[str]
_NOTHING: Found = frozenset()


def _known(e: Expr, key: str, own: Callable[[Expr, Found], Found]) -> Found:
    """What is found in a node and below it, noted in every node under ``key``."""
    waiting = [e]
    while waiting:
        node = waiting[-1]
        noted = node.__dict__
        if key not in noted:
            missing = [c for c in node.operands if key not in c.__dict__]
            if missing:
                waiting += missing
                continue
            found = _NOTHING
            for c in node.operands:
                below: Found = c.__dict__[key]
                found = below if found <= below else found if below <= found else found | below
            noted[key] = own(node, found)
        waiting.pop()
    result: Found = e.__dict__[key]
    return result


def fresh(stem: str, taken: Iterable[str]) -> str:
    """``stem`` if it is free, else ``stem_1``, ``stem_2``, …"""
    used = set(taken)
    if stem not in used:
        return stem
    return next(n for k in itertools.count(1) if (n := f"{stem}_{k}") not in used)


def subs_positions(e: Expr, values: Mapping[str, PolyLike]) -> Expr:
    """Replace indices or lengths by affine expressions, without capture by reductions."""
    free = free_symbols(e)
    env = {k: Poly.of(v) for k, v in values.items() if k in free and Poly.of(v) != Poly.symbol(k)}
    return _moved(e, env, {}) if env else e


def _moved(e: Expr, env: Mapping[str, Poly], memo: dict[Expr, Expr]) -> Expr:
    """`subs_positions`; ``memo`` is of ``env``."""
    if free_symbols(e).isdisjoint(env):
        return e
    found = memo.get(e)
    if found is None:
        if isinstance(e, Call):
            found = with_operands(e, tuple([_moved(c, env, memo) for c in e.args]))
        elif isinstance(e, Ref):
            found = Ref(e.name, tuple([p.subs(env) for p in e.index]), e.shape, e.type)
        elif isinstance(e, Position):
            found = Position(e.poly.subs(env))
        elif isinstance(e, Guard):
            found = Guard(e.domain.subs(env), _moved(e.body, env, memo))
        else:
            assert isinstance(e, Reduce)
            found = _moved_reduction(e, env)
        memo[e] = found
    return found


def _moved_reduction(e: Reduce, env: Mapping[str, Poly]) -> Reduce:
    inner = {k: v for k, v in env.items() if k not in e.indices}
    clash = {s for v in inner.values() for s in v.symbols}
    renamed: dict[str, str] = {}
    if clash & set(e.indices):
        taken = clash | free_symbols(e.body) | e.domain.symbols | set(inner)
        for i in e.indices:
            renamed[i] = fresh(i, taken) if i in clash else i
            taken = taken | {renamed[i]}
        inner |= {k: Poly.symbol(v) for k, v in renamed.items() if k != v}
    indices = tuple(renamed.get(i, i) for i in e.indices)
    return Reduce(e.op, indices, e.domain.subs(inner), _moved(e.body, inner, {}))


def subs_sizes(e: Expr, sizes: Mapping[str, int]) -> Expr:
    """Replace compile-time sizes by numbers, in shapes, attributes and positions alike."""

    def poly(p: Poly) -> Poly:
        return p.subs(sizes)

    def attr(value: Attr) -> Attr:
        if isinstance(value, Poly):
            return poly(value)
        if isinstance(value, tuple):
            return tuple(attr(v) for v in value)
        return value

    def kind(t: Type) -> Type:
        return t if t.bound is None else Type(t.kind, poly(t.bound))

    def shaped(shape: Shape) -> Shape:
        return tuple(poly(n) for n in shape)

    def one(node: Expr) -> Expr:
        if isinstance(node, Const):
            return Const(node.value, shaped(node.shape), node.type)
        if isinstance(node, Position):
            p = poly(node.poly)
            return Position(p) if p.constant is None else Const(p.constant, (), INT)
        if isinstance(node, Ref):
            index = tuple(poly(p) for p in node.index)
            return Ref(node.name, index, shaped(node.shape), kind(node.type))
        if isinstance(node, Call):
            attrs = tuple((k, attr(v)) for k, v in node.attrs)
            return Call(node.op, node.args, attrs, shaped(node.shape), kind(node.type))
        if isinstance(node, Reduce):
            return Reduce(node.op, node.indices, node.domain.subs(sizes), node.body)
        if isinstance(node, Guard):
            return Guard(node.domain.subs(sizes), node.body)
        return node

    return rewrite(e, one)
