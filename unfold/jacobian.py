"""Full Jacobians, and how far a truncated gradient is from the full one.

A Jacobian is computed row by row with the adjoint of ``seed · output`` (reverse mode) or column by
column with the tangent along unit directions (forward mode), whichever needs fewer runs; in
reverse mode any state may be the one to differentiate in, since its adjoint is its sensitivity.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .domain import Domain
from .errors import InputError
from .expr import Expr, Reduce, Ref, fresh
from .forward import MODES
from .inputs import nearest
from .ops.record import sum_over
from .poly import Poly
from .program import Axis, Output, Program, Var, equation, verify
from .transform import adjoint, tangent
from .transform.adjoint import full_output
from .transform.whole import whole

if TYPE_CHECKING:
    from .function import Function

Array = NDArray[Any]


@dataclass(frozen=True)
class Element:
    """A variable, or a part of it: ``h[T]``, ``h[:, T]``. All of ``1..T`` is meant where no
    position is given (``None``)."""

    name: str
    index: tuple[Poly | None, ...]

    @staticmethod
    def of(text: str, program: Program) -> Element:
        """Read ``"h[T]"``, ``"h"``, ``"enc.h[T-1]"``. Raises `InputError`."""
        name, bracket, rest = text.partition("[")
        name = name.strip()
        v = program.vars.get(name)
        if v is None:
            raise InputError(f"{program.name} has no {name}{nearest(name, program.vars)}")
        if v.type.kind != "real":
            raise InputError(f"{name} is {v.type}; there is a derivative in real numbers only")
        if not bracket:
            return Element(name, (None,) * len(v.axes))
        try:
            parts = [
                None if p.strip() == ":" else _affine(p)
                for p in rest.rstrip().removesuffix("]").split(",")
            ]
        except (SyntaxError, ValueError):
            raise InputError(f"{text}: a position is like 1, T or T-1, or : for all") from None
        if len(parts) != len(v.axes):
            raise InputError(f"{text}: {name} has {len(v.axes)} positions, not {len(parts)}")
        unknown = sorted({s for p in parts if p for s in p.symbols} - set(program.lengths))
        if unknown:
            raise InputError(f"{text}: {unknown[0]} is no length of {program.name}")
        return Element(name, tuple(parts))


def _affine(text: str) -> Poly:
    def value(node: ast.expr) -> Poly:
        if isinstance(node, ast.Constant) and isinstance(node.value, int):
            return Poly.const(node.value)
        if isinstance(node, ast.Name):
            return Poly.symbol(node.id)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -value(node.operand)
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
            left, right = value(node.left), value(node.right)
            return left + right if isinstance(node.op, ast.Add) else left - right
        raise ValueError(text)

    return value(ast.parse(text.strip(), mode="eval").body)


def jacobian(
    fn: Function,
    of: str,
    wrt: str,
    params: Mapping[str, Any],
    data: Mapping[str, Any] | None = None,
    mode: str = "auto",
    **inputs: Any,
) -> Array:
    """The derivative of ``of`` in ``wrt``, for one sequence; see `Function.jacobian`."""
    if mode not in MODES:
        raise InputError(f"mode is one of {', '.join(MODES)}, not {mode!r}")
    rows, columns = Element.of(of, fn.program), Element.of(wrt, fn.program)
    moving = fn.program.vars[columns.name].role in ("input", "param")
    if mode == "forward" and not moving:
        raise InputError(f"forward mode moves inputs and parameters; {columns.name} is a state")
    given = {**(data or {}), **inputs}
    if moving and mode != "reverse":
        values = given if columns.name in given else params
        width = np.size(values.get(columns.name, ()))
        if mode == "forward" or width < _width(fn.program, rows):
            return _forward(fn, rows, columns, params, given)
    return _reverse(fn, rows, columns, params, given)


def _width(program: Program, element: Element) -> float:
    """How many numbers an element has; a whole sequence counts as many."""
    v = program.vars[element.name]
    if None in element.index:
        return float("inf")
    return float(np.prod([n.constant or 0 for n in v.shape], initial=1.0))


def _reverse(
    fn: Function, rows: Element, columns: Element, params: Mapping[str, Any], data: dict[str, Any]
) -> Array:
    key = ("jacobian", rows, columns.name)

    def build() -> tuple[Program, dict[str, str]]:
        probed, seed, probe = with_probe(fn.program, rows)
        result = adjoint(probed.with_(outputs=()), [columns.name], [probe])
        bar = next(o.name for o in result.outputs if o.name != probe)
        return result, {"seed": seed, "bar": bar}

    derived = fn.compiler.derive(key, build)
    value = element_value(fn, rows, params, data)
    found = []
    for k in range(value.size):
        unit = np.zeros(value.size)
        unit[k] = 1.0
        call = {**data, derived.names["seed"]: unit.reshape(value.shape)}
        results, checked = fn.compiler.run(derived, params, None, call, None)
        if checked.batch is not None:
            raise InputError("a Jacobian is that of one sequence, not of a batch")
        bar = derived.names["bar"]
        out = _output(derived.program, bar)
        found.append(_pick(fn.program, out, columns, results[bar], checked.lengths))
    shape = np.shape(found[0]) if found else ()
    return np.stack(found).reshape((*value.shape, *shape)) if found else np.zeros(value.shape)


def with_probe(program: Program, rows: Element) -> tuple[Program, str, str]:
    """The program with an input ``seed`` of the shape of ``rows`` and a scalar
    ``probe = seed · rows``, and the names of both."""
    out = full_output(program, rows.name)
    program = whole(program, [out])
    v = program.vars[rows.name]
    seed = fresh("seed", program.vars)
    probe = fresh("probe", {*program.vars, seed})
    ranges = out.ranges
    axes: list[Axis] = []
    index: list[Poly] = []
    domain = Domain()
    for a, (lo, hi), at in zip(v.axes, ranges, rows.index, strict=True):
        index.append(Poly.symbol(a.index) if at is None else at)
        if at is None:
            axes.append(Axis(a.index, lo, hi))
            domain = domain & Domain.range(a.index, lo, hi)
    bound = tuple(a.index for a in axes)
    own: Expr = Ref(seed, tuple(map(Poly.symbol, bound)), v.shape, v.type)
    product = own * Ref(rows.name, tuple(index), v.shape, v.type)
    total: Expr = sum_over(product, None) if v.shape else product
    if bound:
        total = Reduce("sum", bound, domain, total)
    variables = {
        **program.vars,
        seed: Var(seed, "input", tuple(axes), v.shape),
        probe: Var(probe, "variable"),
    }
    equations = (*program.equations, equation(probe, (), Domain(), total))
    return verify(program.with_(vars=variables, equations=equations)), seed, probe


def _forward(
    fn: Function, rows: Element, columns: Element, params: Mapping[str, Any], data: dict[str, Any]
) -> Array:
    key = ("columns", rows.name, columns.name)

    def build() -> tuple[Program, dict[str, str]]:
        only = fn.program.with_(outputs=(full_output(fn.program, rows.name),), losses=())
        result = tangent(only, [columns.name])
        dot = next(o.name for o in result.outputs if o.name != rows.name)
        direction = next(
            v.name for v in result.vars.values()
            if v.tangent_of == columns.name and v.role != "variable"
        )  # fmt: skip
        return result, {"dot": dot, "direction": direction}

    derived = fn.compiler.derive(key, build)
    source = data if columns.name in data else params
    at = np.asarray(source[columns.name], dtype=float)
    found: list[Array] = []
    for k in range(at.size):
        unit = np.zeros(at.size)
        unit[k] = 1.0
        extra = {derived.names["direction"]: unit.reshape(at.shape)}
        is_input = columns.name in data
        results, checked = fn.compiler.run(
            derived,
            params if is_input else {**params, **extra},
            None,
            {**data, **extra} if is_input else data,
            None,
        )
        if checked.batch is not None:
            raise InputError("a Jacobian is that of one sequence, not of a batch")
        if not found:
            axes = fn.program.vars[columns.name].axes
            ranges = [(a.lo, a.hi) for a in axes]
            place = _place(fn.program, columns, ranges, checked.lengths)
        dot = derived.names["dot"]
        out = _output(derived.program, dot)
        found.append(_pick(fn.program, out, rows, results[dot], checked.lengths))
    stacked = np.stack(found, axis=-1)
    whole = stacked.reshape((*stacked.shape[:-1], *at.shape))
    rank = stacked.ndim - 1
    return whole[(slice(None),) * rank + place]


def element_value(
    fn: Function, element: Element, params: Mapping[str, Any], data: dict[str, Any]
) -> Array:
    """The value of an element, for its shape."""
    key = ("element", element.name)
    derived = fn.compiler.derive(
        key, lambda: (fn.program.with_(outputs=(full_output(fn.program, element.name),),
                                       losses=()), {})
    )  # fmt: skip
    results, checked = fn.compiler.run(derived, params, None, data, None)
    if checked.batch is not None:
        raise InputError("a Jacobian is that of one sequence, not of a batch")
    found, out = results[element.name], _output(derived.program, element.name)
    return _pick(fn.program, out, element, found, checked.lengths)


def _output(program: Program, name: str) -> Output:
    return next(o for o in program.outputs if o.name == name)


def _pick(
    program: Program, out: Output, element: Element, array: Array, lengths: Mapping[str, int]
) -> Array:
    """The part of an array, returned for ``out``, that an element of ``program`` names."""
    return np.asarray(array)[_place(program, element, out.ranges, lengths)]


def _place(
    program: Program,
    element: Element,
    ranges: Sequence[tuple[Poly, Poly]],
    lengths: Mapping[str, int],
) -> tuple[int | slice, ...]:
    """Where an element stands in an array over ``ranges``. Raises `InputError` if nowhere."""
    at = [None if p is None else p.evaluate(lengths) for p in element.index]
    shown = element.name + "[" + ", ".join(":" if k is None else str(k) for k in at) + "]"
    place: list[int | slice] = []
    for k, (lo, hi) in zip(at, ranges, strict=True):
        first, last = lo.evaluate(lengths), hi.evaluate(lengths)
        if k is not None and not first <= k <= last:
            raise InputError(f"{shown} lies outside {first}..{last}")
        place.append(slice(None) if k is None else k - first)
    known = [k for k in at if k is not None]
    if program.vars[element.name].role == "variable" and len(known) == len(at):
        points = (
            (eq, {**lengths, **dict(zip(eq.indices, known, strict=True))})
            for eq in program.pieces(element.name)
        )
        if not any(eq.domain.contains(point) for eq, point in points):
            raise InputError(f"{shown}: no equation defines this element of {element.name}")
    return tuple(place)


@dataclass(frozen=True)
class Bias:
    """How a truncated gradient differs from the full one.

    ``cosine`` is that of the angle between them, ``norm_ratio`` truncated over full,
    ``relative_error`` the norm of the difference over that of the full gradient; over all
    parameters at once, and in ``by_param`` for each.
    """

    cosine: float
    norm_ratio: float
    relative_error: float
    by_param: dict[str, Bias]

    def __str__(self) -> str:
        def line(name: str, b: Bias) -> str:
            return f"{name:<12} {b.cosine:8.4f} {b.norm_ratio:11.4f} {b.relative_error:9.4f}"

        head = f"{'':<12} {'cosine':>8} {'norm ratio':>11} {'error':>9}"
        return "\n".join([head, *(line(n, b) for n, b in self.by_param.items()), line("all", self)])


def compare(truncated: Mapping[str, Array], full: Mapping[str, Array]) -> Bias:
    """The `Bias` of one set of gradients against another of the same names."""
    each = {n: _bias(np.ravel(truncated[n]), np.ravel(full[n]), {}) for n in full}
    a = np.concatenate([np.ravel(truncated[n]) for n in full])
    b = np.concatenate([np.ravel(full[n]) for n in full])
    return _bias(a, b, each)


def _bias(a: Array, b: Array, each: dict[str, Bias]) -> Bias:
    na, nb = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    if nb == 0.0:
        exact = na == 0.0
        return Bias(1.0 if exact else 0.0, 1.0 if exact else np.inf, 0.0 if exact else np.inf, each)
    cosine = float(a @ b) / (na * nb) if na else 0.0
    return Bias(cosine, na / nb, float(np.linalg.norm(a - b)) / nb, each)
