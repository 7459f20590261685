"""The bill's bytes and its parts: against kernels, `init`, and each other."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest
from click.testing import CliRunner

import unfold
from unfold.cli import cli

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


@pytest.mark.parametrize("name", ["queue", "deq"])
def test_what_is_allocated_is_what_a_call_allocates(name: str) -> None:
    model = unfold.load(EXAMPLES / f"{name}.rec")
    fn = unfold.compile(model, sizes=dict.fromkeys(model.sizes, 5))
    bill = fn.cost(3, memory=True, T=50)
    assert bill.memory is not None
    kernel = fn.compiler.gradient(fn.differentiable(None), fn.declared.losses).kernel
    slot = kernel.new_slot({"T": 50}, 3)  # type: ignore[attr-defined]
    # Each storage begins at a multiple of 64 bytes.
    storages = len(kernel.workspace({"T": 50}, 3))
    assert bill.memory.allocated <= slot.nbytes <= bill.memory.allocated + 64 * (storages + 1)
    assert bill.gradient is not None
    assert bill.memory.needed == bill.gradient.stored
    assert bill.memory.allocated >= bill.memory.held
    ratio = f"({bill.memory.ratio:.3g} of what is needed)"
    assert ratio in str(bill)


NATIVE = ("delta_net", "griffin", "hippo", "inventory", "lstm")
#: Their gradients are added up on the way forward, where the states stand in registers.
ON_THE_WAY = {("hippo", "llvm")}
EVERY = sorted(path.stem for path in EXAMPLES.glob("*.rec"))


@pytest.mark.parametrize(
    ("name", "backend"), [*((n, "llvm") for n in NATIVE), *((n, "numpy") for n in EVERY)]
)
def test_what_is_allocated_is_not_less_than_what_is_needed(name: str, backend: str) -> None:
    """Small systems compute a few sequences of a batch at once: that many need their states."""
    model = unfold.load(EXAMPLES / f"{name}.rec")
    fn = unfold.compile(model, sizes=dict.fromkeys(model.sizes, 4), backend=backend)
    if not fn.program.losses or not fn.program.params:
        return
    for batch in (1, 2):
        bill = fn.cost(batch, memory=True, **dict.fromkeys(fn.program.lengths, 50))
        m = bill.memory
        assert m is not None
        if (name, backend) in ON_THE_WAY:
            longer = fn.cost(batch, memory=True, **dict.fromkeys(fn.program.lengths, 5000)).memory
            assert longer is not None
            assert longer.allocated == m.allocated
        else:
            assert m.allocated >= m.held
        assert m.held <= m.needed <= m.held * -(-batch // m.together)
        at_once = "at once: one sequence at a time"
        assert (at_once in str(bill)) == (m.held < m.needed)


def test_vectors_put_end_to_end_are_counted_as_their_parts() -> None:
    text = """
model pair(H):
    input x[t]: real[H]
    param U, V: real[H, H]
    param W: real[H, {columns}]
    f[0] = 0
    f[t] = tanh(U @ f[t-1] + x[t])
    b[T+1] = 0
    b[t] = tanh(V @ b[t+1] + x[t])
    {joined}
    loss = sum[t](sum(sin({read})))
    minimize loss
"""
    joined = text.format(columns="2 * H", joined="h[t] = [f[t]; b[t]]", read="W @ h[t]")
    apart = text.format(columns="H", joined="", read="W @ f[t] + W @ b[t]")
    stored = []
    for one in (joined, apart):
        bill = unfold.compile(one, H=6).cost(T=50)
        assert bill.gradient is not None
        stored.append(bill.gradient.stored)
    # The states of both ways, with their first ones, and what the sine is taken of.
    assert stored[0] == stored[1] == 8 * 6 * (51 + 51 + 50)


def test_checkpoints_stand_beside_all_states() -> None:
    text = (EXAMPLES / "residual_skip.rec").read_text()
    sizes = {"D": 8, "H": 16, "K": 3}
    fn, cut = unfold.compile(text, sizes=sizes), unfold.compile(
        text, sizes=sizes, checkpoint="auto"
    )  # fmt: skip
    short, long = (fn.cost(memory=True, T=n) for n in (100, 200_000))
    assert short.memory is not None
    assert long.memory is not None
    assert short.memory.chosen == "all states"
    assert long.memory.chosen == "checkpoints"
    assert long.memory.checkpointed == sum(cut.memory(T=200_000).work.values())
    assert long.memory.allocated == sum(fn.memory(T=200_000).work.values())
    assert long.memory.segment is not None
    assert long.memory.extra is not None
    assert long.gradient is not None
    assert long.backward is not None
    # The way there is done once more, all of it or less: the last segment's states are at hand.
    forward = long.gradient.work.flops - long.backward.flops
    assert 0.5 * forward < long.memory.extra.flops <= 1.1 * forward


def test_a_model_that_reads_all_of_its_past_has_no_checkpoints() -> None:
    fn = unfold.compile(EXAMPLES / "causal_attention.rec", D=2, P=2, Q=2, K=2)
    bill = fn.cost(memory=True, T=20)
    assert bill.memory is not None
    assert bill.memory.checkpointed is None
    assert "not possible for this model" in str(bill)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.rec"))[::6], ids=lambda p: p.stem)
def test_as_many_parameters_as_init_makes(path: Path) -> None:
    model = unfold.load(path)
    fn = unfold.compile(model, sizes={n: 2 + k for k, n in enumerate(model.sizes)})
    lengths = dict.fromkeys(model.program.lengths, 7)
    made = fn.init(0, **lengths)
    assert fn.cost(**lengths).parameters == sum(a.size for a in made.values())


def test_backward_is_the_work_of_the_products_with_transposes() -> None:
    text = """
model m(D, H):
    input x[t]: real[D]
    param W: real[H, D] ~ glorot
    param U: real[H, H] ~ orthogonal
    h[0] = 0
    h[t] = W @ x[t] + U @ h[t-1]
    loss = sum(h[T] ** 2)
    minimize loss
"""
    inputs, hidden, steps, batch = 40, 60, 30, 4
    bill = unfold.compile(text, D=inputs, H=hidden).cost(batch, T=steps)
    assert bill.backward is not None
    # U' @ h_bar, and the outer products of both matrices.
    products = 2 * batch * steps * (2 * hidden * hidden + hidden * inputs)
    assert bill.backward.flops == pytest.approx(products, rel=0.06)


def test_solver_steps_are_counted_as_asked() -> None:
    fn = unfold.compile(EXAMPLES / "deq.rec", D=2, H=3, K=2)
    one, two, ten = (fn.cost(solve_steps=n, T=4).forward.work.functions for n in (1, 2, 10))
    assert (two, ten) == (2 * one, 10 * one)
    assert "of the implicit z: 10 steps of the solver each" in str(fn.cost(solve_steps=10, T=4))
    with pytest.raises(unfold.InputError, match="solve_steps is a positive integer, not 0"):
        fn.cost(solve_steps=0, T=4)


def test_a_huge_bill_allocates_nothing_of_that_size() -> None:
    fn = unfold.compile(EXAMPLES / "elman.rec", D=4096, H=4096, K=4096, dtype="float32")
    tracemalloc.start()
    bill = fn.cost(32, memory=True, T=1_000_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert bill.memory is not None
    assert bill.memory.allocated > 2**38
    assert peak < 2**26


def test_the_command_line_gives_json() -> None:
    path = str(EXAMPLES / "elman.rec")
    asked = ["cost", path, "--size", "D=2", "--size", "H=3", "--size", "K=2", "--steps", "9"]
    found = json.loads(CliRunner().invoke(cli, [*asked, "--json"]).output)
    assert found["backward"]["flops"] > 0
    assert found["memory"]["allocated"] > 0
    plain = json.loads(CliRunner().invoke(cli, [*asked, "--json", "--no-memory"]).output)
    assert plain["memory"] is None
