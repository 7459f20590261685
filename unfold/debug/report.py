"""What a hunt has found, as plain data."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Source:
    """Where an equation stands: its text, the file, and the characters (``start`` to ``end``,
    counted from 0, end excluded) that are meant; line and column count from 1."""

    text: str
    file: str
    line: int
    column: int
    start: int
    end: int
    #: The whole text of the file, to draw carets under.
    whole: str


@dataclass(frozen=True)
class Operation:
    """One operation that made a value which is not finite of others.

    Attributes:
        text: as it stands in the equation, positions filled in: ``log(p[3])``.
        op: its name in `unfold.ops`; ``reduce_sum`` and the like for reductions over an index.
        value: what it gives (the component that matters).
        operands: texts of the operands, and their components that matter.
        reason: in words: ``the logarithm of the negative number -0.1``.
    """

    text: str
    op: str
    value: float
    operands: tuple[tuple[str, float], ...]
    reason: str


@dataclass(frozen=True)
class Read:
    """An element that the equation reads: its least and greatest finite component.

    ``bad`` is its first component that is not finite, ``at`` where that stands.
    """

    name: str
    low: float
    high: float
    bad: float | None = None
    at: tuple[int, ...] = ()


@dataclass(frozen=True)
class Growth:
    """A variable whose largest magnitude grew at each of the last steps.

    Attributes:
        variable: its name.
        since, until: the positions of the first and the last of these elements.
        first, last: their largest magnitudes.
        factor: by which it grew a step (the geometric mean).
    """

    variable: str
    since: tuple[int, ...]
    until: tuple[int, ...]
    first: float
    last: float
    factor: float


@dataclass(frozen=True)
class Fault:
    """A value that is not finite although everything it was made of is, or stands for a number
    as an infinite log-probability does.

    Attributes:
        phase: ``"given"`` (an input or parameter), ``"forward"``, ``"backward"``, or ``"batch"``
            (a sum over the sequences of a batch).
        variable, index: the element, ``("h", (3,))``.
        component: which component of it, counted from 0.
        sequence: which sequence of the batch, from 0; ``None`` without a batch, and for what does
            not belong to one sequence.
        value: NaN, inf or -inf.
        equation: the equation, as `.rec` text.
        source: where it stands; of an adjoint equation, where the equation stands that it is the
            derivative of.
        derivative_in: of an adjoint equation, the variable that ``source`` is differentiated in.
        operations: what happened inside the equation, the first first.
        reads: what the equation reads there.
        chain: what fed it: an element and its largest magnitude, what that was made of, …
        growth: if the magnitudes grew step by step.
        notes: more to know, in words.
    """

    phase: str
    variable: str
    index: tuple[int, ...]
    component: tuple[int, ...]
    sequence: int | None
    value: float
    equation: str | None = None
    source: Source | None = None
    derivative_in: str | None = None
    operations: tuple[Operation, ...] = ()
    reads: tuple[Read, ...] = ()
    chain: tuple[tuple[str, float], ...] = ()
    growth: Growth | None = None
    notes: tuple[str, ...] = ()

    @property
    def element(self) -> str:
        """``h[3]``."""
        return element_text(self.variable, self.index)


@dataclass(frozen=True)
class Range:
    """The values of one variable over all steps and sequences.

    Attributes:
        phase: ``"given"``, ``"forward"`` or ``"backward"``.
        low, high: the least and greatest finite value.
        smallest: the smallest magnitude that is not 0; ``None`` if all are.
        largest: the largest finite magnitude.
        infinite: how many components are infinite; ``nan``: how many are not a number.
    """

    name: str
    phase: str
    low: float
    high: float
    smallest: float | None
    largest: float
    infinite: int
    nan: int


@dataclass(frozen=True)
class Report:
    """What was found by `Function.debug`.

    Attributes:
        model, backend, dtype: what was run.
        sequences: the size of the batch, ``None`` without one.
        backward: whether gradients were looked at.
        faults: the first fault of the call, then those that are no consequence of it as far as is
            known (several inputs, the first one of the backward pass). Empty for a clean run.
        elsewhere: the first fault of each other sequence: its number and the element.
        ranges: of every input, parameter and variable that was computed.
        notes: what was not looked at, and why.
    """

    model: str
    backend: str
    dtype: str
    sequences: int | None
    backward: bool
    faults: tuple[Fault, ...]
    elsewhere: tuple[tuple[int, str], ...]
    ranges: tuple[Range, ...]
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether everything was finite."""
        return not self.faults

    @property
    def first(self) -> Fault | None:
        """The first fault."""
        return self.faults[0] if self.faults else None

    def __str__(self) -> str:
        from .show import text

        return text(self)

    def to_json(self) -> dict[str, Any]:
        """Plain data that JSON can hold: NaN and infinities are the texts ``nan``, ``inf`` and
        ``-inf``; the whole texts of files are left out."""
        found = _plain({**asdict(self), "ok": self.ok})
        for fault in found["faults"]:
            if fault["source"] is not None:
                del fault["source"]["whole"]
        assert isinstance(found, dict)
        return found


def element_text(variable: str, index: tuple[int, ...]) -> str:
    """``a[3, 2]``, or ``loss``."""
    return f"{variable}[{', '.join(map(str, index))}]" if index else variable


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
