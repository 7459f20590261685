"""A right-hand side compiled into steps that make its nodes at any point of its domain.

The expression is walked once; after that, each element costs one pass over a flat list of steps.
Guards and reductions hold a list of their own: a guard's steps run only where it holds, a
reduction's once for every point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..expr import NEUTRAL, Call, Const, Expr, Guard, Position, Reduce, Ref, Type
from ..poly import Poly, Shape
from .affine import Affine, Env, Points, affine, condition
from .nary import NARY
from .node import Attrs, Builder, Index

#: Finds the node of an element.
Lookup = Callable[[str, Index], int]


@dataclass(frozen=True)
class _Const:
    value: object
    shape: Shape
    type: Type


@dataclass(frozen=True)
class _Position:
    at: Affine


@dataclass(frozen=True)
class _Read:
    var: str
    index: tuple[Affine, ...]


@dataclass(frozen=True)
class _Call:
    op: str
    args: tuple[int, ...]
    attrs: Attrs
    shape: Shape
    type: Type
    arg_shapes: tuple[Shape, ...]
    arg_types: tuple[Type, ...]
    label: int


@dataclass(frozen=True)
class _Guard:
    holds: Callable[[Env], bool]
    body: Template


@dataclass(frozen=True)
class _Reduce:
    op: str
    points: Points
    body: Template
    shape: Shape
    type: Type


_Step = _Const | _Position | _Read | _Call | _Guard | _Reduce


class Template:
    """The steps of one expression, or of several that share values.

    Its indices stand at ``slots`` in the index values that `reads` and `build` take. A step's
    result is the position of a node, or ``None`` for the zero of a guard that does not hold: sums
    leave it out, and anything else gets a constant.
    """

    def __init__(
        self,
        roots: Sequence[Expr],
        slots: Mapping[str, int],
        lengths: Mapping[str, int],
        builder: Builder,
        given: Mapping[Ref, int] | None = None,
    ) -> None:
        """``given`` are reads whose nodes are handed to `build` instead of looked up: where in
        ``env`` their positions stand."""
        self.builder = builder
        self._lengths = lengths
        self._slots = dict(slots)
        self._given = given or {}
        numbers: dict[Expr, int] = {}
        self.steps: list[_Step | int] = []
        for node in _operands_first(roots):
            numbers[node] = len(self.steps)
            self.steps.append(self._step(node, numbers))
        self._roots = [numbers[root] for root in roots]

    def _step(self, node: Expr, numbers: Mapping[Expr, int]) -> _Step | int:
        if isinstance(node, Ref):
            if node in self._given:
                return self._given[node]
            return _Read(node.name, tuple(self._affine(p) for p in node.index))
        if isinstance(node, Call):
            return _Call(
                node.op,
                tuple(numbers[a] for a in node.args),
                node.attrs,
                node.shape,
                node.type,
                tuple(a.shape for a in node.args),
                tuple(a.type for a in node.args),
                self.builder.label(node.op, node.attrs),
            )
        if isinstance(node, Const):
            return _Const(node.value, node.shape, node.type)
        if isinstance(node, Position):
            p = node.poly.subs(self._lengths)
            loose = p.symbols - set(self._slots)
            # A free size stays a symbol, for drawing.
            return _Const(p, (), node.type) if loose else _Position(affine(p, self._slots))
        if isinstance(node, Guard):
            domain = node.domain.subs(self._lengths)
            return _Guard(condition(domain, self._slots), self._inner(node.body, self._slots))
        if isinstance(node, Reduce):
            points = Points(node.domain.subs(self._lengths), node.indices, self._slots)
            body = self._inner(node.body, points.slots)
            return _Reduce(node.op, points, body, node.shape, node.type)
        raise TypeError(f"not an expression: {node!r}")

    def _affine(self, p: Poly) -> Affine:
        return affine(p.subs(self._lengths), self._slots)

    def _inner(self, root: Expr, slots: Mapping[str, int]) -> Template:
        return Template([root], slots, self._lengths, self.builder, self._given)

    def reads(self, env: Env) -> Iterator[tuple[str, Index]]:
        """The elements that are read at a point, in order; an element may come repeatedly."""
        for step in self.steps:
            if isinstance(step, _Read):
                yield step.var, tuple([at(env) for at in step.index])
            elif isinstance(step, _Guard):
                if step.holds(env):
                    yield from step.body.reads(env)
            elif isinstance(step, _Reduce):
                for inner in step.points.walk(env):
                    yield from step.body.reads(inner)

    def build(self, env: Env, lookup: Lookup) -> int | None:
        """Make the nodes at a point; the position of the first root, or ``None`` for a zero."""
        return self.build_all(env, lookup)[0]

    def build_all(self, env: Env, lookup: Lookup) -> list[int | None]:
        """Make the nodes at a point; where each root is."""
        made: list[int | None] = []
        builder = self.builder
        for step in self.steps:
            if isinstance(step, _Read):
                made.append(lookup(step.var, tuple([at(env) for at in step.index])))
            elif isinstance(step, _Call):
                args = [made[a] for a in step.args]
                operands = tuple([a for a in args if a is not None])
                if len(operands) < len(args):
                    made.append(self._with_zeros(step, args))
                else:
                    made.append(
                        builder.inner(
                            step.label, step.op, operands, step.attrs, step.shape, step.type
                        )
                    )
            elif isinstance(step, int):
                made.append(env[step])
            elif isinstance(step, _Const):
                made.append(builder.constant(step.value, step.shape, step.type))
            elif isinstance(step, _Position):
                made.append(builder.constant(step.at(env), (), Type("int")))
            elif isinstance(step, _Guard):
                made.append(step.body.build(env, lookup) if step.holds(env) else None)
            else:
                made.append(self._reduced(step, env, lookup))
        return [made[k] for k in self._roots]

    def _with_zeros(self, step: _Call, args: list[int | None]) -> int | None:
        """An operation on at least one zero that was never computed."""
        builder = self.builder
        if step.op in ("add", "sub", "neg"):
            left, right = args[0], args[-1]
            if left is None and right is None:
                return None
            # What is left out must not have been what made the result larger, or real.
            fits = [
                shape == step.shape and kind.kind == step.type.kind
                for shape, kind in zip(step.arg_shapes, step.arg_types, strict=True)
            ]
            if right is None and fits[0]:
                return left
            if left is None and fits[-1]:
                if step.op == "add":
                    return right
                assert right is not None
                return builder.operation("neg", (right,), (), step.shape, step.type)
        operands = tuple(
            zero(builder, step.arg_shapes[i], step.arg_types[i]) if a is None else a
            for i, a in enumerate(args)
        )
        return builder.inner(step.label, step.op, operands, step.attrs, step.shape, step.type)

    def _reduced(self, step: _Reduce, env: Env, lookup: Lookup) -> int | None:
        terms = [step.body.build(inner, lookup) for inner in step.points.walk(env)]
        if step.op == "sum":
            return total(self.builder, [a for a in terms if a is not None])
        if not terms:
            return filled(self.builder, NEUTRAL[step.op], step.shape, step.type)
        operands = tuple(
            zero(self.builder, step.shape, step.type) if a is None else a for a in terms
        )
        op = f"reduce_{step.op}"
        assert op in NARY
        return self.builder.operation(op, operands, (), step.shape, step.type)


def total(builder: Builder, terms: list[int]) -> int | None:
    """The sum of nodes; ``None`` for none."""
    if len(terms) < 2:
        return terms[0] if terms else None
    first = builder.table[terms[0]]
    return builder.operation("reduce_sum", tuple(terms), (), first.shape, first.type)


def zero(builder: Builder, shape: Shape, kind: Type) -> int:
    """A zero of any shape and type."""
    return filled(builder, {"int": 0, "bool": False}.get(kind.kind, 0.0), shape, kind)


def filled(builder: Builder, value: float, shape: Shape, kind: Type) -> int:
    """One number in every component."""
    scalar = builder.constant(value, (), kind)
    if not shape:
        return scalar
    return builder.operation("broadcast", (scalar,), (("shape", shape),), shape, kind)


def _operands_first(roots: Sequence[Expr]) -> Iterator[Expr]:
    """Every distinct node outside the bodies of guards and reductions."""
    seen: set[Expr] = set()
    stack: list[tuple[Expr, bool]] = [(root, False) for root in reversed(roots)]
    while stack:
        node, done = stack.pop()
        if done:
            yield node
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            if isinstance(node, Call):
                stack.extend((c, False) for c in reversed(node.operands) if c not in seen)
