"""The product of a recurrence's Jacobians over lags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..function import Function
from ..model import Model
from . import products
from .blas import on_one_thread
from .bound import classical_bound
from .result import COLOURS, Result, dress, from_log, number, spread, table, whole_ticks
from .run import prepare
from .steps import StepMap, step_map
from .verdict import Verdict, judge

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]


@dataclass(frozen=True)
class JacobianProduct(Result):
    """``P_k = dz[T]/dz[T-k]``, the product of the last k step Jacobians; z is the whole state.

    Logarithms are natural, so that a signal of 1e-400 is one as well.

    Attributes:
        model, states: names; ``size`` is the number of components of z.
        matrix: P at the largest lag, shape (size, size); it may underflow to 0.
        log_norms: log ||P_k|| (spectral) for k = 0..K; shape (K+1,).
        log_norms_by_state: the same of each state's own block, dh[T]/dh[T-k].
        log_bounds: the sum of log ||J_t||, which bounds log_norms from above; shape (K+1,).
        classical: sup|phi'| ||U||, a bound on each step, where the equation has that form; and
            ``classical_form``, how it is written.
        lags: those of the singular values; ``log_singular_values`` has shape (len(lags), size),
            largest first.
        lyapunov: log singular values of P_K over K, largest first: finite-time Lyapunov exponents,
            a step.
        step_norms: ||J_t|| for the steps that the product takes, the last one first; shape (K,).
        verdict: on log_norms.
    """

    model: str
    states: tuple[str, ...]
    size: int
    matrix: Array
    log_norms: Array
    log_norms_by_state: dict[str, Array]
    log_bounds: Array
    classical: float | None
    classical_form: str | None
    lags: tuple[int, ...]
    log_singular_values: Array
    lyapunov: Array
    step_norms: Array
    verdict: Verdict

    def __str__(self) -> str:
        names = ", ".join(self.states)
        head = ["lag", "||P||", "bound"]
        head += ["classical"] if self.classical is not None else []
        head += [f"||d{n}/d{n}||" for n in self.log_norms_by_state]
        rows = []
        for k in spread(len(self.log_norms), 10):
            row = [str(k), from_log(self.log_norms[k]), from_log(self.log_bounds[k])]
            if self.classical is not None:
                row.append(from_log(k * _log(self.classical)))
            row += [from_log(v[k]) for v in self.log_norms_by_state.values()]
            rows.append(row)
        some = ", ".join(f"{x:+.4f}" for x in self.lyapunov[:6])
        more = f", … ({self.size})" if self.size > 6 else ""
        lines = [
            f"Jacobian product of {self.model}: d[{names}][T] / d[{names}][T-k]",
            table(head, rows),
            "bound: product of the norms of the steps' Jacobians"
            + (
                f"; classical: ({self.classical_form} = {number(self.classical)})^k"
                if self.classical is not None
                else ""
            ),
            f"finite-time Lyapunov exponents (a step): {some}{more}",
            str(self.verdict),
        ]
        return "\n".join(lines)

    def _draw(self, ax: Axes) -> None:
        ten = np.log(10)
        k = np.arange(len(self.log_norms))
        shown = min(self.log_singular_values.shape[1], 64)
        pick = np.unique(np.linspace(0, self.log_singular_values.shape[1] - 1, shown).astype(int))
        values = np.where(np.isfinite(self.log_singular_values), self.log_singular_values, np.nan)
        for i in pick:
            label = "singular values" if i == pick[0] else None
            ax.plot(self.lags, values[:, i] / ten, ".-", color=COLOURS[6], markersize=3,
                    linewidth=0.5, label=label)  # fmt: skip
        ax.plot(k, _finite(self.log_bounds) / ten, "--", color=COLOURS[2], linewidth=1.4,
                label="bound: product of step norms")  # fmt: skip
        if self.classical is not None:
            ax.plot(k, k * _log(self.classical) / ten, ":", color=COLOURS[4], linewidth=1.6,
                    label=f"classical bound ({self.classical_form})$^k$")  # fmt: skip
        ax.plot(k, _finite(self.log_norms) / ten, color=COLOURS[0], linewidth=1.8,
                label="measured: spectral norm")  # fmt: skip
        dress(ax, f"{self.model}: Jacobian product, {self.verdict.kind}", "lag k (steps)",
              "log$_{10}$ of the product over k steps")  # fmt: skip
        low = np.nanmin(_finite(self.log_norms)) / ten
        high = np.nanmax(_finite(self.log_bounds)) / ten
        ax.set_ylim(max(low * 1.5 - 2, low - 40), min(high + 1, high * 0.5 + 40))
        whole_ticks(ax.xaxis)
        ax.legend(frameon=False, fontsize=8)


def _log(x: float) -> float:
    return float(np.log(x)) if x > 0 else -np.inf


def _finite(x: Array) -> Array:
    return np.where(np.isfinite(x), x, np.nan)


@on_one_thread
def jacobian_product(
    fn: Function | Model | str,
    params: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    *,
    sizes: Mapping[str, float] | None = None,
    states: str | Sequence[str] | None = None,
    lags: Sequence[int] | None = None,
    threshold: float = 0.01,
    sequence: int = 0,
    seed: int = 0,
) -> JacobianProduct:
    """How a small change of the state k steps before the end arrives there, for every k.

    Args:
        fn: a compiled model, or a model with ``sizes``. Its states must run forward.
        params, data: arrays by name; initial parameters by default. One sequence.
        states: which variables (default: all that are carried from step to step).
        lags: those whose singular values are computed (default: 1, 2, 5, 10, … and the last).
        threshold: the share of itself under which a signal counts as lost (and over whose inverse
            it counts as exploding).

    Raises:
        InputError: no forward recurrence, unknown names, ill-shaped arrays, or so many numbers
            that they would not fit.
    """
    run = prepare(fn, params, data, sizes, sequence, seed)
    step = step_map(run, None if states is None else list(np.atleast_1d(states)))
    return of_steps(step, step.jacobians(), lags, threshold)


def of_steps(
    step: StepMap, jacobians: Array, lags: Sequence[int] | None = None, threshold: float = 0.01
) -> JacobianProduct:
    """The product of given step Jacobians; see `jacobian_product`."""
    steps = len(jacobians)
    most = 12 if step.size <= 64 else 5  # a large spectrum takes a second
    chosen = [k for k in spread(steps + 1, most) if k] if lags is None else sorted(set(lags))
    if not chosen or not all(1 <= k <= steps for k in chosen):
        raise InputError(f"lags are numbers of 1..{steps}, the steps of the run")
    kept = sorted({*chosen, steps})
    logs = products.norms(jacobians)
    found = products.singular_values(jacobians, set(kept))
    step_norms = np.linalg.norm(jacobians, 2, axis=(1, 2))[::-1]
    with np.errstate(divide="ignore"):
        log_steps = np.log(step_norms)
    classical = classical_bound(step)
    own = {}
    if len(step.variables) > 1 or len(step.slots) > 1:
        for name in step.variables:
            part = step.slots_of(name)[0].part
            own[name] = products.norms(jacobians, part, part)
    matrix, scale = products.product(jacobians)
    with np.errstate(under="ignore", over="ignore", invalid="ignore"):
        matrix = matrix * np.exp(scale)
    return JacobianProduct(
        step.run.program.name,
        tuple(step.variables),
        step.size,
        matrix,
        logs,
        own,
        np.concatenate([[0.0], np.cumsum(log_steps)]),
        None if classical is None else classical[0],
        None if classical is None else classical[1],
        tuple(chosen),
        np.array([found[k] for k in chosen]),
        found[steps] / steps,
        step_norms,
        judge(logs, threshold),
    )
