"""The example programs, for tests of everything that stands behind the checker."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from unfold.check import elaborate
from unfold.program import Program
from unfold.transform import adjoint

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.rec"))


@cache
def example(name: str, **sizes: int) -> Program:
    """An example's program; sizes that are given are bound."""
    path = EXAMPLES / f"{name}.rec"
    program = elaborate(path.read_text(encoding="utf-8"), str(path))
    return program.bind(sizes) if sizes else program


@cache
def adjoint_of(name: str) -> Program:
    """The adjoint program of an example."""
    return adjoint(example(name))
