"""From what an adjoint variable receives to its equations.

before:  for t in 1..T: add U' @ h_pre_bar[t] to h_bar at t-1
after:   h_bar[t] = U' @ h_pre_bar[t+1]     for t <= T-1
requires: positions that are affine in the indices of the loops around.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..domain import Domain
from ..expr import Const, Expr, Guard, Reduce, fresh, subs_positions
from ..ops.record import broadcast_to
from ..poly import Poly
from ..program import Equation, Var, equation


@dataclass(frozen=True)
class Term:
    """For all points of ``domain`` over ``loop``: add ``value`` to the adjoint at ``index``."""

    index: tuple[Poly, ...]
    loop: tuple[str, ...]
    domain: Domain
    value: Expr


@dataclass
class Terms:
    """The terms of every adjoint variable, under the names of what they are the adjoints of.

    Attributes:
        given: what is known of all lengths.
        indices: the declared indices; those that sums need are added.
        vars: the names that are taken.
    """

    given: Domain
    indices: dict[str, tuple[Poly, Poly]]
    vars: dict[str, Var]
    found: dict[str, list[Term]] = field(default_factory=dict)

    def add(self, name: str, term: Term) -> None:
        """Note what the adjoint of ``name`` receives."""
        self.found.setdefault(name, []).append(term)

    def gathered(self, name: str, v: Var, pieces: Sequence[Domain]) -> list[Equation]:
        """The equations of the adjoint ``v`` of a variable: the sum of its terms, wherever the
        variable lives.

        On one axis that is one equation on the whole range; on several axes, one for each of the
        variable's ``pieces`` (the lower triangle of a causal attention, say).
        """
        indices = tuple(a.index for a in v.axes)
        domains = pieces if len(indices) > 1 and pieces else [v.domain]
        equations = []
        for domain in domains:
            total: Expr | None = None
            for term in self.found.get(name, ()):
                solved = self.solve(term, domain, indices)
                if solved is not None:
                    total = solved if total is None else total + solved
            if total is None:
                total = broadcast_to(Const(0.0), v.shape)
            equations.append(equation(v.name, indices, domain, total))
        return equations

    def solve(self, term: Term, where: Domain, indices: tuple[str, ...]) -> Expr | None:
        """What a scatter contributes at ``indices`` in ``where``; ``None`` if nothing."""
        loop, domain, value, targets = _apart(term, indices)
        conditions: list[Poly] = []
        free = list(loop)
        solution: dict[str, Poly] = {}
        for target, index in zip(targets, indices, strict=True):
            target = target.subs(solution)
            gap = Poly.symbol(index) - target
            symbol = next((s for s in free if abs(target.coefficient(s)) == 1), None)
            if symbol is None:
                conditions += [gap, -gap]
                continue
            # target = ±symbol + rest, so symbol = ±(index - rest).
            sign = target.coefficient(symbol)
            answer = (gap + Poly.symbol(symbol) * sign) * sign
            free.remove(symbol)
            solution = {s: p.subs({symbol: answer}) for s, p in solution.items()}
            solution[symbol] = answer
        domain = domain.subs(solution) & Domain.of(p.subs(solution) for p in conditions)
        value = subs_positions(value, solution)
        context = where & self.given
        if (domain & context).is_empty():
            return None
        if free:
            free, domain, value = self.in_declared_names(free, indices, domain, value)
            outside = Domain.of(p for p in domain.constraints if not (p.symbols & set(free)))
            inside = Domain.of(p for p in domain.constraints if p.symbols & set(free))
            value = Reduce("sum", tuple(free), inside, value)
            domain = outside
        guard = domain.gist(context)
        return value if guard == Domain() else Guard(guard, value)

    def in_declared_names(
        self, free: list[str], indices: tuple[str, ...], domain: Domain, value: Expr
    ) -> tuple[list[str], Domain, Expr]:
        """Give summed indices that `_apart` renamed a declared name, or declare the new one."""
        rename: dict[str, Poly] = {}
        for k, s in enumerate(free):
            if not s.endswith(_APART):
                continue
            like = s[: -len(_APART)]
            own = self.indices.get(like)
            taken = {*indices, *free}
            spare = (n for n, bounds in self.indices.items() if n not in taken and bounds == own)
            new = next(spare, None) or fresh(like, taken | set(self.indices) | set(self.vars))
            if own is not None:
                self.indices[new] = own
            rename[s] = Poly.symbol(new)
            free = [*free[:k], new, *free[k + 1 :]]
        return free, domain.subs(rename), subs_positions(value, rename)


_APART = "'"


def _apart(
    term: Term, indices: tuple[str, ...]
) -> tuple[tuple[str, ...], Domain, Expr, tuple[Poly, ...]]:
    """Rename the loop's indices where they collide with the adjoint's own."""
    rename = {s: Poly.symbol(s + _APART) for s in term.loop if s in indices}
    loop = tuple(s + _APART if s in indices else s for s in term.loop)
    index = tuple(p.subs(rename) for p in term.index)
    return loop, term.domain.subs(rename), subs_positions(term.value, rename), index


__all__ = ["Term", "Terms"]
