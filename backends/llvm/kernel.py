"""Compiled programs as Python callables: records, workspaces, code for each kind of call.

What a process needs that finds its code in the cache is here; what generates code is imported when
code is generated.
"""

from __future__ import annotations

import ctypes
import struct
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unfold import cache
from unfold.later import Later
from unfold.named import Named

from . import elf, loading
from .block import Record, Storage, data_offset
from .division import Division, division
from .facts import Facts, Variant, microseconds
from .machine import host
from .slots import Slot, number_type, result_kinds, shapes

if TYPE_CHECKING:
    from .code import Source
    from .quick import Quick
    from .series import Series
    from .update import Update

Array = NDArray[Any]

#: When idle workspaces hold more bytes than this, they are given back.
_KEPT = 2**28


class Kernel:
    """A program in native code.

    Calling it takes arrays by name, lengths, the batch (``None`` for a single sequence) and each
    sequence's own length T (or ``None``); it returns the outputs by name. It may be called from
    several threads at once, and pickled; code for a kind of call is made when it first comes,
    unless the cache holds it beside ``entry``.
    """

    def __init__(self, facts: Facts, source: Later[Source], entry: str | None = None) -> None:
        self.facts = facts
        self.entry = entry
        self._source = source
        self._lock = threading.Lock()
        self._entries: dict[Variant, Entry] = {}
        self._pool: dict[tuple[Any, ...], list[Slot]] = {}
        self._shapes: dict[tuple[Any, ...], dict[str, tuple[tuple[int, ...], np.dtype[Any]]]] = {}
        self._width = host().lanes(facts.dtype)
        self._sizing = facts.sizing
        known = enumerate(facts.lengths)
        self._other = [(k, n) for k, n in known if n not in self._sizing]

    def __reduce__(self) -> tuple[Any, ...]:
        return Kernel, (self.facts, self._source, self.entry)

    @property
    def source(self) -> Source:
        """What the kernel is made from."""
        return self._source.value

    def __call__(
        self,
        arrays: Mapping[str, Array],
        lengths: Mapping[str, int],
        batch: int | None = None,
        ragged: Array | None = None,
        into: Mapping[str, Array] | None = None,
    ) -> dict[str, Array]:
        """Compute the outputs.

        Args:
            arrays: every input and parameter: C-contiguous, of the kernel's dtype, int64 or bool;
                inputs have a leading batch axis if ``batch`` is not None.
            lengths: the value of every length.
            batch: the number of sequences.
            ragged: int64, each sequence's own T.
            into: arrays that some outputs are written to, as `shapes` has them; they are not
                checked here.

        Raises:
            SolverError: an implicit equation has no solution.
        """
        key = (*(lengths[n] for n in self._sizing), batch, ragged is None)
        idle = self._pool.get(key)
        try:
            slot = idle.pop()  # type: ignore[union-attr]
        except (AttributeError, IndexError):
            slot = self._slot(key, lengths, batch, ragged is not None)
        if self._other:
            slot.place(self._other, lengths)
        entry = slot.entry
        results = [np.empty(shape, kind) for shape, kind in slot.shapes]
        if into:
            results = [into.get(n, a) for n, a in zip(entry.names, results, strict=True)]
        given = [arrays[n] for n in entry.given]
        if ragged is not None and entry.image.falling:
            in_falling_order(slot, given, results, ragged)
        else:
            slot.run(given, results, ragged)
        idle = self._pool.get(key)
        if idle is not None:
            idle.append(slot)
        return dict(zip(entry.names, results, strict=True))

    def series(self, changing: Collection[str]) -> Series:
        """A context in which calls follow each other that differ in inputs, and in the lengths and
        parameters ``changing``; the arrays of all other parameters stay as they are."""
        from .series import Series

        return Series(self, changing)

    def take(self, lengths: Mapping[str, int], batch: int | None) -> Slot:
        """What calls of a size need, for the caller alone until it is given back."""
        key = self.size(lengths, batch)
        try:
            slot = self._pool[key].pop()
        except (KeyError, IndexError):
            slot = self._slot(key, lengths, batch, False)
        self.place(slot, lengths)
        return slot

    def place(self, slot: Slot, lengths: Mapping[str, int]) -> None:
        """Set the lengths on which no size depends."""
        if self._other:
            slot.place(self._other, lengths)

    def give(self, slot: Slot, size: tuple[Any, ...]) -> None:
        """Give back what `take` returned for a call of that size."""
        idle = self._pool.get(size)
        if idle is not None:
            idle.append(slot)

    def size(self, lengths: Mapping[str, int], batch: int | None) -> tuple[Any, ...]:
        """What calls have in common that use the same storages."""
        return (*(lengths[n] for n in self._sizing), batch, True)

    def _slot(
        self, key: tuple[Any, ...], lengths: Mapping[str, int], batch: int | None, ragged: bool
    ) -> Slot:
        slot = self.new_slot(lengths, batch, ragged)
        waiting = sum(s.nbytes for idle in list(self._pool.values()) for s in list(idle))
        if len(self._pool) > 64 or waiting > _KEPT:
            self._pool.clear()
        self._pool.setdefault(key, [])
        return slot

    def new_slot(self, lengths: Mapping[str, int], batch: int | None, ragged: bool = False) -> Slot:
        """What calls of a size need."""
        facts = self.facts
        variant, (threads, crew) = self._called(lengths, batch, ragged)
        entry = self._entry(variant)
        if crew:
            from .crew import Crew

            return Crew(facts, entry, dict(lengths), batch, threads)
        if threads > 1 and batch is not None:
            from .team import Team

            return Team(facts, entry, dict(lengths), batch, ragged, threads, variant.lanes)
        return Slot(facts, entry, dict(lengths), batch)

    def _called(
        self, lengths: Mapping[str, int], batch: int | None, ragged: bool
    ) -> tuple[Variant, Division]:
        """The code of a call, and how threads share it."""
        facts, count = self.facts, 1 if batch is None else batch
        grain = self._grain(count, ragged)
        shared = Division(1, False)
        if facts.threads > 1:
            time = self.microseconds(lengths, batch, ragged)
            shared = division(facts.threads, time, facts.streamed, count, -(-count // grain))
        return Variant(grain, ragged, facts.sum_adjoints, shared.crew), shared

    def _grain(self, count: int, ragged: bool) -> int:
        """How many sequences run side by side."""
        # Half-filled registers still beat one sequence at a time.
        if not self.facts.small or ragged or 2 * count <= self._width:
            return 1
        if count <= self._width:
            return self._width
        return 2 * self._width if self.facts.doubled else self._width

    def microseconds(
        self, lengths: Mapping[str, int], batch: int | None, ragged: bool = False
    ) -> float:
        """About how long a call takes on one core."""
        count = 1 if batch is None else batch
        groups = -(-count // self._grain(count, ragged))
        return microseconds(self.facts.effort, lengths, groups)

    def shapes(
        self, lengths: Mapping[str, int], batch: int | None
    ) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """The shape and dtype of each output of a call."""
        key = (*lengths.items(), batch)
        found = self._shapes.get(key)
        if found is None:
            listed = shapes(self.facts, lengths, batch)
            found = {r.name: listed[k][:2] for k, r in enumerate(self.facts.results)}
            if len(self._shapes) > 64:
                self._shapes.clear()
            self._shapes[key] = found
        return found

    def kinds(self) -> dict[str, np.dtype[Any]]:
        """The dtypes of the results, by name."""
        return result_kinds(self.facts)

    def quick(
        self, arguments: Sequence[tuple[str, str, str, int | None, bool, str]], **request: Any
    ) -> Quick | None:
        """A function in native code for calls that return what is named; None where there is none.

        Args:
            arguments: of each: name; ``"param"``, ``"input"`` or ``"tangent"``; ``"real"``,
                ``"int"``, ``"bool"`` or ``"length"``; a bound of its integers; whether its values
                must be finite; what the program calls it.
            request: what is to be returned, see `unfold.backends.llvm.quick.Request`.
        """

        from .quick import Argument, Quick, Request, possible

        def number(kind: str) -> np.dtype[Any] | None:
            return None if kind == "length" else number_type(self.facts, kind)

        listed = tuple(
            Argument(n, role, number(kind), bound, finite, variable)
            for n, role, kind, bound, finite, variable in arguments
        )
        wanted = Request(listed, **request)
        base = self.facts.record
        return Quick(self, wanted, base) if possible(wanted, base.results) else None

    def update(self, *args: Any, **options: Any) -> Update:
        """This program as the step of an optimiser; see `unfold.backends.llvm.update.Update`."""
        from .update import Update

        return Update(self, *args, **options)

    def workspace(
        self, lengths: Mapping[str, int], batch: int | None, ragged: bool = False
    ) -> dict[str, int]:
        """The bytes of each storage that a call needs beside its arguments and results, if a batch
        is not divided between threads."""
        count = 1 if batch is None else batch
        image = self._entry(self._called(lengths, batch, ragged)[0]).image
        return dict(zip(image.record.work, image.bytes(lengths, count), strict=True))

    def together(self, batch: int | None) -> int:
        """How many sequences of one length have storages at once, in one thread; the next ones
        take their places."""
        count = 1 if batch is None else batch
        return min(self._grain(count, False), count) if self.facts.small else count

    def _entry(self, variant: Variant) -> Entry:
        with self._lock:
            found = self._entries.get(variant)
            if found is None:
                entry = None if self.entry is None else cache.key(self.entry, variant)
                image = cache.remember(entry, lambda: self._compiled(variant))
                found = self._entries[variant] = Entry(image)
            return found

    def _compiled(self, variant: Variant) -> Image:
        from .code import compiled

        image = compiled(self.source, variant)
        return image._replace(whole=loading.joined(image.object_code))

    def ir(self, variant: Variant | None = None) -> str:
        """The LLVM IR of a variant, by default that for a single sequence."""
        from .code import Code

        return Code(self.source, variant or self._single()).text

    def assembly(self) -> str:
        """The machine code for a single sequence as assembly, for this machine."""
        from .code import listing

        return listing(self.source, self._single())

    def _single(self) -> Variant:
        return Variant(1, False, self.facts.sum_adjoints)


def in_falling_order(slot: Slot, given: list[Array], results: list[Array], ragged: Array) -> None:
    """Run a call with its longest sequence first."""
    order = np.argsort(-ragged, kind="stable")
    if (order[1:] > order[:-1]).all():
        slot.run(given, results, ragged)
        return
    inputs = len(slot.entry.image.record.inputs)
    given = [a[order] if k < inputs else a for k, a in enumerate(given)]
    own = [
        a if summed else np.empty_like(a) for a, summed in zip(results, slot.summed, strict=True)
    ]
    slot.run(given, own, ragged[order])
    for to, made in zip(results, own, strict=True):
        if to is not made:
            to[order] = made


class Image(Named):
    """The machine code of one variant, and how it is called.

    Attributes:
        record: the fields of a call.
        storages: the sizes of the record's workspace, in its order.
        falling: whether sequences must come in falling order of their lengths.
        object_code, whole: the code, and what `loading.joined` has made of it.
        prepared: the lengths and parameters on which depends what is not computed again by calls
            of `Entry.again`, if there is such a function.
    """

    record: Record
    storages: tuple[Storage, ...]
    falling: bool
    object_code: loading.ObjectCode
    whole: elf.Joined | None = None
    prepared: frozenset[str] | None = None

    def bytes(self, lengths: Mapping[str, int], batch: int) -> list[int]:
        """The size of each storage in the workspace."""
        return [s.bytes(lengths, batch) for s in self.storages]


class Entry:
    """One variant in memory, and how to pass it a call's arrays."""

    def __init__(self, image: Image) -> None:
        self.image = image
        data_offset()
        self.library = loading.load_object(image.object_code, whole=image.whole)
        address = self.library.address("run")
        self.address = address
        self.run = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)
        r = image.record
        self.given = r.inputs + r.params
        self.names = r.results
        self.pack = struct.Struct(f"{len(self.given) + len(self.names)}q").pack_into

    @cached_property
    def again(self) -> Callable[[int], None]:
        """As ``run``, for a record that it has run on, if what ``image.prepared`` names has not
        changed since then."""
        return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.library.address("again"))
