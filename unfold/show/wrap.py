"""Long equations on several lines: broken inside brackets, where the language lets a line go on."""

from __future__ import annotations

from itertools import product

WIDTH = 96
#: The deepest column at which the parts of a bracket are aligned; what would stand deeper hangs in
#: lines of its own, `HANGING` columns further in than what the bracket is part of.
DEEPEST = 40
HANGING = 4
_OPENING, _CLOSING = "([", ")]"
_SEPARATORS = (" + ", " - ", ", ", "; ", " * ", " @ ", " / ")


def wrapped(before: str, text: str, after: str, width: int = WIDTH) -> list[str]:
    """``before text after`` as lines of at most ``width`` characters, so far as brackets allow.

    >>> for line in wrapped("y = ", "a + b * (c + d)", "", 12): print(line)
    y = (a
         + b * (c
                + d))
    """
    if len(before) + len(text) + len(after) <= width:
        return [before + text + after]
    if any(sign in "+-" for found in _breaks(text, 0).values() for _, sign in found):
        text = f"({text})"
    lines = _broken(before + text, len(before), width - len(after), 0)
    return [*lines[:-1], lines[-1] + after]


def _broken(line: str, start: int, width: int, base: int) -> list[str]:
    """``line`` in pieces, broken inside the outermost brackets after ``start`` that hold a sum or
    a list, else a product; the pieces that are still too long are broken in turn. What hangs
    is seen from column ``base``."""
    if len(line) <= width:
        return [line]
    for signs, depth in product(("+-,;", "*@/"), range(1, 12)):
        for column, found in _breaks(line[start:], depth).items():
            cuts = [start + at for at, sign in found if sign in signs]
            if not cuts:
                continue
            indent = " " * (start + column)
            if len(indent) > DEEPEST:
                indent = " " * (base + HANGING)
                cuts = [start + column, *cuts]
            parts = [line[: cuts[0]].rstrip()]
            for a, b in zip(cuts, [*cuts[1:], len(line)], strict=True):
                parts.append(indent + line[a:b].strip())
            result: list[str] = []
            for k, part in enumerate(parts):
                begin = min(start if k == 0 else len(indent), len(part))
                result += _broken(part, begin, width, len(indent))
            return result
    return [line]


def _breaks(text: str, depth: int) -> dict[int, list[tuple[int, str]]]:
    """For each bracket pair at ``depth`` (0: none), but subscripts: its first column, where to
    break, and at which sign."""
    open_at: list[int] = []
    subscripts: set[int] = set()
    groups: dict[int, list[tuple[int, str]]] = {}
    for k, sign in enumerate(text):
        if sign in _OPENING:
            open_at.append(k + 1)
            if sign == "[" and k and (text[k - 1].isalnum() or text[k - 1] in "_]')"):
                subscripts.add(k + 1)
        elif sign in _CLOSING and open_at:
            open_at.pop()
        elif len(open_at) == depth and not (open_at and open_at[-1] in subscripts):
            for separator in _SEPARATORS:
                if text.startswith(separator, k):
                    at = k + 2 if separator in (", ", "; ") else k + 1
                    key = open_at[-1] if open_at else 0
                    groups.setdefault(key, []).append((at, separator.strip()))
    return groups
