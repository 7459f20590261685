"""What was compiled is found by the next function and the next process, and by nothing else."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unfold
from unfold import cache
from unfold.backends import llvm
from unfold.backends.llvm import cutting, jit
from unfold.cli import main
from unfold.digest import digest

TEXT = """
model m(D, H, rate = 0.5):
    input x[t]: real[D]
    param W: real[H, D]
    param b: real[H]
    h[0] = 0
    h[t] = tanh(W @ x[t] + rate * h[t-1] + b)
    loss = mean[t](sum(h[t] ** 2))
    other = sum[t](sum(h[t]))
    output h[t], other
    minimize loss
"""
SIZES = {"D": 3, "H": 4}
X = np.random.default_rng(0).normal(size=(6, 3))
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="owners and modes are those of POSIX")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


class Counter:
    """How often code was generated."""

    def __init__(self) -> None:
        self.count = 0

    def new(self) -> int:
        found, self.count = self.count, 0
        return found


@pytest.fixture
def generated(monkeypatch: pytest.MonkeyPatch) -> Counter:
    counter = Counter()
    inside: list[Any] = []

    def counted(original: Any) -> Any:
        def object_code(*args: Any, **options: Any) -> Any:
            counter.count += not inside  # one of them calls the other
            inside.append(original)
            try:
                return original(*args, **options)
            finally:
                inside.pop()

        return object_code

    for module in (jit, cutting):
        monkeypatch.setattr(module, "object_code", counted(module.object_code))
    return counter


def compiled(text: str = TEXT, **options: Any) -> unfold.Function:
    return unfold.compile(unfold.loads(text), **{**SIZES, **options})


def gradient(fn: unfold.Function, **options: Any) -> Any:
    """The bits of a loss and its gradients."""
    value, grads = fn.value_and_grad(fn.init(seed=1), x=X, **options)
    return b"".join(np.asarray(a).tobytes() for a in (value, *grads.values()))


def entries(folder: Path) -> list[Path]:
    cache.settle()
    return sorted(folder.glob("*.entry"))


# --- what is found ----------------------------------------------------------------------------


def test_a_second_function_generates_no_code_and_has_the_same_bits(generated: Counter) -> None:
    first = gradient(compiled())
    assert generated.new() == 1
    assert gradient(compiled()) == first
    assert generated.new() == 0


def test_every_kind_of_call_is_found_again_with_the_same_bits(generated: Counter) -> None:
    def everything() -> list[Any]:
        fn = compiled()
        params, many = fn.init(seed=1), np.stack([X] * 17)
        moved = {"W": np.ones((4, 3))}
        found: list[Any] = [dict(fn(params, x=X)), dict(fn(params, x=many))]
        found += [fn.value_and_grad(params, x=many), fn.value_and_grad(params, x=X, wrt=["x", "h"])]
        found += [fn.value_and_grad(params, x=many, lengths=np.arange(17) % 6 + 1)]
        found += [[dict(part) for part in fn.jvp(params, moved, x=X)], fn.hvp(params, moved, x=X)]
        found += [fn.jacobian("h[T]", "x[1]", params, x=X), fn.jacobian("h[2]", "W", params, x=X)]
        stepper = fn.stepper(params)
        found += [dict(stepper.step(x=X[0])), dict(stepper.step(x=X[1]))]
        return found

    first = everything()
    assert generated.new() > 8
    second = everything()
    assert generated.new() == 0
    np.testing.assert_equal(second, first)  # exactly: no tolerance


@pytest.mark.parametrize(
    "change",
    [
        {"H": 5}, {"rate": 0.25}, {"dtype": "float32"}, {"truncate": unfold.Window(2)},
        {"truncate": unfold.Horizon(2)}, {"threads": 2}, {"check_finite": True},
    ],
    ids=str,
)  # fmt: skip
def test_other_sizes_constants_and_options_are_other_entries(
    change: dict[str, Any], generated: Counter
) -> None:
    gradient(compiled())
    gradient(compiled(truncate=unfold.Window(3) if "truncate" in change else None))
    generated.new()
    gradient(compiled(**change))
    assert generated.new() == 1


def test_other_losses_variables_texts_and_models_are_other_entries(generated: Counter) -> None:
    gradient(compiled())
    generated.new()
    gradient(compiled(), loss="other")
    gradient(compiled(), wrt=["W"])
    gradient(compiled(), wrt=["b", "W"])
    assert generated.new() == 3
    gradient(compiled(TEXT.replace("tanh", "sigmoid")))
    gradient(compiled(TEXT.replace("[0] = 0", "[0] = 1")))
    assert generated.new() == 2
    two = TEXT + TEXT.replace("model m(", "model n(").replace("tanh", "sin")
    for name in ("m", "n", "m", "n"):
        gradient(unfold.compile(unfold.loads(two, model=name), **SIZES))  # type: ignore[arg-type]
    assert generated.new() == 2


def test_a_file_that_is_used_counts_with_its_content(tmp_path: Path, generated: Counter) -> None:
    inner = "model inner(D):\n    input x[t]: real[D]\n    y[t] = {} * x[t]\n    output y[t]\n"
    outer = (
        'from "inner.rec" use inner\nmodel outer(D):\n    input x[t]: real[D]\n    param p: real\n'
        "    part = inner(x)\n    loss = sum[t](sum(p * part.y[t]))\n    minimize loss\n"
    )
    (tmp_path / "outer.rec").write_text(outer)

    def loss(factor: int) -> float:
        (tmp_path / "inner.rec").write_text(inner.format(factor))
        fn = unfold.compile(tmp_path / "outer.rec", D=3)
        return float(fn.value_and_grad({"p": 1.0}, x=X)[0])

    first = loss(2)
    assert generated.new() == 1
    np.testing.assert_allclose(loss(4), 2 * first, rtol=1e-14)
    assert generated.new() == 1
    assert loss(2) == first
    assert generated.new() == 0


def test_mistakes_are_reported_every_time() -> None:
    wrong = TEXT.replace("W @ x[t]", "W @ h[t-1]")
    short = TEXT.replace("tanh(", "h[t-1][3] + tanh(")
    for _ in range(2):
        with pytest.raises(unfold.RecError, match="E0301"):
            unfold.loads(wrong)
        with pytest.raises(unfold.RecError, match="E0306"):
            compiled(short, H=2)
        with pytest.raises(unfold.InputError, match="truncate"):
            compiled(truncate=unfold.Window(2, index="q"))


def test_an_implicit_equation_from_the_cache_still_says_that_it_has_no_solution() -> None:
    text = """
model m():
    input x[t]: real
    solve z[t] by picard(max_steps = 9):
        z[t] = 2 * z[t] + x[t]
    output z[t]
"""
    said = []
    for _ in range(2):
        fn = unfold.compile(text)
        with pytest.raises(unfold.SolverError) as error:
            fn({}, x=np.ones(3))
        said.append(str(error.value))
    assert said[0] == said[1]


def test_the_interpreter_is_not_confused_with_native_code() -> None:
    native, walked = gradient(compiled()), gradient(compiled(backend="numpy"))
    assert gradient(compiled()) == native
    assert gradient(compiled(backend="numpy")) == walked


# --- another machine, another compiler --------------------------------------------------------


def test_code_for_another_machine_is_not_loaded(
    generated: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    gradient(compiled())
    machine = jit.host()
    generated.new()
    for other in (
        machine.narrow(16),
        jit.HostTarget(machine.triple, machine.features + ",-adx", 16, 16),
    ):
        if other == machine:
            continue
        for module in (jit, llvm):
            monkeypatch.setattr(module, "host", lambda other=other: other)
        gradient(compiled())
        assert generated.new() == 1


def test_the_entries_of_another_version_are_not_used(
    generated: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    gradient(compiled())
    generated.new()
    monkeypatch.setattr(cache, "version", lambda: "another")
    gradient(compiled())
    assert generated.new() == 1


def test_the_version_changes_with_every_source_file(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("a.py", "deep/b.rec"):
        (tmp_path / name).write_text("1")

    def seen() -> list[Any]:
        return sorted(cache._sources(str(tmp_path), len(str(tmp_path))))

    before = seen()
    assert len(before) == 2
    os.utime(tmp_path / "deep/b.rec", (1, 1))
    assert seen() != before
    before = seen()
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__/a.pyc").write_text("1")
    assert seen() == before
    (tmp_path / "new.py").touch()
    assert seen() != before


# --- damage and malice ------------------------------------------------------------------------


def damaged(content: bytes) -> Iterator[bytes]:
    yield b""
    for k in range(8):
        yield content[: k * len(content) // 8]
    for k in range(0, len(content), max(1, len(content) // 12)):
        yield content[:k] + bytes([content[k] ^ 0x40]) + content[k + 1 :]
    yield content[:-1]
    yield content + b"x"
    yield content.replace(b"unfold cache 1", b"unfold cache 0")


def test_a_damaged_entry_is_not_used() -> None:
    name = cache.key("something")
    cache.put(name, {"numbers": list(range(50))})
    (path,) = entries(cache.folder() or Path())
    content = path.read_bytes()
    for other in damaged(content):
        path.write_bytes(other)
        assert cache.get(name) is None
    path.write_bytes(content)
    assert cache.get(name) == {"numbers": list(range(50))}


def test_damaged_code_is_compiled_again_and_mended(folder: Path, generated: Counter) -> None:
    expected = gradient(compiled())
    assert len(entries(folder)) == 4  # the program, its sizes checked, the gradient, its code
    for path in entries(folder):
        content = path.read_bytes()
        path.write_bytes(content[:-5] + bytes([content[-5] ^ 1]) + content[-4:])
    assert generated.new() == 1
    assert gradient(compiled()) == expected
    assert generated.new() == 1
    assert gradient(compiled()) == expected
    assert generated.new() == 0


def test_an_entry_under_the_name_of_another_is_not_used(folder: Path) -> None:
    one, two = cache.key(1), cache.key(2)
    cache.put(one, "one")
    os.replace(folder / f"{one}.entry", folder / f"{two}.entry")
    assert cache.get(two) is None


@POSIX
def test_what_others_may_have_written_is_not_used(folder: Path, tmp_path: Path) -> None:
    name = cache.key(1)
    cache.put(name, "one")
    path = folder / f"{name}.entry"
    assert path.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    path.chmod(0o666)
    assert cache.get(name) is None
    path.chmod(0o600)
    assert cache.get(name) == "one"
    path.rename(tmp_path / "moved")
    path.symlink_to(tmp_path / "moved")
    assert cache.get(name) is None


@POSIX
def test_a_folder_that_others_may_write_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    monkeypatch.setenv(cache.VARIABLE, str(shared))
    assert cache.folder() is None
    gradient(compiled())
    cache.settle()
    assert not list(shared.iterdir())


# --- no place, no space -----------------------------------------------------------------------


def test_where_no_folder_can_be_made_everything_works_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = gradient(compiled())
    (tmp_path / "file").touch()
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "file" / "below"))
    assert cache.folder() is None
    assert gradient(compiled()) == expected


@pytest.mark.parametrize("failing", ["replace", "open"])
def test_a_full_or_read_only_disk_is_no_error(
    failing: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    target = (os, "replace") if failing == "replace" else (tempfile, "mkstemp")
    monkeypatch.setattr(*target, full)
    first = gradient(compiled())
    cache.settle()
    assert not list(folder.iterdir())
    assert gradient(compiled()) == first


def test_the_cache_can_be_turned_off(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.VARIABLE, "off")
    gradient(compiled())
    cache.settle()
    assert not folder.exists()
    assert cache.info() == cache.Info(None, 0, 0)


def test_what_cannot_be_written_is_not_kept(folder: Path) -> None:
    cache.put(cache.key(1), threading.Lock())
    cache.put(cache.key(2), lambda: 0)
    assert not list(folder.iterdir())
    assert cache.key(object()) is None
    deep: Any = ()
    for _ in range(100_000):
        deep = (deep,)
    assert cache.key(deep) is None


def test_the_cache_stays_within_its_bounds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "LIMIT", 20_000)
    names = [cache.key(k) for k in range(40)]
    for k, name in enumerate(names):
        cache.put(name, bytes(2000))
        os.utime(folder / f"{name}.entry", (k, k))
        cache.get(names[0])  # in use all the time, so that it stays
        assert cache.info().size <= 20_000
    assert [cache.get(names[k]) is not None for k in (0, 1, 39)] == [True, False, True]


def test_few_writers_look_through_the_folder() -> None:
    size = cache.LIMIT // 1600
    looks = sum(cache._is_looking(digest(k), size) for k in range(4000))
    assert 20 <= looks <= 60  # one in a hundred
    assert cache._is_looking(digest(0), cache.LIMIT // 16)


def test_what_was_never_finished_is_removed_in_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "LIMIT", 16)
    cache.put(cache.key(1), 1)
    old, new = folder / "old.part", folder / "new.part"
    for path in (old, new):
        path.touch()
    os.utime(old, (1, 1))
    cache.put(cache.key(2), 2)
    assert (old.exists(), new.exists()) == (False, True)


# --- many processes ---------------------------------------------------------------------------

PROCESS = f"""
import sys, json, hashlib, numpy as np, unfold
from unfold.backends.llvm import cutting
count, original = 0, cutting.object_code
def object_code(*args, **options):
    global count
    count += 1
    return original(*args, **options)
cutting.object_code = object_code
fn = unfold.compile(unfold.loads({TEXT!r}), **{SIZES!r})
x = np.random.default_rng(0).normal(size=(6, 3))
value, grads = fn.value_and_grad(fn.init(seed=1), x=x)
bits = b"".join(np.asarray(a).tobytes() for a in (value, *grads.values()))
print(json.dumps([count, hashlib.sha256(bits).hexdigest()]))
"""


def start(code: str, seed: int = 0) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment
    )


def said(process: subprocess.Popen[str]) -> Any:
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return json.loads(out)


def test_the_next_process_generates_nothing_and_has_the_same_bits() -> None:
    (cold, first), (warm, second) = said(start(PROCESS, 1)), said(start(PROCESS, 2))
    assert (cold, warm) == (1, 0)
    assert first == second


def test_processes_that_compile_at_once_do_not_disturb_each_other(folder: Path) -> None:
    found = [said(p) for p in [start(PROCESS, k) for k in range(4)]]
    assert len({bits for _, bits in found}) == 1
    assert said(start(PROCESS))[0] == 0
    assert not list(folder.glob("*.part"))


@POSIX
def test_a_process_that_is_killed_leaves_whole_entries_only() -> None:
    killed = start("""
import os, random, signal, time
from unfold import cache
random.seed(0)
names = [cache.key(k) for k in range(5)]
paths = [cache.folder() / f"{name}.entry" for name in names]
end = time.monotonic() + 60
done = 0
# As long as it takes until some were killed while they wrote, and every entry was written.
while done < 40 or not (list(cache.folder().glob("*.part")) and all(p.exists() for p in paths)):
    done += 1
    assert time.monotonic() < end
    child = os.fork()
    if child == 0:
        while True:
            for k, name in enumerate(names):
                cache.put(name, [k, bytes([k]) * 300_000])
    time.sleep(random.uniform(0, 0.01))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    for k, (name, path) in enumerate(zip(names, paths)):
        assert not path.exists() or cache.get(name) == [k, bytes([k]) * 300_000]
print(done)
""")
    assert said(killed) >= 40


# --- the command ------------------------------------------------------------------------------


def test_the_command_shows_and_empties_the_cache(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*args: str) -> str:
        monkeypatch.setattr(sys, "argv", ["unfold", "cache", *args])
        with pytest.raises(SystemExit) as stopped:
            main()
        assert stopped.value.code == 0
        return capsys.readouterr().out

    cache.put(cache.key(1), 1)
    assert run() == run("info") == f"{folder}: 1 entry, 0.0 MiB\n"
    found = json.loads(run("info", "--json"))
    assert found == {"folder": str(folder), "entries": 1, "bytes": cache.info().size}
    assert run("clear") == "removed 1 entry\n"
    assert cache.info().entries == 0
    monkeypatch.setenv(cache.VARIABLE, "off")
    assert "nothing is cached" in run()
