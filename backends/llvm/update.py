"""One step of an optimiser in native code, on buffers that stay where they are.

An optimiser is a recurrence over the steps of training, so its step is a kernel like any other (see
`unfold.train`). What is done around it is here: the gradient's norm is taken and found finite, the
gradient is clipped, the step's rate is read from a table, and the new states take the place of the
old ones: the weights by a copy, for others look at them, the rest by an exchange of two addresses.

The norm is not a `sum` of the `.rec` model: that adds one number after the other, in the format of
the model, where the square of a float32 gradient soon leaves its range.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import loading
from .slots import Slot

if TYPE_CHECKING:
    from .kernel import Kernel

Array = NDArray[Any]

#: The words of the table.
WORDS = (
    "advance", "busy", "gradient", "entries", "single", "clip_norm", "clip_value", "norm", "run",
    "record", "rates", "rate_count", "position", "rate", "clock", "steps", "moves", "move_count",
    "pairs", "pair_count", "long", "stride",
)  # fmt: skip
#: What a step answers: it is done; the gradient is not finite; its rate is not known.
DONE, NOT_FINITE, NO_RATE = 0, 1, 2
#: More steps than anybody makes.
_ALL = 2**62
#: With more entries than this, a step lets other threads of Python run meanwhile.
_LONG = 10_000
_KINDS = {
    "float": {"size": "4", "narrow": "fptrunc",
              "widen8": "fpext <8 x float> %new to <8 x double>",
              "widen1": "fpext float %s.new to double"},
    "double": {"size": "8", "narrow": "bitcast",
               "widen8": "bitcast <8 x double> %new to <8 x double>",
               "widen1": "bitcast double %s.new to double"},
}  # fmt: skip


class Update:
    """The step of an optimiser on fixed buffers; not to be run by two threads at once.

    Args:
        kernel: the optimiser's step.
        lengths: its lengths.
        arrays, results: what it reads and writes, by name.
        gradient: one of ``arrays``, flat.
        rate, clock: arrays of one number that are set before each step: its rate, and how many
            steps were made before it.
        pairs: names of an array and a result that change places after a step.
        moves: arrays (to, from) that are copied after a step, in order.
        clip_norm, clip_value: bounds of the gradient's norm and entries, or infinity.

    Attributes:
        table: its address is what native code takes; see `WORDS`.
    """

    def __init__(
        self,
        kernel: Kernel,
        lengths: dict[str, int],
        arrays: Mapping[str, Array],
        results: Mapping[str, Array],
        gradient: Array,
        rate: Array,
        clock: Array,
        pairs: Sequence[tuple[str, str]],
        moves: Sequence[tuple[Array, Array]],
        clip_norm: float,
        clip_value: float,
    ) -> None:
        slot = kernel.new_slot(lengths, None)
        assert isinstance(slot, Slot)  # one sequence is in one thread
        entry = slot.entry
        given = [arrays[n] for n in entry.given]
        written = [results[n] for n in entry.names]
        slot.hand(given, written)
        self._reads = [slot.objects + entry.given.index(a) for a, _ in pairs]
        written_at = slot.objects + len(entry.given)
        fields = [
            (read, written_at + entry.names.index(b))
            for read, (_, b) in zip(self._reads, pairs, strict=True)
        ]
        self._pairs = np.array(fields, np.int64).reshape(-1, 2)
        self._moves = np.array(
            [(to.ctypes.data, at.ctypes.data, to.nbytes) for to, at in moves], np.int64
        ).reshape(-1, 3)
        self._slot = slot
        self._known = {id(a): a for a in (*given, *written)}
        self._kept = (kernel, gradient, rate, clock, moves)
        library = _library()
        self.table = np.zeros(len(WORDS), np.int64)
        words = {
            "advance": library.address("advance"), "gradient": gradient.ctypes.data,
            "entries": gradient.size, "single": gradient.itemsize == 4,
            "run": entry.address, "record": slot.address, "rate": rate.ctypes.data,
            "clock": clock.ctypes.data, "moves": self._moves.ctypes.data,
            "move_count": len(self._moves), "pairs": self._pairs.ctypes.data,
            "pair_count": len(self._pairs), "long": gradient.size > _LONG,
        }  # fmt: skip
        for name, value in words.items():
            self.table[WORDS.index(name)] = value
        self._number("clip_norm", clip_norm)
        self._number("clip_value", clip_value)
        self._run = _function(library)
        self.supply([])

    def __call__(self, share: float) -> int:
        """A step with the gradient that is in the buffer, times ``share``: `DONE` or why not."""
        return self._run(self.table.ctypes.data, share)

    def supply(self, rates: Sequence[float], forever: bool = False) -> None:
        """The rates of the steps that follow; ``forever``: the only one given is that of all."""
        self._rates = np.array(rates, np.float64)
        words = {
            "rates": self._rates.ctypes.data, "rate_count": _ALL if forever else len(rates),
            "position": 0, "stride": 0 if forever else 1,
        }  # fmt: skip
        for name, value in words.items():
            self.table[WORDS.index(name)] = value

    def current(self, k: int) -> Array:
        """What the next step reads of the ``k``-th of ``pairs``."""
        return self._known[int(self._slot.fields[self._reads[k]])]

    @property
    def supplied(self) -> bool:
        """Whether the rate of the next step is known."""
        return bool(self.table[WORDS.index("position")] < self.table[WORDS.index("rate_count")])

    @property
    def steps(self) -> int:
        """How many steps were made."""
        return int(self.table[WORDS.index("steps")])

    @steps.setter
    def steps(self, count: int) -> None:
        self.table[WORDS.index("steps")] = count

    @property
    def norm(self) -> float:
        """The norm of the last gradient, before it was clipped."""
        return float(self.table.view(np.float64)[WORDS.index("norm")])

    @norm.setter
    def norm(self, value: float) -> None:
        self._number("norm", value)

    @property
    def busy(self) -> bool:
        """Whether a step is being made."""
        return bool(self.table[WORDS.index("busy")])

    @busy.setter
    def busy(self, value: bool) -> None:
        self.table[WORDS.index("busy")] = value

    def _number(self, name: str, value: float) -> None:
        self.table.view(np.float64)[WORDS.index(name)] = value


def _text() -> str:
    text = resources.files(__package__).joinpath("update.ll").read_text(encoding="utf-8")
    for k, name in enumerate(WORDS):
        text = text.replace(f"@word:{name}@", str(k))
    # What stands between the line that opens the first function on entries and the last one's end
    # is there once for each format.
    before, both, after = text.split("; ---\n")
    parts = [before]
    for kind, words in _KINDS.items():
        part = both.replace("@type@", kind)
        for name, word in words.items():
            part = part.replace(f"@{name}@", word)
        parts.append(part)
    return "".join([*parts, after])


@lru_cache(maxsize=1)
def _library() -> loading.Library:
    return loading.load_text("update", _text())


def _function(library: loading.Library) -> Callable[[int, float], int]:
    # The interpreter lock is released meanwhile.
    kind = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_double)
    made: Any = kind(library.address("advance"))
    return made


__all__ = ["DONE", "NOT_FINITE", "NO_RATE", "Update", "WORDS"]
