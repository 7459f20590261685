"""What every drawing shows: columns of time, rows of equations, every node, parameters once."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import pytest

from tests.graph.programs import NAMES as EXAMPLES
from tests.graph.programs import adjoint_of, example
from unfold import Horizon, Model, Window
from unfold.draw import DrawingError, arrange, draw, picture, render, source
from unfold.draw.legend import legend
from unfold.graph import Graph, unfold

SVG = "{http://www.w3.org/2000/svg}"
NAMES = ["elman", "lstm", "birnn", "stacked_bigru", "pendulum_control", "queue", "td_lambda"]


def graph_of(name: str, T: int = 4, level: str = "equation", backward: bool = False) -> Graph:
    program = adjoint_of(name) if backward else example(name)
    lengths = {length: max(T, program.minimum.get(length, 1)) for length in program.lengths}
    return unfold(program, lengths, level)


def centres(svg: Path) -> dict[str, tuple[float, float]]:
    """The centre of every node of an SVG drawing by Graphviz, by title."""
    found = {}
    for group in ET.parse(svg).getroot().iter(f"{SVG}g"):
        classes = (group.get("class") or "").split()
        if "node" in classes and "frame" not in classes:
            title = group.findtext(f"{SVG}title")
            text = next(group.iter(f"{SVG}text"))
            assert title is not None
            found[title] = (float(text.get("x", "nan")), float(text.get("y", "nan")))
    return found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("backward", [False, True])
def test_a_step_is_a_column_and_an_equation_a_row(
    name: str, backward: bool, tmp_path: Path
) -> None:
    graph = graph_of(name, backward=backward)
    spots = centres(draw(graph, tmp_path / "g.svg"))
    xs, ys = defaultdict(set), defaultdict(set)
    for node in graph.table:
        if node.is_literal:
            continue
        assert node.name in spots
        time = graph.time(node)
        if time is not None:
            x, y = spots[node.name]
            xs[time].add(x)
            ys[node.var].add(y)
    assert all(len(x) == 1 for x in xs.values())
    assert all(len(y) == 1 for y in ys.values())
    steps = sorted(xs)
    assert [xs[t] for t in steps] == sorted((xs[t] for t in steps), key=min)
    assert len({y for row in ys.values() for y in row}) == len(ys)


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("level", ["equation", "op"])
def test_no_two_boxes_of_any_example_overlap(name: str, level: str) -> None:
    layout = arrange(picture(graph_of(name, 2, level), 10))
    rows = defaultdict(list)
    for spot in layout.spots.values():
        rows[spot.y].append(spot)
    for row in rows.values():
        row.sort(key=lambda spot: spot.x)
        for a, b in pairwise(row):
            assert a.x + a.width / 2 < b.x - b.width / 2


def test_what_is_no_part_of_time_stands_at_the_margin() -> None:
    shown = picture(graph_of("soft_edit_distance"), 10)
    assert shown.boxes["b[2]"].margin
    assert shown.boxes["a[2]"].column is not None
    assert [column.label for column in shown.columns] == [f"i = {i}" for i in range(5)]
    assert picture(graph_of("ntm"), 10).boxes["Mem0[2]"].margin


def test_an_encoder_stands_before_its_decoder() -> None:
    labels = [column.label for column in picture(graph_of("seq2seq_attention", 2), 10).columns]
    assert labels.index("s = 2") < labels.index("t = 1")


def test_parameters_stand_once_beside_the_rows_and_lead_to_all_their_uses() -> None:
    graph = graph_of("lstm")
    shown = picture(graph, 10)
    layout = arrange(shown)
    for param in graph.program.params:
        boxes = [box for box in shown.boxes.values() if box.name == param.name]
        assert len(boxes) == 1
        assert layout.spots[param.name].x < min(layout.columns)
        uses = [line for line in shown.lines if line.start == param.name]
        assert len(uses) == (1 if param.name in ("h0", "c0") else 4)
        assert {line.kind for line in uses} == {"shared"}


def test_within_a_step_lines_lead_upwards_and_the_adjoint_stands_above() -> None:
    graph = graph_of("lstm", backward=True)
    shown = picture(graph, 10)
    layout = arrange(shown)
    for line in shown.lines:
        start, end = shown.boxes[line.start], shown.boxes[line.end]
        if start.column is not None and start.column == end.column:
            assert layout.spots[line.start].y < layout.spots[line.end].y
    forward = [layout.spots[b.name].y for b in shown.boxes.values() if b.kind != "adjoint"]
    backward = [layout.spots[b.name].y for b in shown.boxes.values() if b.kind == "adjoint"]
    assert max(forward) < min(backward)


def test_adjoint_lines_run_back() -> None:
    graph = graph_of("lstm", backward=True)
    shown = picture(graph, 10)
    crossing = [
        (shown.boxes[line.start].column, shown.boxes[line.end].column)
        for line in shown.lines
        if line.kind == "adjoint"
    ]
    steps = [(a, b) for a, b in crossing if a is not None and b is not None and a != b]
    assert steps
    assert all(a > b for a, b in steps)


def test_a_long_sequence_says_how_many_steps_it_leaves_out(tmp_path: Path) -> None:
    graph = graph_of("lstm", 50)
    spots = centres(draw(graph, tmp_path / "g.svg"))
    labels = [t.text for t in ET.parse(tmp_path / "g.svg").getroot().iter(f"{SVG}text")]
    assert "… 41 steps …" in labels
    assert {"t = 0", "t = 4", "t = 46", "t = 50"} <= set(labels)
    assert "h[4]" in spots
    assert "h[5]" not in spots
    # Time 0 and 50 steps: ten are drawn, and one box a row stands for the rest.
    assert sum(title.startswith("h[") for title in spots) == 10
    assert sum(title.startswith("h/0 …") for title in spots) == 1
    assert len(picture(graph, 10).columns) == 11


def test_a_sequence_that_fits_is_drawn_whole() -> None:
    assert not any(c.elided for c in picture(graph_of("elman", 10), 10).columns)


def test_numbers_stand_in_the_labels_of_operations() -> None:
    shown = picture(graph_of("elman", 3, "op"), 10)
    assert not any(box.label == "3" for box in shown.boxes.values())
    assert shown.boxes["loss"].label == "loss  ÷ 3"


def test_tooltips_tell_type_and_equation() -> None:
    shown = picture(graph_of("lstm"), 10)
    tooltip = shown.boxes["c[2]"].tooltip
    assert tooltip == "c[2]: real[H]\nc[t] = f[t] * c[t-1] + i[t] * g[t]"
    assert shown.boxes["W_ii"].tooltip == "W_ii: real[H, D]"


def test_outputs_and_losses_are_marked() -> None:
    shown = picture(graph_of("lstm"), 10)
    assert shown.boxes["loss"].kind == "loss"
    assert shown.boxes["h[2]"].output
    assert not shown.boxes["i[2]"].output
    back = picture(graph_of("lstm", backward=True), 10)
    assert back.boxes["loss"].kind == "loss"
    assert back.boxes["W_ii_bar"].output
    assert back.boxes["W_ii_bar"].margin


def test_the_sweep_over_the_graph_can_be_drawn(tmp_path: Path) -> None:
    graph = graph_of("elman", 3, "op").adjoint()
    spots = centres(draw(graph, tmp_path / "g.svg"))
    assert {"h_bar[2]", "W_hh_bar", "loss_bar"} <= set(spots)


@pytest.mark.parametrize("kind", ["svg", "pdf", "png", "dot"])
def test_the_suffix_chooses_the_format(kind: str, tmp_path: Path) -> None:
    path = graph_of("elman").draw(tmp_path / f"g.{kind}")
    start = {"svg": b"<?xml", "pdf": b"%PDF", "png": b"\x89PNG", "dot": b"digraph"}[kind]
    assert path.read_bytes().startswith(start)


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"g.jpg: a drawing ends in svg, pdf, png, dot"):
        draw(graph_of("elman"), tmp_path / "g.jpg")


def test_without_graphviz_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    monkeypatch.setattr("shutil.which", lambda command: None)
    with pytest.raises(DrawingError, match=r"pip install \"pygraphviz>=2\""):
        render("digraph {}", "svg")


def test_a_drawing_is_the_same_every_time() -> None:
    assert source(graph_of("lstm")) == source(graph_of("lstm"))


@pytest.mark.parametrize("how", [Window(3), Horizon(3)])
def test_a_truncated_model_shows_its_cuts_forward_and_back(how: Window | Horizon) -> None:
    model = Model(example("elman")).truncate(how)
    forward = model.unfold(7)
    shown = {(line.start, line.end) for line in picture(forward, 10).lines if line.kind == "cut"}
    assert shown == forward.cuts.cut
    back = model.adjoint().unfold(7)
    lines = picture(back, 10).lines
    absent = {(line.start, line.end) for line in lines if line.kind == "absent"}
    assert len(absent) == len(back.cuts.cut) == len(shown)
    # Nothing else leads from the one adjoint to the other.
    assert absent.isdisjoint((line.start, line.end) for line in lines if line.kind == "adjoint")
    assert all("_bar" in start and "_bar" in end for start, end in absent)


def test_cuts_are_marked_and_the_legend_says_what_they_are(tmp_path: Path) -> None:
    graph = Model(example("elman")).truncate(Window(2)).unfold(5)
    graph.draw(tmp_path / "g.svg")
    texts = [t.text for t in ET.parse(tmp_path / "g.svg").getroot().iter(f"{SVG}text")]
    assert texts.count("//") == 3  # after steps 2 and 4, and in the legend
    assert "value, no derivative" in texts
    draw(graph_of("elman"), tmp_path / "whole.svg")
    whole = [t.text for t in ET.parse(tmp_path / "whole.svg").getroot().iter(f"{SVG}text")]
    assert "//" not in whole
    assert "value" in whole


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_legend_explains_every_kind_of_line_and_no_other(name: str) -> None:
    shown = picture(graph_of(name, 3, backward=name in NAMES), 10)
    kinds = {line.kind for line in shown.lines}
    entries = legend([shown], 0.0, 500.0, -50.0)
    assert {entry.kind for entry in entries} == (kinds if len(kinds) > 1 else set())
    assert all(entry.y <= -50.0 for entry in entries)
