"""One module compiled as several, in several threads."""

from __future__ import annotations

import ctypes
import re
import sys
import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

import llvmlite
import numpy as np
import pytest

import unfold
from unfold.backends.llvm import cutting, elf, generating, jit, lanes
from unfold.backends.llvm.ir import Module, Receiver
from unfold.backends.llvm.units import Unit, Units

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


DECLARED = {"llvm.smax.i64": "declare i64 @llvm.smax.i64(i64, i64)"}


def chain(length: int) -> list[str]:
    """Functions of which each calls the one before; ``f0(x)``, the last one, is x + 1 + 2 + … +
    length."""
    texts = ["@table = internal constant [2 x i64] [i64 0, i64 5]"]
    for k in reversed(range(length)):
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
    return texts


def written(texts: Sequence[str]) -> cutting.Writer:
    """Writes these functions and constants one by one."""

    def write(receiver: Receiver | None) -> str:
        module = Module(receiver=receiver)
        module.declared |= DECLARED
        for text in texts:
            module.add(text)
        return str(module)

    return write


def cut(texts: Sequence[str], lines: int) -> list[str]:
    """The modules of so many lines that functions are cut into."""
    units, found = Units(lines), []
    for text in texts:
        units.add(text)
        if units.is_full:
            found.append(units.take(DECLARED).text)
    return [*found, units.take(DECLARED).text] if units.is_begun else found


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
@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("optimise", [False, True])
def test_modules_link_to_what_the_text_is(
    optimise: bool, threads: int, linker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generating, "threads", lambda: threads)
    monkeypatch.setattr(cutting, "_LINES", 1)
    code = cutting.object_code(written(chain(7)), optimise=optimise)
    assert len(code) == (1 if threads == 1 else 7)
    assert called(code, linker) == 100 + sum(range(1, 8))


def test_each_function_is_defined_once_and_declared_where_it_is_called() -> None:
    parts = cut(chain(6), 9)
    defined = [
        [line.split("@")[1].split("(")[0] for line in part.splitlines() if line[:6] == "define"]
        for part in parts
    ]
    assert defined == [['"f5"', '"f4"'], ['"f3"', '"f2"'], ['"f1"', '"f0"']]
    declared = [
        [line.split("@")[1].split("(")[0] for line in part.splitlines() if line[:7] == "declare"]
        for part in parts
    ]
    assert declared == [["llvm.smax.i64"], ['"f4"'], ['"f2"']]
    assert ["@table = " in part for part in parts] == [True, False, False]


def test_functions_that_come_together_are_told_apart() -> None:
    constant, *functions = chain(6)
    functions[0] = functions[0].replace("@llvm.smax", "@llvm.smin")
    functions.append("declare i64 @llvm.smin.i64(i64, i64)")
    (whole, *_), (apart, *_) = (
        cut([constant, *given], 1000) for given in (["; all\n" + "\n\n".join(functions)], functions)
    )
    assert whole.replace("\n\n", "\n") == apart


@pytest.mark.parametrize(
    "more",
    [
        "@n = internal global i64 0\n",
        "@n = constant i64 3\n",
        "define internal void @g() alwaysinline {\n  ret void\n}\n",
    ],
    ids=["a variable", "a constant that others may see", "a function to be inlined"],
)
def test_what_cannot_be_divided_is_refused(more: str) -> None:
    with pytest.raises(ValueError, match=r"shared by all modules|inlined"):
        cut([*chain(4), more], 1)


def test_a_gradient_has_the_same_bits_however_many_threads_compile_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found, parts = [], []
    original = cutting.object_code

    def noted(*args: Any, **options: Any) -> Any:
        code = original(*args, **options)
        parts.append(len(code))
        return code

    monkeypatch.setattr(cutting, "object_code", noted)
    monkeypatch.setenv("UNFOLD_CACHE", "off")
    monkeypatch.setattr(cutting, "_LINES", 300)
    for threads in (1, 2, 3):
        monkeypatch.setattr(generating, "threads", lambda threads=threads: threads)
        fn = unfold.compile(LSTM, D=5, H=24, dtype="float32")
        x = np.random.default_rng(0).normal(size=(3, 20, 5)).astype("float32")
        loss, grads = fn.value_and_grad(fn.init(seed=0), x=x)
        found.append([np.asarray(loss).tobytes(), *(g.tobytes() for g in grads.values())])
    assert found[0] == found[1] == found[2]
    assert parts[0] == 1
    assert parts[1] == parts[2] > 3


def test_large_functions_of_code_that_is_optimised_are_modules_of_their_own() -> None:
    constant, *functions = chain(5)
    functions[1] = functions[1].replace("entry.1:\n", "entry.1:\n" + "  ; a comment\n" * 9)
    found: list[Unit] = []
    splitter = cutting.Splitter(10, lambda unit, is_cold: found.append(unit))
    module = Module()
    module.declared |= DECLARED
    for text in (constant, *functions):
        splitter.add(module, text, common=False)
    assert [unit.names for unit in found] == [('"f3"',)]
    splitter.rest()
    assert [unit.names for unit in found[1:]] == [('"f4"', '"f2"', '"f1"', '"f0"')]
    assert 'declare hidden i64 @"f4"' in found[0].text
    assert 'declare hidden i64 @"f3"' in found[1].text
    assert not splitter.has('"f4"')


def test_a_short_module_that_is_optimised_stays_in_one_piece(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(generating, "threads", lambda: 2)
    text = written(chain(3))(None)
    code = cutting.object_code(written(chain(3)), optimise=True)
    assert code == jit.object_code(text, optimise=True) != jit.object_code(text)


SIR = """
model m():
    input  y[t]: real
    param  b: real = 0.6
    param  g: real = 0.2
    s[0] = 0.9
    i[0] = 0.1
    flow s[t], i[t] from s[t-1], i[t-1] by rk4(0.5):
        der(s) = -b * s * i
        der(i) = b * s * i - g * i
    loss = mean[t]((i[t] - y[t]) ** 2)
    minimize loss
"""


@pytest.mark.parametrize("batch", [None, 5])
def test_a_small_system_has_the_same_bits_however_many_threads_compile_it(
    batch: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, parts = [], []
    original = cutting.object_code

    def noted(*args: Any, **options: Any) -> Any:
        assert options["optimise"]
        code = original(*args, **options)
        parts.append(len(code))
        return code

    monkeypatch.setattr(cutting, "object_code", noted)
    monkeypatch.setenv("UNFOLD_CACHE", "off")
    y = np.random.default_rng(0).uniform(size=(9,) if batch is None else (batch, 9))
    for threads in (1, 2, 3):
        monkeypatch.setattr(generating, "threads", lambda threads=threads: threads)
        fn = unfold.compile(SIR, mode="reverse")
        loss, grads = fn.value_and_grad(fn.init(seed=0), y=y)
        found.append([np.asarray(loss).tobytes(), *(g.tobytes() for g in grads.values())])
    assert found[0] == found[1] == found[2]
    assert parts == [1, 3, 3]  # what is done for each sequence, what calls it, and the rest


def test_what_passes_many_addresses_on_is_compiled_without_care(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found, cold = [], list[str]()
    original = jit.emitted

    def noted(text: str, optimise: bool, *rest: Any) -> bytes:
        if rest[2:] == (0,):  # the level
            assert not optimise
            assert not re.search(r" = f(?!reeze)", text)  # no arithmetic with numbers of the model
            cold.extend(re.findall(r"^define .*?@([\w.]+)\(", text, re.MULTILINE))
        return original(text, optimise, *rest)

    monkeypatch.setattr(jit, "emitted", noted)
    monkeypatch.setenv("UNFOLD_CACHE", "off")
    monkeypatch.setattr(generating, "threads", lambda: 2)
    y = np.random.default_rng(0).uniform(size=(9, 9))
    for many in (1000, 5):
        monkeypatch.setattr(lanes, "_MANY", many)
        assert not cold
        fn = unfold.compile(SIR, mode="reverse")
        loss, grads = fn.value_and_grad(fn.init(seed=0), y=y)
        found.append([np.asarray(loss).tobytes(), *(g.tobytes() for g in grads.values())])
    assert set(cold) == {"run"}
    assert found[0] == found[1]


def test_only_what_runs_once_in_a_call_is_compiled_without_care(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Arithmetic gets good code; what begins a call, calls others and delivers results need not."""
    quick, slow, plain = set[str](), set[str](), set[str]()
    original = jit.emitted

    def noted(text: str, *rest: Any) -> bytes:
        functions = re.findall(r"^define .*?^\}$", text, re.MULTILINE | re.DOTALL)
        names = {re.findall(r"@([\w.]+)\(", f)[0]: f for f in functions}
        if rest[-1] == 0:
            quick.update(names)
            assert not any(" phi " in f or " x float>" in f for f in functions)
        else:
            slow.update(names)
        for name, function in names.items():
            if "optnone" in function:
                plain.add(name)
                assert " = f" not in function
        return original(text, *rest)

    monkeypatch.setattr(jit, "emitted", noted)
    monkeypatch.setattr(generating, "threads", lambda: 2)
    monkeypatch.setenv("UNFOLD_CACHE", "off")
    fn = unfold.compile(LSTM, D=5, H=24, dtype="float32")
    x = np.zeros((3, 20, 5), "float32")
    fn.value_and_grad(fn.init(seed=0), x=x)
    assert {"run", "pack", "results"} <= quick
    assert {"body", "loop.0"} <= slow
    assert "body" in plain
    assert not quick & slow


def test_llvmlite_compiles_where_its_lock_must_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    generating._functions.cache_clear()
    try:
        monkeypatch.setattr(llvmlite, "__version__", "99.1.0")
        assert generating._functions() is None
        assert generating.threads() == 1
        assert called(cutting.object_code(written(chain(3))), LINKERS[0]) == 106
        monkeypatch.undo()
        generating._functions.cache_clear()
        monkeypatch.setattr(generating, "_LONG", ("LLVMPY_NoSuchFunction",))
        assert generating._functions() is None
    finally:
        generating._functions.cache_clear()


@pytest.mark.parametrize("optimise", [False, True])
def test_two_modules_are_compiled_at_the_same_time(
    optimise: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    monkeypatch.setattr(cutting, "_LINES", 1)
    code = cutting.object_code(written(chain(4)), optimise=optimise)
    assert called(code, LINKERS[0]) == 110


def test_the_error_of_any_thread_is_raised_when_all_have_ended() -> None:
    ended = []

    def good(thread: int) -> int:
        ended.append(thread)
        return 3

    def bad(thread: int) -> int:
        raise ZeroDivisionError

    def some(threads: int) -> None:
        with generating.Jobs[int](threads) as jobs:
            for size, job in enumerate((good, bad, good)):
                jobs.add(size, job)
            jobs.done()

    for threads in (1, 2, 3):
        with pytest.raises(ZeroDivisionError):
            some(threads)
        with generating.Jobs[int](threads) as jobs:
            jobs.add(1, good)
            jobs.add(2, good)
            assert jobs.done() == [3, 3]
    assert set(ended) <= {0, 1, 2}


def test_jobs_are_begun_before_all_are_there() -> None:
    begun = threading.Event()

    def job(thread: int) -> int:
        begun.set()
        return thread

    with generating.Jobs[int](2) as jobs:
        jobs.add(1, job)
        assert begun.wait(timeout=60)
        assert jobs.done() == [1]


def test_threads_end_when_what_gives_them_jobs_fails() -> None:
    def fail() -> None:
        with generating.Jobs[int](3) as jobs:
            jobs.add(1, lambda thread: thread)
            raise KeyError("no lowering")

    before = threading.active_count()
    with pytest.raises(KeyError):
        fail()
    assert threading.active_count() == before


def test_large_jobs_are_done_first() -> None:
    order: list[int] = []

    def job(thread: int, size: int) -> None:
        order.append(size)

    with generating.Jobs[None](1) as jobs:
        for size in (1, 5, 3):
            jobs.add(size, partial(job, size=size))
        jobs.done()
    assert order == [5, 3, 1]


def test_llvms_words_reach_the_caller_from_any_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generating, "threads", lambda: 2)
    monkeypatch.setattr(cutting, "_LINES", 1)
    wrong = [text.replace('%s = call i64 @"f1"', '%s = call i32 @"f1"') for text in chain(2)]
    interval = sys.getswitchinterval()
    with pytest.raises(RuntimeError, match="defined with type"):
        cutting.object_code(written(wrong))
    assert called(cutting.object_code(written(chain(2))), LINKERS[0]) == 103
    assert sys.getswitchinterval() == interval


@pytest.mark.skipif(sys.platform != "linux", reason="processors of a process are told by Linux")
def test_there_is_a_thread_for_each_processor_of_the_process() -> None:
    import os

    assert generating.threads() == len(os.sched_getaffinity(0))


def test_llvmlite_as_it_was_tried_lets_its_lock_be_passed_by() -> None:
    if not llvmlite.__version__.startswith(generating._TRIED):
        pytest.skip("another llvmlite")
    assert generating._functions() is not None
