"""What is imported when: a script that only runs a model from the cache waits for nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import unfold

MODEL = """
model leaky:
    input x[t]: real
    param a: real = 0.9
    h[0] = 0
    h[t] = a * h[t-1] + x[t]
    loss = sum[t](h[t] ** 2)
    minimize loss
"""
CALL = f"""
fn = unfold.compile(unfold.loads({MODEL!r}))
fn.value_and_grad(fn.init(), x=[1.0, 2.0])
"""
#: What reads, checks and derives models, and what draws and trains them.
LATE = ("networkx", "lark", "unfold.check", "unfold.show", "unfold.train", "unfold.generate",
        "unfold.analysis",
        "unfold.graph", "unfold.draw", "unfold.segments", "scipy", "matplotlib")  # fmt: skip


def imported(code: str, folder: Path) -> set[str]:
    """The modules that a fresh process has after `import unfold` and this."""
    script = f"import json, sys, unfold\n{code}\nprint(json.dumps(list(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "UNFOLD_CACHE": str(folder)},
        stdout=subprocess.PIPE, check=True, text=True,
    )  # fmt: skip
    return set(json.loads(done.stdout))


def test_the_package_alone_imports_no_stage(tmp_path: Path) -> None:
    modules = imported("", tmp_path)
    assert "unfold.function" in modules
    late = (*LATE, "unfold.transform", "unfold.plan", "unfold.backends", "llvmlite")
    assert modules.isdisjoint(late)


def test_what_comes_from_the_cache_needs_neither_parser_nor_checker(tmp_path: Path) -> None:
    assert "unfold.check" in imported(CALL, tmp_path)
    modules = imported(CALL, tmp_path)
    assert "unfold.backends.llvm.kernel" in modules
    assert modules.isdisjoint(LATE)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere LLVM loads object code")
def test_what_comes_from_the_cache_needs_neither_llvm_nor_what_generates_code(
    tmp_path: Path,
) -> None:
    """Loading LLVM alone takes ten times as long as all that is done until the first gradient."""
    assert "llvmlite.binding" in imported(CALL, tmp_path)
    modules = imported(CALL, tmp_path)
    assert "unfold.backends.llvm.elf" in modules
    generating = {f"unfold.backends.llvm.{n}" for n in ("code", "jit", "lanes", "tiles", "choose")}
    assert modules.isdisjoint(
        {"llvmlite.binding", "llvmlite.ir", "unfold.plan", "unfold.transform", *generating}
    )


@pytest.mark.parametrize("name", unfold.__all__)
def test_every_name_of_the_package_is_there(name: str) -> None:
    assert name in dir(unfold)
    assert getattr(unfold, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'unfold' has no attribute 'nothing'"):
        _ = unfold.nothing
