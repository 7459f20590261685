"""Names that are no names here: other spellings of what the language writes with signs."""

from __future__ import annotations

import re
from collections.abc import Collection

_MODULES = ("np", "numpy", "math", "torch", "jnp", "tf", "F")
_LITERALS = {"True": "true", "False": "false", "Inf": "inf", "infinity": "inf", "PI": "pi"}
_BEFORE = {"prev", "last", "old", "previous"}
_AFTER = {"next", "new"}


def otherwise(name: str, known: Collection[str], indices: Collection[str]) -> str:
    """What an unknown name was probably meant to say, as a help; "" if nothing comes to mind.

    `known` are the variables, parameters and inputs of the model, `indices` its indices.
    """
    if name in _LITERALS:
        return f"write `{_LITERALS[name]}`"
    base, _, rest = name.rpartition(".")
    if base in known and rest in ("T", "t", "H"):
        return f"the transpose is a sign: `{base}'`"
    if base in _MODULES:
        return f"functions stand alone: `{rest}`"
    base, _, rest = name.rpartition("_")
    if base in known and rest in _BEFORE:
        return f"the element of the step before is `{base}[t-1]`"
    if base in known and rest in _AFTER:
        return f"the element of the next step is `{base}[t+1]`"
    found = re.fullmatch(r"(\w+?)_([a-z])(?:_?(?:m|minus)?_?(\d+))?", name)
    if found and found[1] in known and found[2] in indices:
        offset = f"-{found[3]}" if found[3] else ""
        return f"an index stands in brackets: `{found[1]}[{found[2]}{offset}]`"
    return ""
