"""Positions and conditions at run time, and which computed values may be used where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from unfold.domain import Domain
from unfold.poly import Poly

from .components import Unit
from .elementwise import Formats
from .ir import Function, Value, integer


class Indexer(Unit):
    """Turns affine expressions over lengths and loop indices into instructions.

    Args:
        f: receives the instructions.
        formats: the number formats.
        env: the values of lengths (and of the indices of loops around, set inside `index_scope`).
    """

    def __init__(
        self, f: Function, formats: Formats, env: dict[str, Value], width: int = 1
    ) -> None:
        super().__init__(f, formats, width)
        self.env = env
        # What has been computed, by nesting of control flow: inner values do not reach outside.
        self.scopes: list[dict[Any, Any]] = [{}]

    # --- scopes -----------------------------------------------------------------------------------

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Control flow in which values are computed that must not be used after it."""
        self.scopes.append({})
        yield
        self.scopes.pop()

    def known(self, key: Any) -> Any:
        """What was computed under a key and can be used here, or ``None``."""
        for scope in reversed(self.scopes):
            if key in scope:
                return scope[key]
        return None

    def remember(self, key: Any, value: Any) -> Any:
        """Keep a value for the rest of the current scope."""
        self.scopes[-1][key] = value
        return value

    # --- integers ---------------------------------------------------------------------------------

    def position(self, p: Poly) -> Value:
        """An affine expression as an ``i64``."""
        number = p.constant
        if number is not None:
            return integer(number)
        found = self.known(p)
        if found is not None:
            return found
        total: Value | None = None
        for mono, coef in p.terms:
            term = integer(coef)
            for k, symbol in enumerate(mono):
                factor = self.env[symbol]
                term = factor if k == 0 and coef == 1 else self.f.binary("mul", term, factor)
            total = term if total is None else self.f.binary("add", total, term)
        assert total is not None
        return self.remember(p, total)

    def count(self, size: int, ranges: Sequence[tuple[Poly, Poly]]) -> Value:
        """How many components some positions have."""
        total = integer(size)
        for lo, hi in ranges:
            extent = self.f.intrinsic("llvm.smax", self.position(hi - lo + 1), integer(0))
            total = self.f.binary("mul nsw", total, extent)
        return total

    def place(self, index: Sequence[Poly]) -> list[Value]:
        """The positions of an element."""
        return [self.position(p) for p in index]

    def condition(self, domain: Domain) -> Value:
        """Whether all constraints hold."""
        result = integer(1, "i1")
        for k, p in enumerate(domain.constraints):
            one = self.f.compare("icmp sge", self.position(p), integer(0))
            result = one if k == 0 else self.f.binary("and", result, one)
        return result

    def bounds(self, domain: Domain, index: str) -> tuple[Value, Value]:
        """The range that the constraints on an index leave it, the other symbols being known."""
        lows, highs = [], []
        for p in domain.constraints:
            coef = p.coefficient(index)
            if not coef:
                continue
            rest = self.position(p - Poly.symbol(index) * coef)
            if coef > 0:
                lows.append(self.f.binary("sub", integer(0), self.quotient(rest, coef)))
            else:
                highs.append(self.quotient(rest, -coef))
        return self.ends(lows, highs)

    def ends(self, lows: Sequence[Value], highs: Sequence[Value]) -> tuple[Value, Value]:
        """The largest lower and the smallest upper bound."""
        lo, hi = lows[0], highs[0]
        for v in lows[1:]:
            lo = self.f.intrinsic("llvm.smax", lo, v)
        for v in highs[1:]:
            hi = self.f.intrinsic("llvm.smin", hi, v)
        return lo, hi

    def quotient(self, a: Value, divisor: int) -> Value:
        """``a // divisor``, rounded down."""
        if divisor == 1:
            return a
        d = integer(divisor)
        rest = self.f.binary("srem", a, d)
        below = self.f.compare("icmp slt", rest, integer(0))
        down = self.f.binary("sub", a, self.f.select(below, integer(divisor - 1), integer(0)))
        return self.f.binary("sdiv", down, d)

    @contextmanager
    def index_scope(self, index: str) -> Iterator[None]:
        """A scope in which an index name gets a value."""
        outer = self.env.get(index)
        with self.scope():
            yield
        if outer is None:
            self.env.pop(index, None)
        else:
            self.env[index] = outer
