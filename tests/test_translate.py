"""The JAX texts of the examples, which benchmarks compare with: written without JAX, so that they
cannot rot unseen. That they compute the right gradients is checked beside JAX itself, by
``python -m tests.benchmarks.translate --check``."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import unfold
from tests.benchmarks.in_jax import lengths_of
from tests.benchmarks.translate import Untranslated, source

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.rec"))
#: Dynamic programmes over two positions: written by hand, in `tests.benchmarks.tables`.
BY_HAND = {"ctc", "cyk", "matrix_chain", "rna_folding", "soft_edit_distance"}
GIVEN = {"jax", "jnp", "lax", "np", "p", "i", "float", "int", "bool", "repeat", "newton"}


@pytest.mark.parametrize("name", NAMES)
def test_every_example_has_a_jax_text_that_does_not_grow_with_time(name: str) -> None:
    program = unfold.load(EXAMPLES / f"{name}.rec").program
    program = program.bind(dict.fromkeys(program.sizes, 4), {})
    if name in BY_HAND:
        with pytest.raises(Untranslated):
            source(program, lengths_of(program, 20))
        return
    short, constants = source(program, lengths_of(program, 20))
    assert len(short.splitlines()) == len(source(program, lengths_of(program, 70))[0].splitlines())
    nodes = list(ast.walk(ast.parse(short)))
    known = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    known |= {n.name for n in nodes if isinstance(n, ast.FunctionDef)}
    known |= {n.arg for n in nodes if isinstance(n, ast.arg)}
    used = {n.id for n in nodes if isinstance(n, ast.Name)}
    assert used <= known | GIVEN | constants.keys()


def test_a_loop_over_time_is_one_scan_and_its_products_with_inputs_are_before_it() -> None:
    program = unfold.load(EXAMPLES / "elman.rec").program
    program = program.bind({"D": 2, "H": 3, "K": 4}, {})
    text, _ = source(program, {"T": 9})
    before, step = text.split("def step_1(carry, row):")
    body = step.split("lax.scan(")[0]
    assert text.count("lax.scan(") == 1
    assert "x_1, W_xh_1" in before
    assert body.count("dot_general") == 1
