"""Ctrl-C between two updates, and not in the middle of one."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .run import Fit


class Interrupted(KeyboardInterrupt):
    """Training was stopped by Ctrl-C, after the update that was being made.

    Attributes:
        fit: what there is so far.
    """

    def __init__(self, message: str, fit: Fit) -> None:
        super().__init__(message)
        self.fit = fit


class Asked:
    """Whether a stop was asked for."""

    stop = False


@contextlib.contextmanager
def asked() -> Iterator[Asked]:
    """Note the first Ctrl-C; the second one is an ordinary `KeyboardInterrupt`.

    Only the main thread may decide what a signal does; in others, Ctrl-C is what it was.
    """
    found = Asked()
    if threading.current_thread() is not threading.main_thread():
        yield found
        return
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: FrameType | None) -> None:
        found.stop = True
        signal.signal(signal.SIGINT, before)

    if before is signal.SIG_IGN or before is None:
        yield found
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield found
    finally:
        signal.signal(signal.SIGINT, before)


__all__ = ["Asked", "Interrupted", "asked"]
