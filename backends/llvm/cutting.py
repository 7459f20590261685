"""Modules cut into parts, which other threads compile while the rest is being written.

before:  one module, its functions coming one after the other
after:   object code of parts of it, beside common functions that were compiled once (see `stock`)

Requires what `units` does: functions come after those that they call, and nothing is inlined.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache, partial
from queue import SimpleQueue
from typing import TypeAlias

from . import generating, jit
from .ir import COLD, Module, Receiver
from .loading import ObjectCode
from .machine import HostTarget, llvm_version
from .stock import Part, Promise, Stock
from .units import Unit, Units

#: Writes a module and returns its text; a receiver gets functions as soon as they are there.
Writer: TypeAlias = Callable[[Receiver | None], str]

#: So many lines are worth a module of their own. Another thread waits for the first ones; later
#: ones have up to twice as many, since LLVM takes its time to begin with each.
_LINES = 200
#: The same for another thread that has nothing to do before the first one comes.
_EARLY = 100
#: The name of threads of `ahead`.
_AHEAD = "unfold.ahead"
#: They have one machine: one of them generates code at a time.
_TURN = threading.Lock()


def object_code(write: Writer, *, optimise: bool = False) -> ObjectCode:
    """The code for this machine of the module that ``write`` writes.

    Several threads compile a part of it each, the first parts while the next ones are being
    written. Where code is not optimised, what other programs have as well is compiled once.
    """
    number = generating.threads()
    if number == 1:
        return jit.object_code(write(None), optimise=optimise)
    with jit.LOCK, jit.QUICK, generating.EAGER, generating.Jobs[bytes](number) as jobs:
        return _optimised(write, jobs) if optimise else _streamed(write, jobs, stock())


def _optimised(write: Writer, jobs: generating.Jobs[bytes]) -> ObjectCode:
    def send(unit: Unit, is_cold: bool) -> None:
        level = 0 if is_cold else jit.LEVEL
        jobs.add(len(unit.text), lambda k: jit.emitted(unit.text, level > 0, jit.host(), k, level))

    splitter = Splitter(_LINES, send)
    text = write(splitter)
    if not jobs.count:  # a short module in one piece
        return jit.object_code(text, optimise=True)
    splitter.rest()
    return tuple(jobs.done())


def _streamed(write: Writer, jobs: generating.Jobs[bytes], common: Stock) -> ObjectCode:
    shared: list[Unit | None] = []

    def add(text: str, unit: Unit | None = None, level: int = jit.LEVEL) -> None:
        shared.append(unit)
        jobs.add(len(text), lambda k: jit.emitted(text, False, jit.host(), k, level))

    def send(unit: Unit, is_common: bool, is_cold: bool) -> None:
        add(unit.text, unit if is_common else None, 0 if is_cold else jit.LEVEL)

    cutter = Cutter(common, _LINES, send)
    text = write(cutter)
    if shared:
        cutter.rest()
    else:  # a short module in one piece
        add(text)
    codes = jobs.done()
    taken = dict.fromkeys(p.part().code for p in cutter.taken)
    common.put(
        Part(code, unit.names, unit.needs)
        for code, unit in zip(codes, shared, strict=True)
        if unit is not None
    )
    return (*codes, *taken)


def ahead(write: Callable[[Receiver], None]) -> None:
    """Have the common functions of a module compiled by another thread: the first ones while the
    next ones are being written, and the last ones when this function has returned.

    The modules that call them are linked to them, as soon as they are there.
    """
    common = stock()
    waiting: SimpleQueue[tuple[Promise, str] | None] = SimpleQueue()
    threading.Thread(target=_work, args=(common, waiting), name=_AHEAD).start()

    def send(unit: Unit, *_: bool) -> None:
        waiting.put((common.promise(unit.names, unit.needs), unit.text))

    cutter = Cutter(common, _EARLY, send)
    try:
        write(cutter)
        cutter.rest()
    finally:
        waiting.put(None)


def _work(common: Stock, waiting: SimpleQueue[tuple[Promise, str] | None]) -> None:
    """Do what is promised; what came of it is kept for other processes when nobody waits for it."""
    number, target = generating.threads(), jit.host()
    made: list[Part | None] = []
    with jit.QUICK, generating.EAGER:
        with suppress(RuntimeError):  # it will be raised again, to those who wait
            jit.machine_of(target, number)  # while the first functions are being written
        while (promised := waiting.get()) is not None:
            promise, text = promised
            with _TURN:
                made.append(promise.keep(partial(jit.emitted, text, False, target, number)))
    common.save([part for part in made if part is not None])


class Cutter:
    """Cuts what is written for a module: into its own parts, and into common ones.

    Args:
        stock: common functions that are there already.
        lines: how many are worth a part.
        send: gets each part, whether it is a common one, and whether its functions are marked as
            `unfold.backends.llvm.ir.COLD`.

    Attributes:
        taken: the parts of the stock that what is written calls.
    """

    def __init__(self, stock: Stock, lines: int, send: Callable[[Unit, bool, bool], None]) -> None:
        self.stock = stock
        self.taken: list[Part | Promise] = []
        self._send, self._lines = send, lines
        self._own, self._cold = Units(lines), Units(lines)
        self._common = Units(lines, "weak_odr hidden")
        self._declared: dict[str, str] = {}

    def has(self, name: str) -> bool:
        found = self.stock.found(name)
        self.taken += found or []
        return found is not None

    def add(self, module: Module, text: str, common: bool) -> None:
        self._declared = module.declared
        if text.startswith("@"):
            self._own.add(text)
        cold = f" {COLD} {{" in text.partition("\n")[0]
        own = self._cold if cold else self._own
        units = self._common if common or text.startswith("@") else own
        units.add(text)
        if units.is_full:
            self._cut(units)

    def rest(self) -> None:
        """Send what is left."""
        for units in (self._own, self._common, self._cold):
            if units.is_begun:
                self._cut(units)

    def _cut(self, units: Units) -> None:
        own = {**self._cold.known, **self._own.known}
        unit = units.take({**self._declared, **self._common.known, **own})
        self._send(unit, units is self._common, units is self._cold)
        units.lines = min(units.lines + self._lines // 8, 2 * self._lines)


class Splitter:
    """Takes large functions and cold ones out of a module, each into a part of its own.

    Args:
        lines: how many are worth a part.
        send: gets each part, and whether it is marked as `unfold.backends.llvm.ir.COLD`.
    """

    def __init__(self, lines: int, send: Callable[[Unit, bool], None]) -> None:
        self._send, self._lines = send, lines
        self._large, self._small = Units(lines), Units(lines)
        self._declared: dict[str, str] = {}

    def has(self, name: str) -> bool:
        return False  # what is there already was not optimised

    def add(self, module: Module, text: str, common: bool) -> None:
        self._declared = module.declared
        is_cold = f" {COLD} {{" in text.partition("\n")[0]
        if text.startswith("@") or (text.count("\n") < self._lines and not is_cold):
            self._small.add(text)
        else:
            self._large.add(text)
            self._send(self._large.take({**self._declared, **self._small.known}), is_cold)

    def rest(self) -> None:
        """Send what is left, in one part."""
        if self._small.is_begun:
            self._send(self._small.take({**self._declared, **self._large.known}), False)


def settle() -> None:
    """Wait until no thread of `ahead` is in LLVM."""
    for thread in threading.enumerate():
        if thread.name == _AHEAD:
            thread.join()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=settle)


def stock() -> Stock:
    """The common functions for this machine."""
    return _stock(jit.host(), llvm_version())


@lru_cache
def _stock(target: HostTarget, version: str) -> Stock:
    return Stock(target, version)


__all__ = ["Cutter", "Splitter", "Writer", "ahead", "object_code", "settle", "stock"]
