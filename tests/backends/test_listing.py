"""`unfold show --after asm` lists the code that runs."""

from __future__ import annotations

import pytest

import unfold
from unfold.backends import llvm
from unfold.backends.llvm import choose, cutting, jit
from unfold.backends.llvm.facts import Variant
from unfold.backends.llvm.stock import Stock

SCALAR = """
model m():
    input  x[t]: real
    param  a: real
    s[0] = 0
    s[t] = s[t-1] + a * x[t]
    output s[t]
"""
MATRIX = """
model m():
    input  x[t]: real[2]
    param  W: real[2, 2]
    h[0] = 0
    h[t] = W @ h[t-1] + x[t]
    output h[t]
"""


@pytest.mark.parametrize(
    ("text", "small", "optimise"),
    [(SCALAR, True, True), (MATRIX, True, True), (MATRIX, False, False)],
)
def test_the_listing_is_of_the_code_that_runs(
    text: str, small: bool, optimise: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not small:
        monkeypatch.setattr(choose, "UNROLLED", -1)
        # In one piece, with all that it calls.
        monkeypatch.setattr(cutting, "_LINES", 10**6)
        monkeypatch.setattr(cutting, "stock", lambda: Stock("empty"))
    kernel = llvm.compile(unfold.loads(text).program, dtype="float64", sum_adjoints=False)
    code, ir = kernel._entry(Variant(1, False, False)).image.object_code, kernel.ir()
    assert jit.object_code(ir, optimise=optimise) == code
    assert jit.object_code(ir, optimise=not optimise) != code
    assert kernel.assembly() == jit.assembly(ir, optimise=optimise)


def test_a_product_that_is_ready_is_not_fused_into_the_chain_that_waits() -> None:
    """A fused multiply-add takes longer than an addition on some processors."""
    kernel = llvm.compile(unfold.loads(SCALAR).program, dtype="float64", sum_adjoints=False)
    assert "fadd double" in kernel.ir()
    assert "fadd contract double" not in kernel.ir()
    late = SCALAR.replace("s[t-1] + a * x[t]", "a * s[t-1] + x[t]")
    kernel = llvm.compile(unfold.loads(late).program, dtype="float64", sum_adjoints=False)
    assert "fadd contract double" in kernel.ir()


def test_what_stays_in_registers_takes_no_memory() -> None:
    text = SCALAR.replace("output s[t]", "loss = sum[t](s[t] ** 2)\n    minimize loss")
    fn = unfold.compile(text, mode="reverse")
    work = fn.memory(T=1000, B=4).work
    assert work["s"] >= 8 * 1001
    assert work["s_bar"] == 0
