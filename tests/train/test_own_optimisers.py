"""Optimisers of a user's own: any recurrence with the names that are asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unfold
from tests.train.test_trainer import compiled, data, same_state

HEAD = """
    axis k: N
    input  g[t,k]: real
    input  rate[t]: real
    param  w0[k]: real
    w[0,k] = w0[k]
"""
# Lion: Chen et al., "Symbolic discovery of optimization algorithms", 2023.
LION = f"""
model lion(beta1 = 0.9, beta2 = 0.99):{HEAD}
    input decay[k]: real
    m[0,k] = 0
    m[t,k] = beta2 * m[t-1,k] + (1 - beta2) * g[t,k]
    w[t,k] = (w[t-1,k] * (1 - rate[t] * decay[k])
              - rate[t] * sign(beta1 * m[t-1,k] + (1 - beta1) * g[t,k]))
    output w[t,k]
"""
# Two steps back, gradients before this one, the start, the number of the step, a norm over entries.
ODD = f"""
model odd(pull = 0.01):{HEAD}
    w[-1,k] = w0[k]
    g_now[t,k] = g[t,k] if t == 1 else (g[t,k] + g[t-1,k]) / 2
    norm[t] = sqrt(sum[k](g[t,k] ** 2))
    calm[0] = 1
    calm[t] = 0.5 * calm[t-1] + norm[t] / t
    w[t,k] = (w[t-1,k] + 0.3 * (w[t-1,k] - w[t-2,k]) - rate[t] * g_now[t,k] / (calm[t] + t)
              - pull * (w[t-1,k] - w0[k]))
    output w[t,k]
"""


def flat(arrays: dict[str, Any]) -> Any:
    return np.concatenate([a.ravel() for a in arrays.values()])


def test_lion_is_trained_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "lion.rec"
    path.write_text(LION, encoding="utf-8")
    fn = compiled()
    own = unfold.Optimiser(path, rate=0.01, decay={"W": 0.1}, constants={"beta1": 0.8})
    trainer = fn.trainer(fn.init(1), own)
    w, m = flat(fn.init(1)), 0.0
    decay = flat({n: np.full(a.shape, 0.1 if n == "W" else 0.0) for n, a in fn.init(1).items()})
    for _ in range(10):
        g = flat(fn.value_and_grad(trainer.params, data())[1])
        w = w * (1 - 0.01 * decay) - 0.01 * np.sign(0.8 * m + 0.2 * g)
        m = 0.99 * m + 0.01 * g
        trainer.step(data())
        np.testing.assert_allclose(flat(trainer.params), w, rtol=1e-12, atol=1e-14)


def test_what_is_carried_may_be_anything_that_a_step_reads() -> None:
    fn = compiled()
    trainer = fn.trainer(fn.init(1), unfold.Optimiser(ODD, rate=0.1))
    start = flat(fn.init(1))
    w, before, last, calm = start, start, 0.0, 1.0
    saved: dict[str, Any] = {}
    for t in range(1, 9):
        g = flat(fn.value_and_grad(trainer.params, data(3))[1])
        calm = 0.5 * calm + np.sqrt(np.sum(g**2)) / t
        now = g if t == 1 else (g + last) / 2
        new = w + 0.3 * (w - before) - 0.1 * now / (calm + t) - 0.01 * (w - start)
        w, before, last = new, w, g
        trainer.step(data(3))
        np.testing.assert_allclose(flat(trainer.params), w, rtol=1e-11, atol=1e-13)
        if t == 5:
            saved = trainer.state
    # The start belongs to the state: another trainer began elsewhere.
    other = fn.trainer(fn.init(2), unfold.Optimiser(ODD, rate=0.1))
    other.state = saved
    for _ in range(3):
        other.step(data(3))
    same_state(other.state, trainer.state)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model m:\n    input x[t]: real\n    y[t] = x[t]\n    output y[t]\n", "has no input g"),
        (f"model m:{HEAD}    w[t,k] = w[t-1,k] - rate[t] * g[t,k]\n", "w is no output"),
        (
            f"model m:{HEAD}    input more: real\n    w[t,k] = w[t-1,k] - more * rate[t] * g[t,k]\n"
            "    output w[t,k]\n",
            "nothing is known of its more",
        ),
        (
            f"model m:{HEAD}    random e[t,k]: real ~ normal\n"
            "    w[t,k] = w[t-1,k] - rate[t] * g[t,k] + e[t,k]\n    output w[t,k]\n",
            "it draws numbers or solves equations",
        ),
        (
            f"model m:{HEAD}    steps[0,k] = 0\n    steps[t,k] = steps[t-1,k] + g[t,k]\n"
            "    w[t,k] = w[t-1,k] - rate[t] * steps[t,k]\n    output w[t,k]\n",
            "the name steps is the trainer's own",
        ),
        (
            f"model m:{HEAD}    w[t,k] = w[t-1,k] - rate[t] * sum[s <= t](g[s,k])\n"
            "    output w[t,k]\n    axis s: T\n",
            "cannot run one step at a time",
        ),
    ],
)
def test_what_is_no_optimiser_is_refused_with_the_reason(text: str, said: str) -> None:
    fn = compiled()
    with pytest.raises(unfold.InputError, match=said):
        fn.trainer(fn.init(), unfold.Optimiser(text))


def test_an_optimiser_without_decay_says_so() -> None:
    fn = compiled()
    text = f"model m:{HEAD}    w[t,k] = w[t-1,k] - rate[t] * g[t,k]\n    output w[t,k]\n"
    fn.trainer(fn.init(), unfold.Optimiser(text)).step(data())
    with pytest.raises(unfold.InputError, match=r"no input decay\[k\]"):
        fn.trainer(fn.init(), unfold.Optimiser(text), decay=0.1)
