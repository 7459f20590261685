"""Implicit equations: a fixed point, differentiated by the implicit function theorem.

The search is what a tutorial of JAX would take: repeating the map, or Newton's method with a dense
Jacobian, in a `lax.while_loop`; backward the linear system of the same Jacobian in the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from unfold.expr import Expr, Ref, names
from unfold.implicit import parts, unknown
from unfold.program import Equation

from .arrays import Array, filled
from .pieces import Ranges, Untranslated

if TYPE_CHECKING:
    from .expressions import Scope


def solved(
    scope: Scope, eq: Equation, indices: tuple[str, ...], ranges: Ranges, shape: tuple[int, ...]
) -> Array:
    """Write the search for all elements of an implicit equation at once."""
    from .expressions import Scope

    rhs, begin = parts(eq.rhs)
    z = unknown(eq)
    name = scope.src.fresh(eq.name)

    @dataclass
    class Map(Scope):
        """The map: only what depends on the unknown is inside of it."""

        def value(self, e: Expr, ranges: Ranges) -> Array:
            if e is z:
                return Array(indices, shape, name)
            if z.name not in names(e):
                return scope.value(e, ranges)
            return super().value(e, ranges)

        def mask(self, domain: Any, ranges: Ranges) -> Array | None:
            return scope.mask(domain, ranges)

        def box(self, *args: Any) -> dict[str, range]:
            return scope.box(*args)

        def element(self, e: Ref, ranges: Ranges) -> Array:
            raise Untranslated(f"{e.name} is read at another place than where it is solved")

    inner = Map(scope.program, scope.src.block(), scope.lengths)
    found = filled(inner.src, inner.value(rhs, ranges), indices, shape)
    src, function = scope.src, scope.src.fresh("map")
    if begin is None:
        start = src.let(f"jnp.zeros({shape})", indices, shape)
    else:
        start = filled(src, scope.value(begin, ranges), indices, shape)
    src.lines.append(f"def {function}({name}):")
    inner.src.lines.append(f"return {found.code}")
    src.include(inner.src)
    assert eq.solver is not None
    dense = eq.solver.method == "newton"
    how = "newton" if dense else "repeat"
    code = f"{how}({function}, {start.code}, {eq.solver.tol!r}, {eq.solver.max_steps})"
    return replace(src.let(code, indices, shape, eq.name), known=None)


Map = Callable[[Any], Any]


def methods() -> dict[str, Callable[[Map, Any, float, int], Any]]:
    """The functions that the text calls, by name."""
    import jax
    import jax.numpy as jnp
    from jax import lax

    def tolerance(tol: float, start: Any) -> float:
        return max(tol, 64 * float(jnp.finfo(start.dtype).eps))

    def one_more(change: Any, x: Any) -> Any:
        return jnp.max(jnp.abs(change) / (1 + jnp.abs(x)))

    def largest(change: Any, x: Any) -> Any:
        """For a linear system, which scales with its right side."""
        return jnp.max(jnp.abs(change)) / jnp.max(jnp.abs(x))

    def until(step: Map, start: Any, tol: float, most: int, size: Any = one_more) -> Any:
        """Repeat a step until nothing changes by more than the tolerance."""

        def more(state: Any) -> Any:
            _, change, count = state
            return (change > tol) & (count < most)

        def once(state: Any) -> Any:
            x, _, count = state
            new = step(x)
            return new, size(new - x, new), count + 1

        return lax.while_loop(more, once, (start, jnp.inf, 0))[0]

    def implicit(find: Callable[..., Any], pull: Callable[..., Any]) -> Callable[..., Any]:
        """A solver with the derivative of what it finds."""

        def solve(function: Map, start: Any, tol: float, most: int) -> Any:
            pure, given = jax.closure_convert(function, start)
            within = tolerance(tol, start)

            def search(given: Any, start: Any) -> Any:
                return find(lambda z: pure(z, *given), start, within, most)

            def forward(given: Any, start: Any) -> Any:
                z = search(given, start)
                return z, (z, given)

            def backward(kept: Any, bar: Any) -> Any:
                z, given = kept
                u = pull(lambda x: pure(x, *given), z, bar, within, most)
                return *jax.vjp(lambda g: pure(z, *g), given)[1](u), jnp.zeros_like(z)

            point = jax.custom_vjp(search)
            point.defvjp(forward, backward)
            return point(given, start)

        return solve

    def repeat_pull(function: Map, z: Any, bar: Any, tol: float, most: int) -> Any:
        back = jax.vjp(function, z)[1]
        return until(lambda u: bar + back(u)[0], bar, tol, most, largest)

    def jacobian(function: Map, z: Any) -> Any:
        n = z.size
        return jnp.eye(n) - jax.jacfwd(function)(z).reshape(n, n)

    def newton_find(function: Map, start: Any, tol: float, most: int) -> Any:
        def step(z: Any) -> Any:
            gap = (function(z) - z).reshape(-1)
            return z + jnp.linalg.solve(jacobian(function, z), gap).reshape(z.shape)

        return until(step, start, tol, most)

    def newton_pull(function: Map, z: Any, bar: Any, tol: float, most: int) -> Any:
        return jnp.linalg.solve(jacobian(function, z).T, bar.reshape(-1)).reshape(z.shape)

    return {
        "repeat": implicit(until, repeat_pull),
        "newton": implicit(newton_find, newton_pull),
    }
