"""Operations on whole components, every component a value of its own (in registers).

For elements of few components: products and reductions are unrolled, and rearrangements
(transpose, slices, concatenation…) cost nothing, for they only say which value stands where.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, reduce
from itertools import product
from typing import Any

import numpy as np

from unfold.expr import Call
from unfold.intern import remembered
from unfold.poly import Shape

from . import elementwise, elimination, vecmath
from .body import Body
from .elementwise import Formats, convert, is_float
from .ir import Function, Value, integer, number_of, real, vector, width_of

Components = list[Value]
Rule = Callable[["Unit", Call, Sequence[Components]], Components]
_FAST = "contract"


class Unit:
    """Where instructions go and which number formats they use.

    ``width`` is how many components of an element stand side by side in a register (see `vectors`).
    """

    def __init__(self, f: Function, formats: Formats, width: int = 1) -> None:
        self.f = f
        self.formats = formats
        self.width = width

    def zero(self, kind: str) -> Value:
        """The number 0 or the truth value false."""
        if kind == "real":
            return real(0.0, self.formats.real)
        return integer(0, self.formats.of(kind))

    def same_width(self, *values: Value) -> list[Value]:
        """Scalars repeated to the lanes of the widest value."""
        width = max(width_of(v.type) for v in values)
        return [self.f.splat(v, width) for v in values]

    def binary(self, op: str, a: Value, b: Value) -> Value:
        """An instruction on two values of one format, whatever their widths."""
        return self.f.binary(op, *self.same_width(a, b))

    def select(self, condition: Value, a: Value, b: Value) -> Value:
        """A choice between values of one format, whatever their widths."""
        return self.f.select(*self.same_width(condition, a, b))


@remembered
def dims(shape: Shape) -> tuple[int, ...]:
    """A shape as numbers."""
    return tuple(n.evaluate({}) for n in shape)


def emit(u: Unit, node: Call, args: Sequence[Components]) -> Components:
    """The components of an operation's result, in C order.

    Raises:
        KeyError: the op has no rule.
    """
    if node.op in RULES:
        return RULES[node.op](u, node, args)
    if node.op not in elementwise.RULES:
        raise KeyError(node.op)
    shape = dims(node.shape)
    maps = [broadcast_map(dims(a.shape), shape) for a in node.args]
    picked = zip(*([a[k] for k in m] for a, m in zip(args, maps, strict=True)), strict=True)
    return [elementwise.emit(u.f, u.formats, node, values) for values in picked]


@lru_cache(maxsize=4096)
def broadcast_map(have: tuple[int, ...], want: tuple[int, ...]) -> tuple[int, ...]:
    numbers = np.arange(int(np.prod(have))).reshape(have)
    return tuple(np.broadcast_to(numbers, want).ravel().tolist())


def _reals(u: Unit, values: Components) -> Components:
    return [convert(u.f, v, u.formats.real) for v in values]


# --- products ---------------------------------------------------------------------------------


def _matmul(u: Unit, node: Call, args: Sequence[Components]) -> Components:
    left, right = (dims(a.shape) for a in node.args)
    inner = left[-1]
    rows, columns = int(np.prod(left[:-1])), int(np.prod(right[1:]))
    a, b = (_reals(u, x) for x in args)
    result = []
    for i, j in product(range(rows), range(columns)):
        pairs = ((a[i * inner + k], b[k * columns + j]) for k in range(inner))
        result.append(dot(u, pairs))
    return result


def dot(u: Unit, pairs: Any) -> Value:
    """The sum of products; multiplications and additions may fuse."""
    total = None
    for x, y in pairs:
        term = u.binary(f"fmul {_FAST}", x, y)
        total = term if total is None else u.binary(f"fadd {_FAST}", total, term)
    return u.zero("real") if total is None else total


def _outer(u: Unit, node: Call, args: Sequence[Components]) -> Components:
    a, b = (_reals(u, x) for x in args)
    return [u.binary(f"fmul {_FAST}", x, y) for x, y in product(a, b)]


# --- rearrangement ----------------------------------------------------------------------------


def numbered(node: Call, which: int = 0) -> Any:
    """The components of an operand, counted in C order, in its shape."""
    shape = dims(node.args[which].shape)
    return np.arange(int(np.prod(shape))).reshape(shape)


def _pick(values: Components, numbers: Any) -> Components:
    return [values[k] for k in numbers.ravel().tolist()]


def _slice(node: Call) -> Any:
    lo, hi = (node.attr(n).evaluate({}) for n in ("lo", "hi"))
    return np.take(numbered(node), range(lo, hi), axis=node.attr("axis"))


def _operands(node: Call) -> list[Any]:
    """The components of all operands, counted through."""
    sizes = [int(np.prod(dims(a.shape))) for a in node.args]
    return [numbered(node, k) + sum(sizes[:k]) for k in range(len(sizes))]


def _pad(node: Call) -> Any:
    widths = [(0, 0)] * len(node.args[0].shape)
    before, after = (node.attr(n).evaluate({}) for n in ("before", "after"))
    widths[node.attr("axis")] = (before, after)
    return np.pad(numbered(node), widths, constant_values=ZERO)


#: The place of a component that is 0, see `REARRANGED`.
ZERO = -1
#: Operations that only say which component stands where: for every component of the result its
#: number among those of all operands.
REARRANGED: dict[str, Callable[[Call], Any]] = {
    "transpose": lambda node: numbered(node).transpose(),
    "reshape": numbered,
    "broadcast": lambda node: np.broadcast_to(numbered(node), dims(node.shape)),
    "slice": _slice,
    "pad": _pad,
    "concat": lambda node: np.concatenate(_operands(node), axis=node.attr("axis")),
    "stack": lambda node: np.stack(_operands(node)),
}


def _rearranged(u: Unit, node: Call, args: Sequence[Components]) -> Components:
    kind = u.formats.of(node.type.kind)
    values = [convert(u.f, v, kind) for a in args for v in a]
    return _pick([*values, u.zero(node.type.kind)], REARRANGED[node.op](node))


# --- choice by an integer -----------------------------------------------------------------------


def _is_at(u: Unit, index: Value, k: int) -> Value:
    return u.f.compare("icmp eq", index, integer(k, index.type))


def _take(u: Unit, node: Call, args: Sequence[Components]) -> Components:
    numbers = np.moveaxis(numbered(node), node.attr("axis"), 0)
    (index,) = args[1]
    known = number_of(index)
    if known is not None:
        return _pick(args[0], numbers[known])
    result = _pick(args[0], numbers[0])
    for k in range(1, len(numbers)):
        hit = _is_at(u, index, k)
        here = _pick(args[0], numbers[k])
        result = [u.select(hit, a, b) for a, b in zip(here, result, strict=True)]
    return result


def _scatter(u: Unit, node: Call, args: Sequence[Components]) -> Components:
    (index,) = args[1]
    axis, size = node.attr("axis"), node.attr("size").evaluate({})
    numbers = numbered(node)
    zero = u.zero(node.type.kind)
    layers: list[Value] = []
    for k in range(size):
        hit = _is_at(u, index, k)
        layers += [u.select(hit, v, zero) for v in args[0]]
    order = np.stack([numbers + k * numbers.size for k in range(size)], axis=axis)
    return _pick(layers, order)


def _onehot(u: Unit, node: Call, args: Sequence[Components]) -> Components:
    (index,) = args[0]
    size = node.attr("size").evaluate({})
    return [convert(u.f, _is_at(u, index, k), u.formats.real) for k in range(size)]


# --- reductions over components -------------------------------------------------------------------


def groups(shape: tuple[int, ...], axis: int | None) -> list[list[int]]:
    """Which components are reduced together, one list for each component of the result."""
    numbers = np.arange(int(np.prod(shape))).reshape(shape)
    if axis is None:
        return [numbers.ravel().tolist()]
    found: list[list[int]] = np.moveaxis(numbers, axis, -1).reshape(-1, shape[axis]).tolist()
    return found


def tree(combine: Callable[[Value, Value], Value], values: Sequence[Value]) -> Value:
    """Combine neighbours pairwise: short chains of instructions, small rounding errors."""
    level = list(values)
    while len(level) > 1:
        paired = [combine(a, b) for a, b in zip(level[::2], level[1::2], strict=False)]
        level = paired + level[len(level) & ~1 :]
    return level[0]


def add(u: Unit, a: Value, b: Value) -> Value:
    """The sum of two numbers of one format."""
    return u.binary(f"fadd {_FAST}" if is_float(a) else "add", a, b)


def extreme(u: Unit, which: str, a: Value, b: Value) -> Value:
    """``max`` or ``min`` of two numbers of one format; NaN wins."""
    a, b = u.same_width(a, b)
    return vecmath.emit(u.f, f"{which}imum", a, b)


def _sum(u: Unit, node: Call, args: Sequence[Components]) -> Components:
    found = groups(dims(node.args[0].shape), node.attr("axis"))
    return [tree(lambda a, b: add(u, a, b), [args[0][k] for k in g]) for g in found]


def _extreme(which: str) -> Rule:
    def rule(u: Unit, node: Call, args: Sequence[Components]) -> Components:
        found = groups(dims(node.args[0].shape), node.attr("axis"))
        return [tree(lambda a, b: extreme(u, which, a, b), [args[0][k] for k in g]) for g in found]

    return rule


def _argmax(u: Unit, node: Call, args: Sequence[Components]) -> Components:
    """The first of the largest; the first NaN if there is one."""
    result = []
    for g in groups(dims(node.args[0].shape), node.attr("axis")):
        values = u.same_width(*(args[0][k] for k in g))
        best = values[0]
        at = integer(0, vector("i64", width_of(best.type)))
        for k, v in enumerate(values[1:], start=1):
            if is_float(v):
                larger = u.f.compare("fcmp ugt", v, best)
                known = u.f.compare("fcmp ord", best, best)
                wins = u.f.binary("and", larger, known)
            else:
                wins = u.f.compare("icmp sgt", v, best)
            best = u.f.select(wins, v, best)
            at = u.f.select(wins, integer(k, at.type), at)
        result.append(at)
    return result


def _exponentials(u: Unit, values: Components) -> tuple[Components, Value, Value]:
    """``exp(v - shift)`` of each value, the shift, and their sum.

    The shift is the largest value, or 0 where that is infinite: all -inf means nothing is possible.
    """
    at = shift(u, reduce(lambda a, b: extreme(u, "max", a, b), u.same_width(*values)))
    terms = [vecmath.emit(u.f, "exp", u.binary("fsub", v, at)) for v in values]
    return terms, at, tree(lambda a, b: add(u, a, b), terms)


def shift(u: Unit, top: Value) -> Value:
    """The largest of some values, or 0 where that is infinite."""
    size = u.f.intrinsic("llvm.fabs", top)
    finite = u.f.compare("fcmp one", size, real(float("inf"), top.type))
    return u.f.select(finite, top, real(0.0, top.type))


def divisor(u: Unit, total: Value) -> Value:
    """The sum of a softmax's terms, or 1 where nothing is possible."""
    empty = u.f.compare("fcmp oeq", total, real(0.0, total.type))
    return u.f.select(empty, real(1.0, total.type), total)


def logsumexp(u: Unit, values: Components) -> Value:
    """The logarithm of the sum of exponentials, without overflow."""
    _, shift, total = _exponentials(u, _reals(u, values))
    return u.binary("fadd", vecmath.emit(u.f, "log", total), shift)


def _logsumexp(u: Unit, node: Call, args: Sequence[Components]) -> Components:
    found = groups(dims(node.args[0].shape), node.attr("axis"))
    return [logsumexp(u, [args[0][k] for k in g]) for g in found]


def _softmax(u: Unit, node: Call, args: Sequence[Components]) -> Components:
    values = _reals(u, args[0])
    result = list(values)
    for g in groups(dims(node.args[0].shape), node.attr("axis")):
        terms, _, total = _exponentials(u, [values[k] for k in g])
        below = divisor(u, total)
        for k, term in zip(g, terms, strict=True):
            result[k] = u.f.binary("fdiv", term, below)
    return result


def _log_softmax(u: Unit, node: Call, args: Sequence[Components]) -> Components:
    values = _reals(u, args[0])
    result = list(values)
    for g in groups(dims(node.args[0].shape), node.attr("axis")):
        total = logsumexp(u, [values[k] for k in g])
        for k in g:
            result[k] = u.binary("fsub", values[k], total)
    return result


def _cross_entropy(u: Unit, node: Call, args: Sequence[Components]) -> Components:
    logits, (label,) = _reals(u, args[0]), args[1]
    chosen = logits[0]
    for k, v in enumerate(logits[1:], start=1):
        chosen = u.select(_is_at(u, label, k), v, chosen)
    return [u.binary("fsub", logsumexp(u, logits), chosen)]


# --- small systems --------------------------------------------------------------------------------


def _square(u: Unit, node: Call, args: Sequence[Components]) -> elimination.Matrix:
    """The first operand row by row, every entry in the lanes of the widest of all operands."""
    width = max(width_of(v.type) for a in args for v in a)
    return _rows(u, args[0], dims(node.args[0].shape)[1], width)


def _rows(u: Unit, values: Components, columns: int, width: int) -> elimination.Matrix:
    b = Body(u.f)
    ready = [b.wrap(u.f.splat(v, width)) for v in _reals(u, values)]
    return [ready[k : k + columns] for k in range(0, len(ready), columns)]


def _flat(matrix: elimination.Matrix) -> Components:
    return [v for row in matrix for v in row]


def _solve(u: Unit, node: Call, args: Sequence[Components]) -> Components:
    a = _square(u, node, args)
    right = _rows(u, args[1], len(args[1]) // len(a), a[0][0].kind.lanes)
    return _flat(elimination.solution(a, right))


def _inv(u: Unit, node: Call, args: Sequence[Components]) -> Components:
    a = _square(u, node, args)
    kind, body = a[0][0].kind, a[0][0].body
    unit = [[body.const(kind, float(i == j)) for j in range(len(a))] for i in range(len(a))]
    return _flat(elimination.solution(a, unit))


def _logdet(u: Unit, node: Call, args: Sequence[Components]) -> Components:
    sizes = [u.f.intrinsic("llvm.fabs", p) for p in elimination.pivots(_square(u, node, args))]
    return [tree(lambda a, b: add(u, a, b), [vecmath.emit(u.f, "log", s) for s in sizes])]


def _cholesky(u: Unit, node: Call, args: Sequence[Components]) -> Components:
    return _flat(elimination.cholesky(_square(u, node, args)))


def _half_lower(u: Unit, node: Call, args: Sequence[Components]) -> Components:
    values, n = _reals(u, args[0]), dims(node.shape)[0]
    half, zero = real(0.5, u.formats.real), u.zero("real")
    result = []
    for (i, j), v in zip(product(range(n), repeat=2), values, strict=True):
        result.append(zero if j > i else v if j < i else u.binary("fmul", v, half))
    return result


RULES: dict[str, Rule] = {
    "solve": _solve,
    "inv": _inv,
    "logdet": _logdet,
    "cholesky": _cholesky,
    "half_lower": _half_lower,
    "matmul": _matmul,
    "outer": _outer,
    **dict.fromkeys(REARRANGED, _rearranged),
    "take": _take,
    "scatter": _scatter,
    "onehot": _onehot,
    "sum": _sum,
    "max": _extreme("max"),
    "min": _extreme("min"),
    "argmax": _argmax,
    "logsumexp": _logsumexp,
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "cross_entropy": _cross_entropy,
}

__all__ = ["REARRANGED", "RULES", "ZERO", "Components", "Unit", "add", "broadcast_map", "dims",
           "divisor", "dot", "emit", "extreme", "groups", "logsumexp", "numbered", "shift",
           "tree"]  # fmt: skip
