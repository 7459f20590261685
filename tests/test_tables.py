"""Tables that are not full: triangles, and pieces that have no elements at some sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import unfold
from tests.test_strangers import PATH
from unfold.gradcheck import grad_check, random_arrays


def loaded(name: str) -> unfold.Model:
    return unfold.load(PATH, model=name)


@pytest.mark.parametrize("N", [1, 2, 3, 4])
def test_gradients_at_sizes_where_a_piece_is_one_element_or_none(N: int) -> None:
    report = grad_check(loaded("road"), N=N)
    assert report.ok, str(report)


@pytest.mark.parametrize("N", [1, 2, 3])
def test_a_road_is_that_of_arrays(N: int) -> None:
    chance = np.random.default_rng(N)
    inflow, k, cap = chance.random(6), chance.random(N), 0.5 + chance.random(N)
    params, delay = {"k0": k, "cap": cap}, 0.0
    for f in inflow:
        send, recv = np.minimum(0.8 * k, 0.6 * cap), np.minimum(0.6 * cap, 0.4 * (2 - k))
        q = np.r_[min(f, recv[0]), np.minimum(send[:-1], recv[1:]), send[-1]]
        k = k + q[:-1] - q[1:]
        delay += np.sum(k - q[1:] / 0.8) + np.sum(np.diff(k) ** 2)
    for backend in ("numpy", "llvm"):
        fn = unfold.compile(loaded("road"), N=N, backend=backend)
        np.testing.assert_allclose(fn(params, inflow=inflow).delay, delay, rtol=1e-12)


def price(p: dict[str, Any], steps: int) -> float:
    """By one array of nodes, from the last step to the first."""
    dt = 1 / steps
    up = np.exp(p["sigma"] * np.sqrt(dt))
    q = (np.exp(p["r"] * dt) - 1 / up) / (up - 1 / up)

    def exercised(t: int) -> Any:
        return np.maximum(p["K"] - p["S0"] * up ** (2.0 * np.arange(t + 1) - t), 0)

    v = exercised(steps)
    for t in range(steps - 1, -1, -1):
        v = np.maximum(exercised(t), np.exp(-p["r"] * dt) * (q * v[1:] + (1 - q) * v[:-1]))
    return float(v[0])


def test_a_printed_adjoint_whose_sum_runs_over_a_triangle_is_read_again() -> None:
    model = loaded("put")
    text = str(model.adjoint())
    assert "sum[j, t in j..T]" in text
    for backend in ("numpy", "llvm"):
        fn = unfold.compile(model, backend=backend)
        params = fn.init(0)
        value, grads = fn.value_and_grad(params, T=7)
        np.testing.assert_allclose(value, price(params, 7), rtol=1e-12)
        out = unfold.compile(text, backend=backend)(params, T=7)
        for name, g in grads.items():
            np.testing.assert_allclose(out[f"{name}_bar"], g, rtol=1e-10)
    report = grad_check(model, T=7)
    assert report.ok, str(report)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_costates_of_a_triangle_are_zero_outside_of_it(dtype: str) -> None:
    meaning = unfold.compile(loaded("stack"), D=2, P=3, backend="numpy", dtype=dtype)
    native = unfold.compile(loaded("stack"), D=2, P=3, dtype=dtype)
    arrays = random_arrays(meaning.program, {"T": 6}, np.random.default_rng(0), batch=5)
    params = {n: arrays[n] for n in meaning.params}
    data = {n: arrays[n] for n in meaning.inputs}
    cases: tuple[dict[str, Any], ...] = ({}, {"lengths": [6, 1, 3, 6, 2]})
    for kw in cases:
        _, want = meaning.value_and_grad(params, data, wrt=["st", "V"], **kw)
        # Memory that is given back is full of what is no number.
        waste = [np.full((5, 6, 6), np.nan, dtype) for _ in range(20)]
        del waste
        _, got = native.value_and_grad(params, data, wrt=["st", "V"], **kw)
        assert not np.triu(got["st"], 1).any()
        for name, g in want.items():
            np.testing.assert_allclose(got[name], g, rtol=1e-4 if dtype == "float32" else 1e-10)
    unfold.loads(str(loaded("stack").adjoint(["st"])))


def test_jacobians_of_a_triangle_agree() -> None:
    model = loaded("stack")
    data = {"x": np.linspace(-1, 1, 8).reshape(4, 2), "target": np.ones((4, 3))}
    found = []
    for backend in ("numpy", "llvm"):
        fn = unfold.compile(model, D=2, P=3, backend=backend)
        for mode in ("reverse", "forward"):
            found.append(fn.jacobian("st", "x", fn.init(0), data, mode=mode))
        inner = fn.jacobian("st", "st[2,1]", fn.init(0), data)
        assert inner[1, 0] == 1
        assert not np.triu(inner, 1).any()
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=1e-10, atol=1e-14)
    assert found[0].shape == (4, 4, 4, 2)
    assert np.abs(found[0]).max() > 0.1


@pytest.mark.parametrize(
    ("written", "terms"),
    [
        ("sum[i, j in i..N](x[i] * x[j])", lambda i, j: i <= j),
        ("sum[j in i..N, i](x[i] * x[j])", lambda i, j: i <= j),
        ("sum[i in 1..N-1, k in i+1..N](x[i] * x[k])", lambda i, j: i < j),
        ("sum[i in j..N, j in 1..i](x[i] * x[j])", lambda i, j: i >= j),
        ("sum[i](x[i] * sum[i in i..N](x[i]))", lambda i, j: i <= j),
        ("sum[i](x[i] * sum[q in i..N](x[q]))", lambda i, j: i <= j),
    ],
)
def test_the_ends_of_a_range_may_name_what_runs_beside_it(written: str, terms: Any) -> None:
    text = f"model m:\n    axis i, j: N\n    input x[i]: real\n    y = {written}\n    output y\n"
    x = np.random.default_rng(0).normal(size=5)
    want = sum(x[i] * x[j] for i in range(5) for j in range(5) if terms(i, j))
    model = unfold.loads(text)
    for source in (text, str(model)):
        for backend in ("numpy", "llvm"):
            got = unfold.compile(source, backend=backend)({}, x=x).y
            np.testing.assert_allclose(got, want, rtol=1e-12)


def test_axes_over_sizes_are_unfolded_and_drawn(tmp_path: Any) -> None:
    model = loaded("road")
    names = model.unfold(2, N=3).networkx.nodes
    assert {"k[2,3]", "q[1,0]"} <= set(names)
    assert "k[2,4]" not in names
    assert "k[2,2]" in model.unfold(2).networkx.nodes  # a size is `steps` too, as a length is
    graph = model.adjoint().unfold(2, N=2)
    assert "k0_bar[2]" in graph.networkx.nodes
    with pytest.raises(ValueError, match="road has no length M, only T, N"):
        model.unfold(2, M=2)
    assert model.draw(tmp_path / "a.svg", 2, ["rolled", "unrolled", "adjoint"], N=2).exists()
