"""How a product is cut into blocks of registers, panels of columns and chunks that fit a cache."""

from __future__ import annotations

from dataclasses import dataclass

from ..body import SCALAR, Type
from ..machine import ITEMSIZE, HostTarget

#: Rows of a register block on a full panel, and on one of fewer vectors.
ROWS, NARROW_ROWS = 6, 4
#: Bytes of a panel between two passes over it, by its vectors: wide ones stay in the second-level
#: cache, narrow ones in the first.
PANEL_BYTES = {2: 32 * 1024, 4: 128 * 1024}
#: The same in sums of outer products, with room for the slices of A that pass over the panel.
SUMMED_BYTES = {2: 16 * 1024, 4: 128 * 1024}
#: Bytes of the rows of A that all panels of B pass over.
ROWS_BYTES = 256 * 1024
#: Up to so many bytes of B are in the first-level cache whenever they are needed.
NEAR_BYTES = 16 * 1024
#: Up to so many columns a row of C is a few dot products along K.
DOT_COLUMNS = 4


@dataclass(frozen=True)
class Panel:
    """Neighbouring columns of B and C.

    Attributes:
        first: the first column.
        columns: how many there are.
        width: lanes of a vector.
        vectors: how many vectors hold the columns; the last may be filled in part.
    """

    first: int
    columns: int
    width: int
    vectors: int

    @property
    def padded(self) -> int:
        """The columns of a packed panel."""
        return self.width * self.vectors

    @property
    def last(self) -> int:
        """How many lanes of the last vector are columns."""
        return self.columns - self.width * (self.vectors - 1)

    @property
    def is_full(self) -> bool:
        return self.last == self.width


@dataclass(frozen=True)
class Tiling:
    """Widths for one machine and number format.

    With 32 vector registers a block has 6 rows of 4 vectors, with 16 it has 6 rows of 2: the sums
    stay in registers and leave room for the operands.
    """

    dtype: str
    lanes: int
    vectors: int

    @property
    def element(self) -> Type:
        return SCALAR[self.dtype]

    @property
    def itemsize(self) -> int:
        return ITEMSIZE[self.dtype]

    @property
    def columns(self) -> int:
        """The columns of a full panel."""
        return self.lanes * self.vectors

    def panels(self, n: int) -> list[Panel]:
        """Full panels, then one for the remaining columns.

        Columns that do not fill half a vector get a narrower one.
        """
        full = [
            Panel(first, self.columns, self.lanes, self.vectors)
            for first in range(0, n - self.columns + 1, self.columns)
        ]
        rest = n % self.columns
        if rest:
            width = min(self.lanes, 1 << (rest - 1).bit_length())
            full.append(Panel(n - rest, rest, width, -(-rest // width)))
        return full

    def exact_panels(self, n: int) -> list[Panel]:
        """Panels without padding, for a matrix that is read where it stands."""
        found = [p for p in self.panels(n) if p.columns == self.columns]
        first = len(found) * self.columns
        width = self.lanes
        while first < n:
            vectors = (n - first) // width
            if vectors:
                found.append(Panel(first, vectors * width, width, vectors))
                first += vectors * width
            width //= 2
        return found

    def rows(self, panel: Panel) -> int:
        """The most rows of a block; narrow panels are read quickly and need not be read seldom."""
        return ROWS if panel.vectors == self.vectors else NARROW_ROWS

    def sums(self, vectors: int) -> int:
        """Partial sums for each vector of C.

        Narrow panels have few vectors, and every addition to one waits for the last; more sums
        keep the machine busy. The number depends on the panel alone, so that rows have the same
        bits in blocks of any height.
        """
        return {1: 4, 2: 2}.get(vectors, 1) if self.vectors == 4 else {1: 2}.get(vectors, 1)

    @property
    def chunk(self) -> int:
        """The most terms of the sum over K before the next panel has its turn."""
        return PANEL_BYTES[self.vectors] // (self.columns * self.itemsize)

    @property
    def terms(self) -> int:
        """The most terms of a sum of outer products at a time."""
        return SUMMED_BYTES[self.vectors] // (self.columns * self.itemsize)


def tiling(target: HostTarget, dtype: str) -> Tiling:
    """The tiling for a machine; ``dtype`` is ``float32`` or ``float64``."""
    return Tiling(dtype, target.lanes(dtype), 4 if target.registers >= 32 else 2)


def evenly(total: int, most: int) -> list[int]:
    """``total`` as a sum of the fewest numbers up to ``most``, which differ by 1 at most."""
    parts = max(1, -(-total // most))
    small, extra = divmod(total, parts)
    return [small + 1] * extra + [small] * (parts - extra)
