"""Affine positions and domains as functions of index values: compiled once, called at every step.

The polynomials of a program are exact and slow. When the lengths are known, a position is
``offset + sum(coef * env[slot])`` over a tuple ``env`` of index values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from ..domain import EMPTY, Domain
from ..poly import Poly

Env = Sequence[int]
Affine = Callable[[Env], int]


def affine(p: Poly, slots: Mapping[str, int]) -> Affine:
    """``p`` as a function of the index values; ``slots`` says where in ``env`` each index is.

    Raises ``KeyError`` for a symbol that is no index.
    """
    offset = p.offset
    terms = [(slots[mono[0]], coef) for mono, coef in p.terms if mono]
    if not terms:
        return lambda env: offset
    if len(terms) == 1:
        ((slot, coef),) = terms
        if coef == 1:
            return lambda env: env[slot] + offset
        return lambda env: coef * env[slot] + offset
    return lambda env: offset + sum(coef * env[slot] for slot, coef in terms)


def condition(domain: Domain, slots: Mapping[str, int]) -> Callable[[Env], bool]:
    """Whether a point lies in ``domain``."""
    tests = [affine(p, slots) for p in domain.constraints]
    if not tests:
        return lambda env: True
    return lambda env: all(test(env) >= 0 for test in tests)


class Points:
    """The points of a domain over ``indices``, for given values of the indices around them.

    The ranges are found by Fourier-Motzkin elimination once; walking them costs a few additions a
    point.
    """

    def __init__(self, domain: Domain, indices: tuple[str, ...], slots: Mapping[str, int]) -> None:
        self.slots = dict(slots) | {index: len(slots) + k for k, index in enumerate(indices)}
        self._levels: list[tuple[list[tuple[int, Affine]], list[tuple[int, Affine]]]] = []
        outside = Domain.of(p for p in domain.constraints if not p.symbols & set(indices))
        for k, index in enumerate(indices):
            shadow = domain.project_out(indices[k + 1 :])
            if shadow == EMPTY:
                outside = EMPTY
                break
            lower: list[tuple[int, Affine]] = []
            upper: list[tuple[int, Affine]] = []
            for p in shadow.constraints:
                coef = p.coefficient(index)
                if coef:
                    rest = affine(p - Poly.symbol(index) * coef, self.slots)
                    (lower if coef > 0 else upper).append((abs(coef), rest))
            if not lower or not upper:
                raise ValueError(f"{index} is not bounded on both sides by {domain}")
            self._levels.append((lower, upper))
        self._outside = condition(outside, self.slots)
        # Shadows are exact for unit coefficients; else a point of a shadow may have none above it.
        self._inside = condition(domain, self.slots) if len(indices) > 1 else None

    def walk(self, env: Env) -> Iterator[tuple[int, ...]]:
        """``env`` extended by each point, in lexicographic order."""
        if self._outside(env):
            yield from self._walk(tuple(env), 0)

    def _walk(self, env: tuple[int, ...], level: int) -> Iterator[tuple[int, ...]]:
        if level == len(self._levels):
            if self._inside is None or self._inside(env):
                yield env
            return
        lower, upper = self._levels[level]
        lo = max(-(rest(env) // coef) for coef, rest in lower)
        hi = min(rest(env) // coef for coef, rest in upper)
        for i in range(lo, hi + 1):
            yield from self._walk((*env, i), level + 1)
