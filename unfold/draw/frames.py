"""Which rows lie in the frame of a sub-model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .picture import Picture, Row


@dataclass(frozen=True)
class Frame:
    """A sub-model's rows ``first..last`` in the order of rows; ``depth`` counts frames around."""

    model: str
    back: bool
    first: int
    last: int
    depth: int


def frames(picture: Picture, order: Sequence[Row]) -> tuple[Frame, ...]:
    """The frames of all sub-models, outer ones first.

    One that other rows divide has several: a frame holds nothing that is not its own.
    """
    back = {box.row for box in picture.boxes.values() if box.back}
    path = [picture.models_of(row[0]) for row in order]
    found = []
    for model in picture.models:
        inside = [k for k, models in enumerate(path) if model in models]
        runs: list[list[int]] = []
        for k in inside:
            joined = runs and runs[-1][-1] == k - 1 and (order[k] in back) == (order[k - 1] in back)
            if joined:
                runs[-1].append(k)
            else:
                runs.append([k])
        for run in runs:
            depth = path[run[0]].index(model)
            found.append(Frame(model, order[run[0]] in back, run[0], run[-1], depth))
    return tuple(sorted(found, key=lambda f: (f.depth, f.first)))


__all__ = ["Frame", "frames"]
