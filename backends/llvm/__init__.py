"""Native code through LLVM.

A plan is lowered to LLVM IR, compiled for the machine at hand and called with one pointer. The
number of steps and the batch are run-time numbers: code size and compile time do not depend on
them.

What generates code is imported when code is generated: a process that finds all it calls in the
cache loads neither it nor LLVM.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .machine import host, llvm_version

if TYPE_CHECKING:
    from unfold.program import Program

    from .kernel import Kernel


def compile(  # noqa: A001 - the name every backend has
    program: Program,
    *,
    dtype: str = "float64",
    threads: int = 1,
    sum_adjoints: bool = False,
    entry: str | None = None,
) -> Kernel:
    """Compile a program whose sizes and constants are bound.

    Args:
        program: what to compute.
        dtype: ``"float64"`` or ``"float32"``.
        threads: how many threads a call may use.
        sum_adjoints: whether outputs that are adjoints of parameters are summed over the batch.
        entry: the name of this program with these arguments in the cache, if its code is kept.

    Code is generated at the first call of each kind.

    Raises:
        CausalityError: no order exists.
        KeyError: an op has no lowering; the argument is its name. (At the first call, if all else
            about the op is known.)
    """
    from .code import kernel

    return kernel(program, dtype, threads, sum_adjoints, entry, whole=False)


def foresee(program: Program, *, dtype: str) -> None:
    """Begin with what the code of a program's gradient will call, while that is derived."""
    from .foresight import begin

    begin(program, dtype)


def target() -> tuple[object, ...]:
    """What code depends on beside its program: the machine, and the version of LLVM."""
    return host(), llvm_version()


__all__ = ["compile", "foresee", "target"]
