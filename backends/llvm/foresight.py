"""Kernels that the gradient of a program will call, compiled while it is still being derived.

before:  z[t] = W @ x[t] + U @ h[t-1];  h[t] = tanh(z[t])
begun:   products with W and U from both sides, sums of outer products of their shapes, tanh

What is not foreseen is compiled with the rest; what is foreseen and not called costs time of a
processor that had nothing to do.
"""

from __future__ import annotations

from collections.abc import Iterator

from unfold.expr import Call, Expr, names, walk
from unfold.program import Program

from . import choose, cutting, gemm, generating, jit, vecmath
from .components import dims
from .ir import Function, Module, Receiver, Value, vector
from .tiles.loops import paired_lanes

#: A product of a shared matrix, N x K, with a vector: N, K, whether the matrix is to the left, and
#: whether the vector has an adjoint.
_Product = tuple[int, int, bool, bool]


def begin(program: Program, dtype: str) -> None:
    """Have what the gradient of a program will call compiled by another thread."""
    if generating.threads() == 1 or choose.total(program) <= choose.UNROLLED:
        return

    def write(receiver: Receiver) -> None:
        module = Module(receiver=receiver)
        _functions(module, program, dtype)
        for product in products(program):
            _kernels(module, dtype, *product)
        gradients(module, dtype, program)

    cutting.ahead(write)


def products(program: Program) -> list[_Product]:
    """The products of shared matrices with vectors; those with one vector are one product."""
    inputs = {v.name for v in program.inputs}
    return [(N, K, left, not names(x) <= inputs) for (x, K, left), (N, _) in _found(program)]


def _found(program: Program) -> list[tuple[tuple[Expr, int, bool], tuple[int, frozenset[Expr]]]]:
    """The vectors of products, with the columns of each and the sums that it is a term of."""
    found: dict[tuple[Expr, int, bool], tuple[int, frozenset[Expr]]] = {}
    params = {v.name for v in program.params}
    for node, whole in _terms(program):
        if node.op != "matmul" or sorted(len(a.shape) for a in node.args) != [1, 2]:
            continue
        left = len(node.args[0].shape) == 2
        matrix, x = node.args if left else node.args[::-1]
        if names(matrix) <= params:
            N, K = dims(matrix.shape) if left else dims(matrix.shape)[::-1]
            before, sums = found.get((x, K, left), (0, frozenset[Expr]()))
            found[x, K, left] = before + N, sums | {whole}
    return list(found.items())


def _terms(program: Program) -> Iterator[tuple[Call, Expr]]:
    """All calls, each with the sum that it is a term of, or itself."""
    for eq in program.equations:
        sums: dict[Expr, Expr] = {}
        for node in reversed([e for e in walk(eq.rhs) if isinstance(e, Call)]):
            whole = sums.get(node, node)
            if node.op == "add":
                sums |= dict.fromkeys(node.args, whole)
            yield node, whole


def _kernels(module: Module, dtype: str, N: int, K: int, left: bool, back: bool) -> None:
    """What a product and its adjoint call."""
    target = jit.host()
    address, number = Value("ptr", "%p"), Value("i64", "%n")
    f = Function(module, "nowhere", [("ptr", "p", ""), ("i64", "n", "")])
    matrix = (address, number, address)
    rows = (number, address, number, address, address, number, address, number)
    if not (left and gemm.is_packed(target, dtype, N, K, 1, K)):
        gemm.bring(f, target, dtype, N, K, matrix, transposed=left)
    gemm.multiply(f, target, dtype, N, K, rows)
    if back:
        gemm.bring(f, target, dtype, K, N, matrix, transposed=not left)
        gemm.multiply(f, target, dtype, K, N, rows)


def gradients(module: Module, dtype: str, program: Program) -> None:
    """The sums of outer products that gradients of matrices are. Of products that are terms of one
    sum they have one left factor."""
    target = jit.host()
    address, number = Value("ptr", "%p"), Value("i64", "%n")
    f = Function(module, "nowhere", [("ptr", "p", ""), ("i64", "n", "")])
    alike: dict[tuple[int, Expr | None, frozenset[Expr]], list[int]] = {}
    for (x, K, left), (N, sums) in _found(program):
        N1, N2 = (N, K) if left else (K, N)
        alike.setdefault((N1, None if left else x, sums), []).append(N2)
    for (N1, _, _), widths in alike.items():
        if len(widths) > 1 and gemm.shares_left(target, dtype, N1, widths):
            rights = (address, number, address, number) * len(widths)
            operands = (number, address, number, *rights, Value("i1", "1"), address)
            gemm.outer_sums(f, target, dtype, N1, sorted(widths), operands)
            continue
        for N2 in widths:
            alone = (*(number, address) * 3, number, Value("i1", "1"), address)
            gemm.outer_sum(f, target, dtype, N1, N2, alone)


def _functions(module: Module, program: Program, dtype: str) -> None:
    """The mathematics of the elements of vectors."""
    lanes, scalar = jit.host().lanes(dtype), "double" if dtype == "float64" else "float"
    apart = vecmath.FUNCTIONS.keys() - vecmath.SHORT - vecmath.OVERLAPPING
    f = Function(module, "nowhere", [])
    for node in _nodes(program):
        if node.op not in apart or not node.shape or node.type.kind != "real":
            continue
        size = dims(node.shape)[-1]
        width = paired_lanes(size, lanes)
        if size >= width and all(a.shape == node.shape for a in node.args):
            wide = vector(scalar, width)
            vecmath.emit(f, node.op, *(Value(wide, f"%x{k}") for k in range(len(node.args))))


def _nodes(program: Program) -> Iterator[Call]:
    for eq in program.equations:
        yield from (e for e in walk(eq.rhs) if isinstance(e, Call))


__all__ = ["begin", "gradients", "products"]
