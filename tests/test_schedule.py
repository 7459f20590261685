from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unfold.causality import CausalityError
from unfold.dependence import dependence_graph, dependences, distances
from unfold.domain import Domain
from unfold.expr import Const, Expr, Guard, Reduce, Ref, reads
from unfold.poly import Poly
from unfold.program import Axis, Equation, Program, Var, equation
from unfold.schedule import Node, Scan, Schedule, Step, _Order, schedule

ONE, T, S = Poly.const(1), Poly.symbol("T"), Poly.symbol("S")
t, s, i, j = (Poly.symbol(n) for n in ("t", "s", "i", "j"))
INDICES = {"t": (ONE, T), "s": (ONE, T), "i": (ONE, T), "j": (ONE, S)}


def program(*equations: Equation, inputs: tuple[Var, ...] = ()) -> Program:
    """Scalar equations; every variable has one axis for each index, wide enough for all pieces."""
    variables = {v.name: v for v in inputs}
    for eq in equations:
        axes = tuple(Axis(n, INDICES[n][0] - 3, INDICES[n][1] + 3) for n in eq.indices)
        variables[eq.name] = Var(eq.name, "variable", axes)
    used = {n: INDICES[n] for eq in equations for n in eq.indices}
    used |= {n: INDICES[n] for eq in equations for n in _bound(eq.rhs)}
    return Program("p", (), used, variables, equations, (), ())


def _bound(e: Expr) -> set[str]:
    return {n for r in reads(e) for n in r.bound}


def full(*names: str) -> Domain:
    domain = Domain()
    for n in names:
        domain = domain & Domain.range(n, *INDICES[n])
    return domain


def ref(name: str, *index: Poly | int) -> Ref:
    return Ref(name, tuple(Poly.of(p) for p in index))


def at(position: int) -> Domain:
    return Domain.point("t", position)


def text(*equations: Equation) -> str:
    return str(schedule(program(*equations)))


def shape(node: Node) -> object:
    if isinstance(node, Scan):
        return (node.index, node.direction, [shape(n) for n in node.body])
    return node.piece


def shapes(*equations: Equation) -> list[object]:
    return [shape(n) for n in schedule(program(*equations)).nodes]


def failure(*equations: Equation) -> CausalityError:
    with pytest.raises(CausalityError) as caught:
        schedule(program(*equations))
    return caught.value


def test_what_an_edge_says_of_a_time_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every piece of a large component is tried as the first; that must not cost its square."""
    asked = 0

    def counted(self: _Order, *args: Any) -> tuple[bool, list[Poly]]:
        nonlocal asked
        asked += 1
        return of_reader(self, *args)

    of_reader = _Order.of_reader
    monkeypatch.setattr(_Order, "of_reader", counted)
    many = 40
    ring = [
        equation(f"h{k}", ("t",), full("t"), ref(f"h{(k + 1) % many}", t - (k == 0)))
        for k in range(many)
    ]
    (scan,) = [n for n in schedule(program(*ring)).nodes if isinstance(n, Scan)]
    assert sorted(n.piece for n in scan.body if isinstance(n, Step)) == list(range(many))
    assert asked <= many


def test_an_order_that_is_known_is_not_looked_for_again() -> None:
    """Stages that change nothing ask again; with other equations or lengths it is another one."""
    chain = (
        equation("h", ("t",), full("t"), ref("h", t - 1) * 2.0),
        equation("h", ("t",), at(0), Const(3.0)),
    )
    first = schedule(program(*chain)).nodes
    assert schedule(program(*chain)).nodes is first
    assert schedule(program(*chain[::-1])).nodes is not first
    longer = program(*chain).with_(minimum={"T": 5})
    assert schedule(longer).nodes is not first
    bad = equation("g", ("t",), full("t"), ref("g", t) * 2.0)
    for _ in range(2):
        assert failure(bad).args


# --- orders that exist ------------------------------------------------------------------------


def test_a_chain_is_its_start_and_a_forward_scan() -> None:
    assert shapes(
        equation("h", ("t",), full("t"), ref("h", t - 1) * 2.0),
        equation("h", ("t",), at(0), Const(0.0)),
    ) == [1, ("t", 1, [0])]


def test_a_read_ahead_makes_a_backward_scan() -> None:
    assert shapes(
        equation("g", ("t",), full("t"), ref("g", t + 1) * 2.0),
        equation("g", ("t",), Domain.point("t", T + 1), Const(0.0)),
    ) == [1, ("t", -1, [0])]


def test_what_no_cycle_holds_is_a_map_and_leaves_the_scan() -> None:
    found = schedule(
        program(
            equation("y", ("t",), full("t"), ref("h", t) * 2.0),
            equation("h", ("t",), full("t"), ref("h", t - 1) + ref("u", t)),
            equation("u", ("t",), full("t"), Const(1.0)),
            equation("h", ("t",), at(0), Const(0.0)),
        )
    )
    assert [shape(n) for n in found.nodes] == [2, 3, ("t", 1, [1]), 0]
    assert found.nodes[0] == Step(2, ("t",))


def test_equations_of_one_step_are_ordered_inside_the_loop() -> None:
    assert shapes(
        equation("h", ("t",), full("t"), ref("z", t) * ref("h", t - 1)),
        equation("z", ("t",), full("t"), ref("r", t) + ref("h", t - 1)),
        equation("r", ("t",), full("t"), ref("h", t - 2) * 3.0),
        equation("h", ("t",), Domain.range("t", -1, 0), Const(0.0)),
    ) == [3, ("t", 1, [2, 1, 0])]


def test_a_reduction_over_earlier_steps_points_back() -> None:
    past = Reduce("sum", ("s",), Domain.range("s", 1, t - 1), ref("h", s))
    assert shapes(equation("h", ("t",), full("t"), past)) == [("t", 1, [0])]


def test_a_guard_can_be_what_keeps_a_reduction_in_the_past() -> None:
    past = Guard(Domain.of((t - s - 1,)), ref("h", s))
    everywhere = Reduce("sum", ("s",), Domain.range("s", 1, T), past)
    assert shapes(equation("h", ("t",), full("t"), everywhere)) == [("t", 1, [0])]


def test_a_table_over_two_axes_is_a_scan_in_a_scan() -> None:
    cell = ref("f", i - 1, j) + ref("f", i, j - 1) + ref("f", i - 1, j - 1)
    assert shapes(equation("f", ("i", "j"), full("i", "j"), cell)) == [("i", 1, [("j", 1, [0])])]


def test_axes_may_run_in_opposite_directions() -> None:
    cell = ref("f", i - 1, j + 1) + ref("f", i, j + 1)
    assert shapes(equation("f", ("i", "j"), full("i", "j"), cell)) == [("j", -1, [0])]
    both = ref("f", i - 1, j) + ref("f", i, j + 1)
    assert shapes(equation("f", ("i", "j"), full("i", "j"), both)) == [("i", 1, [("j", -1, [0])])]


def test_the_outer_loop_settles_reads_that_look_ahead_on_the_inner_axis() -> None:
    cell = ref("f", i - 1, j + 1) + ref("f", i, j - 1)
    assert shapes(equation("f", ("i", "j"), full("i", "j"), cell)) == [("i", 1, [("j", 1, [0])])]


def test_a_table_that_no_index_orders_alone_runs_by_diagonals() -> None:
    cell = ref("f", i - 2, j + 1) + ref("f", i + 1, j - 2)
    found = schedule(program(equation("f", ("i", "j"), full("i", "j"), cell)))
    (scan,) = found.nodes
    assert isinstance(scan, Scan)
    assert scan.times == {0: i + j}
    assert scan.body == (Step(0, ("j",)),)


def test_what_a_diagonal_leaves_is_ordered_along_it() -> None:
    cell = ref("f", i - 1, j + 2) + ref("f", i + 1, j - 3)
    found = schedule(program(equation("f", ("i", "j"), full("i", "j"), cell)))
    (scan,) = found.nodes
    assert isinstance(scan, Scan)
    assert scan.times == {0: i * 2 + j}
    assert isinstance(scan.body[0], Scan)
    agree(found.program)


def test_pieces_that_read_each_other_share_their_diagonals() -> None:
    assert shapes(
        equation("f", ("i", "j"), full("i", "j"), ref("g", i - 2, j + 1) * 0.5),
        equation("g", ("i", "j"), full("i", "j"), ref("f", i + 1, j - 2) + ref("f", i, j)),
    ) == [("i", 1, [0, 1])]


def test_attention_over_one_s_own_past_stays_one_scan_with_parallel_scores() -> None:
    scores = equation(
        "a", ("t", "s"), full("t", "s") & Domain.of((t - s - 1,)), ref("h", s) * ref("h", t - 1)
    )
    context = Reduce("sum", ("s",), Domain.range("s", 1, t - 1), ref("a", t, s) * ref("h", s))
    found = schedule(program(scores, equation("h", ("t",), full("t"), context)))
    (scan,) = found.nodes
    assert isinstance(scan, Scan)
    assert scan.body == (Step(0, ("s",)), Step(1, ()))


def test_pieces_with_other_index_names_join_by_their_axes() -> None:
    found = schedule(
        program(
            equation("h", ("t",), full("t"), ref("q", t - 1) * 2.0),
            equation("q", ("s",), full("s"), ref("h", s) + 1.0),
        )
    )
    (scan,) = found.nodes
    assert isinstance(scan, Scan)
    assert scan.times == {0: t, 1: s}
    assert [n.piece for n in scan.body if isinstance(n, Step)] == [0, 1]


def test_a_piece_that_looks_ahead_is_delayed_when_its_partner_looks_further_back() -> None:
    found = schedule(
        program(
            equation("a", ("t",), full("t"), ref("b", t + 1) * 2.0),
            equation("b", ("t",), full("t"), ref("a", t - 2) * 2.0),
        )
    )
    (scan,) = found.nodes
    assert isinstance(scan, Scan)
    assert scan.times[0] - scan.times[1] in (Poly.const(1), Poly.const(2))


def test_a_reflected_partner_runs_with_reflected_time() -> None:
    found = schedule(
        program(
            equation("a", ("t",), full("t"), ref("b", T + 1 - t) * 2.0),
            equation("b", ("t",), full("t"), ref("a", T - t) * 2.0),
        )
    )
    (scan,) = found.nodes
    assert isinstance(scan, Scan)
    assert scan.times == {0: t, 1: T - t}


def test_a_scalar_in_the_middle_of_a_chain_is_computed_at_its_step() -> None:
    found = schedule(
        program(
            equation("h", ("t",), full("t"), ref("h", t - 1) + _late(ref("m"))),
            equation("m", (), Domain(), ref("h", 2) * 2.0),
            equation("h", ("t",), at(0), Const(0.0)),
        )
    )
    scan = found.nodes[1]
    assert isinstance(scan, Scan)
    assert scan.times[1] == Poly.const(2)


def _late(e: Expr) -> Expr:
    return Guard(Domain.of((t - 3,)), e)


def test_an_index_bound_inside_an_equation_over_the_same_index_is_kept_apart() -> None:
    past = Reduce("sum", ("t",), Domain.range("t", 1, T), ref("u", t))
    assert shapes(
        equation("y", ("t",), full("t"), past + ref("u", t)),
        equation("u", ("t",), full("t"), Const(1.0)),
    ) == [1, 0]


def test_the_text_of_a_schedule_names_loops_and_equations() -> None:
    assert text(equation("h", ("t",), full("t"), ref("h", t - 1) * 2.0)) == (
        "scan t forward:\n    h[t] where t - 1 >= 0 and T - t >= 0"
    )


# --- orders that do not exist -----------------------------------------------------------------


def test_a_cycle_within_one_step_is_instant_and_names_its_reads() -> None:
    error = failure(
        equation("a", ("t",), full("t"), ref("b", t) + ref("a", t - 1)),
        equation("b", ("t",), full("t"), ref("c", t)),
        equation("c", ("t",), full("t"), ref("a", t)),
    )
    assert error.kind == "instant"
    assert [link.equation.name for link in error.cycle] == ["a", "b", "c"]
    assert [link.source.name for link in error.cycle] == ["b", "c", "a"]
    assert all(str(link.distances["t"]) == "0" for link in error.cycle)


def test_reading_both_neighbours_is_mixed() -> None:
    error = failure(equation("h", ("t",), full("t"), ref("h", t - 1) + ref("h", t + 1)))
    assert error.kind == "mixed"
    assert [str(link.distances["t"]) for link in error.cycle] == ["1", "-1"]


def test_steps_that_cancel_around_a_cycle_are_instant() -> None:
    error = failure(
        equation("a", ("t",), full("t"), ref("b", t + 1)),
        equation("b", ("t",), full("t"), ref("a", t - 1)),
    )
    assert error.kind == "instant"


def test_a_reduction_that_includes_the_present_is_instant() -> None:
    past = Reduce("sum", ("s",), Domain.range("s", 1, t), ref("h", s))
    assert failure(equation("h", ("t",), full("t"), past)).kind == "instant"


def test_a_table_with_no_order_is_refused_with_its_distances() -> None:
    cell = ref("f", i - 1, j) + ref("f", i + 1, j)
    error = failure(equation("f", ("i", "j"), full("i", "j"), cell))
    assert error.kind == "mixed"
    assert {str(link.distances["i"]) for link in error.cycle} == {"1", "-1"}


def test_the_error_s_own_text_tells_the_cycle() -> None:
    error = failure(equation("h", ("t",), full("t"), ref("h", t) + 1.0))
    assert str(error) == (
        "no order exists, elements of one step need each other: h reads h[t] (steps back t: 0)"
    )


# --- the graph ----------------------------------------------------------------------------------


def test_the_dependence_graph_carries_distances() -> None:
    graph = dependence_graph(
        program(
            equation("h", ("t",), full("t"), ref("h", t - 2) * 2.0),
            equation("h", ("t",), at(0), Const(0.0)),
        )
    )
    labels = {(a, b): str(d["t"]) for a, b, d in graph.edges(data="distances")}
    assert labels == {(0, 0): "2", (1, 0): "2"}


def test_a_read_that_a_guard_excludes_is_no_dependence() -> None:
    p = program(
        equation("h", ("t",), full("t"), Guard(Domain.of((t - 2,)), ref("h", t - 1))),
        equation("h", ("t",), at(0), Const(0.0)),
    )
    assert [(e.source, e.reader) for e in dependences(p)] == [(0, 0)]
    assert {k: str(v) for k, v in distances(dependences(p)[0], p).items()} == {"t": "1"}


# --- random systems against the concrete graph ---------------------------------------------------


def instances(p: Program, length: int) -> dict[tuple[str, tuple[int, ...]], int]:
    """Which piece defines which element, for one value of all lengths."""
    values = {"T": length, "S": length}
    return {
        (eq.name, point): n
        for n, eq in enumerate(p.equations)
        for point in eq.domain.points(eq.indices, values)
    }


def concrete(p: Program, length: int) -> nx.DiGraph:
    graph = nx.DiGraph()
    values = {"T": length, "S": length}
    defined = instances(p, length)
    for (name, point), n in defined.items():
        eq = p.equations[n]
        env = values | dict(zip(eq.indices, point, strict=True))
        graph.add_node((name, point))
        for read in reads(eq.rhs):
            for inner in _inner(read.bound, read.domain, env):
                element = (read.ref.name, tuple(q.evaluate(inner) for q in read.ref.index))
                if element in defined:
                    graph.add_edge(element, (name, point))
    return graph


def _inner(bound: tuple[str, ...], domain: Domain, env: dict[str, int]) -> Iterator[dict[str, int]]:
    if not bound:
        if domain.contains(env):
            yield env
        return
    for point in itertools.product(range(-3, env["T"] + 4), repeat=len(bound)):
        inner = env | dict(zip(bound, point, strict=True))
        if domain.contains(inner):
            yield inner


def run(found: Schedule, length: int) -> list[tuple[str, tuple[int, ...]]]:
    """The order in which the schedule computes the elements."""
    p = found.program
    values = {"T": length, "S": length}
    done: list[tuple[str, tuple[int, ...]]] = []

    def go(nodes: tuple[Node, ...], fixed: dict[int, Domain]) -> None:
        for node in nodes:
            if isinstance(node, Step):
                eq = p.equations[node.piece]
                domain = eq.domain & fixed.get(node.piece, Domain())
                done.extend((eq.name, point) for point in domain.points(eq.indices, values))
            else:
                steps = range(-3 * length - 9, 3 * length + 10)
                for step in steps if node.direction > 0 else reversed(steps):
                    here = {
                        n: fixed.get(n, Domain()) & Domain.of((time - step, step - time))
                        for n, time in node.times.items()
                    }
                    go(node.body, {**fixed, **here})

    go(found.nodes, {})
    return done


@st.composite
def systems(draw: st.DrawFn, axes: tuple[str, ...]) -> Program:
    names = ["a", "b", "c"][: draw(st.integers(1, 3))]
    equations = []
    for name in names:
        rhs: Expr = Const(1.0)
        for _ in range(draw(st.integers(1, 2))):
            target = draw(st.sampled_from(names))
            offsets = [draw(st.sampled_from([-2, -1, -1, 0, 0, 1])) for _ in axes]
            read: Expr = ref(
                target, *(Poly.symbol(n) + d for n, d in zip(axes, offsets, strict=True))
            )
            kind = draw(st.integers(0, 3))
            if kind == 1:
                read = Guard(Domain.of((Poly.symbol(axes[0]) - draw(st.integers(1, 3)),)), read)
            elif kind == 2 and axes == ("t",):
                last = t - draw(st.integers(0, 2))
                read = Reduce("sum", ("s",), Domain.range("s", 1, last), ref(target, s))
            rhs = rhs + read
        equations.append(equation(name, axes, full(*axes), rhs))
    return program(*equations)


def agree(p: Program) -> None:
    lengths = (1, 2, 4)
    acyclic = [nx.is_directed_acyclic_graph(concrete(p, n)) for n in lengths]
    try:
        found = schedule(p)
    except CausalityError as error:
        links = error.cycle
        assert links
        if error.kind == "instant":
            pairs = zip(links, [*links[1:], links[0]], strict=True)
            assert all(a.source is b.equation for a, b in pairs)
        return
    assert all(acyclic)
    for n in lengths:
        order = run(found, n)
        assert sorted(order) == sorted(instances(p, n))
        place = {element: k for k, element in enumerate(order)}
        assert all(place[a] < place[b] for a, b in concrete(p, n).edges)


@settings(max_examples=150, deadline=None)
@given(systems(("t",)))
def test_random_systems_over_one_axis_run_in_a_legal_order(p: Program) -> None:
    agree(p)


@settings(max_examples=80, deadline=None)
@given(systems(("i", "j")))
def test_random_systems_over_two_axes_run_in_a_legal_order(p: Program) -> None:
    agree(p)


@st.composite
def leaning(draw: st.DrawFn) -> Program:
    """Tables whose every read lies on the near side of one slanted line."""
    slope = draw(st.sampled_from([(1, 1), (1, 2), (2, 1), (-1, 1), (1, -2), (3, 1)]))
    steps = [(a, b) for a in range(-3, 4) for b in range(-3, 4)
             if a * slope[0] + b * slope[1] > 0]  # fmt: skip
    names = ["a", "b"][: draw(st.integers(1, 2))]
    equations = []
    for name in names:
        rhs: Expr = Const(1.0)
        for _ in range(draw(st.integers(1, 3))):
            a, b = draw(st.sampled_from(steps))
            rhs = rhs + ref(draw(st.sampled_from(names)), i - a, j - b)
        equations.append(equation(name, ("i", "j"), full("i", "j"), rhs))
    return program(*equations)


@settings(max_examples=120, deadline=None)
@given(leaning())
def test_tables_that_lean_run_in_a_legal_order_and_are_not_refused(p: Program) -> None:
    schedule(p)
    agree(p)


@settings(max_examples=100, deadline=None)
@given(systems(("t",)))
def test_what_is_refused_over_one_axis_has_a_cycle_at_some_length(p: Program) -> None:
    try:
        schedule(p)
    except CausalityError:
        assert not nx.is_directed_acyclic_graph(concrete(p, 7))
