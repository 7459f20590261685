"""Compiling IR, and loading what was compiled."""

from __future__ import annotations

import ctypes
import gc
from concurrent.futures import ThreadPoolExecutor

import llvmlite.binding as llvm
import pytest

from unfold.backends.llvm import jit

TWICE = """
define double @twice(double %x) {
  %y = fmul double %x, 2.0
  ret double %y
}
"""


def number(k: int) -> str:
    return f"define i64 @number() {{\n  ret i64 {k}\n}}\n"


def twice(library: jit.Library) -> float:
    f = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(library.address("twice"))
    return float(f(21.0))


@pytest.mark.parametrize("optimise", [False, True])
def test_a_function_is_compiled_and_called(optimise: bool) -> None:
    assert twice(jit.compile_ir(TWICE, optimise=optimise)) == 42


def test_object_code_can_be_stored_and_loaded_again() -> None:
    code = jit.compile_ir(TWICE).object_code
    first, second = jit.load_object(code), jit.load_object(code)
    del first
    gc.collect()
    assert twice(second) == 42


def test_bytes_that_are_no_object_code_are_refused() -> None:
    with pytest.raises(RuntimeError, match="object"):
        jit.load_object((b"not an object",))


def test_a_name_that_is_not_exported_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="thrice"):
        jit.compile_ir(TWICE).address("thrice")


def test_what_llvm_rejects_is_told_in_its_words() -> None:
    with pytest.raises(RuntimeError, match="expected type"):
        jit.compile_ir("define @f() { ret void }")


def test_libraries_with_the_same_names_live_side_by_side() -> None:
    libraries = [jit.compile_ir(number(k)) for k in range(3)]
    calls = [ctypes.CFUNCTYPE(ctypes.c_int64)(lib.address("number")) for lib in libraries]
    assert [f() for f in calls] == [0, 1, 2]


def test_threads_may_compile_at_the_same_time() -> None:
    def compiled(k: int) -> int:
        library = jit.compile_ir(number(k), optimise=k % 2 == 0)
        return int(ctypes.CFUNCTYPE(ctypes.c_int64)(library.address("number"))())

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(compiled, range(24))) == list(range(24))


def test_the_listing_shows_the_function() -> None:
    assert "twice" in jit.assembly(TWICE)


def test_a_narrower_machine_has_fewer_lanes_and_runs_here() -> None:
    host = jit.host()
    for width in (16, 32, 64):
        machine = host.narrow(width)
        assert machine.vector_bytes == min(width, host.vector_bytes)
        assert machine.lanes("float32") == 2 * machine.lanes("float64")
        assert twice(jit.compile_ir(TWICE, target=machine)) == 42
    with pytest.raises(ValueError, match="24"):
        host.narrow(24)


def test_narrow_vectors_leave_out_the_features_of_wide_ones() -> None:
    wide = jit.HostTarget("x86_64-unknown-linux-gnu", "+avx2,+avx512f,+fma,+sse2", 64, 32)
    assert wide.narrow(32).features == "+avx2,-avx512f,+fma,+sse2"
    assert wide.narrow(32).registers == 16
    assert wide.narrow(16).features == "-avx2,-avx512f,-fma,+sse2"
    assert not wide.narrow(16).has("fma")
    assert wide.narrow(32).has("fma")


def test_options_of_llvm_are_set_back_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(llvm, "set_option", lambda _, option: said.append(option))
    with pytest.raises(ZeroDivisionError), jit.QUICK:
        raise ZeroDivisionError
    assert said == ["-disable-lsr=true", "-disable-lsr=false"]
    with jit.QUICK, jit.QUICK:  # as two threads have it
        assert len(said) == 3
    assert said[2:] == said[:2]
    monkeypatch.setattr(llvm, "llvm_version_info", (99, 0, 0))
    with jit.QUICK:
        pass
    assert len(said) == 4
