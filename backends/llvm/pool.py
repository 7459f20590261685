"""Threads that run native tasks side by side.

The tasks of a call stand in a `Job`: one native function, and an argument for each task. The caller
takes tasks from it one after the other, and so does every helper; so a helper that comes late, or
whose core is busy with something else, holds nothing up but the task it has.

Helpers are Python threads that stay in native code, without the interpreter lock, for as long as
there is work, and spin there for a while before they sleep: waking a thread takes longer than many
a call. A helper has a mailbox, one word that both sides change by compare-and-exchange:

    FREE       it waits for a job, spinning
    ASLEEP     it waits for its lock
    BUSY       it is at work
    otherwise  the address of a job that it has not begun
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from typing import Any

from . import loading
from .machine import LINE, host

_FREE, _ASLEEP = 0, 1
#: How long a helper spins before it sleeps, in seconds.
_PATIENCE = 1e-4


class Job:
    """Tasks for `run`: a native function that takes one address, and the addresses."""

    def __init__(self, function: int, arguments: Sequence[int]) -> None:
        self._arguments = (ctypes.c_void_p * len(arguments))(*arguments)
        self._words, self.address = _lines(3)
        self._words[0] = function
        self._words[1] = len(arguments)
        self._words[2] = ctypes.addressof(self._arguments)
        self.tasks = len(arguments)


class _Helper:
    """A thread and its mailbox."""

    def __init__(self, pool: Pool) -> None:
        self._mail, self.address = _lines(1)
        self._awake = threading.Lock()
        self._awake.acquire()
        self._pool = pool  # whose code it runs for as long as there is a process
        thread = threading.Thread(target=self._live, name="unfold helper", daemon=True)
        thread.start()

    def wake(self) -> None:
        """Have it spin, if it sleeps. For the one who has taken it from the pool."""
        if self._mail[0] == _ASLEEP:
            self._mail[0] = _FREE
            self._awake.release()

    def _live(self) -> None:
        while True:
            self._pool.serve(self.address, self._pool.rounds)
            self._awake.acquire()


class Pool:
    """The helpers of this process; each is taken by one call at a time."""

    def __init__(self) -> None:
        text = resources.files(__package__).joinpath("pool.ll").read_text(encoding="utf-8")
        library = loading.load_text("pool", text.replace("@pause@", pause(host().triple)))
        kinds = [ctypes.c_void_p, ctypes.c_int64]
        self.serve = ctypes.CFUNCTYPE(None, *kinds)(library.address("serve"))
        kinds = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p]
        self._run = ctypes.CFUNCTYPE(None, *kinds)(library.address("run"))
        self._library = library
        self._yield = yielding()
        self.rounds = self._calibrated()
        self._all: list[_Helper] = []
        self._free: list[_Helper] = []

    def run(self, job: Job) -> None:
        """Have all tasks of a job done, each by a thread of its own if there are as many."""
        helpers = self._taken(job.tasks - 1)
        try:
            for helper in helpers:
                helper.wake()
            mails = (ctypes.c_void_p * len(helpers))(*(h.address for h in helpers))
            self._run(job.address, mails, len(helpers), self._yield)
        finally:
            self._free.extend(helpers)

    def _taken(self, count: int) -> list[_Helper]:
        """Up to ``count`` helpers; new ones as long as the process has fewer than that."""
        taken: list[_Helper] = []
        while len(taken) < count:
            try:
                taken.append(self._free.pop())
            except IndexError:
                if len(self._all) >= count:
                    break  # the others are at work for other calls: the caller does their part
                try:
                    helper = _Helper(self)
                except RuntimeError:
                    break  # no more threads are to be had
                self._all.append(helper)
                taken.append(helper)
        return taken

    def _calibrated(self) -> int:
        """How many rounds of waiting take as long as a helper is patient."""
        mail, address = _lines(1)
        rounds = 1000
        start = time.perf_counter()
        self.serve(address, rounds)
        elapsed = time.perf_counter() - start
        assert mail[0] == _ASLEEP
        return max(rounds, int(rounds * _PATIENCE / max(elapsed, 1e-9)))


@lru_cache(maxsize=1)
def pool() -> Pool:
    """The pool of this process."""
    return Pool()


# The child of a fork has none of its parent's threads.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=pool.cache_clear)


def _lines(count: int) -> tuple[Any, int]:
    """Words, all zero, at the start of a cache line, and their address."""
    words = ctypes.c_int64 * (count * LINE // 8)
    block = ctypes.create_string_buffer((count + 1) * LINE)
    skip = -ctypes.addressof(block) % LINE
    found = words.from_buffer(block, skip)
    return found, ctypes.addressof(found)


def pause(triple: str) -> str:
    """The instruction that makes a waiting core easy on its neighbours."""
    if triple.startswith(("x86_64", "i686", "i386", "amd64")):
        return "call void @llvm.x86.sse2.pause()"
    if triple.startswith(("aarch64", "arm64")):
        return "call void @llvm.aarch64.hint(i32 1)"
    return "fence acquire"


@lru_cache(maxsize=1)
def yielding() -> int:
    """The address of the function that gives the core to another thread."""
    if sys.platform == "win32":
        function = ctypes.WinDLL("kernel32").SwitchToThread
    else:
        function = ctypes.CDLL(None).sched_yield
    return ctypes.cast(function, ctypes.c_void_p).value or 0


__all__ = ["Job", "Pool", "pause", "pool", "yielding"]
