"""What a stepper carries from step to step, as a value: kept, set again, written to a file.

A file holds an array for every carried variable, of shape (lags, …), the most recent value first,
and in its metadata, under ``stream``, of which model it is and how many steps were made.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .parameters import load_params, save_params

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class StreamState(Mapping[str, tuple[Array, ...]]):
    """The carried values by variable, the most recent first; read-only.

    Attributes:
        lags: of each variable its last values, an array for each lag.
        steps: how many steps were made since the start; of a batch, an array of shape (B,).
    """

    lags: Mapping[str, tuple[Array, ...]]
    steps: int | Array = 0

    def __getitem__(self, name: str) -> tuple[Array, ...]:
        return self.lags[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.lags)

    def __len__(self) -> int:
        return len(self.lags)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{n}: {len(v)} x {v[0].shape}" for n, v in self.items())
        return f"<StreamState after {self.steps} steps; {shapes}>"


def frozen(values: Mapping[str, tuple[Array, ...]], steps: int | Array) -> StreamState:
    """A state with read-only copies of the arrays."""

    def copied(array: Array) -> Array:
        result = array.copy()
        result.flags.writeable = False
        return result

    made = {n: tuple(copied(a) for a in lags) for n, lags in values.items()}
    return StreamState(made, copied(steps) if isinstance(steps, np.ndarray) else steps)


def save(path: str | os.PathLike[str], state: StreamState, model: Mapping[str, Any]) -> None:
    """Write a state to an `.npz` or a `.safetensors`, whole or not at all.

    Args:
        model: what the file says of the model, by name.

    Raises:
        InputError: another suffix.
        OSError: the file cannot be written.
    """
    arrays = {name: np.stack(lags) for name, lags in state.items()}
    save_params(path, arrays, stream={"steps": np.asarray(state.steps).tolist(), **model})


def load(path: str | os.PathLike[str], model: Mapping[str, Any]) -> StreamState:
    """The state in a file.

    Raises:
        InputError: it is no such file, or that of another model.
        OSError: it cannot be read.
    """
    where = os.fspath(path)
    arrays = load_params(path)
    head = arrays.metadata.get("stream")
    if not isinstance(head, dict) or "steps" not in head:
        raise InputError(f"{where} does not hold the state of a stepper")
    for key, value in model.items():
        if head.get(key) != value:
            raise InputError(
                f"{where} holds the state of another model: its {key} is {head.get(key)!r}, "
                f"not {value!r}"
            )
    steps = np.asarray(head["steps"], np.int64)
    return StreamState(
        {n: tuple(a) for n, a in arrays.items()}, steps if steps.ndim else int(steps)
    )


__all__ = ["StreamState", "frozen", "load", "save"]
