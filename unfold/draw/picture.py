"""What a drawing shows: boxes in rows and columns, and lines between them.

Nothing here knows about coordinates. A box stands in a *column* (a step of time), at the *margin*
(parameters, what is computed from them alone, and their gradients) or *free* in a row of its own
(a scalar such as the loss).

A picture is *unrolled* (`unfold.draw.unrolled`: a column for each step) or *rolled*
(`unfold.draw.rolled`: one column for all steps, and lines that say how far back they read). Both
have the same rows, and every box of an unrolled picture names the one of the rolled picture that
it is a copy of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: What stands on one line: the variable, its indices other than time, the part of its equation.
#: Indices are numbers in an unrolled picture, and as in the equation (``i``, ``0``) if rolled.
Row = tuple[str, tuple[int | str, ...], int]

#: Marks of boxes under checkpoints.
KEPT, AGAIN = "kept", "again"
#: Those of highlighted boxes, and of boxes that use them.
LIT, USE = "lit", "use"


@dataclass(frozen=True)
class Box:
    """A node of the drawing.

    Attributes:
        name: unique; that of the graph's node, or of the row for one that stands for many.
        label: what is written in it.
        kind: ``input``, ``param``, ``variable``, ``loss``, ``adjoint``, or ``model`` for a
            sub-model that is folded.
        row: see `Row`.
        column: the number of its column, or ``None`` at the margin and for free boxes.
        margin: whether it stands at the margin.
        output: whether the program returns it.
        elided: whether it stands for the steps or rows that are left out.
        tooltip: its name, type and equation.
        of: the name of the box in the rolled picture that it is a copy of (its own name there).
        back: whether it belongs to the derivatives.
        mark: ``kept`` at the border of a segment, computed ``again`` on the way back, or nothing.
        lit: ``lit`` if it is highlighted itself, ``use`` if it uses what is, or nothing.
    """

    name: str
    label: str
    kind: str
    row: Row
    column: int | None
    margin: bool
    output: bool
    elided: bool
    tooltip: str
    of: str
    back: bool = False
    mark: str = ""
    lit: str = ""


@dataclass(frozen=True)
class Line:
    """A dependence, from operand to user.

    ``kind`` is ``flow`` in the forward graph, ``shared`` from a parameter to one of its uses,
    ``adjoint`` between adjoints, ``gather`` into a parameter's gradient, and ``recall`` where an
    adjoint reads a value of the forward graph. ``cut`` is a line by which a value passes and no
    derivative, and ``absent`` stands in an adjoint where that derivative would have come.

    In a rolled picture ``label`` says what is read if it is not of the reader's own step: ``t-1``,
    ``1..t``, ``T``; ``turn`` is 1 if that lies behind, -1 if it lies ahead, else 0; and ``now``
    whether it may be of the same step. ``lit`` lines are highlighted.
    """

    start: str
    end: str
    kind: str
    label: str = ""
    turn: int = 0
    now: bool = True
    lit: bool = False


@dataclass(frozen=True)
class Heading:
    """What stands over a column: a time, or how many steps are left out.

    ``index`` and ``position`` are the parts of a label ``t = 3``; the position of a column that
    stands for many is ``…``, and that of a rolled picture's is ``t``.
    """

    label: str
    elided: bool
    index: str
    position: str


@dataclass(frozen=True)
class Picture:
    """Everything that is shown, rows and boxes in the order of the graph.

    Attributes:
        title: what stands below.
        view: ``rolled`` or ``unrolled``.
        boxes: by name.
        lines, columns: see `Line` and `Heading`.
        models: the sub-models that are framed, outer ones before those in them.
        rolled: the rolled picture of the same equations, whose rows an unrolled one keeps to.
        borders: the columns behind which a segment ends, and what stands there.
    """

    title: str
    view: str
    boxes: Mapping[str, Box]
    lines: tuple[Line, ...]
    columns: tuple[Heading, ...]
    models: tuple[str, ...] = ()
    rolled: Picture | None = None
    borders: Mapping[int, str] = field(default_factory=dict)

    def models_of(self, variable: str) -> tuple[str, ...]:
        """The framed sub-models that a variable is in, the outermost first."""
        return tuple(m for m in self.models if variable.startswith(f"{m}."))


__all__ = ["AGAIN", "KEPT", "LIT", "USE", "Box", "Heading", "Line", "Picture", "Row"]
