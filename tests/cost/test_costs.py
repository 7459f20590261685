"""The bill of a model: against formulas, against the DAG, and against wrong questions."""

from __future__ import annotations

from pathlib import Path

import pytest

import unfold
from unfold.cost.show import amount, seconds, size
from unfold.cost.work import ARITHMETIC, MOVES, REDUCTIONS, SYSTEMS, Work, work
from unfold.expr import REAL, Call, Const, Ref, Type
from unfold.graph import unfold as unfolded
from unfold.ops import OPS, call
from unfold.ops.functions import FUNCTIONS
from unfold.poly import Poly

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def test_every_op_has_its_work() -> None:
    tables = [ARITHMETIC, FUNCTIONS, MOVES, REDUCTIONS, SYSTEMS]
    assert sum(map(len, tables)) == len(frozenset().union(*tables))
    for op in OPS.values():
        example = op.examples[0]
        kinds = [
            Type("int", Poly.const(r[1]))
            if isinstance(r, tuple) and r[0] == "int"
            else Type("real")
            for r in example.ranges
        ]
        args = tuple(
            Const(0.0, tuple(map(Poly.const, shape)), kind)
            for shape, kind in zip(example.shapes, kinds, strict=True)
        )
        shape, kind = (tuple(map(Poly.const, example.shapes[0])), Type("real"))
        if op.name not in ("and", "or", "not", "where"):
            shape, kind = op.infer(args, dict(example.attrs))
        found = work(Call(op.name, args, example.attrs, shape, kind))
        assert (found == Work()) == (op.name in MOVES), op.name


def test_a_square_is_a_product() -> None:
    x = Const(0.0, (Poly.const(5),))
    square, root = (Call("pow", (x, Const(n, ())), (), x.shape) for n in (2.0, 0.5))
    assert (work(square), work(root)) == (Work(5), Work(0, 5))


def test_the_bill_of_an_lstm_is_its_formula() -> None:
    steps, batch, inputs, hidden, classes = 7, 3, 5, 6, 4
    fn = unfold.compile(EXAMPLES / "lstm.rec", D=inputs, H=hidden, K=classes)
    bill = fn.cost(B=batch, T=steps)
    cells = steps * batch
    products = 2 * cells * (4 * hidden * (inputs + hidden) + classes * hidden)
    # Elementwise: three sums to a gate, c = f * c + i * g, h = o * tanh(c); then the readout's
    # bias and the loss.
    gates = cells * hidden * (4 * 3 - 4 + 4)
    assert products + gates < bill.forward.work.flops < products + 2 * gates
    assert bill.forward.work.functions == 5 * cells * hidden
    # Back: dz @ U', dz outer h, dz outer x, and the same for the readout; a step's first state
    # is zero.
    back = 2 * cells * (4 * hidden * (inputs + 2 * hidden) + 2 * classes * hidden)
    assert bill.gradient is not None
    ratio = (bill.gradient.work.flops - bill.forward.work.flops) / back
    assert 0.9 < ratio < 1.35
    biases_and_starts = (8 + 2) * hidden + classes
    assert bill.parameters == 4 * hidden * (inputs + hidden) + classes * hidden + biases_and_starts
    assert bill.forward.read == 8 * (bill.parameters + cells * (inputs + classes))


@pytest.mark.parametrize(
    "name", ["residual_skip", "gru", "inventory", "queue", "kinetics", "td_lambda"]
)
def test_the_dag_has_as_many_operations(name: str) -> None:
    """Node by node of the unfolded graph, in which equal operations are one."""
    model = unfold.load(EXAMPLES / f"{name}.rec")
    fn = unfold.compile(model, sizes={n: 3 + k for k, n in enumerate(model.sizes)})
    steps = 5
    graph = unfolded(fn.compiler.value().program, {"T": steps}, level="op")
    total = Work()
    for node in graph.table:
        n = 1
        for extent in node.shape:
            n *= extent.evaluate({})
        if node.op == "reduce_sum":
            total = total + Work(n * len(node.operands))
        elif node.op == "matmul":
            inner = graph.table[node.operands[0]].shape[-1].evaluate({})
            total = total + Work(2 * n * inner)
        elif node.op == "pow":
            assert graph.table[node.operands[1]].attr("value") == 2
            total = total + Work(n)
        elif node.op in FUNCTIONS:
            total = total + Work(0, n)
        elif node.op in ARITHMETIC:
            total = total + Work(n)
        elif node.op in REDUCTIONS:
            operand = 1
            for extent in graph.table[node.operands[0]].shape:
                operand *= extent.evaluate({})
            total = total + Work(operand)
    found = fn.cost(T=steps).forward.work
    assert found.functions == total.functions
    assert total.flops <= found.flops <= 1.1 * total.flops


def test_what_does_not_depend_on_an_index_is_counted_once() -> None:
    text = """
model m():
    input x[t]: real
    axis s: T
    y[t] = sum[s](x[s] * exp(x[t]))
    output y[t]
"""
    bill = unfold.compile(text).cost(T=10)
    assert bill.forward.work.functions == 10


def test_parameters_alone_are_not_multiplied_by_the_batch() -> None:
    text = """
model m(H):
    input x[t]: real
    param a: real[H] = 1
    b = exp(a)
    y[t] = x[t] * sum(b)
    output y[t]
"""
    fn = unfold.compile(text, H=4)
    assert fn.cost(B=5, T=3).forward.work.functions == 4


def test_implicit_equations_are_said_to_count_once() -> None:
    fn = unfold.compile(EXAMPLES / "deq.rec", D=2, H=3, K=2)
    assert "of the implicit z: one step of the solver each" in str(fn.cost(T=4))


def test_wrong_questions_name_the_culprit() -> None:
    fn = unfold.compile(EXAMPLES / "inventory.rec")
    with pytest.raises(unfold.InputError, match="length T of inventory is missing"):
        fn.cost()
    with pytest.raises(unfold.InputError, match="has no length S; its lengths: T"):
        fn.cost(T=3, S=4)
    with pytest.raises(unfold.InputError, match="T is an integer of at least 1, not 0"):
        fn.cost(T=0)
    with pytest.raises(unfold.InputError, match="batch is a positive integer, not 0"):
        fn.cost(B=0, T=3)


def test_figures_have_three_digits_and_a_unit() -> None:
    assert [amount(n) for n in (0, 999, 1000, 1_710_000_000)] == ["0", "999", "1 k", "1.71 G"]
    assert [size(n) for n in (0, 1023, 1024, 3 << 30)] == ["0 B", "1023 B", "1 KiB", "3 GiB"]
    assert [seconds(x) for x in (1.5, 0.0123, 4.56e-6, 7e-9)] == [
        "1.5 s", "12.3 ms", "4.56 µs", "7 ns",
    ]  # fmt: skip


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_elimination_is_counted_operation_by_operation(n: int) -> None:
    below = [n - k - 1 for k in range(n)]  # rows below each pivot
    factors = sum(m + 2 * m * m for m in below)  # a quotient, and a row's products and differences
    column = sum(2 * m for m in below) + sum(2 * m + 1 for m in below)  # down, and up again
    root = sum(2 * k for k in range(n) for _ in range(k, n)) + n * (n - 1) // 2
    sizes = tuple(Poly.const(n) for _ in range(2))
    a, b = Ref("a", (), sizes, REAL), Ref("b", (), (sizes[0], Poly.const(3)), REAL)
    assert work(call("solve", a, b)) == Work(factors + 3 * column)
    assert work(call("inv", a)) == Work(factors + n * column)
    assert work(call("logdet", a)) == Work(factors + n, n)
    assert work(call("cholesky", a)) == Work(n * (n - 1) + root, n)
