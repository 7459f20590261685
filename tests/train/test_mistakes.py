"""What goes wrong in training: it is said, and nothing has changed."""

from __future__ import annotations

import gc
import threading
import tracemalloc
from typing import Any

import numpy as np
import pytest

import unfold
from tests.train.test_trainer import D, H, compiled, data, same_state
from unfold.train.schedules import Cosine, Exponential, Linear, Sequence, Step


@pytest.fixture(scope="module")
def fn() -> unfold.Function:
    return compiled()


@pytest.mark.parametrize("warm", [0, 4])
def test_a_step_that_is_not_finite_changes_nothing(warm: int, fn: unfold.Function) -> None:
    trainer = fn.trainer(fn.init(1), unfold.Adam(0.05))
    for _ in range(warm):
        trainer.step(data())
    before = trainer.state
    bad = data()
    bad["y"][2] = np.nan
    with pytest.raises(unfold.DivergenceError, match=f"step {warm + 1}: .* not finite") as caught:
        trainer.step(bad)
    assert caught.value.step == warm + 1
    assert np.isnan(caught.value.loss)
    assert set(caught.value.gradients) >= {"v"}
    same_state(trainer.state, before)
    other = fn.trainer(fn.init(1), unfold.Adam(0.05))
    for _ in range(warm):
        other.step(data())
    assert trainer.step(data()) == other.step(data())
    same_state(trainer.state, other.state)


def test_a_gradient_may_be_infinite_where_the_loss_is_not() -> None:
    root = unfold.compile(
        "model m:\n    input x: real\n    param a: real = 0\n    param b: real = 1\n"
        "    loss = x * sqrt(a) + b\n    minimize loss\n"
    )
    trainer = root.trainer(root.init(), unfold.SGD(0.1))
    with pytest.raises(unfold.DivergenceError, match="the gradient of a is not finite") as caught:
        trainer.step(x=1.0)
    assert caught.value.gradients == ("a",)
    assert trainer.params["b"] == 1
    assert trainer.steps == 0


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"optimiser": unfold.Adam}, r"with its rate: unfold.Adam"),
    ({"optimiser": "adam"}, r"expected an optimiser, such as unfold\.Adam\(rate=1e-3\), got a str"),
    ({"optimiser": unfold.SGD(rate=-1.0)}, "rate is a positive number"),
    ({"optimiser": unfold.SGD(rate=float("nan"))}, "rate is a positive number"),
    ({"clip_norm": 0}, "clip_norm is a positive number"),
    ({"clip_value": "much"}, "clip_value is a positive number"),
    ({"decay": {"Q*": 0.1}}, r"decay: no parameter that is trained is called Q\*"),
    ({"decay": {"W": -0.1}}, r"decay\['W'\] is a number from 0 on"),
    ({"decay": "strong"}, "decay is a number from 0 on, not"),
    ({"wrt": "x"}, "x is an input"),
    ({"wrt": "h"}, "h is computed"),
    ({"wrt": "w"}, "did you mean `W`"),
    ({"wrt": []}, "no real parameter to train"),
    ({"loss": "fitt"}, "did you mean `fit`"),
    ({"loss": {"fitt": 1.0}}, "did you mean `fit`"),
    ({"loss": {"fit": "1"}}, r"loss\['fit'\] is the weight of a loss"),
    ({"loss": {}}, "has one at least"),
    ({"reduce": "none"}, 'reduce is "mean" or "sum"'),
    ({"schedule": 3}, "schedule is a function"),
    ({"params": {"W": np.zeros((H, D))}}, "parameters are missing"),
]


@pytest.mark.parametrize(("change", "said"), WRONG)
def test_wrong_arguments_are_named(change: dict[str, Any], said: str, fn: unfold.Function) -> None:
    options = dict(change)
    params = options.pop("params", fn.init())
    optimiser = options.pop("optimiser", unfold.SGD(0.1))
    with pytest.raises(unfold.InputError, match=said):
        fn.trainer(params, optimiser, **options)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: unfold.Adam(beta1=1.0), "Adam: beta1 is the share of the past"),
        (lambda: unfold.RMSprop(eps=-1), "RMSprop: eps is a number from 0 on"),
        (lambda: unfold.Adam(lr=0.1), "Adam has no option lr; did you mean `rate`?"),  # type: ignore[call-arg]
        (lambda: unfold.SGD(moment=1), "SGD has no option moment; did you mean `momentum`?"),  # type: ignore[call-arg]
        (lambda: unfold.SGD(nesterov=True).recurrence, "nesterov needs a momentum"),
        (lambda: Step(0), "Step: every is a positive number of steps"),
        (lambda: Cosine(10, final=-1), "Cosine: final is a number from 0 on"),
        (lambda: Exponential(float("inf")), "Exponential: factor is a number"),
        (lambda: Sequence([Linear(3)], [3]), "1 schedules change 0 times"),
        (lambda: Sequence([Linear(3), Cosine(3)], [0]), "starts increase from 1 on"),
    ],
)
def test_wrong_settings_are_named(make: Any, said: str) -> None:
    with pytest.raises(unfold.InputError, match=said):
        make()


def test_wrong_data_change_nothing(fn: unfold.Function) -> None:
    trainer = fn.trainer(fn.init(1), unfold.Adam(0.05))
    for _ in range(3):
        trainer.step(data())
    before = trainer.state
    for wrong, said in (
        ({"x": np.zeros((4, D + 1)), "y": np.zeros(4)}, "x: expected"),
        ({"x": np.zeros((4, D))}, "the input y is missing"),
        ({**data(), "z": 1}, "has no input z"),
    ):
        with pytest.raises(unfold.InputError, match=said):
            trainer.step(wrong)
    with pytest.raises(unfold.InputError, match="x is given twice"):
        trainer.step(data(), x=np.zeros((4, D)))
    same_state(trainer.state, before)


def test_a_wrong_state_is_refused_whole(fn: unfold.Function) -> None:
    trainer = fn.trainer(fn.init(1), unfold.Adam(0.05))
    trainer.step(data())
    good = trainer.state
    for change, said in (
        ({"steps": -1}, "steps is a number of steps"),
        ({"m.W": good["m.W"].astype(np.float32)}, "m.W is an array of float64"),
        ({"v.W": np.zeros(3)}, "v.W is an array of float64 of shape"),
        ({"m.w": 1}, "this trainer has no m.w; did you mean `m.W`"),
    ):
        with pytest.raises(unfold.InputError, match=said):
            trainer.state = {**good, "param.W": np.ones((H, D)), **change}
        same_state(trainer.state, good)
    with pytest.raises(unfold.InputError, match=r"m\.W is missing"):
        trainer.state = {n: a for n, a in good.items() if n != "m.W"}


def test_a_schedule_may_be_a_list_that_ends(fn: unfold.Function) -> None:
    rates = [1.0, 0.5, 0.25]
    trainer = fn.trainer(fn.init(1), unfold.SGD(0.1), schedule=lambda step: rates[step])
    for factor in rates:
        assert trainer.rate == 0.1 * factor
        before = trainer.params["W"].copy()
        _, grads = fn.value_and_grad(trainer.params, data())
        trainer.step(data())
        np.testing.assert_allclose(trainer.params["W"], before - 0.1 * factor * grads["W"])
    with pytest.raises(IndexError):
        trainer.step(data())
    assert trainer.steps == 3


def test_schedules_reach_beyond_the_rates_computed_ahead(fn: unfold.Function) -> None:
    """Steps whose rates are computed in blocks, and after a state is set in the middle of one."""
    asked = fn.trainer(fn.init(1), unfold.SGD(1e-3), schedule=Exponential(0.999))
    w = {n: a.copy() for n, a in asked.params.items()}
    saved: dict[str, Any] = {}
    for step in range(2500):
        _, grads = fn.value_and_grad(w, data())
        w = {n: a - 1e-3 * 0.999**step * grads[n] for n, a in w.items()}
        asked.step(data())
        if step == 2199:
            saved = asked.state
    for n, a in w.items():
        np.testing.assert_allclose(asked.params[n], a, rtol=1e-9, atol=1e-12)
    other = fn.trainer(fn.init(1), unfold.SGD(1e-3), schedule=Exponential(0.999))
    other.state = saved
    for _ in range(300):
        other.step(data())
    same_state(other.state, asked.state)


def test_a_second_thread_is_told_or_waits_and_no_step_is_lost() -> None:
    """Steps of several threads are one at a time: made, or refused with nothing changed."""
    large = compiled()
    inputs = data(400, 30)
    trainer = large.trainer(large.init(1), unfold.SGD(1e-6))
    for _ in range(3):
        trainer.step(inputs)
    made, told = [], []

    def work() -> None:
        for _ in range(20):
            try:
                made.append(trainer.step(inputs))
            except unfold.UnfoldError as error:
                told.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(made) + len(told) == 60
    assert trainer.steps == 3 + len(made)
    assert all("one step at a time" in text for text in told)


def test_steps_allocate_nothing_that_stays_and_no_arrays(fn: unfold.Function) -> None:
    trainer = fn.trainer(fn.init(1), unfold.Adam(0.01), clip_norm=1.0)
    inputs = data(8)
    for _ in range(5):
        trainer.step(inputs)
    gc.collect()
    tracemalloc.start()
    for _ in range(1000):
        trainer.step(inputs)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # A loss and a dict of keywords at a time; the gradients of this model alone have 360 bytes.
    assert peak < 1000
