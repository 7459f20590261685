"""Implicit equations as text, as a graph, and as the limit of iterated ones."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import unfold
from tests.solving import DEQ, EXAMPLES, KINDS, METHODS, SIZES, apart, compiled, on, small
from unfold.backends.numpy.tape import Tape
from unfold.graph import unfold as graph_of
from unfold.transform import adjoint


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    return on(str(request.param), monkeypatch)


@pytest.mark.parametrize("name", ["deq", "implicit_euler"])
def test_a_printed_adjoint_computes_the_same_numbers(name: str, kind: str) -> None:
    model = unfold.load(EXAMPLES / f"{name}.rec")
    sizes = SIZES if name == "deq" else {}
    fn = compiled(str(model), kind, sizes=sizes)
    again = compiled(str(model.adjoint()), kind, sizes=sizes)
    params = fn.init(4)
    generator = np.random.default_rng(4)
    if name == "deq":
        data: dict[str, Any] = {"x": generator.normal(size=(3, 3)), "target": np.ones((3, 2))}
    else:
        data = {"dt": generator.uniform(0.5, 20.0, 4), "seen": np.ones(3)}
    loss, grads = fn.value_and_grad(params, data)
    out = again(params, data)
    np.testing.assert_allclose(out.loss, loss, rtol=1e-12)
    for n, expected in grads.items():
        assert apart(out[f"{n}_bar"], expected) < 1e-11


def test_the_adjoint_of_a_solve_reads_like_the_theorem() -> None:
    text = str(unfold.loads(DEQ).adjoint())
    assert (
        """    solve z_lambda[t] by anderson(tol = 1e-13):
        z_lambda[t] = z_bar[t] + W' @ (z_lambda[t] * (1 - z[t] ** 2))
    z_pre_bar[t] = z_lambda[t] * (1 - z[t] ** 2)
"""
        in text
    )
    assert r"\text{solved for } \mathbf{z}_{t}" in unfold.loads(DEQ).latex()


@pytest.mark.parametrize("name", ["deq", "implicit_euler"])
def test_unfolding_and_differentiation_commute(name: str) -> None:
    model = unfold.load(EXAMPLES / f"{name}.rec")
    program = model.program.bind(SIZES if name == "deq" else {})
    fn = unfold.compile(program, backend="numpy")
    generator = np.random.default_rng(7)
    arrays = dict(fn.init(7))
    if name == "deq":
        arrays |= {"x": generator.normal(size=(3, 3)), "target": generator.normal(size=(3, 2))}
    else:
        arrays |= {"dt": generator.uniform(0.5, 20.0, 3), "seen": generator.normal(size=3)}
    forward = graph_of(program, {"T": 3})
    derived = adjoint(program)
    results = []
    for graph in (forward.adjoint(), graph_of(derived, {"T": 3})):
        cells, failures = Tape(graph, "float64").run(arrays)
        assert not failures
        results.append(cells)
    swept, transformed = results
    for p in program.params:
        for a, b in zip(swept[f"{p.name}_bar"], transformed[f"{p.name}_bar"], strict=True):
            assert apart(a, b) < 1e-11


def test_an_implicit_element_is_one_node() -> None:
    graph = unfold.loads(small("newton")).unfold(3, level="op")
    node = graph.nodes["h[2]"]
    assert node.op == "implicit"
    assert [graph.table[o].name for o in node.operands] == ["h[1]", "W", "x[2]", "k"]
    assert graph.networkx.nodes["h[2]"]["op"] == "implicit"
    assert graph.path_length("h[0]", "h[3]") == 3


@pytest.mark.parametrize("method", METHODS)
def test_the_gradient_of_implicit_steps_is_the_limit_of_iterated_ones(
    method: str, kind: str
) -> None:
    text = small(method)
    iterated = text.replace(
        f"""            solve h[t] from h[t-1] by {method}(tol = 1e-13):
                h[t] = h[t-1] + 0.2 * (tanh(W @ h[t] + x[t]) - k * h[t]**3)
""",
        """            axis n: N
            u[t,0] = h[t-1]
            u[t,n] = h[t-1] + 0.2 * (tanh(W @ u[t,n-1] + x[t]) - k * u[t,n-1]**3)
            h[t] = u[t,N]
""",
    )
    assert iterated != text
    rng = np.random.default_rng(8)
    params = {"W": rng.normal(0, 0.3, (3, 3)), "k": 1.0}
    x = rng.normal(size=(5, 3))
    _, implicit = compiled(text, kind, D=3).value_and_grad(params, x=x)
    unrolled = compiled(iterated, kind, D=3)
    errors = []
    for n in (4, 8, 16, 64):
        _, grads = unrolled.value_and_grad(params, x=x, N=n)
        errors.append(max(apart(grads[name], implicit[name]) for name in params))
    assert all(later < 0.5 * earlier for earlier, later in pairwise(errors))
    assert errors[-1] < 1e-11
