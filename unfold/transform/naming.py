"""Give names to intermediate values that a derivative will need.

before:  h[t] = z[t] * h[t-1] + (1 - z[t]) * tanh(W @ x[t] + U @ h[t-1])
after:   h_pre[t] = W @ x[t] + U @ h[t-1]
         h[t] = z[t] * h[t-1] + (1 - z[t]) * tanh(h_pre[t])
requires: nothing. Simplification inlines again what turns out to be used once.

Only *heavy* values are named (see `common.is_heavy`), and only where a derivative rule reads them:
an operand of a product whose other operand has a derivative, the argument of a non-linear function
that is not the root of its equation (the value of the root is the variable itself).

What a maximum is taken of is named too, unless it is the same to the bit wherever it is computed:
its derivative asks which values are equal to the maximum, and a value that another loop rounds in
another way is equal to none.
"""

from __future__ import annotations

from dataclasses import replace

from ..dependence import distinct
from ..domain import Domain
from ..expr import (
    Call,
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
from ..poly import Poly
from ..program import Axis, Equation, Program, Var, equation
from .common import axis_range, is_heavy, nameless

# Ops whose derivative reads no operand value.
LINEAR = frozenset(
    ("add", "sub", "neg", "sum", "transpose", "reshape", "broadcast", "concat", "stack", "slice")
    + ("pad", "take", "scatter", "real", "detach", "onehot", "argmax", "floor", "ceil", "round")
    + ("sign", "lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not", "floordiv", "half_lower")
)
PRODUCTS = frozenset({"mul", "matmul", "outer"})
# Ops whose derivative reads their result only.
OF_RESULT = frozenset(
    ("exp", "tanh", "sigmoid", "sqrt", "softmax", "log_softmax", "exp_diff", "inv", "cholesky")
)

EXTREMES = frozenset({"max", "min"})
# Ops that move, choose or compare numbers, and round none.
EXACT = frozenset(
    ("abs", "and", "argmax", "arrived", "broadcast", "ceil", "concat", "detach", "eq", "floor")
    + ("ge", "gt", "le", "lt", "max", "maximum", "min", "minimum", "ne", "neg", "not", "onehot")
    + ("or", "pad", "real", "relu", "reshape", "round", "scatter", "sign", "slice", "stack", "take")
    + ("transpose", "where")
)
# A sum of a product may be rounded once or twice, so that a value has ops of one kind only.
ROUNDED = (frozenset({"add", "sub"}), frozenset({"mul", "div"}))


def is_reproducible(e: Expr) -> bool:
    """Whether a value is the same to the bit wherever it is computed."""
    ops = {n.op for n in walk(e) if isinstance(n, (Call, Reduce))} - EXACT
    return any(ops <= rounded for rounded in ROUNDED)


class _Namer:
    def __init__(self, program: Program, active: set[str]) -> None:
        self.program = program
        self.active = active
        self.vars = dict(program.vars)
        self.extra: list[Equation] = []
        self.made: dict[tuple[Domain, Expr], str] = {}
        #: Whether an equation is looked at for the second time, for what has got a name in it.
        self.again = False

    def is_active(self, e: Expr) -> bool:
        return e.is_real and not names(e).isdisjoint(self.active)

    def name(self, e: Expr, eq: Equation, scope: Scope) -> Expr:
        """Introduce a variable for ``e`` and return the read of it.

        What has a name already, if under another index, keeps it: with a name for each place, the
        adjoint would have sums of its own for each.
        """
        read, var, piece = introduce(self.program, self.vars, e, eq, scope, f"{eq.name}_pre")
        form = nameless(piece)
        if form in self.made:
            return replace(read, name=self.made[form])
        self.made[form] = var.name
        self.vars[var.name] = var
        self.extra.append(piece)
        self.active.add(var.name)
        return read

    def has_name(self, e: Expr, eq: Equation, scope: Scope) -> bool:
        """Whether there is a variable for ``e``, if under another index."""
        *_, piece = introduce(self.program, self.vars, e, eq, scope, eq.name)
        return nameless(piece) in self.made

    def visit(self, e: Expr, eq: Equation, scope: Scope, root: bool) -> Expr:
        if not isinstance(e, (Call, Reduce, Guard)) or not self.is_active(e):
            return e
        if isinstance(e, Guard):
            return Guard(e.domain, self.visit(e.body, eq, scope.under(e), root))
        if isinstance(e, Reduce):
            inner = scope.under(e)
            body = self.visit(e.body, eq, inner, False)
            unsure = e.op in EXTREMES and not is_reproducible(body)
            if e.op != "sum" and (unsure or is_heavy(body)):
                body = self.name(body, eq, inner)
            result = Reduce(e.op, e.indices, e.domain, body)
            return self.name(result, eq, scope) if e.op != "sum" and not root else result
        args = [self.visit(a, eq, scope, False) for a in e.operands]
        for i, a in enumerate(args):
            if e.op in EXTREMES and not is_reproducible(a):
                args[i] = self.name(a, eq, scope)
                continue
            if not is_heavy(a):
                continue
            known = self.again and self.is_active(a) and self.has_name(a, eq, scope)
            if known or self.value_is_read(e, args, i, root):
                args[i] = self.name(a, eq, scope)
        return with_operands(e, tuple(args))

    def value_is_read(self, e: Call, args: list[Expr], i: int, root: bool) -> bool:
        if e.op in LINEAR or (e.op == "where" and i > 0):
            return False
        if e.op in PRODUCTS:
            return any(self.is_active(a) for j, a in enumerate(args) if j != i)
        return not (root and e.op in OF_RESULT)


class Scope:
    """The reductions and guards that enclose a place inside a right-hand side."""

    def __init__(self, bound: tuple[str, ...] = (), nodes: tuple[Guard | Reduce, ...] = ()) -> None:
        self.bound = bound
        self.nodes = nodes

    def under(self, node: Guard | Reduce) -> Scope:
        extra = node.indices if isinstance(node, Reduce) else ()
        return Scope(self.bound + extra, (*self.nodes, node))

    def outside(self) -> Scope:
        """Outside of the innermost of them."""
        node = self.nodes[-1]
        extra = len(node.indices) if isinstance(node, Reduce) else 0
        return Scope(self.bound[: len(self.bound) - extra], self.nodes[:-1])

    def around(self, e: Expr) -> Expr:
        """``e``, summed and guarded as its place in the right-hand side is."""
        for node in reversed(self.nodes):
            if isinstance(node, Guard):
                e = Guard(node.domain, e)
            else:
                e = Reduce("sum", node.indices, node.domain, e)
        return e


def introduce(
    program: Program,
    variables: dict[str, Var],
    e: Expr,
    eq: Equation,
    scope: Scope,
    stem: str,
) -> tuple[Ref, Var, Equation]:
    """A new generated variable that holds ``e`` wherever ``eq`` computes it.

    Its axes are the equation's free indices and the enclosing reductions' indices, so far as its
    value can depend on them.
    """
    domain = eq.domain
    for node in scope.nodes:
        domain = domain & node.domain
    # An index that is pinned to one position, or that the value does not depend on, is no axis
    # of the new variable.
    pinned = eq.pins
    loop = tuple(i for i in (*eq.indices, *scope.bound) if i not in pinned)
    used = free_symbols(e)
    indices = tuple(i for i in loop if i in used)
    given = program.given
    where = domain.simplified(given).subs(pinned).project_out(i for i in loop if i not in used)
    where = where.simplified(given)
    axes = tuple(Axis(i, *axis_range([where], i, indices, given)) for i in indices)
    name = fresh(stem, variables)
    var = Var(name, "variable", axes, e.shape, e.type, generated=True)
    read = Ref(name, tuple(Poly.symbol(i) for i in indices), e.shape, e.type)
    return read, var, equation(name, indices, where, e, eq.span)


def name_intermediates(program: Program, active: set[str]) -> Program:
    """Name the values that derivatives with respect to ``active`` variables will read."""
    namer = _Namer(program, set(active))
    equations: list[Equation] = []
    for eq in program.equations:
        # An index bound twice, once inside the other, would be two axes of one name.
        eq = replace(eq, rhs=distinct(eq.rhs, eq.indices))
        namer.extra = []
        # What an implicit equation computes depends on its own solution: nothing leaves it.
        rhs = eq.rhs if eq.solver else namer.visit(eq.rhs, eq, Scope(), True)
        if any(not set(piece.indices) <= set(eq.indices) for piece in namer.extra):
            # What a reduction reads under its own index may stand outside of it as well.
            namer.again = True
            rhs = namer.visit(rhs, eq, Scope(), True)
            namer.again = False
        equations.extend(namer.extra)
        equations.append(replace(eq, rhs=rhs))
    # An index that was made here is declared, where its range is that of another one.
    known = dict(program.indices)
    for axis in (axis for v in namer.vars.values() for axis in v.axes):
        if (axis.lo, axis.hi) in program.indices.values():
            known.setdefault(axis.index, (axis.lo, axis.hi))
    return program.with_(vars=namer.vars, equations=tuple(equations), indices=known)
