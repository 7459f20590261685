"""A module of LLVM IR in several modules, which can be compiled at the same time.

    before:  define internal void @part() {…}   define void @run() {… call void @part() …}
    after:   define hidden void @part() {…}  |  declare hidden void @part()
             declare void @run()             |  define void @run() {… call void @part() …}

Requires code that is not inlined from one function into another. What the functions compute does
not depend on where they are compiled.
"""

from __future__ import annotations

import re

_FUNCTION = re.compile(r"^define .*?^\}$\n?", re.MULTILINE | re.DOTALL)
_GLOBAL = re.compile(r"^(@\S+) = (.*)$", re.MULTILINE)
#: Globals that each module may have for itself.
_OWN = ("internal constant ", "private constant ")


def units(ir_text: str, count: int) -> list[str]:
    """At most ``count`` modules, of about the same size, that link to what the text is.

    A text with variables, or with functions that are to be inlined, stays in one piece.
    """
    functions = _FUNCTION.findall(ir_text)
    globals_ = dict(_GLOBAL.findall(ir_text))
    whole = "alwaysinline" in ir_text or not all(g.startswith(_OWN) for g in globals_.values())
    count = min(count, len(functions))
    if whole or count < 2:
        return [ir_text]
    rest = _GLOBAL.sub("", _FUNCTION.sub("", ir_text)).strip()
    heads = [f[: f.index("{\n")].replace("define internal", "define hidden", 1) for f in functions]
    declared = [head.replace("define", "declare", 1) for head in heads]
    found = []
    for part in _shared_out([len(f) for f in functions], count):
        defined = [heads[k] + functions[k][functions[k].index("{\n") :] for k in sorted(part)]
        others = [d for k, d in enumerate(declared) if k not in part]
        body = "\n".join(defined)
        own = [f"{name} = {value}" for name, value in globals_.items() if name in body]
        found.append("\n".join([*others, *own, body, rest, ""]))
    return found


def _shared_out(sizes: list[int], count: int) -> list[set[int]]:
    """Numbers of things in groups of about one total size: the largest first, each to the group
    that has least."""
    groups: list[set[int]] = [set() for _ in range(count)]
    totals = [0] * count
    for k in sorted(range(len(sizes)), key=lambda k: -sizes[k]):
        least = totals.index(min(totals))
        groups[least].add(k)
        totals[least] += sizes[k]
    return groups


__all__ = ["units"]
