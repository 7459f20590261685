"""Reading elements and components: `h[t-1]`, `x[t][0]`, `W[:, k]`, `E[x[t]]`, `layer[2][t]`.

A variable over n axes takes its first n subscripts as positions, which are affine; what follows
picks components. Each pair of brackets picks from what stands before it, one axis of the shape
after the other: `W[1:3, 0]` has an entry of each of two rows, `W[1:3][0]` is the first of the rows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from ..expr import INT, Const, Expr, Position, Ref, walk
from ..poly import Poly
from ..syntax import tree as t
from .operands import Hole, Value, poly_of
from .report import Failed, listed, plural
from .scope import Definition, Env, Instance, Scope

if TYPE_CHECKING:
    from .values import Reader

#: Levels of shorthands; what is deeper would exhaust the stack.
DEEPEST = 40

Item: TypeAlias = t.Expr | t.Slice
#: Pairs of brackets behind a value: what stands before each of them, and what is in it.
Brackets: TypeAlias = Sequence[tuple[t.Expr, Sequence[Item]]]


def brackets(node: t.Expr) -> tuple[t.Expr, Brackets]:
    """What is subscripted, and all brackets behind it."""
    found: list[tuple[t.Expr, Sequence[Item]]] = []
    while isinstance(node, t.Subscript):
        found.append((node.base, node.items))
        node = node.base
    return node, found[::-1]


def _items(behind: Brackets) -> list[Item]:
    """What is in all brackets."""
    return [item for _, items in behind for item in items]


def _without(behind: Brackets, count: int) -> Brackets:
    """The brackets without the first items."""
    found = []
    for before, items in behind:
        left = items[count:]
        count = max(0, count - len(items))
        if left:
            found.append((before, left))
    return found


def read(reader: Reader, base: t.Name, behind: Brackets, node: t.Expr, env: Env) -> Value:
    """The value of a name with all its subscripts."""
    scope = reader.scope
    name = base.text
    if name in scope.stacks and name not in scope.definitions:
        name, behind = _layer(reader, base, behind, node, env)
    if name in scope.lets:
        return _let(reader, scope.lets[name], base, behind, node, env)
    if name in scope.instances:
        scope.used.add(name)
        name = _whole(reader, scope.instances[name], base)
    name = scope.aliases.get(name, name)
    d = scope.definitions.get(scope.extended.get(name, name))
    if d is None:
        if name in scope.lost:
            raise Failed
        owner, _, member = name.rpartition(".")
        if owner in scope.instances and member in scope.instances[owner].program.sizes:
            from .sizes import Unsolved, size

            try:
                return Position(size(scope, t.Name(name, span=base.span)))
            except Unsolved:
                return Hole((), INT)
        raise reader.unknown(base, _indices(reader.scope, _items(behind)))
    scope.used.add(name)
    return _element(reader, d, base, behind, node, env)


def _indices(scope: Scope, items: Sequence[Item]) -> list[str]:
    """The indices that a name is read with, up to the first item that is no position on an axis:
    ``t`` of `q[t-1, 0]`."""
    found: list[str] = []
    for item in items:
        named = {*re.findall(r"[^\W\d]\w*", item.span.text)} & {*scope.indices}
        if isinstance(item, t.Slice) or len(named) != 1:
            break
        found += named
    return found


def _element(
    reader: Reader, d: Definition, base: t.Name, behind: Brackets, node: t.Expr, env: Env
) -> Value:
    reader.met.add(d.name)
    items = _items(behind)
    if d.broken:
        _quietly(reader, items, env)
        raise Failed
    count = len(d.axes)
    if len(items) < count:
        raise _too_few(reader, d, base, items, node)
    index = _positions(reader, d, items[:count], env)
    reader.visit(d, index, env, node.span)
    if d.shapeless:
        raise Failed
    if d.shape is None or d.type is None:
        value: Value = Hole(d.shape, d.type)
    else:
        value = Ref(d.name, index, d.shape, d.type)
    return components(reader, value, _without(behind, count), node, env)


def _too_few(
    reader: Reader, d: Definition, base: t.Name, items: Sequence[Item], node: t.Expr
) -> Failed:
    index = ", ".join(d.axes)
    if not items:
        return reader.report.error(
            "E0208",
            f"`{base.text}` has {plural(len(d.axes), 'index')}, and none is given",
            (node.span, f"expected `{base.text}[{index}]`"),
            helps=[f"`{base.text}[{index}]` is one element of it; "
                   f"`{base.text}[{reader.scope.indices[d.axes[0]][1]}]` the last one"]
            if len(d.axes) == 1 else (),
        )  # fmt: skip
    return reader.report.error(
        "E0208",
        f"`{base.text}` has {plural(len(d.axes), 'index')}, here "
        + (f"is {len(items)}" if len(items) == 1 else f"are {len(items)}"),
        (node.span, f"expected `{base.text}[{index}]`"),
    )


def _quietly(reader: Reader, items: Sequence[Item], env: Env) -> None:
    """Look into the subscripts of something broken: they may have mistakes of their own."""
    for item in items:
        if not isinstance(item, t.Slice):
            try:
                reader.value(item, env)
            except Failed:
                pass


def _positions(reader: Reader, d: Definition, items: Sequence[Item], env: Env) -> tuple[Poly, ...]:
    found: list[Poly] = []
    failed = False
    for item in items:
        try:
            found.append(affine(reader, item, env, f"a position of `{d.name}`"))
        except Failed:
            failed = True
    if failed:
        raise Failed
    return tuple(found)


def affine(reader: Reader, item: Item, env: Env, what: str) -> Poly:
    """A position: whole multiples of indices and lengths, and a number."""
    if isinstance(item, t.Slice):
        raise reader.report.error(
            "E0405",
            "a slice picks components, and here stands a position on an axis",
            (item.span, "expected a position such as `t-1`"),
            helps=["components come after the positions: `x[t, 0:2]` or `x[t][0:2]`"],
        )
    value = reader.value(item, env)
    poly = poly_of(value)
    if poly is not None and poly.is_affine:
        return poly
    if isinstance(value, Hole) and value.type is None:
        raise Failed
    data = isinstance(value, Expr) and any(isinstance(n, Ref) for n in walk(value))
    raise reader.report.error(
        "E0405",
        f"{what} must be affine in the indices",
        (item.span, "depends on data" if data else "not a whole multiple of indices and lengths"),
        helps=["to look something up by data, make it a component: `E[n[t]]` with `E: real[K, H]`"
               if data else "positions on an axis are like `t-1`, `T+1-t`, `2*t`, `4`"],
    )  # fmt: skip


# --- shorthands and sub-models ----------------------------------------------------------------


def _let(
    reader: Reader, let: t.Let, base: t.Name, behind: Brackets, node: t.Expr, env: Env
) -> Value:
    items = _items(behind)
    name = let.name.name.text
    names = [i.text for i in let.name.indices]
    reader.scope.used.add(name)
    if name in env.lets:
        raise Failed
    if len(env.lets) == DEEPEST:
        raise reader.report.error(
            "E0117",
            "shorthands stand in each other too deeply",
            (let.name.span, "one level too many"),
            helps=[f"make it an equation, without `let`: `{let.name.span.text} = …`"],
        )
    if len(items) < len(names):
        raise reader.report.error(
            "E0208",
            f"`{name}` has {plural(len(names), 'index')}, here are {len(items)}",
            (node.span, f"expected `{name}[{', '.join(names)}]`"),
            (let.name.span, "defined here"),
        )
    positions = [
        affine(reader, item, env, f"a position of `{name}`") for item in items[: len(names)]
    ]
    inside = replace(
        env,
        indices={**env.indices, **dict(zip(names, positions, strict=True))}
        if names
        else env.indices,
        lets=(*env.lets, name),
    )
    value = reader.value(let.value, inside)
    return components(reader, value, _without(behind, len(names)), node, env)


def part_name(reader: Reader, node: t.Part, env: Env) -> t.Name:
    """`layer[l].h` as the name `layer.2.h`."""
    base, behind = brackets(node.base)
    if isinstance(base, t.Name) and base.text in reader.scope.stacks and len(_items(behind)) == 1:
        layer, _ = _layer(reader, base, behind, node.base, env)
        return t.Name(f"{layer}.{node.part}", span=node.span)
    raise reader.report.error(
        "E0207",
        "only a sub-model has variables of its own",
        (node.base.span, f"has no `.{node.part}`"),
        helps=["a sub-model's variable is `enc.h[t]`, one of a layer `layer[2].h[t]`"],
    )


def _layer(
    reader: Reader, base: t.Name, behind: Brackets, node: t.Expr, env: Env
) -> tuple[str, Brackets]:
    """The name of one layer of a stack, and the subscripts that are left."""
    layers = reader.scope.stacks[base.text]
    items = _items(behind)
    if not items:
        raise reader.report.error(
            "E0208",
            f"`{base.text}` is a stack of sub-models, and none of them is named",
            (node.span, f"expected `{base.text}[{max(layers, default=1)}]`"),
        )
    number = affine(reader, items[0], env, f"the number of a layer of `{base.text}`").constant
    if number is None:
        raise reader.report.error(
            "E0405",
            f"the number of a layer of `{base.text}` is a whole number",
            (items[0].span, "known only at run time"),
        )
    if number not in layers:
        if not layers:
            raise Failed
        raise reader.report.error(
            "E0402",
            f"`{base.text}[{number}]` is not defined",
            (node.span, f"`{base.text}` has the numbers {listed(map(str, sorted(layers)))}"),
            helps=[f"a stack begins with its base: `{base.text}[{number}] = x`"]
            if number < min(layers) else (),
        )  # fmt: skip
    reader.scope.used.add(base.text)
    return layers[number], _without(behind, 1)


def _whole(reader: Reader, instance: Instance, base: t.Name) -> str:
    """The variable that a sub-model stands for when it is used as a value."""
    if instance.broken:
        raise Failed
    first = instance.first_output()
    if first is None:
        members = [v.name for v in instance.program.role("variable")]
        raise reader.report.error(
            "E0207",
            f"the model `{instance.program.name}` has no output to stand for it",
            (base.span, "used as a value"),
            helps=[f"name one of its variables: `{base.text}.{members[0]}`"] if members else (),
        )
    return first


# --- components -------------------------------------------------------------------------------


def components(reader: Reader, value: Value, behind: Brackets, node: t.Expr, env: Env) -> Value:
    """Components of a value: each item takes one, or slices, along the next axis of what stands
    before its brackets."""
    for base, items in behind:
        axis = 0
        ranks = 0 if value.shape is None else len(value.shape)
        for item in items:
            if isinstance(value, Hole) and value.shape is None:
                return _of_unknown(reader, value, _items(behind))
            if axis >= len(value.shape or ()):
                raise _no_component(reader, base, ranks, item, len(items))
            if isinstance(item, t.Slice):
                value = _slice(reader, value, base, item, node, axis)
                axis += 1
            else:
                value = _take(reader, value, base, item, node, axis, env)
    return value


def _of_unknown(reader: Reader, value: Hole, items: Sequence[Item]) -> Hole:
    """Components of something unknown; where a guess is due, of a vector."""
    if reader.guess and len(items) == 1:
        (item,) = items
        if not isinstance(item, t.Slice):
            return Hole((), value.type)
        if item.stop is not None:
            lo = Poly() if item.start is None else _bound(reader, item.start, Poly())
            return Hole((_bound(reader, item.stop, Poly()) - lo,), value.type)
    return Hole(None, value.type)


def _no_component(reader: Reader, base: t.Expr, rank: int, item: Item, count: int) -> Failed:
    text = base.span.text
    d = reader.scope.definitions.get(text)
    if d is not None and d.axes:
        text = f"{text}[{', '.join(d.axes)}]"
    have = "is a scalar" if rank == 0 else f"has {plural(rank, 'axis')} of components"
    return reader.report.error(
        "E0306",
        f"`{text}` {have}" + (f", and {count} are chosen from" if rank else ""),
        (item.span, "no component left to choose from" if rank else "there is nothing to choose"),
    )


def _slice(
    reader: Reader, value: Value, base: t.Expr, item: t.Slice, node: t.Expr, axis: int
) -> Value:
    assert value.shape is not None
    n = value.shape[axis]
    lo = Poly() if item.start is None else _bound(reader, item.start, n)
    hi = n if item.stop is None else _bound(reader, item.stop, n)
    if (lo, hi) == (Poly(), n):
        return value
    if (hi - lo).constant == 0:
        raise reader.report.error(
            "E0306",
            "this slice is empty",
            (item.span, f"from {lo} to {hi}, the end excluded"),
        )
    if any((p.constant or 0) < 0 for p in (lo, hi - lo, n - hi)):
        raise reader.report.error(
            "E0306",
            f"`{base.span.text}` does not have the components {lo.compact()}:{hi.compact()}",
            (item.span, f"there are {n}, counted 0..{n - 1}; the end of a slice is excluded"),
        )
    return reader.apply("slice", [value], node, [base], axis=axis, lo=lo, hi=hi)


def _bound(reader: Reader, node: t.Expr, n: Poly) -> Poly:
    """An end of a slice; negative numbers count from the end."""
    from . import sizes

    negative = isinstance(node, t.Unary) and node.operator == "-"
    if negative:
        assert isinstance(node, t.Unary)
        return n - sizes.size(reader.scope, node.operand)
    return sizes.size(reader.scope, node)


def _take(
    reader: Reader, value: Value, base: t.Expr, item: t.Expr, node: t.Expr, axis: int, env: Env
) -> Value:
    assert value.shape is not None
    n = value.shape[axis]
    at = reader.value(item, env)
    poly = poly_of(at)
    if poly is not None:
        number = poly.constant
        if number is not None and number < 0:
            poly = n + number
        known = poly.constant
        size = n.constant
        if known is not None and known >= 0 and (size is None or known < size):
            if isinstance(value, Const) and axis == 0:
                return _entry(value, known)
            return reader.apply(
                "take", [value, Const(known, (), INT)], node, [base, item], axis=axis
            )
        if known is not None or (n - poly - 1).constant in range(-1_000_000, 0):
            raise reader.report.error(
                "E0306",
                f"`{base.span.text}` has no component {item.span.text}",
                (item.span, f"there are {n}, counted 0..{n - 1}"),
            )
        reader.choose(poly, n, env, item.span, base.span.text)
        at = Position(poly)
    return reader.apply("take", [value, at], node, [base, item], axis=axis)


def _entry(value: Const, number: int) -> Const:
    """An entry of a constant array."""
    inner = value.value[number]
    return Const(inner, value.shape[1:], value.type)
