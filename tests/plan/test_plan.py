"""Plans: loops in order, what is shared, what is hoisted, and the rules they obey."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

import unfold
from tests.strategies import arrays, programs
from unfold.backends import numpy as interpreter
from unfold.check import elaborate
from unfold.domain import Domain
from unfold.expr import Const
from unfold.plan import (
    Loop,
    Node,
    Plan,
    PlanError,
    Statement,
    hoist,
    plan,
    split,
    statements,
    steady,
    verify,
)
from unfold.poly import Poly
from unfold.program import Program
from unfold.program import verify as verify_program
from unfold.transform import adjoint

HERE = Path(__file__).parent
EXAMPLES = sorted((HERE.parent.parent / "examples").glob("*.rec"))


def program(text: str, **sizes: int) -> Program:
    return elaborate(text).bind(sizes)


def example(path: Path) -> Program:
    p = unfold.load(path).program
    constants = {v.name: v.default for v in p.role("const") if v.default is not None}
    return p.bind({s: k + 2 for k, s in enumerate(p.sizes)}, constants)


ELMAN = """
model elman(D, H):
    input  x[t]: real[D]
    param  W: real[H, D]
    param  U: real[H, H]
    param  b: real[H]
    h[0] = 0
    h[t] = tanh(W @ x[t] + U @ h[t-1] + b)
    loss = sum[t](sum(h[t] ** 2))
    output h[t]
    minimize loss
"""


# --- what is planned ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["forward", "adjoint", "hoisted"])
def test_the_text_of_a_plan(kind: str, golden: Callable[[Path, str], None]) -> None:
    p = program(ELMAN, D=3, H=4)
    made = {
        "forward": lambda: plan(p),
        "adjoint": lambda: plan(adjoint(p)),
        "hoisted": lambda: plan(hoist(adjoint(p))),
    }[kind]()
    golden(HERE / f"elman_{kind}.txt", f"{made}\n")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_plans_of_an_example_obey_the_rules(path: Path) -> None:
    p = example(path)
    for q in (p, adjoint(p)) if p.losses else (p,):
        verify(plan(q))
        verify(plan(verify_program(hoist(q))))


@settings(max_examples=40)
@given(programs())
def test_the_plans_of_random_programs_obey_the_rules(p: Program) -> None:
    verify(plan(p))
    verify(plan(hoist(adjoint(p))))


def test_what_nothing_needs_is_not_planned() -> None:
    p = program("""
model m():
    input  x[t]: real
    a[t] = x[t] * 2
    unused[t] = a[t] + 1
    output a[t]
""")
    assert "unused" not in plan(p).buffers


def test_what_depends_on_parameters_alone_is_done_once() -> None:
    p = program("""
model m():
    input  x[t]: real
    param  a: real
    b = exp(a)
    w[t] = b * t
    y[t] = w[t] * x[t]
    output y[t]
""")
    made = plan(p)
    assert [s.target for s in statements(made.shared)] == ["b", "w"]
    assert [s.target for s in statements(made.body)] == ["y"]


def test_with_lengths_nothing_that_depends_on_them_is_done_once() -> None:
    p = program("""
model m():
    input  x[t]: real
    param  a: real
    b = exp(a)
    c = b / T
    y[t] = c * x[t]
    output y[t]
""")
    assert [s.target for s in statements(plan(p).shared)] == ["b", "c"]
    assert [s.target for s in statements(plan(p, own="T").shared)] == ["b"]


def test_a_guard_that_the_loop_ensures_is_dropped() -> None:
    p = program("""
model m():
    input  x[t]: real
    y[t] = x[t] if t >= 1 else 0
    output y[t]
""")
    assert "if" not in str(plan(p))


# --- hoisting -------------------------------------------------------------------------------------


def test_a_product_of_the_input_leaves_the_scan_with_its_bias() -> None:
    made = plan(hoist(program(ELMAN, D=3, H=4)))
    loop = next(n for n in made.body if isinstance(n, Loop) and n.parallel)
    (statement,) = statements(loop.body)
    assert str(made).count("W @ x[t]) + b") == 1
    assert statement.target == "h_in"


def test_a_product_leaves_the_reduction_that_does_not_change_it() -> None:
    p = program("""
model m(D):
    axis   s: T
    input  x[t]: real[D]
    param  W: real[D, D]
    y[t] = sum[s <= t](tanh(W @ x[t] + W @ x[s]))
    output y[t]
""", D=2)  # fmt: skip
    text = str(plan(hoist(p)))
    assert "y_in[t] = W @ x[t]" in text
    assert "sum[s >= 1, t >= s](tanh(y_in[t] + y_in[s]))" in text


def test_a_factor_of_a_summed_outer_product_becomes_a_variable() -> None:
    p = program("""
model m(D):
    input  x[t]: real[D]
    param  W: real[D, D]
    y[t] = tanh(W @ x[t])
    loss = sum[t](sum(y[t]) * t)
    minimize loss
""", D=2)  # fmt: skip
    made = plan(hoist(adjoint(p)))
    (bar,) = (s for s in statements(made.body) if s.target == "W_bar")
    assert "outer(W_bar_factor[t], x[t])" in str(made) or "outer(y_pre_bar[t], x[t])" in str(made)
    assert bar.guard == Domain()


@settings(max_examples=40)
@given(programs())
def test_hoisting_changes_no_value(p: Program) -> None:
    q = adjoint(p)
    lengths = {"T": 4}
    data = arrays(q, lengths)
    want = interpreter.compile(q)(data, lengths, None, None)
    for stage in (hoist, steady):
        got = interpreter.compile(verify_program(stage(q)))(data, lengths, None, None)
        for name, value in want.items():
            np.testing.assert_allclose(got[name], value, rtol=1e-10, atol=1e-12)


# --- cutting loops --------------------------------------------------------------------------------


def executed(made: Plan, lengths: dict[str, int]) -> Iterator[tuple[Statement, dict[str, int]]]:
    """Every statement of a plan with its indices, in the order in which they are done."""

    def run(
        nodes: tuple[Node, ...], env: dict[str, int]
    ) -> Iterator[tuple[Statement, dict[str, int]]]:
        for node in nodes:
            if isinstance(node, Statement):
                if node.guard.contains(env):
                    yield node, env
                continue
            ends = [
                (max(p.evaluate(env) for p in lows), min(p.evaluate(env) for p in highs))
                for lows, highs in node.ranges
            ]
            steps = range(min(lo for lo, _ in ends), max(hi for _, hi in ends) + 1)
            for i in steps if node.direction > 0 else reversed(steps):
                yield from run(node.body, {**env, node.index: i})

    yield from run((*made.shared, *made.body), dict(lengths))


def assignments(made: Plan, lengths: dict[str, int]) -> list[tuple[str, tuple[int, ...]]]:
    """Every assignment of a plan, in the order in which it is done."""
    return [
        (s.target, tuple(p.evaluate(env) for p in s.position)) for s, env in executed(made, lengths)
    ]


def same_assignments(p: Program) -> None:
    made = plan(p)
    cut = verify(split(made))
    for length in (1, 2, 3, 6):
        lengths = dict.fromkeys(made.lengths, max(length, *p.minimum.values(), 1))
        assert assignments(cut, lengths) == assignments(made, lengths)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_cut_plan_assigns_the_same_elements_in_the_same_order(path: Path) -> None:
    p = example(path)
    same_assignments(adjoint(p) if p.losses else p)


@settings(max_examples=40)
@given(programs())
def test_cut_plans_of_random_programs_assign_the_same_elements(p: Program) -> None:
    same_assignments(adjoint(p))


# --- the rules ------------------------------------------------------------------------------------


def change(made: Plan, buffer: str, /, **fields: object) -> Plan:
    """The plan with the first statement for a buffer changed."""
    done = False

    def nodes(body: tuple[Statement | Loop, ...]) -> tuple[Statement | Loop, ...]:
        nonlocal done
        found: list[Statement | Loop] = []
        for node in body:
            if isinstance(node, Loop):
                found.append(replace(node, body=nodes(node.body)))
            elif node.target == buffer and not done:
                done = True
                found.append(replace(node, **fields))  # type: ignore[arg-type]
            else:
                found.append(node)
        return tuple(found)

    return replace(made, body=nodes(made.body))


@pytest.mark.parametrize(
    ("target", "fields", "why"),
    [
        ("h", {"position": (Poly.const(-1),)}, "h is assigned at -1, outside 0..T"),
        ("h", {"rhs": Const(0.0)}, "h is assigned a value of another shape"),
        ("h", {"position": ()}, "h is assigned with 0 positions for 1 axes"),
        ("loss", {"target": "x"}, "x is assigned but is no work buffer"),
        ("loss", {"target": "h_bar"}, "h_bar is assigned but is no work buffer"),
    ],
)
def test_a_broken_plan_is_refused(target: str, fields: dict[str, object], why: str) -> None:
    made = plan(program(ELMAN, D=3, H=4))
    with pytest.raises(PlanError, match=why.replace("(", r"\(").replace("..", r"\.\.")):
        verify(change(made, target, **fields))


def test_a_plan_that_reads_before_it_computes_is_refused() -> None:
    made = plan(program(ELMAN, D=3, H=4))
    with pytest.raises(PlanError, match="reads h before it is computed"):
        verify(replace(made, body=made.body[::-1]))


def test_a_plan_without_a_result_is_refused() -> None:
    made = plan(program(ELMAN, D=3, H=4))
    with pytest.raises(PlanError, match="the result loss is never computed"):
        verify(replace(made, body=made.body[:-1]))
