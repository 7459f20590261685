"""A picture in which one sees checkpoints: what is kept at the borders of segments, and what is
computed once more on the way back. It is the plan that `unfold.compile(checkpoint=…)` carries out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..program import Program
from ..segments import Schedule, cut, schedule
from ..segments.totals import TIME
from ..transform import adjoint
from .equations import index_of
from .picture import AGAIN, KEPT, Box, Picture


def checkpointed(
    picture: Picture, program: Program, steps: int, lengths: Mapping[str, int]
) -> Picture:
    """Mark the boxes, and the borders between segments of ``steps`` steps.

    In a rolled picture, where one box stands for all steps, only what is kept is marked.

    Raises:
        ValueError: fewer than one step.
        InputError: a program that cannot be computed segment by segment.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise ValueError(f"checkpoint= is the number of steps of a segment, not {steps!r}")
    plan = schedule(cut(_gradient(program)), steps, lengths)
    index = index_of(program, TIME)
    if picture.view == "rolled":
        names = {name for name, _ in plan.kept}
        boxes = {
            n: replace(b, mark=KEPT) if b.row[0] in names else b for n, b in picture.boxes.items()
        }
        return replace(picture, boxes=boxes)
    boxes = {n: replace(b, mark=_mark(picture, plan, index, b)) for n, b in picture.boxes.items()}
    ends = {part.last for part in plan.segments[:-1]}
    borders = {
        k: "segments" for k, h in enumerate(picture.columns)
        if h.index == index and not h.elided and int(h.position) in ends
    }  # fmt: skip
    states = sum(b.mark == KEPT for b in boxes.values())
    again = sum(b.mark == AGAIN for b in boxes.values())
    length = plan.segments[0].count
    title = (
        f"{picture.title}; in segments of {length} steps: {states} values kept at borders, "
        f"{again} computed once more"
    )
    return replace(picture, title=title, boxes=boxes, borders=borders)


def _gradient(program: Program) -> Program:
    """What is compiled for a gradient: without results other than losses and adjoints."""
    if not any(v.adjoint_of for v in program.vars.values()):
        return adjoint(program.with_(outputs=()))
    wanted = {v.name for v in program.vars.values() if v.adjoint_of} | set(program.losses)
    return program.with_(outputs=tuple(o for o in program.outputs if o.name in wanted))


def _mark(picture: Picture, plan: Schedule, index: str, box: Box) -> str:
    if box.column is None or box.elided or box.kind == "input":
        return ""
    heading = picture.columns[box.column]
    if heading.index != index or heading.elided:
        return ""
    at = (box.row[0], int(heading.position))
    if at in plan.kept:
        return KEPT
    return AGAIN if at in plan.again else ""


__all__ = ["checkpointed"]
