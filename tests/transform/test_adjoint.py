"""The adjoint of a program is a program, and reads like the derivation in a textbook."""

from __future__ import annotations

from textwrap import dedent
from typing import Any

import numpy as np
import pytest

import unfold
from unfold.transform import adjoint


def equations_after(mark: str, text: str) -> str:
    """The block of equations that follows a comment line, without indentation."""
    lines = text.split(mark, 1)[1].split("output", 1)[0].strip("\n").splitlines()
    return dedent("\n".join(lines)).strip()


def the_adjoint(source: str, **how: Any) -> str:
    return equations_after("# adjoint", str(unfold.loads(dedent(source)).adjoint(**how)))


ELMAN = """
model elman(D, H, K):
    input x[t]: real[D]
    input label: int<K>
    param W: real[H, D]
    param U: real[H, H]
    param V: real[K, H]
    h[0] = 0
    h[t] = tanh(W @ x[t] + U @ h[t-1])
    logits = V @ h[T]
    loss = cross_entropy(logits, label)
    minimize loss
"""


def test_backpropagation_through_time_of_an_elman_network() -> None:
    assert the_adjoint(ELMAN) == dedent("""\
        logits_bar = softmax(logits) - onehot(label, K)
        h_bar[T] = V' @ logits_bar
        h_bar[t] = U' @ h_pre_bar[t+1] for t <= T-1
        h_pre_bar[t] = h_bar[t] * (1 - h[t] ** 2)
        W_bar = sum[t](outer(h_pre_bar[t], x[t]))
        U_bar = sum[t](outer(h_pre_bar[t], h[t-1]))
        V_bar = outer(logits_bar, h[T])""")


def test_the_gates_of_an_lstm() -> None:
    text = the_adjoint("""
        model lstm(H):
            input x[t]: real[H]
            param Wi, Wf, Wg, Wo: real[H, H]
            h[0] = 0
            c[0] = 0
            i[t] = sigmoid(x[t] + Wi @ h[t-1])
            f[t] = sigmoid(x[t] + Wf @ h[t-1])
            g[t] = tanh(x[t] + Wg @ h[t-1])
            o[t] = sigmoid(x[t] + Wo @ h[t-1])
            c[t] = f[t] * c[t-1] + i[t] * g[t]
            h[t] = o[t] * tanh(c[t])
            loss = sum(h[T])
            minimize loss
        """)
    lines = set(text.splitlines())
    assert "i_pre_bar[t] = c_bar[t] * g[t] * i[t] * (1 - i[t])" in lines
    assert "f_pre_bar[t] = c_bar[t] * c[t-1] * f[t] * (1 - f[t])" in lines
    assert "g_pre_bar[t] = c_bar[t] * i[t] * (1 - g[t] ** 2)" in lines
    assert "c_bar[T] = h_bar[T] * o[T] * (1 - tanh(c[T]) ** 2)" in lines


def test_softmax_attention() -> None:
    text = the_adjoint("""
        model attention(D):
            axis s: T
            input x[t]: real[D]
            param W, U: real[D, D]
            q[t] = W @ x[t]
            k[t] = U @ x[t]
            score[t, s] = q[t] @ k[s] for s <= t
            a[t, s] = softmax[s <= t](score[t, s]) for s <= t
            z[t] = sum[s <= t](a[t, s] * x[s])
            loss = sum[t](sum(z[t] ** 3))
            minimize loss
        """)
    text = text.split("\n", 1)[1]
    assert text == dedent("""\
        a_bar[t, s] = z_bar[t] @ x[s] for s <= t
        a_pre_bar[t] = -sum[s <= t](a_bar[t, s] * a[t, s])
        score_bar[t, s] = a[t, s] * (a_pre_bar[t] + a_bar[t, s]) for s <= t
        k_bar[t] = sum[s >= t](score_bar[s, t] * q[s])
        q_bar[t] = sum[s <= t](score_bar[t, s] * k[s])
        W_bar = sum[t](outer(q_bar[t], x[t]))
        U_bar = sum[t](outer(k_bar[t], x[t]))""")


def test_what_is_repeated_is_kept_before_it_is_repeated() -> None:
    """The adjoints of scores have a number for each pair and head, not a vector."""
    heads = """
    model heads(R, P):
        axis   s: S
        input  x[t], m[s]: real[R, P]
        param  w: real[R, P]
        q[t] = tanh(w * x[t])
        k[s] = tanh(w * m[s])
        a[t,s] = softmax[s](sum(q[t] * k[s], axis = 1) / sqrt(P))
        loss = sum[t](sum[s](sum(a[t,s]) * s) ** 2)
        minimize loss
    """
    program = unfold.loads(dedent(heads)).adjoint().program
    pairs = [v for v in program.vars.values() if len(v.axes) == 2 and v.generated]
    assert pairs
    assert {v.name for v in pairs if len(v.shape) > 1} == set()


def test_costates_are_the_adjoints_of_states() -> None:
    text = the_adjoint(
        """
        model oscillator:
            input u[t]: real
            param dt: real = 0.1
            p[0] = 1
            v[0] = 0
            p[t] = p[t-1] + dt * v[t-1]
            v[t] = v[t-1] - dt * p[t-1] + dt * u[t]
            cost = sum[t](p[t]**2 + u[t]**2)
            minimize cost
        """,
        wrt=["p", "v", "u"],
    )
    assert text == dedent("""\
        v_bar[T] = 0
        p_bar[T] = 2 * p[T]
        v_bar[t] = p_bar[t+1] * dt + v_bar[t+1] for t <= T-1
        p_bar[t] = p_bar[t+1] - v_bar[t+1] * dt + 2 * p[t] for t <= T-1
        u_bar[t] = v_bar[t] * dt + 2 * u[t]""")


def test_a_read_at_a_fixed_step_is_a_guarded_term() -> None:
    text = the_adjoint("""
        model probe:
            param a: real
            h[0] = 1
            h[t] = a * h[t-1]
            loss = h[4] + h[T]
            minimize loss
        """)
    assert "h_bar[T] = 1 + (1 if T == 4 else 0)" in text
    assert "h_bar[t] = h_bar[t+1] * a + (1 if t == 4 else 0) for t <= T-1" in text


def test_the_adjoint_of_every_example_parses_and_compiles_again(example: str) -> None:
    once = unfold.load(example).adjoint()
    again = unfold.loads(str(once))

    def lines(model: unfold.Model) -> set[str]:
        # Comments are no part of a program, and the order of equations has no meaning.
        return {line for line in str(model).splitlines() if not line.strip().startswith("#")}

    assert lines(again) == lines(once)


@pytest.mark.parametrize("backend", ["numpy", "llvm"])
def test_the_printed_adjoint_computes_the_gradient(backend: str) -> None:
    rng = np.random.default_rng(1)
    sizes = {"D": 2, "H": 3, "K": 4}
    data: dict[str, Any] = {"x": rng.normal(size=(5, 2)), "label": 2}
    fn = unfold.compile(unfold.loads(ELMAN), backend=backend, sizes=sizes)
    params = {n: rng.normal(size=a.shape) for n, a in fn.init().items()}
    _, grads = fn.value_and_grad(params, **data)
    printed = unfold.compile(str(unfold.loads(ELMAN).adjoint()), backend=backend, sizes=sizes)
    out = printed(params, **data)
    for name, g in grads.items():
        np.testing.assert_allclose(out[f"{name}_bar"], g, rtol=1e-12, atol=1e-14)


def value_and_slope(source: str, at: dict[str, Any], wrt: str, **data: Any) -> tuple[float, Any]:
    """The loss and its gradient on the interpreter, the gradient held against differences."""
    fn = unfold.compile(dedent(source), backend="numpy")
    value, grads = fn.value_and_grad(at, wrt=[wrt], **data)
    return value, grads[wrt]


def test_detach_stops_the_derivative() -> None:
    source = """
        model m:
            param a: real
            y = a * detach(a * a)
            minimize y
        """
    value, slope = value_and_slope(source, {"a": 3.0}, "a")
    assert (value, slope) == (27.0, 9.0)


@pytest.mark.parametrize(
    ("branch", "at"),
    [
        ("log(a) if a > 0 else 0", -1.0),
        ("log(a) * sqrt(a) if a > 0 else 2 * a", 0.0),
        ("0 if a <= 0 else a ** 0.5", 0.0),
        ("where(a > 0, 1 / a, a)", 0.0),
        ("where(a > 0, sqrt(a) + sqrt(a) * a, a)", 0.0),
    ],
)
def test_the_branch_not_taken_gives_no_nan(branch: str, at: float) -> None:
    source = f"model m:\n    param a: real\n    y = {branch}\n    minimize y\n"
    _, slope = value_and_slope(source, {"a": at}, "a")
    assert np.isfinite(slope)


def test_minus_infinity_is_an_honest_log_probability() -> None:
    source = """
        model m:
            input p[t]: real
            total = logsumexp[t](p[t])
            q[t] = softmax[t](p[t])
            loss = total + sum[t](0 if p[t] < -1e300 else q[t] * p[t])
            minimize loss
        """
    _, slope = value_and_slope(source, {}, "p", p=np.array([0.0, -np.inf, 1.0]))
    assert np.isfinite(slope).all()
    assert slope[1] == 0.0


@pytest.mark.parametrize(
    ("expression", "expected"),
    [("relu(a)", 0.0), ("abs(a)", 0.0), ("max(a, 0)", 0.5), ("min(a, a)", 1.0), ("sign(a)", 0.0)],
)
def test_sub_gradients_are_the_documented_ones(expression: str, expected: float) -> None:
    source = f"model m:\n    param a: real\n    y = {expression}\n    minimize y\n"
    assert value_and_slope(source, {"a": 0.0}, "a")[1] == expected


def test_second_derivatives_come_from_differentiating_twice() -> None:
    source = """
        model m:
            param a: real
            h[0] = 1
            h[t] = sin(a * h[t-1])
            y = h[T]
            minimize y
        """
    model = unfold.loads(dedent(source))
    first = model.adjoint()
    second = unfold.compile(first.adjoint(of="a_bar"), backend="numpy")
    slope = unfold.compile(first, backend="numpy")
    e = 1e-5
    want = (slope({"a": 1.3 + e}, T=4)["a_bar"] - slope({"a": 1.3 - e}, T=4)["a_bar"]) / (2 * e)
    assert second({"a": 1.3}, T=4)["a_bar_1"] == pytest.approx(want, rel=1e-8)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"wrt": ["nothing"]}, "nothing is not a real input, param or variable of elman"),
        ({"wrt": ["label"]}, "label is not a real input, param or variable of elman"),
        ({"of": ["h"]}, "h is not a real scalar of elman"),
        ({"of": ["missing"]}, "missing is not a real scalar of elman"),
    ],
)
def test_what_cannot_be_differentiated_is_named(how: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        adjoint(unfold.loads(ELMAN).program, **how)


def test_a_model_without_a_loss_asks_for_a_scalar() -> None:
    program = unfold.loads(ELMAN.replace("minimize loss", "output logits")).program
    with pytest.raises(ValueError, match="minimises nothing"):
        adjoint(program)
    assert adjoint(program, of=["loss"]).outputs


def test_a_value_under_two_indices_has_one_adjoint() -> None:
    """A softmax reads its scores under two indices; each gradient is one sum all the same."""
    text = the_adjoint("""
        model attention(D):
            axis   s: T
            input  x[t]: real[D]
            param  W, V: real[D, D]
            k[t] = W @ x[t]
            q[t] = V @ x[t]
            a[t,s] = softmax[s <= t](q[t] @ k[s]) for s <= t
            z[t] = sum[s <= t](a[t,s] * x[s])
            loss = sum[t](sum(z[t] ** 2))
            minimize loss
        """)
    assert "a_pre_bar[t, s_1] = a[t, s_1] * (a_pre_1_bar[t] + a_bar[t, s_1]) for s_1 <= t" in text
    assert "k_bar[t] = sum[s >= t](a_pre_bar[s, t] * q[s])\n" in text
    assert "q_bar[t] = sum[s_1 <= t](a_pre_bar[t, s_1] * k[s_1])\n" in text
