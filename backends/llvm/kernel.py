"""Compiled programs as Python callables: records, workspaces, code for each kind of call."""

from __future__ import annotations

import ctypes
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unfold import cache
from unfold.plan import Plan, plan, split

from . import jit, lanes, solving, tiles
from .elementwise import Formats
from .lanes import Variant
from .record import Record, data_offset, extents, numbers, record
from .tiles.storage import Layout

Array = NDArray[Any]

#: Work buffers start at multiples of this.
_ALIGN = 64
#: When idle workspaces hold more bytes than this, they are given back.
_KEPT = 2**28


@dataclass(frozen=True)
class Source:
    """What a kernel is made from, and how.

    Attributes:
        plan: the plan; with matrix products hoisted unless ``small``.
        small: whether every component becomes a value of its own (`unfold.backends.llvm.lanes`)
            or stays in memory (`unfold.backends.llvm.tiles`).
        dtype: ``"float64"`` or ``"float32"``.
        threads: how many threads a call may use.
        sum_adjoints: whether adjoints of parameters are summed over the batch.
    """

    plan: Plan
    small: bool
    dtype: str
    threads: int
    sum_adjoints: bool

    @property
    def formats(self) -> Formats:
        """The machine's number formats."""
        return Formats("double" if self.dtype == "float64" else "float")


class Kernel:
    """A program in native code.

    Calling it takes arrays by name, lengths, the batch (``None`` for a single sequence) and each
    sequence's own length T (or ``None``); it returns the outputs by name. It may be called from
    several threads at once, and pickled; code for a kind of call is made when it first comes,
    unless the cache holds it beside ``entry``.
    """

    def __init__(self, source: Source, entry: str | None = None) -> None:
        self.source = source
        self.entry = entry
        self._lock = threading.Lock()
        self._entries: dict[Variant, Entry] = {}
        self._pool: dict[tuple[Any, ...], list[_Slot]] = {}
        self._width = jit.host().lanes(source.dtype)

    def __reduce__(self) -> tuple[Any, ...]:
        return Kernel, (self.source, self.entry)

    def __call__(
        self,
        arrays: Mapping[str, Array],
        lengths: Mapping[str, int],
        batch: int | None = None,
        ragged: Array | None = None,
    ) -> dict[str, Array]:
        """Compute the outputs.

        Args:
            arrays: every input and parameter: C-contiguous, of the kernel's dtype, int64 or bool;
                inputs have a leading batch axis if ``batch`` is not None.
            lengths: the value of every length.
            batch: the number of sequences.
            ragged: int64, each sequence's own T.

        Raises:
            SolverError: an implicit equation has no solution.
        """
        key = (*lengths.items(), batch, ragged is None)
        idle = self._pool.get(key)
        try:
            slot = idle.pop()  # type: ignore[union-attr]
        except (AttributeError, IndexError):
            slot = self._slot(key, lengths, batch, ragged is not None)
        results = [np.empty(shape, kind) for shape, kind in slot.shapes]
        entry = slot.entry
        given = [arrays[n] for n in entry.given]
        entry.pack(slot.block, slot.offset, *map(id, given), *map(id, results))
        if ragged is not None:
            slot.fields[slot.ragged] = ragged.ctypes.data
        if slot.noted is not None:
            solving.clear(slot.noted)
        entry.run(slot.address)
        if slot.noted is not None:
            made, dtype = entry.code.plan, self.source.dtype
            solving.raise_first(slot.noted, made, lengths, batch, ragged, dtype)
        idle = self._pool.get(key)
        if idle is not None:
            idle.append(slot)
        return dict(zip(entry.names, results, strict=True))

    def _slot(
        self, key: tuple[Any, ...], lengths: Mapping[str, int], batch: int | None, ragged: bool
    ) -> _Slot:
        count = 1 if batch is None else batch
        # Half-filled registers still beat one sequence at a time.
        beside = self.source.small and not ragged and 2 * count > self._width
        entry = self._entry(Variant(self._width if beside else 1, ragged, self.source.sum_adjoints))
        slot = _Slot(self.source, entry, dict(lengths), batch)
        waiting = sum(s.memory.nbytes for idle in list(self._pool.values()) for s in list(idle))
        if len(self._pool) > 64 or waiting > _KEPT:
            self._pool.clear()
        self._pool.setdefault(key, [])
        return slot

    def _entry(self, variant: Variant) -> Entry:
        with self._lock:
            found = self._entries.get(variant)
            if found is None:
                known = {"source": self.source, "plan": self.source.plan}
                entry = None if self.entry is None else cache.key(self.entry, variant)
                image = cache.remember(entry, lambda: compiled(self.source, variant), known)
                found = self._entries[variant] = Entry(image)
            return found

    def ir(self, variant: Variant | None = None) -> str:
        """The LLVM IR of a variant, by default that for a single sequence."""
        wanted = variant or Variant(1, False, self.source.sum_adjoints)
        return Code(self.source, wanted).text


class Code:
    """The IR of one variant, and how large its storages are for a call."""

    def __init__(self, source: Source, variant: Variant) -> None:
        self.source = source
        self.variant = variant
        self.layout: Layout | None = None
        self.plan = source.plan
        if variant.ragged:
            self.plan = split(plan(source.plan.program, own="T"))
        if source.small:
            self.record: Record = record(self.plan, variant.lanes)
            self.text = lanes.generate(self.plan, source.formats, variant)
        else:
            width = jit.host().lanes(source.dtype)
            made = tiles.generate(
                self.plan, source.formats, width, variant.ragged, variant.sum_adjoints
            )
            self.text, self.layout = made.text, made.layout
            self.record = made.layout.record

    def bytes(self, lengths: dict[str, int], batch: int) -> list[int]:
        """The size of each storage in the workspace."""
        formats = self.source.formats
        if self.layout is not None:
            found = self.layout.bytes(formats, lengths, 1 if self.variant.ragged else batch)
            if solving.FIELD in self.record.work:
                at = self.record.work.index(solving.FIELD)
                found[at] = solving.words(self.plan, batch, 1)
            return found
        found = []
        for n in self.record.work:
            if n == solving.FIELD:
                found.append(solving.words(self.plan, batch, self.variant.lanes))
                continue
            b = self.plan.buffers[n]
            width = 1 if b.shared else self.variant.lanes
            found.append(numbers(b, lengths) * width * formats.bytes(b.type.kind))
        return found


@dataclass(frozen=True)
class Image:
    """The machine code of one variant, and what it was made from, without the text."""

    code: Code
    object_code: bytes


def compiled(source: Source, variant: Variant) -> Image:
    """The machine code of one variant for this machine."""
    code = Code(source, variant)
    object_code = jit.object_code(code.text, optimise=source.small)
    code.text = ""
    return Image(code, object_code)


class Entry:
    """One variant in memory, and how to pass it a call's arrays."""

    def __init__(self, image: Image) -> None:
        self.code = image.code
        data_offset()
        self.library = jit.load_object(image.object_code)
        address = self.library.address("run")
        self.run = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)
        r = self.code.record
        self.given = r.inputs + r.params
        self.names = r.results
        self.pack = struct.Struct(f"{len(self.given) + len(self.names)}q").pack_into


class _Slot:
    """A record and a workspace for calls of one size; used by one call at a time."""

    def __init__(
        self, source: Source, entry: Entry, lengths: dict[str, int], batch: int | None
    ) -> None:
        self.entry = entry
        r, made = entry.code.record, entry.code.plan
        names = r.names()
        self.fields = (ctypes.c_int64 * len(names))()
        self.address = ctypes.addressof(self.fields)
        self.block = memoryview(self.fields).cast("B")
        first = len(r.lengths) + 2
        self.offset = 8 * first
        self.ragged = first - 1
        for k, n in enumerate(r.lengths):
            self.fields[k] = lengths[n]
        count = 1 if batch is None else batch
        self.fields[first - 2] = count
        starts, total = [], 0
        for size in entry.code.bytes(lengths, count):
            starts.append(total)
            total += size + -size % _ALIGN
        self.memory = np.empty(total + _ALIGN, np.uint8)
        base = self.memory.ctypes.data
        base += -base % _ALIGN
        for k, start in enumerate(starts):
            self.fields[len(names) - len(starts) + k] = base + start
        #: Which elements were not found, if anything is solved.
        self.noted: NDArray[np.int64] | None = None
        if solving.FIELD in r.work:
            at = base - self.memory.ctypes.data + starts[r.work.index(solving.FIELD)]
            size = solving.words(made, count, entry.code.variant.lanes)
            self.noted = self.memory[at : at + size].view(np.int64)
        kinds = {"real": source.dtype, "int": "int64", "bool": "bool"}
        self.shapes: list[tuple[tuple[int, ...], Any]] = []
        for result in made.results:
            b = made.buffers[result.name]
            shape = (*extents(result.ranges, lengths), *b.shape)
            if batch is not None and not (result.of_param and source.sum_adjoints):
                shape = (batch, *shape)
            self.shapes.append((shape, np.dtype(kinds[b.type.kind])))
