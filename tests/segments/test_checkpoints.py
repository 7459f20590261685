"""Segments give what the whole sequence gives, and take memory that grows as its square root."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import unfold
from tests.strategies import arrays, programs
from unfold.backends import llvm
from unfold.backends import numpy as interpreter
from unfold.program import Program
from unfold.segments import checkpointed, cut
from unfold.segments.checkpoints import Either
from unfold.segments.swept import Swept
from unfold.transform import adjoint

EXAMPLES = sorted((Path(__file__).parent.parent.parent / "examples").glob("*.rec"))
BACKENDS = {"llvm": llvm, "numpy": interpreter}
#: (T, steps of a segment, batch): ends that fit and that do not, one step, segments too long.
CALLS = ((7, 3, None), (8, 4, 2), (1, 3, 2), (5, 100, None), (6, 1, None))
REFUSED = {
    "causal_attention": "two axes over time",
    "hyena": "a part of the past that grows",
    "transformer_block": "two axes over time",
}


def gradient(path: Path) -> Program | None:
    """The gradient of an example in all its real parameters and inputs; None without a loss."""
    program = unfold.load(path).program
    sizes = dict(zip(program.sizes, (3, 4, 2, 5, 3, 2, 2), strict=False))
    made = unfold.compile(program, sizes=sizes, backend="numpy").program
    if not made.losses or "T" not in made.lengths:
        return None
    wrt = [v.name for v in (*made.params, *made.inputs) if v.type.kind == "real"]
    return adjoint(made.with_(outputs=()), wrt)


def data(p: Program, lengths: dict[str, int], batch: int | None) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    found: dict[str, np.ndarray] = {}
    for v in (*p.inputs, *p.params):
        shape = [(a.hi - a.lo + 1).evaluate(lengths) for a in v.axes]
        shape += [n.evaluate({}) for n in v.shape]
        if batch is not None and v.role == "input":
            shape = [batch, *shape]
        if v.type.kind == "real":
            found[v.name] = np.asarray(rng.uniform(0.1, 0.9, shape))
        elif v.type.kind == "int":
            bound = v.type.bound.constant if v.type.bound is not None else None
            found[v.name] = np.asarray(rng.integers(0, bound or 2, shape))
        else:
            found[v.name] = np.asarray(rng.random(shape) < 0.5)
    return found


def same(got: dict[str, Any], want: dict[str, Any]) -> None:
    assert list(got) == list(want)
    for name, expected in want.items():
        assert isinstance(got[name], np.ndarray), name  # also what has no axes: it is written to
        assert got[name].shape == expected.shape, name
        assert got[name].dtype == expected.dtype, name
        scale = max(1.0, float(np.max(np.abs(expected[np.isfinite(expected)]), initial=0.0)))
        np.testing.assert_allclose(
            got[name], expected, rtol=0, atol=1e-12 * scale, err_msg=name, equal_nan=True
        )


def agree(p: Program, backend: Any, calls: Any) -> None:
    """Segments from a backend against the interpreter, which knows of none."""
    whole = interpreter.compile(p, sum_adjoints=True)
    made = cut(p)
    compiled = Swept(made, lambda q, _: backend.compile(q, sum_adjoints=True), 1, "float64")
    for steps, size, batch in calls:
        least = p.minimum.get("T", 1)
        steps = max(steps, least)
        lengths = {n: max(3, p.minimum.get(n, 1)) for n in p.lengths} | {"T": steps}
        given = data(p, lengths, batch)
        compiled._steps = size
        same(compiled(given, lengths, batch), whole(given, lengths, batch))
        if batch is not None and steps > least:
            own = np.array([least, steps][:batch])
            same(compiled(given, lengths, batch, own), whole(given, lengths, batch, own))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_segments_give_what_the_whole_gives_on_every_example(path: Path) -> None:
    p = gradient(path)
    if p is None:
        pytest.skip("nothing to differentiate over time")
    if path.stem in REFUSED:
        with pytest.raises(unfold.InputError, match=REFUSED[path.stem]):
            cut(p)
        return
    agree(p, llvm, CALLS)


@pytest.mark.parametrize(
    "name", ["elman", "lstm", "inventory", "birnn", "td_lambda", "epidemic", "deq", "queue"]
)
def test_segments_in_the_interpreter(name: str) -> None:
    p = gradient(EXAMPLES[0].parent / f"{name}.rec")
    assert p is not None
    agree(p, interpreter, ((7, 3, None), (4, 2, 2), (1, 3, None)))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(program=programs(), steps=st.integers(1, 7), size=st.integers(1, 5))
def test_random_programs_forward_and_backward(program: Program, steps: int, size: int) -> None:
    steps = max(steps, program.minimum.get("T", 1))
    lengths = dict.fromkeys(program.lengths, steps)
    given = arrays(program, lengths)
    real = [v.name for v in (*program.params, *program.inputs) if v.type.kind == "real"]
    for p in (program, adjoint(program, real)):
        known = {v.name: given[v.name] for v in (*p.inputs, *p.params)}
        try:
            made = cut(p)
        except unfold.InputError:
            continue
        swept = Swept(made, lambda q, _: interpreter.compile(q), size, "float64")
        same(swept(known, lengths), interpreter.compile(p)(known, lengths))


LSTM = EXAMPLES[0].parent / "lstm.rec"


@pytest.fixture(scope="module")
def pair() -> tuple[unfold.Function, unfold.Function]:
    model = unfold.load(LSTM)
    sizes: dict[str, Any] = {"D": 3, "H": 5, "K": 2}
    return unfold.compile(model, **sizes), unfold.compile(model, **sizes, checkpoint=7)


@pytest.mark.parametrize("reduce", ["mean", "sum", "none"])
@pytest.mark.parametrize("lengths", [None, [50, 1, 7, 8, 7, 30]])
def test_calls_are_those_of_any_function(
    pair: tuple[unfold.Function, unfold.Function], reduce: str, lengths: Any
) -> None:
    whole, cut_up = pair
    rng = np.random.default_rng(2)
    params = whole.init(1)
    call: dict[str, Any] = {
        "x": rng.normal(size=(6, 50, 3)), "target": rng.normal(size=(6, 50, 2)),
        "reduce": reduce, "lengths": lengths, "wrt": ["x", "h", "W_hi", "c0"],
    }  # fmt: skip
    want, got = whole.value_and_grad(params, **call), cut_up.value_and_grad(params, **call)
    same({"": np.asarray(got[0])}, {"": np.asarray(want[0])})
    same(got[1], want[1])


def test_gradients_in_numbers_are_arrays_as_any_others() -> None:
    text = """
model m():
    input  x[t]: real
    param  a, s0: real = 0.3
    s[0] = s0
    s[t] = a * s[t-1] + x[t]
    loss = mean[t](s[t] ** 2) + a * s[T]
    minimize loss
"""
    model = unfold.loads(text)
    whole, cut_up = unfold.compile(model), unfold.compile(model, checkpoint=2)
    rng, params = np.random.default_rng(5), whole.init(1)
    for call in ({}, {"lengths": [7, 2, 4]}, {"lengths": [7, 2, 4], "reduce": "sum"}):
        given: dict[str, Any] = {"x": rng.normal(size=(3, 7)), **call}
        (want, grads), got = (f.value_and_grad(params, **given) for f in (whole, cut_up))
        np.testing.assert_allclose(got[0], want)
        same(got[1], grads)


@pytest.mark.parametrize("lengths", [None, [7, 2, 4]])
def test_a_chain_of_parameters_alone_is_the_same_for_all_sequences(lengths: Any) -> None:
    text = """
model m():
    input  x[t]: real
    param  a: real = 0.3
    param  b: real[2] = 0.2
    p[T+1] = b
    p[t] = tanh(a * p[t+1] + 0.1)
    s[0] = 0
    s[t] = tanh(s[t-1] + x[t])
    loss = mean[t](s[t] ** 2) + sum(p[1]) + sum[t](sum(p[t] ** 2))
    output s[t]
    minimize loss
"""
    model = unfold.loads(text)
    whole, cut_up = unfold.compile(model), unfold.compile(model, checkpoint=2)
    params = whole.init(1)
    given: dict[str, Any] = {"x": np.random.default_rng(5).normal(size=(3, 7)), "lengths": lengths}
    (want, grads), got = (f.value_and_grad(params, **given) for f in (whole, cut_up))
    np.testing.assert_allclose(got[0], want)
    same(got[1], grads)


def test_hessian_products(pair: tuple[unfold.Function, unfold.Function]) -> None:
    whole, cut_up = pair
    rng = np.random.default_rng(3)
    params = whole.init(1)
    call: dict[str, Any] = {"x": rng.normal(size=(20, 3)), "target": rng.normal(size=(20, 2))}
    vectors = {"W_hi": rng.normal(size=(5, 5)), "b_y": rng.normal(size=2)}
    same(cut_up.hvp(params, vectors, **call), whole.hvp(params, vectors, **call))


def test_draws_are_those_of_the_whole_sequence() -> None:
    text = """
model walk(s = 0.3):
    param a: real = 0.5
    random e[t]: real ~ normal
    h[0] = 1
    h[t] = a * h[t-1] + s * e[t] * t / T
    loss = mean[t](h[t] ** 2) + h[T]
    output h[t]
    minimize loss
"""
    whole, cut_up = unfold.compile(text), unfold.compile(text, mode="reverse", checkpoint=4)
    params = whole.init()
    want = whole.value_and_grad(params, T=30, seed=5)
    got = cut_up.value_and_grad(params, T=30, seed=5)
    np.testing.assert_allclose(got[0], want[0], rtol=1e-13)
    np.testing.assert_allclose(got[1]["a"], want[1]["a"], rtol=1e-12)


@pytest.mark.parametrize("how", [unfold.Window(4), unfold.Horizon(3)])
def test_truncated_gradients(how: Any) -> None:
    model = unfold.load(EXAMPLES[0].parent / "elman.rec")
    sizes: dict[str, Any] = {"D": 3, "H": 4, "K": 3}
    whole = unfold.compile(model, **sizes, truncate=how)
    cut_up = unfold.compile(model, **sizes, truncate=how, checkpoint=5)
    rng = np.random.default_rng(4)
    params = whole.init()
    call: dict[str, Any] = {"x": rng.normal(size=(23, 3)), "c": rng.integers(0, 3, 23)}
    same(cut_up.value_and_grad(params, **call)[1], whole.value_and_grad(params, **call)[1])


@pytest.mark.parametrize("op", ["max", "min", "logsumexp"])
def test_other_reductions_over_time(op: str) -> None:
    text = f"""
model peak:
    input x[t]: real
    param a: real = 0.9
    h[0] = 0
    h[t] = a * h[t-1] + x[t]
    top = {op}[t](h[t])
    loss = top ** 2 + mean[t]((h[t] - top) ** 2)
    minimize loss
"""
    whole, cut_up = unfold.compile(text), unfold.compile(text, mode="reverse", checkpoint=3)
    x = np.array([1.0, 0.0, 2.0, -1.0, 0.5, 3.0, 0.25, -2.0])
    for steps in (x, np.zeros(8)):  # in the second all steps are extremes
        want = whole.value_and_grad({"a": 0.9}, x=steps, wrt=["a", "x"])
        got = cut_up.value_and_grad({"a": 0.9}, x=steps, wrt=["a", "x"])
        np.testing.assert_allclose(got[0], want[0], rtol=1e-13)
        same(got[1], want[1])


def test_what_reads_all_of_the_past_is_refused_by_number_and_kept_whole_by_auto() -> None:
    text = """
model past:
    axis s, t: T
    input x[t]: real
    param a: real = 0.9
    h[t] = tanh(a * x[t])
    y[t] = sum[s <= t](h[s])
    loss = sum[t](y[t] ** 2)
    minimize loss
"""
    x = np.ones(6)
    why = r'part of the (past|future) that grows\n    y\[.*\ncheckpoint=None and "auto" keep all'
    with pytest.raises(unfold.InputError, match=why):
        unfold.compile(text, mode="reverse", checkpoint=2).value_and_grad({"a": 0.9}, x=x)
    whole, auto = unfold.compile(text), unfold.compile(text, mode="reverse", checkpoint="auto")
    want, got = (f.value_and_grad({"a": 0.9}, x=x)[1]["a"] for f in (whole, auto))
    np.testing.assert_allclose(got, want, rtol=1e-13)


@pytest.mark.parametrize("wrong", [0, -3, 2.5, "all", True])
def test_a_wrong_directive_is_an_error(wrong: Any) -> None:
    with pytest.raises(unfold.InputError, match='checkpoint is None, "auto" or a positive number'):
        unfold.compile(LSTM, D=1, H=1, K=1, checkpoint=wrong)


def test_memory_grows_as_the_square_root() -> None:
    p = gradient(LSTM)
    assert p is not None
    p = p.with_(outputs=tuple(o for o in p.outputs if not p.vars[o.name].axes))
    kernel = checkpointed(p, "auto", lambda q, _: llvm.compile(q, sum_adjoints=True), "float64")
    assert isinstance(kernel, Either)
    need = {
        steps: sum(kernel.workspace({"T": steps}, 64).values()) for steps in (10**4, 10**5, 10**6)
    }
    assert need[10**5] < 4 * need[10**4]
    assert need[10**6] < 4 * need[10**5]
    whole = sum(kernel.whole.workspace({"T": 10**6}, 64).values())
    assert need[10**6] < whole / 100


@pytest.mark.parametrize("name", ["lstm", "gru", "elman"])
def test_positions_in_a_segment_are_counted_from_its_beginning(name: str) -> None:
    p = gradient(LSTM.parent / f"{name}.rec")
    assert p is not None
    made = cut(p)
    for sweep in made.sweeps:
        axes = [a for v in sweep.program.vars.values() for a in v.axes]
        assert any(made.count in a.hi.symbols for a in axes)
        assert not any(made.start in a.lo.symbols | a.hi.symbols for a in axes)


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_a_segment_stores_about_what_the_whole_stores_for_a_step(name: str) -> None:
    fn = unfold.compile(LSTM.parent / f"{name}.rec", D=32, H=64, K=8)
    p = fn.compiler.gradient(tuple(fn.params), ("loss",)).program
    whole = llvm.compile(p, sum_adjoints=True)
    kernel = checkpointed(p, 100, lambda q, _: llvm.compile(q, sum_adjoints=True), "float64")
    assert isinstance(kernel, Swept)

    def of_a_step(told: Any) -> float:
        more, less = (sum(told(n).values()) for n in (20_000, 10_000))
        return float(more - less) / 10_000

    stored = of_a_step(lambda n: whole.workspace({"T": n}, None))
    assert of_a_step(lambda n: kernel.segment({"T": 10**6}, None, n)) < 1.5 * stored


def test_auto_keeps_few_states_and_gives_the_same() -> None:
    model = unfold.load(LSTM)
    sizes: dict[str, Any] = {"D": 2, "H": 8, "K": 2}
    whole = unfold.compile(model, **sizes)
    auto = unfold.compile(model, **sizes, checkpoint="auto")
    rng = np.random.default_rng(6)
    params = whole.init()
    for steps in (10, 60_000):
        x, target = rng.normal(size=(2, steps, 2))
        call: dict[str, Any] = {"x": x, "target": target}
        kernel: Any = auto.compiler.gradient(tuple(auto.params), ("loss",)).kernel
        chosen = kernel.chosen({"T": steps}, None, False)
        assert isinstance(chosen, Swept) == (steps > 10)
        want, got = (f.value_and_grad(params, **call) for f in (whole, auto))
        np.testing.assert_allclose(got[0], want[0], rtol=1e-12)
        for name, g in want[1].items():
            np.testing.assert_allclose(got[1][name], g, rtol=1e-9, atol=1e-11, err_msg=name)


@pytest.mark.parametrize("batch", [None, 5])
def test_the_bill_is_what_is_allocated(batch: int | None) -> None:
    fn = unfold.compile(LSTM, D=3, H=40, K=2)
    told = fn.memory(T=300, B=batch)
    lead = () if batch is None else (batch,)
    x, target = np.zeros((*lead, 300, 3)), np.zeros((*lead, 300, 2))
    _, grads = fn.value_and_grad(fn.init(), x=x, target=target)
    assert told.inputs == {"x": x.nbytes, "target": target.nbytes}
    assert {n.removesuffix("_bar"): k for n, k in told.results.items() if n != "loss"} == {
        n: g.nbytes for n, g in grads.items()
    }
    kernel: Any = fn.compiler.gradient(tuple(fn.params), ("loss",)).kernel
    slot = kernel.new_slot({"T": 300}, batch)
    assert (
        sum(told.work.values())
        <= slot.nbytes
        <= sum(told.work.values()) + 64 * (len(told.work) + 1)
    )
    assert f"{told.total:,}" in str(told)


def test_a_bill_needs_all_lengths() -> None:
    with pytest.raises(unfold.InputError, match="memory: lstm needs T; its lengths are T"):
        unfold.compile(LSTM, D=3, H=4, K=2).memory()


def test_a_delay_that_only_a_call_tells_is_said_to_be_one() -> None:
    text = """
    model delayed:
        axis k: L
        input past[k]: real
        param a: real = 0.3
        x[t] = past[t+L] for t in 1-L..0
        x[t] = a * x[t-L] for t in 1..T
        loss = sum[t](x[t] ** 2)
        minimize loss
    """
    fn = unfold.compile(dedent(text), checkpoint=2)
    why = r"reads x at a distance, L, that only a call tells; a size, .*\n.*x\[t\] = a \* x\[t-L\]"
    with pytest.raises(unfold.InputError, match=why):
        fn.value_and_grad(fn.init(), past=np.ones(3), T=7, wrt=["a", "past"])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("lengths", [None, [9, 4, 6]])
def test_a_history_before_the_first_step_may_be_data(backend: str, lengths: Any) -> None:
    text = """
    model delayed(M, D):
        axis k: -M..0
        input past[k]: real[D]
        input u[t]: real[D]
        param a: real[D] = 0.3
        param W: real[D, D] ~ glorot
        x[k] = tanh(past[k])
        x[t] = x[t-1] + 0.1 * (a * x[t-1-M] / (1 + x[t-1-M] ** 2) + W @ u[t])
        loss = mean[t](sum(x[t] ** 2)) + sum[k](sum(x[k]))
        minimize loss
    """
    rng = np.random.default_rng(0)
    data = {"past": rng.normal(size=(3, 4, 2)), "u": rng.normal(size=(3, 9, 2))}
    whole, *parts = (
        unfold.compile(dedent(text), M=3, D=2, backend=backend, checkpoint=c) for c in (None, 2, 3)
    )
    params, wrt = whole.init(), ["a", "W", "past", "u"]
    _, expected = whole.value_and_grad(params, data, wrt=wrt, lengths=lengths)
    for fn in parts:
        _, grads = fn.value_and_grad(params, data, wrt=wrt, lengths=lengths)
        for name in wrt:
            np.testing.assert_allclose(grads[name], expected[name], rtol=1e-12, atol=1e-15)


def test_an_edge_of_what_sequences_share_is_not_cleared() -> None:
    """Two pieces of one element, each for lengths of its own, keep their conditions: the filter's
    covariances, which tiles compute once, went to the next segment as zeros."""
    text = """
    model information_filter(N):
        input z[t]: real[N]
        param F: real[N, N] ~ orthogonal
        param s: real = 0.3
        J[0] = eye(N)
        eta[0] = 0
        P[t] = F @ inv(J[t-1]) @ F' + s ** 2 * eye(N)
        J[t] = inv(P[t]) + eye(N)
        eta[t] = solve(P[t], F @ solve(J[t-1], eta[t-1])) + z[t]
        L = cholesky(J[T])
        loss = sum[t](sum((eta[t] - z[t]) ** 2)) + sum(L ** 2)
        minimize loss
    """
    z = np.random.default_rng(0).normal(size=(7, 3))
    whole, *parts = (
        unfold.compile(dedent(text), N=3, checkpoint=c, backend=b)
        for c, b in ((None, "numpy"), (None, "llvm"), (2, "llvm"), (3, "llvm"), (7, "llvm"))
    )
    params = whole.init(seed=3)
    params["F"] = params["F"] + 0.05
    _, expected = whole.value_and_grad(params, z=z)
    for fn in parts:
        _, grads = fn.value_and_grad(params, z=z)
        for name in params:
            np.testing.assert_allclose(grads[name], expected[name], rtol=1e-9)
