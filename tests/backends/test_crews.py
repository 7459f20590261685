"""Operations shared by threads: the bits of one thread, whoever does which piece; many callers."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import unfold
from tests.backends.steps import ARM, text
from unfold.backends.llvm import choose, crew, jit, kernel, pool
from unfold.backends.llvm.crew import Crew
from unfold.backends.llvm.division import STREAMED, Division, division
from unfold.backends.llvm.elementwise import Formats
from unfold.backends.llvm.facts import Variant
from unfold.backends.llvm.kernel import Kernel
from unfold.backends.llvm.slots import Slot
from unfold.backends.llvm.team import Team
from unfold.backends.llvm.tiles import generate, pieces
from unfold.plan import hoist, plan, retime, split
from unfold.transform import adjoint

WAYS = {"crew": Division(3, True), "one": Division(1, False)}


def forced(monkeypatch: pytest.MonkeyPatch, way: Division) -> None:
    """Have all calls divided this way, and small operations too."""
    monkeypatch.setattr(kernel, "division", lambda *_: way)
    monkeypatch.setattr(choose, "UNROLLED", -1)
    for name, value in {"LEAST": 1, "PIECE": 64, "COLUMNS": 8, "NUMBERS": 16, "BYTES": 64}.items():
        monkeypatch.setattr(pieces, name, value)


def compiled(cell: str, way: str, dtype: str, **sizes: int) -> unfold.Function:
    model = unfold.loads(text(cell), model="main")
    return unfold.compile(model, dtype=dtype, threads=3 if way == "crew" else 1, sizes=sizes)


def called(fn: unfold.Function, x: Any, lengths: Any = None) -> dict[str, Any]:
    params = fn.init(1)
    value, grads = fn.value_and_grad(params, x=x, lengths=lengths)
    return {"value": value, **grads, **fn(params, x=x, lengths=lengths)}


def slot(fn: unfold.Function, steps: int, batch: int | None, ragged: bool = False) -> Slot:
    """What a call of the gradient needs."""
    made = fn.compiler.gradient(fn.differentiable(None), fn.declared.losses).kernel
    assert isinstance(made, Kernel)
    return made.new_slot({"T": steps}, batch, ragged)


@given(
    cell=st.sampled_from(["elman", "gru", "lstm"]),
    sizes=st.tuples(st.integers(1, 40), st.integers(1, 70)),
    batch=st.integers(1, 9),
    dtype=st.sampled_from(["float32", "float64"]),
    ragged=st.booleans(),
)
@settings(max_examples=6, deadline=None)
def test_the_bits_are_those_of_one_thread(
    cell: str, sizes: tuple[int, int], batch: int, dtype: str, ragged: bool
) -> None:
    D, H = sizes
    chance = np.random.default_rng(D + H)
    x = chance.standard_normal((batch, 6, D))
    lengths = chance.integers(1, 7, batch) if ragged else None
    found = {}
    for way, shared in WAYS.items():
        with pytest.MonkeyPatch.context() as monkeypatch:
            forced(monkeypatch, shared)
            fn = compiled(cell, way, dtype, D=D, H=H)
            found[way] = called(fn, x, lengths)
            assert (type(slot(fn, 6, batch, ragged)) is Crew) == (way == "crew")
    for name, want in found["one"].items():
        np.testing.assert_array_equal(found["crew"][name], want, err_msg=name)
    same = unfold.compile(unfold.loads(text(cell), model="main"), D=D, H=H, backend="numpy")
    tolerance = 2e-4 if dtype == "float32" else 1e-10
    # Behind the end of a sequence outputs mean nothing.
    value, grads = same.value_and_grad(fn.init(1), x=x, lengths=lengths)
    np.testing.assert_allclose(found["crew"]["value"], value, rtol=tolerance)
    for name, want in grads.items():
        limit = tolerance * max(np.abs(want).max(), 1e-3)
        np.testing.assert_allclose(found["crew"][name], want, rtol=0, atol=limit, err_msg=name)


@pytest.mark.parametrize("batch", [None, 1, 5, 31])
def test_large_weights_and_few_sequences_make_a_crew(batch: int | None) -> None:
    """With the pieces and the decision as they are."""
    x = np.random.default_rng(0).standard_normal((batch or 1, 40, 50))
    x = x[0] if batch is None else x
    fn, alone = (compiled("lstm", way, "float32", D=50, H=280) for way in WAYS)
    want = called(alone, x)
    for _ in range(3):
        for name, found in called(fn, x).items():
            np.testing.assert_array_equal(found, want[name], err_msg=name)
    assert type(slot(fn, 40, batch)) is Crew


def test_many_sequences_make_a_team() -> None:
    fn = compiled("lstm", "crew", "float32", D=50, H=280)
    fn.value_and_grad(fn.init(1), x=np.zeros((96, 4, 50)))
    assert type(slot(fn, 4, 96)) is Team


@given(
    st.integers(1, 64), st.floats(0, 1e6), st.integers(0, 2**26), st.integers(1, 999),
    st.integers(1, 8),
)  # fmt: skip
def test_how_threads_share_a_call_follows_from_sizes(
    threads: int, time: float, streamed: int, batch: int, grain: int
) -> None:
    found = division(threads, time, streamed, batch, -(-batch // grain))
    assert found == division(threads, time, streamed, batch, -(-batch // grain))
    assert 1 <= found.threads <= threads
    assert found.threads == 1 or time >= 50 * found.threads
    assert found.crew or found.threads <= batch
    assert not found.crew or (streamed >= STREAMED and found.threads > 1)


@given(st.integers(16, 5000), st.integers(1, 5000), st.sampled_from([4, 8, 16, 32]))
def test_pieces_cover_a_matrix_and_begin_at_panels(total: int, other: int, width: int) -> None:
    count, columns, last = pieces.extents(total, other, width)
    assert 1 <= count <= pieces.MOST
    assert (count - 1) * columns + last == total
    assert columns % width == 0
    assert 0 < last <= total
    # A last piece of a few columns only would be kept in another form than that of panels.
    assert count == 1 or last > width


def test_many_callers_share_the_helpers() -> None:
    """A call whose helpers are elsewhere does all pieces itself."""
    fn, alone = (compiled("gru", way, "float32", D=30, H=320) for way in WAYS)
    x = np.random.default_rng(0).standard_normal((4, 12, 30))
    want = called(alone, x)

    def work(_: int) -> dict[str, Any]:
        return called(fn, x)

    with ThreadPoolExecutor(8) as callers:
        for found in callers.map(work, range(48)):
            for name, g in found.items():
                np.testing.assert_array_equal(g, want[name], err_msg=name)


def test_a_call_without_helpers_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = pool.Pool()
    monkeypatch.setattr(empty, "enlist", lambda _: None)
    monkeypatch.setattr(crew, "pool", lambda: empty)
    fn, alone = (compiled("lstm", way, "float32", D=30, H=280) for way in WAYS)
    x = np.random.default_rng(0).standard_normal((2, 12, 30))
    want = called(alone, x)
    for name, g in called(fn, x).items():
        np.testing.assert_array_equal(g, want[name], err_msg=name)


def test_helpers_sleep_between_calls() -> None:
    fn = compiled("lstm", "crew", "float32", D=30, H=280)
    fn.value_and_grad(fn.init(1), x=np.zeros((2, 12, 30)))
    assert pool.pool().states
    done = threading.Event()
    for _ in range(200):
        if set(pool.pool().states) == {pool.ASLEEP}:
            break
        done.wait(0.05)
    assert set(pool.pool().states) == {pool.ASLEEP}


def test_a_failure_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    forced(monkeypatch, WAYS["crew"])
    model = """
model m(H):
    input  x[t]: real[H]
    param  U: real[H, H] ~ orthogonal
    h[0] = 0
    solve z[t] by newton(tol = 1e-9, max_steps = 20):
        z[t] = 1 + z[t] ** 2 + max(x[t]) ** 2
    h[t] = tanh(U @ h[t-1] + x[t]) + z[t]
    loss = sum[t](sum(h[t]))
    minimize loss
"""
    fn = unfold.compile(model, threads=3, H=24)
    x = np.full((5, 7, 24), 0.0)
    with pytest.raises(unfold.SolverError) as caught:
        fn.value_and_grad(fn.init(1), x=x)
    assert caught.value.sequence == 0


@pytest.mark.parametrize("width", [16, 32, 64])
@pytest.mark.parametrize("cell", ["elman", "lstm"])
def test_crews_of_vectors_of_any_width(
    cell: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = jit.host().narrow(width)
    monkeypatch.setattr(jit, "host", lambda: machine)
    x = np.random.default_rng(1).standard_normal((3, 5, 17))
    found = {}
    for way, shared in WAYS.items():
        forced(monkeypatch, shared)
        found[way] = called(compiled(cell, way, "float32", D=17, H=37), x)
    for name, want in found["one"].items():
        np.testing.assert_array_equal(found["crew"][name], want, err_msg=name)


@pytest.mark.parametrize("cell", ["elman", "gru", "lstm"])
def test_crews_compile_for_arm(cell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    p = adjoint(unfold.loads(text(cell), model="main").program.bind({"D": 300, "H": 300}))
    made = split(plan(retime(hoist(p))))
    with monkeypatch.context() as patched:
        patched.setattr(jit, "host", lambda: ARM)
        variant = Variant(1, False, True, crew=True)
        code = generate(made, Formats("float"), ARM.lanes("float32"), variant)
    listing = jit.assembly(code.text, target=ARM)
    assert "fmla" in listing
    assert "unfold.share" in listing


def test_the_bill_counts_what_a_crew_needs() -> None:
    fn = compiled("lstm", "crew", "float32", D=50, H=280)
    bill = fn.cost(2, memory=True, T=9)
    assert bill.memory is not None
    made = fn.compiler.gradient(fn.differentiable(None), fn.declared.losses).kernel
    found = slot(fn, 9, 2)
    assert isinstance(found, Crew)
    storages = len(made.workspace({"T": 9}, 2))
    assert bill.memory.allocated <= found.nbytes <= bill.memory.allocated + 64 * (storages + 1)
