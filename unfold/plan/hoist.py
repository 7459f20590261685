"""Take matrix products and reductions out of loops that do not change them.

before:  scan t: h[t] = tanh(W @ x[t] + U @ h[t-1] + b)
after:   all t:  h_in[t] = W @ x[t] + b            one product for all of time
         scan t: h[t] = tanh(h_in[t] + U @ h[t-1])

before:  solve z[t]: z[t] = tanh(W @ z[t] + tanh(V @ x[t]))
after:   z_in[t] = tanh(V @ x[t])                  once, not in every step of the search
         solve z[t]: z[t] = tanh(W @ z[t] + z_in[t])

before:  U_bar = sum[t](outer(2 * g[t], h[t-1]))
after:   all t:  U_left[t] = 2 * g[t]
         U_bar = sum[t](outer(U_left[t], h[t-1]))  one product with time as its inner dimension

before:  scan t: a[t] = x[t] / exp(s) + logsumexp(A' + a[t-1], axis = 1)
after:   a_fixed = exp(s)                          once
         a_fixed_1 = A'                            read row by row, as it then stands
         scan t: a[t] = x[t] / a_fixed + logsumexp(a_fixed_1 + a[t-1], axis = 1)

requires: a program without free sizes. What is taken out becomes a variable with an equation, so
the schedule finds its place; nothing here decides an order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from operator import add

from ..dependence import distinct
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
    kinds,
    names,
    subs_positions,
    walk,
    with_operands,
)
from ..ops.functions import FUNCTIONS
from ..poly import Poly
from ..program import Axis, Equation, Program, Var
from ..schedule import Node, Scan, schedule
from ..transform.common import axis_range, nameless

#: What is worth a place of its own outside of a loop over time, and outside of a search.
_REDUCTIONS = frozenset(("Reduce",))
_PRODUCTS = _REDUCTIONS | {"matmul", "outer"}
_SEARCHED = _PRODUCTS | FUNCTIONS
#: What takes more than an instruction for each number of its result.
_COSTLY = FUNCTIONS | {
    "pow", "softmax", "log_softmax", "logsumexp", "cross_entropy", "sum", "max", "min", "argmax",
    "solve", "inv", "logdet", "cholesky",
}  # fmt: skip
#: What takes a matrix as it stands, row by row or column by column.
_EITHER_WAY = frozenset(("matmul", "outer", "transpose"))
#: What only puts components elsewhere, or repeats them.
_MOVES = frozenset(("reshape", "broadcast", "real"))


def hoist(program: Program) -> Program:
    """The program with every matrix product and every reduction in the outermost place it can
    have."""
    return _hoisted(program, _PRODUCTS)


def steady(program: Program) -> Program:
    """The same, but products stay where they are, unless in the search for a solution."""
    return _hoisted(program, _REDUCTIONS)


def _hoisted(program: Program, sought: frozenset[str]) -> Program:
    loops = carried_names(program)
    work = _Hoister(program, sought)
    for number, eq in enumerate(program.equations):
        nest = tuple(i for i in eq.indices if i not in eq.pins)
        carried, wanted = loops.get(number, frozenset()), sought
        if eq.solver is not None:
            # The search for a solution is a loop too, which only its unknown changes.
            carried, wanted = carried | {eq.name}, _SEARCHED
        place = _Place(eq, nest, eq.domain, carried, wanted)
        rhs = work.expression(distinct(eq.rhs, eq.indices), place, root=True)
        work.equations.append(Equation(eq.name, eq.indices, eq.domain, rhs, eq.span, eq.solver))
    return program.with_(vars=work.vars, equations=tuple(work.equations))


def carried_names(program: Program) -> dict[int, frozenset[str]]:
    """For each piece inside a scan, the variables that the scan computes."""
    found: dict[int, frozenset[str]] = {}

    def pieces(node: Node) -> list[int]:
        if isinstance(node, Scan):
            return [n for inner in node.body for n in pieces(inner)]
        return [node.piece]

    for node in schedule(program).nodes:
        if isinstance(node, Scan):
            inside = pieces(node)
            together = frozenset(program.equations[n].name for n in inside)
            found |= dict.fromkeys(inside, together)
    return found


@dataclass(frozen=True)
class _Place:
    """Where an expression stands: its equation, the loops around it, what those compute, and which
    operations are looked for."""

    equation: Equation
    nest: tuple[str, ...]
    domain: Domain
    carried: frozenset[str]
    sought: frozenset[str]

    def under(self, node: Guard | Reduce) -> _Place:
        inner = node.indices if isinstance(node, Reduce) else ()
        domain = self.domain & node.domain
        return replace(self, nest=self.nest + inner, domain=domain)


class _Hoister:
    def __init__(self, program: Program, sought: frozenset[str]) -> None:
        self.program = program
        self.sought = sought
        self.given = program.given
        self.vars: dict[str, Var] = dict(program.vars)
        self.equations: list[Equation] = []
        self.known: dict[tuple[Domain, Expr], str] = {}

    def expression(self, e: Expr, place: _Place, root: bool = False) -> Expr:
        """``e`` with what can leave its loops replaced by reads of new variables."""
        if kinds(e).isdisjoint(place.sought):
            return self.fixed_apart(e, place)
        if not root and self.can_leave(e, place):
            moved = self.variable(e, place, "in")
            if moved is not None:
                return moved
        if isinstance(e, Call) and e.op == "add" and "matmul" in place.sought:
            return self.sum_of_terms(e, place)
        if isinstance(e, (Guard, Reduce)):
            body = self.expression(e.body, place.under(e))
            if isinstance(e, Guard):
                return Guard(e.domain, body)
            if "outer" in place.sought:
                return self.reduction(e, body, place)
            return Reduce(e.op, e.indices, e.domain, body)
        if isinstance(e, Call) and e.op in _EITHER_WAY:
            return with_operands(e, tuple(self.as_it_stands(c, place) for c in e.operands))
        return with_operands(e, tuple(self.expression(c, place) for c in e.operands))

    def as_it_stands(self, e: Expr, place: _Place) -> Expr:
        """The operand of what reads a matrix by rows or by columns."""
        if isinstance(e, Call) and e.op == "transpose":
            return with_operands(e, tuple(self.as_it_stands(c, place) for c in e.operands))
        return self.expression(e, place)

    def fixed_apart(self, e: Expr, place: _Place) -> Expr:
        """An expression without products, where functions of what never changes are read, and so
        are matrices that would be read across their rows."""
        apart = _COSTLY | {"transpose"} if "matmul" in self.sought else _COSTLY
        if not place.nest or kinds(e).isdisjoint(apart):
            return e
        if isinstance(e, Call) and e.op not in _MOVES and self.is_constant(e, place):
            return self.variable(e, place, "fixed") or e
        inside = place.under(e) if isinstance(e, (Guard, Reduce)) else place
        return with_operands(e, tuple(self.fixed_apart(c, inside) for c in e.operands))

    def is_constant(self, e: Expr, place: _Place) -> bool:
        """Whether an expression is made of what has one value for all steps."""
        read = names(e)
        unchanged = not free_symbols(e) & set(place.nest) and not read & place.carried
        return unchanged and bool(read) and not any(self.vars[n].axes for n in read)

    def can_leave(self, e: Expr, place: _Place) -> bool:
        """Whether some loop around the expression does not change it."""
        if isinstance(e, Ref) or (isinstance(e, Call) and e.op == "transpose"):
            return False
        return self.unchanged(e, place)

    def unchanged(self, e: Expr, place: _Place) -> bool:
        inside = free_symbols(e) & set(place.nest)
        if len(inside) < len(place.nest):
            return True
        return bool(place.carried) and not names(e) & place.carried

    def sum_of_terms(self, e: Call, place: _Place) -> Expr:
        """Of a sum, the terms that can leave do so together."""
        found = self.params_first(terms(e), place)
        leaving = [t for t in found if self.unchanged(t, place)]
        products = not all(kinds(t).isdisjoint(place.sought) for t in leaving)
        groups: dict[frozenset[str], list[Expr]] = {}
        for t in leaving:
            groups.setdefault(free_symbols(t) & set(place.nest), []).append(t)
        if not products or len(leaving) == len(found):
            return with_operands(e, tuple(self.expression(c, place) for c in e.operands))
        # Small terms (a bias) go with the product that needs the most indices.
        widest = max(groups, key=lambda k: (len(k), sorted(k)))
        together = [t for k, g in groups.items() if k <= widest for t in g]
        alone = [t for t in leaving if t not in together]
        rest = [self.expression(t, place) for t in found if t not in leaving]
        moved = self.expression(reduce(add, together), place)
        return reduce(add, [moved, *(self.expression(t, place) for t in alone), *rest])

    def params_first(self, terms: list[Expr], place: _Place) -> list[Expr]:
        """Terms with those that depend on parameters alone (several biases, say) as one."""
        alike = [t for t in terms if self.is_fixed(t)]
        if len(alike) < 2:
            return terms
        moved = self.variable(reduce(add, alike), place, "bias")
        return terms if moved is None else [*(t for t in terms if t not in alike), moved]

    def is_fixed(self, e: Expr) -> bool:
        """Whether an expression is made of parameters without positions."""
        refs = [n for n in walk(e) if isinstance(n, Ref)]
        fixed = all(self.vars[n.name].role == "param" for n in refs)
        return bool(refs) and fixed and not free_symbols(e)

    def variable(self, e: Expr, place: _Place, suffix: str) -> Ref | None:
        """A new variable for an expression, over the indices it depends on; ``None`` if it has to
        stay."""
        if place.equation.solver is not None and place.equation.name in names(e):
            return None  # The solver asks for it at every step of its search.
        own = free_symbols(e)
        indices = tuple(i for i in place.nest if i in own)
        dropped = [i for i in place.nest if i not in own]
        # Of two indices that pin each other, as on a diagonal, both are needed.
        domain = place.domain.subs(place.equation.pins).project_out(dropped)
        domain = domain.simplified(self.given)
        here = tuple(Poly.symbol(i) for i in indices)
        key = nameless(Equation("", indices, domain, _unbound(e)))
        if key in self.known:
            return Ref(self.known[key], here, e.shape, e.type)
        axes = []
        try:
            for i in indices:
                axes.append(Axis(i, *axis_range([domain], i, indices, self.given)))
        except ValueError:
            return None
        name = fresh(f"{place.equation.name}_{suffix}", self.vars)
        self.vars[name] = Var(name, "variable", tuple(axes), e.shape, e.type, generated=True)
        self.known[key] = name
        made = Equation(name, indices, domain, e)
        carried = place.carried if names(e) & place.carried else frozenset()
        inner = _Place(made, indices, domain, carried, self.sought)
        self.equations.append(made.with_rhs(self.expression(e, inner, root=True)))
        return Ref(name, here, e.shape, e.type)

    # --- sums of outer products -------------------------------------------------------------------

    def reduction(self, e: Reduce, body: Expr, place: _Place) -> Expr:
        """A sum of products as a sum of products of variables, term by term."""
        parts = terms(body) if e.op == "sum" else [body]
        if e.op != "sum" or not any(_outer_part(t) for t in parts):
            return Reduce(e.op, e.indices, e.domain, body)
        inner = place.under(e)
        plain = [t for t in parts if not _outer_part(t)]
        sums: list[Expr] = [
            Reduce("sum", e.indices, e.domain, self.factors(t, inner))
            for t in parts
            if _outer_part(t)
        ]
        if plain:
            sums.append(Reduce("sum", e.indices, e.domain, reduce(add, plain)))
        return reduce(add, sums)

    def factors(self, term: Expr, place: _Place) -> Expr:
        found = _outer_part(term)
        assert found is not None
        scale, product = found
        left, right = product.args
        if scale is not None:
            left = scale * left
        ready = tuple(self.as_variable(side, place) for side in (left, right))
        return Call("outer", ready, (), product.shape, product.type)

    def as_variable(self, e: Expr, place: _Place) -> Expr:
        if isinstance(e, Ref):
            return e
        if isinstance(e, Call) and e.op == "concat" and not e.attr("axis"):
            # Vectors end to end are not copied: each has a block of the product.
            return with_operands(e, tuple(self.as_variable(a, place) for a in e.args))
        return self.variable(e, place, "factor") or e


def _unbound(e: Expr, depth: int = 0) -> Expr:
    """An expression without the names of the indices that reductions run over."""
    if "Reduce" not in kinds(e):
        return e
    if isinstance(e, Reduce):
        names = tuple(f"#{depth + k}'" for k in range(len(e.indices)))
        values = {i: Poly.symbol(n) for i, n in zip(e.indices, names, strict=True)}
        body = subs_positions(_unbound(e.body, depth + len(names)), values)
        return Reduce(e.op, names, e.domain.subs(values), body)
    return with_operands(e, tuple(_unbound(c, depth) for c in e.operands))


def terms(e: Expr) -> list[Expr]:
    """What an expression is the sum of: itself, if it is none."""
    if isinstance(e, Call) and e.op == "add" and all(a.shape == e.shape for a in e.args):
        return [t for a in e.args for t in terms(a)]
    return [e]


def _outer_part(e: Expr) -> tuple[Expr | None, Call] | None:
    """A scalar factor and the outer product, if ``e`` is their product."""
    if isinstance(e, Call) and e.op == "outer":
        return None, e
    if isinstance(e, Call) and e.op == "mul":
        for scale, other in (e.args, e.args[::-1]):
            if scale.shape == () and isinstance(other, Call) and other.op == "outer":
                return scale, other
    if isinstance(e, Call) and e.op == "neg":
        found = _outer_part(e.args[0])
        if found is not None:
            return (Const(-1.0) if found[0] is None else -found[0]), found[1]
    return None
