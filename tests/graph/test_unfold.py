"""The explicit DAG: nodes, names, edges, order, paths, and how long it may be."""

from __future__ import annotations

import time

import networkx as nx
import pytest

from tests.graph.programs import example
from unfold.check import elaborate
from unfold.domain import Domain
from unfold.expr import Const
from unfold.graph import Graph, unfold
from unfold.poly import Poly
from unfold.program import Axis, Output, Program, ProgramError, Var, equation

ELMAN = """
model elman(D, H):
    input x[t]: real[D]
    param W: real[H, D] ~ glorot
    param U: real[H, H] ~ orthogonal
    h[0] = 0
    h[t] = tanh(W @ x[t] + U @ h[t-1])
    loss = sum[t](sum(h[t] * h[t]))
    output h[t]
    minimize loss
"""

ATTENTION = """
model attention(D):
    axis s: T
    input x[t]: real[D]
    param Q, K: real[D, D] ~ glorot
    a[t, s] = (Q @ x[t]) @ (K @ x[s]) for s <= t
    y[t] = sum[s <= t](softmax[s <= t](a[t, s]) * x[s])
    loss = sum(y[T])
    output y[t]
    minimize loss
"""


def graph_of(text: str, T: int, level: str = "op") -> Graph:
    program = elaborate(text, "test")
    return unfold(program, dict.fromkeys(program.lengths, T), level)


def operands(graph: Graph, name: str) -> list[str]:
    return [graph.table[o].name for o in graph.nodes[name].operands]


def test_a_node_is_an_operation_at_one_step() -> None:
    graph = graph_of(ELMAN, 2)
    node = graph.nodes["h[2]"]
    assert (node.op, node.index, node.role, node.typed) == ("tanh", (2,), "variable", "real[H]")
    (total,) = operands(graph, "h[2]")
    assert graph.nodes[total].op == "add"
    products = operands(graph, total)
    assert [operands(graph, p) for p in products] == [["W", "x[2]"], ["U", "h[1]"]]


def test_a_parameter_is_one_node_with_many_uses() -> None:
    graph = graph_of(ELMAN, 5)
    assert sum(node.var == "U" for node in graph.table) == 1
    assert graph.networkx.out_degree("U") == 5


def test_networkx_nodes_tell_what_they_are() -> None:
    graph = graph_of(ELMAN, 3).networkx
    assert graph.nodes["h[3]"]["type"] == "real[H]"
    roles = {name: graph.nodes[name]["role"] for name in ("W", "x[1]", "h[1]", "loss", "0.0")}
    assert roles == {
        "W": "param", "x[1]": "input", "h[1]": "variable", "loss": "variable", "0.0": "constant",
    }  # fmt: skip
    assert graph.nodes["h[1]"]["output"]
    assert not graph.nodes["h[0]"]["output"]
    assert graph.nodes["h[2]"]["index"] == (2,)
    assert nx.is_directed_acyclic_graph(graph)


def test_an_edge_knows_which_operands_it_is() -> None:
    graph = graph_of(ELMAN, 1)
    (square,) = (n.name for n in graph.table if n.op == "mul")
    assert graph.networkx.edges["h[1]", square]["slots"] == (0, 1)
    (product,) = (
        n.name for n in graph.table if n.op == "matmul" and "U" in operands(graph, n.name)
    )
    assert graph.networkx.edges["U", product]["slots"] == (0,)
    assert graph.networkx.edges["h[0]", product]["slots"] == (1,)


def test_the_order_puts_operands_before_their_users() -> None:
    graph = graph_of(ATTENTION, 4)
    place = {name: k for k, name in enumerate(graph.order())}
    assert all(place[a] < place[b] for a, b in graph.networkx.edges)


def test_at_level_equation_an_element_reads_elements() -> None:
    graph = graph_of(ELMAN, 3, "equation")
    assert operands(graph, "h[2]") == ["W", "x[2]", "U", "h[1]"]
    assert operands(graph, "loss") == ["h[1]", "h[2]", "h[3]"]
    assert {n.op for n in graph.table} == {"input", "param", "equation"}


def test_equal_operations_are_one_node_and_elements_are_never_merged() -> None:
    text = """
model twins:
    input x[t]: real
    a[t] = exp(x[t]) + 1
    b[t] = exp(x[t]) + 1
    c[t] = a[t] * exp(x[t])
    output a[t], b[t], c[t]
"""
    graph = graph_of(text, 1)
    assert sum(n.op == "exp" for n in graph.table) == 1
    assert graph.nodes["a[1]"].op == graph.nodes["b[1]"].op == "add"
    assert graph.position("a[1]") != graph.position("b[1]")
    assert operands(graph, "c[1]")[0] == "a[1]"


def test_guards_vanish() -> None:
    text = """
model pieces:
    input x[t]: real
    y[t] = (x[t-1] if t > 1 else 0.5) + (x[t+1] if t < T else 0)
    output y[t]
"""
    graph = graph_of(text, 3)
    assert operands(graph, "y[2]") == ["x[1]", "x[3]"]
    assert operands(graph, "y[1]") == ["0.5", "x[2]"]
    assert graph.nodes["y[2]"].op == "add"


def test_a_reduction_has_an_operand_for_each_element() -> None:
    text = """
model sums:
    axis s: T
    input x[t]: real
    total[t] = sum[s <= t](x[s])
    top = max[t](x[t])
    none[t] = sum[s > t](x[s])
    output total[t], top, none[t]
"""
    graph = graph_of(text, 3)
    assert graph.nodes["total[3]"].op == "reduce_sum"
    assert operands(graph, "total[3]") == ["x[1]", "x[2]", "x[3]"]
    assert (graph.nodes["top"].op, operands(graph, "top")) == (
        "reduce_max", ["x[1]", "x[2]", "x[3]"],
    )  # fmt: skip
    assert operands(graph, "none[3]") == ["0.0"]


def test_positions_become_numbers() -> None:
    text = """
model clock:
    input x[t]: real
    y[t] = x[t] * t / T
    output y[t]
"""
    graph = graph_of(text, 4)
    assert operands(graph, "y[2]")[1] == "4"
    assert "2" in operands(graph, operands(graph, "y[2]")[0])


def test_only_what_is_asked_for_is_made() -> None:
    text = """
model half:
    input x[t]: real
    y[t] = x[t] + 1
    z[t] = x[t] * 2
    last = y[T]
    output last
"""
    graph = graph_of(text, 9, "equation")
    assert graph.order() == ["x[9]", "y[9]", "last"]


def test_outputs_are_rows_of_cells() -> None:
    graph = graph_of(ATTENTION, 3)
    result = graph.outputs["y"]
    assert result.ranges == (range(1, 4),)
    assert [graph.table[c].name for c in result.cells] == ["y[1]", "y[2]", "y[3]"]


def test_a_path_through_time_takes_a_step_at_a_time_in_a_recurrence_and_one_in_attention() -> None:
    chain = graph_of(ELMAN, 8)
    assert chain.path_length("h[0]", "h[8]") == 8
    assert chain.path_length("x[3]", "h[8]") == 5
    assert chain.path_length("x[8]", "h[8]") == 0
    attention = graph_of(ATTENTION, 8)
    assert attention.path_length("x[1]", "y[8]") == 1
    assert attention.path_length("x[8]", "y[8]") == 0
    assert graph_of(ATTENTION, 8, "equation").path_length("x[2]", "y[8]") == 1


def test_a_path_through_a_summary_of_the_sequence_is_one_step() -> None:
    text = """
model summary:
    input x[t]: real
    m = mean[t](x[t])
    y[t] = x[t] - m
    output y[t]
"""
    assert graph_of(text, 6).path_length("x[1]", "y[6]") == 1


def test_without_a_path_there_is_no_length() -> None:
    graph = graph_of(ELMAN, 3)
    with pytest.raises(ValueError, match=r"there is no path from h\[3\] to h\[1\]"):
        graph.path_length("h[3]", "h[1]")
    with pytest.raises(KeyError):
        graph.path_length("h[9]", "h[1]")


def test_ancestors_and_subgraphs() -> None:
    graph = graph_of(ELMAN, 4, "equation")
    assert graph.ancestors("h[2]") == {"W", "U", "x[1]", "x[2]", "h[0]", "h[1]"}
    part = graph.subgraph("h[2]")
    assert set(part.order()) == graph.ancestors("h[2]") | {"h[2]"}
    assert operands(part, "h[2]") == operands(graph, "h[2]")


def test_sizes_may_stay_symbols() -> None:
    graph = unfold(example("lstm"), {"T": 2})
    assert graph.nodes["W_ii"].typed == "real[H, D]"
    assert graph.adjoint().nodes["W_ii_bar"].typed == "real[H, D]"


@pytest.mark.parametrize(
    ("lengths", "level", "message"),
    [
        ({}, "op", "elman: the length T is not given"),
        ({"T": 0}, "op", "elman: T = 0 is less than 1"),
        ({"T": 3}, "ops", "the level is one of op, equation, not 'ops'"),
    ],
)
def test_wrong_arguments_are_named(lengths: dict[str, int], level: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        unfold(elaborate(ELMAN, "test"), lengths, level)


def chain(domain: Domain, step: int) -> Program:
    """``h[t] = h[t+step]`` on a domain: well-formed or not."""
    T = Poly.symbol("T")
    h = Var("h", "variable", (Axis("t", Poly.const(1), T),))
    program = Program(
        "chain", (), {"t": (Poly.const(1), T)}, {"h": h}, (), (Output("h", ((T, T),)),)
    )
    read = program.ref("h", Poly.symbol("t") + step)
    return program.with_(equations=(equation("h", ("t",), domain, read + Const(1.0)),))


def test_a_read_of_nothing_is_an_error_that_names_it() -> None:
    with pytest.raises(ProgramError, match=r"nothing defines h\[0\], which h\[1\] needs"):
        unfold(chain(Domain.range("t", 1, "T"), -1), {"T": 3})


def test_a_circle_is_an_error_that_shows_it() -> None:
    with pytest.raises(ProgramError, match=r"h\[2\] depends on itself: h\[2\] <- h\[2\]"):
        unfold(chain(Domain.range("t", 1, "T"), 0), {"T": 2})


def test_long_chains_do_not_recurse() -> None:
    graph = graph_of(ELMAN, 5000)
    assert graph.position("h[5000]") > graph.position("h[1]")
    assert len(graph.adjoint()) > len(graph)
    assert graph.path_length("h[0]", "h[5000]") == 5000


def test_a_thousand_steps_of_an_lstm_take_seconds() -> None:
    start = time.perf_counter()
    graph = unfold(example("lstm"), {"T": 1000})
    graph.adjoint()
    assert len(graph) > 30_000
    assert time.perf_counter() - start < 30.0
