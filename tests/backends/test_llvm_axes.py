"""Variables over several axes, guarded reductions, parameters on an axis: as interpreted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.backends.test_llvm_programs import WAYS, agree
from unfold.backends import llvm
from unfold.backends.llvm import choose
from unfold.check import elaborate
from unfold.transform import adjoint

ATTENTION = """
model attention(D, H):
    axis   s: T
    input  x[t]: real[D]
    param  Q, K, V: real[H, D] ~ glorot
    q[t] = Q @ x[t]
    k[t] = K @ x[t]
    v[t] = V @ x[t]
    a[t, s] = q[t] @ k[s] / 2 for s <= t
    y[t] = sum[s <= t](exp(a[t, s] - logsumexp[s <= t](a[t, s])) * v[s])
    loss = sum[t](sum(y[t] ** 2))
    output y[t]
    minimize loss
"""

SOFT_EDIT = """
model edit():
    axis   i: I
    axis   j: J
    input  a[i]: real
    input  b[j]: real
    param  gap: real = 0.5
    f[0, j] = gap * j for j in 0..J
    f[i, 0] = gap * i
    d[i, j] = f[i-1, j-1] + (a[i] - b[j]) ** 2
    f[i, j] = -logsumexp([-(f[i-1, j] + gap), -(f[i, j-1] + gap), -d[i, j]])
    loss = f[I, J]
    output f[i, j]
    minimize loss
"""

LAYERS = """
model layers(H):
    axis   l: L
    input  x: real[H]
    param  W[l]: real[H, H] ~ glorot
    param  b[l]: real[H]
    z[0] = x
    z[l] = tanh(W[l] @ z[l-1] + b[l])
    loss = sum(z[L] ** 2)
    output z[l]
    minimize loss
"""

MEMORY = """
model memory(D, H):
    axis   s: T
    input  x[t]: real[D]
    param  W: real[H, D] ~ glorot
    param  U: real[H, H] ~ glorot
    param  w: real[H]
    h[0] = 0
    e[t, s] = w @ tanh(U @ h[t-1] + W @ x[s])
    h[t] = tanh(W @ sum[s](softmax[s](e[t, s]) * x[s]) + U @ h[t-1])
    loss = sum[t](sum(h[t]))
    output h[t]
    minimize loss
"""

CONVOLUTION = """
model convolution(D, H):
    axis   k: 0..2
    axis   r: 1..2
    input  x[t]: real[D]
    param  A[k]: real[H, D] ~ glorot
    param  B[r, k]: real[H, H] ~ glorot
    param  C: real[H, H] ~ glorot
    u[t] = tanh(sum[k](A[k] @ x[t-k] if t > k else 0))
    v[t] = u[t] + sum[k, r](B[r, k] @ u[t-2*k] if t > 2*k else 0) * 0.3 + C @ u[t]
    h[0] = 0
    h[t] = tanh(h[t-1] + sum[k, r](B[r, k] @ v[t+k] if t <= T-k else 0))
    loss = sum[t](sum(h[t] ** 2))
    output v[t], h[t]
    minimize loss
"""

LAGS = """
model lags(D, H):
    axis   k: 1..3
    input  x[t]: real[D]
    param  W: real[H, D] ~ glorot
    param  U[k]: real[H, H] ~ glorot
    h[t] = 0 for t in -2..0
    h[t] = tanh(W @ x[t] + sum[k](U[k] @ h[t-k]))
    loss = sum[t](sum(h[t] ** 2))
    output h[t]
    minimize loss
"""

# A number picks from a constant: its place is computed beside it.
FILTER = """
model filter(D):
    axis   lag: 0..3
    input  x[t]: real[D]
    param  a: real = 0.5
    const  weight = [0.5, 0.25, 0.125, 0.75]
    new[t] = tanh(a * x[t])
    new[t] = 0 for t <= 0
    y[t] = sum[lag](weight[lag] * new[t-lag])
    loss = sum[t](sum(y[t] ** 2))
    output y[t]
    minimize loss
"""

CASES = {
    "attention": (ATTENTION, {"D": 3, "H": 4}, {"T": 5}),
    "edit": (SOFT_EDIT, {}, {"I": 4, "J": 3}),
    "layers": (LAYERS, {"H": 3}, {"L": 4}),
    "memory": (MEMORY, {"D": 2, "H": 3}, {"T": 4}),
    "convolution": (CONVOLUTION, {"D": 2, "H": 3}, {"T": 7}),
    "short convolution": (CONVOLUTION, {"D": 2, "H": 9}, {"T": 1}),
    "filter": (FILTER, {"D": 3}, {"T": 6}),
    "lags": (LAGS, {"D": 2, "H": 9}, {"T": 6}),
}


@pytest.fixture(params=list(WAYS))
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(choose, "UNROLLED", WAYS[request.param])
    return request.param  # type: ignore[no-any-return]


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("case", list(CASES))
def test_a_model_over_several_axes_gives_what_the_interpreter_gives(case: str) -> None:
    text, sizes, lengths = CASES[case]
    p = elaborate(text).bind(sizes)
    agree(p, lengths, None, None, False)
    wrt = [v.name for v in p.vars.values() if v.role in ("input", "param")]
    gradients = adjoint(p, wrt=wrt)
    for batch, total in ((None, True), (3, False), (11, True)):
        agree(gradients, lengths, batch, None, total)


def test_matrices_that_a_scan_comes_back_to_are_packed_once_a_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(choose, "UNROLLED", -1)
    p = adjoint(elaborate(LAGS).bind({"D": 2, "H": 16}))
    kernel = llvm.compile(p)
    functions = kernel.ir().split("define ")  # type: ignore[attr-defined]
    calls = {f.split("(")[0].split("@")[-1]: f.count("@unfold.pack") for f in functions}
    assert calls["pack"]
    bodies = [count for name, count in calls.items() if name.startswith("body")]
    assert bodies
    assert not any(bodies)
