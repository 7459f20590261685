"""Functions that many programs have are compiled once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unfold
from tests.backends.test_units import LINKERS, called
from unfold import cache
from unfold.backends.llvm import body, cutting, generating, jit
from unfold.backends.llvm.body import INT, Body, Value
from unfold.backends.llvm.ir import Module, Receiver
from unfold.backends.llvm.machine import llvm_version
from unfold.backends.llvm.stock import Part, Stock

MODEL = """
model m(D, H):
    input x[t]: real[D]
    param W: real[H, D]
    param U: real[H, H]
    h[0] = 0
    h[t] = tanh(W @ x[t] + U @ h[t-1])
    loss = mean[t](sum(h[t] ** 2))
    minimize loss
"""
EDITED = MODEL.replace("W @ x[t]", "W @ sin(x[t])")
SIZES = {"D": 8, "H": 32}


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stock:
    """An empty stock, and an empty cache."""
    tmp_path.chmod(0o700)
    monkeypatch.setenv("UNFOLD_CACHE", str(tmp_path))
    monkeypatch.setattr(generating, "threads", lambda: 2)
    monkeypatch.setattr(cutting, "_LINES", 200)
    made = Stock(jit.host(), llvm_version())
    monkeypatch.setattr(cutting, "stock", lambda: made)
    return made


def part(*names: str, needs: tuple[str, ...] = ()) -> Part:
    return Part("".join(names).encode(), names, needs)


def test_a_function_comes_with_all_that_it_calls(fresh: Stock) -> None:
    one, two, three = part("a", "b", needs=("c",)), part("c", needs=("d",)), part("d")
    fresh.put([one, two])
    assert fresh.found("a") is None
    fresh.put([three])
    assert fresh.found("b") == [one, two, three]
    assert fresh.found("d") == [three]
    assert fresh.found("e") is None


def test_parts_that_call_each_other_are_found_once(fresh: Stock) -> None:
    one, two = part("a", needs=("b",)), part("b", needs=("a",))
    fresh.put([one, two])
    assert fresh.found("a") == [one, two]


def test_another_process_finds_them(fresh: Stock) -> None:
    fresh.put([part("a", "b", needs=("c",)), part("c")])
    cache.settle()
    assert Stock(jit.host(), llvm_version()).found("b") == fresh.found("b")
    assert Stock("another machine").found("b") is None


def test_an_entry_that_is_gone_or_of_another_kind_is_none(fresh: Stock) -> None:
    fresh.put([part("a")])
    cache.settle()
    entry = cache.key("common", (jit.host(), llvm_version()), ("a",))
    assert isinstance(cache.get(entry), Part)
    cache.put(entry, part("b"))
    assert Stock(jit.host(), llvm_version()).found("a") is None
    cache.put(entry, "a")
    assert Stock(jit.host(), llvm_version()).found("a") is None
    cache.clear()
    assert Stock(jit.host(), llvm_version()).found("a") is None
    assert fresh.found("a") == [part("a")]


def test_what_is_kept_in_a_process_is_bounded(
    fresh: Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unfold.backends.llvm.stock._KEPT", 2)
    for name in "abcd":
        fresh.put([part(name)])
    cache.settle()
    assert len(fresh._parts) == 1
    assert fresh.found("a") == [part("a")]  # from the cache


def written(number: int, rest: int) -> cutting.Writer:
    """A module whose ``f0`` adds a number to what two common functions make of its argument."""

    def add(n: int) -> Any:
        def write(b: Body) -> Value:
            value = b.args[0]
            if n:
                value = b.call(body.define(b.module, "unfold.one", INT, (INT,), add(0)), INT, value)
            for _ in range(rest):
                value = (value * 3 - b.args[0]).udiv(2)
            return value + 1

        return write

    def write(receiver: Receiver | None) -> str:
        module = Module(receiver=receiver)

        def main(b: Body) -> Value:
            two = body.define(module, "unfold.two", INT, (INT,), add(1))
            return b.call(two, INT, b.args[0]) + number

        body.define(module, "f0", INT, (INT,), main, linkage="")
        return str(module)

    return write


@pytest.mark.parametrize("linker", LINKERS)
def test_a_second_module_is_linked_to_the_functions_of_the_first(fresh: Stock, linker: str) -> None:
    first = cutting.object_code(written(5, rest=80))
    second = cutting.object_code(written(6, rest=80))
    assert called(second, linker) == called(first, linker) + 1
    assert set(first) & set(second)
    assert fresh.found("unfold.two")
    alone = jit.object_code(written(6, rest=80)(None))
    assert called(alone, linker) == called(second, linker)


def gradient(text: str, **options: Any) -> tuple[bytes, list[int]]:
    """The bits of a gradient, and the sizes of its objects."""
    fn = unfold.compile(text, sizes=SIZES, dtype="float32", **options)
    x = np.random.default_rng(0).normal(size=(3, 20, 8)).astype("float32")
    loss, grads = fn.value_and_grad(fn.init(seed=0), x=x)
    kernel: Any = next(iter(fn.compiler._derived.values())).kernel
    (entry,) = kernel._entries.values()
    bits = b"".join(np.asarray(a).tobytes() for a in (loss, *grads.values()))
    return bits, [len(code) for code in entry.image.object_code]


@pytest.fixture
def emitted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many lines LLVM gets each time."""
    found: list[int] = []
    original = jit.emitted

    def noted(text: str, *rest: Any) -> bytes:
        found.append(text.count("\n"))
        return original(text, *rest)

    monkeypatch.setattr(jit, "emitted", noted)
    return found


def test_an_edited_model_compiles_its_own_functions_only(
    fresh: Stock, emitted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    gradient(MODEL)
    first, emitted[:] = sum(emitted), []
    again, _ = gradient(EDITED)
    assert 0 < sum(emitted) < 0.7 * first
    monkeypatch.setattr(cutting, "stock", lambda: Stock("nothing"))
    cache.clear()
    assert gradient(EDITED)[0] == again


def test_the_next_process_finds_them_for_another_model(fresh: Stock, emitted: list[int]) -> None:
    gradient(MODEL)
    code = """
from unfold.backends.llvm import cutting, generating, jit
generating.threads, cutting._LINES = lambda: 2, 200
lines, original = 0, jit.emitted
def noted(text, *rest):
    global lines
    lines += text.count("\\n")
    return original(text, *rest)
jit.emitted = noted
from tests.backends.test_stock import EDITED, gradient
gradient(EDITED)
print(lines)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        cwd=Path(__file__).resolve().parent.parent.parent,
    )  # fmt: skip
    assert 0 < int(done.stdout) < 0.7 * sum(emitted)


def test_code_for_another_machine_or_as_text_takes_none(fresh: Stock) -> None:
    text = written(1, rest=80)(None)
    assert text.count("define") == 3
    assert called(jit.object_code(text), LINKERS[0]) == called(
        cutting.object_code(written(1, rest=80)), LINKERS[0]
    )
