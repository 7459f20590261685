"""Where a piece of the tree stands in its text.

Every node of the tree carries a `Span`, so that every later stage can point at what was written.
Offsets count characters from 0; lines and columns count from 1, as editors do.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Source:
    """A text and the name it is reported under (a path, or a name such as `<text>`)."""

    name: str
    text: str

    @cached_property
    def line_starts(self) -> tuple[int, ...]:
        """The offset at which each line begins; never empty."""
        return (0, *(i + 1 for i, char in enumerate(self.text) if char == "\n"))

    def position(self, offset: int) -> tuple[int, int]:
        """The line and column, both from 1, of the character at `offset`."""
        line = bisect_right(self.line_starts, offset)
        return line, offset - self.line_starts[line - 1] + 1

    def line(self, number: int) -> str:
        """Line `number`, counted from 1, without its end."""
        start = self.line_starts[number - 1]
        following = self.line_starts[number] - 1 if number < len(self.line_starts) else None
        return self.text[start:following].rstrip("\r")


@dataclass(frozen=True)
class Span:
    """The characters `start..end` (end excluded) of a source."""

    source: Source
    start: int
    end: int

    @property
    def text(self) -> str:
        """The characters themselves."""
        return self.source.text[self.start : self.end]

    @property
    def line(self) -> int:
        """The line on which the span begins, from 1."""
        return self.source.position(self.start)[0]

    @property
    def column(self) -> int:
        """The column in which the span begins, from 1."""
        return self.source.position(self.start)[1]

    def to(self, other: Span) -> Span:
        """The span from the beginning of this one to the end of `other`."""
        return Span(self.source, self.start, max(self.end, other.end))

    def __repr__(self) -> str:
        return f"{self.source.name}:{self.line}:{self.column}"


#: The span of a node that was built by a program and stands in no text.
NOWHERE = Span(Source("<built>", ""), 0, 0)
