"""The reverse sweep over the graph, held against derivations by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.graph.programs import example
from unfold.backends.numpy.tape import Tape
from unfold.check import elaborate
from unfold.graph import Graph, unfold


def graph_of(body: str, T: int = 3) -> Graph:
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    return unfold(elaborate(f"model test:\n{lines}\n    minimize loss\n", "test"), {"T": T})


def gradient(graph: Graph, name: str, **data: object) -> object:
    arrays = {k: np.asarray(v) for k, v in data.items()}
    found, _ = Tape(graph.adjoint([name]), "float64").run(arrays)
    return np.array(found[f"{name}_bar"]).squeeze().tolist()


def test_every_node_has_an_adjoint_named_after_it() -> None:
    graph = unfold(example("elman"), {"T": 3}).adjoint()
    assert graph.nodes["h_bar[2]"].role == "adjoint"
    assert graph.nodes["W_hh_bar"].op == "reduce_sum"
    assert len(graph.nodes["W_hh_bar"].operands) == 3
    assert graph.program.vars["h_bar"].adjoint_of == "h"
    assert graph.time(graph.nodes["h_bar[2]"]) == ("T", 2)


def test_the_forward_graph_is_part_of_the_result() -> None:
    graph = unfold(example("elman"), {"T": 3})
    assert graph.adjoint().table[: len(graph)] == graph.table


def test_a_value_used_twice_receives_both() -> None:
    graph = graph_of("param a: real\ny[0] = a\ny[t] = y[t-1] * y[t-1]\nloss = y[T]")
    assert gradient(graph, "a", a=1.5) == pytest.approx(8 * 1.5**7)


def test_the_branch_not_taken_is_exactly_zero() -> None:
    graph = graph_of("input x[t]: real\nloss = sum[t](where(x[t] > 0, sqrt(x[t]) + log(x[t]), 0))")
    found = gradient(graph, "x", x=[-1.0, 0.0, 4.0])
    assert found == [0.0, 0.0, 0.25 + 0.25]


def test_detached_values_receive_nothing() -> None:
    graph = graph_of("param a: real\nloss = detach(a * a) * a")
    assert gradient(graph, "a", a=3.0) == 9.0


def test_integers_receive_nothing() -> None:
    graph = graph_of("input k: int<3>\nparam v: real[3] = 0\nloss = v[k] * v[k]")
    assert gradient(graph, "v", v=[1.0, 2.0, 3.0], k=1) == [0.0, 4.0, 0.0]


def test_reductions_over_steps_share_as_documented() -> None:
    data = {"x": [2.0, 5.0, 5.0]}
    assert gradient(graph_of("input x[t]: real\nloss = sum[t](x[t])"), "x", **data) == [1, 1, 1]
    top = graph_of("input x[t]: real\nloss = max[t](x[t])")
    assert gradient(top, "x", **data) == [0.0, 0.5, 0.5]
    low = graph_of("input x[t]: real\nloss = min[t](x[t])")
    assert gradient(low, "x", **data) == [1.0, 0.0, 0.0]
    soft = graph_of("input x[t]: real\nloss = logsumexp[t](x[t])")
    weights = np.exp(np.array(data["x"]) - 5) / np.exp(np.array(data["x"]) - 5).sum()
    assert gradient(soft, "x", **data) == pytest.approx(weights)
    never = [-math.inf, -math.inf, -math.inf]
    assert gradient(soft, "x", x=never) == [0.0, 0.0, 0.0]


def test_what_nothing_depends_on_has_a_zero_adjoint() -> None:
    graph = graph_of("input x[t]: real\nparam a, b: real\nloss = x[T] * a")
    assert gradient(graph, "b", x=[1.0, 2.0, 3.0], a=2.0, b=1.0) == 0.0
    assert gradient(graph, "x", x=[1.0, 2.0, 3.0], a=2.0) == [0.0, 0.0, 2.0]


def test_costates_are_adjoints_of_states() -> None:
    graph = graph_of("param a: real\ny[0] = a\ny[t] = y[t-1] * 2\nloss = y[T] + y[1]")
    assert gradient(graph, "y", a=1.0) == [5.0, 2.0, 1.0]


def test_any_scalar_can_be_differentiated() -> None:
    graph = graph_of("param a: real\nother = a * a * a\nloss = a\noutput other")
    swept = graph.adjoint(["a"], of=["other"])
    found, _ = Tape(swept, "float64").run({"a": np.array(2.0)})
    assert found["a_bar"] == [12.0]


def test_a_second_sweep_gives_the_second_derivative() -> None:
    graph = graph_of("param a: real\nloss = sin(a) * a")
    twice = graph.adjoint(["a"]).adjoint(["a"], of=["a_bar"])
    a = 0.7
    found, _ = Tape(twice, "float64").run({"a": np.array(a)})
    assert float(found["a_bar_1"][0]) == pytest.approx(2 * math.cos(a) - a * math.sin(a))


@pytest.mark.parametrize(
    ("wrt", "of", "message"),
    [
        (["V"], None, "elman has no real variable V"),
        (["c"], None, "elman has no real variable c"),
        (None, ["h"], "h is not a scalar"),
    ],
)
def test_wrong_names_are_refused(wrt: list[str], of: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        unfold(example("elman"), {"T": 2}).adjoint(wrt, of)


def test_a_graph_of_equations_has_no_rules_to_sweep_by() -> None:
    with pytest.raises(ValueError, match="only a graph at level"):
        unfold(example("elman"), {"T": 2}, "equation").adjoint()
