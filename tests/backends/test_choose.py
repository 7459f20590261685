"""Which kind of native code a gradient gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import unfold
from unfold.backends.llvm import choose

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def gradient(name: str, **sizes: int) -> Any:
    """The gradient of an example as a program, with what its calls know of it."""
    fn = unfold.compile(EXAMPLES / f"{name}.rec", sizes=sizes, threads=1)
    return fn.compiler.gradient(tuple(fn.params), fn.program.losses)


@pytest.mark.parametrize(
    ("name", "sizes", "pairs", "small"),
    [
        # Memories and attention of few components: their loops would mostly begin and end.
        ("ntm", {"D": 3, "H": 5, "M": 4, "K": 2}, True, True),
        ("seq2seq_attention", dict.fromkeys("DHGAM", 5) | {"K": 4}, True, True),
        # At pairs as well, but as much work in an operation as fills registers.
        ("deep_stack", {"H": 16, "K": 4}, True, False),
        ("causal_attention", {"D": 16, "P": 16, "Q": 16, "K": 8}, True, False),
        # Step by step: the rows of loops are the sequences.
        ("jordan", {"D": 16, "H": 32, "K": 8}, False, False),
        # Too large in any case.
        ("ntm", {"D": 8, "H": 16, "M": 8, "K": 4}, True, False),
    ],
)
def test_equations_of_few_instructions_at_pairs_are_kept_in_registers(
    name: str, sizes: dict[str, int], pairs: bool, small: bool
) -> None:
    made = gradient(name, **sizes)
    assert choose.total(made.program) > choose.UNROLLED
    assert choose.over_pairs(made.program) == pairs
    assert made.kernel.facts.small == small


@pytest.mark.parametrize(
    ("name", "sizes", "own"),
    [
        # Fast weights, matrix states, and a reservoir that is data.
        ("titans", {"D": 8, "P": 8}, True),
        ("mlstm", {"D": 8, "P": 8, "V": 8}, True),
        ("delta_net", {"D": 9, "P": 9, "K": 4}, True),
        ("echo_state", {"D": 8, "H": 16, "K": 4}, True),
        # Matrices that all sequences share; a maximum along rows; a search.
        ("elman", {"D": 8, "H": 16, "K": 4}, False),
        ("viterbi", {"K": 8, "M": 16}, False),
        ("sinkhorn", {"N": 8, "M": 8, "D": 8}, False),
    ],
)
def test_matrices_of_each_sequence_are_kept_in_registers(
    name: str, sizes: dict[str, int], own: bool
) -> None:
    made = gradient(name, **sizes)
    assert choose.UNROLLED < choose.total(made.program) <= choose.OWN * choose.UNROLLED
    assert choose.is_about_own_matrices(made.program) == own
    assert made.kernel.facts.small == own
