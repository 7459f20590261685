"""Compiled programs as Python callables: records, workspaces, code for each kind of call."""

from __future__ import annotations

import ctypes
import struct
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unfold import cache
from unfold.plan import Plan

from . import jit, lanes, solving, tiles
from .choose import arranged, is_light
from .effort import microseconds
from .elementwise import Formats
from .lanes import Variant
from .quick import Argument, Quick, Request, possible
from .record import Record, data_offset, numbers, record, sizing
from .slots import Slot, number_type, result_kinds, shapes
from .team import Team
from .tiles.storage import Layout
from .update import Update

Array = NDArray[Any]

#: How many microseconds of work a thread should have.
_WORTHWHILE = 50.0
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
        self._pool: dict[tuple[Any, ...], list[Slot | Team]] = {}
        self._shapes: dict[tuple[Any, ...], dict[str, tuple[tuple[int, ...], np.dtype[Any]]]] = {}
        self._width = jit.host().lanes(source.dtype)
        self._light: bool | None = None
        self._sizing = sizing(source.plan)
        known = enumerate(source.plan.lengths)
        self._other = [(k, n) for k, n in known if n not in self._sizing]

    def __reduce__(self) -> tuple[Any, ...]:
        return Kernel, (self.source, self.entry)

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
        if ragged is not None and entry.code.falling:
            in_falling_order(slot, given, results, ragged)
        else:
            slot.run(given, results, ragged)
        idle = self._pool.get(key)
        if idle is not None:
            idle.append(slot)
        return dict(zip(entry.names, results, strict=True))

    def _slot(
        self, key: tuple[Any, ...], lengths: Mapping[str, int], batch: int | None, ragged: bool
    ) -> Slot | Team:
        slot = self.new_slot(lengths, batch, ragged)
        waiting = sum(s.nbytes for idle in list(self._pool.values()) for s in list(idle))
        if len(self._pool) > 64 or waiting > _KEPT:
            self._pool.clear()
        self._pool.setdefault(key, [])
        return slot

    def new_slot(
        self, lengths: Mapping[str, int], batch: int | None, ragged: bool = False
    ) -> Slot | Team:
        """What calls of a size need."""
        source = self.source
        count = 1 if batch is None else batch
        grain = self._grain(count, ragged)
        entry = self._entry(Variant(grain, ragged, source.sum_adjoints))
        groups = -(-count // grain)
        if source.threads > 1 and groups > 1:
            parts = int(self.microseconds(lengths, batch, ragged) / _WORTHWHILE)
            parts = min(source.threads, groups, parts)
            if parts > 1:
                return Team(source, entry, dict(lengths), count, ragged, parts, grain)
        return Slot(source, entry, dict(lengths), batch)

    def _grain(self, count: int, ragged: bool) -> int:
        """How many sequences run side by side."""
        # Half-filled registers still beat one sequence at a time.
        if not self.source.small or ragged or 2 * count <= self._width:
            return 1
        if count <= self._width:
            return self._width
        if self._light is None:
            self._light = is_light(self.source.plan.program)
        return 2 * self._width if self._light else self._width

    def microseconds(
        self, lengths: Mapping[str, int], batch: int | None, ragged: bool = False
    ) -> float:
        """About how long a call takes on one core."""
        count = 1 if batch is None else batch
        groups = -(-count // self._grain(count, ragged))
        lanes = None if self.source.small else self._width
        return microseconds(self.source.plan, lengths, groups, lanes)

    def shapes(
        self, lengths: Mapping[str, int], batch: int | None
    ) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """The shape and dtype of each output of a call."""
        key = (*lengths.items(), batch)
        found = self._shapes.get(key)
        if found is None:
            made = self.source.plan
            listed = shapes(self.source, made, dict(lengths), batch)
            found = {r.name: listed[k][:2] for k, r in enumerate(made.results)}
            if len(self._shapes) > 64:
                self._shapes.clear()
            self._shapes[key] = found
        return found

    def kinds(self) -> dict[str, np.dtype[Any]]:
        """The dtypes of the results, by name."""
        return result_kinds(self.source)

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

        def number(kind: str) -> np.dtype[Any] | None:
            return None if kind == "length" else number_type(self.source, kind)

        listed = tuple(
            Argument(n, role, number(kind), bound, finite, variable)
            for n, role, kind, bound, finite, variable in arguments
        )
        wanted = Request(listed, **request)
        base = record(self.source.plan, 1)
        return Quick(self, wanted, base) if possible(wanted, base.results) else None

    def update(self, *args: Any, **options: Any) -> Update:
        """This program as the step of an optimiser; see `unfold.backends.llvm.update.Update`."""
        return Update(self, *args, **options)

    def workspace(
        self, lengths: Mapping[str, int], batch: int | None, ragged: bool = False
    ) -> dict[str, int]:
        """The bytes of each storage that a call in one thread needs beside its arguments and
        results."""
        count = 1 if batch is None else batch
        variant = Variant(self._grain(count, ragged), ragged, self.source.sum_adjoints)
        code = self._entry(variant).code
        sizes = code.bytes(dict(lengths), count)
        return dict(zip(code.record.work, sizes, strict=True))

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


def in_falling_order(
    slot: Slot | Team, given: list[Array], results: list[Array], ragged: Array
) -> None:
    """Run a call with its longest sequence first."""
    order = np.argsort(-ragged, kind="stable")
    if (order[1:] > order[:-1]).all():
        slot.run(given, results, ragged)
        return
    inputs = len(slot.entry.code.record.inputs)
    given = [a[order] if k < inputs else a for k, a in enumerate(given)]
    own = [
        a if summed else np.empty_like(a) for a, summed in zip(results, slot.summed, strict=True)
    ]
    slot.run(given, own, ragged[order])
    for to, made in zip(results, own, strict=True):
        if to is not made:
            to[order] = made


class Code:
    """The IR of one variant, and how large its storages are for a call."""

    def __init__(self, source: Source, variant: Variant) -> None:
        self.source = source
        self.variant = variant
        self.layout: Layout | None = None
        self.alone = variant.ragged
        self.falling = False
        self.plan = source.plan
        if variant.ragged:
            self.plan = arranged(source.plan.program, source.small, own="T")
        if source.small:
            self.record: Record = record(self.plan, variant.lanes)
            self.text = lanes.generate(self.plan, source.formats, variant)
        else:
            width = jit.host().lanes(source.dtype)
            made = tiles.generate(
                self.plan, source.formats, width, variant.ragged, variant.sum_adjoints
            )
            self.text, self.layout = made.text, made.layout
            self.alone, self.falling = made.alone, made.falling
            self.record = made.layout.record

    def bytes(self, lengths: dict[str, int], batch: int) -> list[int]:
        """The size of each storage in the workspace."""
        formats = self.source.formats
        if self.layout is not None:
            found = self.layout.bytes(formats, lengths, 1 if self.alone else batch)
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
        self.address = address
        self.run = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)
        r = self.code.record
        self.given = r.inputs + r.params
        self.names = r.results
        self.pack = struct.Struct(f"{len(self.given) + len(self.names)}q").pack_into
