"""Matrix products for sizes that are known when a program is compiled.

``C[M, N] (+)= A[M, K] @ B[K, N]``: N and K are compile-time numbers, the number of rows M is a
run-time value. B is first brought into panels by `pack` (weights: once a call, not once a step),
then used by `product` any number of times. `matvec` is the product with one vector without
packing, `outer_sum` the sum of outer products (the gradient of a weight), `outer_sums` several with
one left matrix, `weighted_sum` that of vectors times numbers.

Every function is added to the module when first asked for and called by its name, which says all
that it depends on. `bring`, `multiply` and `outer_sum` emit the calls: where one function does for
all sizes it is called with these, else `pack` and `product` have one for each. All matrices are
row-major; the stride between rows is a run-time number of elements; the entries of a row are
adjacent. Results do not depend on how rows are grouped: a row of C has the same bits whatever M is.
"""

from __future__ import annotations

from .outer import outer_sum, outer_sums, outer_work, shares_left
from .product import bring, is_packed, matvec, multiply, pack, packed_size, product
from .weighted import weighted_sum
from .weighted_rows import SIDE, weighted_sums

__all__ = ["SIDE", "bring", "is_packed", "matvec", "multiply", "outer_sum", "outer_sums",
           "outer_work", "pack", "packed_size", "product", "shares_left", "weighted_sum",
           "weighted_sums"]  # fmt: skip
