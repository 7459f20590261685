"""What every analysis returns: numbers that read as a table, draw themselves and become JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UnfoldError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Okabe and Ito's palette ("Color universal design", 2008), told apart by everyone; black first.
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")


class Result:
    """The base of the result objects, which are frozen dataclasses.

    ``str(result)`` is a table with a verdict, `plot` draws it, `to_json` writes all of it.
    """

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw on ``ax``, or on a new figure; returns the axes (``ax.figure.savefig(…)``).

        Raises `UnfoldError` without matplotlib.
        """
        ax = axes() if ax is None else ax
        self._draw(ax)
        return ax

    def _draw(self, ax: Axes) -> None:
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain data: arrays as lists, complex numbers as [real, imaginary], what
        is not finite as ``None``."""
        return {f.name: plain(getattr(self, f.name)) for f in fields(self)}  # type: ignore[arg-type]

    def to_json(self) -> str:
        """`to_dict` as JSON."""
        return json.dumps(self.to_dict())


def plain(value: Any) -> Any:
    """A value as JSON has it."""
    if hasattr(value, "__dataclass_fields__"):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, complex):
        return [plain(value.real), plain(value.imag)]
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value


# --- text -------------------------------------------------------------------------------------


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns, the first one to the left and the others to the right."""
    cells = [list(head), *map(list, rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(head))]
    lines = []
    for first, *rest in cells:
        line = [f"{first:<{widths[0]}}"]
        line += [f"{cell:>{w}}" for cell, w in zip(rest, widths[1:], strict=True)]
        lines.append("  ".join(line).rstrip())
    return "\n".join(lines)


def number(x: float) -> str:
    """Three digits, or ``inf``."""
    return f"{x:.3g}"


def from_log(x: float) -> str:
    """The number whose natural logarithm is ``x``, also where it has no floating-point value."""
    if x == -np.inf:
        return "0"
    if abs(x) < 600:
        return number(float(np.exp(x)))
    exponent = int(np.floor(x / np.log(10)))
    return f"{np.exp(x - exponent * np.log(10)):.2f}e{exponent:+d}"


def spread(count: int, most: int = 8) -> list[int]:
    """Positions of a long series that a table shows: 0, 1, 2, 5, 10, 20, 50 … and the last."""
    steps = [0, *(m * 10**e for e in range(9) for m in (1, 2, 5))]
    found = [k for k in steps if k < count]
    if found and found[-1] != count - 1:
        found.append(count - 1)
    return found if len(found) <= most else [*found[:2], *found[-(most - 2) :]]


# --- pictures ---------------------------------------------------------------------------------


def pyplot() -> Any:
    """matplotlib.pyplot. Raises `UnfoldError` where it is not installed."""
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise UnfoldError(
            "plots need matplotlib: `pip install 'unfold-rec[plot]'` or `pip install matplotlib`"
        ) from None
    return plt


def axes(width: float = 6.4, height: float = 4.0) -> Axes:
    """The axes of a new figure."""
    _, ax = pyplot().subplots(figsize=(width, height), layout="constrained")
    found: Axes = ax
    return found


def dress(ax: Axes, title: str, x: str, y: str) -> None:
    """Titles and a quiet frame."""
    ax.set_title(title, loc="left", fontsize=11)
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(True, which="major", color="#dddddd", linewidth=0.6)
    ax.set_axisbelow(True)


def whole_ticks(axis: Any) -> None:
    """Ticks at whole numbers only: steps have no halves."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True))


def plain_ticks(axis: Any) -> None:
    """Ticks of a logarithmic axis as 1, 2, 5, 10, …"""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.set_minor_formatter(NullFormatter())
