"""Matrix products for sizes that are known when a program is compiled.

``C[M, N] (+)= A[M, K] @ B[K, N]``: N and K are compile-time numbers, the number of rows M is a
run-time value. B is first brought into panels by `pack` (weights: once a call, not once a step),
then used by `product` any number of times. `matvec` is the product with one vector without
packing, `outer_sum` the sum of outer products (the gradient of a weight).

Every function is added to the module when first asked for, under a name made of its sizes. All
matrices are row-major; the stride between rows is a run-time number of elements; the entries of a
row are adjacent. Results do not depend on how rows are grouped: a row of C has the same bits
whatever M is.
"""

from __future__ import annotations

from .. import ir
from ..body import BOOL, INT, POINTER, SCALAR, VOID, Body, Value, define
from ..jit import HostTarget


def packed_size(target: HostTarget, dtype: str, N: int, K: int) -> int:
    """How many elements `pack` writes for a matrix B[K, N] (its columns are padded)."""
    del target, dtype
    return N * K


def pack(
    module: ir.Module, target: HostTarget, dtype: str, N: int, K: int, *, transposed: bool
) -> str:
    """``void (ptr source, i64 stride, ptr packed)``: bring a matrix into panels for `product`.

    Args:
        dtype: ``float32`` or ``float64``.
        transposed: False: the source is B[K, N]; True: the source is W[N, K] and B = W^T, as in
            ``y = W x``. ``stride`` is the distance of its rows in elements.

    ``packed`` has room for `packed_size` elements; 64-byte alignment is fastest.
    """
    element = SCALAR[dtype]

    def write(body: Body) -> None:
        source, stride, packed = body.args

        def row(k: Value, _: list[Value]) -> list[Value]:
            def column(n: Value, _: list[Value]) -> list[Value]:
                at = n * stride + k if transposed else k * stride + n
                body.store(
                    body.load(body.at(source, at, element), element),
                    body.at(packed, k * N + n, element),
                )
                return []

            body.loop(N, [], column)
            return []

        body.loop(K, [], row)

    name = f"unfold.pack{'.t' if transposed else ''}.{element.suffix}.{N}x{K}"
    return define(module, name, VOID, (POINTER, INT, POINTER), write)


def product(module: ir.Module, target: HostTarget, dtype: str, N: int, K: int) -> str:
    """``void (i64 rows, ptr A, i64 lda, ptr packed, ptr C, i64 ldc, i1 accumulate)``.

    ``C[rows, N] = A[rows, K] @ B``, or ``+=`` with ``accumulate``; ``packed`` is what `pack` made
    of B. ``lda`` and ``ldc`` are the strides of the rows in elements. A and C do not overlap.
    """
    element = SCALAR[dtype]

    def write(body: Body) -> None:
        rows, a, lda, packed, c, ldc, accumulate = body.args

        def row(m: Value, _: list[Value]) -> list[Value]:
            def column(n: Value, _: list[Value]) -> list[Value]:
                place = body.at(c, m * ldc + n, element)

                def term(k: Value, total: list[Value]) -> list[Value]:
                    x = body.load(body.at(a, m * lda + k, element), element)
                    w = body.load(body.at(packed, k * N + n, element), element)
                    return [body.madd(x, w, total[0])]

                first = accumulate.select(body.load(place, element), 0.0)
                body.store(body.loop(K, [first], term)[0], place)
                return []

            body.loop(N, [], column)
            return []

        body.loop(rows, [], row)

    params = (INT, POINTER, INT, POINTER, POINTER, INT, BOOL)
    return define(module, f"unfold.product.{element.suffix}.{N}x{K}", VOID, params, write)


def matvec(
    module: ir.Module, target: HostTarget, dtype: str, N: int, K: int, *, transposed: bool
) -> str:
    """``void (ptr source, i64 stride, ptr x, ptr y, i1 accumulate)``: one product, no packing.

    ``y[N] = x[K] @ B`` (or ``+=``), where the source is B[K, N], or with ``transposed`` W[N, K]
    and B = W^T (so ``y = W x``). For a matrix that is used once or a few times.
    """
    element = SCALAR[dtype]

    def write(body: Body) -> None:
        source, stride, x, y, accumulate = body.args

        def column(n: Value, _: list[Value]) -> list[Value]:
            place = body.at(y, n, element)

            def term(k: Value, total: list[Value]) -> list[Value]:
                at = n * stride + k if transposed else k * stride + n
                w = body.load(body.at(source, at, element), element)
                return [body.madd(body.load(body.at(x, k, element), element), w, total[0])]

            first = accumulate.select(body.load(place, element), 0.0)
            body.store(body.loop(K, [first], term)[0], place)
            return []

        body.loop(N, [], column)

    name = f"unfold.matvec{'.t' if transposed else ''}.{element.suffix}.{N}x{K}"
    return define(module, name, VOID, (POINTER, INT, POINTER, POINTER, BOOL), write)


def outer_work(target: HostTarget, dtype: str, N1: int, N2: int) -> int:
    """How many elements of work space `outer_sum` needs, whatever the number of rows; may be 0."""
    del target, dtype, N1, N2
    return 0


def outer_sum(module: ir.Module, target: HostTarget, dtype: str, N1: int, N2: int) -> str:
    """``void (i64 rows, ptr A, i64 lda, ptr B, i64 ldb, ptr C, i64 ldc, i1 accumulate, ptr work)``.

    ``C[N1, N2] = A[rows, N1]^T @ B[rows, N2]`` (or ``+=``): the sum of the outer products of the
    rows, in a fixed order. ``rows`` is a run-time number and may be large (steps times batch).
    ``work`` has room for `outer_work` elements. C overlaps neither A nor B.
    """
    element = SCALAR[dtype]

    def write(body: Body) -> None:
        rows, a, lda, b, ldb, c, ldc, accumulate, _ = body.args

        def row(i: Value, _: list[Value]) -> list[Value]:
            def column(j: Value, _: list[Value]) -> list[Value]:
                place = body.at(c, i * ldc + j, element)

                def term(m: Value, total: list[Value]) -> list[Value]:
                    x = body.load(body.at(a, m * lda + i, element), element)
                    y = body.load(body.at(b, m * ldb + j, element), element)
                    return [body.madd(x, y, total[0])]

                first = accumulate.select(body.load(place, element), 0.0)
                body.store(body.loop(rows, [first], term)[0], place)
                return []

            body.loop(N2, [], column)
            return []

        body.loop(N1, [], row)

    params = (INT, POINTER, INT, POINTER, INT, POINTER, INT, BOOL, POINTER)
    return define(module, f"unfold.outer.{element.suffix}.{N1}x{N2}", VOID, params, write)
