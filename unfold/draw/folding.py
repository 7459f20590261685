"""Sub-models: which there are, and pictures in which some are folded into one box a step.

before:  enc.z[3], enc.r[3], enc.n[3], enc.h[3], enc.Wz, enc.Wr, …
after:   enc[3] and ``enc.*``, its parameters
requires: the names of sub-models, ``layer.1``, or of stacks of them, ``layer``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from ..program import Program
from .picture import Box, Line, Picture

#: The most layers of a stack that are drawn, unless they are folded by name.
LAYERS = 6


def models_of(program: Program) -> tuple[str, ...]:
    """The sub-models of a program by their names, outer ones before those in them.

    ``layer.1`` is one, ``layer`` is not: it is a stack of them. A flow's stages are one with the
    flow's name.
    """
    found: dict[str, None] = {}
    for name in program.vars:
        parts = name.split(".")
        for k in range(1, len(parts)):
            if not parts[k].isdecimal():
                found[".".join(parts[:k])] = None
    inside = {m for m in found for name in program.vars if name.startswith(f"{m}.")}
    return tuple(m for m in sorted(found, key=lambda m: m.count(".")) if m in inside)


def chosen(program: Program, fold: str | Sequence[str] | None) -> tuple[str, ...]:
    """What is to be folded: ``"all"`` for the outermost sub-models, one name, or several.

    Raises ``ValueError`` for a name that is neither a sub-model nor a stack of them.
    """
    models = models_of(program)
    if fold is None:
        return ()
    if fold == "all":
        return tuple(m for m in models if not any(m.startswith(f"{o}.") for o in models))
    names = [fold] if isinstance(fold, str) else list(fold)
    stacks = {m.rpartition(".")[0] for m in models if m.rpartition(".")[2].isdecimal()}
    for name in names:
        if name not in models and name not in stacks:
            there = ", ".join([*models, *sorted(stacks)]) or "it has none"
            raise ValueError(f"{program.name} has no sub-model {name} to fold: {there}")
    return tuple(dict.fromkeys(names))


def long_stacks(picture: Picture) -> dict[str, str]:
    """The layers in the middle of long stacks: the name of each, and what they become together."""
    layers: dict[str, list[int]] = {}
    for model in picture.models:
        stack, _, number = model.rpartition(".")
        if number.isdecimal():
            layers.setdefault(stack, []).append(int(number))
    found: dict[str, str] = {}
    for stack, numbers in layers.items():
        numbers.sort()
        if len(numbers) > LAYERS + 1:
            middle = numbers[LAYERS - LAYERS // 2 : len(numbers) - LAYERS // 2]
            found |= {f"{stack}.{n}": f"{stack}.{middle[0]}…{middle[-1]}" for n in middle}
    return found


def folded(picture: Picture, models: Collection[str]) -> Picture:
    """The picture with some sub-models folded; the middle of long stacks is folded as well."""
    groups = {m: m for m in models}
    if not any(f"{m}.".startswith(f"{g}.") for g in groups for m in long_stacks(picture)):
        groups |= long_stacks(picture)
    if not groups:
        return picture
    variables = {b.row[0] for b in picture.boxes.values()}
    boxes: dict[str, Box] = {}
    place: dict[str, str] = {}
    for box in picture.boxes.values():
        group = _group_of(box.row[0], groups)
        if group is not None:
            # A flow's stages have the flow's own name.
            box = _as_one(picture, box, f"{group}.*" if group in variables else group)
        place[box.name] = box.name
        before = boxes.get(box.name)
        if before is not None:
            box = replace(
                before, output=before.output or box.output, lit=before.lit or box.lit,
                mark=before.mark or box.mark, elided=before.elided and box.elided,
            )  # fmt: skip
        boxes[box.name] = box
    names = {name: _name(picture, box, groups, variables) for name, box in picture.boxes.items()}
    lines: dict[tuple[str, str, str, int], Line] = {}
    for line in picture.lines:
        start, end = names[line.start], names[line.end]
        # What stays inside of a step is not shown; what comes back to it from another step is.
        if start == end and not (picture.view == "rolled" and line.turn and line.label):
            continue
        key = (start, end, line.kind, line.turn)
        old = lines.get(key)
        if old is not None:
            labels = dict.fromkeys(filter(None, f"{old.label}, {line.label}".split(", ")))
            line = replace(
                line, label=", ".join(labels), now=line.now or old.now, lit=line.lit or old.lit
            )
        lines[key] = replace(line, start=start, end=end)
    left = tuple(m for m in picture.models if _group_of(f"{m}.", groups) is None)
    inner = None if picture.rolled is None else folded(picture.rolled, models)
    return replace(picture, boxes=boxes, lines=tuple(lines.values()), models=left, rolled=inner)


def _group_of(variable: str, groups: dict[str, str]) -> str | None:
    inside = [m for m in groups if variable.startswith(f"{m}.")]
    return groups[min(inside, key=len)] if inside else None


def _name(picture: Picture, box: Box, groups: dict[str, str], variables: Collection[str]) -> str:
    group = _group_of(box.row[0], groups)
    if group is None:
        return box.name
    return _as_one(picture, box, f"{group}.*" if group in variables else group).name


def _as_one(picture: Picture, box: Box, group: str) -> Box:
    """The box of a whole sub-model, in the place of one of its boxes."""
    stem = f"{group}_bar" if box.back else group
    if box.margin:
        what = "gradients" if box.back else "parameters"
        kind = box.kind if box.back else "param"
        name = f"{stem}.*"
        return replace(
            box, name=name, label=name, row=(name, (), 0), tooltip=f"the {what} of {group}",
            of=name, kind=kind, elided=False,
        )  # fmt: skip
    kind = "adjoint" if box.back else "model"
    row = (stem, (), 0)
    if box.column is None:
        return replace(box, name=stem, label=stem, row=row, kind=kind, of=stem, tooltip=stem)
    heading = picture.columns[box.column]
    several = len({picture.columns[b.column].index for b in picture.boxes.values()
                   if b.column is not None and b.row[0].startswith(f"{group}.")}) > 1  # fmt: skip
    at = f"{heading.index}={heading.position}" if several else heading.position
    name = f"{stem}[{at}]"
    return replace(
        box, name=name, label="⋯" if heading.elided else name, row=row, kind=kind,
        tooltip=f"{group} at {heading.label}", of=_original(picture, stem, box, several),
        elided=heading.elided,
    )  # fmt: skip


def _original(picture: Picture, stem: str, box: Box, several: bool) -> str:
    """The name of a folded box in the rolled picture: that of the step which it holds."""
    if picture.rolled is None or box.of not in picture.rolled.boxes:
        assert box.column is not None
        heading = picture.columns[box.column]
        return (
            f"{stem}[{heading.index}={heading.position}]"
            if several
            else (f"{stem}[{heading.position}]")
        )
    column = picture.rolled.boxes[box.of].column
    if column is None:
        return stem
    heading = picture.rolled.columns[column]
    return (
        f"{stem}[{heading.index}={heading.position}]"
        if several
        else (f"{stem}[{heading.position}]")
    )


__all__ = ["LAYERS", "chosen", "folded", "long_stacks", "models_of"]
