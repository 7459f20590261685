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

from .compiler import Derived
from .inputs import Call

#: Which call of a size prepares the shortcut for the ones after: one that is not the only one.
_SECOND = 2
#: How many sizes are counted before all are forgotten.
_COUNTED = 64


class Shortcut:
    """The native function for one kind of call.

    Attributes:
        call: ``call(params, inputs)``, or with a third dict of tangents, and perhaps one more of
            arrays to write to: what is asked for, or None if Python has to do the call.

    Args:
        derived: what is computed.
        request: what is returned, see `unfold.backends.llvm.quick.Request`.
        tangents: for what moves, by name, the variable that holds its direction.
        fixed: arrays that are the same in every call, by the kernel's names for them.
    """

    def __init__(
        self,
        derived: Derived,
        request: Mapping[str, Any],
        tangents: Mapping[str, str] | None = None,
        fixed: Mapping[str, Any] | None = None,
    ) -> None:
        self.call: Callable[..., Any] = _nothing
        self._derived, self._request = derived, request
        self._moving = {variable: name for name, variable in (tangents or {}).items()}
        self._fixed = fixed or {}
        self._stated: tuple[str, ...] = ()
        self._quick: Any = None
        self._calls: dict[tuple[Any, ...], int] = {}
        self._lock = threading.Lock()

    def learn(self, params: Mapping[str, Any], inputs: Mapping[str, Any], call: Call) -> None:
        """Consider a call that Python has checked and done; ``inputs`` as its caller gave them."""
        sig = self._derived.signature
        stated = tuple(n for n in sig.lengths if n in inputs and n not in sig.specs)
        needed = {n for n in sig.inputs if n not in self._moving}.union(stated)
        if call.ragged is not None or inputs.keys() != needed or not sig.specs:
            return
        kernel: Any = self._derived.kernel
        if hasattr(kernel, "chosen"):
            kernel = kernel.chosen(call.lengths, call.batch, False)
        if not hasattr(kernel, "quick"):
            return
        shapes = tuple(call.arrays[n].shape for n in sig.specs)
        size = (*shapes, *(call.lengths[n] for n in stated), stated)
        with self._lock:
            if len(self._calls) > _COUNTED:
                self._calls.clear()
            count = self._calls[size] = self._calls.get(size, 0) + 1
            if count != _SECOND:
                return
            if self._quick is None:
                self._quick, self._stated = self._made(kernel, stated), stated
            if self._quick is not None and self._stated == stated:
                slot = self._quick.learn(call.arrays, call.lengths, call.batch)
                for name, array in self._fixed.items() if slot is not None else ():
                    slot.fields[slot.objects + slot.entry.given.index(name)] = id(array)
                self.call = self._quick.call

    def _made(self, kernel: Any, stated: tuple[str, ...]) -> Any:
        sig = self._derived.signature
        arguments = [
            (self._moving.get(s.name, s.name), "tangent" if s.name in self._moving else s.role,
             s.kind, s.bound, sig.check_finite and s.kind == "real", s.name)
            for s in sig.specs.values()
        ]  # fmt: skip
        arguments += [(n, "input", "length", None, False, n) for n in stated]
        return kernel.quick(arguments, **self._request)


def _nothing(*_: Any) -> Any:
    """What is done as long as nothing is known."""


__all__ = ["Shortcut"]
