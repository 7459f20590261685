"""What calls need to know of a plan, without the plan.

Code comes from the cache with these facts; the plan it was made from stays packed until another
variant of the code is wanted. (They are named tuples: a class that is a frozen dataclass takes
several times as long to make, and these are all made before the first call of a process.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from unfold.named import Named
from unfold.poly import Poly

from .block import Record
from .failures import Solved


class Variant(Named):
    """What a function is made for.

    Attributes:
        lanes: how many sequences run side by side.
        ragged: whether each sequence has its own length T.
        sum_adjoints: whether the adjoints of parameters are summed over the batch.
        crew: whether threads take pieces of its large operations (see `unfold.backends.llvm.crew`).
    """

    lanes: int
    ragged: bool
    sum_adjoints: bool
    crew: bool = False


class Returned(Named):
    """A result: the positions ``lo..hi`` along its axes, and the shape and kind of an element.

    Those that are ``summed`` (adjoints of parameters) may be added up over the batch.
    """

    name: str
    ranges: tuple[tuple[Poly, Poly], ...]
    shape: tuple[int, ...]
    kind: str
    summed: bool


class Term(Named):
    """A part of the time that a call takes: so many nanoseconds for each point.

    The points are those of several indices, each from the greatest of ``lows`` to the least of
    ``highs``; of each sequence, or once for a whole batch if it is ``shared``.
    """

    nanoseconds: float
    ranges: tuple[tuple[tuple[Poly, ...], tuple[Poly, ...]], ...]
    shared: bool = False

    def total(self, lengths: Mapping[str, int]) -> float:
        """About how many nanoseconds: what bounds an index by another one is left out."""
        total, known = self.nanoseconds, lengths.keys()
        for lows, highs in self.ranges:
            least = [p.evaluate(lengths) for p in lows if p.symbols <= known]
            most = [p.evaluate(lengths) for p in highs if p.symbols <= known]
            if least and most:
                total *= max(0, min(most) - max(least) + 1)
            else:
                total *= max(lengths.values(), default=1)
        return total


class Facts(Named):
    """Of a plan, and how it is to be compiled.

    Attributes:
        dtype: ``"float64"`` or ``"float32"``.
        threads: how many threads a call may use.
        sum_adjoints: whether adjoints of parameters are summed over the batch.
        small: whether every component is a value of its own.
        doubled: whether two registers of sequences go side by side.
        lengths: the numbers that are known at each call only.
        sizing: those on which the sizes of storages and results depend.
        record: the fields of a call of a single sequence, but for the workspace of its variant.
        results, solved: in the order of the program.
        effort: how long one sequence, or a register full of them, takes.
        streamed: the bytes of the matrices that a step of the largest loop multiplies by.
    """

    dtype: str
    threads: int
    sum_adjoints: bool
    small: bool
    doubled: bool
    lengths: tuple[str, ...]
    sizing: tuple[str, ...]
    record: Record
    results: tuple[Returned, ...]
    solved: tuple[Solved, ...]
    effort: tuple[Term, ...]
    streamed: int


def microseconds(effort: Sequence[Term], lengths: Mapping[str, int], groups: int) -> float:
    """About how long a call takes on one core.

    Args:
        lengths: the value of every length.
        groups: how often what is not shared runs: the number of sequences, divided by how many of
            them run side by side.
    """
    return sum(t.total(lengths) * (1 if t.shared else groups) for t in effort) / 1e3


__all__ = ["Facts", "Returned", "Term", "Variant", "microseconds"]
