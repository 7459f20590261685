"""Compiled programs as Python callables: records, workspaces, one variant of code per kind of call."""

from __future__ import annotations

import ctypes
import struct
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unfold.plan import Plan

from . import jit, lanes
from .elementwise import Formats
from .lanes import Variant
from .record import Record, data_offset, extents, numbers, record

Array = NDArray[Any]

#: Work buffers start at multiples of this.
_ALIGN = 64


class Kernel:
    """A program in native code.

    Calling it takes arrays by name, lengths, the batch (``None`` for a single sequence) and each
    sequence's own length T (or ``None``); it returns the outputs by name. It may be called from
    several threads at once, and pickled; code for a kind of call is made when it first comes.
    """

    def __init__(self, plan: Plan, dtype: str, threads: int, sum_adjoints: bool) -> None:
        self.plan = plan
        self.dtype = dtype
        self.threads = threads
        self.sum_adjoints = sum_adjoints
        self._start()

    def _start(self) -> None:
        self._formats = Formats("double" if self.dtype == "float64" else "float")
        self._lock = threading.Lock()
        self._entries: dict[Variant, _Entry] = {}
        self._pool: dict[tuple[Any, ...], list[_Slot]] = {}
        self._width = jit.host().lanes(self.dtype)
        data_offset()
        self._entry(Variant(1, False, self.sum_adjoints))

    def __getstate__(self) -> dict[str, Any]:
        return {k: getattr(self, k) for k in ("plan", "dtype", "threads", "sum_adjoints")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

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
        entry.run(slot.address)
        self._pool[key].append(slot)
        return dict(zip(entry.names, results, strict=True))

    def _slot(
        self, key: tuple[Any, ...], lengths: Mapping[str, int], batch: int | None, ragged: bool
    ) -> _Slot:
        count = 1 if batch is None else batch
        # Half-filled registers still beat one sequence at a time.
        side_by_side = self._width if 2 * count > self._width and not ragged else 1
        entry = self._entry(Variant(side_by_side, ragged, self.sum_adjoints))
        if len(self._pool) > 64:
            self._pool.clear()
        self._pool.setdefault(key, [])
        return _Slot(self, entry, dict(lengths), batch)

    def _entry(self, variant: Variant) -> _Entry:
        with self._lock:
            found = self._entries.get(variant)
            if found is None:
                found = self._entries[variant] = _Entry(self.plan, self._formats, variant)
            return found

    def ir(self, variant: Variant | None = None) -> str:
        """The LLVM IR of a variant, by default that for a single sequence."""
        wanted = variant or Variant(1, False, self.sum_adjoints)
        return lanes.generate(self.plan, self._formats, wanted)


class _Entry:
    """The code for one variant and how to pass it a call's arrays."""

    def __init__(self, plan: Plan, formats: Formats, variant: Variant) -> None:
        self.variant = variant
        self.record: Record = record(plan, variant.lanes)
        self.library = jit.compile_ir(lanes.generate(plan, formats, variant), optimise=True)
        address = self.library.address("run")
        self.run = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)
        self.given = self.record.inputs + self.record.params
        self.names = self.record.results
        self.pack = struct.Struct(f"{len(self.given) + len(self.names)}q").pack_into


class _Slot:
    """A record and a workspace for calls of one size; used by one call at a time."""

    def __init__(
        self, kernel: Kernel, entry: _Entry, lengths: dict[str, int], batch: int | None
    ) -> None:
        self.entry = entry
        r, plan, formats = entry.record, kernel.plan, kernel._formats
        names = r.names()
        self.fields = (ctypes.c_int64 * len(names))()
        self.address = ctypes.addressof(self.fields)
        self.block = memoryview(self.fields).cast("B")
        first = len(r.lengths) + 2
        self.offset = 8 * first
        self.ragged = first - 1
        for k, n in enumerate(r.lengths):
            self.fields[k] = lengths[n]
        self.fields[first - 2] = 1 if batch is None else batch
        total, starts = 0, []
        for n in r.work:
            b = plan.buffers[n]
            width = 1 if b.shared else entry.variant.lanes
            starts.append(total)
            total += numbers(b, lengths) * width * formats.bytes(b.type.kind)
            total += -total % _ALIGN
        self.memory = np.empty(total + _ALIGN, np.uint8)
        base = self.memory.ctypes.data
        base += -base % _ALIGN
        for k, start in enumerate(starts):
            self.fields[r.field("work", r.work[k])] = base + start
        self.shapes: list[tuple[tuple[int, ...], Any]] = []
        for result in plan.results:
            b = plan.buffers[result.name]
            shape = (*extents(result.ranges, lengths), *b.shape)
            summed = result.of_param and kernel.sum_adjoints
            if batch is not None and not summed:
                shape = (batch, *shape)
            kinds = {"real": kernel.dtype, "int": "int64", "bool": "bool"}
            self.shapes.append((shape, np.dtype(kinds[b.type.kind])))
