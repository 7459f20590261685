"""Products with the zeros that a recurrence begins with: left out, and nothing else is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.backends.steps import agree
from unfold.backends.llvm.code import source
from unfold.backends.llvm.facts import Variant
from unfold.backends.llvm.tiles.generate import Generator
from unfold.backends.llvm.tiles.nodes import Branch, Contract, Op, Product, Repeat, Stretch, Strips
from unfold.check import elaborate
from unfold.transform import adjoint

FORWARD = """
model m(D, H):
    input  x[t]: real[D]
    param  W: real[H, D] ~ glorot
    param  U: real[H, H] ~ orthogonal
    param  a: real[H] ~ normal(1)
    h[0] = 0
    h[t] = tanh(W @ x[t] + U @ h[t-1])
    loss = sum[t](sum(h[t] ** 2)) + sum(a)
    minimize loss
"""
BACKWARD = FORWARD.replace("h[0]", "h[T+1]").replace("h[t-1]", "h[t+1]")
MODELS = {
    "forward": FORWARD,
    "backward": BACKWARD,
    "begun": FORWARD.replace("h[0] = 0", "h[0] = a"),
    "two lags": FORWARD.replace("h[0] = 0", "h[-1] = a\n    h[0] = 0").replace(
        "+ U @ h[t-1]", "+ U @ h[t-1] + W @ (x[t] * h[t-2][0])"
    ),
    "longer": FORWARD.replace("h[0] = 0", "h[-1], h[0] = 0").replace("h[t-1]", "h[t-2]"),
}


def skipped(text: str) -> tuple[set[str], set[str]]:
    """The conditions of products, and the ends of the steps of sums of outer products beside those
    of strips and of all steps."""
    # So large that the sums for W and U do not share what is packed, nor then their steps.
    program = adjoint(elaborate(text)).bind({"D": 300, "H": 300})
    made = source(program, "float32", 1, True)
    g = Generator(made.plan, made.formats, 8, Variant(1, False, True))
    conditions, ends = set(), set()
    for op in walked(g.body_ops):
        if isinstance(op, Branch) and isinstance(op.then[0], Product):
            conditions.add(str(op.condition))
        if isinstance(op, Stretch) and isinstance(op.body[0], Contract):
            ends |= {str(p) for p in (*op.lows, *op.highs) if "%" not in str(p)}
    return conditions, ends - {"1", "T"}


def walked(ops: Sequence[Op]) -> Iterator[Op]:
    for op in ops:
        yield op
        if isinstance(op, (Strips, Repeat)):
            yield from walked(op.body)


def test_the_first_step_has_no_product_with_the_zero_state() -> None:
    assert skipped(FORWARD) == ({"t - 2 >= 0"}, {"2"})


def test_neither_has_the_first_step_of_a_chain_that_runs_backward() -> None:
    assert skipped(BACKWARD) == ({"T - t - 1 >= 0"}, {"T - 1"})


def test_what_begins_with_something_else_has_all_its_products() -> None:
    assert skipped(MODELS["begun"]) == (set(), set())


@pytest.mark.parametrize("name", sorted(MODELS))
@given(
    st.integers(1, 12), st.integers(1, 30), st.integers(1, 40), st.integers(1, 5),
    st.booleans(), st.integers(1, 2),
)  # fmt: skip
@settings(max_examples=6, deadline=None)
def test_gradients_are_those_of_the_interpreter(
    name: str, D: int, H: int, T: int, B: int, ragged: bool, threads: int
) -> None:
    agree(MODELS[name], D, H, T, B, ragged, threads)
