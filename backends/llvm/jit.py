"""From LLVM IR as text to machine code in memory, for the machine at hand.

Every way leads through object code: text is compiled to an object, an object is linked into the
process. What was compiled once can therefore be stored and loaded again in a millisecond.
"""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import llvmlite.binding as llvm

from . import generating
from .loading import Library, ObjectCode, load_object
from .machine import HostTarget, host

#: One program is compiled at a time; LLVM's lazy set-up and the linker are behind this as well.
LOCK = threading.RLock()
_SERIAL = itertools.count()


def described() -> tuple[str, dict[str, bool]]:
    """What LLVM says of this machine: its triple, and which features it has."""
    with LOCK:
        return str(llvm.get_process_triple()), dict(llvm.get_host_cpu_features())


class Linked:
    """Object code that LLVM has linked into the process, for as long as this object lives.

    Raises:
        RuntimeError: it is no object code of this platform.
    """

    def __init__(self, object_code: ObjectCode, target: HostTarget | None) -> None:
        self._name = f"unfold.{next(_SERIAL)}"
        self._addresses: dict[str, int] = {}
        with LOCK:
            self._jit = _linker(target or host())
            builder = llvm.JITLibraryBuilder().add_current_process()
            for code in object_code:
                builder.add_object_img(code)
            self._trackers: list[Any] = [builder.link(self._jit, self._name)]

    def address(self, name: str) -> int:
        """The address of a function that the code exports; KeyError if there is none."""
        if name not in self._addresses:
            with LOCK:
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


def object_code(
    ir_text: str, *, optimise: bool = False, target: HostTarget | None = None
) -> ObjectCode:
    """What `compile_ir` with the same arguments would load, for `load_object`."""
    with LOCK, QUICK:
        return (emitted(ir_text, optimise, target or host(), 0),)


#: How much care LLVM takes of code: 0 is for code that is to be there soon, and runs hardly ever.
LEVEL = 2


def emitted(
    ir_text: str, optimise: bool, target: HostTarget, machine_number: int, level: int = LEVEL
) -> bytes:
    """The object code of one module.

    Several threads may do this at once: with machines of different numbers, inside of `QUICK`.
    """
    machine = machine_of(target, machine_number, level)
    if generating.is_free():
        passes = _passes(machine, optimise) if _has_passes(ir_text, optimise) else None
        return generating.emitted(machine, _head(target, machine_number) + ir_text, passes)
    with _prepared(ir_text, optimise, machine, target) as module:
        code: bytes = machine.emit_object(module)
        return code


def assembly(ir_text: str, *, optimise: bool = False, target: HostTarget | None = None) -> str:
    """The assembly listing of what `object_code` with the same arguments makes, in one piece."""
    target = target or host()
    with LOCK, QUICK:
        machine = machine_of(target)
        with _prepared(ir_text, optimise, machine, target) as module:
            return str(machine.emit_assembly(module))


@contextmanager
def _prepared(ir_text: str, optimise: bool, machine: Any, target: HostTarget) -> Iterator[Any]:
    """The module of a text, ready for code generation, in a context of its own."""
    with llvm.create_context() as context, llvm.parse_assembly(ir_text, context) as module:
        module.triple = target.triple
        module.data_layout = str(machine.target_data)
        module.verify()
        if _has_passes(ir_text, optimise):
            passes, builder = _passes(machine, optimise)
            passes.run(module, builder)
        yield module


def _passes(machine: Any, optimise: bool) -> tuple[Any, Any]:
    """What is done with a module for a machine before its code is generated, and the builder."""
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options())
    passes = llvm.create_new_module_pass_manager()
    passes.add_always_inliner_pass()
    if optimise:
        # What LLVM's own level 1 does beside this takes ten times as long, and makes code no
        # faster whose vectors are written as such.
        passes.add_sroa_pass()
        passes.add_simplify_cfg_pass()
        passes.add_instruction_combine_pass()
        passes.add_new_gvn_pass()
        passes.add_dead_code_elimination_pass()
        passes.add_simplify_cfg_pass()
    return passes, builder


def _has_passes(ir_text: str, optimise: bool) -> bool:
    """Whether something is done with a module before code is generated."""
    return optimise or "alwaysinline" in ir_text


@lru_cache
def _head(target: HostTarget, machine_number: int) -> str:
    """What a module says of the machine."""
    layout = machine_of(target, machine_number).target_data
    return f'target datalayout = "{layout}"\ntarget triple = "{target.triple}"\n'


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
QUICK = generating.Shared(lambda: _reduce_strength(False), lambda _: _reduce_strength(True))


@lru_cache
def machine_of(target: HostTarget, number: int = 0, level: int = LEVEL) -> Any:
    """A machine for each of the modules that are compiled at once."""
    if target.triple == host().triple:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
    else:
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
    return llvm.Target.from_triple(target.triple).create_target_machine(
        features=target.features, opt=level, reloc="pic", codemodel="small", jit=True
    )


@lru_cache
def _linker(target: HostTarget) -> Any:
    return llvm.create_lljit_compiler(machine_of(target), use_jit_link=sys.platform != "win32")


__all__ = ["LOCK", "QUICK", "HostTarget", "Library", "Linked", "assembly", "compile_ir",
           "described", "emitted", "host", "load_object", "machine_of", "object_code"]  # fmt: skip
