"""From LLVM IR as text to machine code in memory, for the machine at hand.

Every way leads through object code: text is compiled to an object, an object is linked into the
process. What was compiled once can therefore be stored and loaded again in a millisecond.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any, TypeAlias

import llvmlite.binding as llvm

from . import generating
from .ir import Module, Receiver
from .loading import Library, ObjectCode, load_object
from .machine import HostTarget, host, llvm_version
from .stock import Part, Promise, Stock
from .units import Unit, Units

# One program is compiled at a time; LLVM's lazy set-up and the linker are behind this lock as well.
_LOCK = threading.RLock()
_SERIAL = itertools.count()
#: So many lines are worth a module of their own.
_LINES = 400


def described() -> tuple[str, dict[str, bool]]:
    """What LLVM says of this machine: its triple, and which features it has."""
    with _LOCK:
        return str(llvm.get_process_triple()), dict(llvm.get_host_cpu_features())


class Linked:
    """Object code that LLVM has linked into the process, for as long as this object lives.

    Raises:
        RuntimeError: it is no object code of this platform.
    """

    def __init__(self, object_code: ObjectCode, target: HostTarget | None) -> None:
        self._name = f"unfold.{next(_SERIAL)}"
        self._addresses: dict[str, int] = {}
        with _LOCK:
            self._jit = _linker(target or host())
            builder = llvm.JITLibraryBuilder().add_current_process()
            for code in object_code:
                builder.add_object_img(code)
            self._trackers: list[Any] = [builder.link(self._jit, self._name)]

    def address(self, name: str) -> int:
        """The address of a function that the code exports; KeyError if there is none."""
        if name not in self._addresses:
            with _LOCK:
                try:
                    tracker = self._jit.lookup(self._name, name)
                except RuntimeError as error:
                    raise KeyError(name) from error
                self._trackers.append(tracker)
                self._addresses[name] = tracker[name]
        return self._addresses[name]


def compile_ir(
    ir_text: str, *, optimise: bool = False, target: HostTarget | None = None
) -> Library:
    """Compile a module of LLVM IR and load it.

    Args:
        ir_text: the module; its triple and data layout are set here.
        optimise: run LLVM's pipeline before code generation (scalar code wants it; code that is
            written with explicit vectors does not get faster). Functions marked ``alwaysinline``
            are inlined in any case.
        target: the machine; default is the host.

    Raises:
        RuntimeError: LLVM rejects the text; the message is LLVM's.
    """
    target = target or host()
    return Library(object_code(ir_text, optimise=optimise, target=target), target)


#: Writes a module and returns its text; a receiver gets functions as soon as they are there.
Writer: TypeAlias = Callable[[Receiver | None], str]


def object_code(
    ir: str | Writer, *, optimise: bool = False, target: HostTarget | None = None
) -> ObjectCode:
    """What `compile_ir` with the same arguments would load, for `load_object`.

    Where code is not optimised, several threads compile a part of it each, the first parts while
    ``ir`` writes the next ones, and what other programs have as well is compiled once.
    """
    with _LOCK, _QUICK:
        if isinstance(ir, str) or optimise or generating.threads() == 1:
            text = ir if isinstance(ir, str) else ir(None)
            return (_emitted(text, optimise, target or host(), 0),)
        return _streamed(ir, generating.threads())


def _streamed(write: Writer, threads: int) -> ObjectCode:
    """The code of a module for this machine in parts of about `_LINES` lines."""
    for k in range(threads):
        _machine(host(), k)
    with generating.EAGER, generating.Jobs[bytes](threads) as jobs:
        stream = _Stream(jobs, stock())
        text = write(stream)
        return stream.done(text)


class _Stream:
    """Compiles what is written for a module."""

    def __init__(self, jobs: generating.Jobs[bytes], common: Stock) -> None:
        self.jobs = jobs
        self.stock = common
        self.own, self.common = Units(_LINES), Units(_LINES, "weak_odr hidden")
        self.cut: list[tuple[Unit, bool]] = []
        self.taken: list[Part | Promise] = []
        self.module: Module | None = None

    def has(self, name: str) -> bool:
        found = self.stock.found(name)
        self.taken += found or []
        return found is not None

    def add(self, module: Module, text: str, common: bool) -> None:
        self.module = module
        if text.startswith("@"):
            self.own.add(text)
        units = self.common if common or text.startswith("@") else self.own
        units.add(text)
        if units.is_full:
            self.compile(units, module)

    def compile(self, units: Units, module: Module) -> None:
        """Have what was added since the last time compiled."""
        unit = units.take({**module.declared, **self.common.known})
        self.cut.append((unit, units is self.common))
        self.jobs.add(len(unit.text), lambda k: _emitted(unit.text, False, host(), k))

    def done(self, text: str) -> ObjectCode:
        """The code of the whole module, a short one of it in one piece."""
        if not self.cut:
            self.jobs.add(len(text), lambda k: _emitted(text, False, host(), k))
        else:
            assert self.module is not None
            for units in (self.own, self.common):
                if units.is_begun:
                    self.compile(units, self.module)
        codes = self.jobs.done()
        taken = dict.fromkeys(p.part().code for p in self.taken)
        self.stock.put(
            Part(code, unit.names, unit.needs)
            for code, (unit, common) in zip(codes, self.cut, strict=False)
            if common
        )
        return (*codes, *taken)


def ahead(write: Callable[[Receiver], None]) -> None:
    """Have the common functions of a module compiled by another thread while this one goes on.

    The modules that call them are linked to them, as soon as they are there.
    """
    common = stock()
    foreseen = _Foreseen(common)
    write(foreseen)
    cut = foreseen.done()
    if not cut:
        return
    number = generating.threads()
    _machine(host(), number)
    promised = [common.promise(unit.names, unit.needs) for unit in cut]

    def work() -> None:
        with _QUICK, generating.EAGER:
            for unit, promise in zip(cut, promised, strict=True):
                promise.keep(partial(_emitted, unit.text, False, host(), number))

    threading.Thread(target=work, name=_AHEAD).start()


class _Foreseen:
    """Cuts common functions into modules."""

    def __init__(self, common: Stock) -> None:
        self.stock = common
        self.units = Units(_LINES, "weak_odr hidden")
        self.cut: list[Unit] = []
        self.declared: dict[str, str] = {}

    def has(self, name: str) -> bool:
        return self.stock.found(name) is not None

    def add(self, module: Module, text: str, common: bool) -> None:
        self.declared = module.declared
        self.units.add(text)
        if self.units.is_full:
            self.cut.append(self.units.take(self.declared))

    def done(self) -> list[Unit]:
        if self.units.is_begun:
            self.cut.append(self.units.take(self.declared))
        return self.cut


#: The name of threads of `ahead`.
_AHEAD = "unfold.ahead"


def _settle() -> None:
    """Wait until none of them is in LLVM."""
    for thread in threading.enumerate():
        if thread.name == _AHEAD:
            thread.join()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_settle)


def stock() -> Stock:
    """The common functions for this machine."""
    return _stock(host(), llvm_version())


@lru_cache
def _stock(target: HostTarget, version: str) -> Stock:
    return Stock(target, version)


def _emitted(ir_text: str, optimise: bool, target: HostTarget, machine_number: int) -> bytes:
    """The object code of one module."""
    machine = _machine(target, machine_number)
    with _prepared(ir_text, optimise, machine, target) as module:
        return generating.emitted(machine, module)


def assembly(ir_text: str, *, optimise: bool = False, target: HostTarget | None = None) -> str:
    """The assembly listing of what `object_code` with the same arguments makes, in one piece."""
    target = target or host()
    with _LOCK, _QUICK:
        machine = _machine(target)
        with _prepared(ir_text, optimise, machine, target) as module:
            return str(machine.emit_assembly(module))


@contextmanager
def _prepared(ir_text: str, optimise: bool, machine: Any, target: HostTarget) -> Iterator[Any]:
    """The module of a text, ready for code generation, in a context of its own."""
    with llvm.create_context() as context, llvm.parse_assembly(ir_text, context) as module:
        module.triple = target.triple
        module.data_layout = str(machine.target_data)
        module.verify()
        if optimise or "alwaysinline" in ir_text:
            options = llvm.create_pipeline_tuning_options()
            builder = llvm.create_pass_builder(machine, options)
            passes = llvm.create_new_module_pass_manager()
            passes.add_always_inliner_pass()
            if optimise:
                # What LLVM's own level 1 does beside this takes ten times as long, and makes
                # code no faster whose vectors are written as such.
                passes.add_sroa_pass()
                passes.add_simplify_cfg_pass()
                passes.add_instruction_combine_pass()
                passes.add_new_gvn_pass()
                passes.add_dead_code_elimination_pass()
                passes.add_simplify_cfg_pass()
            passes.run(module, builder)
        yield module


#: The newest LLVM that the option below was tried with; one that it does not know ends the process.
_KNOWN = 22


def _reduce_strength(on: bool) -> None:
    if llvm.llvm_version_info[0] <= _KNOWN:
        llvm.set_option("unfold", f"-disable-lsr={'false' if on else 'true'}")


#: Code generation without the reduction of the loops' strength.
#:
#: Our loops have few addresses, in the right form already: searching for better ones took a
#: quarter to a third of the time and made no model faster. The option belongs to LLVM as a whole,
#: so it is set while there is something to generate only.
_QUICK = generating.Shared(lambda: _reduce_strength(False), lambda _: _reduce_strength(True))


@lru_cache
def _machine(target: HostTarget, number: int = 0) -> Any:
    """A machine for each of the modules that are compiled at once."""
    if target.triple == host().triple:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
    else:
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
    return llvm.Target.from_triple(target.triple).create_target_machine(
        features=target.features, opt=2, reloc="pic", codemodel="small", jit=True
    )


@lru_cache
def _linker(target: HostTarget) -> Any:
    return llvm.create_lljit_compiler(_machine(target), use_jit_link=sys.platform != "win32")


__all__ = ["HostTarget", "Library", "Linked", "assembly", "compile_ir", "described", "host",
           "load_object", "object_code"]  # fmt: skip
