"""The native code of quick calls; see `unfold.backends.llvm.quick`, which fills its tables."""

from __future__ import annotations

from .capi import Interface, numbers
from .update import WORDS

#: The words of the table of a function.
DESK = (
    "api", "entries", "entry_count", "groups", "group_count", "forms", "form_count", "results",
    "result_count", "order", "order_count", "split", "scalars", "mode", "losses", "loss_count",
    "update", "template", "second",
)  # fmt: skip
#: The words of an entry: one argument.
ENTRY = ("role", "key", "check", "descr", "bound", "number", "field", "size")
#: The words of a result.
RESULT = ("descr", "key", "use", "field", "single", "size")
#: The words of a form: calls of one size.
FORM = (
    "busy", "run", "record", "extents", "shapes", "noted", "noted_count", "scale", "is_scaled",
    "rows", "reduce", "long", "cells", "loss_data", "sums", "value",
    "spares", "keeps",
)  # fmt: skip

#: The dicts that a call is given, in order; the last may be left out.
GROUPS = ("param", "input", "tangent")
#: Checks of the values of an argument; a length is a number of Python's, and the form's own.
ANY, RANGE, FINITE, LENGTH = 0, 1, 2, 3
#: What a result is used for: it is shown, it is a loss, it holds the losses that are returned, or
#: it is written to an array that is there.
SHOWN, LOSS, LOSSES, PLACED = 0, 1, 2, 3
#: What is returned: a dict of all results; a loss and a dict; a loss, after a step of training; two
#: dicts.
VALUES, GRADIENT, STEP, TWO = 0, 1, 2, 3
#: What is done with the losses of a batch.
REDUCE = {"one": 0, "mean": 1, "sum": 2, "none": 3}


def code(places: Interface) -> str:
    """The module; it exports ``quick``, a function of the kind METH_FASTCALL."""
    from importlib import resources  # slow to import, and not needed by a process's first call

    text = resources.files(__package__).joinpath("quick.ll").read_text(encoding="utf-8")
    for name, k in numbers().items():
        text = text.replace(f"@api:{name}@", str(k))
    tables = {"desk": DESK, "entry": ENTRY, "result": RESULT, "form": FORM, "update": WORDS}
    for table, names in tables.items():
        for k, name in enumerate(names):
            text = text.replace(f"@{table}:{name}@", str(k))
        text = text.replace(f"@{table}:words@", str(len(names)))
    for name in ("references", "kind", "head", "rank", "extents", "descr", "flags"):
        text = text.replace(f"@at:{name}@", str(getattr(places, name)))
    return text


__all__ = [
    "ANY", "DESK", "ENTRY", "FINITE", "FORM", "GRADIENT", "GROUPS", "LENGTH", "LOSS", "LOSSES",
    "PLACED", "RANGE", "REDUCE", "RESULT", "SHOWN", "STEP", "TWO", "VALUES", "code",
]  # fmt: skip
