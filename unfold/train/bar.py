"""What a person sees of a training run: a bar with the loss, the norm of the gradient and the
sequences per second, and a line for each epoch. Nothing at all where nobody looks.

Where an epoch is one update, of one long sequence say, the bar counts epochs. Of epochs that take
less than a second not all have a line."""

from __future__ import annotations

import sys
import time
from typing import Any

#: How often the bar is drawn anew, in seconds.
INTERVAL = 0.1

#: The least time between the lines of two epochs, in seconds.
BETWEEN = 1.0


class Bar:
    """A bar on standard error, if that is a terminal and ``wanted``."""

    def __init__(self, wanted: bool, epochs: int) -> None:
        self._epochs = epochs
        self._bar: Any = None
        self._task: Any = None
        self._next = 0.0
        self._line = 0.0
        self._pending = ""
        self._single = False
        self._before = 0
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
        single, self._single = self._single, updates == 1
        self._before = number - 1 if self._single else 0
        if single and self._single:
            return
        if self._task is not None:
            self._bar.remove_task(self._task)
        name, total = f"epoch {number}/{self._epochs}", updates
        if self._single:
            name, total = "epoch", self._epochs
        self._task = self._bar.add_task(name, total=total, completed=self._before + done, said="")

    def update(self, done: int, loss: float, norm: float, speed: float) -> None:
        """An update was made."""
        if self._bar is None or (now := time.monotonic()) < self._next:
            return
        self._next = now + INTERVAL
        said = f"loss {loss:.4g}  |g| {norm:.3g}  {speed:,.0f} sequences/s"
        self._bar.update(self._task, completed=self._before + done, said=said)
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
        self._pending = "  ".join(parts)
        if (now := time.monotonic()) >= self._line:
            self._line = now + BETWEEN
            self._print()

    def _print(self) -> None:
        self._bar.console.print(self._pending)
        self._pending = ""

    def close(self) -> None:
        """The bar goes away; the last epoch has its line."""
        if self._bar is not None:
            if self._pending:
                self._print()
            self._bar.stop()


__all__ = ["Bar"]
