"""Models inside models: names, sizes, directions, stacks, libraries."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

import unfold
from unfold.check import elaborate
from unfold.errors import RecError
from unfold.poly import Poly
from unfold.program import Program
from unfold.show import to_rec

CELL = """
model cell(D, H):
    input x[t]: real[D]
    param W: real[H, D]
    param U: real[H, H]
    h[0] = 0
    h[t] = tanh(W @ x[t] + U @ h[t-1])
    output h[t]
"""


def inside(body: str, head: str = "model m(D, H):") -> Program:
    lines = "".join(f"    {line}\n" for line in dedent(body).strip().split("\n"))
    return elaborate(f"{CELL}\n{head}\n{lines}")


def equations(p: Program, prefix: str = "") -> list[str]:
    """The equations as text, those of one sub-model if a prefix is given."""
    lines = [line.strip() for line in to_rec(p).splitlines()]
    return [line for line in lines if " = " in line and line.startswith(prefix)
            and not line.startswith(("param", "input", "model"))]  # fmt: skip


def test_variables_and_parameters_live_under_the_name_of_the_model_inside() -> None:
    p = inside("input x[t]: real[D]\nenc = cell(x, H)\nlast = enc.h[T]\noutput last")
    assert list(p.vars) == ["x", "last", "enc.W", "enc.U", "enc.h"]
    assert equations(p, "enc") == [
        "enc.h[0] = 0",
        "enc.h[t] = tanh(enc.W @ x[t] + enc.U @ enc.h[t-1])",
    ]


def test_sizes_that_the_inputs_tell_are_inferred() -> None:
    p = inside("input x[t]: real[D]\nenc = cell([x[t]; x[t]], 4*H)\nlast = enc[T]\noutput last")
    D, H = Poly.symbol("D"), Poly.symbol("H")
    assert p.vars["enc.W"].shape == (H * 4, D * 2)


def test_a_size_inside_can_be_used_outside() -> None:
    p = inside(
        """
        input x[t]: real[D]
        enc = cell(x, 3)
        y = reshape(enc.h[T], [1, enc.H]) / enc.D
        output y
        """,
        "model m(D):",
    )
    assert p.vars["y"].shape == (Poly.const(1), Poly.const(3))


def test_a_model_runs_over_the_axis_of_what_it_is_given() -> None:
    p = inside(
        """
        axis s: S
        input x[s]: real[D]
        enc = cell(x, H)
        last = enc.h[S]
        output last
        """
    )
    (axis,) = p.vars["enc.h"].axes
    assert (axis.index, str(axis.lo), str(axis.hi)) == ("s", "0", "S")


def test_an_expression_becomes_a_variable_of_the_model_inside() -> None:
    p = inside("input x[t]: real[D]\nenc = cell(2 * x[t], H)\nlast = enc[T]\noutput last")
    assert "enc.x[t] = 2 * x[t]" in equations(p)


def test_feedback_goes_through_an_expression() -> None:
    p = inside(
        """
        input x[t]: real[D]
        dec = cell([x[t]; dec.h[t-1]], H)
        last = dec.h[T]
        output last
        """
    )
    assert p.vars["dec.W"].shape == (Poly.symbol("H"), Poly.symbol("D") + "H")


def test_reverse_reflects_time_everywhere() -> None:
    p = inside("input x[t]: real[D]\nb = reverse cell(x, H)\nfirst = b.h[1]\noutput first")
    assert equations(p, "b.") == [
        "b.h[T+1] = 0",
        "b.h[t] = tanh(b.W @ x[t] + b.U @ b.h[t+1])",
    ]


def test_reverse_reflects_reductions_guards_and_index_values() -> None:
    text = """
    model walk:
        axis s: T
        input x[t]: real
        y[t] = sum[s <= t](x[s]) + (x[t-1] if t > 1 else 0) + t
        output y[t]

    model m:
        input x[t]: real
        w = reverse walk(x)
        y[t] = w[t]
        output y[t]
    """
    p = elaborate(dedent(text))
    assert equations(p, "w.y") == [
        "w.y[t] = sum[s >= t](x[s]) + (x[t+1] if t < T else 0) + (T - t + 1)"
    ]


def test_reversing_twice_is_the_identity() -> None:
    text = CELL + dedent(
        """
        model back(D, H):
            input x[t]: real[D]
            c = reverse cell(x, H)
            h[t] = c[t]
            output h[t]

        model m(D, H):
            input x[t]: real[D]
            b = reverse back(x, H)
            last = b[T]
            output last
        """
    )
    found = equations(elaborate(text), "b.c")
    assert found[-1] == "b.c.h[t] = tanh(b.c.W @ x[t] + b.c.U @ b.c.h[t-1])"


def test_a_stack_has_a_base_and_numbered_layers() -> None:
    p = inside(
        """
        input x[t]: real[D]
        layer[0] = x
        layer[l] = cell(layer[l-1], H) for l in 1..3
        y[t] = layer[3][t] + layer[2].h[t-1]
        output y[t]
        """
    )
    assert p.vars["layer.1.W"].shape != p.vars["layer.2.W"].shape == p.vars["layer.3.W"].shape
    assert "y[t] = layer.3.h[t] + layer.2.h[t-1]" in equations(p)


def test_the_first_layer_may_be_spelled_out() -> None:
    p = inside(
        """
        input x[t]: real[D]
        f[1] = cell(x, H)
        b[1] = reverse cell(x, H)
        f[l] = cell([f[l-1][t]; b[l-1][t]], H) for l in 2..3
        b[l] = reverse cell([f[l-1][t]; b[l-1][t]], H) for l in 2..3
        y[t] = [f[3].h[t]; b[3].h[t]]
        output y[t]
        """
    )
    assert p.vars["f.3.W"].shape == (Poly.symbol("H"), Poly.symbol("H") * 2)
    assert len(p.params) == 12


def test_the_start_of_a_state_is_bound_by_its_name_and_a_zero() -> None:
    p = inside(
        """
        input x[t]: real[D]
        enc = cell(x, H)
        dec = cell(x, H, h0 = enc.h[T])
        last = dec.h[T]
        output last
        """
    )
    assert equations(p, "dec.h") == [
        "dec.h0 = enc.h[T]",
        "dec.h[0] = dec.h0",
        "dec.h[t] = tanh(dec.W @ x[t] + dec.U @ dec.h[t-1])",
    ]


def test_parameters_are_shared_by_binding_them() -> None:
    p = inside(
        """
        input x[t]: real[D]
        a = cell(x, H)
        b = cell(2 * x[t], H, W = a.W, U = a.U)
        y = a[T] + b[T]
        output y
        """
    )
    assert [v.name for v in p.params] == ["a.W", "a.U"]


def test_the_order_of_the_lines_means_nothing() -> None:
    lines = [
        "input x[t]: real[D]",
        "f = cell(x, H)",
        "g = cell(f, H)",
        "y[t] = g.h[t] + f.h[t]",
        "z = y[T]",
        "output z",
    ]
    forward, backward = inside("\n".join(lines)), inside("\n".join(reversed(lines)))
    assert set(forward.equations) == set(backward.equations)


def test_constants_of_the_head_are_bound_or_kept() -> None:
    text = """
    model leak(decay = 0.9):
        input x[t]: real
        h[0] = 0
        h[t] = decay * h[t-1] + x[t]
        output h[t]

    model m(rate = 0.1):
        input x[t]: real
        a = leak(x)
        b = leak(x, decay = 0.5)
        c = leak(x, decay = rate)
        y = a[T] + b[T] + c[T]
        output y
    """
    p = elaborate(dedent(text))
    assert {v.name: v.default for v in p.role("const")} == {
        "rate": 0.1, "a.decay": 0.9, "b.decay": 0.5,
    }  # fmt: skip


def test_a_model_of_another_file_is_looked_for_beside_this_one(tmp_path: Path) -> None:
    (tmp_path / "other.rec").write_text(CELL, encoding="utf-8")
    main = tmp_path / "main.rec"
    main.write_text(
        'from "other.rec" use cell\n\nmodel m(D, H):\n    input x[t]: real[D]\n'
        "    c = cell(x, H)\n    y = c[T]\n    output y\n",
        encoding="utf-8",
    )
    p = elaborate(main.read_text(encoding="utf-8"), str(main))
    assert "c.h" in p.vars


def test_a_mistake_in_another_file_is_reported_there(tmp_path: Path) -> None:
    (tmp_path / "other.rec").write_text(CELL.replace("tanh", "tahn"), encoding="utf-8")
    main = tmp_path / "main.rec"
    main.write_text(
        'from "other.rec" use cell\n\nmodel m(D, H):\n    input x[t]: real[D]\n'
        "    c = cell(x, H)\n    y = c[T]\n    output y\n",
        encoding="utf-8",
    )
    with pytest.raises(RecError) as caught:
        elaborate(main.read_text(encoding="utf-8"), str(main))
    (only,) = caught.value.diagnostics
    assert only.code == "E0205"
    assert Path(only.labels[0].span.source.name).name == "other.rec"


def test_one_of_several_models_is_chosen_by_name() -> None:
    text = "model a:\n    y = 1\n    output y\n\nmodel b:\n    z = 2\n    output z\n"
    assert elaborate(text).name == "b"
    assert elaborate(text, model="a").name == "a"
    with pytest.raises(KeyError, match="no model `c`"):
        elaborate(text, model="c")


def test_a_reversed_cell_gives_the_reversed_outputs_of_reversed_inputs() -> None:
    text = CELL + dedent(
        """
        model m(D, H):
            input x[t]: real[D]
            f = cell(x, H)
            b = reverse cell(x, H, W = f.W, U = f.U)
            forward[t] = f[t]
            backward[t] = b[t]
            output forward[t], backward[t]
        """
    )
    rng = np.random.default_rng(0)
    fn = unfold.compile(unfold.loads(text), D=2, H=3, backend="numpy")
    params = {k: rng.normal(size=v.shape) for k, v in fn.init(seed=0).items()}
    x = rng.normal(size=(6, 2))
    straight, turned = fn(params, x=x), fn(params, x=x[::-1].copy())
    np.testing.assert_allclose(straight["backward"], turned["forward"][::-1])


def test_a_model_over_another_axis_is_reversed_along_it() -> None:
    text = """
    model walk:
        axis s: S
        input x[s]: real
        h[0] = 0
        h[s] = h[s-1] + x[s]
        output h[s]

    model m:
        input x[t]: real
        w = reverse walk(x)
        first = w[1]
        output first
    """
    assert equations(elaborate(dedent(text)), "w.") == [
        "w.h[T+1] = 0",
        "w.h[t] = w.h[t+1] + x[t]",
    ]


def test_indices_whose_range_is_a_size_get_the_range_they_have_here() -> None:
    text = """
    model memory(D, N):
        axis n: N
        input x[t]: real[D]
        param slot[n]: real[D]
        w[t, n] = softmax[n](slot[n] @ x[t])
        y[t] = sum[n](w[t, n] * slot[n])
        output y[t]

    model m(D, H):
        axis n: H
        input x[t]: real[D]
        input u[n]: real
        a = memory(x, 5)
        b = memory(x, 2*H)
        c = memory(x, H)
        y[t] = a[t] + b[t] + c[t] * sum[n](u[n])
        output y[t]
    """
    p = elaborate(dedent(text))
    ranges = {
        name: (axis.index, str(p.indices[axis.index][1]))
        for name in ("a.slot", "b.slot", "c.slot")
        for axis in p.vars[name].axes
    }
    assert ranges == {"a.slot": ("n_1", "5"), "b.slot": ("n_2", "2*H"), "c.slot": ("n", "H")}
