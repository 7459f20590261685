"""Sub-models fold, parameters are lit, checkpoints are marked, and what is left out is counted."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.graph.programs import adjoint_of, example
from unfold import InputError, Model, loads
from unfold.draw import Options, Picture, arrange, picture, rolled
from unfold.draw.make import shown
from unfold.draw.picture import AGAIN, KEPT, LIT, USE
from unfold.draw.views import Rolled
from unfold.graph import Graph
from unfold.graph import unfold as unfolded
from unfold.program import Program
from unfold.segments import cut, schedule
from unfold.segments.kernel import Series
from unfold.segments.parts import Sweep
from unfold.segments.run import Run
from unfold.transform import adjoint

SVG = "{http://www.w3.org/2000/svg}"

STACK = """
from cells use elman
model m(D):
    input x[t]: real[D]
    layer[0] = x
    layer[l] = elman(layer[l-1], D) for l in 1..12
    loss = mean[t](sum(layer.12.h[t] ** 2))
    minimize loss
"""


def graph_of(program: Program, T: int = 3) -> Graph:
    lengths = {n: max(T, program.minimum.get(n, 1)) for n in program.lengths}
    return unfolded(program, lengths, "equation")


# --- sub-models -------------------------------------------------------------------------------


@pytest.mark.parametrize("program", [example("stacked_bigru"), adjoint_of("stacked_bigru")])
@pytest.mark.parametrize("small", [False, True])
def test_a_frame_holds_its_sub_model_and_nothing_else(program: Program, small: bool) -> None:
    layout = arrange(rolled(program) if small else picture(graph_of(program)))
    found = Counter(frame.model for frame, _ in layout.frames if not frame.back)
    layers = [f"layer.{k}" for k in (1, 2, 3)]
    inner = [f"{m}.{way}" for m in layers for way in ("forward", "backward")]
    assert found == dict.fromkeys([*layers, *inner], 1)
    for frame, around in layout.frames:
        for box in layout.picture.boxes.values():
            spot = layout.spots[box.name]
            inside = (
                abs(spot.x - around.x) + spot.width / 2 < around.width / 2
                and abs(spot.y - around.y) + spot.height / 2 < around.height / 2
            )
            if not box.margin:
                own = box.row[0].startswith(f"{frame.model}.") and box.back == frame.back
                assert inside == own, (frame.model, box.name)
    for (a, p), (b, q) in zip(layout.frames, layout.frames[1:], strict=False):
        if a.depth == b.depth:
            assert p.y + p.height / 2 < q.y - q.height / 2


def test_a_folded_sub_model_is_one_box_a_step_with_its_inputs_and_outputs() -> None:
    graph = graph_of(example("charlm"))
    whole, small = picture(graph), shown(graph, Options(fold="net"))
    assert {n for n in small.boxes if n.startswith("net")} == {
        "net[0]", "net[1]", "net[2]", "net[3]", "net.*"
    }  # fmt: skip
    assert [b.kind for n, b in small.boxes.items() if n == "net[2]"] == ["model"]
    lines = {(line.start, line.end) for line in small.lines}
    assert {("e[2]", "net[2]"), ("net[1]", "net[2]"), ("net[2]", "y[2]")} <= lines
    assert ("net.*", "net[2]") in lines

    # Every line that comes in or goes out is still there, and no line is new.
    def folded(name: str, shown: Picture) -> str:
        if not name.startswith("net."):
            return name
        column = shown.boxes[name].column
        return "net.*" if column is None else f"net[{shown.columns[column].position}]"

    wanted = {(folded(ln.start, whole), folded(ln.end, whole)) for ln in whole.lines}
    assert lines == {(a, b) for a, b in wanted if a != b}
    assert not small.models


def test_all_views_fold_alike() -> None:
    graph = graph_of(example("charlm"))
    views = [
        shown(Rolled(example("charlm")), Options(fold="all")),
        shown(graph, Options(fold="all")),
        shown(graph_of(adjoint_of("charlm")), Options(fold="all")),
    ]
    assert all("net.*" in v.boxes for v in views)
    assert "net[t]" in views[0].boxes
    assert [(ln.label, ln.turn) for ln in views[0].lines if ln.start == ln.end == "net[t]"] == [
        ("t-1", 1)
    ]
    assert {b.of for b in views[1].boxes.values() if b.row[0] == "net"} == {"net[t]", "net[0]"}
    assert {"net_bar[2]", "net_bar.*"} <= set(views[2].boxes)


def test_the_middle_of_a_long_stack_folds_and_says_which_layers_it_holds() -> None:
    model = loads(STACK)
    made = shown(model.unfold(2), Options())
    frames = {f.model for f, _ in arrange(made).frames}
    assert frames == {f"layer.{k}" for k in (1, 2, 3, 10, 11, 12)}
    assert "layer.4…9[2]" in made.boxes
    lines = {(line.start, line.end) for line in made.lines}
    assert ("layer.3.h[2]", "layer.4…9[2]") in lines
    assert ("layer.4…9[2]", "layer.10.h[2]") in lines
    assert "layer[1]" in shown(model.unfold(2), Options(fold="layer")).boxes


def test_what_is_no_sub_model_cannot_be_folded() -> None:
    with pytest.raises(ValueError, match=r"charlm has no sub-model nte to fold: net"):
        shown(graph_of(example("charlm")), Options(fold="nte"))
    with pytest.raises(ValueError, match=r"elman has no sub-model enc to fold: it has none"):
        shown(graph_of(example("elman")), Options(fold="enc"))


# --- highlights -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["elman", "lstm", "stacked_bigru", "causal_attention"])
def test_every_use_of_a_highlighted_parameter_is_lit_and_nothing_else(name: str) -> None:
    program = adjoint_of(name)
    graph = graph_of(program)
    for v in program.params[:8:3]:
        made = shown(graph, Options(highlight=v.name))
        lit = {(line.start, line.end) for line in made.lines if line.lit}
        bar = next(w.name for w in program.vars.values() if w.adjoint_of == v.name)
        every = {
            (graph.table[o].name, node.name)
            for node in graph.table
            for o in node.operands
            if graph.table[o].var == v.name or node.var == bar
        }
        assert lit == {(a, b) for a, b in every if a in made.boxes and b in made.boxes}
        assert made.boxes[v.name].lit == LIT
        assert {b.name for b in made.boxes.values() if b.lit == LIT} == {v.name, bar}
        uses = {b.name for b in made.boxes.values() if b.lit == USE}
        assert uses == {end for start, end in lit if start == v.name and end != bar}


def test_lit_lines_are_told_apart_in_the_file(tmp_path: Path) -> None:
    Model(example("elman")).draw(tmp_path / "g.svg", 3, highlight=["W_hh"])
    groups = [g.get("class", "").split() for g in ET.parse(tmp_path / "g.svg").iter(f"{SVG}g")]
    assert sum("edge" in c and "lit" in c for c in groups) == 3
    assert sum("node" in c and "lit" in c for c in groups) == 1
    assert sum("node" in c and "use" in c for c in groups) == 3


def test_what_is_not_there_cannot_be_highlighted() -> None:
    graph = graph_of(example("elman"))
    near = r"elman has no W_hx to highlight; did you mean `W_xh`\? There is W_xh, W_hh, W_hy, "
    with pytest.raises(ValueError, match=near):
        shown(graph, Options(highlight="W_hx"))
    with pytest.raises(ValueError, match=r"has no nosuch to highlight: there is (\w+, ){10}\w+$"):
        shown(graph, Options(highlight="nosuch"))


# --- checkpoints ------------------------------------------------------------------------------


def test_what_is_kept_and_what_is_computed_again_is_marked_forward_and_backward() -> None:
    for program in (example("elman"), adjoint_of("elman")):
        made = shown(graph_of(program, 8), Options(checkpoint=3))
        marks = {b.name: b.mark for b in made.boxes.values() if b.mark}
        # Segments 0..2, 3..5, 6..8; the last one is computed on the way back only.
        assert {n for n, m in marks.items() if m == KEPT} == {"h[2]", "h[5]"}
        assert {n for n, m in marks.items() if m == AGAIN} == {"h[0]", "h[1]", "h[3]", "h[4]"}
        assert [made.columns[k].label for k in made.borders] == ["t = 2", "t = 5"]
        assert "2 values kept at borders, 4 computed once more" in made.title


@pytest.mark.parametrize("name", ["elman", "lstm", "birnn"])
@pytest.mark.parametrize("steps", [1, 2, 3, 5, 20])
def test_the_marks_are_what_a_checkpointed_gradient_does(
    name: str, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sweeps are watched as they run: which steps each one computes, and what it leaves."""
    import numpy as np

    import unfold

    seen: Counter[tuple[str, int]] = Counter()
    original = Run.swept_over

    def swept_over(self: Run, sweep: Sweep, run: Series, moving: set[str]) -> Any:
        made = self.made

        def watched(given: Any, lengths: dict[str, int], *how: Any) -> Any:
            first, count = lengths[made.start], lengths[made.count]
            for v in sweep.program.role("variable"):
                if v.name in made.program.vars:
                    seen.update((v.name, t) for t in range(first, first + count))
            return run(given, lengths, *how)

        return original(self, sweep, watched, moving)  # type: ignore[arg-type]

    monkeypatch.setattr(Run, "swept_over", swept_over)
    model = Model(example(name))
    sizes = dict.fromkeys(model.sizes, 2)
    fn = unfold.compile(model, backend="numpy", checkpoint=steps, sizes=sizes)
    T = 7
    data = {
        v.name: np.zeros([T, *(n.evaluate(sizes) for n in v.shape)]).astype(
            int if v.type.kind == "int" else float
        )
        for v in model.program.inputs
    }
    fn.value_and_grad(fn.init(seed=0), data)
    made = cut(adjoint(model.program.with_(outputs=())))
    plan = schedule(made, steps, {"T": T})
    # The compiled program is simplified; of what both have, both do the same.
    for at, times in plan.computed.items():
        if any(name == at[0] for name, _ in seen) and at[0] in model.program.vars:
            assert seen[at] == times, at
    assert {n for n, _ in plan.again} & set(model.program.vars) <= {n for n, _ in seen}


def test_without_segments_there_is_nothing_to_mark() -> None:
    with pytest.raises(InputError, match="cannot be computed segment by segment"):
        shown(graph_of(example("causal_attention")), Options(checkpoint=2))
    with pytest.raises(ValueError, match="number of steps of a segment, not 'auto'"):
        shown(graph_of(example("elman")), Options(checkpoint="auto"))  # type: ignore[arg-type]


# --- what is left out -------------------------------------------------------------------------


def test_the_rows_of_a_large_table_are_left_out_and_counted() -> None:
    graph = graph_of(example("causal_attention"), 30)
    made = shown(graph, Options(columns=6, rows=6))
    rows = {b.row for b in made.boxes.values() if b.row[0] == "a"}
    assert len(rows) == 7
    assert made.boxes["a[…]t=30"].label == "⋯ 24 more"
    assert len(made.boxes) < 150
    # What reads what is left out reads the box that stands for it.
    assert ("a[…]t=30", "z[30]") in {(line.start, line.end) for line in made.lines}


@pytest.mark.parametrize(("name", "T"), [("cyk", 12), ("ctc", 12), ("deep_stack", 20)])
def test_tall_pictures_stay_small(name: str, T: int) -> None:
    made = shown(graph_of(example(name), T), Options())
    assert len({b.row for b in made.boxes.values() if not b.margin}) < 90
    assert len(made.boxes) < 900
    assert any(b.elided for b in made.boxes.values())
