"""How much every input element moves an output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..function import Function
from ..inputs import listed
from ..jacobian import Element
from ..model import Model
from ..streaming import time_axis
from .result import COLOURS, Result, dress, number, spread, table, whole_ticks
from .run import Run, prepare
from .sensitivity import sensitivities

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Influence(Result):
    """The norm of d of / d x[s] over all components of both (Frobenius).

    Attributes:
        model, of: the output as it was named.
        positions: the first s of each input; ``outputs``: t of the rows, ``None`` for one element.
        norms: for each input an array (S,), or (T, S) where ``of`` is a sequence: row t holds the
            influence on its element at step t.
    """

    model: str
    of: str
    positions: dict[str, int]
    outputs: NDArray[np.int64] | None
    norms: dict[str, Array]

    def __str__(self) -> str:
        if self.outputs is None:
            head = ["step s", *(f"{n}[s]" for n in self.norms)]
            length = max(len(v) for v in self.norms.values())
            rows = [
                [str(k + 1), *(number(v[k]) if k < len(v) else "" for v in self.norms.values())]
                for k in spread(length, 10)
            ]
            lines = [f"influence on {self.of} of {self.model}: ||d {self.of} / d input[s]||"]
            lines.append(table(head, rows))
            for name, v in self.norms.items():
                lines.append(f"{name}: {_where(v, self.positions[name])}")
            return "\n".join(lines)
        lines = [f"influence on {self.of}[t] of {self.model}: ||d {self.of}[t] / d input[s]||"]
        for name, v in self.norms.items():
            at = [int(t) - self.positions[name] for t in self.outputs]
            reach = [_reach(row, t) for t, row in zip(at, v, strict=True) if row.any()]
            if not reach:
                lines.append(f"{name}: no influence")
                continue
            ahead = any(row[max(t + 1, 0) :].any() for t, row in zip(at, v, strict=True))
            lines.append(
                f"{name}: on average half of what an output at t depends on lies within "
                f"{np.mean(reach):.1f} steps of it"
                + ("; later inputs count as well" if ahead else "; no later input counts")
            )
        return "\n".join(lines)

    def _draw(self, ax: Axes) -> None:
        name, values = next(iter(self.norms.items()))
        if self.outputs is None:
            for k, (label, v) in enumerate(self.norms.items()):
                at = self.positions[label] + np.arange(len(v))
                ax.semilogy(at, np.where(v > 0, v, np.nan), ".-", color=COLOURS[(k + 1) % 8],
                            linewidth=1.4, markersize=4, label=label)  # fmt: skip
            dress(ax, f"{self.model}: influence on {self.of}", "step s of the input",
                  f"norm of d {self.of} / d input[s]")  # fmt: skip
            whole_ticks(ax.xaxis)
            if len(self.norms) > 1:
                ax.legend(frameon=False, fontsize=8)
            return
        from matplotlib.colors import LogNorm

        top = float(values.max(initial=0.0)) or 1.0
        shown = np.where(values > 0, values, np.nan)
        low = max(float(np.nanmin(shown)) if np.isfinite(shown).any() else top, top * 1e-6)
        first, s = int(self.outputs[0]), self.positions[name]
        image = ax.imshow(
            np.clip(shown, low, None), origin="upper", aspect="auto", cmap="cividis",
            norm=LogNorm(low if low < top else top / 10, top), interpolation="nearest",
            extent=(s - 0.5, s + values.shape[1] - 0.5, first + len(values) - 0.5, first - 0.5),
        )  # fmt: skip
        dress(ax, f"{self.model}: influence of {name}[s] on {self.of}[t]", "step s of the input",
              "step t of the output")  # fmt: skip
        ax.grid(False)
        whole_ticks(ax.xaxis)
        whole_ticks(ax.yaxis)
        bar = ax.figure.colorbar(image, ax=ax)
        bar.set_label(f"norm of d {self.of}[t] / d {name}[s]")


def _where(v: Array, first: int) -> str:
    if not v.any():
        return "no influence"
    order = np.argsort(-v)[:3]
    share = np.cumsum(v[np.argsort(-v)]) / v.sum()
    few = int(np.searchsorted(share, 0.9)) + 1
    most = ", ".join(f"s = {first + k}" for k in order)
    return f"largest at {most}; {few} of {len(v)} steps make up 90 % of the sum"


def _reach(row: Array, t: int) -> float:
    """The distance from step t within which half of the influence lies."""
    total = row.sum()
    if not total:
        return float("nan")
    distance = np.abs(np.arange(len(row)) - t)
    order = np.argsort(distance, kind="stable")
    return float(distance[order][np.searchsorted(np.cumsum(row[order]), total / 2)])


def influence(
    fn: Function | Model | str,
    params: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    of: str | None = None,
    *,
    wrt: str | Sequence[str] | None = None,
    sizes: Mapping[str, float] | None = None,
    sequence: int = 0,
    seed: int = 0,
) -> Influence:
    """The influence of every element of the inputs on an output, by one adjoint for each of its
    components; for any model, bidirectional and attending ones too.

    Args:
        fn: a compiled model, or a model with ``sizes``.
        params, data: arrays by name; initial parameters by default. One sequence.
        of: ``"y[T]"``, ``"y[12]"``, ``"loss"``; or ``"y"``, for every step of y: a matrix. Default:
            the first loss, else the last element of the first output over t.
        wrt: inputs over t, or other real variables over t such as an embedding (default: all real
            inputs over t).

    Raises:
        InputError: unknown names, positions outside the run, no real input over t.
    """
    run = prepare(fn, params, data, sizes, sequence, seed)
    program = run.program
    of = _default(run) if of is None else of
    element = Element.of(of, program)
    if wrt is None:
        chosen = [
            v.name for v in program.inputs if v.type.kind == "real" and time_axis(v) is not None
        ]
    else:
        chosen = [wrt] if isinstance(wrt, str) else list(wrt)
    for name in chosen:
        v = program.vars.get(name)
        if v is None or v.type.kind != "real" or time_axis(v) is None:
            raise InputError(f"wrt: {program.name} has no real variable {name} over t")
    if not chosen:
        raise InputError(
            f"{program.name} has no real input over t, and there is a derivative in real numbers "
            "only: name a variable that is computed from the inputs, such as an embedding (`wrt=`)"
        )
    rows, shape = sensitivities(run, of, chosen)
    owner = program.vars[element.name]
    axis = time_axis(owner)
    free = [k for k, p in enumerate(element.index) if p is None]
    over_time = axis in free
    outputs = None
    norms, positions = {}, {}
    for name, array in rows.items():
        k = (time_axis(program.vars[name]) or 0) + len(shape)
        full = np.moveaxis(array.reshape(*shape, *array.shape[1:]), k, -1)
        if over_time:
            # The seed's axes are the free ones, in order; then come components and the input's.
            full = np.moveaxis(full, free.index(axis or 0), 0)
            flat = full.reshape(len(full), -1, full.shape[-1])
            norms[name] = np.sqrt((flat**2).sum(axis=1))
        else:
            norms[name] = np.sqrt((full.reshape(-1, full.shape[-1]) ** 2).sum(axis=0))
        positions[name] = _first(run, name)
    if over_time:
        count = len(next(iter(norms.values())))
        outputs = _first(run, element.name) + np.arange(count)
    whole = [v.name for v in program.inputs if v.type.kind != "real" and time_axis(v) is not None]
    if wrt is None and whole and not any(v.any() for v in norms.values()):
        raise InputError(
            f"no real input moves {of}, and {listed(whole)} has no derivative: name a variable "
            "that is computed from the inputs, such as an embedding (`wrt=`)"
        )
    return Influence(program.name, of, positions, outputs, norms)


def _first(run: Run, name: str) -> int:
    """The first step that a whole sequence has in a result."""
    from ..transform.adjoint import full_output

    v = run.program.vars[name]
    return full_output(run.program, name).ranges[time_axis(v) or 0][0].evaluate(run.lengths)


def _default(run: Run) -> str:
    program = run.program
    if program.losses:
        return program.losses[0]
    for out in program.outputs:
        v = program.vars[out.name]
        if v.type.kind == "real" and time_axis(v) is not None:
            index = ["T" if k == time_axis(v) else ":" for k in range(len(v.axes))]
            return f"{v.name}[{', '.join(index)}]"
    raise InputError(f"{program.name} has no loss and no real output over t: name one (`of=`)")
