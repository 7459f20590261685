"""Object code put into memory without LLVM: the same functions, or a refusal."""

from __future__ import annotations

import ctypes
import gc
import os
import pickle
import platform
import struct
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import unfold
from unfold.backends.llvm import elf, jit, loading

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="for Linux on x86-64"
)

#: Constants of several sizes, calls between functions, a table of jumps, a function of the process.
TEXT = """
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
define internal i64 @inner(i64 %x) noinline {
  switch i64 %x, label %other [ i64 0, label %zero  i64 1, label %one  i64 2, label %two
                                i64 3, label %three i64 4, label %four ]
zero:
  ret i64 7
one:
  ret i64 11
two:
  %a = call i64 @outer(i64 3)
  ret i64 %a
three:
  ret i64 23
four:
  ret i64 -1
other:
  ret i64 %x
}
define i64 @outer(i64 %x) noinline {
  %r = call i64 @inner(i64 %x)
  ret i64 %r
}
define void @scaled(ptr %to, ptr %from, i64 %n) {
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %from, i64 %n, i1 false)
  %v = load <4 x double>, ptr %to, align 8
  %w = fmul <4 x double> %v, <double 0.5, double 3.25, double -1.0, double 1.0e-9>
  store <4 x double> %w, ptr %to, align 8
  ret void
}
"""


def process(name: str) -> int:
    return ctypes.cast(getattr(ctypes.CDLL(None), name), ctypes.c_void_p).value or 0


def functions(address: Callable[[str], int]) -> tuple[Any, Any]:
    outer = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(address("outer"))
    kinds = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64
    return outer, ctypes.CFUNCTYPE(None, *kinds)(address("scaled"))


@pytest.mark.parametrize("optimise", [False, True])
def test_the_same_functions_as_llvm_links(optimise: bool) -> None:
    code = jit.object_code(TEXT, optimise=optimise)
    mapped, linked = elf.mapped(code, process), jit.Linked(code, None)
    found = []
    for address in (mapped.addresses.__getitem__, linked.address):
        outer, scaled = functions(address)
        to, given = np.zeros(4), np.arange(1.0, 5.0)
        scaled(to.ctypes.data, given.ctypes.data, given.nbytes)
        found.append(([outer(k) for k in range(-3, 9)], to.tolist()))
    assert found[0] == found[1]
    assert found[0][0] == [-3, -2, -1, 7, 11, 23, 23, -1, 5, 6, 7, 8]
    assert set(mapped.addresses) == {"outer", "scaled"}


def test_what_is_joined_can_be_kept_and_placed_in_another_process() -> None:
    code = jit.object_code(TEXT)
    whole = pickle.loads(pickle.dumps(elf.joined(code)))
    assert isinstance(whole, elf.Joined)
    assert {name for _, name in whole.far} == {"memcpy"}
    assert elf.linked(whole, process) == elf.linked(code, process)
    # Nothing of this process is in it: the addresses are entered where it is placed.
    assert all(whole.image[at : at + 8] == bytes(8) for at, _ in whole.far)
    placed = elf.mapped(whole, process)
    outer, scaled = functions(placed.addresses.__getitem__)
    assert [outer(k) for k in range(-3, 9)] == [-3, -2, -1, 7, 11, 23, 23, -1, 5, 6, 7, 8]
    found = []
    kept = elf.mapped(code, process)
    for run in (scaled, functions(kept.addresses.__getitem__)[1]):
        to, given = np.zeros(4), np.arange(1.0, 5.0)
        run(to.ctypes.data, given.ctypes.data, given.nbytes)
        found.append(to.tolist())
    assert found[0] == found[1] != [0.0] * 4


def test_code_can_be_read_and_run_and_not_be_written() -> None:
    mapped = elf.mapped(jit.object_code(TEXT), process)
    at = mapped.addresses["outer"]
    with open("/proc/self/maps", encoding="utf-8") as file:
        for line in file:
            low, high = (int(n, 16) for n in line.split(maxsplit=1)[0].split("-"))
            if low <= at < high:
                assert line.split()[1] == "r-xp"
                break
        else:
            pytest.fail("the code is nowhere")


def test_memory_is_given_back_with_the_object() -> None:
    def regions() -> int:
        with open("/proc/self/maps", encoding="utf-8") as file:
            return sum(line.split()[1] == "r-xp" and line.split()[-1] == "0" for line in file)

    code = jit.object_code(TEXT)
    gc.collect()
    before = regions()
    kept = [elf.mapped(code, process) for _ in range(5)]
    assert regions() >= before  # the system may have put neighbours together
    del kept
    gc.collect()
    assert regions() == before


@pytest.mark.parametrize(
    "text",
    [
        "@n = global i64 3\ndefine i64 @f() {\n  %x = load i64, ptr @n\n  ret i64 %x\n}\n",
        "@n = internal global i64 0\ndefine ptr @f() {\n  ret ptr @n\n}\n",
        "declare i64 @no_such_function()\n"
        "define i64 @f() {\n  %x = call i64 @no_such_function()\n  ret i64 %x\n}\n",
    ],
    ids=["data", "zeros", "a function that is nowhere"],
)
def test_what_is_unfamiliar_is_left_to_llvm(text: str) -> None:
    with pytest.raises(elf.Unfamiliar):
        elf.mapped(jit.object_code(text), loading._function)


def test_llvm_loads_what_is_unfamiliar() -> None:
    text = "@n = global i64 3\ndefine i64 @f() {\n  %x = load i64, ptr @n\n  ret i64 %x\n}\n"
    library = jit.compile_ir(text)
    assert ctypes.CFUNCTYPE(ctypes.c_int64)(library.address("f"))() == 3


def test_where_memory_cannot_be_made_executable_llvm_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*_: Any) -> Any:
        raise OSError(13, "Permission denied")

    monkeypatch.setattr(elf, "mapped", refused)
    library = jit.compile_ir(TEXT)
    outer, _ = functions(library.address)
    assert outer(3) == 23


@given(st.data())
def test_damaged_object_code_is_refused_or_linked_but_never_a_crash(data: st.DataObject) -> None:
    """Nothing that is not object code reaches this linker, for entries of the cache carry a
    checksum; still its answer is an exception, not a wild write."""
    code = bytearray(*jit.object_code(TEXT))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(code) - 1))
        code[at] = data.draw(st.integers(0, 255))
    code = code[: data.draw(st.integers(0, len(code)))] if data.draw(st.booleans()) else code
    try:
        image, exported = elf.linked([bytes(code)], lambda _: 0)
    except elf.Unfamiliar:
        return
    assert len(image) < 2**20
    assert all(isinstance(at, int) for at in exported.values())


def test_a_big_endian_or_foreign_object_is_refused() -> None:
    code = bytearray(*jit.object_code(TEXT))
    struct.pack_into("<H", code, 18, 183)  # aarch64
    with pytest.raises(elf.Unfamiliar, match="another machine"):
        elf.linked([bytes(code)], process)
    with pytest.raises(elf.Unfamiliar, match="no object code"):
        elf.linked([b"nothing"], process)


def test_a_model_computes_the_same_with_either_linker(monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
model m(D, H):
    input x[t]: real[D]
    param W: real[H, D]
    param U: real[H, H]
    h[0] = 0
    h[t] = tanh(W @ x[t] + U @ h[t-1])
    loss = mean[t](sum(h[t] ** 2))
    minimize loss
"""
    found = []
    for possible in (True, False):
        monkeypatch.setattr(elf, "is_possible", lambda possible=possible: possible)
        fn = unfold.compile(text, D=7, H=40, dtype="float32")
        x = np.random.default_rng(0).normal(size=(5, 30, 7)).astype("float32")
        loss, grads = fn.value_and_grad(fn.init(seed=0), x=x)
        found.append([loss.tobytes(), *(g.tobytes() for g in grads.values())])
    assert found[0] == found[1]


def test_python_ends_without_a_word_while_code_is_in_memory() -> None:
    code = """
import numpy as np, unfold
text = "model m(): input x[t]: real; s[0] = 0; s[t] = s[t-1] + x[t]; output s[t]"
np.kept = unfold.compile(text.replace(": input", ":\\n input").replace("; ", "\\n "))
np.kept({}, x=np.ones(3))  # it outlives the modules of this package
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "UNFOLD_CACHE": "off"},
    )  # fmt: skip
    assert done.stderr == ""
