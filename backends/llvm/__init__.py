"""Native code through LLVM.

A plan is lowered to LLVM IR, compiled for the machine at hand and called with one pointer. The
number of steps and the batch are run-time numbers: code size and compile time do not depend on
them.
"""

from __future__ import annotations

import llvmlite

from unfold.plan import hoist, retime, settle
from unfold.program import Program

from . import jit
from .choose import arranged, is_small
from .kernel import Kernel, Source


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

    Code is generated at the first call of each kind; ``KeyError`` then names an op that has no
    lowering.

    Raises:
        CausalityError: no order exists.
    """
    program = settle(program)
    small = is_small(program)
    made = arranged(program if small else retime(hoist(program)), small)
    return Kernel(Source(made, small, dtype, threads, sum_adjoints), entry)


def target() -> tuple[object, ...]:
    """What code depends on beside its program: the machine, and the version of LLVM."""
    return jit.host(), llvmlite.__version__


__all__ = ["Kernel", "compile", "target"]
