"""Unfolding and differentiation commute.

``unfold(adjoint(P), T)`` and ``adjoint(unfold(P, T))`` are the same graph up to the names of
intermediate values: the same numbers, and the same formulas in normal form. The first way never
sees a step, the second never sees an equation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from tests.graph.canonical import Forms
from tests.graph.programs import NAMES, example
from tests.strategies import arrays, programs
from unfold.backends.numpy.tape import Tape
from unfold.graph import Graph, unfold
from unfold.program import Program
from unfold.show import to_rec
from unfold.transform import adjoint

# Formulas are compared before simplification, which factors; numbers before and after it. What an
# implicit equation solves is no formula: there, numbers alone are compared.
EXPLICIT = [name for name in NAMES if not any(eq.solver for eq in example(name).equations)]


def bound(name: str) -> Program:
    program = example(name)
    sizes = dict.fromkeys(program.sizes, 2)
    constants = {
        v.name: v.default if v.default is not None else 0.5
        for v in program.vars.values()
        if v.role == "const"
    }
    return program.bind(sizes, constants)


def lengths_of(program: Program, least: int = 3) -> dict[str, int]:
    return {name: max(least, program.minimum.get(name, 1)) for name in program.lengths}


def sources(program: Program) -> list[str]:
    """Everything that a derivative can be taken in: params, then inputs."""
    return [v.name for v in (*program.params, *program.inputs) if v.type.kind == "real"]


def run(graph: Graph, data: Mapping[str, Any]) -> dict[str, Any]:
    found, failures = Tape(graph, "float64").run(data)
    assert not failures
    return {name: np.array(cells) for name, cells in found.items()}


def same_numbers(one: Graph, two: Graph, data: Mapping[str, Any]) -> None:
    first, second = run(one, data), run(two, data)
    assert set(first) == set(second)
    for name, value in first.items():
        scale = max(1.0, float(np.max(np.abs(value), initial=0.0)))
        np.testing.assert_allclose(second[name], value, rtol=0, atol=1e-10 * scale, err_msg=name)


def same_formulas(one: Graph, two: Graph) -> None:
    """Every element that both have has one formula in terms of other such elements."""
    named = set.intersection(*({n.name for n in g.table if n.is_element} for g in (one, two)))
    forms = Forms()
    first, second = forms.of(one, named), forms.of(two, named)
    wanted = {one.table[c].name for r in one.outputs.values() for c in r.cells}
    assert wanted & set(first), "nothing to compare"
    for name, form in first.items():
        if second[name] != form:
            pytest.fail(f"{name} = {forms.show(form)}\nand\n{name} = {forms.show(second[name])}")


@pytest.mark.parametrize("name", NAMES)
def test_both_ways_give_the_same_numbers_on_every_example(name: str) -> None:
    program = bound(name)
    lengths = lengths_of(program)
    wrt = sources(program)
    over_graph = unfold(program, lengths).adjoint(wrt)
    data = arrays(program, lengths, seed=1)
    for simplified in (True, False):
        over_program = unfold(adjoint(program, wrt, simplified=simplified), lengths)
        same_numbers(over_program, over_graph, data)


@pytest.mark.parametrize("name", EXPLICIT)
def test_both_ways_give_the_same_formulas_on_every_example(name: str) -> None:
    program = bound(name)
    lengths = lengths_of(program, 2)
    wrt = sources(program)
    over_program = unfold(adjoint(program, wrt, simplified=False), lengths)
    same_formulas(over_program, unfold(program, lengths).adjoint(wrt))


@settings(max_examples=150)
@given(programs(), st.integers(1, 6), st.booleans(), st.integers(0, 10))
def test_both_ways_give_the_same_numbers(
    program: Program, T: int, simplified: bool, seed: int
) -> None:
    note(to_rec(program))
    wrt = sources(program)
    over_program = unfold(adjoint(program, wrt, simplified=simplified), {"T": T})
    over_graph = unfold(program, {"T": T}).adjoint(wrt)
    same_numbers(over_program, over_graph, arrays(program, {"T": T}, seed))


@settings(max_examples=100)
@given(programs(), st.integers(1, 4))
def test_both_ways_give_the_same_formulas(program: Program, T: int) -> None:
    note(to_rec(program))
    wrt = sources(program)
    over_program = unfold(adjoint(program, wrt, simplified=False), {"T": T})
    same_formulas(over_program, unfold(program, {"T": T}).adjoint(wrt))


@settings(max_examples=75)
@given(programs(), st.integers(1, 5), st.integers(0, 10))
def test_the_sweep_agrees_with_differences(program: Program, T: int, seed: int) -> None:
    note(to_rec(program))
    wrt = sources(program)
    data = arrays(program, {"T": T}, seed)
    graph = unfold(program, {"T": T}).adjoint(wrt)
    rng = np.random.default_rng(seed)
    direction = {name: rng.normal(size=data[name].shape) for name in wrt}

    def loss(step: float) -> float:
        moved = data | {name: data[name] + step * direction[name] for name in wrt}
        out = run(graph, moved)
        return float(sum(out[name].sum() for name in program.losses))

    def slope(step: float) -> float:
        near, far = loss(step) - loss(-step), loss(2 * step) - loss(-2 * step)
        return (8 * near - far) / (12 * step)

    estimates = [slope(step) for step in (5e-5, 1e-4, 2e-4)]
    scale = 1 + max(abs(e) for e in estimates)
    if max(estimates) - min(estimates) > 1e-6 * scale:
        return  # a corner is near, where differences say nothing
    out = run(graph, data)
    found = sum(
        float(np.sum(out[f"{name}_bar"].reshape(data[name].shape) * direction[name]))
        for name in wrt
    )
    assert found == pytest.approx(estimates[1], rel=1e-5, abs=1e-5 * scale)
