"""Functions that many programs have: compiled once, and linked to each program that calls them.

The kernels of products and the mathematics of vectors are the same in every module for a machine,
under names that say all that they depend on. What was compiled for one program is there for the
next one of this process, and, if there is a cache, of any other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from unfold import cache
from unfold.named import Named

#: How the names of such functions begin.
COMMON = "unfold."
#: So many bytes of code are kept in a process.
_KEPT = 2**26


class Part(Named):
    """Object code of some functions.

    Attributes:
        code: the object.
        names: the functions that it defines.
        needs: the functions that it calls of other parts.
    """

    code: bytes
    names: tuple[str, ...]
    needs: tuple[str, ...]

    def part(self) -> Part:
        """This one."""
        return self


class Stock:
    """Common functions for one machine; safe in several threads.

    Args:
        machine: all that they depend on.
    """

    def __init__(self, *machine: object) -> None:
        self._machine = machine
        self._lock, self._saving = threading.RLock(), threading.Lock()
        self._parts: dict[str, Part] = {}
        self._promised: dict[str, Promise] = {}
        self._index: dict[str, str] | None = None

    def found(self, name: str) -> list[Part | Promise] | None:
        """The objects with a function and with all that it calls, which are there or promised; None
        if something is missing."""
        found: list[Part | Promise] = []
        reached: set[str] = set()
        waiting = [name]
        with self._lock:
            while waiting:
                name = waiting.pop()
                if name in reached:
                    continue
                part = self._part(name) or self._promised.get(name)
                if part is None:
                    return None
                found.append(part)
                reached.update(part.names)
                waiting += part.needs
        return found

    def promise(self, names: tuple[str, ...], needs: tuple[str, ...]) -> Promise:
        """Functions that will be there when the promise is kept."""
        made = Promise(self, names, needs)
        with self._lock:
            self._promised |= dict.fromkeys(names, made)
        return made

    def forget(self, promise: Promise) -> None:
        """A promise that has been kept, or cannot be."""
        with self._lock:
            for name in promise.names:
                if self._promised.get(name) is promise:
                    del self._promised[name]

    def put(self, parts: Iterable[Part]) -> None:
        """Keep what has been compiled, for other processes as well."""
        parts = list(parts)
        for part in parts:
            self.add(part)
        self.save(parts)

    def add(self, part: Part) -> None:
        """Keep what has been compiled in this process."""
        with self._lock:
            if sum(len(p.code) for p in set(self._parts.values())) > _KEPT:
                self._parts.clear()
            self._parts |= dict.fromkeys(part.names, part)

    def save(self, parts: Sequence[Part]) -> None:
        """Keep parts for other processes, a moment later."""
        listing = self._key("index")
        if listing is not None and parts:
            entries = {part: self._key(part.names) or "" for part in parts}
            cache.later("/".join(entries.values()), partial(self._save, listing, entries))

    def _save(self, listing: str, entries: Mapping[Part, str]) -> None:
        """Nobody who looks for a function waits meanwhile."""
        for part, entry in entries.items():
            cache.put(entry, part)
        with self._saving:
            index = dict(self._listed(again=True))
            for part, entry in entries.items():
                index |= dict.fromkeys(part.names, entry)
            cache.put(listing, index)
            self._index = index

    def _part(self, name: str) -> Part | None:
        if name not in self._parts:
            entry = self._listed().get(name)
            part = None if entry is None else cache.get(entry)
            if not isinstance(part, Part) or name not in part.names:
                return None
            self._parts |= dict.fromkeys(part.names, part)
        return self._parts[name]

    def _listed(self, again: bool = False) -> dict[str, str]:
        """In which entries of the cache functions are."""
        if self._index is None or again:
            index = cache.get(self._key("index"))
            self._index = index if isinstance(index, dict) else {}
        return self._index

    def _key(self, what: object) -> str | None:
        return cache.key("common", self._machine, what)


class Promise:
    """A part that some thread is making: the names of its functions, and what they call."""

    def __init__(self, stock: Stock, names: tuple[str, ...], needs: tuple[str, ...]) -> None:
        self.stock, self.names, self.needs = stock, names, needs
        self._ready = threading.Event()
        self._made: Part | BaseException | None = None

    def keep(self, make: Callable[[], bytes]) -> Part | None:
        """Make the object, for this process; what goes wrong is raised to those who wait for it."""
        part = None
        try:
            part = self._made = Part(make(), self.names, self.needs)
            self.stock.add(part)
        except BaseException as error:
            self._made = error
        finally:
            self.stock.forget(self)
            self._ready.set()
        return part

    def part(self) -> Part:
        """What was promised, when it is there."""
        self._ready.wait()
        if isinstance(self._made, BaseException):
            raise self._made
        assert self._made is not None
        return self._made


__all__ = ["COMMON", "Part", "Promise", "Stock"]
