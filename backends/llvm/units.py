"""A module of LLVM IR in several modules, which can be compiled before all of it is written.

    before:  define internal void @part() {…}   define void @run() {… call void @part() …}
    after:   define hidden void @part() {…}  |  declare hidden void @part()
                                             |  define void @run() {… call void @part() …}

Requires functions that come after those that they call, and code that is not inlined from one
function into another. What the functions compute does not depend on where they are compiled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from .ir import NOTES

_FUNCTION = re.compile(r"^define .*?^\}$\n?", re.MULTILINE | re.DOTALL)
_DECLARATION = re.compile(r"^declare .*$", re.MULTILINE)
_NAME = re.compile(r'@("[^"]*"|[\w.$]+)')
#: Globals that each module may have for itself.
_OWN = ("internal constant ", "private constant ")


class Unit(NamedTuple):
    """A module: its text, the functions that it defines, and the others that it calls."""

    text: str
    names: tuple[str, ...]
    needs: tuple[str, ...]


class Units:
    """Cuts what is written into modules of ``lines`` lines and more; the last one has the rest.

    Args:
        linkage: of functions that are internal ones where they are written.
    """

    def __init__(self, lines: int, linkage: str = "hidden") -> None:
        self.lines = lines
        self.linkage = linkage
        self._known: dict[str, str] = {}
        self._waiting: dict[str, str] = {}
        self._size = 0

    def add(self, text: str) -> None:
        """Take functions, with the declarations beside them, or a constant.

        Raises:
            ValueError: it cannot be in a module of its own.
        """
        if text.startswith("@"):
            name, _, value = text[1:].partition(" = ")
            if not value.startswith(_OWN):
                raise ValueError(f"{name} is shared by all modules")
            self._known[name] = text
            return
        if text.startswith("define ") and "\ndefine " not in text:
            self._function(text)
            return
        for declaration in _DECLARATION.findall(text):
            (name,) = _NAME.findall(declaration)
            self._known[name] = declaration
        for function in _FUNCTION.findall(text):
            self._function(function)

    def _function(self, text: str) -> None:
        head, body = text[: (at := text.index("{\n"))], text[at:]
        if "alwaysinline" in head:
            raise ValueError(f"to be inlined: {head}")
        (name,) = _NAME.findall(head[: head.index("(")])
        self._waiting[name] = head.replace("define internal", f"define {self.linkage}", 1) + body
        head = head.replace("define internal", "define hidden", 1)
        self._known[name] = head.replace("define", "declare", 1)
        self._size += body.count("\n")

    @property
    def is_begun(self) -> bool:
        """Whether there is something to `take`."""
        return bool(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether it is time to `take` a module."""
        return self._size >= self.lines

    @property
    def known(self) -> Mapping[str, str]:
        """How another module is told of what has been added, by name."""
        return self._known

    def take(self, declared: Mapping[str, str]) -> Unit:
        """The module of what was added since the last one; ``declared`` are external functions, and
        functions that will be added."""
        body = "\n".join(self._waiting.values())
        others = dict.fromkeys(_NAME.findall(body)).keys() - self._waiting.keys()
        # LLVM knows its own functions, also where nobody declares them.
        heads = {
            n: self._known.get(n) or declared[n]
            for n in sorted(others)
            if n in self._known or n in declared or not n.startswith("llvm.")
        }
        names, self._waiting, self._size = tuple(self._waiting), {}, 0
        notes = [note for name, note in NOTES.items() if f" {name}" in body]
        needs = (n for n, head in heads.items() if head[0] != "@" and n[:5] != "llvm.")
        return Unit("\n".join([*heads.values(), body, *notes, ""]), names, tuple(needs))


__all__ = ["Unit", "Units"]
