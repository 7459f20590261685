"""Name what is gathered over all of time, so that it can be gathered piece by piece.

before:  loss = sum[t](norm(h[t])) / T              y_bar[t] = V' @ h[T] + …
after:   loss_total = sum[t](norm(h[t]))            h_total = sum[t = T](h[t])
         loss = loss_total / T                      y_bar[t] = V' @ h_total + …
requires: a program whose variables have at most one axis over time.

A *total* is a reduction over time that no longer depends on time itself: a part of it can be
computed from a part of the sequence, and the parts combined. An element at one fixed position is
the total of a single position. The adjoint of a parameter that is a sum of totals is left to
whoever runs the program to add up (`Totals.sums`), so that each of them can be summed over a batch
where it is computed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

from ..dependence import distinct, span
from ..domain import Domain
from ..errors import InputError
from ..expr import (
    Call,
    Const,
    Expr,
    Guard,
    Reduce,
    Ref,
    free_symbols,
    fresh,
    names,
    reads,
    with_operands,
)
from ..ops.record import compare, where
from ..plan.build import results_of
from ..poly import Poly
from ..program import Equation, Program, Var
from ..transform.naming import Scope, introduce

TIME = "T"


def time_axis(program: Program, v: Var) -> int | None:
    """Which axis of a variable is time, the first one if there are several."""
    found = time_axes(program, v)
    return found[0] if found else None


def time_axes(program: Program, v: Var) -> list[int]:
    """The axes of a variable that have the length T, or are parts of one that has."""
    return [
        k for k, a in enumerate(v.axes)
        if any(TIME in p.symbols for p in (a.lo, a.hi, *program.indices.get(a.index, ())))
    ]  # fmt: skip


@dataclass(frozen=True)
class Total:
    """A variable that is a reduction over time: ``index`` is the time inside of it."""

    name: str
    op: str
    index: str


@dataclass(frozen=True)
class Totals:
    """A program whose gathering over time has names.

    Attributes:
        program: without the equations of what ``sums`` says.
        totals: the reductions over time, by name.
        sums: for adjoints of parameters the variables whose values are added: totals, adjoints of
            other parameters, and possibly the variable itself, for what no total holds.
        parts: the results that the totals in ``sums`` are parts of.
        whole: the inputs that some equation does not read at a fixed distance from its own time.
    """

    program: Program
    totals: dict[str, Total]
    sums: dict[str, tuple[str, ...]]
    parts: dict[str, str]
    whole: frozenset[str]


def refusal(program: Program, eq: Equation, why: str) -> InputError:
    """The error about an equation that no computation by segments can have."""
    from ..show import equation_text

    return InputError(
        f"{program.name} cannot be computed segment by segment: {why}\n"
        f"    {equation_text(program, eq)}"
    )


def find_totals(program: Program) -> Totals:
    """Name the reductions over time. Raises `InputError` with an equation that reads a part of the
    sequence that grows."""
    return _Finder(program).run()


class _Finder:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.given = program.given
        self.vars = dict(program.vars)
        self.time = {
            n: k for n, v in program.vars.items() if (k := time_axis(program, v)) is not None
        }
        self.moving = frozenset(self.time)
        self.totals: dict[str, Total] = {}
        self.made: dict[tuple[Expr, Domain], Ref] = {}
        self.work: list[Equation] = []
        self.done: list[Equation] = []
        self.of_param = {r.name for r in results_of(program) if r.summed}
        self.whole: set[str] = set()
        self.parts: dict[str, str] = {}

    def run(self) -> Totals:
        for eq in self.program.equations:
            if len(time_axes(self.program, self.program.vars[eq.name])) > 1:
                raise refusal(self.program, eq, f"{eq.name} has two axes over time")
        sums, equations = self._sums()
        self.done += [self._equation(eq) for eq in equations]
        while self.work:
            self.done.append(self._total(self.work.pop()))
        result = self.program.with_(vars=self.vars, equations=tuple(self.done))
        return Totals(result, self.totals, sums, self.parts, frozenset(self.whole))

    # --- adjoints of parameters ---

    def _sums(self) -> tuple[dict[str, tuple[str, ...]], list[Equation]]:
        """The adjoints of parameters that are sums of totals, and the equations that are left."""
        found = {eq.name: eq for eq in self.program.equations if self._splits(eq)}
        while True:
            read = {
                n for eq in self.program.equations
                if not (eq.name in found and isinstance(eq.rhs, Ref))
                for n in names(eq.rhs)
            }  # fmt: skip
            if not read & set(found):
                break
            found = {n: eq for n, eq in found.items() if n not in read}
        left = [eq for eq in self.program.equations if eq.name not in found]
        sums: dict[str, tuple[str, ...]] = {}
        for name, eq in found.items():
            parts: list[str] = []
            rest: Expr | None = None
            for term in _terms(eq.rhs):
                if isinstance(term, Ref) and term.name in found:
                    parts.append(term.name)
                elif (made := self._summed(term, eq)) is not None:
                    parts.append(made)
                else:
                    rest = term if rest is None else rest + term
            if rest is not None:
                parts.append(name)
                left.append(replace(eq, rhs=rest))
            sums[name] = tuple(parts)
        return sums, left

    def _splits(self, eq: Equation) -> bool:
        """Whether an equation is all of the adjoint of a parameter without time."""
        if eq.name not in self.of_param or eq.name in self.moving or eq.solver:
            return False
        whole = self.program.vars[eq.name].domain
        own = dict(zip((a.index for a in self.program.vars[eq.name].axes), eq.indices, strict=True))
        whole = whole.subs({k: Poly.symbol(i) for k, i in own.items()})
        alone = len(self.program.pieces(eq.name)) == 1
        return alone and not eq.pins and whole.subset(eq.domain, self.given)

    def _summed(self, term: Expr, eq: Equation) -> str | None:
        """The total that a term of a parameter's adjoint is, if it is one."""
        if isinstance(term, Ref) and self._is_fixed(term, eq.indices):
            term = self._at(term)
        if not (isinstance(term, Reduce) and term.op == "sum"):
            return None
        if not self._gathers(term, eq, None, Scope()) or self._runs_over(term, eq) is None:
            return None
        if set(eq.indices) - free_symbols(term):
            return None  # the same for every position of the parameter
        v = self.vars[eq.name]
        name = fresh(f"{eq.name}_part", self.vars)
        self.vars[name] = replace(v, name=name, generated=True)
        self.parts[name] = eq.name
        term = distinct(term, eq.indices)
        assert isinstance(term, Reduce)
        self._note(name, term, eq)
        self.work.append(replace(eq, name=name, rhs=term))
        return name

    # --- equations ---

    def _equation(self, eq: Equation) -> Equation:
        here = None if eq.name not in self.time else eq.element[self.time[eq.name]]
        return replace(eq, rhs=self._go(distinct(eq.rhs, eq.indices), eq, here, Scope()))

    def _total(self, eq: Equation) -> Equation:
        """The equation of a total: its body is at the time that the reduction runs over."""
        assert isinstance(eq.rhs, Reduce)
        here = Poly.symbol(self.totals[eq.name].index)
        body = self._go(eq.rhs.body, eq, here, Scope().under(eq.rhs))
        return replace(eq, rhs=Reduce(eq.rhs.op, eq.rhs.indices, eq.rhs.domain, body))

    def _go(self, e: Expr, eq: Equation, here: Poly | None, scope: Scope) -> Expr:
        memo: dict[tuple[Expr, tuple[Guard | Reduce, ...]], Expr] = {}

        def go(node: Expr, scope: Scope) -> Expr:
            if self.moving.isdisjoint(_names(node)):
                return node
            key = (node, scope.nodes)
            if key not in memo:
                memo[key] = build(node, scope)
            return memo[key]

        def build(node: Expr, scope: Scope) -> Expr:
            if isinstance(node, Ref):
                return self._read(node, eq, here, scope)
            if isinstance(node, Reduce) and self._gathers(node, eq, here, scope):
                if self._is_total(node, eq, here):
                    return self._named(node, eq, here, scope)
                # What it reads may be a fixed part: ``sum[k](w[k] * h[T-k])``.
            inner = scope.under(node) if isinstance(node, (Reduce, Guard)) else scope
            return with_operands(node, tuple(go(c, inner) for c in node.operands))

        return go(e, scope)

    def _read(self, e: Ref, eq: Equation, here: Poly | None, scope: Scope) -> Expr:
        """An element of something that has time."""
        given = self.vars[e.name].role != "variable"
        if here is not None and self._near(e, here, _within(eq, scope)):
            return e
        if given:
            if here is not None:
                self.whole.add(e.name)
            return e
        if here is not None:
            distance = here - e.index[self.time[e.name]]
            if distance.symbols and distance.symbols <= set(self.program.lengths) - {TIME}:
                why = f"this equation reads {e.name} at a distance, {distance.compact()}, that only"
                why += " a call tells; a size, fixed when compiling, can be a distance"
                raise refusal(self.program, eq, why)
        read = self._named(self._at(e), eq, here, scope)
        return compare("gt", read, 0.5) if e.type.kind == "bool" else read

    def _near(self, e: Ref, here: Poly, domain: Domain) -> bool:
        """Whether an element lies at a bounded distance from the time at hand."""
        distance = span(e.index[self.time[e.name]] - here, domain, self.given)
        return distance.lo is not None and distance.hi is not None

    def _is_fixed(self, e: Ref, indices: Iterable[str] = ()) -> bool:
        """Whether an element is that of a computed variable at one position in time, or at one for
        each value of ``indices``."""
        k = self.time.get(e.name)
        return (
            k is not None
            and self.vars[e.name].role == "variable"
            and e.index[k].symbols <= {*self.program.lengths, *indices}
        )

    def _at(self, e: Ref) -> Reduce:
        """An element at a fixed position, as the sum over that position; positions that another
        axis counts (``s[k]`` for k in 1-M..0, the seasons before the first step) are some of it."""
        k = self.time[e.name]
        i = fresh("t", {s for p in e.index for s in p.symbols})
        moved = Ref(e.name, (*e.index[:k], Poly.symbol(i), *e.index[k + 1 :]), e.shape, e.type)
        body: Expr = where(moved, 1.0, 0.0) if e.type.kind == "bool" else moved
        return Reduce("sum", (i,), Domain.point(i, e.index[k]), body)

    def _gathers(self, e: Reduce, eq: Equation, here: Poly | None, scope: Scope) -> bool:
        """Whether a reduction runs over the time of something that it reads."""
        for read in reads(e.body, domain=_within(eq, scope.under(e))):
            k = self.time.get(read.ref.name)
            if k is None or not read.ref.index[k].symbols & set(e.indices):
                continue
            if here is None:
                return self._computed(e)
            if not self._near(read.ref, here, read.domain):
                return self._computed(e) or not self._own(here) & free_symbols(e)
        return False

    def _computed(self, e: Expr) -> bool:
        """Whether something is read that has time and is not given."""
        return any(n in self.time and self.vars[n].role == "variable" for n in names(e))

    def _own(self, here: Poly | None) -> frozenset[str]:
        """The index that stands for the time at hand."""
        return frozenset() if here is None else here.symbols - set(self.program.lengths)

    def _is_total(self, e: Reduce, eq: Equation, here: Poly | None) -> bool:
        """Whether a reduction is the same at all steps, and one over time itself."""
        if self._own(here) & free_symbols(e):
            return False
        return not self._computed(e) or self._runs_over(e, eq) is not None

    def _named(self, e: Reduce, eq: Equation, here: Poly | None, scope: Scope) -> Ref:
        """The read of a new variable that holds a reduction over time."""
        growing = "this equation reads a part of the past that grows"
        if self._own(here) & free_symbols(e):
            raise refusal(self.program, eq, growing)
        key = (e, _within(eq, scope))
        if key not in self.made:
            stem = f"{eq.name}_total"
            read, var, piece = introduce(self.program, self.vars, e, eq, scope, stem)
            if time_axis(self.program, var) is not None:
                of = next(n for n in sorted(names(e)) if n in self.time)
                whole = f"this equation reads all of {of}, not a fixed part"
                raise refusal(self.program, eq, whole if here is None else growing)
            self.vars[var.name] = var
            if self._computed(e):
                self._note(var.name, e, eq)
                self.work.append(piece)
            else:
                self.done.append(piece)
            self.made[key] = read
        return self.made[key]

    def _note(self, name: str, e: Reduce, eq: Equation) -> None:
        """Note a reduction over time."""
        time = self._runs_over(e, eq)
        if time is None:
            raise refusal(self.program, eq, "this equation compares all steps with all steps")
        self.totals[name] = Total(name, e.op, time)

    def _runs_over(self, e: Reduce, eq: Equation) -> str | None:
        """The index of a reduction that is the time of all that it reads, fixed parts aside."""
        computed = [
            read for read in reads(e.body, domain=eq.domain & e.domain)
            if self._computed(read.ref) and not self._is_fixed(read.ref, free_symbols(e))
        ]  # fmt: skip
        for i in e.indices:
            time = Poly.symbol(i)
            if all(self._near(read.ref, time, read.domain) for read in computed):
                return i
        return None


def _within(eq: Equation, scope: Scope) -> Domain:
    """The points at which a place inside an equation counts."""
    domain = eq.domain
    for node in scope.nodes:
        domain = domain & node.domain
    return domain


def _terms(e: Expr) -> list[Expr]:
    """What is added; factors without a value of the model stand inside of sums."""
    if isinstance(e, Call) and e.op in ("add", "sub"):
        a, b = e.args
        if a.shape == b.shape == e.shape:
            minus = e.op == "sub"
            return [*_terms(a), *(_scaled(t, Const(-1.0)) if minus else t for t in _terms(b))]
    if isinstance(e, Call) and e.op == "neg":
        return [_scaled(t, Const(-1.0)) for t in _terms(e.args[0])]
    if isinstance(e, Call) and e.op in ("mul", "div"):
        a, b = e.args
        if e.op == "mul" and not names(a) and not a.shape:
            a, b = b, a
        if not names(b) and not b.shape and a.shape == e.shape:
            factor = b if e.op == "mul" else 1.0 / b
            return [_scaled(t, factor) for t in _terms(a)]
    return [e]


def _scaled(e: Expr, factor: Expr) -> Expr:
    if isinstance(e, Reduce) and e.op == "sum" and not free_symbols(factor) & set(e.indices):
        return Reduce("sum", e.indices, e.domain, factor * e.body)
    return factor * e


_names = lru_cache(maxsize=50_000)(names)


__all__ = ["TIME", "Total", "Totals", "find_totals", "refusal", "time_axis"]
