"""Gradient norms by step and by lag: where does the error signal die?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..domain import Domain
from ..errors import InputError
from ..expr import Expr, Reduce, rewrite
from ..function import Function
from ..model import Model
from ..poly import Poly
from ..program import TIME, Program, verify
from ..streaming import time_axis
from ..transform import adjoint
from .blas import on_one_thread
from .result import COLOURS, Result, dress, number, spread, table, whole_ticks
from .run import Run, carried, named_states, prepare
from .sensitivity import sensitivities
from .verdict import Verdict, judge

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]
JOINT = "joint"


@dataclass(frozen=True)
class GradientNorms(Result):
    """The error signal by step, and how a state's signal changes with the lag.

    Attributes:
        model, loss: names; ``loss`` is ``None`` for a model without.
        steps: 1..T.
        by_step: for each state ||d loss / d h[t]|| (the costate), shape (T,); with several states
            ``"joint"``, over all of their components.
        last_loss_by_lag: the same of the loss's last term alone (what the loss adds at t = T) in
            h[T-k], for k = 0..T-1; empty if the loss is no sum over t.
        by_lag: for each state ||d h[T] / d h[T-k]|| (spectral norm), k = 0..T-1; of a state that
            runs from the end, d h[1] / d h[1+k]; ``"joint"`` over those that run forward.
        verdicts: of by_lag.
    """

    model: str
    loss: str | None
    steps: NDArray[np.int64]
    by_step: dict[str, Array]
    last_loss_by_lag: dict[str, Array]
    by_lag: dict[str, Array]
    verdicts: dict[str, Verdict]

    def __str__(self) -> str:
        lines = []
        if self.by_step:
            head = ["step", *map(_of, self.by_step)]
            rows = [
                [str(int(self.steps[k])), *(number(v[k]) for v in self.by_step.values())]
                for k in spread(len(self.steps), 10)
            ]
            lines += [
                f"gradient norms of {self.model}: ||d {self.loss} / d state[t]||, by step",
                table(head, rows),
                "",
            ]
        lines += [
            f"by lag k, from the end: ||d state[T] / d state[T-k]|| of {self.model}",
            self._by_lag(self.by_lag),
        ]
        if self.last_loss_by_lag:
            lines += [
                "",
                f"by lag k: ||d ({self.loss} at t = T) / d state[T-k]||",
                self._by_lag(self.last_loss_by_lag),
                "",
            ]
        lines += [f"{_of(n)}: {v}" for n, v in self.verdicts.items()]
        return "\n".join(lines)

    def _by_lag(self, norms: dict[str, Array]) -> str:
        lags = spread(len(self.steps), 10)
        rows = [[str(k), *(number(v[k]) for v in norms.values())] for k in lags]
        return table(["lag", *map(_of, norms)], rows)

    def _draw(self, ax: Axes) -> None:
        styles = ("-", "--", "-.", ":")
        for k, (name, norms) in enumerate(self.by_lag.items()):
            shown = np.where(norms > 0, norms, np.nan)
            ax.semilogy(shown, styles[k % 4], color=COLOURS[k % len(COLOURS)], linewidth=1.8,
                        label=_of(name))  # fmt: skip
        dress(ax, f"{self.model}: what a state passes on over k steps", "lag k (steps)",
              "norm of d h[T] / d h[T-k]")  # fmt: skip
        whole_ticks(ax.xaxis)
        if len(self.by_lag) > 1:
            ax.legend(frameon=False, fontsize=8)


def _of(name: str) -> str:
    return "(joint)" if name == JOINT else name


@on_one_thread
def gradient_norms(
    fn: Function | Model | str,
    params: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    *,
    sizes: Mapping[str, float] | None = None,
    states: str | Sequence[str] | None = None,
    loss: str | None = None,
    threshold: float = 0.01,
    sequence: int = 0,
    seed: int = 0,
) -> GradientNorms:
    """Norms of gradients by step and by lag, from exact adjoints; for recurrences that run forward,
    backward or both.

    Args:
        fn: a compiled model, or a model with ``sizes``.
        params, data: arrays by name; initial parameters by default. One sequence.
        states: variables over t (default: all that are carried from step to step).
        loss: the name of one loss (default: the sum of all).
        threshold: see `jacobian_product`.

    Raises:
        InputError: no recurrence, unknown names, ill-shaped arrays.
    """
    run = prepare(fn, params, data, sizes, sequence, seed)
    program = run.program
    forward, backward = carried(program), carried(program, backward=True)
    chosen = (
        list(dict.fromkeys([*forward, *backward]))
        if states is None
        else named_states(program, list(np.atleast_1d(states)))
    )
    if not chosen:
        raise InputError(
            f"{program.name} carries no state from step to step: name the variables over t that "
            "are to be looked at (`states=`)"
        )
    ends = {n: "1" if n in backward and n not in forward else TIME for n in chosen}
    losses = (loss,) if loss is not None else program.losses
    by_step, last = {}, {}
    if losses:
        _, found = run.fn.value_and_grad(
            run.params, run.data, wrt=chosen, loss=losses, seed=run.seed
        )
        by_step = _joined({n: _rows(program, n, found[n]) for n in chosen})
        terms = _last_terms(run, losses, chosen)
        if terms is not None:
            last = _joined(
                {n: _rows(program, n, terms[n])[::-1] for n in chosen if ends[n] == TIME}
            )
    by_lag = {}
    for group in (TIME, "1"):
        members = [n for n in chosen if ends[n] == group]
        by_lag.update(_by_lag(run, members, group))
    logs = {n: _log(v) for n, v in by_lag.items()}
    name = None if not losses else " + ".join(losses)
    return GradientNorms(
        program.name,
        name,
        np.arange(1, run.steps + 1),
        {n: np.linalg.norm(v, axis=1) for n, v in by_step.items()},
        {n: np.linalg.norm(v, axis=1) for n, v in last.items()},
        by_lag,
        {n: judge(v, threshold) for n, v in logs.items()},
    )


def _log(x: Array) -> Array:
    with np.errstate(divide="ignore"):
        found: Array = np.log(x)
    return found


def _rows(program: Program, name: str, array: Any) -> Array:
    """A gradient as (steps, all components)."""
    k = time_axis(program.vars[name]) or 0
    moved = np.moveaxis(np.asarray(array, dtype=float), k, 0)
    return moved.reshape(len(moved), -1)


def _joined(parts: dict[str, Array]) -> dict[str, Array]:
    joint = {JOINT: np.concatenate(list(parts.values()), axis=1)} if len(parts) > 1 else {}
    return {**parts, **joint}


def _by_lag(run: Run, states: list[str], end: str) -> dict[str, Array]:
    """||d h[end] / d h[end -+ k]|| for k = 0..T-1, of each state and of all together."""
    blocks: dict[tuple[str, str], Array] = {}
    for of in states:
        v = run.program.vars[of]
        k = time_axis(v)
        at = ", ".join(end if axis == k else ":" for axis in range(len(v.axes)))
        found, _ = sensitivities(run, f"{of}[{at}]", states)
        for wrt, rows in found.items():
            axis = (time_axis(run.program.vars[wrt]) or 0) + 1
            by_time = np.moveaxis(rows, axis, 0)
            steps = by_time.reshape(len(by_time), len(rows), -1)
            blocks[of, wrt] = steps[::-1] if end == TIME else steps
    norms = {n: np.linalg.norm(blocks[n, n], 2, axis=(1, 2)) for n in states}
    if len(states) > 1:
        whole = np.concatenate(
            [np.concatenate([blocks[of, n] for n in states], axis=2) for of in states], axis=1
        )
        norms[JOINT] = np.linalg.norm(whole, 2, axis=(1, 2))
    return norms


def _ends_with_time(e: Reduce, index: str) -> bool:
    """Whether the sum over an index ends at T."""
    return any(p.coefficient(index) == -1 and TIME in p.symbols for p in e.domain.constraints)


def _last_terms(run: Run, losses: tuple[str, ...], states: list[str]) -> dict[str, Array] | None:
    """The gradients of what the losses add at t = T; ``None`` if they are no sums over t.

    before:  loss = sum[t](e[t]) / T
    after:   loss = sum[t = T](e[t]) / T
    """
    program = run.program
    changed = False

    def last(e: Expr) -> Expr:
        nonlocal changed
        if not isinstance(e, Reduce) or e.op != "sum":
            return e
        over = [i for i in e.indices if _ends_with_time(e, i)]
        if len(over) != 1:
            return e
        changed = True
        return Reduce(e.op, e.indices, e.domain & Domain.point(over[0], Poly.symbol(TIME)), e.body)

    equations = tuple(
        eq.__class__(eq.name, eq.indices, eq.domain, rewrite(eq.rhs, last), eq.span, eq.solver)
        if eq.name in losses
        else eq
        for eq in program.equations
    )
    if not changed:
        return None
    cut = verify(program.with_(equations=equations, outputs=()))

    def build() -> tuple[Program, dict[str, str]]:
        result = adjoint(cut, states, losses)
        shown = {o.name for o in result.outputs}
        bars = {v.adjoint_of: v.name for v in result.vars.values() if v.name in shown}
        return result, {n: bars[n] for n in states}

    derived = run.fn.compiler.derive(("last terms", losses, tuple(states)), build)
    results, _ = run.fn.compiler.run(derived, run.params, run.data, {}, None, draws=(run.seed, 0))
    return {n: results[bar] for n, bar in derived.names.items()}
