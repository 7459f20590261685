"""Python's search for unreachable cycles, put off while a compiler makes values that stay.

Expressions, operations and instructions are many small objects without cycles, most of which live
until the code is there. Python takes that growth for a reason to look through everything again and
again, which was a quarter of the time that large models took to compile.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """No search meanwhile, in any thread; where several are inside, until the first one that began
    it leaves. What nothing refers to is freed at once, as always."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


__all__ = ["uncollected"]
