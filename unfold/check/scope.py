"""What the names of one model mean: the records that the stages of the check fill in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ..domain import EVERYWHERE, Domain
from ..expr import Expr, Type
from ..poly import Poly, Shape
from ..program import Init, Program, Solver
from ..syntax import tree as t
from ..syntax.span import Span
from .report import Report


@dataclass(frozen=True)
class Site:
    """One read in a text: the element, the reductions and guards around it, and its place."""

    name: str
    index: tuple[Poly, ...]
    domain: Domain
    span: Span


@dataclass(frozen=True)
class Choice:
    """A component chosen by an affine position, to be checked against the size: 0 <= at < size."""

    at: Poly
    size: Poly
    domain: Domain
    span: Span
    base: str


@dataclass(frozen=True)
class Env:
    """What surrounds an expression.

    Attributes:
        indices: what each index name stands for here.
        domain: what the equation's clauses, the reductions and the guards around say.
        inner: the reductions and guards alone.
        taken: index names that a reduction must not bind again.
        lets: the shorthands that are being expanded.
    """

    indices: dict[str, Poly]
    domain: Domain = EVERYWHERE
    inner: Domain = EVERYWHERE
    taken: frozenset[str] = frozenset()
    lets: tuple[str, ...] = ()

    def within(self, domain: Domain) -> Env:
        """The surroundings below a guard."""
        return replace(self, domain=self.domain & domain, inner=self.inner & domain)


@dataclass
class Block:
    """A `solve` block: the method, the names of its unknowns, and those that it reads."""

    solver: Solver
    unknowns: tuple[str, ...]
    reads: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Implicit:
    """What marks an equation as one of a `solve` block.

    Attributes:
        start: the text of where the search for this unknown begins.
        head: the unknown in the block's first line.
    """

    block: Block
    start: t.Expr | None
    head: Span


@dataclass
class Piece:
    """One equation, or one name's share of it.

    Attributes:
        name: the variable.
        indices: the index names of the equation, one for each axis.
        env: what the index names written in the text stand for.
        domain: where it holds; may lack a bound until `open_ends` has found it.
        value: the text of the right-hand side.
        part: for ``a, b = split(…)``: which share, of how many.
        target: the left-hand side's place.
        span: the equation's place.
        open: indices that lack a bound.
        clauses: what stands behind `for`, as it is written.
        implicit: set for an equation of a `solve` block; ``start`` is then where the search begins.
        rhs: the elaborated right-hand side.
        sites, choices: what it reads.
        copy_of: for the first piece of an extended input: the input itself.
    """

    name: str
    indices: tuple[str, ...]
    env: dict[str, Poly]
    domain: Domain
    value: t.Expr | None
    target: Span
    span: Span
    part: tuple[int, int] | None = None
    open: frozenset[str] = frozenset()
    clauses: str = ""
    implicit: Implicit | None = None
    start: Expr | None = None
    rhs: Expr | None = None
    sites: list[Site] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)
    copy_of: str | None = None


@dataclass
class Definition:
    """One variable, input, parameter or named constant.

    Attributes:
        role: as in `program.Var`.
        axes: the usual names of its indices.
        shape, type: ``None`` until they are known.
        ranges: the stored range of each axis; ``None`` until known.
        instance: for a variable of a sub-model: the sub-model's name here.
        broken: it is not known for what it stands; whatever needs it stays silent.
        shapeless: its equations are known, but not their shape, for a mistake in one of them.
        generated: named by the compiler.
        noise: as in `program.Var`.
    """

    name: str
    role: str
    span: Span
    axes: tuple[str, ...] = ()
    shape: Shape | None = None
    type: Type | None = None
    init: Init | None = None
    default: float | None = None
    pieces: list[Piece] = field(default_factory=list)
    ranges: tuple[tuple[Poly, Poly], ...] | None = None
    instance: str | None = None
    broken: bool = False
    shapeless: bool = False
    generated: bool = False
    noise: str | None = None

    @property
    def unusable(self) -> bool:
        """Whether nothing can be said about expressions that read it."""
        return self.broken or self.shapeless


@dataclass
class Instance:
    """A sub-model at its place of use.

    Attributes:
        bound: which variable here stands for an input, parameter or constant of the sub-model.
        symbols: what its sizes and lengths are here; sizes are filled in by `shapes`.
        explicit: the texts of sizes that the call gives.
        indices: the names that its indices have here.
        own: those of its indices whose ranges depend on sizes that are not known yet.
        env: the numbers of the stack's index.
    """

    name: str
    call: t.Call
    program: Program
    span: Span
    reverse: Span | None = None
    bound: dict[str, str] = field(default_factory=dict)
    symbols: dict[str, Poly] = field(default_factory=dict)
    explicit: dict[str, t.Expr] = field(default_factory=dict)
    arguments: dict[str, Span] = field(default_factory=dict)
    indices: dict[str, str] = field(default_factory=dict)
    own: set[str] = field(default_factory=set)
    env: dict[str, Poly] = field(default_factory=dict)
    broken: bool = False

    def first_output(self) -> str | None:
        """The variable that stands for the whole sub-model where it is used as a value."""
        return f"{self.name}.{self.program.outputs[0].name}" if self.program.outputs else None


@dataclass
class Scope:
    """All names of one model.

    Attributes:
        models: the models that can be used here: a function that gives the `Program`, or ``None``
            if it is broken.
        indices: declared indices and their ranges.
        lengths: symbols that are run-time lengths.
        extended: inputs that equations extend, and the variable that reads go to.
        stacks: for `layer[l] = …`: which variable or sub-model each number stands for.
        aliases: names that stand for another variable (`layer.0` for `x`).
        gradients: the outputs that are gradients: in which variable, and where that is said.
        implicit: the equations of `solve` blocks, by the identity of their tree.
        lost: names that a line with a syntax error may have defined.
        minimum: the least legal value of each length.
    """

    model: t.Model
    report: Report
    models: dict[str, Callable[[], Program | None]]
    sizes: dict[str, Span] = field(default_factory=dict)
    indices: dict[str, tuple[Poly, Poly]] = field(default_factory=dict)
    declared: dict[str, Span] = field(default_factory=dict)
    lengths: dict[str, Span] = field(default_factory=dict)
    definitions: dict[str, Definition] = field(default_factory=dict)
    lets: dict[str, t.Let] = field(default_factory=dict)
    constants: dict[str, t.Const] = field(default_factory=dict)
    instances: dict[str, Instance] = field(default_factory=dict)
    calls: list[t.Equation] = field(default_factory=list)
    equations: list[t.Equation] = field(default_factory=list)
    bases: list[t.Equation] = field(default_factory=list)
    extended: dict[str, str] = field(default_factory=dict)
    stacks: dict[str, dict[int, str]] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    outputs: list[tuple[str, tuple[tuple[Poly, Poly], ...], Span]] = field(default_factory=list)
    gradients: dict[str, tuple[str, t.Call]] = field(default_factory=dict)
    losses: list[tuple[str, Span]] = field(default_factory=list)
    implicit: dict[int, Implicit] = field(default_factory=dict)
    lost: frozenset[str] = frozenset()
    used: set[str] = field(default_factory=set)
    minimum: dict[str, int] = field(default_factory=dict)
    _given: tuple[tuple[object, ...], Domain] | None = None

    def blocks(self) -> list[Block]:
        """The `solve` blocks, in the order of the text."""
        return list({id(i.block): i.block for i in self.implicit.values()}.values())

    @property
    def given(self) -> Domain:
        """What may be assumed of lengths and sizes."""
        solved = sum(len(i.symbols) for i in self.instances.values())
        key = (*self.sizes, *self.lengths, *self.minimum.items(), solved)
        if self._given is None or self._given[0] != key:
            self._given = key, self._assumptions()
        return self._given[1]

    def _assumptions(self) -> Domain:
        known = dict.fromkeys(self.sizes, 1) | {n: self.minimum.get(n, 1) for n in self.lengths}
        for inst in self.instances.values():
            for poly in inst.symbols.values():
                known.update({s: self.minimum.get(s, 1) for s in poly.symbols if s not in known})
        return Domain.of(Poly.symbol(n) - k for n, k in known.items())

    @property
    def broken(self) -> bool:
        """Whether something could not be understood, here or in a model that is used."""
        return any(d.unusable for d in self.definitions.values()) or any(
            i.broken for i in self.instances.values()
        )

    def is_lost(self, name: str) -> bool:
        """Whether a name belongs to something broken, so that nothing is to be said about it."""
        parts = name.split(".")
        owners = [".".join(parts[:k]) for k in range(1, len(parts))]
        return name in self.lost or any(
            o in self.lost or (o in self.instances and self.instances[o].broken) for o in owners
        )

    def default(self, index: str, symbol: str | None = None) -> Domain:
        """The declared range of an index, said of ``symbol``."""
        lo, hi = self.indices[index]
        return Domain.range(symbol or index, lo, hi)

    def known_names(self) -> set[str]:
        """Everything that a name in an expression can mean."""
        return {
            *self.sizes, *self.lengths, *self.indices, *self.definitions, *self.lets,
            *self.constants, *self.instances, *self.stacks, *self.aliases,
        }  # fmt: skip
