"""Implicit equations: solved, differentiated, printed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unfold
from tests.solving import KINDS, METHODS, compiled, on
from unfold.backends.numpy.tape import Tape
from unfold.errors import SolverError
from unfold.graph import unfold as graph_of
from unfold.plan import hoist, plan
from unfold.transform import adjoint

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "examples"

DEQ = (EXAMPLES / "deq.rec").read_text(encoding="utf-8")
SIZES = {"D": 3, "H": 5, "K": 2}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    return on(str(request.param), monkeypatch)


def reference() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The inputs, parameters, outputs and gradients of the deep equilibrium model."""
    groups: dict[str, dict[str, Any]] = {}
    with np.load(HERE / "data" / "deq.npz") as file:
        for key in file.files:
            group, _, name = key.partition("/")
            groups.setdefault(group, {})[name] = file[key]
    return groups["input"], groups["param"], groups["output"], groups["grad"]


def apart(actual: Any, expected: Any) -> float:
    """The largest difference, relative to the largest entry."""
    scale = max(1e-300, float(np.abs(expected).max(initial=0.0)))
    return float(np.abs(np.asarray(actual) - expected).max(initial=0.0)) / scale


def small(kind: str) -> str:
    """An implicit step within a recurrence, of a vector."""
    return """
        model m(D):
            input x[t]: real[D]
            param W: real[D, D] ~ normal(0.3)
            param k: real = 1
            h[0] = 0
            solve h[t] from h[t-1] by METHOD(tol = 1e-13):
                h[t] = h[t-1] + 0.2 * (tanh(W @ h[t] + x[t]) - k * h[t]**3)
            loss = sum[t](sum(h[t]**2))
            output h[t]
            minimize loss
    """.replace("METHOD", kind)


# --- values and gradients ---------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_every_method_meets_the_reference(method: str, kind: str) -> None:
    inputs, params, outputs, grads = reference()
    fn = compiled(DEQ.replace("anderson", method), kind, sizes=SIZES)
    out = fn(params, inputs)
    assert apart(out.z, outputs["z"]) < 1e-12
    loss, found = fn.value_and_grad(params, inputs, wrt=list(grads))
    assert apart(loss, outputs["loss"]) < 1e-12
    for name, expected in grads.items():
        assert apart(found[name], expected) < 1e-10, name


@pytest.mark.parametrize("method", METHODS)
def test_an_implicit_step_within_a_recurrence_has_the_right_gradient(method: str) -> None:
    result = unfold.grad_check(unfold.loads(small(method)), D=3, T=6, entries=3)
    assert result.ok, str(result)


UNROLLED = DEQ.replace(
    """    solve z[t] by anderson(tol = 1e-13):
        z[t] = tanh(W @ z[t] + U @ x[t] + b)
""",
    """    axis k: N
    u[t,0] = 0
    u[t,k] = tanh(W @ u[t,k-1] + U @ x[t] + b)
    z[t] = u[t,N]
""",
)


def test_the_gradient_is_the_limit_of_the_unrolled_one(kind: str) -> None:
    inputs, params, _, _ = reference()
    _, implicit = compiled(DEQ, kind, sizes=SIZES).value_and_grad(params, inputs)
    unrolled = compiled(UNROLLED, kind, sizes=SIZES)
    errors = []
    for n in (5, 10, 20, 40):
        _, grads = unrolled.value_and_grad(params, inputs, N=n)
        errors.append(max(apart(grads[name], implicit[name]) for name in params))
    # The iteration contracts, and so does what is left of the gradient's error.
    assert all(later < 0.3 * earlier for earlier, later in pairwise(errors))
    assert errors[-1] < 1e-7
    _, grads = unrolled.value_and_grad(params, inputs, N=120)
    assert max(apart(grads[name], implicit[name]) for name in params) < 1e-12


def test_tangents_and_second_derivatives_pass_through(kind: str) -> None:
    inputs, params, _, _ = reference()
    fn = compiled(DEQ, kind, sizes=SIZES)
    generator = np.random.default_rng(3)
    u, v = ({n: generator.normal(size=np.shape(p)) for n, p in params.items()} for _ in range(2))

    def moved(step: float) -> dict[str, Any]:
        return {n: p + step * u[n] for n, p in params.items()}

    step = 1e-5
    _, tangents = fn.jvp(params, u, inputs)
    slope = (fn(moved(step), inputs).loss - fn(moved(-step), inputs).loss) / (2 * step)
    assert apart(tangents.loss, slope) < 1e-8
    ahead, behind = (fn.value_and_grad(moved(s), inputs)[1] for s in (step, -step))
    product = fn.hvp(params, u, inputs)
    for name in params:
        assert apart(product[name], (ahead[name] - behind[name]) / (2 * step)) < 1e-7, name
    other = fn.hvp(params, v, inputs)
    left, right = (sum(np.sum(a[n] * b[n]) for n in params) for a, b in ((v, product), (u, other)))
    assert apart(left, right) < 1e-10


def test_the_scale_of_the_loss_makes_no_difference_to_the_accuracy(kind: str) -> None:
    inputs, params, _, grads = reference()
    tiny = DEQ.replace("loss = mean", "loss = 1e-12 * mean")
    _, found = compiled(tiny, kind, sizes=SIZES).value_and_grad(params, inputs)
    assert all(apart(found[n], 1e-12 * grads[n]) < 1e-10 for n in params)


def test_both_backends_take_the_same_steps() -> None:
    inputs, params, _, _ = reference()
    for steps in (1, 2, 5, 9):
        said = []
        for backend in ("numpy", "llvm"):
            text = DEQ.replace("1e-13", f"1e-13, max_steps = {steps}")
            with pytest.raises(SolverError) as error:
                unfold.compile(text, backend=backend, sizes=SIZES)(params, inputs)
            said.append((error.value.steps, error.value.residual, str(error.value)))
        assert said[0][0] == said[1][0] == steps
        assert said[0][1] == pytest.approx(said[1][1], rel=1e-3)
        assert said[0][2] == said[1][2]


# --- shapes, starts, places -------------------------------------------------------------------


def test_unknowns_of_all_shapes_are_found_together(kind: str) -> None:
    text = """
        model m(D, E):
            input x[t]: real
            param q: real[D]
            param M: real[D, E]
            w[0] = 0
            solve A[t], u[t], w[t], v[t] by newton(tol = 1e-13):
                let shared = 0.1 * u * sum(v)
                u = 0.3 * w + shared + x[t]
                v = 0.2 * tanh(A @ broadcast(u, [E])) + q
                A = 0.1 * outer(v, M' @ v) + M
                w = w[t-1] + 0.1 * u
            loss = sum[t](u[t]**2 + w[t] + sum(v[t]**2) + sum(A[t]**2))
            output A[t], u[t], v[t], w[t]
            minimize loss
    """
    result = unfold.grad_check(unfold.loads(text), D=2, E=3, T=3, entries=2)
    assert result.ok, str(result)
    fn = compiled(text, kind, D=2, E=3)
    out = fn(fn.init(), x=np.array([0.3, 0.1]))
    M, v, u = fn.init()["M"], out.v, out.u
    for t in range(2):
        assert apart(out.A[t], 0.1 * np.outer(v[t], M.T @ v[t]) + M) < 1e-12
        assert apart(u[t], 0.3 * out.w[t] + 0.1 * u[t] * v[t].sum() + [0.3, 0.1][t]) < 1e-12


def test_a_scalar_is_solved_for_by_newton(kind: str) -> None:
    text = """
        model m:
            input x[t]: real
            solve z[t] by newton(tol = 1e-13):
                z[t] = x[t] - z[t]**3
            output z[t]
    """
    z = compiled(text, kind)({}, x=np.array([0.0, 2.0, 30.0, -2.0])).z
    np.testing.assert_allclose(z + z**3, [0, 2, 30, -2], rtol=1e-13, atol=1e-14)


def test_where_the_search_begins_decides_which_solution_is_found(kind: str) -> None:
    # u = z^3 - z has three solutions for small u; the path stays on its branch as long as there is
    # one, then jumps.
    text = """
        model m:
            input u[t]: real
            input first: real
            z[0] = first
            solve z[t] from z[t-1] by newton(tol = 1e-13):
                z[t] = z[t]**3 - u[t]
            output z[t]
    """
    fn, u = compiled(text, kind), np.array([0.0, 0.1, 0.2])
    up, down = (fn({}, {"u": u, "first": start}).z for start in (1.0, -1.0))
    assert up.min() > 1 - 1e-12
    assert down.max() < -0.5
    np.testing.assert_allclose(up**3 - up, u, atol=1e-13)
    np.testing.assert_allclose(down**3 - down, u, atol=1e-13)


def test_the_unknown_may_be_written_without_its_index() -> None:
    bare = DEQ.replace("z[t] = tanh(W @ z[t]", "z = tanh(W @ z")
    assert str(unfold.loads(bare)) == str(unfold.loads(DEQ))


def test_pieces_of_a_variable_may_be_explicit_and_implicit(kind: str) -> None:
    text = """
        model m:
            input x[t]: real
            z[1] = x[1]
            solve z[t] by anderson(tol = 1e-13):
                z = 0.5 * tanh(z) + z[t-1] for 2 <= t <= T-1
            solve z[T] by picard(tol = 1e-13):
                z = 0.1 * z + z[T-1]
            output z[t]
    """
    z = compiled(text, kind)({}, x=np.full(5, 0.7)).z
    assert z[0] == 0.7
    np.testing.assert_allclose(z[1:4], 0.5 * np.tanh(z[1:4]) + z[:3], rtol=1e-12)
    np.testing.assert_allclose(z[4], z[3] / 0.9, rtol=1e-12)


def test_an_equilibrium_of_parameters_alone_is_found_once(kind: str) -> None:
    text = """
        model m(H):
            input x[t]: real[H]
            param W: real[H, H]
            param b: real[H]
            solve z by anderson(tol = 1e-13):
                z = tanh(W @ z + b)
            loss = sum[t](x[t] @ z)
            output z
            minimize loss
    """
    assert unfold.grad_check(unfold.loads(text), H=3, T=2, entries=2).ok
    fn = compiled(text, kind, H=3)
    params = {"W": 0.3 * np.eye(3), "b": np.ones(3)}
    z = fn(params, x=np.ones((4, 2, 3))).z
    assert z.shape == (4, 3)
    np.testing.assert_allclose(z, np.tanh(0.3 * z + 1), rtol=1e-12)


def test_a_reduction_or_a_guard_may_hold_the_unknown(kind: str) -> None:
    text = """
        model m(H):
            axis s: T
            input x[t]: real[H]
            param q: real = 0.2
            solve z[t] by anderson(tol = 1e-13):
                z = sum[s <= t](x[s] * tanh(q * z)) / T + (0.3 * z if t > 1 else 1)
            loss = sum[t](sum(z[t]**2))
            output z[t]
            minimize loss
    """
    assert unfold.grad_check(unfold.loads(text), H=2, T=4, entries=2).ok
    x = np.random.default_rng(0).uniform(0.2, 0.9, (3, 2))
    z = compiled(text, kind, H=2)({"q": 0.2}, x=x).z
    for t in range(3):
        rest = 1.0 if t == 0 else 0.3 * z[t]
        np.testing.assert_allclose(z[t], (x[: t + 1] * np.tanh(0.2 * z[t])).sum(0) / 3 + rest)


@pytest.mark.parametrize("fold", ["min", "max", "logsumexp", "mean"])
def test_the_slope_of_a_reduction_reads_the_reduction_under_other_indices(
    fold: str, kind: str
) -> None:
    """Nothing in an implicit equation has a name, so what was reduced stands in its own slope."""
    fn = compiled(
        f"""
        model m:
            axis s: T
            input u[t]: real
            solve v[t] by picard(tol = 1e-13, max_steps = 300):
                v[t] = 0.4 * sin(v[t]) + tanh({fold}[s >= t](s * cos(u[T])))
            loss = sum[t](v[t] ** 2)
            output v[t]
            minimize loss
        """,
        kind,
    )
    u, h = np.array([0.3, -0.2, 0.5, 0.4]), 1e-6
    _, grads = fn.value_and_grad({}, u=u, wrt="u")
    steps = h * np.eye(4)
    ends = [[float(fn.value_and_grad({}, u=u + d, wrt="u")[0]) for d in (e, -e)] for e in steps]
    slopes = [(after - before) / (2 * h) for after, before in ends]
    np.testing.assert_allclose(grads["u"], slopes, atol=1e-7)


def test_many_components_are_solved_for_on_tiles() -> None:
    rng = np.random.default_rng(5)
    for method in METHODS:
        text = DEQ.replace("anderson", method)
        fn, plain = (unfold.compile(text, backend=b, D=6, H=70, K=3) for b in ("llvm", "numpy"))
        params = fn.init(0) | {"W": rng.normal(size=(70, 70)) * 0.05}
        x, target = rng.normal(size=(3, 2, 6)), rng.normal(size=(3, 2, 3))
        (one, a), (two, b) = (f.value_and_grad(params, x=x, target=target) for f in (fn, plain))
        assert apart(one, two) < 1e-12
        assert all(apart(a[n], b[n]) < 1e-10 for n in a), method


def test_what_does_not_change_leaves_the_search() -> None:
    text = str(plan(hoist(unfold.loads(DEQ).program.bind(SIZES))))
    assert "z_in[t] = (U @ x[t]) + b" in text
    assert "solve z[t] by anderson: tanh(z_in[t] + (W @ z[t]))" in text


# --- batches, lengths, formats, steps ---------------------------------------------------------


def test_every_sequence_of_a_batch_is_searched_for_by_itself(kind: str) -> None:
    fn = compiled(small("anderson"), kind, D=3)
    params = fn.init(1)
    x = np.random.default_rng(1).normal(size=(11, 4, 3)) * np.logspace(-3, 1, 11)[:, None, None]
    together = fn(params, x=x)
    for b in range(11):
        alone = fn(params, x=x[b])
        np.testing.assert_allclose(together.h[b], alone.h, rtol=1e-11, atol=1e-13)


def test_short_sequences_and_empty_batches(kind: str) -> None:
    fn = compiled(small("newton"), kind, D=2)
    params = fn.init(0)
    x = np.random.default_rng(2).normal(size=(3, 5, 2))
    ragged = fn(params, x=x, lengths=[5, 1, 3])
    for b, n in enumerate((5, 1, 3)):
        np.testing.assert_allclose(ragged.h[b, :n], fn(params, x=x[b, :n]).h, rtol=1e-12)
        np.testing.assert_array_equal(ragged.h[b, n:], ragged.h[b, n - 1] + np.zeros((5 - n, 2)))
    assert fn(params, x=x[:0]).h.shape == (0, 5, 2)


def test_single_precision_is_solved_as_far_as_it_goes(kind: str) -> None:
    inputs, params, outputs, grads = reference()
    for method in METHODS:
        fn = compiled(DEQ.replace("anderson", method), kind, sizes=SIZES, dtype="float32")
        assert apart(fn(params, inputs).z, outputs["z"]) < 2e-5
        _, found = fn.value_and_grad(params, inputs)
        assert all(apart(found[n], grads[n]) < 2e-4 for n in params)


def test_a_stepper_solves_its_implicit_step(kind: str) -> None:
    fn = compiled(small("newton"), kind, D=2)
    params, x = fn.init(0), np.random.default_rng(0).normal(size=(4, 2))
    stepper = fn.stepper(params)
    for t in range(4):
        np.testing.assert_allclose(stepper.step(x=x[t]).h, fn(params, x=x).h[t], rtol=1e-11)


def test_a_truncated_gradient_passes_through_the_implicit_step_only(kind: str) -> None:
    cut = compiled(small("newton"), kind, D=2, truncate=unfold.Window(1))
    params, x = cut.init(0), np.random.default_rng(0).normal(size=(4, 2))
    _, found = cut.value_and_grad(params, x=x)
    h = np.vstack([np.zeros(2), cut(params, x=x).h])
    one = compiled(small("newton").replace("h[0] = 0", "input h0: real[D]\n            h[0] = h0"),
                   kind, D=2)  # fmt: skip
    total = sum(one.value_and_grad(params, x=x[t : t + 1], h0=h[t])[1]["W"] for t in range(4))
    assert apart(found["W"], total) < 1e-11


def test_a_horizon_reaches_through_implicit_steps(kind: str) -> None:
    params, x = {"W": np.eye(2), "k": 1.0}, np.random.default_rng(0).normal(size=(6, 2))
    full = compiled(small("newton"), kind, D=2).value_and_grad(params, x=x)[1]
    near, far = (compiled(small("newton"), kind, D=2, truncate=unfold.Horizon(n)) for n in (2, 6))
    found = far.value_and_grad(params, x=x)[1]
    assert all(apart(found[n], full[n]) < 1e-11 for n in full)
    # Two steps are what the windows of every two steps have in common.
    h = np.vstack([np.zeros(2), near(params, x=x).h])
    text = small("newton").replace("h[0] = 0", "input h0: real[D]\n            h[0] = h0")
    two = compiled(text.replace("sum[t](sum(h[t]**2))", "sum(h[T]**2)"), kind, D=2)
    parts = [
        two.value_and_grad(params, x=x[max(0, t - 2) : t], h0=h[max(0, t - 2)])[1]["W"]
        for t in range(1, 7)
    ]
    assert apart(near.value_and_grad(params, x=x)[1]["W"], sum(parts)) < 1e-11


def test_a_model_with_a_solve_may_stand_inside_another(kind: str) -> None:
    text = """
        from cells use deq
        model m(D, H):
            input x[t]: real[D]
            first = deq(x, H)
            second = reverse deq(first.z, H)
            loss = sum[t](sum(second.z[t]**2))
            minimize loss
    """
    model = unfold.loads(text)
    assert str(model).count("solve ") == 2
    # The library's cell has the default tolerance, which differences see.
    finer = unfold.loads(str(model).replace("anderson", "anderson(tol = 1e-14)"))
    result = unfold.grad_check(finer, D=2, H=3, T=3, entries=2)
    assert result.ok, str(result)
    fn = compiled(text, kind, D=2, H=3)
    assert np.isfinite(fn(fn.init(), x=np.ones((2, 2))).loss)


def test_calls_from_several_threads_do_not_disturb_each_other(kind: str) -> None:
    fn = compiled(small("anderson"), kind, D=3)
    params = fn.init(0)
    xs = np.random.default_rng(0).normal(size=(8, 5, 3))
    expected = [fn(params, x=x).h for x in xs]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda x: fn(params, x=x).h, xs))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


# --- as text and as a graph ---------------------------------------------------------------------


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
