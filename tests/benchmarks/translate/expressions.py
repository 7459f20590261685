"""Expressions over whole arrays: every index that is not a loop runs over all of its range at once.

A domain that is no box is a mask. Products that are summed over an index are one matrix product;
``exp(a - logsumexp(a))``, which is how a softmax over an index is read, is `jax.nn.softmax`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from unfold.domain import Domain
from unfold.expr import (
    Call,
    Const,
    Expr,
    Guard,
    Position,
    Reduce,
    Ref,
    free_symbols,
    subs_positions,
)
from unfold.poly import Poly
from unfold.program import Program

from .arrays import Array, Source, aligned, filled, product, spread
from .ops import RULES, number
from .pieces import Piece, Ranges, Untranslated, extent, positions, read

#: Sums over up to so many positions of a sliding window are written out.
WINDOW = 4


@dataclass
class Scope:
    """Where expressions are written down.

    Attributes:
        src: where lines go.
        lengths: the numbers of all run-time lengths.
        pieces: what is computed so far, by variable.
        memo: values by expression and the ranges of its indices.
    """

    program: Program
    src: Source
    lengths: Mapping[str, int]
    pieces: dict[str, list[Piece]] = field(default_factory=dict)
    memo: dict[Any, Array] = field(default_factory=dict)

    def value(self, e: Expr, ranges: Ranges) -> Array:
        """An expression, all indices of ``ranges`` at once."""
        free = free_symbols(e)
        key = e, tuple((i, ranges[i]) for i in sorted(free) if i in ranges)
        if key not in self.memo:
            self.memo[key] = self.compute(e, ranges)
        return self.memo[key]

    def compute(self, e: Expr, ranges: Ranges) -> Array:
        if isinstance(e, Const):
            value = np.asarray(number(e.value))
            value = value.astype({"real": float, "int": int, "bool": bool}[e.type.kind])
            made = self.src.constant(value)
            return made if value.ndim == 0 or value.shape == number(e.shape) else filled(
                self.src, made, (), number(e.shape)
            )  # fmt: skip
        if isinstance(e, Position):
            return positions(self.src, self.numbers(e.poly), ranges)
        if isinstance(e, Ref):
            return self.element(e, ranges)
        if isinstance(e, Guard):
            mask = self.mask(e.domain, ranges)
            body = self.value(e.body, ranges)
            return body if mask is None else self.chosen(mask, body, 0.0)
        if isinstance(e, Reduce):
            return self.reduction(e, ranges)
        assert isinstance(e, Call)
        return self.call(e, ranges)

    def element(self, e: Ref, ranges: Ranges) -> Array:
        """Elements of a variable."""
        if e.name not in self.pieces:
            raise Untranslated(f"{e.name} is read before it is there")
        index = [self.numbers(p) for p in e.index]
        return read(self.src, self.pieces[e.name], index, ranges)

    def numbers(self, p: Poly) -> Poly:
        """A position with the lengths filled in."""
        return p.subs(self.lengths)

    def call(self, e: Call, ranges: Ranges) -> Array:
        shape = number(e.shape)
        if e.op == "exp_diff":
            made = self.softmax(e, ranges)
            if made is not None:
                return made
            a, b = (self.value(x, ranges) for x in e.args)
            return RULES["exp"](self.src, [RULES["sub"](self.src, [a, b], {}, shape)], {}, shape)
        if e.op == "sum":
            made = self.summed_product(e, ranges)
            if made is not None:
                return made
        if e.op not in RULES:
            raise Untranslated(f"there is no row for {e.op}")
        args = [self.value(a, ranges) for a in e.args]
        return RULES[e.op](self.src, args, dict(e.attrs), shape)

    # --- masks ---

    def mask(self, domain: Domain, ranges: Ranges) -> Array | None:
        """Where a domain holds, ``None`` for everywhere."""
        parts = []
        for p in domain.subs(self.lengths).constraints:
            if extent(p, ranges).start < 0:
                value = positions(Source(), p, ranges)
                parts.append(Array(value.dims, value.shape, "", np.asarray(value.known) >= 0))
        if not parts:
            return None
        dims, arrays = aligned(Source(), parts)
        holds = np.asarray(True)
        for a in arrays:
            holds = holds & a.known
        return self.src.constant(holds, dims)

    def chosen(self, mask: Array, body: Array, other: float) -> Array:
        """The body where the mask holds."""
        where = _places(mask, body)
        if other == 0.0 and where is not None and np.array_equal(where, body.within):
            return body
        made = self._chosen(mask, body, other)
        whole = other == 0.0 and made.dims == body.dims
        return replace(made, within=where) if whole else made

    def _chosen(self, mask: Array, body: Array, other: float) -> Array:
        return RULES["where"](self.src, [_column(self.src, mask, body), body,
                                         self.src.constant(other)], {}, ())  # fmt: skip

    # --- reductions over indices ---

    def box(self, indices: tuple[str, ...], domain: Domain, ranges: Ranges) -> dict[str, range]:
        """The smallest range of each index that holds all of a domain."""
        domain = domain.subs(self.lengths)
        for i in domain.symbols:
            if i in ranges and i not in indices:
                domain = domain & Domain.range(i, ranges[i][0], ranges[i][-1])
        others = domain.symbols
        return {i: domain.project_out(others - {i}).extent(i, {}) for i in indices}

    def reduction(self, e: Reduce, ranges: Ranges) -> Array:
        box = self.box(e.indices, e.domain, ranges)
        inner = {**ranges, **box}
        if e.op == "sum":
            made = self.window(e, box, ranges) or self.contraction(e, inner)
            if made is not None:
                return made
        body = self.value(e.body, inner)
        mask = self.mask(e.domain, inner)
        neutral = {"sum": 0.0, "max": -math.inf, "min": math.inf, "logsumexp": -math.inf}[e.op]
        if mask is not None:
            body = self.chosen(mask, body, neutral)
        missing = [i for i in e.indices if i not in body.dims]
        if missing:
            dims = (*missing, *body.dims)
            shape = (*(len(box[i]) for i in missing), *body.shape)
            body = filled(self.src, body, dims, shape)
        axes = tuple(body.dims.index(i) for i in e.indices)
        name = {"logsumexp": "jax.nn.logsumexp"}.get(e.op, f"jnp.{e.op}")
        where = axes[0] if len(axes) == 1 else axes
        left = [k for k in range(len(body.shape)) if k not in axes]
        dims = tuple(d for d in body.dims if d not in e.indices)
        code = f"{name}({body.code}, axis={where})"
        return self.src.let(code, dims, [body.shape[k] for k in left])

    def window(self, e: Reduce, box: dict[str, range], ranges: Ranges) -> Array | None:
        """``sum[lag](w[lag] * x[t-lag])`` over a few lags: that many shifted arrays."""
        if len(e.indices) > 1 or len(box[e.indices[0]]) > WINDOW:
            return None
        if self.mask(e.domain, {**ranges, **box}) is not None or not _slides(e.body, e.indices[0]):
            return None
        terms = [self.value(subs_positions(e.body, {e.indices[0]: k}), ranges)
                 for k in box[e.indices[0]]]  # fmt: skip
        total = terms[0]
        for term in terms[1:]:
            total = RULES["add"](self.src, [total, term], {}, ())
        return total

    def contraction(self, e: Reduce, inner: Ranges) -> Array | None:
        """A sum of products over indices as one matrix product."""
        if not (isinstance(e.body, Call) and e.body.op == "mul"):
            return None
        a, b = (self.value(x, inner) for x in e.body.args)
        if any(i not in v.dims for v in (a, b) for i in e.indices):
            return None
        letters, out = _letters(a, b), ""
        out = max(letters, key=len)
        if not _worth(a, b, letters, (*e.indices,)):
            return None
        mask = self.mask(e.domain, inner)
        if mask is not None:
            if set(mask.dims) <= set(a.dims):
                a = self.chosen(mask, a, 0.0)
            elif set(mask.dims) <= set(b.dims):
                b = self.chosen(mask, b, 0.0)
            else:
                return None
        return product(self.src, a, b, letters, out, e.indices)

    def summed_product(self, e: Call, ranges: Ranges) -> Array | None:
        """A sum of products over components as one matrix product."""
        (body,) = e.args
        axis = e.attr("axis")
        if not (isinstance(body, Call) and body.op == "mul"):
            return None
        a, b = (self.value(x, ranges) for x in body.args)
        letters = _letters(a, b)
        whole = max(letters, key=len)
        gone = whole if axis is None else whole[axis]
        out = "".join(n for n in whole if n not in gone)
        full = [n for v, names in ((a, letters[0]), (b, letters[1]))
                for n, k in zip(names, v.components, strict=True) if k > 1]  # fmt: skip
        if any(full.count(n) < 2 for n in gone) or not _worth(a, b, letters, tuple(gone)):
            return None
        return product(self.src, a, b, letters, out)

    def softmax(self, e: Call, ranges: Ranges) -> Array | None:
        """``exp(e - logsumexp[i](e'))`` where ``e'`` is ``e`` with ``i`` for another index."""
        score, total = e.args
        if not (isinstance(total, Reduce) and total.op == "logsumexp" and len(total.indices) == 1):
            return None
        (i,) = total.indices
        for j in free_symbols(score) & ranges.keys():
            if subs_positions(total.body, {i: j}) is not score:
                continue
            domain = total.domain.subs({i: j})
            outer = {n: r for n, r in ranges.items() if n != j}
            if self.box((i,), total.domain, outer)[i] != ranges[j]:
                return None
            scores = self.value(score, ranges)
            if j not in scores.dims:
                return None
            mask = self.mask(domain, ranges)
            if mask is not None:
                scores = self.chosen(mask, scores, -math.inf)
            code = f"jax.nn.softmax({scores.code}, axis={scores.dims.index(j)})"
            made = self.src.let(code, scores.dims, scores.shape)
            return made if mask is None else replace(made, within=_places(mask, made))
        return None


def _places(mask: Array, body: Array) -> Any:
    """A mask for all positions of an array; ``None`` if it has other indices or is a row."""
    if mask.known is None or not set(mask.dims) <= set(body.dims):
        return None
    value = spread(Source(), mask, body.dims, 0).known
    return np.broadcast_to(value, tuple(body.sizes.values()))


def _column(src: Source, mask: Array, body: Array) -> Array:
    """A mask with axes for the components of what it is applied to."""
    dims = body.dims + tuple(d for d in mask.dims if d not in body.dims)
    return spread(src, mask, dims, len(body.components))


def _letters(a: Array, b: Array) -> tuple[str, str]:
    """Letters for the axes of components, from the last one, as NumPy broadcasts them."""
    names = "abcdef"
    ranks = [len(v.components) for v in (a, b)]
    most = max(ranks)
    return names[most - ranks[0] : most], names[most - ranks[1] : most]


def _worth(a: Array, b: Array, letters: tuple[str, str], gone: tuple[str, ...]) -> bool:
    """Whether a matrix product is better than a product element by element and its sum: if nothing
    but what is summed is shared, or what would be summed is larger than both factors."""
    sizes = [{**v.sizes, **{n: k for n, k in zip(names, v.components, strict=True) if k > 1}}
             for v, names in ((a, letters[0]), (b, letters[1]))]  # fmt: skip
    shared = sizes[0].keys() & sizes[1].keys()
    total = math.prod({**sizes[0], **sizes[1]}.values())
    return shared <= set(gone) or total > max(math.prod(s.values()) for s in sizes)


def _slides(e: Expr, index: str) -> bool:
    """Whether something is read at a distance that the index counts."""
    from unfold.expr import walk

    return any(
        isinstance(n, Ref) and any(index in p.symbols and len(p.symbols) > 1 for p in n.index)
        for n in walk(e)
    )
