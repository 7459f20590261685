"""Object code in this process: what was compiled, now or by a process before."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import TypeAlias

from unfold import cache

from . import elf
from .machine import HostTarget, host

#: Objects of machine code that are linked to each other.
ObjectCode: TypeAlias = tuple[bytes, ...]


class Library:
    """Machine code in this process, for as long as this object lives.

    ``object_code`` holds what `load_object` accepts, in this process or another one on an equal
    machine; ``whole`` is what `joined` made of it.
    """

    def __init__(
        self,
        object_code: ObjectCode,
        target: HostTarget | None = None,
        whole: elf.Joined | None = None,
    ) -> None:
        self.object_code = object_code
        self._code = _mapped(object_code if whole is None else whole)
        if self._code is None:
            from .jit import Linked

            self._linked = Linked(object_code, target)

    def address(self, name: str) -> int:
        """The address of a function that the code exports; KeyError if there is none."""
        if self._code is not None:
            return self._code.addresses[name]
        return self._linked.address(name)


def load_object(
    object_code: ObjectCode, *, target: HostTarget | None = None, whole: elf.Joined | None = None
) -> Library:
    """Load what `Library.object_code` once held, with what `joined` has made of it, if anything.

    Raises:
        RuntimeError: it is no object code of this platform.
    """
    return Library(object_code, target, whole)


def joined(object_code: ObjectCode) -> elf.Joined | None:
    """Object code linked as far as that is the same in every process, to be kept beside it; None
    where LLVM's linker has to do that."""
    if not elf.is_possible():
        return None
    try:
        return elf.joined(object_code)
    except elf.Unfamiliar:
        return None


def load_text(name: str, ir_text: str) -> Library:
    """Load a module of LLVM IR that is the same in every process: its code is kept in the cache,
    beside ``name``."""

    def compiled() -> ObjectCode:
        from . import jit

        return jit.object_code(ir_text, optimise=True)

    return load_object(cache.remember(cache.key(name, ir_text, host()), compiled))


def _mapped(code: ObjectCode | elf.Joined) -> elf.Mapped | None:
    """The code in memory without LLVM's linker, where that can be."""
    if not elf.is_possible():
        return None
    try:
        return elf.mapped(code, _function)
    except (elf.Unfamiliar, OSError):
        return None


@lru_cache
def _function(name: str) -> int:
    """The address of a function of the process."""
    try:
        found = getattr(ctypes.CDLL(None), name)
    except AttributeError as error:
        raise elf.Unfamiliar(name) from error
    return ctypes.cast(found, ctypes.c_void_p).value or 0


__all__ = ["Library", "ObjectCode", "joined", "load_object", "load_text"]
