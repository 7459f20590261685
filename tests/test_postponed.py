"""What was compiled is written when nobody waits for it, and not lost when the process ends."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from unfold import cache, postponed
from unfold.postponed import Postponed


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    return tmp_path


def until(condition: object) -> None:
    assert callable(condition)
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_jobs_wait_for_a_moment_in_which_nothing_is_made() -> None:
    work, done = Postponed(), list[int]()
    with work.busy():
        work.add("one", lambda: done.append(1))
        work.add("two", lambda: done.append(2))
        time.sleep(3 * postponed._MOMENT)
        assert not done
        assert "one" in work
    until(lambda: done == [1, 2])
    until(lambda: "two" not in work and work._thread is None)
    work.add("one", lambda: done.append(3))  # by another thread
    until(lambda: done == [1, 2, 3])


def test_no_job_waits_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postponed, "_LONGEST", 0.1)
    work, done = Postponed(), threading.Event()
    with work.busy():
        work.add("one", done.set)
        assert done.wait(timeout=60)


def test_few_jobs_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postponed, "_MOST", 3)
    work, done = Postponed(), list[int]()
    with work.busy():
        for k in range(4):
            assert not done
            work.add(str(k), lambda k=k: done.append(k))  # type: ignore[misc]
        assert done == [0, 1, 2, 3]


def test_what_is_settled_is_done_once_and_leaves_no_thread() -> None:
    work, done, before = Postponed(), list[int](), threading.active_count()
    for _ in range(20):
        work.add("one", lambda: done.append(1))
        work.settle()
        assert "one" not in work
        assert threading.active_count() == before
    assert done == [1] * 20


def test_a_job_that_fails_is_not_tried_again() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    work, done = Postponed(), list[int]()
    with work.busy():
        work.add("one", fail)
        work.add("two", lambda: done.append(2))
        with pytest.raises(ZeroDivisionError):
            work.settle()
    until(lambda: done == [2])
    assert "one" not in work


def test_where_no_thread_is_to_be_had_it_is_done_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none)
    work, done = Postponed(), list[int]()
    work.add("one", lambda: done.append(1))
    assert done == [1]


def test_who_asks_for_what_waits_finds_it(folder: Path) -> None:
    name = cache.key("something")
    made = cache.remember(name, lambda: [1, 2])
    assert not list(folder.iterdir())
    assert cache.remember(name, lambda: [3]) == made
    cache.remember(cache.key("other"), lambda: [4])
    assert cache.info().entries == 2
    cache.remember(cache.key("third"), lambda: [5])
    assert cache.clear() == 3


END = """
import sys, threading
from unfold import cache, postponed
postponed._MOMENT = 60
def remember(k):
    cache.remember(cache.key(k), lambda: [k])
"""


@pytest.mark.parametrize(
    "end",
    ["remember(1)", "remember(1); sys.exit(0)", "remember(1); raise SystemExit",
     "threading.Thread(target=remember, args=(1,)).start()",
     "import atexit; atexit.register(remember, 1)"],
)  # fmt: skip
def test_a_process_that_ends_at_once_loses_nothing_and_does_not_wait(
    end: str, folder: Path
) -> None:
    subprocess.run([sys.executable, "-c", END + end], check=True, timeout=30)
    assert len(list(folder.glob("*.entry"))) == 1


def forked(k: int) -> None:
    cache.remember(cache.key(k), lambda: [k])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked on POSIX")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_forked_process_loses_nothing_and_repeats_nothing(folder: Path) -> None:
    forked(1)
    child = multiprocessing.get_context("fork").Process(target=forked, args=(2,))
    child.start()
    assert len(list(folder.glob("*.entry"))) >= 1  # of this process, before the other one began
    child.join(60)
    assert child.exitcode == 0
    assert len(list(folder.glob("*.entry"))) == 2
