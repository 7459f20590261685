"""The shortest way through a call that is like one before.

Checking the arguments of a call in Python takes longer than many a system takes to run. A backend
may have a native function (`Kernel.quick`) that recognises arguments of the kinds and shapes of
calls that were checked before, and does the whole call; whatever it does not recognise is done here
in Python, with the same results to the bit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

from .compiler import Derived
from .inputs import Call

Array = NDArray[Any]

#: Which call of a size prepares the shortcut for the ones after: one that is not the only one.
_SECOND = 2
#: How many sizes are counted before all are forgotten.
_COUNTED = 64


class Shortcut:
    """The native function for one kind of call.

    Attributes:
        call: ``call(params, inputs)``: what is asked for, or None if Python has to do the call.

    Args:
        derived: what is computed.
        shown, losses, reduce: see `unfold.backends.llvm.quick.Request`.
        training: the request's ``update`` and ``into``, where a step of training is asked for.
    """

    def __init__(
        self,
        derived: Derived,
        shown: Mapping[str, str],
        losses: tuple[str, ...] = (),
        reduce: str = "sum",
        training: tuple[Any, Mapping[str, Array]] | None = None,
    ) -> None:
        self.call: Callable[[Any, Any], Any] = _nothing
        self._derived = derived
        self._request = shown, losses, reduce, *(training or (None, None))
        self._quick: Any = None
        self._calls: dict[tuple[tuple[int, ...], ...], int] = {}
        self._lock = threading.Lock()

    def learn(self, params: Mapping[str, Any], inputs: Mapping[str, Any], call: Call) -> None:
        """Consider a call that Python has checked and done."""
        sig = self._derived.signature
        if call.ragged is not None or inputs.keys() != set(sig.inputs) or not sig.specs:
            return
        if not hasattr(self._derived.kernel, "quick"):
            return
        shapes = tuple(call.arrays[n].shape for n in sig.specs)
        with self._lock:
            if len(self._calls) > _COUNTED:
                self._calls.clear()
            count = self._calls[shapes] = self._calls.get(shapes, 0) + 1
            if count != _SECOND:
                return
            if self._quick is None:
                self._quick = self._made()
            if self._quick is not None:
                self._quick.learn(call.arrays, call.lengths, call.batch)
                self.call = self._quick.call

    def _made(self) -> Any:
        sig = self._derived.signature
        arguments = [
            (s.name, s.role, s.kind, s.bound, sig.check_finite and s.kind == "real")
            for s in sig.specs.values()
        ]
        kernel: Any = self._derived.kernel
        return kernel.quick(arguments, *self._request)


def _nothing(params: Any, inputs: Any) -> Any:
    """What is done as long as nothing is known."""


__all__ = ["Shortcut"]
