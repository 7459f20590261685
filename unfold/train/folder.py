"""The folder of a training run: what it needs to go on after anything, and what is worth reading.

    state.safetensors      all that the rest of the run depends on: parameters, the optimiser's
                           state, carried states, the best parameters, position, history, options
    params.safetensors     the best parameters so far, the last ones where nothing is validated
    metrics.jsonl          a line of JSON for each epoch (and for each update, if asked for)
    lock                   who trains into the folder, while somebody does: one process at a time

Every file is replaced as a whole, and `metrics.jsonl` is cut back to where the state was saved, so
that a run killed at any moment goes on as if nothing had been.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..inputs import listed
from ..parameters import load_params, save_params
from .lock import Lock

Array = NDArray[Any]
STATE, PARAMS, METRICS = "state.safetensors", "params.safetensors", "metrics.jsonl"
VERSION = 1
#: Options that a run may go on with other values of.
FREE = ("epochs", "patience")


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        epoch: how many epochs are complete; ``position``: how many updates of the next one.
        weight, loss, norm: sums over these updates; ``seconds`` they took.
        history: a dict for each complete epoch.
        best: the epoch with the best validation, from 1, and ``best_loss``; ``since``: how many
            epochs ago it was.
        interrupted: whether the run was stopped on the way.
    """

    epoch: int = 0
    position: int = 0
    weight: float = 0.0
    loss: float = 0.0
    norm: float = 0.0
    seconds: float = 0.0
    sequences: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    best: int = 0
    best_loss: float | None = None
    since: int = 0


@dataclass(frozen=True)
class Saved:
    """What `Folder.load` found."""

    progress: Progress
    trainer: dict[str, Any]
    best: dict[str, Array]
    carry: dict[str, Array]


class Folder:
    """The files of one run.

    Attributes:
        left_by: the process that trained into it before and was killed, in words.

    Raises:
        InputError: it is a file, or another process trains into it.
    """

    def __init__(self, path: str | os.PathLike[str], options: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.options = json.loads(json.dumps(dict(options)))
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path} is a file; a training run needs a folder")
        self.path.mkdir(parents=True, exist_ok=True)
        self._metrics: Any = None
        self._lock = Lock(self.path)
        self.left_by = self._lock.left_by

    def load(self) -> Saved | None:
        """What was saved last, or ``None``. Raises `InputError` if it is of another run."""
        for leftover in self.path.glob(".*.part"):
            with contextlib.suppress(FileNotFoundError):
                leftover.unlink()
        path = self.path / STATE
        if not path.exists():
            return None
        arrays = load_params(path)
        head = arrays.metadata.get("training")
        if not isinstance(head, dict) or head.get("version") != VERSION:
            raise InputError(f"{path} is not the state of a training run of this version")
        self._compare(head["options"])
        parts: dict[str, dict[str, Array]] = {"trainer": {}, "best": {}, "carry": {}}
        for name, array in arrays.items():
            kind, _, rest = name.partition(".")
            parts[kind][rest] = array
        self._open(int(head["metrics"]))
        return Saved(Progress(**head["progress"]), **parts)

    def begin(self) -> None:
        """Forget what was there."""
        for name in (STATE, PARAMS, METRICS):
            with contextlib.suppress(FileNotFoundError):
                (self.path / name).unlink()
        self._open(0)

    def _open(self, size: int) -> None:
        path = self.path / METRICS
        self._metrics = open(path, "ab", buffering=0)  # noqa: SIM115 - closed by `close`
        if path.stat().st_size > size:
            self._metrics.truncate(size)
        self._metrics.seek(0, os.SEEK_END)

    def close(self) -> None:
        """Close the file of metrics, and let others in."""
        if self._metrics is not None:
            self._metrics.close()
        self._lock.release()

    def write(self, line: Mapping[str, Any]) -> None:
        """One line of metrics, which is in the file when this returns."""
        self._metrics.write(json.dumps(line).encode() + b"\n")

    def save(
        self,
        progress: Progress,
        trainer: Mapping[str, Any],
        best: Mapping[str, Array],
        carry: Mapping[str, Array],
    ) -> None:
        """Replace the state."""
        arrays = {f"trainer.{n}": np.asarray(a) for n, a in trainer.items()}
        arrays |= {f"best.{n}": a for n, a in best.items()}
        arrays |= {f"carry.{n}": a for n, a in carry.items()}
        head = {
            "version": VERSION,
            "options": self.options,
            "progress": vars(progress),
            "metrics": self._metrics.tell(),
        }
        save_params(self.path / STATE, arrays, training=head)

    def save_params(self, params: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        """Replace the parameters."""
        save_params(self.path / PARAMS, params, **metadata)

    def _compare(self, before: Mapping[str, Any]) -> None:
        now = self.options
        wrong = []
        for name in dict.fromkeys((*now, *before)):
            old, new = before.get(name), now.get(name)
            if old == new or name in FREE:
                continue
            if name == "text":
                wrong.append("the model's equations are others" + _first_difference(old, new))
            elif isinstance(old, dict) and isinstance(new, dict):
                for key in dict.fromkeys((*old, *new)):
                    if old.get(key) != new.get(key):
                        what = "holds other values" if name in _DIGESTS else (
                            f"was {old.get(key)!r}, and is {new.get(key)!r} now")  # fmt: skip
                        wrong.append(f"{_DIGESTS.get(name, name + ':')} {key} {what}")
            else:
                wrong.append(f"{name} was {old!r}, and is {new!r} now")
        if wrong:
            lines = "".join(f"\n    {line}" for line in wrong)
            raise InputError(
                f"{self.path} is the folder of another training run:{lines}\n"
                f"take another folder, the options of that run ({listed(FREE)} may differ), or "
                "begin anew (resume=False, --restart)"
            )


_DIGESTS = {"data": "data:", "validation_data": "validation:", "start": "params:"}


def _first_difference(old: Any, new: Any) -> str:
    a, b = str(old).splitlines(), str(new).splitlines()
    for one, other in zip(a, b, strict=False):
        if one != other:
            return f": `{one.strip()}` is `{other.strip()}` now"
    return f": {len(a)} lines were {len(b)}" if len(a) != len(b) else ""


__all__ = ["Folder", "Progress", "Saved"]
