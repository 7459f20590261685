"""One place for several values: nothing is overwritten that is still read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import unfold
from tests.benchmarks.peers import CELLS
from tests.strategies import programs
from unfold.backends.llvm import choose
from unfold.backends.llvm.elementwise import Formats
from unfold.backends.llvm.facts import Variant
from unfold.backends.llvm.tiles import arrange as arranged
from unfold.backends.llvm.tiles.generate import Generator
from unfold.backends.llvm.tiles.leveling import level
from unfold.backends.llvm.tiles.nodes import (
    LENGTH,
    Branch,
    Group,
    Op,
    Points,
    Repeat,
    Solve,
    Stretch,
    Strips,
    View,
)
from unfold.backends.llvm.tiles.sharing import STRIP
from unfold.plan import hoist, retime
from unfold.poly import Poly
from unfold.program import Program
from unfold.transform import adjoint


def generated(p: Program) -> Generator:
    made = choose.arranged(retime(hoist(p)), small=False)
    return Generator(made, Formats("double"), 8, Variant(1, False, True))


#: How many steps a strip has.
STEPS = 4


class Memory:
    """Runs operations on marks: each component holds the name of the element written last."""

    def __init__(self, g: Generator, lengths: dict[str, int]) -> None:
        self.g = g
        self.env = {**lengths, LENGTH: STEPS}
        self.held: dict[tuple[object, ...], tuple[object, ...]] = {}
        self.reads = 0

    def places(self, v: View) -> list[tuple[tuple[object, ...], tuple[object, ...]]]:
        """(address, name) of every component of a view in a buffer."""
        g = self.g
        b = g.plan.buffers.get(v.storage)
        if b is None or b.kind != "work" or b.shared or b.name in g.summed:
            return []
        given = g.stacker.members.get(v.storage)
        own = g.members.get(v.storage)
        base, offset = (v.storage, 0) if own is None else (own.base, own.offset)
        at = tuple(p.evaluate(self.env) for p in v.position)
        ring = g.rings.get(v.storage)
        slot = at if ring is None else tuple(n % (ring or STEPS) for n in at)
        found = [v.offset]
        for n, s in zip(v.shape, v.strides, strict=True):
            found = [k + i * s for k in found for i in range(n)]
        bundle = v.storage if given is None else given.base
        first = 0 if given is None else given.offset
        return [((base, slot, offset + k), (bundle, at, first + k)) for k in found]

    def read(self, v: View) -> None:
        for address, name in self.places(v):
            self.reads += 1
            held = self.held.get(address)
            assert held == name, f"{name} is gone: {held} is in {address}"

    def write(self, v: View) -> None:
        for address, name in self.places(v):
            self.held[address] = name

    def run(self, ops: Sequence[Op]) -> None:
        for op in ops:
            self.one(op)

    def one(self, op: Op) -> None:
        if isinstance(op, Branch):
            self.run(op.then if op.condition.contains(self.env) else op.otherwise)
        elif isinstance(op, Strips):
            ends = [self.values(Repeat(op.index, (r,), 1, ())) for r in op.ranges]
            starts = {at // STEPS for found in ends for at in found}
            for k in sorted(starts, reverse=op.direction < 0):
                self.env[op.index] = k * STEPS
                self.run(op.body)
            self.env.pop(op.index, None)
        elif isinstance(op, (Repeat, Points, Stretch)):
            values = self.values(op)
            for at in values:
                outer = dict(self.env)
                self.env[op.index] = at
                self.run(op.body)
                self.env = outer
            if not values:
                # Sums over nothing are zero.
                for part in op.body:
                    if getattr(part, "fresh", False):
                        self.write(arranged.written_by(part)[0])
        elif isinstance(op, Group):
            # Parts may read what parts before them compute: that is in registers.
            written: list[View] = []
            for part in op.parts:
                for v in arranged.read_by(part):
                    if v not in written:
                        self.read(v)
                written.append(part.target)
            for v in written:
                self.write(v)
        elif not isinstance(op, Solve):
            for v in arranged.read_by(op):
                # A fresh sum overwrites its target.
                if v not in arranged.written_by(op) or not getattr(op, "fresh", False):
                    self.read(v)
            for v in arranged.written_by(op):
                self.write(v)

    def values(self, op: Repeat | Points | Stretch) -> list[int]:
        if isinstance(op, Points):
            inner = {k: v for k, v in self.env.items() if k != op.index}
            return list(op.domain.extent(op.index, inner))
        pairs = op.ranges if isinstance(op, Repeat) else ((op.lows, op.highs),)
        ends = [
            (max(p.evaluate(self.env) for p in lo), min(p.evaluate(self.env) for p in hi))
            for lo, hi in pairs
        ]
        found = list(range(min(a for a, _ in ends), max(b for _, b in ends) + 1))
        return found if not isinstance(op, Repeat) or op.direction > 0 else found[::-1]


def check(g: Generator, lengths: dict[str, int]) -> int:
    memory = Memory(g, lengths)
    memory.run(g.body_ops)
    for r in g.plan.results:
        ranges = [range(lo.evaluate(lengths), hi.evaluate(lengths) + 1) for lo, hi in r.ranges]
        assert r.name not in g.rings
        if len(ranges) == 1 and r.name not in g.summed:
            for t in ranges[0]:
                b = g.plan.buffers[r.name]
                position = tuple(unfold.poly.Poly.const(t) for _ in b.axes)
                memory.read(View(r.name, position, b.shape, tuple(_strides(b.shape))))
    return memory.reads


def _strides(shape: tuple[int, ...]) -> list[int]:
    found: list[int] = []
    step = 1
    for n in reversed(shape):
        found.insert(0, step)
        step *= n
    return found


def cell(name: str, gradient: bool) -> Program:
    text = f"""{CELLS}
model main(D, H):
    input  x[t]: real[D]
    net = {name}(x, H)
    loss = mean[t](mean(net.h[t] ** 2))
    minimize loss
"""
    p = unfold.loads(text, model="main").program.bind({"D": 2, "H": 3})
    return adjoint(p) if gradient else p


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("name", ["elman", "gru", "lstm"])
def test_nothing_is_overwritten_that_a_cell_still_reads(name: str, gradient: bool) -> None:
    g = generated(cell(name, gradient))
    for T in (1, 2, 3, 6, 13):
        assert check(g, {"T": T}) > 0


def test_the_gates_of_an_lstm_and_their_gradients_stand_in_the_place_of_the_projection() -> None:
    g = generated(cell("lstm", True))
    gates = {f"net.{n}{what}" for n in "ifgo" for what in ("_in", "", "_pre_bar")}
    assert {g.members[n].base for n in gates} == {"net.i_in"}
    assert g.members["net.i"].offset == g.members["net.i_pre_bar"].offset


def test_what_is_read_at_its_own_step_is_kept_for_one_step() -> None:
    assert generated(cell("lstm", True)).rings == {
        "net.h_bar": 1, "net.c_bar": 1, "net.c_bar_kept": 1, "x": STRIP
    }  # fmt: skip
    # Without gradients a state is kept until the next one.
    assert {"net.c", "net.i"} <= set(generated(cell("lstm", False)).rings)


def test_what_passes_between_loops_is_kept_for_a_strip() -> None:
    rings = generated(cell("elman", True)).rings
    # The projection; the gradients that the recurrence is given and those that it gives.
    assert {n for n, size in rings.items() if size == STRIP} == {
        "net.h_in", "net.h_pre_bar", "x"
    }  # fmt: skip
    # Without gradients only the states that the loss reads are kept for longer.
    g = generated(cell("lstm", False))
    kept = {n for n, b in g.plan.buffers.items() if b.axes and not b.shared} - set(g.rings)
    assert kept == {"net.h"}


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs())
def test_nothing_is_overwritten_that_a_random_program_still_reads(p: Program) -> None:
    wrt = [v.name for v in p.vars.values() if v.role in ("input", "param")]
    for q in (p, adjoint(p, wrt=wrt)):
        g = generated(q)
        for T in (1, 4, 9):
            check(g, {"T": max(T, p.minimum.get("T", 1))})


STRIDED = """
model strided(H):
    input  x[t]: real[H]
    param  P: real[H, H, 2]
    h[0] = 0
    h[t] = tanh(P[:, :, 0] @ x[t] + P[:, :, 1] @ h[t-1])
    loss = sum[t](sum(h[t] ** 2))
    output h[t]
    minimize loss
"""


@pytest.mark.parametrize("H", [3, 9, 33])
def test_products_of_matrices_without_adjacent_entries_begin_with_what_they_overwrite(
    H: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "UNROLLED", -1)
    rng = np.random.default_rng(0)
    params = {"P": rng.normal(size=(H, H, 2)) / H}
    x = rng.normal(size=(5, 4, H))
    native, same = (unfold.compile(STRIDED, H=H, backend=b) for b in ("llvm", "numpy"))
    loss, grads = native.value_and_grad(params, x=x)
    expected, wanted = same.value_and_grad(params, x=x)
    np.testing.assert_allclose(loss, expected, rtol=1e-12)
    np.testing.assert_allclose(grads["P"], wanted["P"], rtol=1e-10, atol=1e-12)


def test_storages_that_begin_together_end_together() -> None:
    model = unfold.loads(
        "model m:\n    input x[t]: real\n    a[t] = x[t] * 2\n    a[T+1] = 1\n"
        "    b[t] = a[t+1] + a[t]\n    c[k] = x[k] for k in 1..2\n    y[t] = b[t] * c[1]\n"
        "    output y[t]\n"
    )
    made = choose.arranged(model.program, small=False)
    ends = {n: b.axes[0][1] - Poly.symbol("T") for n, b in level(made).buffers.items() if b.axes}
    assert {n: end.constant for n, end in ends.items()} == {
        "x": 0, "a": 1, "b": 1, "y": 1, "c": None
    }  # fmt: skip
