"""Every element is defined exactly once, for all lengths: against brute force, and case by case."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from itertools import product
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

import unfold
from tests.check.reading import codes, errors, program
from unfold.check import elaborate
from unfold.errors import RecError
from unfold.poly import Poly

LENGTHS = range(1, 9)


@dataclass(frozen=True)
class Part:
    """`f[t] = 1 for lo..hi`: the ends as text and as functions of T."""

    lo: tuple[int, int]
    hi: tuple[int, int]

    def text(self) -> str:
        return f"f[t] = x[1] for t in {_end(self.lo)}..{_end(self.hi)}"

    def covers(self, position: int, length: int) -> bool:
        return _at(self.lo, length) <= position <= _at(self.hi, length)


def _end(end: tuple[int, int]) -> str:
    """`3`, `T`, `T-2`: a multiple of T (0 or 1) and an offset."""
    times, offset = end
    return (f"T{offset:+d}" if offset else "T") if times else str(offset)


def _at(end: tuple[int, int], length: int) -> int:
    return end[0] * length + end[1]


ENDS = st.tuples(st.integers(0, 1), st.integers(-2, 4))
PARTS = st.lists(st.builds(Part, ENDS, ENDS), min_size=1, max_size=3)
READS = st.tuples(st.integers(0, 1), st.integers(-1, 4))


def minimum_by_hand(parts: list[Part], reads: list[tuple[int, int]]) -> int | None:
    """The least length from which on all is well, as far as lengths up to 8 tell."""
    least = 1
    for length in LENGTHS:
        defined = [
            sum(p.covers(i, length) for p in parts) for i in range(-10, 10 + 2 * max(LENGTHS))
        ]
        wanted = [_at(r, length) for r in reads]
        fine = all(n <= 1 for n in defined) and all(defined[i + 10] == 1 for i in wanted)
        if not fine:
            least = length + 1
    return least if least < max(LENGTHS) else None


@given(PARTS, st.lists(READS, min_size=1, max_size=3))
def test_pieces_and_reads_agree_with_counting(
    parts: list[Part], reads: list[tuple[int, int]]
) -> None:
    body = "\n".join(
        ["input x[t]: real", *(p.text() for p in parts)]
        + [f"y{k} = f[{_end(r)}]" for k, r in enumerate(reads)]
        + ["output " + ", ".join(f"y{k}" for k in range(len(reads)))]
    )
    expected = minimum_by_hand(parts, reads)
    wrong, found = outcome(body)
    if wrong:
        # A range that is empty for every length is an error of its own.
        assert wrong <= {"E0401", "E0402", "E0406"}
        assert expected is None or "E0406" in wrong
    else:
        assert found == expected


def outcome(body: str) -> tuple[set[str], int]:
    """The codes of all errors, and the least length if there are none."""
    try:
        return set(), program(body).minimum.get("T", 1)
    except RecError as error:
        return {d.code for d in error.diagnostics if d.severity == "error"}, 0


OFFSETS = st.integers(-2, 2)
COMPARE = {"<=": operator.le, "<": operator.lt, ">": operator.gt, ">=": operator.ge}


@given(OFFSETS, OFFSETS, st.sampled_from(sorted(COMPARE)), OFFSETS)
def test_tables_over_two_axes_agree_with_counting(
    row: int, column: int, sign: str, shift: int
) -> None:
    condition = f"s {sign} t{shift:+d}" if shift else f"s {sign} t"
    text = f"""
    axis s: T
    input x[t]: real
    a[t, s] = x[t] for {condition}
    y[t] = sum[{condition}](a[t{row:+d}, s{column:+d}])
    output y[t]
    """

    def holds(t: int, s: int) -> bool:
        return COMPARE[sign](s, t + shift)

    def fine(length: int) -> bool:
        steps = range(1, length + 1)
        inside = {(t, s) for t, s in product(steps, steps) if holds(t, s)}
        return all((t + row, s + column) in inside for t, s in inside)

    bad = [length for length in LENGTHS if not fine(length)]
    wrong, found = outcome(text)
    if wrong:
        assert wrong == {"E0402"}
        assert max(bad) == max(LENGTHS)
    else:
        assert found == max(bad, default=0) + 1


def ranges(body: str, name: str) -> list[tuple[str, str]]:
    return [(str(a.lo), str(a.hi)) for a in program(body).vars[name].axes]


@pytest.mark.parametrize(
    ("equations", "lo", "hi"),
    [
        ("h[0] = 0\nh[t] = h[t-1] + x[t]", "0", "T"),
        ("h[T+1] = 0\nh[t] = h[t+1] + x[t]", "1", "T + 1"),
        ("h[0] = 0\nh[-1] = 1\nh[t] = h[t-1] + h[t-2] + x[t]", "-1", "T"),
        ("h[t] = 0 for t <= 0\nh[t] = h[t-1] + h[t-3] + x[t]", "-2", "T"),
        ("h[t] = 0 for t > T\nh[t] = h[t+2] + x[t]", "1", "T + 2"),
        ("h[t] = k0[t] for t <= 0\nh[t] = h[t-1] + x[t]", "-3", "T"),
        ("h[1] = 0\nh[t+1] = h[t] + x[t]", "1", "T + 1"),
        ("h[T] = 0\nh[T-t] = h[T-t+1] + x[t]", "0", "T"),
        ("h[t] = x[t] for t <= 2\nh[t] = h[t-2] for t >= 3", "1", "T"),
    ],
)
def test_a_variable_is_stored_from_its_first_to_its_last_element(
    equations: str, lo: str, hi: str
) -> None:
    body = "axis k: -3..0\ninput x[t]: real\nparam k0[k]: real\n" + equations
    assert ranges(body + "\nlast = h[T]\noutput last", "h") == [(lo, hi)]


def test_the_default_range_of_an_index_is_dropped_where_a_clause_excludes_it() -> None:
    p = program("input x[t]: real\nh[t] = 0 for t <= 0\nh[t] = h[t-2] + x[t]\noutput h[t]")
    start = next(eq for eq in p.pieces("h") if eq.domain.contains({"t": 0, "T": 5}))
    t = Poly.symbol("t")
    assert set(start.domain.constraints) == {t + 1, -t}


@pytest.mark.parametrize(
    ("body", "least"),
    [
        ("y = x[4]", 4),
        ("y = x[T-2] + x[3]", 3),
        ("y[t] = x[t] for t <= 5\nz = y[5]", 5),
        ("y[1] = 0\ny[T] = 1\ny[t] = x[t] for 2 <= t <= T-1\nz = y[1]", 2),
        ("axis s: 2..T\ny[s] = x[s-1]\nz = y[T]", 2),
    ],
)
def test_what_fails_for_short_sequences_only_raises_the_least_length(body: str, least: int) -> None:
    text = f"input x[t]: real\n{body}\noutput {body.split(' = ')[-2].split()[-1].split('[')[0]}"
    assert program(text).minimum.get("T", 1) == least


def test_the_least_length_of_a_model_inside_counts_outside() -> None:
    text = """
    model early:
        input x[t]: real
        y = x[3]
        output y

    model m:
        axis s: S
        input u[s]: real
        e = early(u)
        y = e.y
        output y
    """
    assert elaborate(dedent(text)).minimum == {"S": 3}


def test_a_guard_makes_a_boundary_unnecessary() -> None:
    p = program("input x[t]: real\nh[t] = (h[t-1] if t > 1 else 0) + x[t]\noutput h[t]")
    assert len(p.pieces("h")) == 1


def test_an_input_is_extended_by_equations_beyond_its_range() -> None:
    p = program("input x[t]: real\nx[0] = 0\nx[T+1] = 1\ny[t] = x[t-1] + x[t+1]\noutput y[t]")
    assert [(str(a.lo), str(a.hi)) for a in p.vars["x_ext"].axes] == [("0", "T + 1")]
    assert [(str(a.lo), str(a.hi)) for a in p.vars["x"].axes] == [("1", "T")]
    assert p.vars["x_ext"].generated


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("h[t] = h[t-1] + x[t]", "`h[0]` is never defined"),
        ("h[t] = h[t+1] + x[t]", "`h[T+1]` is never defined"),
        ("h[0] = 0\nh[t] = h[t-1] + h[t-2]", "`h[-1]` is never defined"),
        ("h[0] = 0\nh[0] = 1\nh[t] = h[t-1]", "`h[0]` is defined twice"),
        ("h[1] = 0\nh[t] = x[t]", "`h[1]` is defined twice"),
        ("h[T] = 0\nh[t] = x[t]", "`h[T]` is defined twice"),
        ("h[t] = x[t-1]", "`x[0]` lies outside of the input"),
        ("h[t] = x[t] for t >= 3", "`h[1]` to `h[2]` are never defined"),
        ("x[1] = 0\nh[t] = x[t]", "`x[1]` is data, and defined by an equation as well"),
    ],
)
def test_the_message_names_the_element(body: str, message: str) -> None:
    text = "model m:\n" + "".join(
        f"    {line}\n" for line in ["input x[t]: real", *body.split("\n"), "output h[t]"]
    )
    assert errors(text) == [message]


def test_only_what_is_read_must_exist() -> None:
    text = """
    model m:
        axis s: T
        input x[t]: real
        a[t, s] = x[t] * x[s] for s <= t
        y[t] = sum[s <= t](a[t, s])
        output y[t]
    """
    assert codes(text) == []


def test_an_extended_input_is_put_out_as_it_came_in() -> None:
    p = program("input x[t]: real\nx[0] = 0\ny[t] = x[t-1]\noutput y[t], x[t]")
    assert [o.name for o in p.outputs] == ["y", "x"]


def test_a_branch_that_is_never_taken_is_no_place_for_a_complaint() -> None:
    text = """
model m():
    axis s: S
    input x[t]: real
    v[0] = 0
    v[s] = v[s-1] + (1 if s == 1 else sum[t](x[t]))
    output v[s]
"""
    fn = unfold.compile(text, backend="numpy")
    assert fn({}, x=[1.0, 2.0], S=3)["v"].tolist() == [1, 4, 7]
