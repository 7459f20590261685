"""Object code of Linux on x86-64 put into memory, without LLVM.

The library that generates code is large, and loading it takes a hundred times as long as what is
done here. Object code from the cache needs none of it: it is position-independent and small, so
that linking means to write some distances between places in it (System V ABI, AMD64 supplement,
chapter 4). What is rarer than that is refused, and LLVM's linker does it.
"""

from __future__ import annotations

import ctypes
import struct
import sys
from collections.abc import Callable, Mapping, Sequence

from unfold.named import Named

_MAGIC = b"\x7fELF\x02\x01"  # 64 bits, little-endian
_RELOCATABLE, _X86_64 = 1, 62
_SYMTAB, _RELA, _NOBITS = 2, 4, 8
_WRITABLE, _ALLOCATED, _THREAD_LOCAL = 0x1, 0x2, 0x400
#: The special sections of symbols that are defined elsewhere, and the first of the others.
_UNDEFINED, _RESERVED = 0, 0xFF00
_PC32, _PLT32 = 2, 4
#: ``jmp *8(%rip)``, up to the address of a function that is elsewhere.
_JUMP = bytes.fromhex("ff2502000000") + b"\xcc\xcc"
_STUB = 16


class Unfamiliar(Exception):
    """Object code that this linker does not know."""


#: The fields of a section: name, kind, flags, address, offset, size, link, info, align, entry.
_SECTION = struct.Struct("<IIQQQQIIQQ")
#: The fields of a symbol: name, info, other, section, value, size.
_SYMBOL = struct.Struct("<IBBHQQ")
#: Of mmap and mprotect on Linux; the module of that name takes as long to load as all that is
#: done here.
_READ, _WRITE, _EXECUTE, _PRIVATE, _ANONYMOUS = 0x1, 0x2, 0x4, 0x2, 0x20
_FAILED = 2**64 - 1
_ADDRESS = struct.Struct("<Q")
#: The fields of a relocation: place, symbol and kind, addend.
_RELOCATION = struct.Struct("<QQq")


class Mapped(Named):
    """Code in memory, which is given back when this object dies.

    Attributes:
        addresses: of the functions that the code exports, by name.
        kept: what must live as long as the code.
    """

    addresses: dict[str, int]
    kept: tuple[object, ...]


def is_possible() -> bool:
    """Whether this process can run such code."""
    return sys.platform == "linux" and struct.calcsize("P") == 8


class Joined(Named):
    """Object code that is linked up to what differs from process to process.

    Attributes:
        image: the code as it stands in memory, wherever that is.
        exported: where in it each exported function begins.
        far: the places in it of the addresses of functions of the process, with their names.
    """

    image: bytes
    exported: dict[str, int]
    far: tuple[tuple[int, str], ...]


def mapped(code: Joined | Sequence[bytes], find: Callable[[str], int]) -> Mapped:
    """Link object code and make it executable.

    Args:
        code: object code, which may call each other's functions, or what `joined` made of it.
        find: the address of a function of the process by its name; may raise ``Unfamiliar``.

    Raises:
        Unfamiliar: something in it that only LLVM's linker knows.
        OSError: the system does not give memory for code.
    """
    image, exported = linked(code, find)
    region = _Region(bytes(image))
    return Mapped({name: region.start + at for name, at in exported.items()}, (region,))


class _Region:
    """Memory with code in it, for as long as this object lives."""

    def __init__(self, code: bytes) -> None:
        system = ctypes.CDLL(None, use_errno=True)
        system.mmap.restype = ctypes.c_void_p
        size, place = ctypes.c_size_t(max(len(code), 1)), ctypes.c_void_p
        start = system.mmap(None, size, _READ | _WRITE, _PRIVATE | _ANONYMOUS, -1, place(0))
        if start == _FAILED:
            raise OSError(ctypes.get_errno(), "there is no memory for code")
        self.start: int = start
        self._taken, self._give_back = (place(start), size), system.munmap
        ctypes.memmove(start, code, len(code))
        # Never writable and executable at once.
        if system.mprotect(place(start), size, _READ | _EXECUTE):
            raise OSError(ctypes.get_errno(), "memory cannot be made executable")

    def __del__(self) -> None:
        # When Python ends, modules may be gone before this object.
        if hasattr(self, "_taken"):
            self._give_back(*self._taken)


def linked(
    code: Joined | Sequence[bytes], find: Callable[[str], int]
) -> tuple[bytearray, dict[str, int]]:
    """The code as it stands in memory, wherever that is, and where in it each exported function
    begins. Raises ``Unfamiliar``."""
    whole = code if isinstance(code, Joined) else joined(code)
    image = bytearray(whole.image)
    for at, name in whole.far:
        _ADDRESS.pack_into(image, at, find(name))
    return image, whole.exported


def joined(objects: Sequence[bytes]) -> Joined:
    """Object code linked up to what differs from process to process. Raises ``Unfamiliar``."""
    image, exported = bytearray(), dict[str, int]()
    far: list[tuple[int, str]] = []
    try:
        parts = [_Part(code, image) for code in objects]
        for part in parts:
            exported |= part.exported()
        for part in parts:
            part.relocate(image, exported, far)
    except (struct.error, IndexError, UnicodeDecodeError, ValueError) as error:
        raise Unfamiliar(str(error)) from error
    return Joined(bytes(image), exported, tuple(far))


class _Part:
    """An object, whose sections stand in the image.

    Attributes:
        starts: where in the image each of its sections begins.
        places: where each of its symbols is; ``None`` if it is not in this object.
    """

    def __init__(self, code: bytes, image: bytearray) -> None:
        self.code = code
        self.sections = _sections(code)
        self.starts = _laid_out(code, self.sections, image)
        self.symbols, self.names = _symbols(code, self.sections)
        self.places = [
            None
            if not 0 < section < _RESERVED or section not in self.starts
            else self.starts[section] + value
            for _, _, _, section, value, _ in self.symbols
        ]

    def name(self, number: int) -> str:
        at = self.names + self.symbols[number][0]
        return self.code[at : self.code.index(b"\0", at)].decode()

    def exported(self) -> dict[str, int]:
        """The functions that are not local ones."""
        return {
            self.name(number): place
            for number, place in enumerate(self.places)
            if place is not None and self.symbols[number][1] >> 4
        }

    def relocate(
        self, image: bytearray, exported: Mapping[str, int], far: list[tuple[int, str]]
    ) -> None:
        """Write the distances between places; what is elsewhere is noted in ``far``."""
        for _, kind, _, _, offset, size, _, target, _, _ in self.sections:
            if kind != _RELA or target not in self.starts:
                continue
            for at, info, addend in _RELOCATION.iter_unpack(self.code[offset : offset + size]):
                if info & 0xFFFFFFFF not in (_PC32, _PLT32):
                    raise Unfamiliar(f"a relocation of kind {info & 0xFFFFFFFF}")
                number, at = info >> 32, self.starts[target] + at
                place = self.places[number]
                if place is None:
                    name = self.name(number)
                    if self.symbols[number][3] != _UNDEFINED:
                        raise Unfamiliar(f"{name} is in no section")
                    place = exported.get(name)
                    place = _stub(image, name, far) if place is None else place
                    self.places[number] = place
                struct.pack_into("<i", image, at, place + addend - at)


def _sections(code: bytes) -> list[tuple[int, ...]]:
    if not code.startswith(_MAGIC):
        raise Unfamiliar("no object code of this kind")
    if struct.unpack_from("<HH", code, 16) != (_RELOCATABLE, _X86_64):
        raise Unfamiliar("of another machine")
    (start,) = struct.unpack_from("<Q", code, 40)
    size, count = struct.unpack_from("<HH", code, 58)
    if size != _SECTION.size:
        raise Unfamiliar("sections of another kind")
    return list(_SECTION.iter_unpack(code[start : start + size * count]))


def _laid_out(code: bytes, sections: list[tuple[int, ...]], image: bytearray) -> dict[int, int]:
    """Append the sections that a process needs to the image; where each begins."""
    starts = {}
    for number, (_, kind, flags, _, offset, size, _, _, align, _) in enumerate(sections):
        if not flags & _ALLOCATED:
            continue
        if flags & (_WRITABLE | _THREAD_LOCAL) or kind == _NOBITS:
            raise Unfamiliar("data that are written to")
        image += bytes(-len(image) % max(align, 1))
        starts[number] = len(image)
        image += code[offset : offset + size]
    return starts


def _symbols(code: bytes, sections: list[tuple[int, ...]]) -> tuple[list[tuple[int, ...]], int]:
    """The table of symbols, and where their names begin."""
    tables = [s for s in sections if s[1] == _SYMTAB]
    if len(tables) != 1:
        raise Unfamiliar("no single table of symbols")
    offset, size, link = tables[0][4:7]
    symbols = list(_SYMBOL.iter_unpack(code[offset : offset + size]))
    return symbols, sections[link][4]


def _stub(image: bytearray, name: str, far: list[tuple[int, str]]) -> int:
    """Append a jump to a function of the process, which may be far away; where it begins."""
    image += bytes(-len(image) % _STUB)
    start = len(image)
    far.append((start + len(_JUMP), name))
    image += _JUMP + bytes(_ADDRESS.size)
    return start


__all__ = ["Joined", "Mapped", "Unfamiliar", "is_possible", "joined", "linked", "mapped"]
