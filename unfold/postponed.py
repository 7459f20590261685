"""Work that nobody waits for, put off until there is a moment for it.

What has been compiled is written to the cache: that takes as long as some of the compilation does,
and whoever compiles wants the result first. So another thread does it, when the process has made
nothing new for a moment; Python waits for that thread when it ends, and the thread does not wait
then.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Seconds without anything new before the work begins, and the most that any of it waits.
_MOMENT, _LONGEST = 0.05, 2.0
#: Seconds after which the thread looks whether the process ends.
_LOOK = 0.005
#: So many jobs wait at most; whoever comes with one more does them.
_MOST = 16


class Postponed:
    """Jobs by name, which are done once and in their order; safe in several threads."""

    def __init__(self) -> None:
        self._begin()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self.settle, after_in_child=self._begin)

    def _begin(self) -> None:
        self._lock, self._working = threading.RLock(), threading.RLock()
        self._waiting: dict[str, Callable[[], object]] = {}
        self._thread: threading.Thread | None = None
        self._called = threading.Event()
        self._busy = 0
        self._first = self._last = 0.0

    def __contains__(self, name: str) -> bool:
        """Whether a job waits, or is being done."""
        return name in self._waiting

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Something is being made, in this block: now is not the moment."""
        with self._lock:
            self._busy += 1
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1
                self._last = time.monotonic()

    def add(self, name: str, job: Callable[[], object]) -> None:
        """A job for later, in place of one of that name."""
        with self._lock:
            self._last = time.monotonic()
            if not self._waiting:
                self._first = self._last
            self._waiting[name] = job
            is_possible = len(self._waiting) <= _MOST and self._has_thread()
        if not is_possible:
            self.settle()

    def settle(self) -> None:
        """Do now what waits."""
        self._work()
        self._called.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _has_thread(self) -> bool:
        if not threading.main_thread().is_alive():
            return False  # nobody would wait for a thread that begins now
        if self._thread is None:
            self._called.clear()
            thread = threading.Thread(target=self._wait, name="unfold.postponed")
            try:
                thread.start()
            except RuntimeError:  # there may be no more of them
                return False
            self._thread = thread
        return True

    def _wait(self) -> None:
        main = threading.main_thread()
        while True:
            while main.is_alive() and not self._is_time():
                self._called.wait(_LOOK)
            self._work()
            with self._lock:
                if not self._waiting:
                    self._thread = None
                    return

    def _is_time(self) -> bool:
        with self._lock:
            now = time.monotonic()
            is_quiet = not self._busy and now - self._last > _MOMENT
            return is_quiet or now - self._first > _LONGEST or not self._waiting

    def _work(self) -> None:
        with self._working:
            while self._waiting:
                with self._lock:
                    name, job = next(iter(self._waiting.items()))
                try:
                    job()
                finally:
                    with self._lock:
                        if self._waiting.get(name) is job:
                            del self._waiting[name]


__all__ = ["Postponed"]
