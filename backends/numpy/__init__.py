"""The interpreter: walks the explicit DAG of each sequence with NumPy.

It is the meaning of the language: every op is the NumPy function of its record, and nothing is
merged, reordered or skipped. Slow, and easy to believe.
"""

from __future__ import annotations

from unfold.program import Program

from .evaluate import evaluate
from .kernel import Kernel


def compile(  # noqa: A001 - the name that every backend gives it
    program: Program,
    *,
    dtype: str = "float64",
    threads: int = 1,
    sum_adjoints: bool = False,
    entry: str | None = None,
) -> Kernel:
    """Prepare a program for calls.

    Args:
        program: without free sizes.
        dtype: "float64" or "float32", the precision of every real value.
        threads: taken for the sake of a common interface; the interpreter uses one.
        sum_adjoints: sum the adjoints of parameters over the batch.
        entry: taken for the sake of a common interface; there is no code to keep.

    Raises ``ValueError`` for free sizes or an unknown dtype.
    """
    del threads, entry
    if program.sizes:
        raise ValueError(f"{program.name}: the sizes {', '.join(program.sizes)} are not bound")
    if dtype not in ("float64", "float32"):
        raise ValueError(f"dtype is float64 or float32, not {dtype!r}")
    return Kernel(program, dtype, sum_adjoints)


def foresee(program: Program, *, dtype: str) -> None:
    """Nothing: there is no code to begin with."""


def target() -> tuple[object, ...]:
    """What a kernel depends on beside its program: nothing."""
    return ()


__all__ = ["Kernel", "compile", "evaluate", "foresee", "target"]
