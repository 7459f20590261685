"""How far apart steps are in the examples' graphs: `t` in a recurrence, 1 under attention."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import networkx as nx
import pytest

import unfold
from unfold import Graph

EXAMPLES = Path(__file__).parent.parent.parent / "examples"

#: example -> start, end (of ``{T}`` steps), and what it takes
PATHS: dict[str, tuple[str, str, Callable[[int], int]]] = {
    "elman": ("x[1]", "h[{T}]", lambda T: T - 1),
    "lstm": ("h0", "h[{T}]", lambda T: T),
    "gru": ("h[0]", "h[{T}]", lambda T: T),
    "residual_skip": ("h[0]", "h[{T}]", lambda T: (T + 1) // 2),
    "birnn": ("x[{T}]", "h_b[1]", lambda T: T - 1),
    "causal_attention": ("x[1]", "y[{T}]", lambda T: 1),
    "transformer_block": ("tokens[1]", "y[{T}]", lambda T: 1),
    "cross_attention": ("memory[1]", "y[{T}]", lambda T: 1),
    "seq2seq_attention": ("e[1]", "y[{T}]", lambda T: 1),
    # Its decoder is a recurrence, and so the way from one word that it says to another is long.
    "seq2seq_attention, decoder": ("d[1]", "d[{T}]", lambda T: T - 1),
    "neural_ode": ("h[0]", "h[{T}]", lambda T: T),
    "ntm": ("h[1]", "h[{T}]", lambda T: T - 1),
}


def graph_of(name: str, T: int, level: str = "op") -> Graph:
    return unfold.load(EXAMPLES / f"{name.partition(',')[0]}.rec").unfold(T, level)


@pytest.mark.parametrize("level", ["op", "equation"])
@pytest.mark.parametrize("name", PATHS)
def test_the_shortest_way_between_two_steps(name: str, level: str) -> None:
    start, end, expected = PATHS[name]
    for T in (2, 5, 8):
        graph = graph_of(name, T, level)
        first = "h[0]" if start == "h0" else start.format(T=T)
        assert graph.path_length(first, end.format(T=T)) == expected(T)


@pytest.mark.parametrize("name", ["elman", "causal_attention", "seq2seq_attention"])
def test_it_is_the_least_of_all_paths_in_the_graph(name: str) -> None:
    graph = graph_of(name, 4, "equation")
    start, end, _ = PATHS[name]
    times = {node.name: graph.time(node) for node in graph.table}

    def steps(path: list[str]) -> int:
        passed = [t for t in (times[n] for n in path) if t is not None]
        return sum(a != b for a, b in pairwise(passed))

    paths = nx.all_simple_paths(graph.networkx, start, end.format(T=4))
    assert graph.path_length(start, end.format(T=4)) == min(steps(p) for p in paths)
