"""Data for training: sequences of unequal length, checked once, cut into batches.

Four forms are understood, all by the names of the model's inputs:

    {"x": array (B, T, D), "y": array (B,)}               a batch; with `lengths`, a padded one
    {"x": [array (T1, D), array (T2, D)], "y": [0, 1]}    lists, one element for each sequence
    [{"x": array (T1, D), "y": 0}, {"x": …}]              a list of sequences
    {"x": array (T, D), "y": array (T,)}                  one sequence, or one long stream
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..function import Function
from ..inputs import Spec, kind_of, listed, nearest, signature, spec
from ..poly import Poly
from ..program import TIME, Program
from .counted import divides_by_none

Array = NDArray[Any]
#: How many batches are sorted by length at a time.
POOL = 32


@dataclass(frozen=True)
class Sequences:
    """Some sequences of one model.

    Attributes:
        arrays: of each input the arrays of all sequences, without padding.
        steps: the length T of each; ``None`` where the model has no time.
        dims: the entries of each array by axis, as expressions in the lengths.
        other: the other lengths of each sequence, which all of a batch have in common.
    """

    arrays: dict[str, list[Array]]
    steps: NDArray[np.int64] | None
    dims: dict[str, tuple[Poly, ...]]
    other: list[tuple[int, ...]]

    def __len__(self) -> int:
        return len(self.other)

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> Sequences:
        """Some of the sequences."""
        return Sequences(
            {n: [a[i] for i in rows] for n, a in self.arrays.items()},
            None if self.steps is None else self.steps[np.asarray(rows, dtype=np.int64)],
            self.dims,
            [self.other[i] for i in rows],
        )

    @cached_property
    def stacked(self) -> dict[str, Array] | None:
        """All arrays of each input as one, where they have one shape."""
        if any(len({a.shape for a in every}) > 1 for every in self.arrays.values()):
            return None
        return {n: np.stack(every) for n, every in self.arrays.items()}

    def batch(self, rows: Sequence[int] | NDArray[np.int64]) -> Batch:
        """The arrays of some sequences, padded to the longest, and their lengths if they differ."""
        if self.stacked is not None:
            return Batch({n: a[rows] for n, a in self.stacked.items()}, None)
        arrays = {n: padded([every[i] for i in rows]) for n, every in self.arrays.items()}
        own = None if self.steps is None else self.steps[np.asarray(rows, dtype=np.int64)]
        return Batch(arrays, None if own is None or (own == own[0]).all() else own)

    def digests(self) -> dict[str, str]:
        """A digest of the values of each input."""
        found = {}
        for n, every in self.arrays.items():
            digest = hashlib.blake2b(digest_size=12)
            for a in every:
                digest.update(f"{a.dtype}{a.shape}".encode())
                digest.update(np.ascontiguousarray(a).data)
            found[n] = digest.hexdigest()
        return found


@dataclass(frozen=True)
class Batch:
    """The inputs of a call, and the sequences' own lengths if they are padded."""

    inputs: dict[str, Array]
    lengths: NDArray[np.int64] | None

    @property
    def size(self) -> int:
        """How many sequences."""
        return len(next(iter(self.inputs.values())))


def sequences(fn: Function, data: Any, lengths: Any = None, what: str = "data") -> Sequences:
    """The data of a function, in any of the forms above, checked.

    Args:
        lengths: integers of shape (B,), of a padded batch; may stand in a dict of arrays too.
        what: what errors call the data.

    Raises:
        InputError: naming the input, the sequence and the position of what is wrong.
    """
    o = fn.options
    sig = signature(fn.program, fn.declared, fn.compiler.sizes, o.dtype)
    specs = {n: s for n, s in sig.specs.items() if s.role == "input" and not s.noise}
    if not specs:
        raise InputError(
            f"{sig.model} has no inputs, so there are no data to fit: unfold.minimize changes the "
            "parameters of such a model"
        )
    columns, lengths = _columns(specs, data, lengths, what, sig.model)
    count = len(next(iter(columns.values())))
    if count == 0:
        raise InputError(f"{what}: there are no sequences in it")
    arrays = {n: [_checked(specs[n], a, o.dtype, k, count) for k, a in enumerate(c)]
              for n, c in columns.items()}  # fmt: skip
    dims = {n: s.dims for n, s in specs.items()}
    if lengths is not None:
        _cut(specs, arrays, lengths, what)
    for n, every in arrays.items():
        _in_range(specs[n], every, count)
    steps, other = _lengths(specs, arrays, sig.lengths, sig.minimum, count)
    if steps is not None:
        _means_of_some(fn.program, steps, what)
    return Sequences(arrays, steps, dims, other)


def padded(arrays: Sequence[Array]) -> Array:
    """Arrays of one number of axes, with zeros behind the ends of the shorter ones."""
    shapes = [a.shape for a in arrays]
    if len(set(shapes)) == 1:
        return np.stack(arrays)
    result = np.zeros((len(arrays), *np.max(shapes, axis=0)), arrays[0].dtype)
    for k, a in enumerate(arrays):
        index: tuple[Any, ...] = (k, *map(slice, a.shape))
        result[index] = a
    return result


# --- forms ------------------------------------------------------------------------------------


def _columns(
    specs: Mapping[str, Spec], data: Any, lengths: Any, what: str, model: str
) -> tuple[dict[str, list[Any]], Any]:
    """Of each input a list, with an element for each sequence; and the lengths, if given."""
    if isinstance(data, (list, tuple)):
        for k, one in enumerate(data):
            if not isinstance(one, Mapping):
                raise InputError(f"{what}[{k}]: expected a dict of arrays, got {kind_of(one)}")
            _names(specs, one, f"{what}[{k}]", model)
        return {n: [one[n] for one in data] for n in specs}, lengths
    if not isinstance(data, Mapping):
        raise InputError(
            f"{what}: expected a dict of arrays or a list of such dicts, got {kind_of(data)}"
        )
    data = dict(data)
    if "lengths" in data and "lengths" not in specs:
        if lengths is not None:
            raise InputError("lengths are given twice")
        lengths = data.pop("lengths")
    _names(specs, data, what, model)
    found, counts, alone = {}, {}, []
    for n, s in specs.items():
        value, rank = data[n], len(s.dims)
        if isinstance(value, (list, tuple)) and value and np.ndim(value[0]) == rank:
            found[n] = list(value)
        else:
            try:
                array = np.asarray(value)
            except ValueError:
                raise InputError(
                    f"{what}: {_expects(n, s)}; the arrays of the list differ in number of axes"
                ) from None
            if array.ndim == rank:
                found[n] = [array]
                alone.append(n)
                continue
            if array.ndim != rank + 1:
                raise InputError(f"{what}: {_expects(n, s)}; got an array of shape {array.shape}")
            found[n] = list(array)
        counts[n] = len(found[n])
    if alone and counts:
        raise InputError(
            f"{what}: {listed(counts)} {'has' if len(counts) == 1 else 'have'} an axis of sequences"
            f" and {listed(alone)} {'has' if len(alone) == 1 else 'have'} none"
        )
    if len(set(counts.values())) > 1:
        each = ", ".join(f"{n} has {k}" for n, k in counts.items())
        raise InputError(f"{what}: the inputs disagree about the number of sequences: {each}")
    return found, lengths


def _expects(n: str, s: Spec) -> str:
    return f"{n}: expected {s.expected} for one sequence, or one more axis for several"


def check_names(program: Program, given: Mapping[str, Any], what: str = "data") -> None:
    """Raise `InputError` for names that are no inputs of a model whose sizes are not known yet, and
    for inputs that are missing."""
    specs = {v.name: spec(v, v, {}) for v in program.inputs if not v.noise}
    _names(specs, {n: a for n, a in given.items() if n != "lengths"}, what, program.name)


def _names(specs: Mapping[str, Spec], given: Mapping[str, Any], what: str, model: str) -> None:
    missing = [n for n in specs if n not in given]
    for n in given:
        if n not in specs:
            hint = nearest(str(n), missing) or f"; its inputs are {listed(specs)}"
            raise InputError(f"{what}: {model} has no input {n}{hint}")
    if missing:
        lines = "".join(f"\n    {n}: {specs[n].expected}" for n in missing)
        raise InputError(f"{what}: {model} has inputs that are missing:{lines}")


# --- one array --------------------------------------------------------------------------------


def _where(n: str, index: Sequence[int], k: int, count: int) -> str:
    at = f"[{', '.join(map(str, index))}]" if len(index) else ""
    return f"{n}{at}" + (f" of sequence {k}" if count > 1 else "")


def _checked(s: Spec, value: Any, dtype: str, k: int, count: int) -> Array:
    """One sequence's array of one input, of the dtype that is computed with."""
    array = np.asarray(value)
    name = _where(s.name, (), k, count)
    kinds = {"real": "fiu", "int": "iu", "bool": "b"}[s.kind]
    if array.dtype.kind not in kinds and array.size:
        raise InputError(f"{name}: expected {s.expected}, got an array of {array.dtype}")
    fits = array.ndim == len(s.dims) and all(
        d.symbols or d.constant == n for d, n in zip(s.dims, array.shape, strict=True)
    )
    if not fits:
        raise InputError(f"{name}: expected {s.expected}, got an array of shape {array.shape}")
    wanted = {"real": dtype, "int": "int64", "bool": "bool"}[s.kind]
    return np.ascontiguousarray(array, dtype=wanted).reshape(array.shape)


def _in_range(s: Spec, every: list[Array], count: int) -> None:
    for k, array in enumerate(every):
        if s.kind == "real" and not np.isfinite(array).all():
            at = [int(i) for i in np.argwhere(~np.isfinite(array))[0]]
            where = _where(s.name, at, k, count)
            raise InputError(f"{where} is {array[tuple(at)]}: data must be finite numbers")
        if s.kind == "int" and s.bound is not None and array.size:
            wrong = (array < 0) | (array >= s.bound)
            if wrong.any():
                at = [int(i) for i in np.argwhere(wrong)[0]]
                where = _where(s.name, at, k, count)
                raise InputError(
                    f"{where} is {array[tuple(at)]}, but {s.name} is {s.expected}: its values lie "
                    f"in 0..{s.bound - 1}"
                )


# --- lengths ----------------------------------------------------------------------------------


def _cut(
    specs: Mapping[str, Spec], arrays: dict[str, list[Array]], lengths: Any, what: str
) -> None:
    """Cut each sequence of a padded batch to its own length."""
    count = len(next(iter(arrays.values())))
    own = np.asarray(lengths)
    if own.shape != (count,) or own.dtype.kind not in "iu":
        raise InputError(
            f"{what}: lengths: expected an integer for each of the {count} sequences, got an array "
            f"of {own.dtype} of shape {own.shape}"
        )
    timed = [n for n, s in specs.items() if any(TIME in d.symbols for d in s.dims)]
    if not timed:
        raise InputError(f"{what}: lengths count steps, and no input is a sequence")
    for n in timed:
        for k, steps in enumerate(own):
            array = arrays[n][k]
            ends = []
            for d, size in zip(specs[n].dims, array.shape, strict=True):
                slope = d.coefficient(TIME)
                if not slope:
                    ends.append(size)
                    continue
                padded = (size - d.subs({TIME: 0}).offset) // slope
                if not 1 <= steps <= padded:
                    raise InputError(
                        f"{what}: lengths[{k}] is {steps}, but {_where(n, (), k, count)} has "
                        f"{padded} steps"
                    )
                ends.append(size - slope * (padded - int(steps)))
            arrays[n][k] = array[tuple(map(slice, ends))]


def _lengths(
    specs: Mapping[str, Spec],
    arrays: Mapping[str, list[Array]],
    symbols: Sequence[str],
    minimum: Mapping[str, int],
    count: int,
) -> tuple[NDArray[np.int64] | None, list[tuple[int, ...]]]:
    """T of each sequence, and its other lengths."""
    steps, other = [], []
    for k in range(count):
        known: dict[str, int] = {}
        source: dict[str, str] = {}
        for n, s in specs.items():
            for d, size in zip(s.dims, arrays[n][k].shape, strict=True):
                if len(d.symbols) != 1:
                    continue
                (symbol,) = d.symbols
                value, rest = divmod(size - d.offset, d.coefficient(symbol))
                name = _where(n, (), k, count)
                if rest:
                    raise InputError(f"{name}: {d} = {size} has no whole {symbol}")
                if known.setdefault(symbol, value) != value:
                    raise InputError(
                        f"{name} has {symbol} = {value}, but {source[symbol]} has {known[symbol]}"
                    )
                source.setdefault(symbol, n)
        for symbol, value in known.items():
            if value < minimum.get(symbol, 1):
                name = _where(source[symbol], (), k, count)
                raise InputError(
                    f"{name} has {symbol} = {value}, but {symbol} must be at least "
                    f"{minimum.get(symbol, 1)}"
                )
        steps.append(known.get(TIME, 0))
        other.append(tuple(known.get(n, 0) for n in symbols if n != TIME))
    timed = any(TIME in d.symbols for s in specs.values() for d in s.dims)
    return np.asarray(steps, dtype=np.int64) if timed else None, other


def _means_of_some(program: Program, steps: NDArray[np.int64], what: str) -> None:
    """Refuse sequences that are too short for a mean: 0 / 0 would be the loss of all."""
    from ..show import equation_text

    for own in np.unique(steps):
        if (eq := divides_by_none(program, int(own))) is not None:
            k = int(np.flatnonzero(steps == own)[0])
            raise InputError(
                f"{what}: sequence {k} has {steps_of(own)}, too few for this mean, which is one of "
                f"no step then:\n    {equation_text(program, eq)}"
            )


def steps_of(count: int | np.integer[Any]) -> str:
    """A number of steps in words."""
    return f"{count} step{'' if count == 1 else 's'}"


# --- batches ----------------------------------------------------------------------------------


def batches(data: Sequences, size: int, seed: int | None, epoch: int = 0) -> list[list[int]]:
    """The rows of the batches of one epoch.

    Sequences are put in an order of chance, which the seed and the epoch fix; of every `POOL`
    batches those of like length come together, so that little is padded; then the batches are put
    in an order of chance. Without a seed they come sorted by length.
    """
    rng = None if seed is None else np.random.default_rng([seed, epoch])
    rows = np.arange(len(data)) if rng is None else rng.permutation(len(data))
    steps = np.zeros(len(data), np.int64) if data.steps is None else data.steps
    found = []
    for part in _parts(data.other, rows):
        pool = len(part) if rng is None else size * POOL
        for start in range(0, len(part), pool):
            some = part[start : start + pool]
            some = some[np.argsort(steps[some], kind="stable")]
            found += [some[k : k + size].tolist() for k in range(0, len(some), size)]
    if rng is not None:
        found = [found[k] for k in rng.permutation(len(found))]
    return found


def _parts(
    other: Sequence[tuple[int, ...]], rows: NDArray[np.int64]
) -> Iterator[NDArray[np.int64]]:
    """The rows apart by what all sequences of a batch have in common."""
    kinds = set(other)
    if len(kinds) <= 1:
        yield rows
        return
    for kind in sorted(kinds):
        yield rows[[other[i] == kind for i in rows]]


def held_out(
    data: Sequences, share: float | int, seed: int, program: Program
) -> tuple[Sequences, Sequences]:
    """The data to train on, and those to validate on: a share of the sequences, or so many, drawn
    by the seed; of one single sequence its end. Raises `InputError`."""
    count = len(data)
    whole = isinstance(share, int)
    if isinstance(share, bool) or share <= 0 or (not whole and share >= 1):
        raise InputError(
            f"validation is a share of the data between 0 and 1, a number of sequences, or data of "
            f"its own, not {share!r}"
        )
    if count == 1 and not whole:
        return _ends(data, float(share), program)
    chosen = int(share) if whole else max(1, round(float(share) * count))
    if chosen >= count:
        raise InputError(
            f"validation={share!r} would take {chosen} of the {count} "
            f"sequence{'s' if count > 1 else ''} there are, and leave none to train on"
        )
    order = np.random.default_rng([seed, 0x76616C]).permutation(count)
    return data.take(np.sort(order[chosen:])), data.take(np.sort(order[:chosen]))


def _ends(data: Sequences, share: float, program: Program) -> tuple[Sequences, Sequences]:
    steps = 0 if data.steps is None else int(data.steps[0])
    border = steps - max(1, round(share * steps))
    if border < program.minimum.get(TIME, 1) or steps - border < program.minimum.get(TIME, 1):
        raise InputError(f"validation={share!r} of one sequence of {steps} steps leaves too few")
    parts = window(data, 0, 0, border), window(data, 0, border, steps - border)
    for part, what in zip(parts, ("data", f"validation={share!r}"), strict=True):
        assert part.steps is not None
        _means_of_some(program, part.steps, what)
    return parts


def window(data: Sequences, row: int, start: int, steps: int) -> Sequences:
    """One part of one sequence, as a sequence of its own."""
    arrays = {}
    for n, dims in data.dims.items():
        array = data.arrays[n][row]
        cuts = []
        for d, size in zip(dims, array.shape, strict=True):
            slope = d.coefficient(TIME)
            extra = d.subs({TIME: 0}).offset if slope else 0
            cuts.append(
                slice(slope * start, slope * (start + steps) + extra) if slope else slice(size)
            )
        arrays[n] = [array[tuple(cuts)]]
    return Sequences(arrays, np.array([steps]), data.dims, [data.other[row]])


__all__ = ["Batch", "Sequences", "batches", "check_names", "held_out", "sequences", "steps_of",
           "window"]  # fmt: skip
