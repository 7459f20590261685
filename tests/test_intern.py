"""Equal values are one object: in every thread, and after pickling."""

from __future__ import annotations

import copy
import pickle
import threading

from hypothesis import given
from hypothesis import strategies as st

from unfold.domain import Domain
from unfold.expr import Ref, Type
from unfold.poly import Poly

symbols = st.sampled_from(["t", "s", "T"])
terms = st.lists(st.tuples(symbols, symbols, st.integers(-3, 3)), max_size=4)


def poly(parts: list[tuple[str, str, int]]) -> Poly:
    total = Poly()
    for a, b, c in parts:
        total = total + Poly.symbol(a) * Poly.symbol(b) * c + Poly.symbol(a) - c
    return total


@given(terms, terms)
def test_equal_polynomials_are_one_object_however_they_were_made(
    left: list[tuple[str, str, int]], right: list[tuple[str, str, int]]
) -> None:
    p, q = poly(left), poly(right)
    assert p + q is q + p is poly(left + right)
    assert (p - q) + q is p
    assert (p is q) == (p.terms == q.terms)
    assert p * 2 is p + p


@given(terms, st.integers(-3, 3), st.integers(-3, 3), st.integers(-3, 3))
def test_remembered_results_are_those_of_arithmetic(
    parts: list[tuple[str, str, int]], t: int, s: int, length: int
) -> None:
    p, values = poly(parts), {"t": t, "s": s, "T": length}
    expected = sum(values[a] * values[b] * c + values[a] - c for a, b, c in parts)
    assert p.evaluate(values) == expected
    assert p.subs(values) is Poly.const(expected)
    assert p.subs({"t": Poly.symbol("s"), "s": Poly.symbol("t")}).evaluate(
        {"t": s, "s": t, "T": length}
    ) == p.evaluate(values)


def test_copies_and_pickles_are_the_same_object() -> None:
    domain = Domain.range("t", 1, Poly.symbol("T") - 2)
    read = Ref("h", (Poly.symbol("t") - 1,))
    for value in (domain, read, read.type, Type("int", Poly.const(3)), domain.constraints[0]):
        assert pickle.loads(pickle.dumps(value)) is value
        assert copy.deepcopy(value) is value


def test_threads_that_make_a_value_at_once_make_one() -> None:
    count = 8
    start = threading.Barrier(count)
    made: list[list[Poly]] = []

    def work() -> None:
        start.wait()
        made.append([Poly((((f"fresh{k}",), 7),)) for k in range(2000)])

    workers = [threading.Thread(target=work) for _ in range(count)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    for others in made[1:]:
        assert all(p is q for p, q in zip(made[0], others, strict=True))
