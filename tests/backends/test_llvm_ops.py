"""Every op of the table has a native lowering that agrees with its NumPy meaning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from unfold.backends import llvm
from unfold.backends.llvm import choose, components, elementwise
from unfold.backends.llvm.tiles.expressions import THROUGH
from unfold.backends.llvm.tiles.special import SPECIAL as BY_THEMSELVES
from unfold.domain import Domain
from unfold.expr import BOOL, INT, REAL, Const, Type
from unfold.ops import OPS, Example, Op, call
from unfold.poly import Poly, Shape
from unfold.program import Equation, Output, Program, Var

# An op without a native lowering stands here with the reason.
WITHOUT_LOWERING: dict[str, str] = {}

CASES = [
    pytest.param(op, example, id=f"{op.name}-{number}")
    for op in OPS.values()
    for number, example in enumerate(op.examples)
]


@pytest.fixture(params=["lanes", "vectors", "tiles"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the kinds of native code, whatever the size of the program: the components of one
    sequence by themselves or side by side, or in memory."""
    monkeypatch.setattr(choose, "UNROLLED", -1 if request.param == "tiles" else 10**9)
    monkeypatch.setattr(choose, "has_vectors", lambda program: request.param == "vectors")
    return str(request.param)


def shape_of(shape: tuple[int, ...]) -> Shape:
    return tuple(Poly.const(n) for n in shape)


def type_of(where: Any) -> Type:
    if where == "bool":
        return BOOL
    return Type("int", Poly.const(where[1])) if where[0] == "int" else REAL


def program_for(op: Op, example: Example) -> Program:
    """``y = op(a0, a1, …)`` with every operand an input."""
    variables = {
        f"a{k}": Var(f"a{k}", "input", (), shape_of(shape), type_of(where))
        for k, (shape, where) in enumerate(zip(example.shapes, example.ranges, strict=True))
    }
    p = Program(f"{op.name}_op", (), {}, variables, (), ())
    e = call(op.name, *(p.ref(n) for n in variables), **dict(example.attrs))
    variables["y"] = Var("y", "variable", (), e.shape, e.type)
    return p.with_(equations=(Equation("y", (), Domain(), e),), outputs=(Output("y"),))


def sample(example: Example, batch: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    arrays = {}
    for k, (shape, where) in enumerate(zip(example.shapes, example.ranges, strict=True)):
        full = (batch, *shape)
        if where == "bool":
            arrays[f"a{k}"] = rng.integers(0, 2, full).astype(bool)
        elif where[0] == "int":
            arrays[f"a{k}"] = rng.integers(0, where[1], full)
        else:
            arrays[f"a{k}"] = rng.uniform(*where, full)
    return arrays


def attributes(example: Example) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        if isinstance(value, Poly):
            return value.evaluate({})
        return tuple(plain(v) for v in value) if isinstance(value, tuple) else value

    return {k: plain(v) for k, v in example.attrs}


def meaning(op: Op, example: Example, arrays: dict[str, np.ndarray]) -> np.ndarray:
    rows = zip(*arrays.values(), strict=True)
    return np.array([op.numpy(*row, **attributes(example)) for row in rows])


def test_every_op_has_a_lowering_or_a_written_reason() -> None:
    both = set(elementwise.RULES)
    for lowered in (both | set(components.RULES), both | set(BY_THEMSELVES) | THROUGH):
        missing = [name for name in OPS if name not in lowered and name not in WITHOUT_LOWERING]
        assert missing == []
        assert [name for name in WITHOUT_LOWERING if name in lowered or name not in OPS] == []
        assert [name for name in lowered if name not in OPS] == []


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(("op", "example"), CASES)
def test_an_op_agrees_with_numpy_in_float64(op: Op, example: Example) -> None:
    kernel = llvm.compile(program_for(op, example))
    # 1: one sequence by itself; 11: a full register of sequences, and a part of one.
    for batch in (1, 11):
        arrays = sample(example, batch)
        got = kernel(arrays, {}, batch, None)["y"]
        want = meaning(op, example, arrays)
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-14)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(("op", "example"), CASES)
def test_an_op_agrees_with_numpy_in_float32(op: Op, example: Example) -> None:
    kernel = llvm.compile(program_for(op, example), dtype="float32")
    arrays = {
        k: a.astype(np.float32) if a.dtype == float else a for k, a in sample(example, 19).items()
    }
    got = kernel(arrays, {}, 19, None)["y"]
    want = meaning(op, example, {k: a.astype(float) if a.dtype == np.float32 else a
                                 for k, a in arrays.items()})  # fmt: skip
    if op.name not in ("floor", "ceil", "round", "floordiv", "mod"):
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6)
    assert got.dtype == (np.float32 if want.dtype == float else want.dtype)


SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e300, -1e300, 5e-324, 0.5, 2.0]


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("name", sorted(n for n, op in OPS.items() if op.elementwise))
def test_special_values_come_out_as_in_numpy(name: str) -> None:
    op = OPS[name]
    (example,) = (e for e in op.examples[:1])
    if any(w == "bool" or w[0] == "int" for w in example.ranges) or name == "floordiv":
        return
    scalar = Example(((),) * len(example.shapes), example.ranges)
    grids = np.meshgrid(*[SPECIAL] * len(example.shapes))
    arrays = {f"a{k}": np.ascontiguousarray(g.ravel()) for k, g in enumerate(grids)}
    kernel = llvm.compile(program_for(op, scalar))
    got = kernel(arrays, {}, len(grids[0].ravel()), None)["y"]
    with np.errstate(all="ignore"):
        want = meaning(op, scalar, arrays)
    if name == "pow":
        # NumPy itself has two answers for (-inf) ** 0.5: as a root and as a power.
        keep = ~((arrays["a0"] == -np.inf) & (arrays["a1"] == 0.5))
        got, want = got[keep], want[keep]
    np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-323)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("n", [-2.5, -1.5, -1, -0.5, 0.5, 1.5, 2.5, 3, 7.5, -15.5, 16])
def test_powers_by_products_and_roots_are_those_of_numpy(n: float) -> None:
    x = Var("x", "input", (), (), REAL)
    p = Program("power", (), {}, {"x": x}, (), ())
    e = call("pow", p.ref("x"), Const(n))
    y = Var("y", "variable", (), (), REAL)
    q = p.with_(
        vars={"x": x, "y": y},
        equations=(Equation("y", (), Domain(), e),),
        outputs=(Output("y"),),
    )
    special = [v for v in SPECIAL if not (v == -np.inf and n == 0.5)]
    given = np.array([*special, *np.random.default_rng(0).lognormal(0, 3, 50)])
    with np.errstate(all="ignore"):
        want = np.power(given, n)
    got = llvm.compile(q)({"x": given}, {}, len(given), None)["y"]
    # Of what is smaller than any normal number, the inverse has overflowed.
    np.testing.assert_allclose(got, want, rtol=2e-15, atol=np.finfo(float).tiny)
    positive = ~np.isnan(want) & (given != 0)
    assert (np.signbit(got) == np.signbit(want))[positive].all()


@pytest.mark.usefixtures("way")
def test_integer_division_by_zero_does_not_trap() -> None:
    variables = {n: Var(n, "input", (), (), INT) for n in ("a", "b")}
    p = Program("whole", (), {}, variables, (), ())
    for name in ("floordiv", "mod"):
        e = call(name, p.ref("a"), p.ref("b"))
        variables["y"] = Var("y", "variable", (), (), e.type)
        q = p.with_(equations=(Equation("y", (), Domain(), e),), outputs=(Output("y"),))
        a = np.array([7, -7, 7, -7, 5, 0, 6])
        b = np.array([2, 2, -2, -2, 0, 3, -3])
        with np.errstate(divide="ignore"):
            want = OPS[name].numpy(a, b)
        np.testing.assert_array_equal(llvm.compile(q)({"a": a, "b": b}, {}, 7, None)["y"], want)
