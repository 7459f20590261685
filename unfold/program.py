"""A program: a system of typed recurrence equations. The one structure that flows.

A `Program` declares variables and defines them by `Equation` pieces. It is symbolic in the lengths
(``T``, ``S``: known at each call), in the batch (never mentioned) and in the sizes (``H``, ``D``:
known when it is compiled, see `Program.bind`). Programs come from text (`unfold.check`) or from
other programs (`unfold.transform`), and go to the explicit graph (`unfold.graph`) or to the plan
(`unfold.plan`). Nothing in a program is ordered: equations are a set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from .digest import digest
from .domain import EVERYWHERE, Domain
from .expr import REAL, Const, Expr, Position, Ref, Type, reads, rewrite, subs_positions, subs_sizes
from .intern import field_names, remembered
from .poly import Poly, Shape, show_shape

#: The length that counts the steps of time.
TIME = "T"


@dataclass(frozen=True)
class Axis:
    """One axis of a variable: the usual name of its index and the positions ``lo..hi`` it has."""

    index: str
    lo: Poly
    hi: Poly

    def subs(self, values: Mapping[str, int]) -> Axis:
        """Replace symbols in the bounds."""
        return Axis(self.index, self.lo.subs(values), self.hi.subs(values))


@dataclass(frozen=True)
class Init:
    """How a parameter starts: ``constant``, ``normal``, ``uniform``, ``glorot``, ``orthogonal``.

    ``value`` is the constant (number or nested tuple), the standard deviation of ``normal`` or the
    half-width of ``uniform``; glorot (Glorot and Bengio 2010) and orthogonal (Saxe et al. 2014)
    have none.
    """

    kind: str = "constant"
    value: Any = 0.0


@dataclass(frozen=True)
class Var:
    """A variable.

    Attributes:
        role: ``input`` (data), ``param`` (learnt), ``const`` (a named real of the header, with a
            default), ``variable`` (defined by equations).
        axes: what its index positions run over; the stored range of each axis covers every
            element that is defined.
        shape, type: of one element.
        init: for parameters.
        default: for constants.
        adjoint_of, tangent_of: the variable whose adjoint or tangent this one is, by name.
        noise: for an input that is drawn and not given: ``normal`` or ``uniform``.
        generated: named by the compiler, not by the user; simplification may inline it.
        summed: whether a result of a batch is the sum over it (see `unfold.transform.once`), as
            adjoints of parameters are.
    """

    name: str
    role: str
    axes: tuple[Axis, ...] = ()
    shape: Shape = ()
    type: Type = REAL
    init: Init | None = None
    default: float | None = None
    adjoint_of: str | None = None
    tangent_of: str | None = None
    generated: bool = False
    noise: str | None = None
    summed: bool = False

    @property
    def domain(self) -> Domain:
        """The stored range, over the axes' own index names."""
        parts = Domain()
        for axis in self.axes:
            parts = parts & Domain.range(axis.index, axis.lo, axis.hi)
        return parts

    def __str__(self) -> str:
        index = "[" + ", ".join(a.index for a in self.axes) + "]" if self.axes else ""
        return f"{self.role} {self.name}{index}: {self.type}{show_shape(self.shape)}"


@dataclass(frozen=True)
class Solver:
    """How an implicit equation ``z = F(z)`` is solved.

    ``picard`` repeats ``z = F(z)``; ``anderson`` does so too and, from the first step on that is
    too slow to be worth it (`unfold.implicit.patience`), extrapolates from up to five steps before
    (Walker and Ni, *Anderson acceleration for fixed-point iterations*, 2011); ``newton`` solves
    ``(I - dF/dz) d = F(z) - z`` for the next change with a dense Jacobian. All begin at zero,
    unless the equation says where.

    The iteration ends when the largest change of a component, relative to 1 + its magnitude, is at
    most ``tol``. An equation that is affine in its unknown (those of derivatives are) scales with
    its data, so there a change counts relative to the largest component. No tolerance is taken to
    be finer than 64 units in the last place of the number format. More than ``max_steps`` steps, or
    a value that is not a number, is an error (`unfold.SolverError`).
    """

    method: str = "anderson"
    tol: float = 1e-10
    max_steps: int = 200


@dataclass(frozen=True)
class Equation:
    """One piece of the definition of a variable: ``name[indices] = rhs`` on ``domain``.

    ``indices`` are distinct names, one for each axis of the variable; an index that the domain
    pins to one position does not occur in ``rhs`` (see `equation`). ``span`` is the text the
    equation came from, if any. With a ``solver`` the equation is implicit: ``rhs`` may read the
    very element it defines, and the element is a solution.
    """

    name: str
    indices: tuple[str, ...]
    domain: Domain
    rhs: Expr
    span: Any = field(default=None, compare=False, repr=False)
    solver: Solver | None = None

    @property
    def element(self) -> tuple[Poly, ...]:
        """The position that the equation defines: its indices, pinned ones as their position."""
        return tuple(self.pins.get(i, Poly.symbol(i)) for i in self.indices)

    def with_rhs(self, rhs: Expr) -> Equation:
        """The equation with another right-hand side."""
        if rhs is self.rhs:
            return self
        return Equation(self.name, self.indices, self.domain, rhs, self.span, self.solver)

    @property
    def pins(self) -> Mapping[str, Poly]:
        """The indices that the domain pins to one position, whatever the others are."""
        return _pins(self.domain, self.indices)


def equation(
    name: str,
    indices: tuple[str, ...],
    domain: Domain,
    rhs: Expr,
    span: Any = None,
    solver: Solver | None = None,
) -> Equation:
    """An `Equation` in normal form: indices pinned by the domain are replaced by their position."""
    pinned = _pins(domain, indices)
    if pinned:
        rhs = subs_positions(rhs, pinned)
        rest = domain.subs(pinned)
        for i, at in pinned.items():
            rest = rest & Domain.point(i, at)
        domain = rest
    return Equation(name, indices, domain, rhs, span, solver)


@remembered
def _pins(domain: Domain, indices: tuple[str, ...]) -> Mapping[str, Poly]:
    pins: dict[str, Poly] = {}
    left = list(indices)
    while left:
        # One pin may make another one known: d = 2 and t = d + 1.
        found = {i: at for i in left if (at := domain.subs(pins).fixed(i)) is not None}
        known = {i: at for i, at in found.items() if not at.symbols & set(indices)}
        if not known:
            break
        pins |= known
        left = [i for i in left if i not in known]
    return pins


@dataclass(frozen=True)
class Output:
    """A result: elements ``lo..hi`` of each axis of a variable (default ``1..T``)."""

    name: str
    ranges: tuple[tuple[Poly, Poly], ...] = ()


@dataclass(frozen=True)
class Program:
    """A system of equations.

    Attributes:
        name: the model's name.
        sizes: compile-time integers still free, in header order.
        indices: declared index names and their default ranges ``(lo, hi)``; an index introduced by
            the compiler is declared here too.
        vars: all variables by name, in order of declaration.
        equations: the pieces; their order has no meaning.
        outputs: what is returned.
        losses: names of the scalars that ``minimize`` lines name.
        minimum: the smallest legal value of each length symbol.
        assumed: what else holds of the lengths at every call.
    """

    name: str
    sizes: tuple[str, ...]
    indices: Mapping[str, tuple[Poly, Poly]]
    vars: Mapping[str, Var]
    equations: tuple[Equation, ...]
    outputs: tuple[Output, ...]
    losses: tuple[str, ...] = ()
    minimum: Mapping[str, int] = field(default_factory=dict)
    assumed: Domain = EVERYWHERE

    # --- views ---

    def role(self, role: str) -> list[Var]:
        """All variables of one role, in order of declaration."""
        return [v for v in self.vars.values() if v.role == role]

    @property
    def inputs(self) -> list[Var]:
        return self.role("input")

    @property
    def params(self) -> list[Var]:
        return self.role("param")

    def pieces(self, name: str) -> list[Equation]:
        """The equations that define a variable."""
        return [e for e in self.equations if e.name == name]

    @cached_property
    def lengths(self) -> tuple[str, ...]:
        """The length symbols (known at call time), in order of first appearance."""
        taken = set(self.sizes) | set(self.indices)
        ends = dict.fromkeys(p for pair in self.indices.values() for p in pair)
        ends |= dict.fromkeys(p for v in self.vars.values() for a in v.axes for p in (a.lo, a.hi))
        return tuple(dict.fromkeys(s for p in ends for s in sorted(p.symbols) if s not in taken))

    @cached_property
    def given(self) -> Domain:
        """What may be assumed of the lengths: each is at least its minimum (1 if not stated).

        Free sizes are at least 1 as well.
        """
        known = {n: self.minimum.get(n, 1) for n in self.lengths} | dict.fromkeys(self.sizes, 1)
        return self.assumed & Domain.of(Poly.symbol(n) - k for n, k in known.items())

    @cached_property
    def fingerprint(self) -> str | None:
        """A digest of all that the program says and of the text it came from; ``None`` for one
        that has none (see `unfold.digest`)."""
        try:
            return digest(*(getattr(self, name) for name in field_names(Program)))
        except (TypeError, RecursionError):
            return None

    def ref(self, name: str, *index: Poly | int | str) -> Ref:
        """A read of an element of a declared variable. Raises ``KeyError``."""
        v = self.vars[name]
        return Ref(name, tuple(Poly.of(p) for p in index), v.shape, v.type)

    def with_(self, **changes: Any) -> Program:
        """A copy with some fields replaced."""
        return replace(self, **changes)

    def bind(
        self, sizes: Mapping[str, int], constants: Mapping[str, float] | None = None
    ) -> Program:
        """Fix compile-time sizes and named constants to numbers.

        Raises ``KeyError`` for a name that is neither.
        """
        for name in sizes:
            if name not in self.sizes:
                raise KeyError(name)
        values = dict(constants or {})
        for name in values:
            if name not in self.vars or self.vars[name].role != "const":
                raise KeyError(name)

        def constant(e: Expr) -> Expr:
            if isinstance(e, Ref) and e.name in values:
                return Const(float(values[e.name]))
            return e

        def expr(e: Expr) -> Expr:
            e = subs_sizes(e, sizes) if sizes else e
            return rewrite(e, constant) if values else e

        def var(v: Var) -> Var:
            bound = v.type.bound
            return replace(
                v,
                axes=tuple(a.subs(sizes) for a in v.axes),
                shape=tuple(n.subs(sizes) for n in v.shape),
                type=v.type if bound is None else Type(v.type.kind, bound.subs(sizes)),
            )

        return replace(
            self,
            sizes=tuple(s for s in self.sizes if s not in sizes),
            indices={k: (lo.subs(sizes), hi.subs(sizes)) for k, (lo, hi) in self.indices.items()},
            vars={k: var(v) for k, v in self.vars.items() if k not in values},
            # With numbers in it a domain may pin an index, `1 <= i <= N-1`, or hold nothing.
            equations=tuple(
                equation(e.name, e.indices, domain, expr(e.rhs), e.span, e.solver)
                for e in self.equations
                if not (domain := e.domain.subs(sizes)).is_empty()
            ),
            outputs=tuple(
                Output(o.name, tuple((lo.subs(sizes), hi.subs(sizes)) for lo, hi in o.ranges))
                for o in self.outputs
            ),
        )


class ProgramError(Exception):
    """A program that breaks its own rules: a defect of a transformation, not of a user's text."""


def verify(program: Program) -> Program:
    """Check the rules every program obeys; runs between all stages and returns its argument.

    Every read is of a declared variable with the right number of positions, shape and type; every
    right-hand side has the shape and kind of its variable; only declared or bound indices occur.
    Raises `ProgramError` naming the equation.
    """

    def fail(eq: Equation, why: str) -> None:
        raise ProgramError(f"{program.name}: in the equation for {eq.name}: {why}")

    outer = set(program.lengths) | set(program.sizes)
    for eq in program.equations:
        v = program.vars.get(eq.name)
        if v is None or v.role != "variable":
            fail(eq, "the left-hand side is not declared as a variable")
            continue
        if len(eq.indices) != len(v.axes) or len(set(eq.indices)) != len(eq.indices):
            fail(eq, f"{len(eq.indices)} indices for {len(v.axes)} axes")
        if eq.rhs.shape != v.shape:
            fail(eq, f"shape {show_shape(eq.rhs.shape)} where {show_shape(v.shape)} is declared")
        if eq.rhs.type.kind != v.type.kind:
            fail(eq, f"type {eq.rhs.type} where {v.type} is declared")
        for read in reads(eq.rhs):
            target = program.vars.get(read.ref.name)
            if target is None:
                fail(eq, f"{read.ref.name} is not declared")
                continue
            if len(read.ref.index) != len(target.axes):
                fail(eq, f"{target.name} has {len(target.axes)} axes")
            if read.ref.shape != target.shape or read.ref.type != target.type:
                fail(eq, f"{target.name} is read as {read.ref.type}{show_shape(read.ref.shape)}")
            used = frozenset(s for p in read.ref.index for s in p.symbols)
            loose = used - outer - set(eq.indices) - set(read.bound)
            if loose:
                fail(eq, f"the index {sorted(loose)[0]} is not bound")
    for out in program.outputs:
        if out.name not in program.vars:
            raise ProgramError(f"{program.name}: the output {out.name} is not declared")
    for name in program.losses:
        if name not in program.vars or program.vars[name].shape or program.vars[name].axes:
            raise ProgramError(f"{program.name}: the loss {name} is not a declared scalar")
    return program


def positions(e: Expr) -> Iterator[Position]:
    """All index values that occur as numbers."""
    from .expr import walk

    return (n for n in walk(e) if isinstance(n, Position))
