"""Gradients against differences, and the backends against each other.

Central differences of fourth order,

    f'(x) = (8 (f(x+e) - f(x-e)) - (f(x+2e) - f(x-2e))) / 12e + O(e^4),

over single entries of every array and over one random direction through all of it, at two step
sizes: where the two disagree, the function has a kink there and the entry is not judged.

What a model detaches is held at its values while differences are taken, so they see what
gradients see: the accepted steps of `dopri5`, with their sizes fixed. Of a flow with
`adjoint = continuous` no difference sees the gradient, which is that of the solution and not of the
numbers that its scheme makes: its program is judged by the discrete gradient, and how far the
continuous one is from that is told, not judged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .api import as_program, bindings, compile
from .errors import InputError
from .function import Function
from .init import draw
from .program import Program, Var
from .transform.continuous import plain
from .transform.held import hold_detached

Array = NDArray[Any]

STEP = 1e-3
#: Largest error that passes, relative to the array's largest gradient.
DIFFERENCES, BACKENDS = 1e-7, 1e-10
#: Two step sizes that differ by more than this share of the gradient straddle a kink.
KINK = 1e-6
SMALL = (3, 4, 5, 2, 6, 7, 8, 9)


@dataclass(frozen=True)
class Row:
    """One array: its largest errors, relative to its largest gradient.

    Attributes:
        name, shape: of the parameter or input.
        differences: for each backend the distance from the differences, of the discrete gradient
            if another was asked for; NaN if nothing could be judged.
        backends: the distance between the backends.
        judged, kinks: how many differences were taken, and how many were skipped at kinks.
        continuous: how far a gradient by continuous adjoints is from the discrete one; ``None``
            where there is no such flow.
    """

    name: str
    shape: tuple[int, ...]
    differences: dict[str, float]
    backends: float
    judged: int
    kinks: int
    continuous: float | None = None

    @property
    def ok(self) -> bool:
        near = all(e <= DIFFERENCES for e in self.differences.values())
        if self.continuous is not None and not np.isfinite(self.continuous):
            return False
        return self.backends <= BACKENDS and (near or 0 in self.shape)


@dataclass(frozen=True)
class GradCheck:
    """The result of `grad_check`; true if everything agrees, printed as a table."""

    model: str
    sizes: dict[str, int]
    lengths: dict[str, int]
    values: dict[str, float]
    rows: tuple[Row, ...]

    @property
    def ok(self) -> bool:
        first, *others = self.values.values()
        near = all(abs(v - first) <= BACKENDS * max(1.0, abs(first)) for v in others)
        return near and bool(np.isfinite(first)) and all(r.ok for r in self.rows)

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        head = ["", "shape", *(f"{b} - differences" for b in self.values), "between backends", ""]
        table = [head, *(cells(row) for row in self.rows)]
        widths = [max(len(r[k]) for r in table) for k in range(len(head))]
        at = ", ".join(f"{k} = {v}" for k, v in {**self.sizes, **self.lengths}.items())
        lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)) for r in table]
        lines = [f"{self.model} at {at}", *(line.rstrip() for line in lines)]
        return "\n".join([*lines, *self.notes])

    @property
    def notes(self) -> list[str]:
        """What has to be said below the table."""
        if all(row.continuous is None for row in self.rows):
            return []
        return [
            "adjoint = continuous: differences judge the discrete gradient, the backends are "
            "compared by the continuous one"
        ]


def cells(row: Row) -> list[str]:
    """A row of the table as text."""
    shape = "x".join(map(str, row.shape)) or "scalar"
    note = "ok" if row.ok else "WRONG"
    if row.kinks:
        note += f", {row.kinks} of {row.judged + row.kinks} at a kink"
    if row.continuous is not None:
        note += f", continuous - discrete {row.continuous:.1e}"
    errors = [f"{e:.1e}" if row.judged else "-" for e in row.differences.values()]
    return [row.name, shape, *errors, f"{row.backends:.1e}", note]


def grad_check(
    model: Any,
    /,
    *,
    backends: Sequence[str] = ("numpy", "llvm"),
    params: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    seed: int = 0,
    entries: int = 6,
    sizes: Mapping[str, float] | None = None,
    **numbers: float,
) -> GradCheck:
    """Compare the gradients of all losses in every parameter and real input.

    Args:
        model: as for `unfold.compile`.
        backends: which ones; each is compared with differences and with the others.
        params, data: arrays to use; what is left out is drawn at random.
        seed: of the random arrays.
        entries: how many single entries of each array are differentiated.
        sizes, numbers: sizes, constants and lengths by name (``H=4, T=6``); sizes left out are
            small and different, lengths a few steps above the least.

    Raises:
        InputError: as `unfold.compile` and calls do.
    """
    program = as_program(model)
    given = {**(sizes or {}), **numbers}
    lengths = {n: int(given.pop(n)) for n in list(given) if n in program.lengths}
    small = (n for n in SMALL if n not in given.values())
    for name in program.sizes:
        given.setdefault(name, next(small))
    for k, name in enumerate(program.lengths):
        lengths.setdefault(name, program.minimum.get(name, 1) + 4 - k % 3)
    fixed, constants = bindings(program, given)
    chosen = {**fixed, **constants}

    def compiled(p: Program, which: Sequence[str] = backends) -> dict[str, Function]:
        return {b: compile(p, backend=b, mode="reverse", sizes=chosen) for b in which}

    functions = compiled(program)
    discrete = plain(program)
    judged = functions if discrete is program else compiled(discrete)
    first = next(iter(functions.values()))
    generator = np.random.default_rng(seed)
    arrays = random_arrays(first.program, lengths, generator)
    arrays |= {n: np.asarray(a) for n, a in {**(params or {}), **(data or {})}.items()}
    # The last backend is the fastest one; that their values agree is checked as well.
    last = list(judged)[-1]
    point = _Point(program, judged[last], arrays, lengths)
    seen, held, names = hold_detached(discrete)
    if names:
        point.hold(compiled(seen, [last])[last], compiled(held, [last])[last], names)
    gradients = {b: point.gradients(f) for b, f in functions.items()}
    exact = gradients
    if judged is not functions:
        exact = {b: point.gradients(f) for b, f in judged.items()}
    rows = []
    for name in point.names:
        by = {b: g[name] for b, (_, g) in gradients.items()}
        row = _row(name, point, {b: g[name] for b, (_, g) in exact.items()}, generator, entries)
        if exact is not gradients:
            others = [g[name] for _, g in exact.values()]
            row = replace(
                row,
                backends=float(np.maximum(row.backends, _apart(list(by.values())))),
                continuous=_apart([next(iter(by.values())), others[0]]),
            )
        rows.append(row)
    values = {b: float(v) for b, (v, _) in gradients.items()}
    return GradCheck(program.name, fixed, lengths, values, tuple(rows))


def random_arrays(
    program: Program,
    lengths: Mapping[str, int],
    generator: np.random.Generator,
    batch: int | None = None,
) -> dict[str, Array]:
    """An array for every input and parameter of a bound program, of ordinary size: parameters as
    their initialisers draw them, constants disturbed; data between 0.2 and 0.9; integers and truth
    values of all kinds. With a ``batch`` the inputs have its axis."""
    arrays: dict[str, Array] = {}
    for v in (*program.params, *program.inputs):
        counts = tuple((a.hi - a.lo + 1).evaluate(lengths) for a in v.axes)
        shape = counts + tuple(n.evaluate({}) for n in v.shape)
        if batch is not None and v.role == "input":
            shape = (batch, *shape)
        arrays[v.name] = _random(v, shape, generator)
    return arrays


def _random(v: Var, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    if v.type.kind == "int":
        bound = v.type.bound.constant if v.type.bound is not None else None
        return generator.integers(0, bound or 4, shape)
    if v.type.kind == "bool":
        return generator.random(shape) < 0.5
    if v.role == "input" or v.init is None:
        return generator.uniform(0.2, 0.9, shape)
    if v.init.kind != "constant":
        return draw(v.init, shape, generator)
    start = np.broadcast_to(np.asarray(v.init.value, dtype=float), shape)
    noise = generator.uniform(0.1, 0.5, shape) * generator.choice((-1.0, 1.0), shape)
    # A constant that is not zero keeps its sign: it may be a mass or a rate.
    return np.where(start == 0.0, noise, start * (1.0 + 0.5 * np.abs(noise)))


class _Point:
    """Where the gradients are taken."""

    def __init__(
        self,
        program: Program,
        function: Function,
        arrays: Mapping[str, Array],
        lengths: Mapping[str, int],
    ) -> None:
        self.function = function
        self.arrays = dict(arrays)
        self.held: dict[str, Array] = {}
        self.names = [v.name for v in (*program.params, *program.inputs) if v.type.kind == "real"]
        self.losses = program.losses
        if not self.losses:
            raise InputError(
                f"{program.name} has no `minimize` line: there is no gradient to check"
            )
        self.params = [v.name for v in program.params]
        self.inputs = [v.name for v in program.inputs]
        fixed = {
            s for v in (*program.params, *program.inputs) for a in v.axes
            for s in a.lo.symbols | a.hi.symbols
        }  # fmt: skip
        self.free = {n: k for n, k in lengths.items() if n not in fixed}

    def split(self, changed: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Any]]:
        arrays = {**self.arrays, **changed}
        inputs: dict[str, Any] = {n: arrays[n] for n in self.inputs}
        return {n: arrays[n] for n in self.params}, {**inputs, **self.free}

    def hold(self, observer: Function, function: Function, names: Sequence[str]) -> None:
        """Take differences of ``function``, with what ``observer`` has here for ``names``."""
        out = observer(*self.split({}))
        self.function, self.held = function, {n: np.asarray(out[n]) for n in names}

    def gradients(self, function: Function) -> tuple[float, dict[str, Array]]:
        params, inputs = self.split({})
        value, grads = function.value_and_grad(params, inputs, wrt=self.names)
        return float(value), grads

    def value(self, changed: Mapping[str, Array]) -> float:
        params, inputs = self.split(changed)
        out = self.function(params, {**inputs, **self.held})
        return float(sum(out[n] for n in self.losses))


def _row(
    name: str,
    point: _Point,
    gradients: Mapping[str, Array],
    generator: np.random.Generator,
    entries: int,
) -> Row:
    here = np.asarray(point.arrays[name], dtype=float)
    scale = _scale(list(gradients.values()))
    directions: list[Array] = []
    count = min(entries, here.size)
    for k in generator.choice(here.size, count, replace=False) if here.size else ():
        unit = np.zeros(here.size)
        unit[k] = 1.0
        directions.append(unit.reshape(here.shape))
    if here.size > 1:
        random = generator.normal(size=here.shape)
        directions.append(random / np.linalg.norm(random))
    errors = dict.fromkeys(gradients, 0.0)
    judged = kinks = 0
    for d in directions:
        slope = _slope(lambda step, d=d: point.value({name: here + step * d}), scale)  # type: ignore[misc]
        if slope is None:
            kinks += 1
            continue
        judged += 1
        for b, g in gradients.items():
            errors[b] = float(np.maximum(errors[b], abs(np.sum(g * d) - slope) / scale))
    if not judged:
        errors = dict.fromkeys(errors, float("nan"))
    apart = _apart(list(gradients.values()))
    return Row(name, here.shape, errors, apart, judged, kinks)


def _scale(gradients: Sequence[Array]) -> float:
    """What errors are relative to: the largest gradient, unless it is very small."""
    largest = [float(np.abs(g).max(initial=0.0)) for g in gradients]
    return float(max(np.nan_to_num(largest).max(), 1e-3))


def _apart(gradients: Sequence[Array]) -> float:
    """The largest distance from the first one."""
    first, scale = gradients[0], _scale(gradients)
    return float(np.max([np.abs(g - first).max(initial=0.0) / scale for g in gradients]))


def _slope(f: Callable[[float], float], scale: float) -> float | None:
    """The derivative at 0, or ``None`` if there is a kink nearby."""

    def stencil(e: float) -> float:
        return (8.0 * (f(e) - f(-e)) - (f(2 * e) - f(-2 * e))) / (12.0 * e)

    wide, narrow = stencil(STEP), stencil(STEP / 4)
    return None if abs(wide - narrow) > KINK * scale else narrow
