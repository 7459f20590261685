"""`solve` blocks: implicit equations, from the tree to the tables of a model.

    solve z[t] from z[t-1] by newton(tol = 1e-12):
        z[t] = x[t] + dt * f(z[t])

An equation of a block is an equation like any other, marked as `Implicit`. Inside the block an
unknown may be written without its index. Several unknowns of one block are found together: they
become slices of one stacked variable, whose equation is the implicit one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

from ..domain import Domain
from ..expr import INT, REAL, Const, Expr, Ref, fresh, rewrite
from ..implicit import begun
from ..ops import call
from ..ops.record import broadcast_to, reshape
from ..poly import Poly, ShapeError, broadcast, show_shape
from ..program import Equation, Solver, Var, equation
from ..syntax import tree as t
from . import sizes
from .operands import Hole, Value, settled
from .report import Failed, listed, nearest
from .scope import Block, Definition, Env, Implicit, Piece, Scope, Site
from .values import Reader

METHODS = ("picard", "anderson", "newton")
OPTIONS = ("tol", "max_steps")

N = TypeVar("N", bound=t.Node)


# --- from the tree ----------------------------------------------------------------------------


def declare(scope: Scope, block: t.Solve) -> list[t.Equation | t.Let]:
    """The equations of a block, as statements of the model; `Scope.implicit` marks them."""
    solver = _solver(scope, block.method)
    heads = {_name(head).text: head for head in block.targets}
    if len(heads) < len(block.targets):
        names = [_name(head) for head in block.targets]
        again = next(n for k, n in enumerate(names) if n in names[:k])
        scope.report.error(
            "E0704", f"`{again.text}` is an unknown of this block twice", (again.span, "again")
        )
    scope.used |= set(heads)
    owner = Block(solver, tuple(heads))
    found: list[t.Equation | t.Let] = []
    solved: dict[str, t.Equation] = {}
    wrong = False
    for statement in block.body:
        if isinstance(statement, t.Let):
            found.append(replace(statement, value=_indexed(statement.value, heads)))
            continue
        eq = _equation(scope, statement, heads, solved)
        if eq is None:
            wrong = True
        else:
            solved[_name(eq.targets[0]).text] = eq
    starts = dict(zip(heads, block.start, strict=False))
    for name, head in heads.items():
        if name in solved:
            eq = solved[name]
            start = _indexed(starts[name], heads) if name in starts else None
            scope.implicit[id(eq)] = Implicit(owner, start, head.span)
            found.append(eq)
            continue
        scope.lost |= {name}
        if not wrong:
            scope.report.error(
                "E0704",
                f"nothing is said about the unknown `{name}`",
                (head.span, "has no equation in this block"),
                helps=[f"add `{head.span.text} = …`, with {listed(heads)} on the right"],
            )
    return found


def _name(target: t.Expr) -> t.Name:
    base = target.base if isinstance(target, t.Subscript) else target
    assert isinstance(base, t.Name)
    return base


def _equation(
    scope: Scope,
    statement: t.Derivative | t.Equation,
    heads: Mapping[str, t.Name | t.Subscript],
    solved: Mapping[str, t.Equation],
) -> t.Equation | None:
    """An equation of the body with every unknown written out; ``None`` if something is wrong."""
    assert isinstance(statement, t.Equation)
    if len(statement.targets) > 1:
        scope.report.error(
            "E0704",
            "an unknown has an equation of its own",
            (statement.targets[0].span.to(statement.targets[-1].span), "several at once"),
            helps=["a `let` may name what they share"],
        )
        return None
    (target,) = statement.targets
    name = _name(target).text
    head = heads.get(name)
    if head is None:
        scope.lost |= {name}
        near = nearest(name, heads)
        first = next(iter(heads.values())).span.text
        scope.report.error(
            "E0704",
            f"this block solves for {listed(heads)}, not for `{name}`",
            (target.span, "no unknown of it"),
            (next(iter(heads.values())).span, "the unknown" if len(heads) == 1 else "the unknowns"),
            helps=[f"did you mean `{near}`?" if near else
                   "an equation for something else stands outside of the block; to solve for both, "
                   f"write `solve {first}, {target.span.text} by …:`"],
        )  # fmt: skip
        return None
    if isinstance(target, t.Subscript) and target != head:
        scope.report.error(
            "E0704",
            f"this block solves for `{head.span.text}`, not for `{target.span.text}`",
            (target.span, "another element"),
            (head.span, "the unknown"),
            helps=["where an equation holds is said behind it: "
                   f"`{head.span.text} = … for t >= 2`"],
        )  # fmt: skip
        return None
    if name in solved:
        scope.report.error(
            "E0704",
            f"`{name}` has two equations in this block",
            (target.span, "again"),
            (solved[name].targets[0].span, "first here"),
            helps=["pieces of a variable stand in blocks of their own"],
        )
        return None
    own = replace(head, span=target.span)
    return replace(statement, targets=(own,), value=_indexed(statement.value, heads))


def _indexed(node: N, heads: Mapping[str, t.Name | t.Subscript]) -> N:
    """``z[t]`` for every bare ``z``."""

    def go(value: Any) -> Any:
        if isinstance(value, t.Name) and value.text in heads:
            return replace(heads[value.text], span=value.span)
        if isinstance(value, tuple):
            return tuple(go(item) for item in value)
        if not isinstance(value, t.Node):
            return value
        kept = {"span"}
        if isinstance(value, t.Subscript):
            kept.add("base") if isinstance(value.base, t.Name) else None
        elif isinstance(value, (t.Call, t.Reduction)):
            kept.add("function")
        elif isinstance(value, (t.Keyword, t.Member)):
            kept |= {"name", "index"}
        changes = {
            each.name: go(getattr(value, each.name))
            for each in fields(value)
            if each.name not in kept
        }
        return replace(value, **changes)

    result: N = go(node)
    return result


def _solver(scope: Scope, method: t.Call) -> Solver:
    """The method and its options; what is wrong is reported and left at its default."""
    name = method.function.text
    if name not in METHODS:
        near = nearest(name, METHODS)
        flow = name in ("euler", "midpoint", "rk4", "dopri5")
        scope.report.error(
            "E0701",
            f"there is no method `{name}` to solve an equation",
            (method.function.span, "unknown"),
            helps=[f"did you mean `{near}`?" if near else
                   "`by picard`, `by anderson` or `by newton`"
                   + ("; a differential equation is a `flow`" if flow else "")],
        )  # fmt: skip
        name = near or Solver().method
    for argument in method.arguments:
        scope.report.error(
            "E0702",
            "the options of a method have names",
            (argument.span, "which option?"),
            helps=[f"write `{name}(tol = 1e-10, max_steps = 200)`, or just `{name}`"],
        )
    given: dict[str, Any] = {}
    for keyword in method.keywords:
        option = keyword.name.text
        if option not in OPTIONS:
            near = nearest(option, OPTIONS)
            scope.report.error(
                "E0702",
                f"`{name}` has no option `{option}`",
                (keyword.name.span, "unknown"),
                helps=[f"did you mean `{near}`?" if near else f"it has {listed(OPTIONS)}"],
            )
        else:
            given[option] = _option(scope, keyword)
    return Solver(name, **{k: v for k, v in given.items() if v is not None})


def _option(scope: Scope, keyword: t.Keyword) -> float | int | None:
    """The value of an option, ``None`` if it is wrong."""
    try:
        value = sizes.number(scope, keyword.value)
    except Failed:
        return None
    if keyword.name.text == "tol":
        if isinstance(value, tuple) or not 0.0 < value < 1.0:
            scope.report.error(
                "E0703",
                "`tol` is a number between 0 and 1",
                (keyword.value.span, "not one"),
                helps=["it bounds the last change of a component, relative to its size: "
                       "`tol = 1e-10`"],
            )  # fmt: skip
            return None
        return float(value)
    if isinstance(value, tuple) or value != int(value) or not 1 <= value <= 10**9:
        scope.report.error(
            "E0703",
            "`max_steps` is a whole number of steps, at least 1",
            (keyword.value.span, "not one"),
            helps=["more steps than this without a solution are an error: `max_steps = 200`"],
        )
        return None
    return int(value)


# --- the last reading -------------------------------------------------------------------------


def surroundings(piece: Piece) -> Env:
    """What surrounds the right-hand side of an equation."""
    taken = frozenset(piece.indices) | frozenset(piece.env)
    return Env(piece.env, domain=piece.domain, taken=taken)


def finish(scope: Scope, d: Definition, piece: Piece, reader: Reader) -> None:
    """What is special about the right-hand side of an implicit equation, once it is read."""
    implicit = piece.implicit
    if implicit is None or d.shape is None or d.type is None:
        return
    if d.type.kind != "real":
        raise scope.report.error(
            "E0705",
            f"only real unknowns can be solved for, and `{d.name}` is {d.type}",
            (implicit.head, f"{d.type}{show_shape(d.shape)}"),
        )
    block = implicit.block
    block.reads |= {s.name for s in reader.sites if _is_own(piece, s)}
    if implicit.start is None:
        return
    before = len(reader.sites)
    value = reader.value(implicit.start, surroundings(piece))
    for site in reader.sites[before:]:
        if _is_own(piece, site):
            raise scope.report.error(
                "E0706",
                "the search cannot begin at its own solution",
                (site.span, "not known yet"),
                helps=["begin at something known, such as the step before, or leave it out: the "
                       "search then begins at zero"],
            )  # fmt: skip
    if not isinstance(value, Hole):
        piece.start = _start(scope, d, implicit, settled(value, REAL))


def _is_own(piece: Piece, site: Site) -> bool:
    """Whether an unknown of the piece's own block is read, at the piece's own element."""
    assert piece.implicit is not None
    return site.name in piece.implicit.block.unknowns and _own(piece, site.index)


def _own(piece: Piece, index: tuple[Poly, ...]) -> bool:
    pins = {i: p for i in piece.indices if (p := piece.domain.fixed(i)) is not None}
    here = tuple(Poly.symbol(i).subs(pins) for i in piece.indices)
    return tuple(p.subs(pins) for p in index) == here


def _start(scope: Scope, d: Definition, implicit: Implicit, value: Value) -> Expr:
    assert d.shape is not None
    assert implicit.start is not None
    assert isinstance(value, Expr)
    if value.type.kind == "int":
        value = Const(float(value.value)) if isinstance(value, Const) else call("real", value)
    try:
        fits = value.type.kind == "real" and broadcast(value.shape, d.shape) == d.shape
    except ShapeError:
        fits = False
    if not fits:
        raise scope.report.error(
            "E0706",
            f"the search for `{d.name}` cannot begin here",
            (implicit.start.span, f"{value.type}{show_shape(value.shape)}"),
            (implicit.head, f"the unknown is {d.type}{show_shape(d.shape)}"),
        )
    return broadcast_to(value, d.shape)


def check(scope: Scope) -> None:
    """Warn of blocks that solve nothing; report unknowns that are not solved for together."""
    for block in scope.blocks():
        groups = _groups(scope, block)
        whole = groups and all(len(pieces) == len(block.unknowns) for pieces in groups)
        if not whole or any(p.rhs is None for pieces in groups for p in pieces):
            continue
        for first, *others in groups:
            for other in others:
                if (other.indices, other.domain) != (first.indices, first.domain):
                    scope.report.error(
                        "E0704",
                        f"`{first.name}` and `{other.name}` are not solved for at the same places",
                        (other.span, "holds elsewhere"),
                        (first.span, "than this"),
                        helps=["unknowns of one block have the same indices, and their equations "
                               "the same conditions; otherwise each has a block of its own"],
                    )  # fmt: skip
        if not block.reads:
            firsts = groups[0]
            scope.report.warning(
                "W0805",
                f"nothing has to be solved for {listed(block.unknowns)}",
                *((p.span, "gives it outright" if k == 0 else "") for k, p in enumerate(firsts)),
                helps=["an equation that does not read its unknown stands by itself, without "
                       "`solve`"],
            )  # fmt: skip


def _groups(scope: Scope, block: Block) -> list[list[Piece]]:
    """The pieces that a block solves together: one of each unknown, in their order."""
    columns = [
        [p for p in scope.definitions[n].pieces if p.implicit and p.implicit.block is block]
        for n in block.unknowns
        if n in scope.definitions
    ]
    return [list(group) for group in zip(*columns, strict=False)]


# --- to the program ---------------------------------------------------------------------------


def implicit_equation(scope: Scope, piece: Piece, domain: Domain) -> list[Equation]:
    """The equation of the one unknown of a block; those of several are made by `stacked`."""
    assert piece.implicit is not None
    assert piece.rhs is not None
    block = piece.implicit.block
    if len(block.unknowns) > 1:
        return []
    rhs = begun(piece.rhs, piece.start)
    return [equation(piece.name, piece.indices, domain, rhs, piece.span, block.solver)]


def stacked(scope: Scope, variables: dict[str, Var]) -> list[Equation]:
    """The equations of all blocks with several unknowns; ``variables`` gets the stacked ones.

    before:  u[t] = f(u[t], v[t])    v[t] = g(u[t], v[t])                      a scalar and a vector
    after:   u_v[t] = [[f(u_v[t][0], u_v[t][1:])]; g(u_v[t][0], u_v[t][1:])]   implicit
             u[t] = u_v[t][0]        v[t] = u_v[t][1:]
    """
    made: list[Equation] = []
    names: dict[tuple[str, ...], str] = {}
    for block in scope.blocks():
        if len(block.unknowns) < 2:
            continue
        # Scalars first: their place is then a number, whatever the sizes are.
        unknowns = sorted((variables[n] for n in block.unknowns), key=lambda v: bool(v.shape))
        if block.unknowns not in names:
            name = fresh("_".join(block.unknowns), {*scope.known_names(), *variables})
            names[block.unknowns] = name
            size = sum((_volume(v) for v in unknowns), Poly())
            variables[name] = Var(name, "variable", unknowns[0].axes, (size,), generated=True)
        whole = variables[names[block.unknowns]]
        for group in _groups(scope, block):
            pieces = {p.name: p for p in group}
            made += _stack(scope, whole, unknowns, pieces, block.solver)
    return made


def _volume(v: Var) -> Poly:
    total = Poly.const(1)
    for n in v.shape:
        total = total * n
    return total


def _stack(
    scope: Scope, whole: Var, unknowns: list[Var], pieces: Mapping[str, Piece], solver: Solver
) -> list[Equation]:
    first = pieces[unknowns[0].name]
    domain = first.domain.simplified(scope.given)
    here = tuple(Poly.symbol(i) for i in first.indices)
    at = Ref(whole.name, here, whole.shape, whole.type)
    shares: dict[str, Expr] = {}
    low = Poly()
    for v in unknowns:
        shares[v.name] = _share(at, low, low + _volume(v), v)
        low = low + _volume(v)

    def read(node: Expr) -> Expr:
        if isinstance(node, Ref) and node.name in shares and _own(first, node.index):
            return shares[node.name]
        return node

    maps = {n: rewrite(p.rhs, read) for n, p in pieces.items() if p.rhs is not None}
    starts = {n: p.start for n, p in pieces.items()}
    start = None
    if any(s is not None for s in starts.values()):
        zero = {v.name: broadcast_to(Const(0.0), v.shape) for v in unknowns}
        start = _joined([starts[v.name] or zero[v.name] for v in unknowns])
    rhs = begun(_joined([maps[v.name] for v in unknowns]), start)
    made = [equation(whole.name, first.indices, domain, rhs, first.span, solver)]
    for v in unknowns:
        span = pieces[v.name].span
        made.append(equation(v.name, first.indices, domain, shares[v.name], span))
    return made


def _share(whole: Expr, low: Poly, high: Poly, v: Var) -> Expr:
    """The components of one unknown in the stacked one."""
    if not v.shape:
        return call("take", whole, Const(low.constant, (), INT), axis=0)
    return reshape(call("slice", whole, axis=0, lo=low, hi=high), v.shape)


def _joined(parts: list[Expr]) -> Expr:
    """Scalars, then vectors and matrices, as one vector."""
    scalars = [e for e in parts if not e.shape]
    rest = [reshape(e, (_components(e),)) for e in parts if e.shape]
    if scalars:
        rest.insert(0, call("stack", *scalars))
    return rest[0] if len(rest) == 1 else call("concat", *rest, axis=0)


def _components(e: Expr) -> Poly:
    total = Poly.const(1)
    for n in e.shape:
        total = total * n
    return total


__all__ = ["check", "declare", "finish", "implicit_equation", "stacked"]
