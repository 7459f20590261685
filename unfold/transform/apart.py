"""What depends on parameters alone is done once for a whole batch, there and back.

before:  x[t] = f(x[t-1], p)                          one trajectory, whatever the data
         loss = sum[t]((x[t] - y[t]) ** 2)            y: each sequence's own
         x_bar[t] = 2 * (x[t] - y[t]) + f'(x[t], p)' @ x_bar[t+1]
         p_bar = …x_bar…
after:   there   x[t] = f(x[t-1], p)
         each    loss = sum[t]((x[t] - y[t]) ** 2)    for each sequence
                 x_bar_sum[t] = x[t] - y[t]           added up over the batch
         back    x_bar[t] = 2 * x_bar_sum[t] + f'(x[t], p)' @ x_bar[t+1]
                 p_bar = …x_bar…

An adjoint is linear in what comes back to it, with factors from the way there. Where these factors
are the same for all sequences, what comes back may be added up first. (In JAX the order of the
rules does that: the transpose of a broadcast over the batch is a sum; here it is said of
equations.)

requires: a program without free sizes. Nothing is assumed of where it comes from: gradients and
their tangents are alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass, replace
from math import prod

from ..dependence import distinct
from ..domain import Domain
from ..expr import Call, Expr, Guard, Reduce, Ref, free_symbols, fresh, names, with_operands
from ..poly import Poly
from ..program import Axis, Equation, Output, Program, Var
from .common import axis_range, prune, refit

#: Linear in all operands together.
_TOGETHER = frozenset(
    ("add", "sub", "neg", "sum", "transpose", "reshape", "broadcast", "concat", "stack", "slice")
    + ("pad", "half_lower")
)
#: Linear in one operand, the others being factors: which ones that may be.
_ALONE = {
    "mul": (0, 1), "matmul": (0, 1), "outer": (0, 1), "div": (0,), "chain_rule": (0,),
    "solve": (1,), "take": (0,), "scatter": (0,),
}  # fmt: skip


@dataclass(frozen=True)
class Apart:
    """A program in three parts; what one computes for the next ones is a parameter of them.

    Attributes:
        there: computes what depends on parameters alone; ``None`` if nothing reads that.
        each: what is done for each sequence. Results whose variables are `summed`, and adjoints of
            parameters, are added up over a batch.
        back: computes the other results from these sums.
    """

    there: Program | None
    each: Program
    back: Program


def done_once(program: Program, shared: Set[str], summed: Set[str]) -> list[Equation]:
    """The equations that could be done once and do more than to pass something on.

    Args:
        shared: the params and what is computed from them alone.
        summed: results that are summed over a batch.
    """
    late = _late(program, shared, summed)
    return [
        eq
        for eq in program.equations
        if eq.name in late
        and not isinstance(eq.rhs, Ref)
        and not names(eq.rhs).isdisjoint(late.keys())
    ]


def apart(
    program: Program,
    shared: Set[str],
    summed: Set[str],
    worth: Callable[[Sequence[Equation]], bool],
) -> Apart | None:
    """The program in three parts, or ``None`` if nothing comes back that all sequences share.

    Args:
        shared: the params and what is computed from them alone.
        summed: results that are summed over a batch.
        worth: whether it is worth the trouble to do these equations once.
    """
    late = _late(program, shared, summed)
    split = _Splitter(program, shared, late)
    try:
        moved = [split.equation(eq) for eq in program.equations if eq.name in late]
    except ValueError:
        return None  # What would be added up has no bounds that hold for all lengths.
    # Results that are nothing but sums are left to the sequences, unless another one reads them.
    done = {eq.name for eq in moved if eq.name in summed and not split.is_sum(eq)}
    done |= _read(moved) & summed
    moved = [eq for eq in moved if eq.name in done or eq.name not in summed]
    if not done or not worth(moved):
        return None
    sums = {n: v for n, v in split.vars.items() if n in _read(moved)}
    added = [eq for eq in split.sums if eq.name in sums]
    left = tuple(o for o in program.outputs if o.name not in done)
    each = prune(
        program.with_(
            vars={**program.vars, **sums},
            equations=(*program.equations, *added),
            outputs=(*left, *map(_whole, sums.values())),
        )
    )
    variables = program.vars.values()
    back = prune(
        program.with_(
            vars={v.name: v for v in variables if v.role != "input"} | _as_params(sums),
            equations=(*(eq for eq in program.equations if eq.name in shared), *moved),
            outputs=tuple(o for o in program.outputs if o.name in done),
            losses=(),
        )
    )
    # What each sequence returns is its own result, and computed where it is needed.
    own = {o.name for o in program.outputs} | set(program.losses)
    fixed = {v.name: v for v in variables if v.role == "variable" and v.name in shared - own}
    read = _read(eq for eq in (*each.equations, *back.equations) if eq.name not in fixed)
    known = {n: v for n, v in fixed.items() if n in read}
    there = None
    if known:
        there = prune(program.with_(outputs=tuple(map(_whole, known.values())), losses=()))
        each, back = _given(each, known), _given(back, known)
    return Apart(there, each, _without_unread(back))


def _whole(v: Var) -> Output:
    """All of a variable."""
    return Output(v.name, tuple((a.lo, a.hi) for a in v.axes))


def _as_params(variables: dict[str, Var]) -> dict[str, Var]:
    return {n: replace(v, role="param", summed=False) for n, v in variables.items()}


def _given(program: Program, known: dict[str, Var]) -> Program:
    """The program with some of its variables as parameters."""
    equations = tuple(eq for eq in program.equations if eq.name not in known)
    return prune(program.with_(vars={**program.vars, **_as_params(known)}, equations=equations))


def _read(equations: Iterable[Equation]) -> set[str]:
    return {n for eq in equations for n in names(eq.rhs)}


def _late(program: Program, shared: Set[str], summed: Set[str]) -> dict[str, None]:
    """Variables that are linear in each other, with shared factors, and lead to sums only."""
    own = {o.name for o in program.outputs} | set(program.losses)
    late = dict.fromkeys(eq.name for eq in program.equations if eq.name not in shared)
    for name in own - summed:
        late.pop(name, None)
    count = -1
    while count != len(late):
        count = len(late)
        for eq in program.equations:
            if eq.name in late and eq.solver is None:
                bound = _bound(eq.rhs, late.keys(), shared)
            else:
                bound = {eq.name, *names(eq.rhs)}
            for name in bound & late.keys():
                del late[name]
    return late


def _bound(e: Expr, late: Set[str], shared: Set[str]) -> Set[str]:
    """Those of the late variables that an expression is not linear in, with shared factors."""
    read = names(e) & late
    if not read or isinstance(e, Ref):
        return frozenset()
    inner = _linear(e, late, shared)
    if inner is None:
        return read
    return frozenset().union(*(_bound(c, late, shared) for c in inner))


def _linear(e: Expr, late: Set[str], shared: Set[str]) -> tuple[Expr, ...] | None:
    """The operands that an expression is linear in, which are all those that read what is late;
    ``None`` if it is not linear in these, or has factors that are not shared."""
    if isinstance(e, Guard) or (isinstance(e, Reduce) and e.op == "sum"):
        return (e.body,)
    if not isinstance(e, Call):
        return None
    if e.op in _TOGETHER:
        return e.args
    if e.op == "where":
        return e.args[1:] if names(e.args[0]) <= shared else None
    spots = [k for k, a in enumerate(e.args) if not names(a) <= shared]
    if len(spots) == 1 and spots[0] in _ALONE.get(e.op, ()):
        return (e.args[spots[0]],)
    return None


class _Splitter:
    """Takes the parts that are added up out of equations of late variables.

    ``vars`` and ``sums`` are the new variables and their equations.
    """

    def __init__(self, program: Program, shared: Set[str], late: dict[str, None]) -> None:
        self.program = program
        self.shared = shared
        self.late = late.keys()
        self.taken = set(program.vars)
        self.vars: dict[str, Var] = {}
        self.sums: list[Equation] = []

    def equation(self, eq: Equation) -> Equation:
        """The equation with reads of sums where it reads what is each sequence's own."""
        nest = tuple(i for i in eq.indices if i not in eq.pins)
        domain = eq.domain.subs(eq.pins)
        return eq.with_rhs(self.expression(distinct(eq.rhs, eq.indices), eq.name, nest, domain))

    def is_sum(self, eq: Equation) -> bool:
        """Whether nothing but a sum is left of an equation."""
        return isinstance(eq.rhs, Ref) and eq.rhs.name in self.vars

    def expression(self, e: Expr, name: str, nest: tuple[str, ...], domain: Domain) -> Expr:
        """``e``, in a place where it is added to something linear, in loops over ``nest``."""
        if isinstance(e, Ref) and e.name in self.late:
            return e
        inner = _linear(e, self.late, self.shared)
        if names(e).isdisjoint(self.late):
            # As late as possible: only the one operand that is not a factor is added up.
            alone = isinstance(e, Call) and e.op in _ALONE
            if not alone or inner is None or _is_larger(inner[0], e):
                return self.sum(e, name, nest, domain)
        assert inner is not None
        if isinstance(e, (Guard, Reduce)):
            nest = nest + (e.indices if isinstance(e, Reduce) else ())
            domain = domain & e.domain
        changed = {c: self.expression(c, name, nest, domain) for c in inner}
        return with_operands(e, tuple(changed.get(c, c) for c in e.operands))

    def sum(self, e: Expr, name: str, nest: tuple[str, ...], domain: Domain) -> Expr:
        """A read of the sum of an expression over the batch."""
        own = free_symbols(e)
        indices = tuple(i for i in nest if i in own)
        dropped = [i for i in nest if i not in own]
        given = self.program.given
        domain = domain.project_out(dropped).simplified(given)
        axes = tuple(Axis(i, *axis_range([domain], i, indices, given)) for i in indices)
        made = fresh(f"{name}_sum", self.taken)
        self.taken.add(made)
        self.vars[made] = Var(made, "variable", axes, e.shape, e.type, generated=True, summed=True)
        self.sums.append(Equation(made, indices, domain, e))
        return Ref(made, tuple(Poly.symbol(i) for i in indices), e.shape, e.type)


def _is_larger(e: Expr, than: Expr) -> bool:
    """Whether an expression has so many more components that adding them up is no gain."""
    size, other = (prod(n.evaluate({}) for n in x.shape) for x in (e, than))
    return size > 8 * other


def _without_unread(program: Program) -> Program:
    """The program without parameters that nothing reads."""
    read = _read(program.equations)
    kept = {n: v for n, v in program.vars.items() if v.role != "param" or n in read}
    return refit(program.with_(vars=kept))


__all__ = ["Apart", "apart", "done_once"]
