"""What truncated backpropagation through time leaves out, by window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..function import Function
from ..jacobian import compare
from ..model import Model
from ..transform import Window
from .result import COLOURS, Result, dress, number, spread, table
from .run import prepare

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TruncationBias(Result):
    """Gradients of windows of several lengths against the full one, over all parameters.

    Attributes:
        model: its name; ``steps`` is T.
        windows: steps in a window, shape (n,).
        relative_error: ||truncated - full|| / ||full||.
        cosine: of the angle between them; ``norm_ratio`` is ||truncated|| / ||full||.
        full_norm: ||full||.
        by_param: the relative error for each parameter.
    """

    model: str
    steps: int
    windows: Array
    relative_error: Array
    cosine: Array
    norm_ratio: Array
    full_norm: float
    by_param: dict[str, Array]

    def __str__(self) -> str:
        rows = [
            [str(int(w)), number(e), f"{c:.4f}", number(r)]
            for w, e, c, r in zip(
                self.windows, self.relative_error, self.cosine, self.norm_ratio, strict=True
            )
        ]
        good = self.windows[self.relative_error < 0.1]
        verdict = (
            f"the error is under 10 % from a window of {int(good[0])} steps on"
            if len(good) and np.all(self.relative_error[self.windows >= good[0]] < 0.1)
            else "no window of these keeps the error under 10 %"
        )
        return "\n".join(
            [
                f"truncated backpropagation of {self.model} over {self.steps} steps "
                f"(||full gradient|| = {number(self.full_norm)})",
                table(["window", "error", "cosine", "norm ratio"], rows),
                verdict,
            ]
        )

    def _draw(self, ax: Axes) -> None:
        ax.plot(self.windows, self.relative_error, "o-", color=COLOURS[2],
                label="relative error ||cut - full|| / ||full||")  # fmt: skip
        ax.plot(self.windows, self.cosine, "s--", color=COLOURS[1], label="cosine of the angle")
        ax.set_xscale("log")
        ax.set_xticks(self.windows, [str(int(w)) for w in self.windows])
        ax.minorticks_off()
        dress(ax, f"{self.model}: truncated gradient beside the full one", "window (steps)",
              "dimensionless")  # fmt: skip
        ax.axhline(0.0, color="#888888", linewidth=0.8)
        ax.legend(frameon=False, fontsize=8)


def truncation_bias(
    fn: Function | Model | str,
    params: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    *,
    windows: Sequence[int] | None = None,
    sizes: Mapping[str, float] | None = None,
    seed: int = 0,
    lengths: Any = None,
) -> TruncationBias:
    """The bias of truncated backpropagation for windows of 1, 2, 5, 10, … steps.

    Args:
        fn: a compiled model, or a model with ``sizes``.
        params, data: arrays by name; initial parameters by default; a batch is welcome.
        windows: numbers of steps (default: 1, 2, 5, 10, … below T).
        lengths: each sequence's own, of a padded batch.

    Raises:
        InputError: a model without a loss or without a recurrence that can be cut.
    """
    run = prepare(fn, params, data, sizes, None, seed)
    options = run.fn.options
    if options.truncate is not None:
        raise InputError("this function is truncated already: compile it without `truncate`")
    call = {"seed": seed, "lengths": lengths}
    _, full = run.fn.value_and_grad(run.params, run.data, **call)
    steps = run.steps
    chosen = list(windows if windows is not None else spread(steps + 1, 20)[1:-1] or [1])
    if not chosen or not all(isinstance(w, (int, np.integer)) and w >= 1 for w in chosen):
        raise InputError("windows are positive whole numbers of steps, one at least")
    found = []
    for window in chosen:
        c = run.fn.compiler
        cut = Function(
            c.declared, c.sizes, c.constants, replace(options, truncate=Window(int(window)))
        )
        try:
            _, gradient = cut.value_and_grad(run.params, run.data, **call)
        except ValueError as error:
            raise InputError(f"{run.program.name} cannot be truncated: {error}") from None
        found.append(compare(gradient, full))
    return TruncationBias(
        run.program.name,
        steps,
        np.array(chosen),
        np.array([b.relative_error for b in found]),
        np.array([b.cosine for b in found]),
        np.array([b.norm_ratio for b in found]),
        float(np.sqrt(sum(float(np.sum(np.square(g))) for g in full.values()))),
        {n: np.array([b.by_param[n].relative_error for b in found]) for n in full},
    )
