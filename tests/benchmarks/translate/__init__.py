"""A third backend, for comparisons: what a competent JAX programmer would write for a model.

`source` turns a checked program into the text of a Python function ``loss(p, i)`` of parameters
and inputs, at given sizes and lengths; `loss` is that function. The text is made before anything is
timed, so that JAX is given nothing to do but what a text written by hand gives it:

- whole arrays wherever nothing depends on steps before; matrix products, and one of them for a sum
  of products over an index; masks where a domain is no box;
- one `lax.scan` for all equations that depend on their past, with their values at the last steps
  as what is carried, and everything else taken out of it;
- fixed points by `lax.while_loop`, with implicit derivatives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from unfold.program import Program

from .arrays import Array, Source
from .expressions import Scope
from .loops import run
from .ops import number
from .order import Loop, needed, ordered
from .pieces import Untranslated, whole

Loss = Callable[[Mapping[str, Any], Mapping[str, Any]], Any]


def source(
    program: Program, lengths: Mapping[str, int], merge: bool = True
) -> tuple[str, dict[str, Any]]:
    """The text of ``loss(p, i)``, and the constant arrays in it by name.

    Args:
        program: without free sizes.
        merge: whether loops that may be one loop are. Raises `Untranslated`.
    """
    constants = {v.name: v.default or 0.0 for v in program.role("const")}
    program = needed(program.bind({}, constants))
    src = Source()
    scope = Scope(program, src, lengths)
    for v in (*program.params, *program.inputs):
        box = tuple(range(a.lo.evaluate(lengths), a.hi.evaluate(lengths) + 1) for a in v.axes)
        shape = (*map(len, box), *number(v.shape))
        given = src.let(f'{"p" if v.role == "param" else "i"}["{v.name}"]', (), shape, v.name)
        scope.pieces[v.name] = [whole(src, box, given)]
    parts = ordered(program, merge)
    readers = tuple(eq for w in parts for eq in (w.equations if isinstance(w, Loop) else (w,)))
    for what in parts:
        run(scope, what, readers)
    losses: list[Array] = [scope.pieces[n][0].array for n in program.losses]
    body = [*src.lines, f"return {' + '.join(a.code for a in losses)}"]
    text = "\n".join(["def loss(p, i):", *("    " + line for line in body)]) + "\n"
    return text, src.constants


def compiled(text: str, constants: Mapping[str, Any]) -> Loss:
    """The function that a text defines."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    from jax import lax

    from .solving import methods

    names = {"jax": jax, "jnp": jnp, "lax": lax, "np": np, **constants, **methods()}
    exec(compile(text, "<translated>", "exec"), names)
    found: Loss = names["loss"]
    return found


__all__ = ["Loss", "Untranslated", "compiled", "source"]
