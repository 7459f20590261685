"""Random programs out of much of the language, on both backends and before anything is simplified.

`pytest --hypothesis-profile search` tries others than those of every run.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import unfold
from tests.strategies_wide import wide
from unfold.backends import numpy as interpreter
from unfold.backends.llvm import choose
from unfold.gradcheck import random_arrays

#: The kinds of native code, by the size up to which programs are unrolled and whether vectors are.
WAYS = {"lanes": (10**9, False), "vectors": (10**9, True), "tiles": (-1, False)}
#: Along a direction: the distance, and from which difference of both sides on there is a kink.
STEP, KINK = 1e-5, 1e-3
SETTINGS = settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
Arrays = dict[str, Any]


def drawn(fn: unfold.Function, steps: int, count: int) -> tuple[Arrays, list[Arrays]]:
    """Parameters, and the inputs of some sequences."""
    found = [
        random_arrays(fn.program, {"T": steps}, np.random.default_rng(k)) for k in range(count)
    ]
    params = {n: 0.5 * found[0][n] for n in fn.params}
    return params, [{n: arrays[n] for n in fn.inputs} for arrays in found]


def real(arrays: Arrays) -> list[str]:
    return [n for n, a in arrays.items() if a.dtype.kind == "f"]


def same(got: Arrays, want: Arrays) -> None:
    assert set(got) == set(want)
    for name, expected in want.items():
        assert np.shape(got[name]) == np.shape(expected), name
        scale = max(1.0, float(np.max(np.abs(expected), initial=0, where=np.isfinite(expected))))
        np.testing.assert_allclose(
            got[name], expected, rtol=1e-8, atol=1e-8 * scale, err_msg=name, equal_nan=True
        )


@SETTINGS
@given(text=wide(), steps=st.sampled_from([1, 2, 3, 6]))
def test_values_are_those_of_the_equations_and_gradients_those_of_differences(
    text: str, steps: int
) -> None:
    model = unfold.loads(text)
    fn = unfold.compile(model, backend="numpy")
    steps = max(steps, fn.program.minimum.get("T", 1))
    params, (data,) = drawn(fn, steps, 1)
    meaning = interpreter.compile(model.program)
    try:
        found = fn(params, data)
        same(
            {n: np.asarray(v) for n, v in found.items()}, meaning({**params, **data}, {"T": steps})
        )
        wrt = [*params, *real(data)]
        _, grads = fn.value_and_grad(params, data, wrt=wrt)
        chance = np.random.default_rng(1)
        way = {n: chance.normal(size=np.shape({**params, **data}[n])) for n in wrt}

        def at(distance: float) -> float:
            moved = {n: a + distance * way[n] if n in way else a
                     for n, a in {**params, **data}.items()}  # fmt: skip
            return float(meaning(moved, {"T": steps})["loss"])

        far, near, here = at(2 * STEP) - at(-2 * STEP), at(STEP) - at(-STEP), at(0.0)
        bend = abs(at(STEP) - 2 * here + at(-STEP)) / STEP
    except unfold.SolverError:
        return  # not every map that is drawn has a fixed point
    slope = (8 * near - far) / (12 * STEP)
    if np.isfinite(slope) and bend < KINK * max(1.0, abs(slope)):
        np.testing.assert_allclose(
            sum(np.sum(grads[n] * way[n]) for n in wrt), slope, rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("way", WAYS)
@settings(SETTINGS, max_examples=4)
@given(
    text=wide(),
    call=st.tuples(st.sampled_from([1, 2, 3, 6]), st.sampled_from([1, 2, 3, 9]), st.booleans()),
    options=st.sampled_from([{}, {}, {"threads": 2}, {"checkpoint": 2}]),
)
def test_native_code_gives_what_the_interpreter_gives(
    text: str, call: tuple[int, int, bool], options: Arrays, way: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(choose, "UNROLLED", WAYS[way][0])
    monkeypatch.setattr(choose, "has_vectors", lambda program: WAYS[way][1])
    model = unfold.loads(text)
    meaning = unfold.compile(model, backend="numpy")
    steps, batch, ragged = call
    least = meaning.program.minimum.get("T", 1)
    steps = max(steps, least)
    params, rows = drawn(meaning, steps, batch)
    data = {n: np.stack([row[n] for row in rows]) for n in rows[0]}
    lengths = np.random.default_rng(batch).integers(least, steps + 1, batch) if ragged else None
    wrt = [*params, *real(data)]
    native = unfold.compile(model, **{"threads": 1, **options})
    cases: tuple[tuple[Arrays, Arrays], ...] = ((rows[0], {}), (data, {"lengths": lengths}))
    for given_, kw in cases:
        try:
            value, grads = meaning.value_and_grad(params, given_, wrt=wrt, **kw)
        except unfold.SolverError:
            return
        try:
            got = native.value_and_grad(params, given_, wrt=wrt, **kw)
        except unfold.InputError as error:
            if "checkpoint" not in options or "segment" not in str(error):
                raise
            return
        same({"loss": got[0], **got[1]}, {"loss": value, **grads})
    same(
        {n: np.asarray(v) for n, v in native(params, rows[0]).items()},
        {n: np.asarray(v) for n, v in meaning(params, rows[0]).items()},
    )
