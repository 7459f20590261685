"""Time constants of gates: how long each unit of a state remembers.

A unit ``c[t] = f[t] * c[t-1] + …`` with a constant gate forgets as exp(-t / tau), so that
``tau = -dt / ln f`` (Tallec and Ollivier, "Can recurrent neural networks warp time?", ICLR 2018).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..expr import Call, Const, Expr, Ref, fresh
from ..function import Function
from ..inputs import listed
from ..model import Model
from ..ops.record import broadcast_to
from ..program import Axis, Equation, Program, Var, equation, verify
from ..show.expressions import Scope, expression
from ..show.shapes import without_broadcast
from ..streaming import time_axis
from ..transform.algebra import simplify_expr
from ..transform.common import axis_range
from .result import COLOURS, Result, dress, number, plain_ticks, table, whole_ticks
from .run import Run, carried, named_states, prepare

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TimeConstants(Result):
    """Time constants of gates over a run.

    Attributes:
        model: its name; ``dt`` the time of a step, ``unit`` its unit.
        gates: for each the text of the gate, by state: ``{"c": "f[t]"}``; a gate that was named
            stands under its own name.
        values: the gate at each step, shape (T, units).
        tau: -dt / ln|f| for each step and unit, the same shape: infinite at 1, 0 at 0, negative
            above 1 (growth).
        tau_of_mean: -dt over the mean of ln|f| over the run: the rate at which the unit forgets in
            the long run; shape (units,).
    """

    model: str
    dt: float
    unit: str
    gates: dict[str, str]
    values: dict[str, Array]
    tau: dict[str, Array]
    tau_of_mean: dict[str, Array]

    def __str__(self) -> str:
        lines = [f"time constants of {self.model} (in {self.unit})"]
        for state, gate in self.gates.items():
            tau, values = self.tau_of_mean[state], self.values[state]
            if state != gate:
                lines.append(f"{state}[t] = ({gate}) * {state}[t-1] + …")
            order = np.argsort(-np.where(tau < 0, np.inf, tau), kind="stable")
            shown = order if len(order) <= 10 else [*order[:5], *order[-5:]]
            rows = []
            for k in shown:
                of_steps = self.tau[state][:, k]
                low, high = np.quantile(of_steps, [0.1, 0.9], method="nearest")
                rows.append(
                    [str(int(k)), f"{values[:, k].mean():.4f}", number(tau[k]),
                     f"{number(low)} .. {number(high)}"]
                )  # fmt: skip
            lines.append(
                table(["unit", "mean gate", "tau", "tau of 10 % .. 90 % of the steps"], rows)
            )
            if len(order) > 10:
                lines.append(f"… and {len(order) - 10} units between")
            longest = tau[order[0]]
            lines.append(f"{len(tau)} units; median tau {number(float(np.median(tau)))}, longest "
                         f"{number(float(longest))}")  # fmt: skip
        return "\n".join(lines)

    def _draw(self, ax: Axes) -> None:
        longest = max((v.shape[0] for v in self.values.values()), default=1) * self.dt
        top = 100 * longest
        data, labels = [], []
        for state, gate in self.gates.items():
            tau = self.tau_of_mean[state]
            data.append(np.sort(np.clip(np.where(tau < 0, top, tau), self.dt * 1e-2, top))[::-1])
            labels.append(gate if gate == state else f"{state}: gate {_short(gate)}")
        for k, (tau, label) in enumerate(zip(data, labels, strict=True)):
            ax.semilogy(np.arange(1, len(tau) + 1), tau, "o-", color=COLOURS[(k + 1) % 8],
                        markersize=4, linewidth=1.0, label=label)  # fmt: skip
        ax.axhline(
            longest, color="#888888", linestyle="--", linewidth=1.0, label="length of the run"
        )
        dress(ax, f"{self.model}: how long its units remember", "unit, longest memory first",
              f"time constant ({self.unit})")  # fmt: skip
        whole_ticks(ax.xaxis)
        if top < 1e6:
            plain_ticks(ax.yaxis)
        ax.legend(frameon=False, fontsize=8)


def _short(text: str) -> str:
    return text if len(text) <= 24 else text[:23] + "…"


def time_constants(
    fn: Function | Model | str,
    params: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    *,
    gate: str | None = None,
    dt: float = 1.0,
    unit: str = "steps",
    sizes: Mapping[str, float] | None = None,
    sequence: int = 0,
    seed: int = 0,
) -> TimeConstants:
    """The time constants of a model's forget gates over a run.

    Args:
        fn: a compiled model, or a model with ``sizes``.
        params, data: arrays by name; initial parameters by default. One sequence.
        gate: a variable over t that is a gate. Default: every state whose equation is
            ``gate * state[t-1] + …`` unit by unit, as its algebra tells.
        dt, unit: the time of a step.

    Raises:
        InputError: no such state or variable, ill-shaped arrays.
    """
    if not dt > 0:
        raise InputError(f"dt is the time of a step, a positive number, not {dt!r}")
    run = prepare(fn, params, data, sizes, sequence, seed)
    if gate is not None:
        named_states(run.program, gate)
        found, _, _ = run.values([gate])
        values = {gate: found[gate]}
        gates = {gate: gate}
    else:
        gates, values = _detected(run)
    flat = {n: np.asarray(v, dtype=float).reshape(len(v), -1) for n, v in values.items()}
    with np.errstate(divide="ignore"):
        logs = {n: np.log(np.abs(v)) for n, v in flat.items()}
    return TimeConstants(
        run.program.name,
        dt,
        unit,
        gates,
        flat,
        {n: _tau(v, dt) for n, v in logs.items()},
        {n: _tau(v.mean(axis=0), dt) for n, v in logs.items()},
    )


def _tau(logs: Array, dt: float) -> Array:
    return np.where(logs == 0, np.inf, -dt / np.where(logs == 0, 1.0, logs))


def _detected(run: Run) -> tuple[dict[str, str], dict[str, Array]]:
    """The states with a gate, the text of each gate, and its values."""
    program = run.program
    added: dict[str, Var] = {}
    equations: list[Equation] = []
    gates: dict[str, str] = {}
    names: dict[str, str] = {}
    for state in carried(program):
        found = gate_of(program, state)
        if found is None:
            continue
        eq, factor = found
        v = program.vars[state]
        name = fresh(f"{state}_gate", {**program.vars, **added})
        axes = tuple(
            Axis(a.index, *axis_range([eq.domain], i, eq.indices, program.given))
            for a, i in zip(v.axes, eq.indices, strict=True)
        )
        added[name] = replace(v, name=name, axes=axes)
        equations.append(equation(name, eq.indices, eq.domain, broadcast_to(factor, v.shape)))
        names[state] = name
        scope = Scope(program, eq.indices, eq.domain)
        gates[state] = expression(without_broadcast(factor), scope)
    if not names:
        there = listed(carried(program) or ["none"])
        raise InputError(
            f"no state of {program.name} is `gate * state[t-1] + …` unit by unit; its states are "
            f"{there}. Name a variable over t that is a gate (`gate=`)"
        )
    extended = program.with_(
        vars={**program.vars, **added}, equations=(*program.equations, *equations)
    )
    values, _, _ = run.values(list(names.values()), whole=True, program=verify(extended))
    return gates, {state: values[name] for state, name in names.items()}


def gate_of(program: Program, state: str) -> tuple[Equation, Expr] | None:
    """The equation ``state[t] = gate * state[t-1] + …`` of a state, and its gate.

    The gate is the derivative of the right-hand side in those reads of ``state[t-1]`` that act unit
    by unit; what passes a matrix product or a function is the dots. ``None`` where there is no such
    read, or where several pieces have one.
    """
    v = program.vars[state]
    k = time_axis(v)
    found = []
    for eq in program.pieces(state):
        if k is None or eq.solver is not None or eq.indices[k] in eq.pins:
            continue
        before = list(eq.element)
        before[k] = before[k] - 1
        factor = _coefficient(eq.rhs, Ref(state, tuple(before), v.shape, v.type))
        if factor is not None:
            found.append((eq, simplify_expr(factor)))
    return found[0] if len(found) == 1 else None


def _coefficient(e: Expr, of: Ref) -> Expr | None:
    """The factor of ``of`` in an expression, unit by unit; ``None`` for none."""
    if e == of:
        return Const(1.0)
    if not isinstance(e, Call):
        return None
    if e.op == "broadcast" and e.args[0].shape == e.shape:
        return _coefficient(e.args[0], of)
    parts = [_coefficient(a, of) for a in e.args]
    if e.op == "neg":
        return None if parts[0] is None else -parts[0]
    if e.op not in ("add", "sub", "mul", "div") or parts == [None, None]:
        return None
    (a, b), (x, y) = parts, e.args
    if e.op == "add":
        return b if a is None else a if b is None else a + b
    if e.op == "sub":
        return -b if a is None and b is not None else a if b is None else (a or Const(0.0)) - b
    if e.op == "div":
        return None if b is not None or a is None else a / y
    if a is not None and b is not None:
        return None  # a square is no gate
    return a * y if a is not None else None if b is None else x * b
