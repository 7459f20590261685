"""Modules cut into parts, which other threads compile while the rest is being written.

before:  one module, its functions coming one after the other
after:   object code of parts of it, beside common functions that were compiled once (see `stock`)

Requires what `units` does: functions come after those that they call, and nothing is inlined.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import lru_cache, partial
from queue import SimpleQueue
from typing import TypeAlias

from . import generating, jit
from .ir import Module, Receiver
from .loading import ObjectCode
from .machine import HostTarget, llvm_version
from .stock import Part, Promise, Stock
from .units import Unit, Units

#: Writes a module and returns its text; a receiver gets functions as soon as they are there.
Writer: TypeAlias = Callable[[Receiver | None], str]

#: So many lines are worth a module of their own.
_LINES = 400
#: The same for another thread that has nothing to do before the first one comes.
_EARLY = 100
#: The name of threads of `ahead`.
_AHEAD = "unfold.ahead"
#: They have one machine: one of them generates code at a time.
_TURN = threading.Lock()


def object_code(write: Writer, *, optimise: bool = False) -> ObjectCode:
    """The code for this machine of the module that ``write`` writes.

    Where code is not optimised, several threads compile a part of it each, the first parts while
    the next ones are being written, and what other programs have as well is compiled once.
    """
    number = generating.threads()
    if optimise or number == 1:
        return jit.object_code(write(None), optimise=optimise)
    with jit.LOCK, jit.QUICK:
        for k in range(number):
            jit.machine_of(jit.host(), k)
        with generating.EAGER, generating.Jobs[bytes](number) as jobs:
            return _streamed(write, jobs, stock())


def _streamed(write: Writer, jobs: generating.Jobs[bytes], common: Stock) -> ObjectCode:
    shared: list[Unit | None] = []

    def send(text: str, unit: Unit | None) -> None:
        shared.append(unit)
        jobs.add(len(text), lambda k: jit.emitted(text, False, jit.host(), k))

    cutter = Cutter(common, _LINES, lambda unit, many: send(unit.text, unit if many else None))
    text = write(cutter)
    if shared:
        cutter.rest()
    else:  # a short module in one piece
        send(text, None)
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
    waiting: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
    thread = threading.Thread(target=_work, args=(waiting,), name=_AHEAD)
    number = generating.threads()

    def send(unit: Unit, _: bool) -> None:
        promise = common.promise(unit.names, unit.needs)
        make = partial(jit.emitted, unit.text, False, jit.host(), number)
        waiting.put(partial(promise.keep, make))
        if thread.ident is None:
            thread.start()

    cutter = Cutter(common, _EARLY, send)
    try:
        write(cutter)
        cutter.rest()
    finally:
        waiting.put(None)


def _work(waiting: SimpleQueue[Callable[[], None] | None]) -> None:
    with jit.QUICK, generating.EAGER:
        while (job := waiting.get()) is not None:
            with _TURN:
                job()


class Cutter:
    """Cuts what is written for a module: into its own parts, and into common ones.

    Args:
        stock: common functions that are there already.
        lines: how many are worth a part.
        send: gets each part, and whether it is a common one.

    Attributes:
        taken: the parts of the stock that what is written calls.
    """

    def __init__(self, stock: Stock, lines: int, send: Callable[[Unit, bool], None]) -> None:
        self.stock = stock
        self.taken: list[Part | Promise] = []
        self._send = send
        self._own, self._common = Units(lines), Units(lines, "weak_odr hidden")
        self._declared: dict[str, str] = {}

    def has(self, name: str) -> bool:
        found = self.stock.found(name)
        self.taken += found or []
        return found is not None

    def add(self, module: Module, text: str, common: bool) -> None:
        self._declared = module.declared
        if text.startswith("@"):
            self._own.add(text)
        units = self._common if common or text.startswith("@") else self._own
        units.add(text)
        if units.is_full:
            self._cut(units)

    def rest(self) -> None:
        """Send what is left."""
        for units in (self._own, self._common):
            if units.is_begun:
                self._cut(units)

    def _cut(self, units: Units) -> None:
        unit = units.take({**self._declared, **self._common.known})
        self._send(unit, units is self._common)


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


__all__ = ["Cutter", "Writer", "ahead", "object_code", "settle", "stock"]
