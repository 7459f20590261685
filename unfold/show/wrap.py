"""Long equations on several lines: broken inside brackets, where the language lets a line go on."""

from __future__ import annotations

WIDTH = 96
_OPENING, _CLOSING = "([", ")]"
_SEPARATORS = (" + ", " - ", ", ", " * ", " @ ", " / ")


def wrapped(before: str, text: str, after: str, width: int = WIDTH) -> list[str]:
    """``before text after`` as lines of at most ``width`` characters, so far as brackets allow.

    >>> for line in wrapped("y = ", "a + b * (c + d)", "", 12): print(line)
    y = (a
         + b * (c
                + d))
    """
    if len(before) + len(text) + len(after) <= width:
        return [before + text + after]
    breaks = _breaks(text, 0)
    if breaks:
        text = f"({text})"
    lines = _broken(before + text, len(before), width - len(after))
    return [*lines[:-1], lines[-1] + after]


def _broken(line: str, start: int, width: int) -> list[str]:
    """``line`` in pieces, broken at the outermost bracket pair after ``start`` that holds a
    separator; the pieces that are still too long are broken in turn."""
    if len(line) <= width:
        return [line]
    for depth in range(1, 12):
        groups = _breaks(line[start:], depth)
        for column, separators in groups:
            cuts = [start + c for c in separators]
            if not cuts:
                continue
            indent = " " * (start + column)
            ends = [*cuts[1:], len(line)]
            parts = [line[: cuts[0]].rstrip()]
            for a, b in zip(cuts, ends, strict=True):
                parts.append(indent + line[a:b].strip())
            result: list[str] = []
            for k, part in enumerate(parts):
                begin = start + column if k == 0 else len(indent)
                result += _broken(part, min(begin, len(part)), width)
            return result
    return [line]


def _breaks(text: str, depth: int) -> list[tuple[int, list[int]]]:
    """For each bracket pair at ``depth`` (0: none): its first column and where to break in it.

    Only the loosest separators of a pair count, so that a product is not torn before a sum.
    """
    open_at: list[int] = []
    groups: dict[int, list[tuple[int, str]]] = {}
    for k, sign in enumerate(text):
        if sign in _OPENING:
            open_at.append(k + 1)
        elif sign in _CLOSING and open_at:
            open_at.pop()
        elif sign == " " or sign == ",":
            if len(open_at) != depth:
                continue
            for separator in _SEPARATORS:
                if text.startswith(separator, k):
                    at = k + 2 if separator == ", " else k + 1
                    key = open_at[-1] if open_at else 0
                    groups.setdefault(key, []).append((at, separator))
    result = []
    for column, found in groups.items():
        loosest = ("+-", ",", "*@/")
        for signs in loosest:
            cuts = [at for at, s in found if s.strip() in signs]
            if cuts:
                result.append((column, cuts))
                break
    return result
