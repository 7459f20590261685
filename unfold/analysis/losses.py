"""Do several losses pull together? Cosines between their gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..function import Function
from ..model import Model
from .result import Result, number, table
from .run import prepare

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]


@dataclass(frozen=True)
class GradientCosine(Result):
    """Cosines between the gradients of several losses.

    A cosine of +1: a step down one loss is one down the other; below 0: the losses conflict (Yu
    et al., "Gradient surgery for multi-task learning", NeurIPS 2020). NaN where one of the
    gradients is zero.

    Attributes:
        model: its name.
        losses: names, in the order of rows and columns.
        norms: of each loss's gradient over all parameters, shape (n,).
        cosine: over all parameters, shape (n, n).
        norms_by_param, by_param: the same for each parameter.
        shared: the parameters in which every loss has a gradient; ``shared_cosine`` is over them.
    """

    model: str
    losses: tuple[str, ...]
    norms: Array
    cosine: Array
    norms_by_param: dict[str, Array]
    by_param: dict[str, Array]
    shared: tuple[str, ...]
    shared_cosine: Array

    def __str__(self) -> str:
        lines = [f"gradients of the losses of {self.model}"]
        n = len(self.losses)
        for i in range(n):
            for j in range(i + 1, n):
                a, b = self.losses[i], self.losses[j]
                head = ["", f"||d {a}||", f"||d {b}||", "ratio", "cosine"]
                rows = [
                    [name, number(v[i]), number(v[j]), _ratio(v[i], v[j]), _cosine(c[i, j])]
                    for name, v, c in [
                        *((p, self.norms_by_param[p], self.by_param[p]) for p in self.by_param),
                        ("all", self.norms, self.cosine),
                    ]
                ]
                c = self.shared_cosine[i, j]
                lines_of = f"{a} and {b}, over {len(self.shared)} shared parameters: "
                verdict = (
                    "they share none"
                    if np.isnan(c)
                    else "they pull together" if c > 0.1
                    else "they conflict" if c < -0.1
                    else "they are nearly independent"
                )  # fmt: skip
                lines += [table(head, rows), f"{lines_of}cosine {_cosine(c)}, {verdict}"]
        return "\n".join(lines)

    def _draw(self, ax: Axes) -> None:
        names = list(self.losses)
        image = ax.imshow(self.shared_cosine, cmap="PuOr", vmin=-1, vmax=1)
        for i in range(len(names)):
            for j in range(len(names)):
                value = self.shared_cosine[i, j]
                ax.text(j, i, _cosine(value), ha="center", va="center",
                        color="white" if abs(value) > 0.7 else "black")  # fmt: skip
        ax.set_xticks(range(len(names)), names)
        ax.set_yticks(range(len(names)), names)
        ax.set_title(f"{self.model}: do the losses pull together?", loc="left", fontsize=11)
        ax.figure.colorbar(image, ax=ax).set_label("cosine between gradients (shared parameters)")


def _ratio(a: float, b: float) -> str:
    return number(a / b) if b else "-"


def _cosine(c: float) -> str:
    return "-" if np.isnan(c) else f"{c:+.3f}"


def gradient_cosine(
    fn: Function | Model | str,
    params: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    *,
    losses: Sequence[str] | None = None,
    sizes: Mapping[str, float] | None = None,
    seed: int = 0,
    lengths: Any = None,
) -> GradientCosine:
    """Cosines and norms of the gradients of several losses, per parameter and over all.

    Args:
        fn: a compiled model, or a model with ``sizes``.
        params, data: arrays by name; initial parameters by default; a batch is welcome (the mean).
        losses: names of real scalars (default: all that the model minimizes).
        lengths: each sequence's own, of a padded batch.

    Raises:
        InputError: fewer than two losses, unknown names.
    """
    run = prepare(fn, params, data, sizes, None, seed)
    names = tuple(run.program.losses if losses is None else losses)
    if len(names) < 2:
        raise InputError(
            f"{run.program.name} has {'one loss' if names else 'no loss'}: a cosine is between the "
            "gradients of two (`losses=`)"
        )
    grads = [
        run.fn.value_and_grad(run.params, run.data, loss=n, seed=seed, lengths=lengths)[1]
        for n in names
    ]
    norms, cosines = {}, {}
    for p in grads[0]:
        norms[p], cosines[p] = _compared([np.ravel(g[p]) for g in grads])
    overall = _compared([np.concatenate([np.ravel(g[p]) for p in g]) for g in grads])
    shared = tuple(p for p in norms if np.all(norms[p] > 0))
    together = [np.concatenate([[], *(np.ravel(g[p]) for p in shared)]) for g in grads]
    return GradientCosine(
        run.program.name, names, *overall, norms, cosines, shared, _compared(together)[1]
    )


def _compared(vectors: list[Array]) -> tuple[Array, Array]:
    """Norms, and the matrix of cosines."""
    rows = np.array(vectors, dtype=float)
    norms = np.linalg.norm(rows, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        units = rows / norms[:, None]
        cosine = np.where((norms[:, None] > 0) & (norms > 0), units @ units.T, np.nan)
    return norms, np.clip(cosine, -1.0, 1.0)
