"""Which of the two kinds of native code a program gets, and the plan that kind begins with; and
whether a batch has a part that is done once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod

from unfold.cost.work import SYSTEMS
from unfold.expr import Call, Expr, Reduce, kinds, names, walk
from unfold.intern import remembered
from unfold.plan import Plan, accumulate, fuse, interchange, peel, plan, split
from unfold.plan.build import results_of, shared_variables
from unfold.program import Equation, Program
from unfold.transform.apart import Apart, apart, done_once
from unfold.transform.common import prune

from .components import dims

#: Up to so many instructions a program is written with a value for every component.
#: Beyond that, compiling takes longer than loops over components cost.
UNROLLED = 2500
#: Where something is computed at pairs of positions, loops do one sequence at a time. Up to so many
#: times as many instructions, registers that hold a component of several sequences are then better:
#: if equations have so few instructions each that loops would mostly begin and end.
PAIRED, SHORT = 3, 200
#: So many times as many where such a share of the work is on matrices that each sequence has for
#: itself, among them factors of products: no product for the whole batch is lost then.
OWN, SHARE = 4, 0.45
#: Up to so many, two registers of sequences go side by side: one computes while the other waits.
DOUBLED = 800
#: What is done once is so much of a program at least, in runs of so many steps.
_WORTH, _STEPS = 0.05, 50
#: From so many components on, those of one sequence go side by side.
SEVERAL = 4
#: From so many on, products of vectors at pairs of positions are products of matrices; what is
#: searched for is computed so many times at least.
LONG, SEARCHED = 16, 10


def is_small(program: Program) -> bool:
    """Whether every component can be a value of its own."""
    count = total(program)
    if count <= UNROLLED or count > UNROLLED * max(OWN, PAIRED):
        return count <= UNROLLED
    if is_about_own_matrices(program):
        return True
    short = count <= SHORT * len(prune(program).equations) and count <= UNROLLED * PAIRED
    return short and over_pairs(program)


def is_about_own_matrices(program: Program) -> bool:
    """Whether a good part of the work is on matrices that each sequence has for itself: states,
    such as fast weights, or data."""
    shared, equations = shared_variables(program), prune(program).equations
    if any(eq.solver is not None for eq in equations):
        return False

    def is_own(e: Expr) -> bool:
        return len(e.shape) == 2 and not names(e) <= shared

    nodes = [n for eq in equations for n in walk(eq.rhs)]
    # Sums of outer products are products over all of time and all sequences.
    sums = {n for n in nodes if isinstance(n, Reduce) and _is_outer(n.body)}
    own = [n for n in nodes if any(map(is_own, (n, *n.operands)))]
    summed = sums | {n.body for n in sums}
    own = [n for n in own if n not in summed]
    multiplied = any(isinstance(n, Call) and n.op == "matmul" for n in own)
    return multiplied and sum(map(_weight, own)) >= SHARE * total(program)


def _is_outer(e: Expr) -> bool:
    return isinstance(e, Call) and e.op == "outer"


def over_pairs(program: Program) -> bool:
    """Whether something is computed at pairs of positions, each known at run time only."""
    return any(_depth(eq) > 1 for eq in prune(program).equations)


def multiplies_at_pairs(program: Program) -> bool:
    """Whether long enough vectors are multiplied at pairs of positions, as in attention. For a
    single sequence the positions of one side are then what goes side by side in registers."""
    return any(
        isinstance(node, Call)
        and node.op == "matmul"
        and dims(node.args[0].shape)[-1] * (1 if eq.solver is None else SEARCHED) >= LONG
        for eq in prune(program).equations
        if "matmul" in kinds(eq.rhs) and _depth(eq) > 1
        for node in walk(eq.rhs)
    )


def _depth(eq: Equation) -> int:
    """How many indices of run-time extent the work of an equation runs over."""
    own = sum(eq.domain.constant_range(i) is None for i in eq.indices if i not in eq.pins)
    inner = [e for e in walk(eq.rhs) if isinstance(e, Reduce)]
    return own + max(
        (any(e.domain.constant_range(i) is None for i in e.indices) for e in inner), default=0
    )


def is_light(program: Program) -> bool:
    """Whether two registers of sequences should go side by side."""
    return total(program) <= DOUBLED


def has_vectors(program: Program) -> bool:
    """Whether vectors are long enough, or are multiplied with matrices.

    Components of one sequence then go side by side in registers (see `vectors`), which would only
    be in the way of the few scalars of other small systems.
    """
    return any(
        not kinds(eq.rhs).isdisjoint(("matmul", "outer")) or longest(eq.rhs) >= SEVERAL
        for eq in program.equations
    )


@remembered
def longest(e: Expr) -> int:
    """The most components that a part of an expression has."""
    return max(prod(dims(node.shape)) for node in walk(e))


def total(program: Program) -> int:
    """About how many instructions a program has if every component is a value of its own."""
    return sum(weight(eq.rhs) for eq in prune(program).equations)


def arranged(program: Program, small: bool, own: str | None = None) -> Plan:
    """The plan of a program for one of the kinds; ``own`` is a length of each sequence's own."""
    if small:
        return peel(split(fuse(accumulate(plan(program, own)))))
    return interchange(split(plan(program, own)))


def may_be_in_parts(program: Program) -> bool:
    """Whether it is worth a look at what a batch would do once: quickly found out."""
    once = done_once(program, shared_variables(program), _summed(program))
    return bool(once) and _is_worth(program, once)


def in_parts(program: Program) -> Apart | None:
    """The program in parts for a batch, where what is then done once is worth their code."""
    worth = partial(_is_worth, program)
    return apart(program, shared_variables(program), _summed(program), worth)


def _summed(program: Program) -> set[str]:
    return {r.name for r in results_of(program) if r.summed}


def _is_worth(program: Program, once: Sequence[Equation]) -> bool:
    return sum(map(_nominal, once)) >= _WORTH * sum(map(_nominal, program.equations))


def _nominal(eq: Equation) -> int:
    """About how many instructions an equation takes in a run of a few steps."""
    return weight(eq.rhs) * _STEPS ** _depth(eq)


@remembered
def weight(e: Expr) -> int:
    """About how many instructions an expression takes, every component by itself."""
    return sum(_weight(node) for node in walk(e))


def _weight(node: Expr) -> int:
    own = prod(dims(node.shape))
    if not isinstance(node, Call):
        return own
    if node.op == "matmul":
        return 2 * own * dims(node.args[0].shape)[-1]
    if node.op in SYSTEMS:
        n = dims(node.args[0].shape)[0]
        # Products, exchanges of rows by choices, and as much again for every right side.
        return 2 * n * (n * n + own)
    largest = max((prod(dims(a.shape)) for a in node.args), default=1)
    return max(own, largest)
