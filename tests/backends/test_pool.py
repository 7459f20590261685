"""Helpers that spin, sleep and are woken: every task of every job is done once."""

from __future__ import annotations

import ctypes
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from unfold.backends.llvm import jit, pool
from unfold.backends.llvm.pool import ASLEEP, Job, Pool

#: Adds one to a word, after having been busy for a while.
COUNT = """
define void @count(ptr %word) {
start:
  br label %busy
busy:
  %k = phi i64 [ 0, %start ], [ %next, %busy ]
  %next = add i64 %k, 1
  %seen = load volatile i64, ptr %word
  %more = icmp slt i64 %next, 300
  br i1 %more, label %busy, label %end
end:
  %old = atomicrmw add ptr %word, i64 1 seq_cst
  ret void
}
"""


@pytest.fixture(scope="module")
def count() -> Any:
    return jit.compile_ir(COUNT)


def runner(helpers: Pool) -> Any:
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(helpers.run)


def jobs(count: Any, tasks: int) -> tuple[Job, np.ndarray[Any, np.dtype[np.int64]]]:
    words = np.zeros((tasks, 8), np.int64)
    address = count.address("count")
    return Job(address, [words.ctypes.data + 64 * k for k in range(tasks)]), words


def test_every_task_is_done_once_however_helpers_sleep(
    count: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Callers pause for about as long as helpers are patient: some are woken, some are about to."""
    monkeypatch.setattr(pool, "_PATIENCE", 1e-5)
    helpers = Pool()
    helpers.enlist(5)
    run = runner(helpers)

    def work(seed: int) -> None:
        chance = np.random.default_rng(seed)
        job, words = jobs(count, int(chance.integers(2, 9)))
        for k in range(1, 1500):
            run(job.address, helpers.roster)
            assert (words[:, 0] == k).all()
            until = time.perf_counter() + chance.choice([0.0, 5e-6, 1.2e-5, 4e-5])
            while time.perf_counter() < until:
                pass

    with ThreadPoolExecutor(3) as callers:
        list(callers.map(work, range(6)))
    for _ in range(200):
        if set(helpers.states) == {ASLEEP}:
            break
        time.sleep(0.01)
    assert helpers.states == [ASLEEP] * 5


def test_helpers_are_enlisted_once_by_whoever_asks() -> None:
    helpers = Pool()
    before = threading.active_count()
    with ThreadPoolExecutor(4) as callers:
        list(callers.map(helpers.enlist, [3, 1, 3, 2] * 5))
    assert len(helpers.states) == 3
    assert threading.active_count() - before == 3


def test_a_job_is_done_where_no_threads_are_to_be_had(
    count: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    helpers = Pool()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", none)
        helpers.enlist(3)
    assert helpers.states == []
    job, words = jobs(count, 4)
    runner(helpers)(job.address, helpers.roster)
    assert (words[:, 0] == 1).all()
