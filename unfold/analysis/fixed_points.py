"""Fixed points of a recurrence whose inputs are held, and what happens around them.

Solved by Newton's method with the exact Jacobian of the step, and where that does not help by
Levenberg and Marquardt's on q = ||F(z) - z||^2 / 2, whose minima that are no zeros are the *slow
points* of Sussillo and Barak, "Opening the black box: low-dimensional dynamics in high-dimensional
recurrent neural networks", Neural Computation 25, 2013.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..function import Function
from ..inputs import nearest
from ..model import Model
from ..program import Var
from .blas import on_one_thread
from .result import COLOURS, Result, dress, number, table
from .run import prepare
from .steps import StepMap, step_map

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[Any]
#: | |lambda| - 1 | below which an eigenvalue decides nothing about stability.
NEUTRAL = 1e-6


@dataclass(frozen=True)
class FixedPoint:
    """A state that the step keeps (or nearly keeps: a slow point).

    Attributes:
        state: its value for each variable.
        residual: max |F(z) - z|; ``speed`` is ||F(z) - z||.
        jacobian: dF/dz there, shape (n, n).
        eigenvalues: of the Jacobian, largest magnitude first, shape (n,).
        kind: ``stable node``, ``stable focus``, ``saddle``, ``saddle focus``, ``unstable node``,
            ``unstable focus``, ``centre`` or ``marginal`` (an eigenvalue of magnitude 1).
        time_constants: -dt / ln|lambda|: positive of decay, negative of growth; infinite at 1.
        frequencies: |arg lambda| / (2 pi dt): cycles in the unit of ``1 / dt``.
        starts: how many starts ended here.
        slow: whether it is a slow point and no fixed point.
    """

    state: dict[str, Array]
    residual: float
    speed: float
    jacobian: Array
    eigenvalues: Array
    kind: str
    time_constants: Array
    frequencies: Array
    starts: int
    slow: bool

    @property
    def stable(self) -> bool:
        """Whether small disturbances die out."""
        return bool(np.all(np.abs(self.eigenvalues) < 1 - NEUTRAL))


@dataclass(frozen=True)
class FixedPoints(Result):
    """What was found; ``list(result.points)``, those that most starts led to first.

    Attributes:
        model: its name; ``dt`` the time of a step, ``unit`` its unit.
        held: the value of each input that was held.
        points: fixed points; ``slow_points``: minima of the speed, if they were asked for.
        starts: how many there were; of these ``converged`` ended in a fixed point, ``slowed`` in a
            minimum of the speed that is above zero, and ``failed`` in neither.
        failed_residuals: max |F(z) - z| where the failed ones stopped.
    """

    model: str
    dt: float
    unit: str
    held: dict[str, Array]
    points: tuple[FixedPoint, ...]
    slow_points: tuple[FixedPoint, ...]
    starts: int
    converged: int
    slowed: int
    failed: int
    failed_residuals: Array

    def __str__(self) -> str:
        held = ", ".join(f"{n} = {_value(v)}" for n, v in self.held.items())
        lines = [f"fixed points of {self.model}" + (f" with {held}" if held else "")]
        rows = []
        for k, p in enumerate([*self.points[:20], *self.slow_points[:20]], 1):
            name = f"slow point {k - len(self.points[:20])}" if p.slow else f"{k}"
            state = ", ".join(f"{n} = {_value(v)}" for n, v in p.state.items())
            lines_of = [j for j, e in enumerate(p.eigenvalues) if e.imag >= 0][:4]
            for i, j in enumerate(lines_of):
                first = [name, p.kind, str(p.starts)] if i == 0 else ["", "", ""]
                e = p.eigenvalues[j]
                pair = f"{e.real:+.5f} ± {e.imag:.5f}i" if e.imag else f"{e.real:+.5f}"
                period = f"{p.frequencies[j]:.4g}" if p.frequencies[j] else "-"
                rows.append([*first, pair, f"{abs(e):.5f}", _tau(p.time_constants[j]), period])
            rows.append([f"    {state}", "", "", "", "", "", ""])
        if rows:
            head = ["", "kind", "starts", "eigenvalue", "magnitude", f"tau ({self.unit})",
                    f"frequency (1/{self.unit})"]  # fmt: skip
            # The states stand on lines of their own, and widen no column.
            body = table(head, [r for r in rows if not r[0].startswith("    ")]).splitlines()
            lines.append(body[0])
            rest = iter(body[1:])
            for r in rows:
                lines.append(r[0] if r[0].startswith("    ") else next(rest))
        else:
            lines.append("none was found")
        count = len(self.points)
        lines.append(
            f"{self.starts} starts: {self.converged} ended in {count} distinct fixed "
            f"point{'' if count == 1 else 's'}, {self.slowed} in minima of the speed above zero, "
            f"{self.failed} did not converge"
            + (
                f" (|F(z) - z| = {number(float(np.median(self.failed_residuals)))} in the median)"
                if self.failed
                else ""
            )
        )
        if count > 3 and all(p.kind in ("marginal", "centre") for p in self.points):
            lines.append(
                "all have an eigenvalue of magnitude 1: they may be a line or a surface of points"
            )
        return "\n".join(lines)

    def _draw(self, ax: Axes) -> None:
        angle = np.linspace(0, 2 * np.pi, 361)
        ax.plot(np.cos(angle), np.sin(angle), color="#888888", linewidth=1.0, label="|λ| = 1")
        marks = "osD^vP*X"
        for k, p in enumerate([*self.points, *self.slow_points][:8]):
            name = "slow point" if p.slow else p.kind
            ax.plot(p.eigenvalues.real, p.eigenvalues.imag, marks[k], color=COLOURS[(k + 1) % 8],
                    markersize=6, markerfacecolor="none" if not p.stable else None,
                    label=f"{k + 1}: {name}", linestyle="none")  # fmt: skip
        ax.set_aspect("equal", adjustable="datalim")
        dress(ax, f"{self.model}: eigenvalues of the step at its fixed points", "real part",
              "imaginary part")  # fmt: skip
        ax.legend(fontsize=8, loc="upper left", framealpha=1.0, edgecolor="white")


def _value(v: Array) -> str:
    flat = np.ravel(v)
    some = ", ".join(f"{x:.4g}" for x in flat[:6])
    return some if flat.size == 1 else f"[{some}{', …' if flat.size > 6 else ''}]"


def _tau(tau: float) -> str:
    return "inf" if np.isinf(tau) else number(tau)


@on_one_thread
def fixed_points(
    fn: Function | Model | str,
    params: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    *,
    hold: Mapping[str, Any] | None = None,
    dt: float = 1.0,
    unit: str = "steps",
    starts: int = 32,
    spread: float = 1.0,
    initial: Any = None,
    slow: bool = False,
    tol: float = 1e-10,
    max_steps: int = 200,
    states: str | Sequence[str] | None = None,
    sizes: Mapping[str, float] | None = None,
    sequence: int = 0,
    seed: int = 0,
) -> FixedPoints:
    """Fixed points of the system whose inputs stand still, their stability and their time scales.

    Args:
        fn: a compiled model, or a model with ``sizes``. Its states must run forward.
        params, data: arrays by name; initial parameters by default. The states of this run are
            where the search starts from. One sequence.
        hold: the element at which each input over t is held (default: its mean over the run; the
            most frequent value of an integer one). What depends on the number of the step is held
            at the last one.
        dt, unit: the time of a step, for time constants and frequencies.
        starts: half of them states of the run, half those with normal noise of ``spread`` times
            their standard deviation (1 where that is zero); ``initial``, shape (m, n), replaces
            them all.
        slow: whether minima of ||F(z) - z|| above zero are reported as slow points.
        tol: of max |F(z) - z| relative to 1 + max |z|; not finer than 64 units in the last place.
        max_steps: of the solver.

    Raises:
        InputError: no forward recurrence, unknown names, ill-shaped arrays.
    """
    if not dt > 0:
        raise InputError(f"dt is the time of a step, a positive number, not {dt!r}")
    if starts < 1:
        raise InputError(f"starts is a positive number, not {starts!r}")
    run = prepare(fn, params, data, sizes, sequence, seed)
    step = step_map(run, None if states is None else list(np.atleast_1d(states)))
    held = _held(step, hold)
    begin = _starts(step, starts, spread, seed) if initial is None else _given(step, initial)
    tol = max(tol, 64 * float(np.finfo(run.fn.options.dtype).eps))
    z, rest, done, still = _solve(step, held, begin, tol, max_steps)
    found = _distinct(step, held, z[done], rest[done], dt, False)
    minima = _distinct(step, held, z[still], rest[still], dt, True) if slow else []
    failed = ~(done | still)
    return FixedPoints(
        run.program.name,
        dt,
        unit,
        {n: v for n, v in held.items() if n not in step.clock},
        tuple(found),
        tuple(minima),
        len(begin),
        int(done.sum()),
        int(still.sum()),
        int(failed.sum()),
        np.abs(rest[failed]).max(axis=1, initial=0.0),
    )


# --- where it begins --------------------------------------------------------------------------


def _held(step: StepMap, hold: Mapping[str, Any] | None) -> dict[str, Array]:
    """One element for each input of the step; what is held over lags is the same at all of them."""
    plan, program = step.plan, step.run.program
    given = dict(hold or {})
    for name in given:
        if name not in plan.moving:
            raise InputError(
                f"hold: the step of {program.name} has no input {name} over t"
                + nearest(name, plan.moving)
            )
    source = {n: s.variable for s in plan.states for n in s.names}
    held: dict[str, Array] = {}
    for name, values in step.moving.items():
        own = source.get(name, name)
        if name in step.clock:
            held[name] = values[-1]
        elif own in given:
            held[name] = _element(program.vars[own], given[own], values)
        elif values.dtype.kind == "f":
            held[name] = values.mean(axis=0)
        else:
            flat = values.reshape(len(values), -1)
            common = [np.unique(c, return_counts=True) for c in flat.T]
            held[name] = np.array([v[np.argmax(n)] for v, n in common], values.dtype).reshape(
                values.shape[1:]
            )
    return held


def _element(v: Var, value: Any, values: Array) -> Array:
    """A value that an input is held at, checked: native code reads where integers point."""
    try:
        held = np.broadcast_to(np.asarray(value), values.shape[1:])
        exact = held.astype(values.dtype)
    except (TypeError, ValueError):
        raise InputError(
            f"hold: {v.name} has elements of shape {values.shape[1:]}, not {np.shape(value)}"
        ) from None
    if not np.isfinite(held).all():
        raise InputError(f"hold: {v.name} is to be finite, not {value!r}")
    if v.type.kind != "real":
        bound = v.type.bound.constant if v.type.bound is not None else None
        outside = bound is not None and bool(((exact < 0) | (exact >= bound)).any())
        if outside or np.any(exact != held):
            span = f"an integer in 0..{bound - 1}" if bound is not None else f"{v.type}"
            raise InputError(f"hold: {v.name} is {span}, not {value!r}")
    return exact


def _starts(step: StepMap, starts: int, spread: float, seed: int) -> Array:
    generator = np.random.default_rng(seed)
    visited = step.states[np.isfinite(step.states).all(axis=1)]
    if not len(visited):
        raise InputError("no state of the run is finite: there is nowhere to start from")
    plain = max(1, starts // 2)
    chosen = visited[np.unique(np.linspace(0, len(visited) - 1, plain).astype(int))]
    deviation = visited.std(axis=0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    rest = max(0, starts - len(chosen))
    around = visited[generator.integers(len(visited), size=rest)]
    noise = spread * deviation * generator.normal(size=(rest, step.size))
    return np.concatenate([chosen, around + noise])


def _given(step: StepMap, initial: Any) -> Array:
    begin = np.atleast_2d(np.asarray(initial, dtype=float))
    if begin.ndim != 2 or begin.shape[1] != step.size:
        parts = ", ".join(f"{s.variable}[t-{s.lag}] of shape {s.shape}" for s in step.slots)
        raise InputError(
            f"initial: expected shape (starts, {step.size}), which is {parts}; got {begin.shape}"
        )
    return begin


# --- the solver -------------------------------------------------------------------------------


def _solve(
    step: StepMap, held: Mapping[str, Array], begin: Array, tol: float, max_steps: int
) -> tuple[Array, Array, NDArray[np.bool_], NDArray[np.bool_]]:
    """Newton and Levenberg-Marquardt for all starts side by side.

    Returns the last points, F(z) - z there, and which of them are fixed and which are minima of
    the speed above zero.
    """
    z = begin.copy()
    count, n = z.shape
    last = np.full(count, step.steps - 1)
    with np.errstate(all="ignore"):
        rest = step.advance(z, last, held) - z
        damping = np.full(count, 1e-3)
        done, still, active = (np.zeros(count, dtype=bool) for _ in range(3))
        active[:] = np.isfinite(rest).all(axis=1)
        for _ in range(max_steps):
            size = np.abs(rest).max(axis=1, initial=0.0)
            done |= active & (size <= tol * (1 + np.abs(z).max(axis=1, initial=0.0)))
            active &= ~done
            who = np.flatnonzero(active)
            if not who.size:
                break
            _, jacobian = step.at(z[who], last[who], held)
            slope = jacobian - np.eye(n)
            r = rest[who]
            descent = -np.einsum("kij,ki->kj", slope, r)
            finite = np.isfinite(slope).all(axis=(1, 2))
            flat = np.linalg.norm(descent, axis=1) <= 1e-10 * np.linalg.norm(r, axis=1)
            still[who[finite & flat]] = True
            active[who[~finite | flat]] = False
            go = finite & ~flat
            who, slope, r, descent = who[go], slope[go], r[go], descent[go]
            if not who.size:
                continue
            gram = np.einsum("kij,kil->kjl", slope, slope)
            scale = np.einsum("kii->ki", gram).max(axis=1, initial=0.0)
            gram += (damping[who] * scale)[:, None, None] * np.eye(n)
            trials = [z[who] + _solved(slope, -r), z[who] + _solved(gram, descent)]
            after = [step.advance(t, last[who], held) - t for t in trials]
            q = np.array(
                [np.where(np.isfinite(a).all(axis=1), (a * a).sum(axis=1), np.inf) for a in after]
            )
            best = q.argmin(axis=0)
            better = q.min(axis=0) < (r * r).sum(axis=1)
            for k in (0, 1):
                here = better & (best == k)
                z[who[here]], rest[who[here]] = trials[k][here], after[k][here]
            damping[who] = np.where(better, np.maximum(damping[who] / 5, 1e-15), damping[who] * 10)
            stuck = who[~better & (damping[who] > 1e10)]
            active[stuck] = False
            # No way down, not even along the gradient: a minimum, as far as numbers tell.
            still[stuck] = True
    return z, rest, done, still


def _solved(a: Array, b: Array) -> Array:
    """Solutions of systems side by side, of least norm where a matrix is singular."""
    try:
        found: Array = np.linalg.solve(a, b[..., None])[..., 0]
    except np.linalg.LinAlgError:
        found = np.stack([np.linalg.lstsq(m, v, rcond=None)[0] for m, v in zip(a, b, strict=True)])
    return found


def _distinct(
    step: StepMap, held: Mapping[str, Array], z: Array, rest: Array, dt: float, slow: bool
) -> list[FixedPoint]:
    """Each point once, the one with the least residual of those that coincide."""
    order = np.argsort(np.abs(rest).max(axis=1, initial=0.0), kind="stable")
    kept: list[int] = []
    counts: list[int] = []
    near = 1e-3 if slow else 1e-5
    for k in order:
        apart = [float(np.abs(z[k] - z[j]).max()) for j in kept]
        limit = near * (1 + float(np.abs(z[k]).max()))
        if apart and min(apart) <= limit:
            counts[int(np.argmin(apart))] += 1
        else:
            kept.append(int(k))
            counts.append(1)
    if not kept:
        return []
    _, jacobians = step.at(z[kept], np.full(len(kept), step.steps - 1), held)
    points = [
        _point(step, z[k], rest[k], j, dt, count, slow)
        for k, j, count in zip(kept, jacobians, counts, strict=True)
    ]
    return sorted(points, key=lambda p: -p.starts)


def _point(
    step: StepMap, z: Array, rest: Array, jacobian: Array, dt: float, starts: int, slow: bool
) -> FixedPoint:
    values = np.linalg.eigvals(jacobian).astype(complex)
    values = values[np.lexsort((-values.imag, -np.round(np.abs(values), 12)))]
    tau, frequency = time_scales(values, dt)
    state = {
        v: z[step.slots_of(v)[0].part].reshape(step.slots_of(v)[0].shape) for v in step.variables
    }
    return FixedPoint(
        state,
        float(np.abs(rest).max()),
        float(np.linalg.norm(rest)),
        jacobian,
        values,
        kind_of_point(values),
        tau,
        frequency,
        starts,
        slow,
    )


def time_scales(eigenvalues: Array, dt: float = 1.0) -> tuple[Array, Array]:
    """``tau = -dt / ln|lambda|`` and ``f = |arg lambda| / (2 pi dt)``, each of shape (n,).

    tau is negative where a disturbance grows, infinite at magnitude 1 and 0 at lambda = 0.
    """
    with np.errstate(divide="ignore"):
        logs = np.log(np.abs(eigenvalues))
        tau = np.where(logs == 0, np.inf, -dt / np.where(logs == 0, 1.0, logs))
    return tau, np.abs(np.angle(eigenvalues)) / (2 * np.pi * dt)


def kind_of_point(eigenvalues: Array) -> str:
    """The name of a fixed point with these eigenvalues (of a map: 1 is the border)."""
    size = np.abs(eigenvalues)
    neutral = np.abs(size - 1) <= NEUTRAL
    turning = np.abs(eigenvalues.imag) > 1e-12
    if neutral.any():
        if (size[~neutral] > 1).any():
            return "marginal"
        return "centre" if np.all(turning[neutral]) else "marginal"
    if (size < 1).all():
        return "stable focus" if turning[np.argmax(size)] else "stable node"
    if (size > 1).all():
        return "unstable focus" if turning[np.argmax(size)] else "unstable node"
    return "saddle focus" if turning[np.argmax(size)] else "saddle"
