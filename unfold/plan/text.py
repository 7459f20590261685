"""A plan as text, for people: `unfold show --after plan`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..domain import Domain
from ..expr import Call, Const, Expr, Guard, Position, Reduce, Ref
from ..implicit import parts
from ..poly import Poly
from .nodes import Buffer, Loop, Node, Plan, Result, Statement

_INFIX = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "pow": "**", "matmul": "@", "lt": "<",
    "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!=", "and": "and", "or": "or",
}  # fmt: skip


def show(plan: Plan) -> str:
    """Buffers first, then the loops, then what is returned."""
    lines = [f"plan {plan.program.name}({', '.join(plan.lengths)}):"]
    lines += [f"    {buffer(b)}" for b in plan.buffers.values()]
    if plan.shared:
        lines += ["", "    once:", *_nodes(plan.shared, "        ")]
    lines += ["", "    for each sequence:", *_nodes(plan.body, "        "), ""]
    lines += [f"    return {_result(r)}" for r in plan.results]
    return "\n".join(lines)


def buffer(b: Buffer) -> str:
    """``work h[0..T]: real[4]``"""
    axes = f"[{', '.join(f'{lo}..{hi}' for lo, hi in b.axes)}]" if b.axes else ""
    shape = f"[{', '.join(map(str, b.shape))}]" if b.shape else ""
    return f"{b.kind} {b.name}{axes}: {b.type}{shape}{', shared' if b.shared else ''}"


def _result(r: Result) -> str:
    return f"{r.name}[{', '.join(f'{lo}..{hi}' for lo, hi in r.ranges)}]" if r.ranges else r.name


def _nodes(nodes: Sequence[Node], indent: str) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, Loop):
            yield f"{indent}{_loop(node)}:"
            yield from _nodes(node.body, indent + "    ")
        else:
            yield f"{indent}{_statement(node)}"


def _loop(loop: Loop) -> str:
    parts = [f"{_end('max', lows)}..{_end('min', highs)}" for lows, highs in loop.ranges]
    way = "" if loop.direction > 0 else " backward"
    kind = "all" if loop.parallel else "scan"
    return f"{kind} {loop.index} in {' and '.join(parts)}{way}"


def _end(which: str, bounds: Sequence[Poly]) -> str:
    return str(bounds[0]) if len(bounds) == 1 else f"{which}({', '.join(map(str, bounds))})"


def _statement(s: Statement) -> str:
    where = f"    where {domain(s.guard)}" if s.guard.constraints else ""
    index = _index(s.position)
    if s.solver is None:
        return f"{s.target}{index} {'+=' if s.adds else '='} {expression(s.rhs)}{where}"
    rhs, start = parts(s.rhs)
    begin = "" if start is None else f" from {expression(start)}"
    return f"solve {s.target}{index}{begin} by {s.solver.method}: {expression(rhs)}{where}"


def domain(d: Domain) -> str:
    """``t >= 2, s <= t``: each constraint with positive terms on both sides."""
    parts = []
    for p in d.constraints:
        left = Poly(tuple((m, c) for m, c in p.terms if c > 0))
        right = Poly(tuple((m, -c) for m, c in p.terms if c < 0))
        parts.append(f"{left} >= {right}")
    return ", ".join(parts)


def _index(position: Sequence[Poly]) -> str:
    return f"[{', '.join(p.compact() for p in position)}]" if position else ""


def expression(e: Expr) -> str:
    """An expression, with every operation in brackets that is an operand of another."""
    if isinstance(e, Const):
        return str(e.value)
    if isinstance(e, Position):
        return e.poly.compact() if e.poly.as_symbol else f"({e.poly})"
    if isinstance(e, Ref):
        return e.name + _index(e.index)
    if isinstance(e, Guard):
        return f"({expression(e.body)} if {domain(e.domain)})"
    if isinstance(e, Reduce):
        return f"{e.op}[{domain(e.domain)}]({expression(e.body)})"
    assert isinstance(e, Call)
    args = [expression(a) for a in e.args]
    if e.op in _INFIX:
        pair = [f"({a})" if _is_infix(x) else a for a, x in zip(args, e.args, strict=True)]
        return f"{pair[0]} {_INFIX[e.op]} {pair[1]}"
    if e.op == "neg":
        return f"-({args[0]})" if _is_infix(e.args[0]) else f"-{args[0]}"
    if e.op == "transpose":
        return f"({args[0]})'" if _is_infix(e.args[0]) else f"{args[0]}'"
    extra = [f"{k} = {_attr(v)}" for k, v in e.attrs if v is not None]
    return f"{e.op}({', '.join([*args, *extra])})"


def _is_infix(e: Expr) -> bool:
    return isinstance(e, Call) and (e.op in _INFIX or e.op == "neg")


def _attr(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return str(value)
