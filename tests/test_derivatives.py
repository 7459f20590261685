"""Tangents, Hessian products and Jacobians of every example, against its gradients.

Tangent and gradient are transposes: the derivative of the loss along a direction is the inner
product of the gradient with it. The Hessian is symmetric, and its product with a vector is how the
gradient changes along that vector. A Jacobian is the same by columns as by rows.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import unfold
from unfold.api import bindings
from unfold.expr import Call, walk
from unfold.gradcheck import random_arrays
from unfold.program import Program, Var

Arrays = dict[str, NDArray[Any]]
EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.rec"))
BACKENDS = ("numpy", "llvm")
SMALL = (2, 3, 4, 5, 6, 7)
# A solution is found to a tolerance, and so is what follows from it.
SOLVED = {"deq", "implicit_euler"}


class Point:
    """An example at small sizes, arrays for a call of it, and two directions."""

    def __init__(self, name: str) -> None:
        model = unfold.load(EXAMPLES / f"{name}.rec")
        declared = model.program
        sizes = dict(zip(declared.sizes, SMALL, strict=False))
        fixed, constants = bindings(declared, sizes)
        self.program: Program = declared.bind(fixed, constants)
        self.functions = {b: unfold.compile(model, backend=b, sizes=sizes) for b in BACKENDS}
        lengths = {n: declared.minimum.get(n, 1) + 2 for n in declared.lengths}
        rng = np.random.default_rng(1)
        arrays = random_arrays(self.program, lengths, rng)
        self.params = {v.name: arrays[v.name] for v in self.program.params}
        self.data: dict[str, Any] = {v.name: arrays[v.name] for v in self.program.inputs}
        fixed_by = {
            s for v in (*self.program.params, *self.program.inputs) for a in v.axes
            for s in a.lo.symbols | a.hi.symbols
        }  # fmt: skip
        self.data |= {n: k for n, k in lengths.items() if n not in fixed_by}
        # Parameters, or inputs where nothing is learnt.
        moving = [v for v in self.program.params if v.type.kind == "real"]
        moving = moving or [v for v in self.program.inputs if v.type.kind == "real"]
        self.moving = [v.name for v in moving]
        self.directions: tuple[Arrays, Arrays] = tuple(  # type: ignore[assignment]
            {n: rng.normal(size=np.shape(arrays[n])) for n in self.moving} for _ in range(2)
        )

    def moved(self, by: Arrays, step: float) -> tuple[Arrays, dict[str, Any]]:
        both = [
            {n: a + step * by[n] if n in by else a for n, a in group.items()}
            for group in (self.params, self.data)
        ]
        return both[0], both[1]

    def gradient(self, by: Arrays, step: float) -> Arrays:
        params, data = self.moved(by, step)
        fn = self.functions["numpy"]
        grads: Arrays = fn.value_and_grad(params, data, wrt=self.moving, loss=self.losses)[1]
        return grads

    @property
    def losses(self) -> tuple[str, ...]:
        return self.program.losses


@cache
def point(name: str) -> Point:
    return Point(name)


def dot(a: Arrays, b: Arrays) -> float:
    return float(sum(np.sum(a[n] * b[n]) for n in a))


def size(a: Arrays) -> float:
    return dot(a, a) ** 0.5


@pytest.mark.parametrize("name", NAMES)
def test_the_tangent_of_the_loss_is_the_gradient_along_the_direction(name: str) -> None:
    p = point(name)
    grads, (v, _) = p.gradient({}, 0.0), p.directions
    rtol = 1e-6 if name in SOLVED else 1e-9
    for backend, fn in p.functions.items():
        _, tangents = fn.jvp(p.params, v, p.data)
        slope = sum(float(tangents[loss]) for loss in p.losses)
        assert slope == pytest.approx(dot(grads, v), rel=rtol, abs=rtol * size(grads)), backend


@pytest.mark.parametrize("name", NAMES)
def test_a_product_with_the_hessian_is_symmetric_and_the_change_of_the_gradient(name: str) -> None:
    p = point(name)
    v, w = p.directions
    rtol = 1e-5 if name in SOLVED else 1e-9
    found = {}
    for backend, fn in p.functions.items():
        hv, hw = (fn.hvp(p.params, d, p.data, wrt=p.moving) for d in (v, w))
        assert all(np.isfinite(a).all() for a in hv.values())
        scale = size(hv) * size(w) + size(hw) * size(v)
        if not detaches(p.program):
            assert abs(dot(hv, w) - dot(hw, v)) <= rtol * max(scale, 1e-6), backend
        found[backend] = hv
    for n, value in found["numpy"].items():
        close = rtol * max(size(found["numpy"]), 1e-6)
        np.testing.assert_allclose(found["llvm"][n], value, rtol=0, atol=close, err_msg=n)
    if detaches(p.program):
        return  # differences see what passes through
    step = 1e-5
    ahead, behind = p.gradient(v, step), p.gradient(v, -step)
    change = {n: (ahead[n] - behind[n]) / (2 * step) for n in ahead}
    gap = {n: change[n] - found["numpy"][n] for n in change}
    grads = p.gradient({}, 0.0)
    assert size(gap) <= 1e-4 * max(size(change), size(grads), 1e-6)


def detaches(program: Program) -> bool:
    return any(
        isinstance(e, Call) and e.op == "detach" for eq in program.equations for e in walk(eq.rhs)
    )


def state(program: Program) -> Var | None:
    """A real variable over the steps whose last element exists, the smallest first."""
    found = [
        v for v in program.vars.values()
        if v.role == "variable" and v.type.kind == "real" and len(v.axes) == 1
        and v.axes[0].index == "t" and len(v.shape) < 2
        and str(v.axes[0].hi) in ("T", "T+1") and str(v.axes[0].lo) in ("0", "1")
    ]  # fmt: skip
    return min(found, key=lambda v: v.shape[0].evaluate({}) if v.shape else 1, default=None)


@pytest.mark.parametrize("name", NAMES)
def test_a_jacobian_is_the_same_by_columns_and_by_rows(name: str) -> None:
    p = point(name)
    v = state(p.program)
    if v is None:
        pytest.skip("no state over steps alone")
    source = min(p.moving, key=lambda n: np.size({**p.params, **p.data}[n]))
    fn = p.functions["numpy"]
    rows, columns = (
        fn.jacobian(f"{v.name}[T]", source, p.params, p.data, mode=mode)
        for mode in ("reverse", "forward")
    )
    rtol = 1e-6 if name in SOLVED else 1e-9
    scale = max(1.0, float(np.abs(rows).max(initial=0.0)))
    assert rows.shape == columns.shape
    np.testing.assert_allclose(columns, rows, rtol=0, atol=rtol * scale)
