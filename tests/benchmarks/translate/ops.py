"""What the operations are in JAX, one row each, over arrays with named leading axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from unfold.poly import Poly

from .arrays import Array, Source, aligned, filled, product

#: (where to write, operands, attributes, shape of the result's components) -> the result
Rule = Callable[[Source, list[Array], Mapping[str, Any], tuple[int, ...]], Array]


def number(value: Any) -> Any:
    """An attribute with its sizes as integers."""
    if isinstance(value, Poly):
        return value.evaluate({})
    return tuple(number(v) for v in value) if isinstance(value, tuple) else value


# --- element by element -----------------------------------------------------------------------


def _elementwise(form: str, known: Callable[..., Any] | None = None) -> Rule:
    """A row for text with ``{0}``, ``{1}`` for the operands."""

    def rule(
        src: Source, args: list[Array], attrs: Mapping[str, Any], shape: tuple[int, ...]
    ) -> Array:
        dims, arrays = aligned(src, args)
        if known is not None and all(a.known is not None for a in args):
            return src.constant(known(*(a.known for a in arrays)), dims)
        whole = np.broadcast_shapes(*(a.shape for a in arrays))
        return src.let(form.format(*(a.code for a in arrays)), dims, whole)

    return rule


def _power(
    src: Source, args: list[Array], attrs: Mapping[str, Any], shape: tuple[int, ...]
) -> Array:
    x, n = args
    if x.known is None and isinstance(n.known, float) and n.known.is_integer():
        return src.let(f"{x.code} ** {int(n.known)}", x.dims, x.shape)
    return _elementwise("{0} ** {1}", np.power)(src, args, attrs, shape)


def _real(
    src: Source, args: list[Array], attrs: Mapping[str, Any], shape: tuple[int, ...]
) -> Array:
    (a,) = args
    if a.known is not None:
        return src.constant(np.asarray(a.known, float), a.dims)
    return src.let(f"{a.code}.astype(float)", a.dims, a.shape)


# --- components -------------------------------------------------------------------------------


def _over(form: str) -> Rule:
    """A function of all components, or along one axis; ``form`` has ``{0}`` and ``{axis}``."""

    def rule(
        src: Source, args: list[Array], attrs: Mapping[str, Any], shape: tuple[int, ...]
    ) -> Array:
        (a,) = args
        axis = attrs.get("axis")
        axes = tuple(range(len(a.dims), len(a.shape)))
        where = axes if axis is None and len(axes) != 1 else a.axis(axis or 0)
        code = form.format(a.code, axis=where)
        return src.let(code, a.dims, a.shape[: len(a.dims)] + shape)

    return rule


def _argmax(
    src: Source, args: list[Array], attrs: Mapping[str, Any], shape: tuple[int, ...]
) -> Array:
    (a,) = args
    if attrs["axis"] is not None or len(a.components) < 2:
        return _over("jnp.argmax({0}, axis={axis})")(src, args, attrs, shape)
    # All components in C order.
    line = src.let(f"{a.code}.reshape(*{a.code}.shape[: {len(a.dims)}], -1)", a.dims, a.shape)
    return src.let(f"jnp.argmax({line.code}, axis=-1)", a.dims, a.shape[: len(a.dims)] + shape)


def _matmul(
    src: Source, args: list[Array], attrs: Mapping[str, Any], shape: tuple[int, ...]
) -> Array:
    a, b = args
    left, right = "ik"[2 - len(a.components) :], "kj"[: len(b.components)]
    return product(src, a, b, (left, right), left[:-1] + right[1:])


def _outer(
    src: Source, args: list[Array], attrs: Mapping[str, Any], shape: tuple[int, ...]
) -> Array:
    u, v = args
    column = src.let(f"lax.expand_dims({u.code}, [{len(u.shape)}])", u.dims, (*u.shape, 1))
    return RULES["mul"](src, [column, v], {}, shape)


def _rearranged(form: str) -> Rule:
    """A function of the array whose text takes the shape of the result as ``{shape}``."""

    def rule(
        src: Source, args: list[Array], attrs: Mapping[str, Any], shape: tuple[int, ...]
    ) -> Array:
        (a,) = args
        whole = a.shape[: len(a.dims)] + shape
        return src.let(form.format(a.code, shape=whole), a.dims, whole)

    return rule


def _broadcast(
    src: Source, args: list[Array], attrs: Mapping[str, Any], shape: tuple[int, ...]
) -> Array:
    (a,) = args
    return filled(src, a, a.dims, a.shape[: len(a.dims)] + shape)


def _together(src: Source, args: list[Array]) -> tuple[tuple[str, ...], list[Array]]:
    """Arrays repeated along each other's indices, but not along components."""
    dims, _ = aligned(src.block(), args)
    sizes: dict[str, int] = {}
    for a in args:
        sizes |= a.sizes
    front = [sizes[d] for d in dims]
    return dims, [filled(src, a, dims, (*front, *a.components)) for a in args]


def _joined(form: str) -> Rule:
    """Several arrays in one; ``form`` has ``{0}`` and ``{axis}``."""

    def rule(
        src: Source, args: list[Array], attrs: Mapping[str, Any], shape: tuple[int, ...]
    ) -> Array:
        dims, arrays = _together(src, args)
        axis = len(dims) + attrs.get("axis", 0)
        parts = ", ".join(a.code for a in arrays)
        whole = arrays[0].shape[: len(dims)] + shape
        return src.let(form.format(f"[{parts}]", axis=axis), dims, whole)

    return rule


def _slice(
    src: Source, args: list[Array], attrs: Mapping[str, Any], shape: tuple[int, ...]
) -> Array:
    (a,) = args
    lo, hi, axis = number(attrs["lo"]), number(attrs["hi"]), a.axis(attrs["axis"])
    code = f"lax.slice_in_dim({a.code}, {lo}, {hi}, axis={axis})"
    return src.let(code, a.dims, a.shape[: len(a.dims)] + shape)


def _take(
    src: Source, args: list[Array], attrs: Mapping[str, Any], shape: tuple[int, ...]
) -> Array:
    a, index = args
    axis = a.axis(attrs["axis"])
    front = a.shape[: len(a.dims)]
    if not index.dims:
        how = "index_in_dim" if index.known is not None else "dynamic_index_in_dim"
        code = f"lax.{how}({a.code}, {index.code}, {axis}, keepdims=False)"
        return src.let(code, a.dims, front + shape)
    if not a.dims:
        slices = ":, " * attrs["axis"]
        if attrs["axis"]:
            first = src.let(f"jnp.moveaxis({a.code}, {axis}, 0)", (), a.shape)
            return src.let(f"{first.code}[{index.code}]", index.dims, index.shape + shape)
        return src.let(f"{a.code}[{slices}{index.code}]", index.dims, index.shape + shape)
    dims = a.dims + tuple(d for d in index.dims if d not in a.dims)
    sizes = {**a.sizes, **index.sizes}
    at = filled(src, index, dims, [sizes[d] if d in index.dims else 1 for d in dims])
    places = [f"np.arange({n}).reshape({tuple(-1 if d == e else 1 for e in dims)})"
              for d, n in a.sizes.items()]  # fmt: skip
    moved = a.code if not attrs["axis"] else f"jnp.moveaxis({a.code}, {axis}, {len(a.dims)})"
    code = f"{moved}[{', '.join([*places, at.code])}]"
    return src.let(code, dims, (*(sizes[d] for d in dims), *shape))


def _cross_entropy(
    src: Source, args: list[Array], attrs: Mapping[str, Any], shape: tuple[int, ...]
) -> Array:
    logits, _ = args
    total = RULES["logsumexp"](src, [logits], {"axis": 0}, ())
    return RULES["sub"](src, [total, _take(src, args, {"axis": 0}, ())], {}, ())


def _solve(
    src: Source, args: list[Array], attrs: Mapping[str, Any], shape: tuple[int, ...]
) -> Array:
    dims, (a, b) = _together(src, args)
    if len(shape) == 1:
        code = f"jnp.linalg.solve({a.code}, {b.code}[..., None])[..., 0]"
    else:
        code = f"jnp.linalg.solve({a.code}, {b.code})"
    return src.let(code, dims, a.shape[: len(dims)] + shape)


def _functions() -> dict[str, Rule]:
    names = ("exp", "log", "log1p", "expm1", "sqrt", "tanh", "abs", "sin", "cos", "tan", "sinh",
             "cosh", "floor", "ceil", "round", "sign")  # fmt: skip
    return {n: _elementwise(f"jnp.{n}({{0}})", getattr(np, n)) for n in names}


RULES: dict[str, Rule] = {
    "add": _elementwise("{0} + {1}", np.add),
    "sub": _elementwise("{0} - {1}", np.subtract),
    "mul": _elementwise("{0} * {1}", np.multiply),
    "div": _elementwise("{0} / {1}", np.true_divide),
    "neg": _elementwise("-{0}", np.negative),
    "pow": _power,
    "maximum": _elementwise("jnp.maximum({0}, {1})", np.maximum),
    "minimum": _elementwise("jnp.minimum({0}, {1})", np.minimum),
    "mod": _elementwise("{0} % {1}", np.mod),
    "floordiv": _elementwise("{0} // {1}", np.floor_divide),
    **_functions(),
    "asin": _elementwise("jnp.arcsin({0})"),
    "acos": _elementwise("jnp.arccos({0})"),
    "atan": _elementwise("jnp.arctan({0})"),
    "erf": _elementwise("lax.erf({0})"),
    "sigmoid": _elementwise("jax.nn.sigmoid({0})"),
    "softplus": _elementwise("jax.nn.softplus({0})"),
    "relu": _elementwise("jax.nn.relu({0})"),
    "lt": _elementwise("{0} < {1}", np.less),
    "le": _elementwise("{0} <= {1}", np.less_equal),
    "gt": _elementwise("{0} > {1}", np.greater),
    "ge": _elementwise("{0} >= {1}", np.greater_equal),
    "eq": _elementwise("{0} == {1}", np.equal),
    "ne": _elementwise("{0} != {1}", np.not_equal),
    "and": _elementwise("{0} & {1}", np.logical_and),
    "or": _elementwise("{0} | {1}", np.logical_or),
    "not": _elementwise("~{0}", np.logical_not),
    "where": _elementwise("jnp.where({0}, {1}, {2})", np.where),
    "real": _real,
    "detach": _elementwise("lax.stop_gradient({0})"),
    "matmul": _matmul,
    "outer": _outer,
    "transpose": _rearranged("jnp.swapaxes({0}, -1, -2)"),
    "reshape": _rearranged("lax.reshape({0}, {shape})"),
    "broadcast": _broadcast,
    "concat": _joined("lax.concatenate({0}, {axis})"),
    "stack": _joined("jnp.stack({0}, axis={axis})"),
    "slice": _slice,
    "take": _take,
    "onehot": _rearranged("jax.nn.one_hot({0}, {shape}[-1])"),
    "sum": _over("jnp.sum({0}, axis={axis})"),
    "max": _over("jnp.max({0}, axis={axis})"),
    "min": _over("jnp.min({0}, axis={axis})"),
    "argmax": _argmax,
    "logsumexp": _over("jax.nn.logsumexp({0}, axis={axis})"),
    "softmax": _over("jax.nn.softmax({0}, axis={axis})"),
    "log_softmax": _over("jax.nn.log_softmax({0}, axis={axis})"),
    "cross_entropy": _cross_entropy,
    "solve": _solve,
    "inv": _rearranged("jnp.linalg.inv({0})"),
    "logdet": _rearranged("jnp.linalg.slogdet({0})[1]"),
    "cholesky": _rearranged("jnp.linalg.cholesky(({0} + jnp.swapaxes({0}, -1, -2)) / 2)"),
}  # fmt: skip
