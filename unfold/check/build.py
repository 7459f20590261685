"""The last stage: the tables of a model become a `Program`."""

from __future__ import annotations

from dataclasses import replace

from ..expr import Ref
from ..poly import Poly
from ..program import Axis, Equation, Output, Program, Var, equation, verify
from . import inline, stacking
from .scope import Definition, Scope


def build(scope: Scope) -> Program:
    """The program; everything in the scope must be right."""
    variables: dict[str, Var] = {}
    equations: list[Equation] = []
    done: set[str] = set()
    for d in scope.definitions.values():
        if d.instance is not None:
            if d.instance not in done:
                done.add(d.instance)
                for v in inline.members(scope, scope.instances[d.instance]):
                    variables[v.name] = v
                equations += inline.equations(scope, scope.instances[d.instance])
        else:
            variables[d.name] = _var(scope, d)
            equations += _equations(scope, d)
    equations += stacking.stacked(scope, variables)
    for name, (of, _) in scope.gradients.items():
        variables[name] = replace(variables[name], adjoint_of=of)
    outputs = tuple(Output(name, ranges) for name, ranges, _ in scope.outputs)
    indices = _indices(scope, variables, equations)
    program = Program(
        scope.model.name.text,
        tuple(scope.sizes),
        indices,
        variables,
        tuple(equations),
        outputs,
        tuple(name for name, _ in scope.losses),
        {n: least for n, least in scope.minimum.items() if least > 1},
    )
    return verify(program)


def _var(scope: Scope, d: Definition) -> Var:
    assert d.shape is not None
    assert d.type is not None
    bounds = d.ranges or tuple(scope.indices[i] for i in d.axes)
    axes = tuple(Axis(i, lo, hi) for i, (lo, hi) in zip(d.axes, bounds, strict=True))
    return Var(
        d.name,
        d.role,
        axes,
        d.shape,
        d.type,
        d.init,
        d.default,
        generated=d.generated,
        noise=d.noise,
    )


def _equations(scope: Scope, d: Definition) -> list[Equation]:
    made = []
    given = scope.given
    for piece in d.pieces:
        domain = piece.domain.simplified(given)
        if piece.copy_of is not None:
            source = scope.definitions[piece.copy_of]
            assert source.shape is not None
            assert source.type is not None
            index = tuple(Poly.symbol(i) for i in piece.indices)
            rhs = Ref(source.name, index, source.shape, source.type)
            made.append(equation(d.name, piece.indices, domain, rhs, piece.span))
        elif piece.implicit is not None:
            made += stacking.implicit_equation(scope, piece, domain)
        elif piece.rhs is not None:
            made.append(equation(d.name, piece.indices, domain, piece.rhs, piece.span))
    return made


def _indices(
    scope: Scope, variables: dict[str, Var], equations: list[Equation]
) -> dict[str, tuple[Poly, Poly]]:
    """The indices that something uses, in the order of their declaration."""
    from ..expr import Reduce, free_symbols, walk

    used: set[str] = set(scope.declared)
    for v in variables.values():
        used |= {a.index for a in v.axes}
    for eq in equations:
        used |= set(eq.indices) | free_symbols(eq.rhs)
        for node in walk(eq.rhs):
            if isinstance(node, Reduce):
                used |= set(node.indices)
    return {i: b for i, b in scope.indices.items() if i in used}
