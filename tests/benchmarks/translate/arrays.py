"""Arrays whose leading axes have the names of indices, as names in a source text.

``sum[s](a[t,s] * v[s])`` is one product of the array ``a`` with axes ``t, s`` and the array ``v``
with axes ``s`` and components: what JAX leaves to the order of axes, names say here. Nothing is
computed: every operation writes a line of JAX and says what shape it has. Only what depends on
positions alone is a number already, as it would be for a programmer who writes ``np.arange``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Array:
    """An array: one axis for each index in ``dims``, then those of its components.

    Attributes:
        dims: names of indices.
        shape: of all of it.
        code: its name in the text, or a number.
        known: its value, if it depends on positions alone.
        within: where it may be other than zero, for all positions, if that is not everywhere.
    """

    dims: tuple[str, ...]
    shape: Shape
    code: str
    known: Any = None
    within: Any = None

    @property
    def components(self) -> Shape:
        return self.shape[len(self.dims) :]

    @property
    def sizes(self) -> dict[str, int]:
        """How long the axes of the indices are."""
        return dict(zip(self.dims, self.shape, strict=False))

    def axis(self, k: int) -> int:
        """The place of an axis of the components."""
        return len(self.dims) + k


@dataclass
class Source:
    """Lines of a function, the names in it, and the arrays that it takes as they are."""

    lines: list[str] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=dict)
    taken: dict[str, int] = field(default_factory=dict)

    def block(self) -> Source:
        """Lines of a function inside of this one."""
        return Source([], self.constants, self.taken)

    def fresh(self, stem: str) -> str:
        stem = "".join(c if c.isalnum() else "_" for c in stem)
        stem = stem if stem and not stem[0].isdigit() else f"v{stem}"
        self.taken[stem] = self.taken.get(stem, 0) + 1
        return f"{stem}_{self.taken[stem]}"

    def let(self, code: str, dims: Sequence[str], shape: Sequence[int], stem: str = "v") -> Array:
        """A line that names a value."""
        name = self.fresh(stem)
        self.lines.append(f"{name} = {code}")
        return Array(tuple(dims), tuple(shape), name)

    def constant(self, value: Any, dims: Sequence[str] = ()) -> Array:
        """A number, or an array that is known when the text is written."""
        array = np.asarray(value)
        if array.ndim == 0:
            return Array((), (), literal(array.item()), array.item())
        name = self.fresh("c")
        self.constants[name] = array
        return Array(tuple(dims), array.shape, name, array)

    def include(self, inner: Source) -> None:
        """Take the lines of an inner function, indented."""
        self.lines += ["    " + line for line in inner.lines]


def literal(value: float | bool) -> str:
    """A number as text."""
    if isinstance(value, float) and not math.isfinite(value):
        sign = "-" if value < 0 else ""
        return "jnp.nan" if math.isnan(value) else f"{sign}jnp.inf"
    return f"({value!r})" if not isinstance(value, bool) and value < 0 else repr(value)


def aligned(src: Source, values: Sequence[Array]) -> tuple[tuple[str, ...], list[Array]]:
    """The arrays with axes such that NumPy's rule of broadcasting fits, and the indices' order."""
    dims: tuple[str, ...] = max((v.dims for v in values), key=len, default=())
    for v in values:
        dims += tuple(d for d in v.dims if d not in dims)
    rank = max((len(v.components) for v in values), default=0)
    return dims, [spread(src, v, dims, rank) for v in values]


def spread(src: Source, v: Array, dims: tuple[str, ...], rank: int) -> Array:
    """An array with axes of length 1 where it lacks those after its first."""
    own = len(v.components)
    if not v.dims or (v.dims == dims and own == rank):
        return v
    v = ordered(src, v, tuple(d for d in dims if d in v.dims))
    first = dims.index(v.dims[0])
    missing = [k - first for k, d in enumerate(dims) if k > first and d not in v.dims]
    missing += [len(dims) - first + k for k in range(rank - own)]
    if not missing:
        return v
    if v.known is not None:
        value = np.expand_dims(v.known, tuple(missing))
        made = src.constant(value)
        return Array(dims[first:], made.shape, made.code, value)
    shape = list(v.shape)
    for k in missing:
        shape.insert(k, 1)
    return src.let(f"lax.expand_dims({v.code}, {tuple(missing)})", dims[first:], shape)


def ordered(src: Source, v: Array, dims: tuple[str, ...]) -> Array:
    """The array with its indices in another order."""
    if v.dims == dims:
        return v
    axes = [v.dims.index(d) for d in dims] + list(range(len(dims), len(v.shape)))
    if v.known is not None:
        return src.constant(np.transpose(v.known, axes), dims)
    return src.let(f"lax.transpose({v.code}, {tuple(axes)})", dims, [v.shape[k] for k in axes])


def filled(src: Source, v: Array, dims: Sequence[str], shape: Sequence[int]) -> Array:
    """The array repeated to ``shape``: along all of ``dims``, and of its components."""
    dims, shape = tuple(dims), tuple(shape)
    v = spread(src, v, dims, len(shape) - len(dims))
    if v.shape == shape:
        return v
    if v.known is not None and np.ndim(v.known) == 0:
        kind = ", dtype=int" if isinstance(v.known, int) and not isinstance(v.known, bool) else ""
        kind = ", dtype=bool" if isinstance(v.known, bool) else kind
        if v.known == 0 and not kind:
            return src.let(f"jnp.zeros({shape})", dims, shape)
        return src.let(f"jnp.full({shape}, {v.code}{kind})", dims, shape)
    return src.let(f"jnp.broadcast_to({v.code}, {shape})", dims, shape)


def product(
    src: Source, a: Array, b: Array, names: tuple[str, str], out: str, away: Sequence[str] = ()
) -> Array:
    """A product summed over what two arrays share, as one `dot_general`.

    Args:
        names: a letter for each axis of the components of ``a`` and of ``b``.
        out: the letters of the result's components.
        away: indices that are summed over; shared letters that are not in ``out`` are as well.
    """
    kept = {*(d for d in (*a.dims, *b.dims) if d not in away), *out}
    x = _without_ones(src, a, (*a.dims, *names[0]), (*b.dims, *names[1]))
    y = _without_ones(src, b, (*b.dims, *names[1]), (*a.dims, *names[0]))
    found = [_dot(one, two, kept, out) for one, two in ((x, y), (y, x))]
    code, labels, sizes = next(
        (f for f in found if f[1][len(f[1]) - len(out) :] == list(out)), found[0]
    )
    dims = [n for n in labels if n not in out]
    want = [*dims, *out]
    if labels != want:
        axes = tuple(labels.index(n) for n in want)
        code = f"lax.transpose({code}, {axes})"
    return src.let(code, dims, [sizes[n] for n in want])


def _dot(
    one: tuple[Array, tuple[str, ...]], two: tuple[Array, tuple[str, ...]], kept: set[str], out: str
) -> tuple[str, list[str], Mapping[str, int]]:
    """A product as text, the letters of its axes in order, and their sizes."""
    (a, left), (b, right) = one, two
    shared = [n for n in left if n in right]
    batch = [n for n in shared if n in kept]
    summed = [n for n in shared if n not in kept]
    free = [n for n in left if n not in shared] + [n for n in right if n not in shared]
    sizes = {**dict(zip(left, a.shape, strict=True)), **dict(zip(right, b.shape, strict=True))}
    pairs = [[side.index(n) for n in part] for part in (summed, batch) for side in (left, right)]
    numbers = f"(({pairs[0]}, {pairs[1]}), ({pairs[2]}, {pairs[3]}))"
    return f"lax.dot_general({a.code}, {b.code}, {numbers})", batch + free, sizes


def _without_ones(
    src: Source, v: Array, labels: tuple[str, ...], other: tuple[str, ...]
) -> tuple[Array, tuple[str, ...]]:
    """The array without the axes that only repeat it along those of the other one."""
    ones = [k for k, n in enumerate(labels) if v.shape[k] == 1 and n in other]
    if not ones:
        return v, labels
    rest = [k for k in range(len(labels)) if k not in ones]
    made = src.let(f"lax.squeeze({v.code}, {tuple(ones)})", (), [v.shape[k] for k in rest])
    return made, tuple(labels[k] for k in rest)
