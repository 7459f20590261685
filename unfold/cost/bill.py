"""What a model costs, counted from its equations before anything runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ..dependence import distinct
from ..domain import Domain
from ..errors import InputError
from ..expr import Call, Expr, Guard, Reduce, Ref, free_symbols, names
from ..plan.build import shared_variables
from ..program import Equation, Output, Program, Var
from ..transform import adjoint, simplify
from .points import count
from .work import Work, size, work

#: Ops whose values are those of their operands, side by side.
_PUTTING = frozenset(("concat", "stack"))


@dataclass(frozen=True)
class Side:
    """One computation: the outputs alone, or the losses and their gradients.

    Attributes:
        work: floating-point operations and special functions, of the whole batch. An implicit
            equation counts as one step of its solver.
        read: bytes of the arrays that go in, each once.
        written: bytes of the arrays that come out.
        stored: bytes of the variables that the adjoint's equations read back: for a gradient they
            are written on the way forward and read on the way back.
        shared: the part of ``stored`` that all sequences of a batch have in common.
    """

    work: Work
    read: int
    written: int
    stored: int = 0
    shared: int = 0

    @property
    def bytes(self) -> int:
        """Bytes that cross between processor and memory when caches hold nothing for long."""
        return self.read + self.written + 2 * self.stored

    @property
    def intensity(self) -> float:
        """Floating-point operations per byte."""
        return self.work.flops / max(self.bytes, 1)


@dataclass(frozen=True)
class Memory:
    """The bytes that a gradient allocates beside arguments and results, keeping all states or
    those at checkpoints only.

    Attributes:
        needed: of the states that the adjoint reads (`Side.stored` of the gradient).
        allocated: by a call that keeps all states: every storage, scratch included.
        together: how many sequences of the batch are computed at once, in one thread; the next ones
            take their storages, so that no others are allocated.
        held: the part of ``needed`` that is of so many sequences.
        checkpointed: by a call with ``checkpoint="auto"`` if it cuts; ``None`` for a model that
            cannot be cut.
        segment: how many steps lie between two checkpoints.
        extra: the work that is done once more; scratch and borders cost none.
        chosen: what ``checkpoint="auto"`` takes: ``"checkpoints"`` or ``"all states"``.
    """

    needed: int
    allocated: int
    checkpointed: int | None
    segment: int | None
    extra: Work | None
    chosen: str
    together: int
    held: int

    @property
    def ratio(self) -> float:
        """Allocated bytes over those needed of the sequences that are computed at once."""
        return self.allocated / self.held if self.held else float("inf")


@dataclass(frozen=True)
class Costs:
    """The bill of a model for given sizes, lengths and batch.

    Attributes:
        parameters: how many numbers are learnt.
        lengths: the lengths that were asked for.
        batch: how many sequences.
        forward: the value.
        gradient: value and gradient together; ``None`` for a model without a loss.
        implicit: the names of variables that solvers find; they count as ``solve_steps`` steps.
        backward: the part of the gradient's work that is the adjoint's equations.
        solve_steps: how many steps a solver is taken to need. A step evaluates the equation once;
            one of Newton's method also its derivative in each component, and solves for the change.
        memory: what a gradient allocates, if that was asked for.
    """

    model: str
    parameters: int
    lengths: dict[str, int]
    batch: int
    dtype: str
    forward: Side
    gradient: Side | None
    implicit: tuple[str, ...]
    backward: Work | None = None
    solve_steps: int = 1
    memory: Memory | None = None

    def __str__(self) -> str:
        from .show import text

        return text(self)

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        printer.text(str(self))  # what a notebook shows


def costs(
    program: Program,
    lengths: Mapping[str, int],
    batch: int = 1,
    dtype: str = "float64",
    solve_steps: int = 1,
) -> Costs:
    """The bill of a program whose sizes and constants are bound.

    Args:
        program: the model.
        lengths: a value for each of its lengths.
        batch: the number of sequences; what depends on parameters alone is counted once.
        dtype: ``"float64"`` or ``"float32"``.
        solve_steps: how many steps the solver of an implicit equation is taken to need.

    Raises:
        InputError: a length is missing, unknown or too small, or the batch is no positive number.
    """
    stated = _checked(program, lengths)
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        raise InputError(f"the batch is a positive integer, not {batch!r}")
    if isinstance(solve_steps, bool) or not isinstance(solve_steps, int) or solve_steps < 1:
        raise InputError(f"solve_steps is a positive integer, not {solve_steps!r}")
    shown = {o.name for o in program.outputs}
    losses = tuple(Output(n) for n in program.losses if n not in shown)
    value = simplify(program.with_(outputs=(*losses, *program.outputs), losses=()))
    gradient = None
    if program.losses and any(v.type.kind == "real" for v in program.params):
        gradient = adjoint(program.with_(outputs=()))
    return Costs(
        program.name,
        sum(numbers(v, stated) for v in program.params),
        stated,
        batch,
        dtype,
        side(value, stated, batch, dtype, solve_steps),
        side(gradient, stated, batch, dtype, solve_steps) if gradient is not None else None,
        tuple(sorted({e.name for e in value.equations if e.solver is not None})),
        None if gradient is None else _backward(gradient, stated, batch, solve_steps),
        solve_steps,
    )


def _checked(program: Program, lengths: Mapping[str, int]) -> dict[str, int]:
    for name in lengths:
        if name not in program.lengths:
            known = ", ".join(program.lengths) or "none"
            raise InputError(f"{program.name} has no length {name}; its lengths: {known}")
    for name in program.lengths:
        least = program.minimum.get(name, 1)
        value = lengths.get(name)
        if value is None:
            raise InputError(f"the length {name} of {program.name} is missing: {name}=1000")
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InputError(f"{name} is an integer of at least {least}, not {value!r}")
    return {n: lengths[n] for n in program.lengths}


def _backward(program: Program, lengths: Mapping[str, int], batch: int, solve_steps: int) -> Work:
    """The work of the equations that are computed from adjoints."""
    late = adjoints(program)
    return total_work(program, lengths, batch, solve_steps, late)


def total_work(
    program: Program,
    lengths: Mapping[str, int],
    batch: int,
    solve_steps: int = 1,
    only: Collection[str] | None = None,
) -> Work:
    """The work of all equations of a program, or of those that define variables in ``only``."""
    shared = shared_variables(program)
    total = Work()
    for eq in program.equations:
        if only is None or eq.name in only:
            once = equation_work(eq, lengths, solve_steps)
            total = total + once * (1 if eq.name in shared else batch)
    return total


def equation_work(eq: Equation, lengths: Mapping[str, int], solve_steps: int = 1) -> Work:
    """The work of one equation at all of its points, for one sequence."""
    body = distinct(eq.rhs, eq.indices)
    once = expression(body, eq.domain, eq.indices, lengths, set())
    if eq.solver is None:
        return once
    if eq.solver.method == "newton":
        n = size(eq.rhs)
        # A Jacobian column by column, and elimination in it.
        elimination = Work(n * (n - 1) * (4 * n + 1) // 6 + (2 * n - 1) * n)
        once = once * (1 + n) + elimination * count(eq.domain, eq.indices, lengths)
    return once * solve_steps


def side(
    program: Program, lengths: Mapping[str, int], batch: int, dtype: str, solve_steps: int = 1
) -> Side:
    """The costs of one program."""
    shared = shared_variables(program)
    total = total_work(program, lengths, batch, solve_steps)

    def held(v: Var) -> int:
        width = {"real": 4 if dtype == "float32" else 8, "int": 8, "bool": 1}[v.type.kind]
        return numbers(v, lengths) * width * (1 if summed(v) or v.name in shared else batch)

    def summed(v: Var) -> bool:
        source = program.vars.get(v.adjoint_of or "")
        return source is not None and source.role == "param"

    outputs = {o.name for o in program.outputs} | set(program.losses)
    return Side(
        total,
        sum(held(v) for v in (*program.inputs, *program.params)),
        sum(held(program.vars[n]) for n in outputs),
        sum(held(program.vars[n]) for n in read_back(program)),
        sum(held(program.vars[n]) for n in read_back(program) if n in shared),
    )


def adjoints(program: Program) -> set[str]:
    """The variables of the way back: adjoints, and what is computed from them."""
    found = {n for n, v in program.vars.items() if v.adjoint_of is not None}
    # What is computed from adjoints belongs to the way back, whatever its name.
    grown = True
    while grown:
        grown = False
        for eq in program.equations:
            if eq.name not in found and names(eq.rhs) & found:
                found.add(eq.name)
                grown = True
    return found


def read_back(program: Program) -> list[str]:
    """The computed variables over time that equations of adjoints read.

    Vectors put end to end (``h[t] = [f[t]; b[t]]``) are not stored beside their parts: what is read
    of them is read of the parts.
    """
    late = adjoints(program)
    joined = _joined(program)
    work = [n for eq in program.equations if eq.name in late for n in names(eq.rhs)]
    read: set[str] = set()
    while work:
        name = work.pop()
        if name not in read:
            read.add(name)
            work += joined.get(name, ())
    return [
        v.name for v in program.vars.values()
        if v.role == "variable" and v.axes and v.name in read - set(joined) and v.name not in late
    ]  # fmt: skip


def _joined(program: Program) -> dict[str, list[str]]:
    """The variables that are others put together, at every step, with the names of these."""
    found: dict[str, list[str]] = {}
    others = set()
    for eq in program.equations:
        parts = eq.rhs.args if isinstance(eq.rhs, Call) and eq.rhs.op in _PUTTING else ()
        if parts and eq.solver is None and all(isinstance(a, Ref) for a in parts):
            found.setdefault(eq.name, []).extend(a.name for a in parts if isinstance(a, Ref))
        else:
            others.add(eq.name)
    return {n: parts for n, parts in found.items() if n not in others}


def numbers(v: Var, lengths: Mapping[str, int]) -> int:
    """How many numbers a variable holds, for one sequence."""
    total = 1
    for n in v.shape:
        total *= n.evaluate({})
    for axis in v.axes:
        total *= max((axis.hi - axis.lo + 1).evaluate(lengths), 0)
    return total


def expression(
    e: Expr,
    domain: Domain,
    indices: tuple[str, ...],
    lengths: Mapping[str, int],
    seen: set[tuple[Expr, Domain]],
) -> Work:
    """The work of an expression at all points of a domain.

    What stands there several times is done once, and so is what does not depend on an index: a
    normaliser ``logsumexp[s](…)`` inside of ``sum[s]`` costs one pass, not one a summand.
    """
    depends = free_symbols(e)
    free = tuple(i for i in indices if i in depends)
    if free != indices:
        domain = domain.project_out(i for i in indices if i not in depends)
    if (e, domain) in seen:
        return Work()
    seen.add((e, domain))
    if isinstance(e, Guard):
        return expression(e.body, domain & e.domain, free, lengths, seen)
    total = Work()
    if isinstance(e, Reduce):
        inner, over = domain & e.domain, (*free, *e.indices)
        each = Work(3, 1) if e.op == "logsumexp" else Work(1)
        total = each * (count(inner, over, lengths) * size(e))
        return total + expression(e.body, inner, over, lengths, seen)
    if isinstance(e, Call):
        total = work(e) * count(domain, free, lengths)
    for child in e.operands:
        total = total + expression(child, domain, free, lengths, seen)
    return total
