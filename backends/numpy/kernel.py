"""Calls: the sequences of a batch one after the other, each over its own length."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from unfold.errors import SolverError
from unfold.graph import output_ranges, unfold
from unfold.implicit import tolerance
from unfold.program import Program, Var

from .tape import Failure, Tape
from .values import Array, number, storage

#: How many unfolded graphs a kernel keeps, one for each combination of lengths.
_KEPT = 16


class Kernel:
    """A program ready to be called."""

    def __init__(self, program: Program, dtype: str, sum_adjoints: bool) -> None:
        self.program = program
        self.dtype = dtype
        self.sum_adjoints = sum_adjoints
        self._tapes: OrderedDict[tuple[tuple[str, int], ...], Tape] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_tapes": OrderedDict()}

    def tape(self, lengths: Mapping[str, int]) -> Tape:
        """The steps for given lengths, unfolded at the first call with them."""
        key = tuple(sorted(lengths.items()))
        tape = self._tapes.get(key)
        if tape is None:
            tape = Tape(unfold(self.program, lengths), self.dtype)
            self._tapes[key] = tape
            while len(self._tapes) > _KEPT:
                self._tapes.popitem(last=False)
        return tape

    def __call__(
        self,
        arrays: Mapping[str, Array],
        lengths: Mapping[str, int],
        batch: int | None = None,
        ragged: Array | None = None,
        into: Mapping[str, Array] | None = None,
    ) -> dict[str, Array]:
        """Compute the outputs and losses.

        Args:
            arrays: every input and parameter, of shape (axes…, components…); with a batch, inputs
                have one leading axis more. Not checked here.
            lengths: a number for each length; with ``ragged`` the longest ``T``.
            batch: the number of sequences, or ``None`` for one sequence without a batch axis.
            ragged: integers of shape (batch,), each sequence's own ``T``.
            into: arrays that outputs are written to as well, also where an element was not found
                (it is NaN then).

        Returns arrays of shape (axes…, components…), with a batch in front if there is one. Beyond
        the end of a short sequence they repeat its last value, adjoints are zero. With
        ``sum_adjoints``, adjoints of parameters are summed over the batch. Raises `SolverError`.
        """
        if batch is None:
            found, error = self._sequence(arrays, lengths, lengths, None)
            return self._delivered(found, error, into)
        error = None
        inputs = [v.name for v in self.program.inputs]
        rows: list[dict[str, Array]] = []
        for b in range(batch):
            own = dict(lengths) if ragged is None else {**lengths, "T": int(ragged[b])}
            sequence = dict(arrays) | {name: arrays[name][b] for name in inputs}
            row, failed = self._sequence(sequence, own, lengths, b)
            error = error or failed
            if error is not None and into is None:
                raise error
            rows.append(row)
        found = {
            name: self._gather(name, [row[name] for row in rows], lengths) for name in self._names
        }
        return self._delivered(found, error, into)

    def series(self, changing: Collection[str]) -> Series:
        """A context in which calls follow each other that differ in inputs, and in the lengths and
        parameters ``changing``: here nothing is prepared, so that they are calls as any others."""
        return Series(self)

    def _delivered(
        self,
        found: dict[str, Array],
        error: SolverError | None,
        into: Mapping[str, Array] | None,
    ) -> dict[str, Array]:
        for name, array in (into or {}).items():
            array[...] = found[name]
        if error is not None:
            raise error
        return found

    def workspace(
        self, lengths: Mapping[str, int], batch: int | None, ragged: bool = False
    ) -> dict[str, int]:
        """The bytes of each variable over one sequence: the next one takes their place. (What is
        computed on the way to them, and the graph itself, is not counted.)"""
        found = {}
        for v in self.program.vars.values():
            if v.role == "variable":
                extents = [max((a.hi - a.lo + 1).evaluate(lengths), 0) for a in v.axes]
                numbers = prod((*extents, *number(v.shape)))
                found[v.name] = numbers * np.dtype(storage(v.type, self.dtype)).itemsize
        return found

    def together(self, batch: int | None) -> int:
        """How many sequences of one length have storages at once: one."""
        return 1

    @property
    def _names(self) -> list[str]:
        names = [out.name for out in self.program.outputs]
        return names + [name for name in self.program.losses if name not in names]

    def _sequence(
        self,
        arrays: Mapping[str, Array],
        own: Mapping[str, int],
        longest: Mapping[str, int],
        number: int | None,
    ) -> tuple[dict[str, Array], SolverError | None]:
        """The outputs of one sequence of lengths ``own``, padded to the ``longest``; and what was
        not found."""
        tape = self.tape(own)
        cells, failures = tape.run(arrays)
        error = self._failed(failures, number) if failures else None
        return {n: self._padded(n, of, own, longest) for n, of in cells.items()}, error

    def _failed(self, failures: Sequence[Failure], sequence: int | None) -> SolverError:
        """The error about the first of the failures that is no consequence of another one: what is
        not a number from the first step on was given something that was none."""
        place = {id(eq): k for k, eq in enumerate(self.program.equations)}

        def rank(f: Failure) -> tuple[bool, int, tuple[int, ...]]:
            from_the_start = f.steps == 1 and not np.isfinite(f.residual)
            return from_the_start, place[id(f.node.equation)], f.node.index

        first = min(failures, key=rank)
        solver = first.node.attr("solver")
        return SolverError(
            first.node.var, first.node.index, sequence, first.residual, first.steps,
            solver.method, tolerance(solver, float(np.finfo(self.dtype).eps)),
        )  # fmt: skip

    def _padded(
        self, name: str, cells: list[Array], own: Mapping[str, int], longest: Mapping[str, int]
    ) -> Array:
        v = self.program.vars[name]
        have, want = self._extent(name, own), self._extent(name, longest)
        shape = number(v.shape)
        result = np.empty((len(cells), *shape), dtype=storage(v.type, self.dtype))
        for k, cell in enumerate(cells):
            result[k] = cell
        result = result.reshape((*have, *shape))
        if have == want:
            return result
        if 0 in have or self._is_adjoint(v):
            padded = np.zeros((*want, *shape), dtype=result.dtype)
            padded[tuple(slice(n) for n in have)] = result
            return padded
        width = [(0, w - h) for h, w in zip(have, want, strict=True)]
        return np.pad(result, width + [(0, 0)] * len(shape), mode="edge")

    def _extent(self, name: str, lengths: Mapping[str, int]) -> tuple[int, ...]:
        """How many elements of an output there are along each axis."""
        return tuple(len(r) for r in output_ranges(self.program, lengths, name))

    def _gather(self, name: str, rows: list[Array], lengths: Mapping[str, int]) -> Array:
        v = self.program.vars[name]
        kind = storage(v.type, self.dtype)
        shape = (*self._extent(name, lengths), *number(v.shape))
        if self.sum_adjoints and self._is_summed(v):
            total = np.zeros(shape, dtype=kind)
            for row in rows:
                total += row
            return total
        return np.stack(rows) if rows else np.empty((0, *shape), dtype=kind)

    def _is_adjoint(self, v: Var) -> bool:
        """Whether a variable is an adjoint, or the tangent of one."""
        while v.tangent_of is not None:
            v = self.program.vars[v.tangent_of]
        return v.adjoint_of is not None

    def _is_summed(self, v: Var) -> bool:
        """Whether a result is an adjoint of a parameter, or else to be added up over a batch."""
        of = self.program.vars.get(v.adjoint_of or "")
        return v.summed or (of is not None and of.role == "param")


@dataclass(frozen=True)
class Series:
    """Calls of a kernel that follow each other."""

    kernel: Kernel

    def __enter__(self) -> Series:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing was taken."""

    def __call__(
        self,
        arrays: Mapping[str, Array],
        lengths: Mapping[str, int],
        batch: int | None,
        into: Mapping[str, Array],
    ) -> dict[str, Array]:
        """Compute the outputs; none is written to ``into``, which is but an offer."""
        return self.kernel(arrays, lengths, batch)
