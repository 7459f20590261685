"""A program in parts computes what it computes in one: random programs, both backends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import unfold
from tests.strategies_wide import wide
from unfold.backends import llvm
from unfold.backends import numpy as interpreter
from unfold.errors import SolverError
from unfold.expr import names
from unfold.gradcheck import random_arrays
from unfold.plan.build import results_of, shared_variables
from unfold.program import Program, Var
from unfold.transform import adjoint, simplify, tangent
from unfold.transform.apart import Apart, apart, done_once

Arrays = dict[str, Any]
SETTINGS = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

TRAJECTORY = """
model trajectory(H):
    input  y[t]: real[H]
    input  w: real
    param  A: real[H, H] ~ normal(0.3)
    param  x0: real[H] ~ normal(1)
    param  s: real = 0.3
    x[0] = x0
    x[t] = tanh(A @ x[t-1] + exp(s))
    e[t] = tanh(x[t] - y[t])
    loss = mean[t](sum(e[t] ** 2)) * w + 0.1 * sum(A * A)
    output e[t], x[t]
    minimize loss
"""
COVARIANCE = """
model covariance(N):
    input  y[t]: real[N]
    param  A: real[N, N] ~ normal(0.3)
    param  L: real[N, N] ~ normal(0.5)
    param  r: real = 0.2
    P[0] = L @ L' + eye(N)
    m[0] = 0
    let Q = A @ P[t-1] @ A' + L @ L'
    K[t] = Q @ inv(Q + exp(r) * eye(N))
    P[t] = (eye(N) - K[t]) @ Q
    v[t] = y[t] - A @ m[t-1]
    m[t] = A @ m[t-1] + K[t] @ v[t]
    loss = sum[t](v[t] @ solve(P[t] + exp(r) * eye(N), v[t]))
    minimize loss
"""
#: A bias in a recurrence that is linear, with a factor that all sequences share.
STOCK = """
model stock():
    input  demand[t]: real
    input  order[t]: real
    param  h0: real = 5
    param  price: real = 0.4
    h[0] = h0
    h[t] = 0.9 * h[t-1] + order[t] - demand[t] + price
    loss = sum[t](where(h[t] > 0, h[t], -3 * h[t]) * 0.1 + h[t] ** 2)
    minimize loss
"""
TABLE = """
model table(K, V):
    input  n[t]: int<V>
    param  logits: real[V, K] ~ normal(1)
    param  start: real[K]
    E = softmax(logits, axis=1)
    D[1] = tanh(start)
    D[k] = D[k-1] @ outer(D[k-1], start) + 0.5 for k in 2..3
    s[0] = 0
    s[t] = 0.5 * s[t-1] + E[n[t]] * D[3]
    loss = sum(s[T] ** 2)
    minimize loss
"""
#: Two parameters with one adjoint.
TWICE = """
model twice(H):
    input  y[t]: real[H]
    param  W: real[H, H] ~ normal(0.3)
    param  b: real[H] ~ normal(1)
    param  c: real[H] ~ normal(1)
    x[0] = b + c
    x[t] = tanh(W @ x[t-1]) + b + c
    loss = sum[t](sum((x[t] - y[t]) ** 2)) + sum((b + c) * y[1])
    minimize loss
"""
TEXTS: dict[str, tuple[str, dict[str, int]]] = {
    "trajectory": (TRAJECTORY, {"H": 3}),
    "covariance": (COVARIANCE, {"N": 3}),
    "stock": (STOCK, {}),
    "twice": (TWICE, {"H": 3}),
    "table": (TABLE, {"K": 4, "V": 5}),
}


def in_parts(program: Program) -> Apart | None:
    """The program in parts, however little they are worth."""
    summed = {r.name for r in results_of(program) if r.summed}
    found = apart(program, shared_variables(program), summed, lambda once: True)
    if found is None:
        assert not done_once(program, shared_variables(program), summed)
    return found


def in_turn(parts: Apart, run: Callable[[Program, Arrays, int | None], Arrays],
            arrays: Arrays, batch: int) -> Arrays:  # fmt: skip
    """The results of parts, one after the other."""
    found: Arrays = {}
    for part, count in ((parts.there, None), (parts.each, batch), (parts.back, None)):
        if part is not None:
            known = found | arrays  # a result may have the name of what is given
            given_ = {v.name: known[v.name] for v in (*part.inputs, *part.params)}
            found |= run(part, given_, count)
    return found


def compare(program: Program, backend: Any, arrays: Arrays, steps: int, batch: int) -> bool:
    """Hold the parts of a program against the whole; whether it has parts."""
    parts = in_parts(program)
    if parts is None:
        return False
    lengths = dict.fromkeys(program.lengths, steps)
    whole = interpreter.compile(program, sum_adjoints=True)(arrays, lengths, batch)

    def run(part: Program, given_: Arrays, count: int | None) -> Arrays:
        found: Arrays = backend.compile(part, sum_adjoints=True)(given_, lengths, count)
        return found

    found = in_turn(parts, run, arrays, batch)
    for name, want in whole.items():
        scale = max(1.0, float(np.max(np.abs(want), initial=0, where=np.isfinite(want))))
        np.testing.assert_allclose(
            found[name], want, rtol=1e-8, atol=1e-9 * scale, err_msg=name, equal_nan=True
        )
    return True


def is_real(v: Var) -> bool:
    return v.type.kind == "real"


def given_to(program: Program, steps: int, batch: int) -> Arrays:
    """Arrays for the inputs of a batch, and for the parameters."""
    lengths = dict.fromkeys(program.lengths, steps)
    rows = [random_arrays(program, lengths, np.random.default_rng(k)) for k in range(batch + 1)]
    found = {v.name: rows[0][v.name] for v in program.params}
    found |= {v.name: np.asarray(0.5 * found[v.name]) for v in program.params if is_real(v)}
    return found | {v.name: np.stack([row[v.name] for row in rows])[:batch] for v in program.inputs}


def gradient(program: Program, second: bool = False) -> Program:
    """The adjoint of a program in its real parameters, or the tangent of that."""
    wrt = [v.name for v in program.params if is_real(v)]
    found = adjoint(program, wrt, program.losses)
    return simplify(tangent(found, wrt[:1])) if second else found


@pytest.mark.parametrize("backend", [interpreter, llvm], ids=["numpy", "llvm"])
@SETTINGS
@given(text=wide(), steps=st.sampled_from([1, 2, 4]), batch=st.sampled_from([0, 1, 3]),
       kept=st.integers(0, 3), second=st.booleans(), outputs=st.booleans())  # fmt: skip
def test_random_programs_with_data_that_all_sequences_share(
    backend: Any, text: str, steps: int, batch: int, kept: int, second: bool, outputs: bool
) -> None:
    program = unfold.compile(unfold.loads(text)).program
    own = {v.name for k, v in enumerate(program.inputs) if k == kept % len(program.inputs)}
    shared = {n: replace(v, role="param") if v.role == "input" and n not in own else v
              for n, v in program.vars.items()}  # fmt: skip
    program = program.with_(vars=shared)
    steps = max(steps, program.minimum.get("T", 1))
    derived = gradient(program if outputs else program.with_(outputs=()), second)
    try:
        compare(derived, backend, given_to(derived, steps, batch), steps, batch)
    except SolverError:
        return  # not every map that is drawn has a fixed point


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("backend", [interpreter, llvm], ids=["numpy", "llvm"])
@pytest.mark.parametrize("name", TEXTS)
def test_models_with_something_that_all_sequences_share(
    name: str, backend: Any, second: bool
) -> None:
    text, sizes = TEXTS[name]
    program = gradient(unfold.compile(unfold.loads(text), sizes=sizes).program, second)
    for steps, batch in ((3, 1), (5, 4)):
        arrays = given_to(program, steps, batch)
        assert compare(program, backend, arrays, steps, batch)


def test_what_a_sequence_does_reads_nothing_that_comes_back() -> None:
    program = unfold.compile(unfold.loads(TRAJECTORY), H=3).program
    parts = in_parts(gradient(program.with_(outputs=())))
    assert parts is not None
    assert parts.there is not None
    # Each sequence compares, once the trajectory and its adjoint are done.
    assert {eq.name for eq in parts.there.equations} == {"x"}
    done = {eq.name for eq in parts.each.equations}
    assert not done & {"x_bar", "A_bar", "x0_bar", "s_bar"}
    assert "loss" in done
    assert {o.name for o in parts.back.outputs} == {"A_bar", "x0_bar", "s_bar"}
    assert not parts.back.inputs
    assert all(names(eq.rhs).isdisjoint(done) for eq in parts.there.equations)


def test_states_of_each_sequence_have_no_part_that_is_done_once() -> None:
    text = """
model net(D, H):
    input  x[t]: real[D]
    param  W: real[H, D] ~ normal(1)
    param  U: real[H, H] ~ normal(1)
    param  b: real[H]
    h[0] = 0
    h[t] = tanh(W @ x[t] + U @ h[t-1] + b)
    loss = sum[t](sum(h[t]))
    minimize loss
"""
    assert in_parts(gradient(unfold.compile(unfold.loads(text), D=2, H=3).program)) is None
