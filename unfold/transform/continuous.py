"""The continuous adjoint of a flow: the costate's differential equation, integrated backward.

before:  h.at[t] = h[t-1]      h[t] = continuous(0, rk4, 1, …, dt[t], h.at[t], f(h.at[t]))
after:   the stages of rk4 from (h[t], h_bar[t]) back over dt[t], for
             h' = f(h)      a' = -(df/dh)' a
         with the same substeps; h.at_bar[t] is where a arrives, and a parameter w receives the
         integral of (df/dw)' a by the scheme's weights. Many substeps stand on an axis of their
         own, counted back from the end of the step.

That is Pontryagin's costate (Pontryagin et al. 1962), computed as in Chen, Rubanova, Bettencourt
and Duvenaud, "Neural ordinary differential equations", 2018: no stage of the forward pass is kept,
and the state is found again by integrating back. It is the derivative of the solution of the
differential equation, not of what the scheme makes of it; the two differ by the error of the
scheme. The derivative in the length of the step is ``a . f`` at its end.

``continuous(state, scheme, substeps, value, step, starts…, slopes…)`` is ``value``. The slopes are
written at the start of the step, whose states are variables of their own, so that what renames,
moves or truncates equations keeps them right, and the state in a slope can be told from all else
that it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from ..domain import Domain
from ..expr import REAL, Call, Const, Expr, Reduce, Ref, fresh, kinds, rewrite, subs_positions, walk
from ..ops.record import broadcast_to, sum_over
from ..poly import Poly, Shape
from ..program import Axis, Equation, Program, Var, equation
from ..schemes import ROLLED, SCHEMES, Row, Scheme
from .common import is_heavy
from .naming import LINEAR

Key = tuple[object, ...]


@dataclass(frozen=True)
class Backward:
    """The states of one flow that asks for its continuous adjoint.

    Attributes:
        equations: of the states, in their order; all have the same indices and domain.
        step, starts, slopes: its length, the states at its start, the slopes there.
        scheme, substeps: how it is integrated.
    """

    equations: tuple[Equation, ...]
    step: Expr
    starts: tuple[Ref, ...]
    slopes: tuple[Expr, ...]
    scheme: str
    substeps: int


def is_marked(eq: Equation) -> bool:
    """Whether an equation asks for the continuous adjoint."""
    return isinstance(eq.rhs, Call) and eq.rhs.op == "continuous"


def key(eq: Equation) -> Key:
    """What tells an equation from all others, whatever its right-hand side becomes."""
    return eq.name, eq.indices, eq.domain


def flows(program: Program) -> list[Backward]:
    """All flows that ask for it.

    Raises ``ValueError`` where the equations of some of the states are missing.
    """
    groups: dict[Key, dict[int, Equation]] = {}
    for eq in program.equations:
        if is_marked(eq):
            assert isinstance(eq.rhs, Call)
            same = (eq.rhs.args[1:], eq.rhs.attr("scheme"), eq.rhs.attr("substeps"), eq.domain)
            groups.setdefault((*same, eq.indices), {})[eq.rhs.attr("state")] = eq
    found = []
    for parts in groups.values():
        rhs = next(iter(parts.values())).rhs
        assert isinstance(rhs, Call)
        count = (len(rhs.args) - 2) // 2
        starts, slopes = rhs.args[2 : 2 + count], rhs.args[2 + count :]
        if set(parts) != set(range(count)) or not all(isinstance(s, Ref) for s in starts):
            names = ", ".join(eq.name for eq in parts.values())
            raise ValueError(f"the flow of {names} has lost a state: no continuous adjoint")
        found.append(Backward(
            tuple(parts[k] for k in range(count)), rhs.args[1],
            tuple(s for s in starts if isinstance(s, Ref)), slopes,
            rhs.attr("scheme"), rhs.attr("substeps"),
        ))  # fmt: skip
    return found


def plain(program: Program) -> Program:
    """The program without marks: what a call computes."""
    if not any("continuous" in kinds(e.rhs) for e in program.equations):
        return program
    return program.with_(
        equations=tuple(e.with_rhs(rewrite(e.rhs, _value)) for e in program.equations)
    )


def influences(program: Program) -> Program:
    """The program with only those reads through which a derivative passes: the slopes of a marked
    equation, and not what its scheme made of them."""
    return program.with_(
        equations=tuple(
            e.with_rhs(_without_value(e.rhs)) if is_marked(e) else e for e in program.equations
        )
    )


def _calls(program: Program) -> list[Call]:
    return [n for e in program.equations for n in walk(e.rhs) if isinstance(n, Call)]


def _value(e: Expr) -> Expr:
    return e.args[0] if isinstance(e, Call) and e.op == "continuous" else e


def _without_value(rhs: Expr) -> Expr:
    assert isinstance(rhs, Call)
    zero = broadcast_to(Const(0.0), rhs.shape)
    return Call(rhs.op, (zero, *rhs.args[1:]), rhs.attrs, rhs.shape, rhs.type)


#: What `sweep` in `adjoint` offers: distribute a cotangent over an expression of an equation.
Sweep = Callable[[Equation, Expr, Expr], None]
#: The same, but return what the starts of the step receive.
Pull = Callable[[Equation, Expr, Expr, Sequence[Ref]], "list[Expr | None]"]


class Integrator:
    """Writes the backward integration of one flow.

    Attributes:
        variables, indices: grow by those of the integration.
        made: its equations.
        inner: the index of substeps that stand on an axis, while these are written.
    """

    def __init__(
        self,
        flow: Backward,
        variables: dict[str, Var],
        indices: dict[str, tuple[Poly, Poly]],
        given: Iterable[str],
        pull: Pull,
    ) -> None:
        self.flow = flow
        self.variables = variables
        self.indices = indices
        # The sizes and lengths of the program.
        self.given = frozenset(given)
        self.inner: str | None = None
        self.made: list[Equation] = []
        first = flow.equations[0]
        self.seeds = [
            Ref(f"%{k}", first.element, s.shape, s.type) for k, s in enumerate(flow.starts)
        ]
        # What each start receives from all slopes, for the costates `seeds`.
        self.pulled: list[Expr] = []
        received: list[list[Expr]] = [[] for _ in flow.starts]
        for eq, slope, seed in zip(flow.equations, flow.slopes, self.seeds, strict=True):
            for k, g in enumerate(pull(eq, slope, seed, flow.starts)):
                if g is not None:
                    received[k].append(g)
        for start, terms in zip(flow.starts, received, strict=True):
            total = _zero(start.shape)
            for number, term in enumerate(terms):
                total = term if number == 0 else total + term
            self.pulled.append(total)

    def define(self, k: int, stem: str, value: Expr) -> Ref:
        """A new variable of state ``k``, where the flow's equation holds."""
        eq = self.flow.equations[k]
        if self.inner is not None:
            made = self.declare(k, stem, value, 1)
            return self.define_at(k, made, value, Poly.symbol(self.inner), 1)
        made = self.declare(k, stem, value)
        self.made.append(equation(made.name, eq.indices, eq.domain, value, eq.span))
        return Ref(made.name, eq.element, value.shape, REAL)

    def declare(self, k: int, stem: str, value: Expr, first: int = 0) -> Var:
        """A new variable; on an axis of substeps, from ``first`` on."""
        eq = self.flow.equations[k]
        name = fresh(f"{eq.name}_back.{stem}", self.variables)
        axes = self.variables[eq.name].axes
        if self.inner is not None:
            last = Poly.of(self.flow.substeps)
            axes = (*axes, Axis(self.inner, Poly.of(first), last))
        made = Var(name, "variable", axes, value.shape, REAL, generated=True)
        self.variables[name] = made
        return made

    def define_at(self, k: int, made: Var, value: Expr, at: Poly, first: int) -> Ref:
        """An equation for the substeps from ``first`` on, or for the one at a number."""
        eq = self.flow.equations[k]
        assert self.inner is not None
        last = self.flow.substeps if at.symbols else first
        domain = eq.domain & Domain.range(self.inner, first, last)
        self.made.append(equation(made.name, (*eq.indices, self.inner), domain, value, eq.span))
        return Ref(made.name, (*eq.element, at), value.shape, REAL)

    def run(self, costates: Sequence[Expr], sweep: Sweep) -> tuple[list[Expr], Expr]:
        """Integrate back from the states and their costates at the end of the step.

        What else the slopes read receives its part through ``sweep``. Returns the costates at the
        start, and the derivative in the length of the step.
        """
        flow = self.flow
        scheme = SCHEMES[flow.scheme]
        ends: list[Expr] = [
            Ref(eq.name, eq.element, s.shape, s.type)
            for eq, s in zip(flow.equations, flow.starts, strict=True)
        ]
        part = flow.step if flow.substeps == 1 else flow.step / float(flow.substeps)
        if flow.substeps >= ROLLED:
            return self.rolled(scheme, ends, costates, part, sweep)
        # Under names of their own: what slopes read of a state that is no state to them, an
        # element of long ago, has an adjoint.
        states: list[Expr] = [self.define(k, "y", end) for k, end in enumerate(ends)]
        costates = list(costates)
        by_step: Expr | None = None
        for n in range(flow.substeps):
            tag = f"{n + 1}." if flow.substeps > 1 else ""
            slopes, bends, at_end = self.substep(scheme, states, costates, part, tag, sweep)
            by_step = at_end if by_step is None else by_step
            costates = self.moved(costates, part, scheme.b, bends, f"{tag}a")
            if n + 1 < flow.substeps:
                states = self.moved(states, part, scheme.b, slopes, f"{tag}y")
        assert by_step is not None
        return list(costates), by_step

    def rolled(
        self,
        scheme: Scheme,
        ends: Sequence[Expr],
        costates: Sequence[Expr],
        part: Expr,
        sweep: Sweep,
    ) -> tuple[list[Expr], Expr]:
        """`run` with the substeps on an axis: 0 is the end of the step, the last one its start."""
        self.inner = self.index()
        self.indices[self.inner] = Poly.of(1), Poly.of(self.flow.substeps)
        now = Poly.symbol(self.inner)
        chains = {
            stem: [self.declare(k, stem, v) for k, v in enumerate(values)]
            for stem, values in (("y", ends), ("a", costates))
        }
        before: dict[str, list[Expr]] = {}
        for stem, values in (("y", ends), ("a", costates)):
            before[stem] = []
            for k, (made, value) in enumerate(zip(chains[stem], values, strict=True)):
                first = self.define_at(k, made, value, Poly.of(0), 0)
                before[stem].append(replace(first, index=(*first.index[:-1], now - 1)))
        slopes, bends, by_step = self.substep(scheme, before["y"], before["a"], part, "", sweep)
        starts: list[Expr] = []
        for stem, known in (("y", slopes), ("a", bends)):
            for k, value in enumerate(self.combined(before[stem], part, scheme.b, known, stem)):
                read = self.define_at(k, chains[stem][k], value, now, 1)
                if stem == "a":
                    last = Poly.of(self.flow.substeps)
                    starts.append(replace(read, index=(*read.index[:-1], last)))
        by_step = subs_positions(by_step, {self.inner: 1})
        self.inner = None
        return starts, by_step

    def index(self) -> str:
        """A name for the axis of substeps, unlike all names there are."""
        taken = {*self.given, *self.indices, *self.variables}
        taken |= {a.index for v in self.variables.values() for a in v.axes}
        taken |= {i for eq in self.flow.equations for i in eq.indices}
        for slope in (*self.flow.slopes, *self.pulled):
            for node in walk(slope):
                taken |= set(node.indices) if isinstance(node, Reduce) else set()
        return fresh("n", taken)

    def substep(
        self,
        scheme: Scheme,
        states: Sequence[Expr],
        costates: Sequence[Expr],
        part: Expr,
        tag: str,
        sweep: Sweep,
    ) -> tuple[list[list[Expr]], list[list[Expr]], Expr]:
        """The stages of one substep: the slopes of states and costates, and the product of the
        first slopes with the costates."""
        flow = self.flow
        slopes: list[list[Expr]] = [[] for _ in states]
        bends: list[list[Expr]] = [[] for _ in states]
        by_step: Expr | None = None
        for stage, row in enumerate(scheme.a, 1):
            here, there = list(states), list(costates)
            if stage > 1:
                here = self.moved(states, part, row, slopes, f"{tag}y{stage}")
                there = self.moved(costates, part, row, bends, f"{tag}a{stage}")
            at = dict(zip(flow.starts, here, strict=True))
            self.share(at)
            weight = scheme.b[stage - 1]
            for k, slope in enumerate(flow.slopes):
                value = _replaced(slope, at)
                k_slope = self.define(k, f"{tag}k{stage}", value)
                slopes[k].append(k_slope)
                if weight:
                    own = replace(self.made[-1], rhs=value)
                    seed = there[k] * (float(weight) * part)
                    sweep(own, value, seed)
            if by_step is None:
                by_step = _dot([s[0] for s in slopes], there)
            both = {**at, **dict(zip(self.seeds, there, strict=True))}
            for k, pulled in enumerate(self.pulled):
                bends[k].append(self.define(k, f"{tag}g{stage}", _replaced(pulled, both)))
        assert by_step is not None
        return slopes, bends, by_step

    def share(self, at: dict[Ref, Expr]) -> None:
        """Name what is expensive in the slopes: their derivative, and that of what they read, will
        use it too. Simplification takes away the names that nobody reads."""
        for k, slope in enumerate(self.flow.slopes):
            for node in walk(slope):
                inside = isinstance(node, Call) and node is not slope
                if inside and is_heavy(node) and isinstance(node, Call) and node.op not in LINEAR:
                    free = {r for r in walk(node) if isinstance(r, Ref)}
                    if free & set(at) and not _is_bound(slope, node):
                        self.define(k, "pre", _replaced(node, at))

    def moved(
        self,
        base: Sequence[Expr],
        step: Expr,
        weights: Row,
        slopes: Sequence[Sequence[Expr]],
        stem: str,
    ) -> list[Expr]:
        """`combined`, under a name for each."""
        values = self.combined(base, step, weights, slopes, stem)
        return [self.define(k, stem, value) for k, value in enumerate(values)]

    def combined(
        self,
        base: Sequence[Expr],
        step: Expr,
        weights: Row,
        slopes: Sequence[Sequence[Expr]],
        stem: str,
    ) -> list[Expr]:
        """States go back by ``step`` times a combination of slopes, costates forward by that of
        what they pull: the signs of ``h' = f`` and ``a' = -(df/dh)' a`` in backward time."""
        sign = -1.0 if stem.lstrip("0123456789.").startswith("y") else 1.0
        found: list[Expr] = []
        for start, known in zip(base, slopes, strict=True):
            total = start
            for weight, slope in zip(weights, known, strict=False):
                if weight:
                    total = total + slope * (step * (sign * float(Fraction(weight))))
            found.append(total)
        return found


def _is_bound(root: Expr, node: Expr) -> bool:
    """Whether a node stands inside a reduction or a guard."""
    return node not in _outside(root)


def _outside(root: Expr) -> set[Expr]:
    found: set[Expr] = set()
    stack = [root]
    while stack:
        e = stack.pop()
        if e not in found:
            found.add(e)
            stack.extend(e.args if isinstance(e, Call) else ())
    return found


def _replaced(e: Expr, values: dict[Ref, Expr]) -> Expr:
    def one(node: Expr) -> Expr:
        return values.get(node, node) if isinstance(node, Ref) else node

    return rewrite(e, one)


def _zero(shape: Shape) -> Expr:
    return broadcast_to(Const(0.0), shape)


def _dot(slopes: Sequence[Expr], costates: Sequence[Expr]) -> Expr:
    total: Expr | None = None
    for slope, costate in zip(slopes, costates, strict=True):
        product = slope * costate
        term = sum_over(product, None) if product.shape else product
        total = term if total is None else total + term
    assert total is not None
    return total


__all__ = ["Backward", "Integrator", "flows", "influences", "is_marked", "key", "plain"]
