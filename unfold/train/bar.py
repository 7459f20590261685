"""What a person sees of a training run: a bar with the loss, the norm of the gradient and the
sequences per second, and a line for each epoch. Nothing at all where nobody looks."""

from __future__ import annotations

import sys
import time
from typing import Any

#: How often the bar is drawn anew, in seconds.
INTERVAL = 0.1


class Bar:
    """A bar on standard error, if that is a terminal and ``wanted``."""

    def __init__(self, wanted: bool, epochs: int) -> None:
        self._epochs = epochs
        self._bar: Any = None
        self._task: Any = None
        self._next = 0.0
        if not wanted or not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as Remaining

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[said]}"),
            Remaining(compact=True),
            console=Console(stderr=True, highlight=False),
            transient=True,
            auto_refresh=False,
        )
        self._bar.start()

    def epoch(self, number: int, updates: int, done: int) -> None:
        """An epoch begins, with ``done`` of its updates made before."""
        if self._bar is None:
            return
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(
            f"epoch {number}/{self._epochs}", total=updates, completed=done, said=""
        )

    def update(self, done: int, loss: float, norm: float, speed: float) -> None:
        """An update was made."""
        if self._bar is None or (now := time.monotonic()) < self._next:
            return
        self._next = now + INTERVAL
        said = f"loss {loss:.4g}  |g| {norm:.3g}  {speed:,.0f} sequences/s"
        self._bar.update(self._task, completed=done, said=said)
        self._bar.refresh()

    def line(self, entry: dict[str, Any]) -> None:
        """An epoch is over."""
        if self._bar is None:
            return
        parts = [f"epoch {entry['epoch']:>3}/{self._epochs}", f"loss {entry['loss']:.5g}"]
        if "validation" in entry:
            star = " *" if entry["best"] else ""
            parts.append(f"validation {entry['validation']:.5g}{star}")
        parts += [f"|g| {entry['grad_norm']:.3g}", f"{entry['sequences_per_second']:,.0f} seq/s"]
        self._bar.console.print("  ".join(parts))

    def close(self) -> None:
        """The bar goes away."""
        if self._bar is not None:
            self._bar.stop()


__all__ = ["Bar"]
