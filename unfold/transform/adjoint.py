"""The adjoint of a program is a program: backpropagation through time as a rewriting of equations.

before:  h[t] = tanh(W @ x[t] + U @ h[t-1])         loss = sum[t](norm2(h[t]))
after:   the same, and
         h_pre_bar[t] = h_bar[t] * (1 - h[t]**2)
         h_bar[t] = 2 * h[t] + U' @ h_pre_bar[t+1] for t <= T-1
         U_bar = sum[t](outer(h_pre_bar[t], h[t-1]))  …
requires: the losses are scalars.

Reverse mode over recurrence equations (Gautam and Rajopadhye, "Reverse-mode automatic
differentiation of polyhedral programs"; Griewank and Walther, *Evaluating Derivatives*, 2008,
chapter 3, for the rules). Two steps:

1. *Sweep* each right-hand side from its root to its reads. A read ``u[f(i)]`` under the indices
   ``i`` ends with a cotangent ``c(i)``: a scatter, "for all i, add c(i) to u_bar[f(i)]".
2. *Gather*: turn each scatter into a term of the equation of ``u_bar[j]`` by solving ``f(i) = j``.
   Indices that j does not determine are summed; where there is no solution the term is absent, so
   terms carry a guard. A read at ``t-1`` becomes a read at ``t+1``, a read of ``h[T]`` a term on
   ``t = T``, a parameter's gradient a sum over time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ..dependence import distinct
from ..derivative import (
    NONE,
    add_cotangents,
    cotangents,
    passes_selection,
    reduction_cotangent,
    selection,
)
from ..domain import Domain
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
    walk,
    with_operands,
)
from ..implicit import parts, unknown
from ..ops import OPS
from ..ops.record import broadcast_to, where
from ..poly import Poly
from ..program import Equation, Output, Program, Var, equation, verify
from . import continuous
from .common import depends_on, is_heavy, is_simple, needed_for, prune, refit
from .gathering import Term, Terms
from .naming import Scope, introduce, name_intermediates
from .reuse import reuse
from .simplify import simplify
from .split import split_guards
from .unselected import unselected_adjoints, wild
from .whole import whole

_LAID_OUT = ("broadcast", "reshape", "transpose")


def adjoint(
    program: Program,
    wrt: Sequence[str] | None = None,
    of: Sequence[str] | None = None,
    simplified: bool = True,
) -> Program:
    """The program that computes, beside its outputs, the gradients of ``of`` in ``wrt``.

    Args:
        program: any program.
        wrt: names of real inputs, params or variables (default: all real params). The adjoint of
            a variable ``h`` is the total derivative of the sum of ``of`` in an amount added to
            ``h[t]``: the costate.
        of: names of scalar variables (default: the losses); their sum is differentiated.
        simplified: whether to simplify the result (tests compare the raw form as well).

    Returns:
        A program whose outputs are the losses, the outputs of ``program``, and ``NAME_bar`` for
        each of ``wrt``; `Var.adjoint_of` links them.

    Raises:
        ValueError: nothing to differentiate, an unknown name, or one that is not real or scalar.
    """
    targets = tuple(program.losses if of is None else of)
    if not targets:
        raise ValueError(f"{program.name} minimises nothing: name a scalar to differentiate")
    for name in targets:
        v = program.vars.get(name)
        if v is None or v.shape or v.axes or v.type.kind != "real":
            raise ValueError(f"{name} is not a real scalar of {program.name}")
    sources = tuple(v.name for v in program.params if _is_real(v)) if wrt is None else tuple(wrt)
    for name in sources:
        if name not in program.vars or not _is_real(program.vars[name]):
            raise ValueError(f"{name} is not a real input, param or variable of {program.name}")

    # All states of a flow are needed to integrate back, be they results or not.
    flowing = [eq.name for eq in program.equations if continuous.is_marked(eq)]
    kept = (*(Output(n) for n in targets), *(o for o in program.outputs if o.name not in targets))
    observed = _observe(program, (*sources, *flowing))
    program = prune(program.with_(outputs=(*kept, *observed), losses=()))
    back = continuous.flows(program)
    program = name_intermediates(program, _active(program, sources, targets))
    active = _active(program, sources, targets)

    sweep = _Sweep(program, active, set(sources), back)
    bars = tuple(Output(sweep.bars[n], full_output(program, n).ranges) for n in sources)
    result = whole(sweep.run(targets).with_(outputs=(*kept, *bars)), bars)
    if back:
        # Before `prune` takes the shared values of slopes away, which nothing reads yet.
        result = reuse(result)
    result = split_guards(refit(prune(result)))
    return verify(simplify(result) if simplified else prune(result))


def _active(program: Program, sources: Sequence[str], targets: Sequence[str]) -> set[str]:
    """The variables through which a derivative passes."""
    seen = continuous.influences(program)
    return depends_on(seen, sources) & needed_for(seen, targets)


def _is_real(v: Var) -> bool:
    return v.type.kind == "real" and v.role in ("input", "param", "variable")


def _observe(program: Program, sources: Iterable[str]) -> list[Output]:
    """State variables in ``wrt`` must stay although no output may name them."""
    return [full_output(program, n) for n in sources if program.vars[n].role == "variable"]


def full_output(program: Program, name: str) -> Output:
    """All elements of a variable on its indices' declared ranges (``1..T``), else all stored."""
    v = program.vars[name]
    ranges = []
    for axis in v.axes:
        lo, hi = axis.lo, axis.hi
        if axis.index in program.indices and v.role == "variable":
            want = Domain.range(axis.index, *program.indices[axis.index])
            if want.subset(Domain.range(axis.index, lo, hi), program.given):
                lo, hi = program.indices[axis.index]
        ranges.append((lo, hi))
    return Output(name, tuple(ranges))


class _Sweep:
    """Collects the terms of every adjoint variable, equation by equation."""

    def __init__(
        self,
        program: Program,
        active: set[str],
        sources: set[str],
        back: Sequence[continuous.Backward] = (),
    ) -> None:
        # What the marked equations compute; which derivatives they pass on is said by their marks.
        self.program = continuous.plain(program)
        self.given = program.given
        self.active = active | sources
        self.vars: dict[str, Var] = dict(program.vars)
        self.indices = dict(program.indices)
        self.terms = Terms(self.given, self.indices, self.vars)
        self.extra: list[Equation] = []
        self.bars: dict[str, str] = {}
        self.pieces: dict[str, list[Domain]] = {}
        # Where products with slopes have to mind what was not selected: see `unfold.derivative`.
        self.unselected = unselected_adjoints(continuous.influences(program), self.active)
        self.wild = wild(program) if self.unselected else {}
        # While an expression is swept for some of its elements only: these, and what they get.
        self.unknowns: dict[Ref, list[Expr]] | None = None
        # The flows whose adjoint is another flow.
        self.flows = back
        self.apart = {continuous.key(eq) for flow in back for eq in flow.equations}
        for eq in program.equations:
            own = tuple(Poly.symbol(a.index) for a in program.vars[eq.name].axes)
            named = eq.domain.subs(dict(zip(eq.indices, own, strict=True)))
            self.pieces.setdefault(eq.name, []).append(named)
        for name, v in program.vars.items():
            if name in self.active and v.type.kind == "real":
                bar = fresh(f"{name}_bar", self.vars)
                self.bars[name] = bar
                self.vars[bar] = Var(
                    bar, "variable", v.axes, v.shape, v.type,
                    adjoint_of=name, generated=name not in sources,
                )  # fmt: skip

    def run(self, targets: Sequence[str]) -> Program:
        for name in targets:
            if name in self.bars:
                self.terms.add(name, Term((), (), Domain(), Const(1.0)))
        for flow in self.flows:
            self.integrate(flow)
        for eq in self.program.equations:
            if continuous.key(eq) in self.apart:
                continue
            if eq.name in self.bars and not names(eq.rhs).isdisjoint(self.bars):
                v = self.vars[self.bars[eq.name]]
                seed: Expr = Ref(v.name, eq.element, v.shape, v.type)
                if eq.solver is not None:
                    # The solution does not depend on where the search for it began.
                    eq = replace(eq, rhs=parts(eq.rhs)[0])
                    seed = self.implicit(eq, seed)
                self.sweep(eq, eq.rhs, seed, Scope(), self.unselected.get(eq.name, NONE), True)
        adjoints = [
            eq
            for name, bar in self.bars.items()
            for eq in self.terms.gathered(name, self.vars[bar], self.pieces.get(name, ()))
        ]
        return self.program.with_(
            vars=self.vars,
            indices=self.indices,
            equations=(*self.program.equations, *self.extra, *adjoints),
        )

    def declare(self, e: Expr) -> None:
        """Declare what reductions run over, where its range is that of another index."""
        for node in walk(e):
            if not isinstance(node, Reduce):
                continue
            for i in node.indices:
                for lo, hi in tuple(self.indices.values()):
                    whole = Domain.range(i, lo, hi).constraints
                    if i not in self.indices and {*whole} <= {*node.domain.constraints}:
                        self.indices[i] = (lo, hi)

    def implicit(self, eq: Equation, received: Expr) -> Expr:
        """The cotangent of the right-hand side of an implicit equation ``z = F(z, …)``.

        By the implicit function theorem it solves the linear implicit equation
        ``z_lambda = z_bar + (dF/dz)' z_lambda`` (Bai, Kolter and Koltun 2019, theorem 1).
        """
        name = fresh(f"{eq.name}_lambda", self.vars)
        own = unknown(eq)
        seed = Ref(name, eq.element, eq.rhs.shape, eq.rhs.type)
        v = self.vars[eq.name]
        self.vars[name] = Var(name, "variable", v.axes, v.shape, v.type, generated=True)
        rhs = received
        self.unknowns = {own: []}
        self.sweep(eq, eq.rhs, seed, Scope(), self.unselected.get(eq.name, NONE), True)
        for term in self.unknowns[own]:
            rhs = rhs + term
        self.unknowns = None
        self.extra.append(equation(name, eq.indices, eq.domain, rhs, eq.span, eq.solver))
        return seed

    def integrate(self, flow: continuous.Backward) -> None:
        """The equations of a flow's costate, and what its step and slopes pass on."""
        if not any(eq.name in self.bars for eq in flow.equations):
            return
        costates: list[Expr] = []
        for eq in flow.equations:
            bar = self.bars.get(eq.name)
            shape = self.vars[eq.name].shape
            zero = broadcast_to(Const(0.0), shape)
            costates.append(zero if bar is None else Ref(bar, eq.element, shape))
        unselected = max(self.unselected.get(eq.name, NONE) for eq in flow.equations)

        def pull(eq: Equation, value: Expr, seed: Expr, to: Sequence[Ref]) -> list[Expr | None]:
            return self.pull(eq, value, seed, to, unselected)

        def sweep(eq: Equation, value: Expr, seed: Expr) -> None:
            self.sweep(eq, value, seed, Scope(), unselected, True)

        given = (*self.program.sizes, *self.program.lengths)
        made = continuous.Integrator(flow, self.vars, self.indices, given, pull)
        starts, by_step = made.run(costates, sweep)
        first = flow.equations[0]
        for start, costate in zip(flow.starts, starts, strict=True):
            if start.name in self.bars:
                self.scatter(first, start, costate, Scope())
        if self.is_active(flow.step):
            self.sweep(first, flow.step, by_step, Scope(), unselected, False)
        self.extra += made.made

    def pull(
        self, eq: Equation, value: Expr, seed: Expr, to: Sequence[Ref], unselected: int
    ) -> list[Expr | None]:
        """What the elements ``to`` receive when an expression receives ``seed``."""
        bars, self.bars = self.bars, {ref.name: "" for ref in to}
        self.unknowns = {ref: [] for ref in to}
        self.sweep(eq, value, seed, Scope(), unselected, False)
        received, self.bars = self.unknowns, bars
        self.unknowns = None
        found: list[Expr | None] = []
        for ref in to:
            total: Expr | None = None
            for term in received[ref]:
                total = term if total is None else total + term
            found.append(total)
        return found

    # --- step 1: from the root of a right-hand side to its reads ---

    def is_active(self, e: Expr) -> bool:
        return e.is_real and not names(e).isdisjoint(self.bars)

    def sweep(
        self, eq: Equation, root: Expr, seed: Expr, scope: Scope, unselected: int, top: bool
    ) -> None:
        """Distribute the cotangent ``seed`` of ``root`` over everything below it; ``unselected``
        says which components may be 0 because of a selection that it does not show."""
        received: dict[Expr, Expr] = {root: seed}
        passed: dict[Expr, int] = {root: unselected}
        # Users before operands; the bodies of reductions and guards are swept on their own.
        for node in reversed(list(_within(root))):
            g = received.get(node)
            if g is None or not self.is_active(node):
                continue
            if isinstance(node, Ref):
                self.scatter(eq, node, g, scope)
                continue
            zero = passed[node]
            place = scope
            if isinstance(node, Reduce):
                g, place = self.gathered(node, g, scope)
            g = self.named(eq, node, g, place)
            if isinstance(node, Guard):
                self.sweep(eq, node.body, g, place.under(node), zero, False)
            elif isinstance(node, Reduce):
                value = _value(eq, node, top and node is root)
                share = reduction_cotangent(node, g, value)
                # What is read of the reduction inside of it has indices of its own.
                share = distinct(share, (*eq.indices, *place.under(node).bound))
                self.declare(share)
                zero = passes_selection(None, node, g, zero, share)
                self.sweep(eq, node.body, share, place.under(node), zero, False)
            elif isinstance(node, Call) and node.op != "detach":
                value = _value(eq, node, top and node is root)
                shares = cotangents(node, g, value, OPS, zero, self.wild)
                for a, c in zip(node.args, shares, strict=True):
                    if c is not None and self.is_active(a):
                        after = passes_selection(OPS[node.op], node, g, zero, c)
                        if a in received:
                            c, after = add_cotangents(received[a], passed[a], c, after)
                        received[a], passed[a] = c, after

    def gathered(self, node: Reduce, g: Expr, scope: Scope) -> tuple[Expr, Scope]:
        """The cotangent of a reduction, summed over the reductions around it that it does not
        depend on: it is computed once, and so is what follows from its cotangent.

        before:  sum[i](a[i] * logsumexp[j](b[j]))    receives g * a[i] for every i
        after:   logsumexp[j](b[j])                   receives sum[i](g * a[i])
        """
        while scope.nodes and isinstance(around := scope.nodes[-1], Reduce):
            if not free_symbols(node).isdisjoint(around.indices):
                break
            g = Reduce("sum", around.indices, around.domain, g)
            some = around.domain.project_out(around.indices)
            scope = scope.outside()
            if not self.given.subset(some):
                scope = scope.under(Guard(some, g))
                break
        return g, scope

    def named(self, eq: Equation, node: Expr, g: Expr, scope: Scope) -> Expr:
        """Give a computed cotangent a name before it is used more than once."""
        if self.unknowns is not None or is_simple(g) or _uses(node, self.bars) < 2:
            return g
        if not is_heavy(g) and isinstance(node, Call) and len(node.args) == 1:
            return g
        if (chosen := selection(g)) is not None:
            # Only what is selected gets a name: the selection itself must stay in sight of
            # `cotangents`.
            condition, inner, first = chosen
            inner = self.named(eq, node, inner, scope)
            return where(condition, inner, 0.0) if first else where(condition, 0.0, inner)
        if isinstance(g, Call) and g.op in _LAID_OUT:
            # What is laid out anew, or repeated, is named before, where it is smaller.
            return with_operands(g, (self.named(eq, node, g.args[0], scope),))
        stem = f"{eq.name}_pre_bar"
        read, var, piece = introduce(self.program, self.vars, g, eq, scope, stem)
        self.vars[var.name] = var
        self.extra.append(piece)
        return read

    def scatter(self, eq: Equation, ref: Ref, g: Expr, scope: Scope) -> None:
        """Note that the element ``ref`` receives ``g``, for all points of the equation."""
        if self.unknowns is not None:
            if ref in self.unknowns:
                self.unknowns[ref].append(scope.around(g))
            return
        if eq.solver is not None and ref is unknown(eq):
            return
        domain = eq.domain
        for node in scope.nodes:
            domain = domain & node.domain
        pins = eq.pins
        loop = tuple(i for i in eq.indices if i not in pins) + scope.bound
        domain = domain.subs(pins)
        self.terms.add(ref.name, Term(ref.index, loop, domain, g))


def _within(root: Expr) -> list[Expr]:
    """The nodes of a right-hand side outside the bodies of its reductions and guards."""
    found: list[Expr] = []
    seen: set[Expr] = set()
    stack: list[tuple[Expr, bool]] = [(root, False)]
    while stack:
        node, done = stack.pop()
        if done:
            found.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            if isinstance(node, Call):
                stack.extend((c, False) for c in reversed(node.operands))
    return found


def _uses(e: Expr, bars: dict[str, str]) -> int:
    """How many active reads stand below a node."""
    count = 0
    for node in walk(e):
        for c in node.operands:
            if isinstance(c, Ref) and c.name in bars:
                count += 1
    return count


def _value(eq: Equation, node: Expr, is_root: bool) -> Expr:
    """The value of a node for derivative rules: the variable itself at the root."""
    return Ref(eq.name, eq.element, node.shape, node.type) if is_root else node


__all__ = ["adjoint", "full_output"]
