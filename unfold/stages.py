"""The pipeline on one page.

    parse      text          -> Tree        what is written
    check      Tree          -> Program     names, shapes, pieces, causality
    adjoint    Program       -> Program     with the gradients (on request)
    tangent    Program       -> Program     with directional derivatives (on request)
    simplify   Program       -> Program     constants, common values, dead equations
    plan       Program       -> Plan        loops in order, storage (sizes must be given)
    llvm       Plan          -> LLVM IR
    asm        LLVM IR       -> assembly of this machine

`unfold.program.verify` runs after every stage that makes a program. Stages are imported when they
run: what comes from the cache needs none of them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import cache
from .errors import InputError
from .program import Program, verify


@dataclass(frozen=True)
class Request:
    """What is to be shown, and of what.

    Attributes:
        text, name: the source, and what diagnostics call it.
        model: which of several models.
        bind: fixes sizes and constants of a program, for the stages that need them.
        derivative: ``"adjoint"``, ``"tangent"`` or nothing; ``wrt`` and ``of`` as in
            `unfold.transform.adjoint`.
        dtype: for the native stages.
    """

    text: str
    name: str = "<text>"
    model: str | None = None
    bind: Callable[[Program], Program] = field(default=lambda program: program)
    derivative: str | None = None
    wrt: Sequence[str] | None = None
    of: Sequence[str] | None = None
    dtype: str = "float64"


def front(text: str, name: str = "<text>", model: str | None = None) -> Program:
    """The program of a text. Raises `RecError` with every mistake, `InputError` for a model that
    is not in it."""
    entry = cache.key("program", text, name, model)
    found = cache.get(entry)
    if found is not None and all(_reads(path, other) for path, other in found[1].items()):
        program: Program = found[0]
        return program
    from .check import elaborate_files

    tree = parse(text, name)
    try:
        program, files = elaborate_files(tree, name, model)
        verify(program)
        if entry is not None and program.fingerprint is not None:
            cache.put(entry, (program, files))
        return program
    except KeyError:
        models = ", ".join(m.name.text for m in tree.models)
        raise InputError(f"{name} has no model {model}; there are {models}") from None


def _reads(path: str, text: str) -> bool:
    """Whether a file holds that text."""
    try:
        return Path(path).read_text("utf-8") == text
    except (OSError, UnicodeDecodeError):
        return False


def checked(r: Request) -> Program:
    return front(r.text, r.name, r.model)


def derived(r: Request) -> Program:
    """The program, or its derivative if one is asked for."""
    from .transform import adjoint, tangent

    program = checked(r)
    if r.derivative == "adjoint":
        return verify(adjoint(program, r.wrt, r.of, simplified=False))
    if r.derivative == "tangent":
        return verify(tangent(program, r.wrt, simplified=False))
    return program


def simplified(r: Request) -> Program:
    from .transform import simplify

    return verify(simplify(derived(r)))


def planned(r: Request) -> Any:
    from .plan import plan
    from .transform import simplify

    return plan(simplify(verify(r.bind(simplified(r)))))


def native(r: Request) -> str:
    return str(_kernel(r).ir())


def assembled(r: Request) -> str:
    return str(_kernel(r).assembly())


def _kernel(r: Request) -> Any:
    backend = importlib.import_module("unfold.backends.llvm")
    return backend.compile(planned(r).program, dtype=r.dtype, sum_adjoints=True)


def parse(text: str, name: str) -> Any:
    """The tree of a text. Raises `RecError` with every syntax error."""
    from .syntax.parse import parse

    return parse(text, name)


def to_rec(program: Program) -> str:
    """The program as text."""
    from .show import to_rec

    return to_rec(program)


#: The stages after which a program can be shown, in order: name -> its text.
STAGES: dict[str, Callable[[Request], str]] = {
    "parse": lambda r: outline(parse(r.text, r.name)),
    "check": lambda r: to_rec(checked(r)),
    "adjoint": lambda r: to_rec(derived(_with(r, "adjoint"))),
    "tangent": lambda r: to_rec(derived(_with(r, "tangent"))),
    "simplify": lambda r: to_rec(simplified(r)),
    "plan": lambda r: f"{planned(r)}\n",
    "llvm": native,
    "asm": assembled,
}


def show(stage: str, request: Request) -> str:
    """The text of the program after a stage. Raises ``KeyError`` for an unknown stage."""
    return STAGES[stage](request)


def _with(r: Request, derivative: str) -> Request:
    return Request(r.text, r.name, r.model, r.bind, derivative, r.wrt, r.of, r.dtype)


def outline(tree: Any, depth: int = 0, label: str = "") -> str:
    """A tree of dataclasses, one node a line; simple fields beside the node's name."""
    fields = {k: v for k, v in vars(tree).items() if k != "span"}
    plain = {k: v for k, v in fields.items() if not _is_branch(v)}
    beside = " ".join(f"{v!r}" if v != () else "()" for v in plain.values() if v not in (None, ()))
    head = "  " * depth + (f"{label}: " if label else "") + type(tree).__name__
    lines = [f"{head} {beside}".rstrip()]
    for name, value in fields.items():
        if not _is_branch(value):
            continue
        for item in value if isinstance(value, tuple) else (value,):
            lines.append(outline(item, depth + 1, name).rstrip("\n"))
    return "\n".join(lines) + "\n"


def _is_branch(value: Any) -> bool:
    items = value if isinstance(value, tuple) else (value,)
    return bool(items) and all(hasattr(v, "span") for v in items)
