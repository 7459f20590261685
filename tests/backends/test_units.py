"""One module compiled as several, in several threads."""

from __future__ import annotations

import ctypes
import sys
import threading
from typing import Any

import llvmlite
import numpy as np
import pytest

import unfold
from unfold.backends.llvm import elf, generating, jit
from unfold.backends.llvm.units import units

LSTM = """
model m(D, H):
    input x[t]: real[D]
    param W: real[4 * H, D]
    param U: real[4 * H, H]
    h[0] = 0
    c[0] = 0
    z[t] = W @ x[t] + U @ h[t-1]
    c[t] = sigmoid(z[t][0:H]) * c[t-1] + sigmoid(z[t][H:2*H]) * tanh(z[t][2*H:3*H])
    h[t] = sigmoid(z[t][3*H:4*H]) * tanh(c[t])
    loss = mean[t](sum(h[t] ** 2))
    minimize loss
"""


def chain(length: int) -> str:
    """Functions of which each calls the next one; ``f0(x)`` is x + 1 + 2 + … + length."""
    texts = [
        "declare i64 @llvm.smax.i64(i64, i64)",
        "@table = internal constant [2 x i64] [i64 0, i64 5]",
    ]
    for k in range(length):
        last = k + 1 == length
        link = "" if k == 0 else "internal"
        then = (
            "  %t = getelementptr i64, ptr @table, i64 1\n  %n = load i64, ptr %t\n"
            "  %r = sub i64 %y, %n\n  %s = call i64 @llvm.smax.i64(i64 %r, i64 %r)\n"
            if last
            else f'  %s = call i64 @"f{k + 1}"(i64 %y)\n'
        )
        name = f'"f{k}"'
        add = k + 1 + 5 * last
        texts.append(
            f"define {link} i64 @{name}(i64 %x) nounwind {{\nentry.1:\n"
            f"  %y = add i64 %x, {add}\n{then}  ret i64 %s\n}}"
        )
    return "\n\n".join(texts) + "\n"


def called(object_code: Any, linker: str) -> int:
    if linker == "elf":
        loaded: Any = elf.mapped(object_code, lambda name: 0)
        address = loaded.addresses["f0"]
    else:
        loaded = jit.Linked(object_code, None)
        address = loaded.address("f0")
    return int(ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(address)(100))


LINKERS = ["elf", "llvm"] if elf.is_possible() and "x86_64" in jit.host().triple else ["llvm"]


@pytest.mark.parametrize("linker", LINKERS)
@pytest.mark.parametrize("count", [1, 2, 3, 7, 20])
def test_modules_link_to_what_the_text_is(
    count: int, linker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = chain(7)
    assert len(units(text, count)) == min(count, 7)
    monkeypatch.setattr(generating, "threads", lambda: count)
    monkeypatch.setattr(jit, "_LINES", 1)
    code = jit.object_code(text)
    assert len(code) == min(count, 7)
    assert called(code, linker) == 100 + sum(range(1, 8))


def test_each_function_is_defined_once_and_declared_elsewhere() -> None:
    parts = units(chain(6), 3)
    defined = [
        [line.split("@")[1].split("(")[0] for line in part.splitlines() if line[:6] == "define"]
        for part in parts
    ]
    assert sorted(name for names in defined for name in names) == [f'"f{k}"' for k in range(6)]
    assert all(
        part.count("declare") == 6 - len(names) + 1
        for part, names in zip(parts, defined, strict=True)
    )


def test_modules_have_about_one_size() -> None:
    text = chain(40) + "define void @large() {\n" + "  fence seq_cst\n" * 200 + "  ret void\n}\n"
    one, two = (len(part) for part in units(text, 2))
    assert abs(one - two) < 0.2 * len(text)


@pytest.mark.parametrize(
    "more",
    [
        "@n = internal global i64 0\n",
        "@n = constant i64 3\n",
        "define internal void @g() alwaysinline {\n  ret void\n}\n",
    ],
    ids=["a variable", "a constant that others may see", "a function to be inlined"],
)
def test_what_cannot_be_divided_stays_whole(more: str) -> None:
    assert units(chain(4) + more, 2) == [chain(4) + more]


def test_a_gradient_has_the_same_bits_however_many_threads_compile_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found, parts = [], []
    original = jit.object_code

    def noted(*args: Any, **options: Any) -> Any:
        code = original(*args, **options)
        parts.append(len(code))
        return code

    monkeypatch.setattr(jit, "object_code", noted)
    monkeypatch.setenv("UNFOLD_CACHE", "off")
    for threads in (1, 2, 3):
        monkeypatch.setattr(generating, "threads", lambda threads=threads: threads)
        fn = unfold.compile(LSTM, D=5, H=24, dtype="float32")
        x = np.random.default_rng(0).normal(size=(3, 20, 5)).astype("float32")
        loss, grads = fn.value_and_grad(fn.init(seed=0), x=x)
        found.append([np.asarray(loss).tobytes(), *(g.tobytes() for g in grads.values())])
    assert found[0] == found[1] == found[2]
    assert {1, 2, 3} <= set(parts)


def test_llvmlite_compiles_where_its_lock_must_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    generating._functions.cache_clear()
    try:
        monkeypatch.setattr(llvmlite, "__version__", "99.1.0")
        assert generating._functions() is None
        assert generating.threads() == 1
        assert called(jit.object_code(chain(3)), LINKERS[0]) == 106
        monkeypatch.undo()
        generating._functions.cache_clear()
        monkeypatch.setattr(generating, "_EMIT", "LLVMPY_NoSuchFunction")
        assert generating._functions() is None
    finally:
        generating._functions.cache_clear()


def test_two_modules_are_compiled_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both threads are in LLVM at once: each waits there for the other one."""
    meeting = threading.Barrier(2, timeout=60)
    functions = generating._functions()
    if functions is None:
        pytest.skip("llvmlite keeps its lock")
    emit = functions[0]

    def met(*args: Any) -> Any:
        meeting.wait()
        return emit(*args)

    monkeypatch.setattr(generating, "_functions", lambda: (met, *functions[1:]))
    monkeypatch.setattr(generating, "threads", lambda: 2)
    monkeypatch.setattr(jit, "_LINES", 1)
    assert called(jit.object_code(chain(5)), LINKERS[0]) == 115


def test_the_error_of_any_thread_is_raised_when_all_have_ended() -> None:
    ended = []

    def good() -> int:
        ended.append(1)
        return 3

    def bad() -> int:
        raise ZeroDivisionError

    for jobs in ([good, bad, good], [bad, good, good]):
        with pytest.raises(ZeroDivisionError):
            generating.at_once(jobs)
    assert len(ended) == 4
    assert generating.at_once([good, good]) == [3, 3]


def test_llvms_words_reach_the_caller_from_any_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generating, "threads", lambda: 2)
    monkeypatch.setattr(jit, "_LINES", 1)
    wrong = chain(2).replace('%s = call i64 @"f1"', '%s = call i32 @"f1"')
    with pytest.raises(RuntimeError, match="defined with type"):
        jit.object_code(wrong)
    assert called(jit.object_code(chain(2)), LINKERS[0]) == 103


@pytest.mark.skipif(sys.platform != "linux", reason="processors of a process are told by Linux")
def test_there_is_a_thread_for_each_processor_of_the_process() -> None:
    import os

    assert generating.threads() == len(os.sched_getaffinity(0))


def test_llvmlite_as_it_was_tried_lets_its_lock_be_passed_by() -> None:
    if not llvmlite.__version__.startswith(generating._TRIED):
        pytest.skip("another llvmlite")
    assert generating._functions() is not None
