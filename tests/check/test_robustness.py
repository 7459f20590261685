"""Whatever the text, the check answers; and what it accepts, it can print and read again."""

from __future__ import annotations

import random
import re
from importlib import resources
from pathlib import Path

import pytest

from unfold.check import check_text, elaborate
from unfold.show import to_rec
from unfold.transform import adjoint, tangent

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.rec"))
CELLS = sorted(p.name for p in resources.files("unfold.cells").iterdir() if p.name.endswith(".rec"))
TOKEN = re.compile(r"[A-Za-z_][\w.]*|\d+\.?\d*|[^\w\s]|\n[ ]*|[ ]+")


def texts() -> list[str]:
    bad = sorted((ROOT / "tests" / "bad").glob("*.rec"))
    return [p.read_text(encoding="utf-8") for p in (*EXAMPLES, *bad)]


def mutated(text: str, words: list[str], rng: random.Random) -> str:
    """The text with up to four words changed, left out, added or swapped."""
    tokens = TOKEN.findall(text) or ["x"]
    for _ in range(rng.randint(1, 4)):
        k = rng.randrange(len(tokens))
        kind = rng.randrange(4)
        if kind == 0:
            tokens[k] = rng.choice(words)
        elif kind == 1 and len(tokens) > 1:
            del tokens[k]
        elif kind == 2:
            tokens.insert(k, rng.choice(words))
        else:
            j = rng.randrange(len(tokens))
            tokens[k], tokens[j] = tokens[j], tokens[k]
    return "".join(tokens)


@pytest.mark.parametrize("seed", range(8))
def test_a_damaged_program_never_breaks_the_compiler(seed: int) -> None:
    rng = random.Random(seed)
    programs = texts()
    words = [w for text in programs for w in TOKEN.findall(text) if w.strip()]
    for _ in range(40):
        check_text(mutated(rng.choice(programs), words, rng), "damaged.rec")


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_of_the_library_is_clean(name: str) -> None:
    text = resources.files("unfold.cells").joinpath(name).read_text("utf-8")
    assert check_text(text, name) == []
    assert elaborate(text, name).name == name.removesuffix(".rec")
    assert len(text.split(" = ")) > 1
    assert text.startswith("#"), "a cell names its paper"


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_printed_is_the_same_cell(name: str) -> None:
    text = resources.files("unfold.cells").joinpath(name).read_text("utf-8")
    p = elaborate(text, name)
    again = elaborate(to_rec(p))
    assert set(again.equations) == set(p.equations)
    assert to_rec(again) == to_rec(p)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_derivatives_of_an_example_are_read_as_they_are_printed(path: Path) -> None:
    p = elaborate(path.read_text(encoding="utf-8"), str(path))
    derived = adjoint(p) if p.losses else tangent(p)
    again = elaborate(to_rec(derived))
    assert set(again.vars) == set(derived.vars)
    for name, v in derived.vars.items():
        assert (again.vars[name].shape, again.vars[name].axes) == (v.shape, v.axes)


def test_shorthands_in_shorthands_end_somewhere() -> None:
    lets = [f"    let a{k} = tanh(a{k - 1} + 1)\n" for k in range(1, 200)]
    ends = "    y = a199\n    output y\n"
    text = f"model m:\n    input x: real\n    let a0 = x\n{''.join(lets)}{ends}"
    assert [d.code for d in check_text(text)] == ["E0117"]


def test_the_index_of_the_steps_is_no_variable() -> None:
    assert "E0202" in [d.code for d in check_text("model m:\n    param t: real\n    minimize t\n")]
