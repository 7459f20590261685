"""How programs are spelt: texts that are printed as they were written."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import unfold
import unfold.show

TEXTS = {
    "boundaries first, one loop together": """
model gru(D, H):
    input  x[t]: real[D]
    param  Wr, Wz: real[H, D]  ~ glorot
    param  Ur, Uz: real[H, H]  ~ orthogonal
    param  b: real[H]          = 0

    h[0] = 0
    r[t] = sigmoid(Wr @ x[t] + Ur @ h[t-1] + b)
    h[t] = tanh(Wz @ x[t] + Uz @ (r[t] * h[t-1]))

    output h[t]
""",
    "pieces and ranges": """
model pieces(H, a = 0.1):
    axis   s: S
    axis   k: -3..0
    input  x[t]: real[H]
    input  u[s]: int<H>
    param  start[k]: real[H]  ~ uniform(0.5)

    h[t] = start[t] for t in -3..0
    h[t] = x[t] + h[t-4] for t <= 2
    h[t] = a * h[t-1] for t >= 3
    y[t, s] = h[t][u[s]] if s <= t else 0
    z[t] = h[t] if t < T else x[1]
    last = z[T]

    output h[t], y[t, s], z[t], last
""",
    "reductions": """
model reductions(H):
    axis   s: T
    input  x[t]: real[H]

    a[t] = sum[s <= t](x[s])
    b[t] = max[s > t](x[s] ** 2) for t <= T-1
    c = logsumexp[t](sum(x[t]))
    d = sum[t, s < t](x[t] @ x[s])

    output a[t], b[t in 1..T-1], c, d
""",
    "components": """
model components(H, D):
    input  x[t]: real[H]
    input  B: real[H, D]
    input  k: int<D>

    a = B[0]
    b = B[:, k]
    c = B[0:2]
    d = B[:, 1:D]
    e[t] = [x[t]; b; [x[t][0], x[t][1]]]
    f = reshape(B, [D, H]) @ b
    g = sum(B, axis = 0) + max(B[0])
    i = argmax(b)
    j = softmax(b) - onehot(k, D) @ B'
    l = B[0:2][1] + B[:, 1:D][:, 0][0] * x[T][1:3][0]

    output a, b, c, d, e[t], f, g, i, l
""",
    "precedence": """
model precedence:
    input  a, b, c: real

    p = a - (b - c) - a / (b * c)
    q = -(a * b) ** 2 + (-a) ** b ** c
    r = (a + b) * (c - 1) / 2 * 0.5
    s = where(a < b and not (b < c or a == 0), 1, -2.5)
    u = max(0, min(a, 1e-10, b)) + inf * 0

    output p, q, r, s, u
""",
    "integers": """
model integers(K):
    input  x[t]: int<K>

    n[0] = int(0)
    n[t] = mod(n[t-1] + x[t] + 1, K)
    y[t] = real(n[t]) / 2 + t * 0.5 + (T - t + 1) * 2.0

    output n[t], y[t]
""",
}


@pytest.mark.parametrize("what", TEXTS)
def test_a_text_is_printed_as_it_was_written(what: str) -> None:
    text = TEXTS[what].lstrip("\n")
    assert str(unfold.loads(text)) == text


LONG = """
model long:
    input  first_long_name, second_long_name, third_long_name: real
    input  fourth_long_name: real

    y = tanh(first_long_name * second_long_name
             + second_long_name * third_long_name
             + third_long_name * fourth_long_name)
    z = (first_long_name * second_long_name
         + second_long_name * third_long_name
         + third_long_name * fourth_long_name
         + 1)

    output y, z
"""


def test_a_long_line_goes_on_inside_its_brackets() -> None:
    assert str(unfold.loads(LONG)) == LONG.lstrip("\n")


def test_what_was_lost_about_a_shape_is_said() -> None:
    text = (
        "model lost(H):\n    input x[t]: real[H]\n    h[0] = broadcast(0, [H])\n"
        "    h[t] = 0.5 * h[t-1]\n    output h[t]\n"
    )
    assert "h[0] = broadcast(0, [H])" in str(unfold.loads(text))
    told = text.replace("0.5 * h[t-1]", "0.5 * h[t-1] + x[t]").replace("broadcast(0, [H])", "0")
    assert "h[0] = 0\n" in str(unfold.loads(told))


def test_the_examples_in_the_documentation_are_true() -> None:
    for found in pkgutil.iter_modules(unfold.show.__path__):
        module = importlib.import_module(f"unfold.show.{found.name}")
        assert doctest.testmod(module).failed == 0


LATEX = r"""
\begin{align*}
  \mathbf{h}_{0} &= \mathbf{0} \\
  \mathbf{h}_{t} &= \tanh\left(\mathbf{W}_{x}\, \mathbf{x}_{t} + \mathbf{U}\, \mathbf{h}_{t-1}\right) && 1 \le t \le T \\
  y_{T} &= 0 \\
  y_{t} &= \theta\, h_{t,0} && 1 \le t \le T-1 \\
  \mathit{loss} &= \frac{1}{T} \sum_{t=1}^{T} y_{t}^{2} \\
  &\textit{Adjoint} \\
  \bar{\theta} &= 2\, \sum_{t=1}^{T-1} \frac{y_{t}}{T}\, h_{t,0}
\end{align*}
"""  # noqa: E501


def test_formulas_look_like_those_of_a_textbook() -> None:
    model = unfold.loads(
        "model m(H):\n    input x[t]: real[H]\n    param W_x, U: real[H, H]\n"
        "    param theta: real\n    h[0] = 0\n    h[t] = tanh(W_x @ x[t] + U @ h[t-1])\n"
        "    y[t] = theta * h[t][0] if t < T else 0\n"
        "    loss = mean[t](y[t] ** 2)\n    output y[t]\n    minimize loss\n"
    )
    assert model.adjoint(wrt="theta").latex() == LATEX.lstrip("\n")


SLIDE = r"""
\begin{align*}
  \mathbf{h}_{0} &= \mathbf{h0} \\
  \mathbf{h}_{t} &= \tanh\left(\mathbf{W}_{1}\, \mathbf{h}_{t-1} + \mathbf{x}_{t}\right) && 1 \le t \le T \\
  s_{t} &= \mathbf{h}_{t}^{\top}\, \mathbf{x}_{t} + 2\, \pi && 1 \le t \le T \\
  \mathit{loss} &= \frac{1}{T} \sum_{t=1}^{T} \left(s_{t} + \left\lVert \mathbf{h}_{t} - \mathbf{x}_{t} \right\rVert^{2}\right) + \frac{1}{2} \sum \mathbf{h0} + \left\lVert \mathbf{W}_{1} \right\rVert_{F}^{2}
\end{align*}
"""  # noqa: E501


def test_formulas_can_be_put_on_a_slide() -> None:
    """Norms, inner products and means as they are written; the parameter h0 is not the element 0 of
    h, and what stands in a notebook is typeset there."""
    model = unfold.loads(
        "model m(H):\n    input x[t]: real[H]\n    param W1: real[H, H]\n    param h0: real[H]\n"
        "    h[0] = h0\n    h[t] = tanh(W1 @ h[t-1] + x[t])\n    s[t] = sum(h[t] * x[t]) + 2 * pi\n"
        "    loss = mean[t](s[t] + sum((h[t] - x[t]) ** 2)) + sum(h0) / 2 + sum(W1 ** 2)\n"
        "    minimize loss\n"
    )
    assert model.latex() == SLIDE.lstrip("\n")
    assert model.latex()._repr_latex_() == str(model.latex())
    assert r"\overline{\mathbf{h0}} &= \bar{\mathbf{h}}_{0}" in model.adjoint().latex()


def test_a_notebook_shows_mistakes_and_bills_as_they_are_printed() -> None:
    with pytest.raises(unfold.RecError) as error:
        unfold.loads("model m:\n    y[t] = q[t]\n    output y[t]\n")
    assert error.value._render_traceback_() == str(error.value).splitlines()
    fn = unfold.compile("model m:\n    input x[t]: real\n    param a: real\n    y[t] = a * x[t]\n"
                        "    loss = sum[t](y[t])\n    output y[t]\n    minimize loss\n",
                        backend="numpy")  # fmt: skip
    for bill in (fn.cost(T=3), fn.memory(T=3)):
        shown: list[str] = []
        bill._repr_pretty_(type("Printer", (), {"text": staticmethod(shown.append)}), False)
        assert shown == [str(bill)]
