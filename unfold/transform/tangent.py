"""The tangent of a program: forward-mode differentiation as a rewriting of equations.

before:  h[t] = tanh(W @ x[t] + U @ h[t-1])
after:   the same, and
         h_dot[t] = (W_dot @ x[t] + U @ h_dot[t-1]) * (1 - h[t]**2)
requires: nothing. Every index stays where it is, so a forward recurrence stays one. The tangent of
an implicit equation is implicit, and linear (the implicit function theorem).

Tangent-linear models are the oldest use of the idea (Wengert 1964, "A simple automatic derivative
evaluation program").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..derivative import Forward
from ..expr import Const, Ref, fresh
from ..implicit import parts
from ..ops import OPS
from ..ops.record import broadcast_to
from ..program import Equation, Output, Program, equation, verify
from .common import depends_on, prune
from .naming import name_intermediates
from .simplify import simplify
from .unselected import unselected_tangents, wild


def tangent(program: Program, wrt: Sequence[str] | None = None, simplified: bool = True) -> Program:
    """The program that computes, beside its outputs, their derivative along a direction.

    For each of ``wrt`` (real inputs and params; default all real params) the result takes a second
    input or param ``NAME_dot`` of the same shape, the direction. For each real output and loss it
    has another output ``NAME_dot`` (zero where the directions have no influence).

    Raises:
        ValueError: an unknown name, or one that is not a real input or param.
    """
    sources = tuple(v.name for v in program.params) if wrt is None else tuple(wrt)
    for name in sources:
        v = program.vars.get(name)
        if v is None or v.role not in ("input", "param") or v.type.kind != "real":
            raise ValueError(f"{name} is not a real input or param of {program.name}")
    outputs = (*(Output(n) for n in program.losses), *program.outputs)
    outputs = tuple({o.name: o for o in outputs}.values())
    program = prune(program.with_(outputs=outputs, losses=()))
    program = name_intermediates(program, depends_on(program, sources))
    active = depends_on(program, sources)

    variables = dict(program.vars)
    dots: dict[str, str] = {}
    for name, v in program.vars.items():
        if name in active and v.type.kind == "real":
            dots[name] = fresh(f"{name}_dot", variables)
            # The tangent of an adjoint is shared by the batch just as the adjoint is.
            variables[dots[name]] = replace(
                v, name=dots[name], tangent_of=name, generated=v.role == "variable"
            )
    unselected = unselected_tangents(program, active)
    forward = Forward(dots, OPS, unselected, wild(program))
    extra = [
        _tangent_equation(eq, forward, dots[eq.name]) for eq in program.equations if eq.name in dots
    ]
    extended = []
    for out in outputs:
        v = program.vars[out.name]
        if v.type.kind != "real":
            continue
        if out.name not in dots:
            dots[out.name] = fresh(f"{out.name}_dot", variables)
            variables[dots[out.name]] = replace(
                v, name=dots[out.name], tangent_of=out.name, role="variable"
            )
            indices = tuple(a.index for a in v.axes)
            zero = broadcast_to(Const(0.0), v.shape)
            extra.append(equation(dots[out.name], indices, v.domain, zero))
        extended.append(Output(dots[out.name], out.ranges))
    result = program.with_(
        vars=variables,
        equations=(*program.equations, *extra),
        outputs=(*outputs, *extended),
    )
    return verify(simplify(result) if simplified else prune(result))


def _tangent_equation(eq: Equation, forward: Forward, dot: str) -> Equation:
    value = Ref(eq.name, eq.element, eq.rhs.shape, eq.rhs.type)
    rhs = parts(eq.rhs)[0] if eq.solver else eq.rhs
    d = forward.of(rhs, value)
    if d is None:
        return equation(dot, eq.indices, eq.domain, broadcast_to(Const(0.0), rhs.shape), eq.span)
    return equation(dot, eq.indices, eq.domain, d, eq.span, eq.solver)
