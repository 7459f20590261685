"""Which edges of a graph carry values and no derivatives, held against the gradients themselves."""

from __future__ import annotations

from pathlib import Path

import networkx as nx
import numpy as np
import pytest

import unfold
from unfold import Horizon, Window

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
CHAIN = """
model chain:
    param w: real = 0.5
    h[0] = 1
    h[t] = sin(w * h[t-1])
    loss = sum[t](h[t])
    minimize loss
"""
EVERY_OTHER = """
model clockwork:
    input x[t]: real
    h[0] = 0
    h[t] = tanh(h[t-1] + x[t]) if mod(t, 2) == 0 else h[t-1]
    output h[t]
"""


@pytest.mark.parametrize("level", ["equation", "op"])
def test_windows_are_cut_at_their_borders_and_nowhere_else(level: str) -> None:
    graph = unfold.loads(CHAIN).truncate(Window(3)).unfold(8, level)
    assert sorted(start for start, _ in graph.cuts.cut) == ["h[3]", "h[6]"]
    if level == "equation":
        assert graph.cuts.cut == {("h[3]", "h[4]"), ("h[6]", "h[7]")}
    edges = graph.networkx.edges(data="cut")
    assert {(a, b) for a, b, is_cut in edges if is_cut} == graph.cuts.cut


def test_a_horizon_cuts_where_each_loss_term_ceases_to_see() -> None:
    graph = unfold.loads(CHAIN).truncate(Horizon(2)).unfold(5)
    assert graph.cuts.cut == {(f"h[{t - 2}]", f"h_past[{t},1]") for t in (3, 4, 5)}


@pytest.mark.parametrize("how", [Window(3), Window(1), Horizon(1), Horizon(3)])
def test_paths_that_are_not_cut_are_those_that_gradients_take(how: Window | Horizon) -> None:
    T = 7
    model = unfold.loads(CHAIN)
    graph = model.truncate(how).unfold(T)
    open_ = nx.DiGraph((a, b) for a, b in graph.networkx.edges if (a, b) not in graph.cuts.cut)
    # The derivative of the last step's loss in each earlier use of w: w[t] is w there.
    last = CHAIN.replace("param w: real = 0.5", "param w[t]: real = 0.5")
    last = last.replace("w * h", "w[t] * h").replace("sum[t](h[t])", "h[T]")
    fn = unfold.compile(last, backend="numpy", truncate=how)
    _, grads = fn.value_and_grad({"w": np.full(T, 0.5)})
    end = "loss" if isinstance(how, Window) else f"h_past[{T},0]"
    for t in range(1, T + 1):
        # A use of w at step t is an element that reads it, h[t] or a copy of it seen from the end.
        names = [f"h[{t}]", f"h_past[{T},{T - t}]"]
        seen = any(n in open_ and nx.has_path(open_, n, end) for n in names if n in open_)
        if isinstance(how, Window):
            # The sum reads every step: only the chain to the last one counts.
            seen = nx.has_path(open_, f"h[{t}]", f"h[{T}]")
        elif f"h_past[{T},{T - t}]" not in open_:
            seen = False
        assert seen == (grads["w"][t - 1] != 0), t


def test_what_is_detached_by_hand_is_cut_too() -> None:
    graph = unfold.load(EXAMPLES / "advantage.rec").unfold(3)
    assert ("adv[2]", "fixed[2]") in graph.cuts.cut
    assert ("value[2]", "critic") not in graph.cuts.cut


def test_a_branch_that_a_step_does_not_take_is_not_read() -> None:
    graph = unfold.loads(EVERY_OTHER).unfold(4)
    assert graph.cuts.dead == {("x[1]", "h[1]"), ("x[3]", "h[3]")}
    assert not graph.cuts.cut
