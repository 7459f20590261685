"""Threads that run native tasks side by side.

The tasks of a call stand in a `Job`: one native function, and an argument for each task. The caller
takes tasks from it one after the other, and so does every helper; so a helper that comes late, or
whose core is busy with something else, holds nothing up but the task it has. All of that is native
(``pool.ll``), and needs no lock of Python's.

Helpers are Python threads that stay in native code for good. After a job a helper spins for a
while, for the next one, before it sleeps: waking a thread takes longer than many a call. It has a
mailbox, one word that both sides change by compare-and-exchange:

    FREE       it waits for a job, spinning
    ASLEEP     it waits for its lock
    a job      the address of a job that it has not begun
    a job + 1  it is at work for that one
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

#: What is in the mailbox of a helper that sleeps.
ASLEEP = 1
#: How long a helper spins before it sleeps, in seconds: about as long as one takes to wake, on a
#: machine of which others use the rest. Between the calls of a training loop nobody falls asleep.
_PATIENCE = 1e-3
#: How many helpers a process may have.
_MOST = 256
#: The words of a roster: how many helpers there are, three functions of the system and of Python,
#: and from there on the mailbox and the lock of each helper.
_YIELD, _ACQUIRE, _RELEASE, _FIRST = 1, 2, 3, 4


class Job:
    """Tasks for `run`: a native function that takes one address, and the addresses."""

    def __init__(self, function: int, arguments: Sequence[int]) -> None:
        self._arguments = (ctypes.c_void_p * len(arguments))(*arguments)
        self._words, self.address = _lines(3)
        self._words[0] = function
        self._words[1] = len(arguments)
        self._words[2] = ctypes.addressof(self._arguments)
        self.tasks = len(arguments)


class Pool:
    """The helpers of this process; each works for one job at a time.

    Attributes:
        run: the address of the native function that has a job done: ``run(job, roster)``.
        roster: the address of the table of helpers.
    """

    def __init__(self) -> None:
        text = resources.files(__package__).joinpath("pool.ll").read_text(encoding="utf-8")
        library = loading.load_text("pool", text.replace("@pause@", pause(host().triple)))
        kinds = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
        self._serve = ctypes.CFUNCTYPE(None, *kinds)(library.address("serve"))
        self.run = library.address("run")
        self._library = library
        self._words, self.roster = _lines(-(-8 * (_FIRST + 2 * _MOST) // LINE))
        self._words[_YIELD] = yielding()
        self._words[_ACQUIRE] = _of_python("PyThread_acquire_lock")
        self._words[_RELEASE] = _of_python("PyThread_release_lock")
        self._allocate = ctypes.PYFUNCTYPE(ctypes.c_void_p)(_of_python("PyThread_allocate_lock"))
        self._kept: list[Any] = []
        self._adding = threading.Lock()
        self.rounds = self._calibrated()

    @property
    def states(self) -> list[int]:
        """What is in the mailbox of each helper."""
        return [mail[0] for mail in self._kept]

    def enlist(self, count: int) -> None:
        """See to it that there are so many helpers, if so many threads are to be had."""
        with self._adding:
            while self._words[0] < min(count, _MOST):
                mail, address = _lines(1)
                lock = self._allocate()
                place = _FIRST + 2 * self._words[0]
                helper = threading.Thread(
                    target=self._live, args=(address, lock), name="unfold helper", daemon=True
                )
                try:
                    helper.start()
                except RuntimeError:
                    return
                self._kept.append(mail)
                self._words[place : place + 2] = (address, lock)
                self._words[0] += 1

    def _live(self, mail: int, lock: int) -> None:
        """What a helper does. Its frame holds the pool, whose code it is in, to the end."""
        self._serve(mail, self.roster, lock, self.rounds)

    def forget(self) -> None:
        """Have as many new helpers, in the child of a fork: it has none of its parent's threads."""
        count, self._words[0] = self._words[0], 0
        self._adding = threading.Lock()
        self._kept = []
        self.enlist(count)

    def _calibrated(self) -> int:
        """How many rounds of waiting take as long as a helper is patient."""
        _, address = _lines(1)
        rounds = 1000
        start = time.perf_counter()
        self._serve(address, self.roster, None, rounds)
        elapsed = time.perf_counter() - start
        return max(rounds, int(rounds * _PATIENCE / max(elapsed, 1e-9)))


@lru_cache(maxsize=1)
def pool() -> Pool:
    """The pool of this process."""
    return Pool()


def _in_child() -> None:
    if pool.cache_info().currsize:
        pool().forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


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
    return _address(function)


def _of_python(name: str) -> int:
    """The address of a function of Python's that may be called without its lock."""
    return _address(getattr(ctypes.pythonapi, name))


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


__all__ = ["ASLEEP", "Job", "Pool", "pause", "pool", "yielding"]
