"""Quick calls: checked, computed and returned by native code alone.

A small recurrence runs in less time than Python needs to look at its arguments. So a size that has
come before gets a *form*: a record with a workspace, and the shapes that its arguments have. A
native function then compares the arguments with the forms there are, and does everything itself. It
answers None, having done nothing, whenever something is not as it was: other types, shapes or
layouts, values out of range, a solver that failed, a form that another thread is using. Then Python
does the whole call, with all its messages. Small results are written to the arrays of the call
before, if its caller has dropped them.

The native function is one for all models and works through tables, whose words `quick_code` names.
"""

from __future__ import annotations

import ctypes
import struct
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import failures, loading, quick_code
from .block import Record
from .capi import Interface, interface
from .quick_code import DESK, ENTRY, FORM, RESULT
from .slots import Slot

if TYPE_CHECKING:
    from .kernel import Kernel
    from .update import Update

Array = NDArray[Any]

#: Calls longer than this, in microseconds, let other threads of Python run meanwhile.
_LONG = 20.0
#: Results of so many bytes are kept for the next call: making one takes longer than filling it.
_SMALL = 4096
#: How many sizes of calls are quick, and how many bytes their workspaces may have together.
_FORMS, _BYTES = 16, 2**26


@dataclass(frozen=True)
class Argument:
    """One argument.

    Attributes:
        name: in the dict that has it, the one of its ``role``, of `quick_code.GROUPS`.
        dtype: of its numbers; ``None`` for a length, which is an integer of Python's.
        bound, finite: what its values must be: integers below a bound, or finite.
        variable: what the kernel calls it.
    """

    name: str
    role: str
    dtype: np.dtype[Any] | None
    bound: int | None
    finite: bool
    variable: str


@dataclass(frozen=True)
class Request:
    """What calls are to return.

    Attributes:
        arguments: all that a call is given. What else the kernel takes is entered in the record of
            each form beforehand.
        shown: the names of the dict that is returned, and the results of the kernel they show.
        moved: the same for a second dict, which is returned beside it.
        scalars: whether numbers without axes are returned as scalars, not as arrays.
        losses: results whose sum is returned beside the dict; may be none.
        reduce: what is done with a batch of losses: ``"mean"``, ``"sum"`` or ``"none"``; the shown
            ones are multiplied by the same share.
        update: the step of an optimiser that follows. Then only the loss is returned, and what
            would be shown is written to the arrays ``into``, which the update reads.
        into: arrays by the names of the dict that would be shown.
        kept: results that are not returned, but written to arrays entered beforehand.
    """

    arguments: tuple[Argument, ...]
    shown: Mapping[str, str]
    moved: Mapping[str, str] = field(default_factory=dict)
    scalars: bool = True
    losses: tuple[str, ...] = ()
    reduce: str = "sum"
    update: Update | None = None
    into: Mapping[str, Array] = field(default_factory=dict)
    kept: tuple[str, ...] = ()


class _Desk(np.ndarray):
    """A table that keeps alive what it has addresses of."""

    kept: list[Any]


class Quick:
    """The native function for one request, and its forms.

    Attributes:
        call: ``call(params, inputs)`` for two dicts, or with a third one of tangents, if there are
            such arguments: what was requested, or None. One dict more, of arrays by the names of
            results that are shown: these are written to instead of new ones.
    """

    def __init__(self, kernel: Kernel, request: Request, record: Record) -> None:
        self._kernel, self._request = kernel, request
        self._first = len(record.lengths) + 2
        self._given = record.inputs + record.params
        self._results = record.results
        self._bytes = 0
        self._keys: list[str] = []
        places = interface()
        assert places is not None
        self._forms = np.zeros(_FORMS, np.int64)
        shown = (*request.shown.values(), *request.moved.values())
        order = [self._results.index(n) for n in shown]
        losses = [self._results.index(n) for n in request.losses]
        tables: dict[str, Any] = {
            "api": np.array(places.addresses, np.int64),
            "entries": self._entries(),
            "groups": self._groups(),
            "results": self._uses(),
            "order": np.array(order, np.int64),
            "losses": np.array(losses, np.int64),
            "forms": self._forms,
        }
        counts = {
            "entry_count": len(request.arguments),
            "group_count": len(tables["groups"]),
            "result_count": len(self._results),
            "order_count": len(order),
            "split": len(request.shown),
            "scalars": request.scalars and not losses,
            "loss_count": len(losses),
            "mode": quick_code.GRADIENT if losses else quick_code.VALUES,
        }
        if request.moved:
            counts["mode"] = quick_code.TWO
        if request.update is not None:
            counts["mode"] = quick_code.STEP
            counts["update"] = request.update.table.ctypes.data
        names = [{sys.intern(n): None for n in named} for named in (request.shown, request.moved)]
        counts["template"], counts["second"] = map(id, names)
        self._desk = np.zeros(len(DESK), np.int64).view(_Desk)
        for name, number in counts.items():
            self._desk[DESK.index(name)] = number
        for name, table in tables.items():
            self._desk[DESK.index(name)] = table.ctypes.data
        self._desk.kept = [request, kernel, *names, *self._keys, *tables.values()]
        self.call = _function(places, self._desk)

    def learn(
        self, arrays: Mapping[str, Array], lengths: dict[str, int], batch: int | None
    ) -> Slot | None:
        """Make calls with arrays of these shapes quick, if they can be; their record."""
        count = int(self._desk[DESK.index("form_count")])
        reduce = self._request.reduce if batch is not None else "one"
        each = self._request.reduce == "none"
        if (
            count == _FORMS
            or batch == 0
            or (each and (batch is None or len(self._request.losses) > 1))
        ):
            return None
        # The call that was just done has left its workspace: a second one would cost as much again.
        slot = self._kernel.take(lengths, batch)
        if self._bytes + slot.nbytes > _BYTES:
            self._kernel.give(slot, self._kernel.size(lengths, batch))
            return None
        self._bytes += slot.nbytes
        rows = 1 if batch is None else batch
        extents = _listed(
            (lengths[a.name],) if a.dtype is None else arrays[a.variable].shape
            for a in self._request.arguments
        )
        shapes = _listed(shape for shape, _ in slot.shapes)
        cells = np.zeros(2 * len(self._request.arguments), np.int64)
        for name, array in self._request.into.items():
            result = self._results.index(self._request.shown[name])
            slot.fields[self._first + len(self._given) + result] = id(array)
        data, losses = self._losses(slot, rows)
        sums, value = np.zeros(rows), np.zeros(1)
        share = 1.0 / rows if reduce == "mean" else 1.0
        # Result arrays of the last call: the next one takes those that nobody else holds any more.
        spares = np.array([None] * len(slot.shapes), object)
        keeps = np.array([_bytes(*s) <= _SMALL for s in slot.shapes], np.int64)
        tables: dict[str, Array] = {
            "extents": extents, "shapes": shapes, "cells": cells, "loss_data": data, "sums": sums,
            "value": value, "spares": spares, "keeps": keeps,
        }  # fmt: skip
        numbers = {
            "run": slot.entry.address, "record": slot.address, "rows": rows,
            "scale": struct.unpack("q", struct.pack("d", share))[0], "is_scaled": reduce == "mean",
            "reduce": quick_code.REDUCE[reduce],
            "long": self._kernel.microseconds(lengths, batch) > _LONG,
            "noted": 0 if slot.noted is None else slot.noted.ctypes.data,
            "noted_count": 0 if slot.noted is None else slot.noted.size // failures.WORDS,
        }  # fmt: skip
        form = np.zeros(len(FORM), np.int64)
        for name, table in tables.items():
            form[FORM.index(name)] = table.ctypes.data
        for name, number in numbers.items():
            form[FORM.index(name)] = number
        self._desk.kept.append((slot, form, losses, *tables.values()))
        self._forms[count] = form.ctypes.data
        self._desk[DESK.index("form_count")] = count + 1
        return slot

    # --- tables -----------------------------------------------------------------------------------

    def _groups(self) -> Array:
        """How many arguments each of the dicts has."""
        roles = [a.role for a in self._request.arguments]
        names = quick_code.GROUPS if quick_code.GROUPS[-1] in roles else quick_code.GROUPS[:-1]
        return np.array([roles.count(n) for n in names], np.int64)

    def _key(self, name: str) -> int:
        """The address of a name as a dict's key: the very object that a program's text makes of
        it, which is found without looking at its letters."""
        self._keys.append(sys.intern(name))
        return id(self._keys[-1])

    def _entries(self) -> Array:
        rows = np.zeros((len(self._request.arguments), len(ENTRY)), np.int64)
        for row, a in zip(rows, self._request.arguments, strict=True):
            check, bound = quick_code.ANY, 0
            if a.dtype is None:
                check = quick_code.LENGTH
            elif a.bound is not None:
                check, bound = quick_code.RANGE, a.bound
            elif a.finite:
                check, bound = quick_code.FINITE, a.dtype.itemsize
            known = a.dtype is not None and a.variable in self._given
            values = {
                "role": quick_code.GROUPS.index(a.role), "key": self._key(a.name), "check": check,
                "bound": bound, "descr": id(a.dtype), "number": a.dtype == np.float64,
                "field": self._first + self._given.index(a.variable) if known else -1,
                "size": 0 if a.dtype is None else a.dtype.itemsize,
            }  # fmt: skip
            row[:] = [int(values[n]) for n in ENTRY]
        return rows

    def _uses(self) -> Array:
        """What each result is used for."""
        r = self._request
        names = {result: name for name, result in (*r.shown.items(), *r.moved.items())}
        kinds = self._kernel.kinds()
        rows = np.zeros((len(self._results), len(RESULT)), np.int64)
        for k, (row, n) in enumerate(zip(rows, self._results, strict=True)):
            use = quick_code.SHOWN if r.update is None else quick_code.PLACED
            if n in r.kept:
                use = quick_code.PLACED
            if n in r.losses:
                use = quick_code.LOSSES if r.reduce == "none" else quick_code.LOSS
            values = {
                "descr": id(kinds[n]), "key": self._key(names.get(n, n)), "use": use,
                "field": self._first + len(self._given) + k, "single": kinds[n].itemsize == 4,
                "size": kinds[n].itemsize,
            }  # fmt: skip
            row[:] = [int(values[n]) for n in RESULT]
        return rows

    def _losses(self, slot: Slot, rows: int) -> tuple[Array, list[Array]]:
        """Where the losses are written, as addresses, and the arrays there."""
        kept: list[Array] = []
        found = []
        if self._request.reduce != "none":
            for n in self._request.losses:
                k = self._results.index(n)
                array = np.zeros(rows, slot.shapes[k][1])
                slot.fields[self._first + len(self._given) + k] = id(array)
                kept.append(array)
                found.append(array.ctypes.data)
        return np.array(found, np.int64), kept


def possible(request: Request, results: Sequence[str]) -> bool:
    """Whether a request can be served: each result is used once, and nothing else is unfamiliar."""
    used = [
        *request.shown.values(), *request.moved.values(), *request.losses, *request.kept,
    ]  # fmt: skip
    return sorted(used) == sorted(results) and interface() is not None


def _bytes(shape: Sequence[int], kind: np.dtype[Any]) -> int:
    return int(np.prod(shape, dtype=np.int64)) * kind.itemsize


def _listed(shapes: Any) -> Array:
    """Shapes one after the other, each behind its number of axes."""
    return np.array([n for s in shapes for n in (len(s), *s)], np.int64)


class _Method(ctypes.Structure):
    """CPython's PyMethodDef."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("text", ctypes.c_char_p),
    ]


_FASTCALL = 0x80


@lru_cache(maxsize=1)
def _method(places: Interface) -> tuple[_Method, loading.Library]:
    text = quick_code.code(places)
    library = loading.load_text("quick", text)
    return _Method(b"quick", library.address("quick"), _FASTCALL, None), library


def _function(places: Interface, desk: _Desk) -> Any:
    """A Python function of native code, whose ``self`` is a desk."""
    make = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)(
        ("PyCFunction_NewEx", ctypes.pythonapi)
    )
    method, library = _method(places)
    desk.kept += [method, library]
    return make(ctypes.addressof(method), desk, None)


__all__ = ["Argument", "Quick", "Request", "possible"]
