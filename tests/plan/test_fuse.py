"""Loops joined: every element is assigned once and before it is read; what joins and what not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings

from tests.plan.test_plan import EXAMPLES, assignments, example, executed, program
from tests.strategies import programs
from tests.strategies_axes import texts
from unfold.check import elaborate
from unfold.expr import reads
from unfold.plan import (
    Loop,
    Plan,
    Statement,
    accumulate,
    fuse,
    peel,
    plan,
    split,
    statements,
    verify,
)
from unfold.program import Program
from unfold.transform import adjoint

Element = tuple[str, tuple[int, ...]]


def arranged(p: Program) -> Plan:
    return verify(peel(verify(split(verify(fuse(verify(accumulate(plan(p)))))))))


def run(made: Plan, lengths: dict[str, int]) -> list[Element]:
    """Every assignment in the order in which it is done; AssertionError for one too late."""
    given_names = {b.name for b in made.buffers.values() if b.kind != "work"}
    done: list[Element] = []
    there: set[Element] = set()

    def statement(s: Statement, env: dict[str, int]) -> None:
        own = (s.target, tuple(p.evaluate(env) for p in s.position))
        assert (own in there) == s.adds, f"{own} is assigned at the wrong time"
        for read in reads(s.rhs):
            if read.ref.name in given_names:
                continue
            for point in read.domain.points(read.bound, env):
                here = {**env, **dict(zip(read.bound, point, strict=True))}
                element = (read.ref.name, tuple(p.evaluate(here) for p in read.ref.index))
                if s.solver is None or element != own:
                    assert element in there, f"{own} reads {element} too early"
        there.add(own)
        if not s.adds:
            done.append(own)

    for s, env in executed(made, lengths):
        statement(s, env)
    return done


def in_order(p: Program) -> None:
    before, after = plan(p), arranged(p)
    for length in (1, 2, 3, 6):
        lengths = dict.fromkeys(before.lengths, max(length, *p.minimum.values(), 1))
        kept = [e for e in run(after, lengths) if e[0] in before.buffers]
        assert sorted(kept) == sorted(assignments(before, lengths))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_joined_loops_assign_every_element_once_and_before_it_is_read(path: Path) -> None:
    p = example(path)
    in_order(adjoint(p) if p.losses else p)


@settings(max_examples=30)
@given(programs())
def test_joined_loops_of_random_programs_keep_the_order(p: Program) -> None:
    in_order(adjoint(p))


@settings(max_examples=30)
@given(texts())
def test_joined_loops_over_two_axes_keep_the_order(text: str) -> None:
    in_order(adjoint(elaborate(text).bind({})))


def loops(made: Plan) -> list[Loop]:
    return [n for n in made.body if isinstance(n, Loop)]


def test_states_and_sums_over_the_same_steps_share_one_loop() -> None:
    made = arranged(
        program("""
model m:
    input x[t]: real
    a[0] = 0
    b[0] = 0
    a[t] = a[t-1] + x[t]
    b[t] = b[t-1] * a[t-1]
    loss = sum[t](b[t] ** 2) / T
    output b[t]
    minimize loss
""")
    )
    (loop,) = loops(made)
    assert [s.target for s in statements(loop.body)] == ["a", "b", "loss_sum"]
    assert [s.adds for s in statements(loop.body)] == [False, False, True]


def test_what_needs_a_whole_sum_waits_for_it() -> None:
    made = arranged(
        program("""
model m:
    input x[t]: real
    mean_x = sum[t](x[t]) / T
    y[t] = x[t] - mean_x
    loss = sum[t](y[t] ** 2)
    minimize loss
""")
    )
    first, second = loops(made)
    assert [s.target for s in first.body if isinstance(s, Statement)] == ["mean_x_sum"]
    assert [s.target for s in second.body if isinstance(s, Statement)] == ["y", "loss_sum"]


def test_a_loop_that_looks_ahead_does_not_join() -> None:
    made = arranged(
        program("""
model m:
    input x[t]: real
    a[0] = 0
    a[t] = a[t-1] + x[t]
    b[0] = 0
    b[t] = b[t-1] + a[T+1-t]
    loss = b[T]
    minimize loss
""")
    )
    assert [s.target for loop in loops(made) for s in statements(loop.body)] == ["a", "b"]
    assert len(loops(made)) == 2
