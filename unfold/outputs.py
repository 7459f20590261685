"""What a call returns: arrays by name, as a dict or as attributes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .inputs import nearest

Array = NDArray[Any]


class Outputs(Mapping[str, Any]):
    """Outputs by name: ``out.loss``, ``out["h"]``; names with dots as items, ``out["enc.h"]``.

    A state over ``t`` in ``1..T`` with ``H`` components has the shape ``(T, H)``, with a batch
    ``(B, T, H)``. Scalars are NumPy scalars.
    """

    def __init__(self, values: Mapping[str, Array]) -> None:
        self._values = {k: v[()] if np.ndim(v) == 0 else v for k, v in values.items()}

    @classmethod
    def of(cls, values: dict[str, Any]) -> Outputs:
        """Outputs that are ready, their scalars being NumPy scalars."""
        made = cls.__new__(cls)
        made._values = values
        return made

    def __getitem__(self, name: str) -> Any:
        try:
            return self._values[name]
        except KeyError:
            raise KeyError(self._unknown(name)) from None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(self._unknown(name)) from None

    def _unknown(self, name: str) -> str:
        return f"there is no output {name}{nearest(name, self) or '; there are ' + ', '.join(self)}"

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *(n for n in self._values if n.isidentifier())]

    def __reduce__(self) -> tuple[Any, ...]:
        return Outputs, (self._values,)

    def __repr__(self) -> str:
        items = []
        for name, value in self._values.items():
            shape = np.shape(value)
            items.append(f"{name}: {'x'.join(map(str, shape))} {np.asarray(value).dtype}"
                         if shape else f"{name}: {value:.6g}")  # fmt: skip
        return f"<Outputs {', '.join(items)}>"
