"""Rolled, unrolled and adjoint pictures show the same nodes by the same names in the same order."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import defaultdict
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.graph.programs import NAMES as EXAMPLES
from tests.graph.programs import adjoint_of, example
from unfold import Model
from unfold.dependence import dependence_graph
from unfold.draw import DrawingError, Picture, arrange, picture, places, rolled
from unfold.draw.curves import corners
from unfold.draw.layout import Layout
from unfold.draw.sheet import sheet
from unfold.graph import Graph
from unfold.graph import unfold as unfolded
from unfold.program import Program

SVG = "{http://www.w3.org/2000/svg}"
DIFFERENTIABLE = [n for n in EXAMPLES if example(n).losses]
#: Dynamic programmes over a table: no order of equations leads upwards in every step.
TABLES = {"cyk", "matrix_chain", "rna_folding", "hyena", "liquid"}
#: What the adjoint's equations have in common is computed first, and they lead upwards in another
#: order.
REGROUPED = {"mlstm"}


def graph_of(program: Program, T: int = 3) -> Graph:
    lengths = {n: max(T, program.minimum.get(n, 1)) for n in program.lengths}
    return unfolded(program, lengths, "equation")


def order_of(layout: Layout) -> list[str]:
    """The boxes of the rolled picture from below upwards, each where its first copy stands."""
    of = {b.row: b.of for b in reversed(layout.picture.boxes.values())}
    return list(dict.fromkeys(of[row] for row in layout.order if row in of))


def variables(names: list[str]) -> list[str]:
    return list(dict.fromkeys(name.partition("[")[0] for name in names))


# --- rolled -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_box_of_an_unrolled_picture_is_a_copy_of_one_in_the_rolled(name: str) -> None:
    program = example(name)
    small, large = rolled(program), picture(graph_of(program))
    assert {b.of for b in large.boxes.values() if b.row[0] in program.vars} <= set(small.boxes)
    for box in large.boxes.values():
        if box.of in small.boxes:
            assert (box.kind, box.margin) == (small.boxes[box.of].kind, small.boxes[box.of].margin)
            assert box.row[0] == small.boxes[box.of].row[0]


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_line_of_an_unrolled_picture_is_in_the_rolled_one(name: str) -> None:
    program = example(name)
    small, large = rolled(program), picture(graph_of(program))
    lines = {(line.start, line.end) for line in small.lines}
    for line in large.lines:
        pair = (large.boxes[line.start].of, large.boxes[line.end].of)
        if all(p in small.boxes for p in pair):
            assert pair in lines


@pytest.mark.parametrize("name", [n for n in EXAMPLES if n not in TABLES])
def test_rows_come_in_the_same_order_in_all_views(name: str) -> None:
    program = example(name)
    small = variables(order_of(arrange(rolled(program))))
    large = variables(order_of(arrange(picture(graph_of(program, 2)))))
    assert [v for v in small if v in large] == large
    if name in DIFFERENTIABLE and name not in REGROUPED:
        both = variables(order_of(arrange(rolled(adjoint_of(name)))))
        # An input stands below its first reader, which may be another one in the adjoint.
        own = [v for v in large if program.vars[v].role == "variable"]
        assert [v for v in both if v in own] == [v for v in own if v in both]


def test_lines_of_a_rolled_picture_say_how_far_back_they_read() -> None:
    shown = rolled(example("lstm"))
    labels = {(line.start, line.end): line.label for line in shown.lines}
    assert labels["c[t]", "c[t]"] == "t-1"
    assert labels["h[t]", "f[t]"] == labels["h[0]", "f[t]"] == "t-1"
    assert labels["x[t]", "f[t]"] == labels["c[t]", "h[t]"] == ""
    assert labels["y[t]", "loss"] == "1..T"
    assert [h.label for h in shown.columns] == ["t = 0", "t"]
    back = {(line.start, line.end): line.label for line in rolled(adjoint_of("lstm")).lines}
    assert back["c_bar[t]", "c_bar[t]"] == "t+1"
    attention = {(ln.start, ln.end): ln.label for ln in rolled(example("causal_attention")).lines}
    assert attention["v[t]", "z[t]"] == "1..t"


@pytest.mark.parametrize("name", EXAMPLES)
def test_labels_are_the_distances_of_the_reduced_dependence_graph(name: str) -> None:
    program = example(name)
    shown = rolled(program)
    lines: dict[tuple[str, str], set[str]] = defaultdict(set)
    for line in shown.lines:
        lines[line.start.partition("[")[0], line.end.partition("[")[0]] |= set(
            line.label.replace(",", " ").split()
        )
    clocks = {h.index for h in shown.columns}
    for source, reader, data in dependence_graph(program).edges(data=True):
        pair = program.equations[source].name, program.equations[reader].name
        if not any(b.row[0] == pair[1] for b in shown.boxes.values()):
            continue  # no output needs it
        first = [a.index for a in program.vars[pair[1]].axes][:1]
        source_axes = [a.index for a in program.vars[pair[0]].axes][:1]
        index = program.equations[reader].indices[:1]
        span = data["distances"].get(index[0]) if index else None
        if not first or first != source_axes or first[0] not in clocks or span is None:
            continue
        if span.exact and program.equations[source].indices[:1] == index:
            assert f"{first[0]}{-span.exact:+d}" in lines[pair]


def test_a_boundary_equation_is_a_box_of_its_own_on_the_row_of_its_variable() -> None:
    layout = arrange(rolled(example("lstm")))
    boundary, main = layout.spots["h[0]"], layout.spots["h[t]"]
    assert boundary.y == main.y
    assert boundary.x < main.x


def test_a_model_of_any_length_has_the_same_rolled_picture() -> None:
    model = Model(example("elman"))
    assert repr(model.rolled()) == "<rolled elman: 4 equations>"
    assert len(rolled(model.program).boxes) == 12


# --- where it stands --------------------------------------------------------------------------


def everything(name: str) -> list[tuple[str, Picture]]:
    program = example(name)
    found = [("rolled", rolled(program)), ("unrolled", picture(graph_of(program, 2)))]
    if name in DIFFERENTIABLE:
        back = adjoint_of(name)
        found += [("rolled adjoint", rolled(back))]
        found += [("adjoint", picture(graph_of(back, 2)))] if len(program.equations) < 12 else []
    return found


@pytest.mark.parametrize("name", EXAMPLES)
def test_no_boxes_overlap_no_label_is_clipped_and_no_line_crosses_a_box(name: str) -> None:
    for view, shown in everything(name):
        layout = arrange(shown)
        spots = layout.spots
        by_row: dict[float, list[Any]] = defaultdict(list)
        for box, spot in spots.items():
            assert spot.width >= 5.5 * len(shown.boxes[box].label) + 6.0, (view, box)
            by_row[spot.y].append((spot.x - spot.width / 2, spot.x + spot.width / 2))
        for row in by_row.values():
            row.sort()
            assert all(a[1] < b[0] for a, b in pairwise(row)), view
        ys = sorted((s.y - s.height / 2, s.y + s.height / 2) for s in spots.values())
        for a, b in combinations(sorted(set(ys)), 2):
            if a[0] + a[1] != b[0] + b[1]:
                assert a[1] < b[0], view
        for line in shown.lines:
            way = corners(layout, line)
            # Lines between two boxes in rows of their own are not laid in lanes.
            ends = [shown.boxes[n] for n in (line.start, line.end)]
            if all(b.column is None and not b.margin for b in ends):
                continue
            for p, q in pairwise(way):
                for box, spot in spots.items():
                    if box not in (line.start, line.end):
                        assert not crosses(p, q, spot), (view, line, box)


def crosses(p: tuple[float, float], q: tuple[float, float], spot: Any) -> bool:
    """Whether a level or upright (or nearly level) piece of a line meets a box."""
    left, right = sorted((p[0], q[0]))
    low, high = sorted((p[1], q[1]))
    across = left < spot.x + spot.width / 2 and right > spot.x - spot.width / 2
    return across and low < spot.y + spot.height / 2 and high > spot.y - spot.height / 2


def test_places_are_plain_data() -> None:
    import json

    data = places(graph_of(example("lstm")))
    assert json.loads(json.dumps(data))["title"] == "lstm, T = 3"
    box = next(b for b in data["boxes"] if b["name"] == "h[2]")
    assert (box["of"], box["kind"], box["row"]) == ("h[t]", "variable", "h")
    assert {"x", "y", "width", "height"} <= set(box)
    line = next(ln for ln in data["lines"] if (ln["start"], ln["end"]) == ("h[1]", "f[2]"))
    assert line["points"][0][0] < line["points"][-1][0]


# --- a sheet ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["elman", "lstm", "seq2seq_attention", "neural_ode"])
def test_on_a_sheet_equal_rows_stand_at_equal_heights(name: str) -> None:
    pictures = {
        "rolled": rolled(example(name)),
        "unrolled": picture(graph_of(example(name))),
        "adjoint": picture(graph_of(adjoint_of(name))),
    }
    small, large, both = (p.layout for p in sheet("", pictures).panels)
    for box in large.picture.boxes.values():
        if box.name in both.spots and not box.margin:
            assert large.spots[box.name].y == pytest.approx(both.spots[box.name].y)
    rows: dict[str, set[float]] = defaultdict(set)
    for box in large.picture.boxes.values():
        rows[box.of].add(round(large.spots[box.name].y, 3))
    for of, ys in rows.items():
        if not large.picture.rolled or large.picture.rolled.boxes[of].margin:
            continue
        if len(ys) == 1:
            assert small.spots[of].y == pytest.approx(ys.pop(), abs=0.01)
    panels = sheet("", pictures).panels
    ends = [(p.layout.left + p.shift, p.layout.right + p.shift) for p in panels]
    assert all(a[1] < b[0] for a, b in pairwise(ends))


def test_ids_are_names_and_classes_tell_what_is_a_copy_of_what(tmp_path: Path) -> None:
    model = Model(example("elman"))
    model.draw(tmp_path / "all.svg", 3, views=["rolled", "unrolled", "adjoint"])
    groups = list(ET.parse(tmp_path / "all.svg").getroot().iter(f"{SVG}g"))
    ids = [g.get("id", "") for g in groups]
    assert len(set(ids)) == len(ids)
    assert {"rolled/h[t]", "unrolled/h[2]", "adjoint/h[2]", "adjoint/h_bar[2]"} <= set(ids)
    assert {"rolled/h[t]->h[t]", "unrolled/h[1]->h[2]"} <= set(ids)
    classes = {g.get("id"): (g.get("class") or "").split() for g in groups}
    for view in ("unrolled", "adjoint"):
        copies = [i for i, c in classes.items() if i and i.startswith(view) and "h[t]" in c]
        assert sorted(copies) == [f"{view}/h[{t}]" for t in (1, 2, 3)]
    assert "h[0]" in classes["unrolled/h[0]"]
    texts = [t.text for t in ET.parse(tmp_path / "all.svg").getroot().iter(f"{SVG}text")]
    assert "t-1" in texts
    model.draw(tmp_path / "one.svg", 3)
    single = {g.get("id") for g in ET.parse(tmp_path / "one.svg").getroot().iter(f"{SVG}g")}
    assert {"h[2]", "W_hh", "W_hh->h[2]"} <= single


def test_unknown_views_and_too_many_steps_are_refused(tmp_path: Path) -> None:
    model = Model(example("causal_attention"))
    with pytest.raises(ValueError, match=r"no view rolld, only rolled, unrolled, adjoint"):
        model.draw(tmp_path / "x.svg", views="rolld")
    with pytest.raises(ValueError, match=r"about 100,0\d\d,\d\d\d elements, too many.*rolled"):
        model.draw(tmp_path / "x.svg", steps=10_000)
    with pytest.raises(ValueError, match="there is no folder"):
        model.draw(tmp_path / "no" / "x.svg")
    assert not list(tmp_path.iterdir())


# --- notebooks --------------------------------------------------------------------------------


def test_notebooks_show_models_graphs_and_rolled_graphs_on_white() -> None:
    model = Model(example("elman"))
    for thing in (model, model.rolled(), model.unfold(2)):
        text = thing._repr_svg_()
        assert text is not None
        assert text.startswith("<svg")
        # Readable in a dark notebook: the page brings its own background.
        assert '<polygon fill="white"' in text


def test_without_graphviz_notebooks_fall_back_to_the_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> bytes:
        raise DrawingError("none")

    monkeypatch.setattr("unfold.draw.make.render", missing)
    model = Model(example("elman"))
    assert model._repr_svg_() is None
    assert model.unfold(3)._repr_svg_() is None
