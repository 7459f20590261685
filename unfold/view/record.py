"""One run of a compiled model, with every value kept.

The model and its adjoint are compiled as one program whose results are all of its variables; a
second program, whose parameters are untied in time (`unfold.transform.untie`), has the costates and
what each step adds to the gradient of a parameter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..function import Function
from ..graph import Graph, unfold
from ..program import Output, Program, Var
from ..transform import adjoint, simplify, untie
from ..transform.untie import time_axis
from .choose import Setting

Array = NDArray[Any]

#: More numbers than this are not for a page.
MOST = 40_000_000


@dataclass(frozen=True)
class Values:
    """All elements of a variable.

    Attributes:
        first: the position of the first element on each axis.
        array: shape (axes…, components…).
    """

    first: tuple[int, ...]
    array: Array


@dataclass(frozen=True)
class Part:
    """What the steps add to a parameter's gradient through one equation.

    Attributes:
        param: the parameter; ``reader``, the variable whose equation reads it.
        steps: the gradient by the time of the reading; shape (steps, *the parameter's).
    """

    param: str
    reader: str
    steps: Values


@dataclass(frozen=True)
class Run:
    """What was computed.

    Attributes:
        program: the model with its adjoint (without a loss the model alone), sizes bound.
        graph: all elements of ``program``; ``written``, those of the model as it was written.
        lengths: a number for each length.
        values: of the inputs, parameters and variables of ``program``; zero where no equation
            defines an element.
        losses: their values, by name.
        costates: of the real variables over time: the derivative of all losses together in an
            amount added to each element.
        gradients: of the real parameters.
        parts: where gradients come from in time. What is left of ``gradients`` when they are
            subtracted enters outside of time.
        why: what there is not, in sentences.
    """

    program: Program
    graph: Graph
    written: Graph
    lengths: dict[str, int]
    values: dict[str, Values]
    losses: dict[str, float]
    costates: dict[str, Values]
    gradients: dict[str, Array]
    parts: tuple[Part, ...]
    why: tuple[str, ...]


def differentiated(program: Program) -> tuple[Program, str | None]:
    """The program to look at: with its adjoint if it has one; else why there is none."""
    real = [v.name for v in program.params if v.type.kind == "real"]
    if not program.losses:
        plain = simplify(program.with_(losses=()))
        return plain, "There is no `minimize` line in this model: no gradient flows back."
    if not real:
        inputs = [v.name for v in program.inputs if v.type.kind == "real" and v.noise is None]
        states = [v.name for v in program.vars.values() if is_state(v)]
        wrt = inputs or states
        if not wrt:
            plain = simplify(_with_losses(program))
            return plain, "There is nothing real in this model to differentiate in."
        why = f"There are no parameters to learn: gradients are those of {', '.join(wrt)}."
        return adjoint(program, wrt), why
    return adjoint(program), None


def is_state(v: Var) -> bool:
    """Whether a variable is real, computed, and in time."""
    return v.role == "variable" and v.type.kind == "real" and time_axis(v) is not None


def record(setting: Setting) -> Run:
    """Run a model and keep everything.

    Raises `InputError` for arrays that do not fit, and where there would be too much to keep.
    """
    fn = setting.function
    whole, why = differentiated(fn.program)
    reasons = [] if why is None else [why]
    results, lengths = _everything(fn, whole, setting)
    graph, written = _graph(whole, lengths), _graph(fn.program, lengths)
    values = {
        v.name: _defined(Values(_first(v, lengths), results[v.name]), v, graph)
        for v in whole.vars.values()
        if v.name in results
    }
    losses = {n: float(results[n]) for n in fn.program.losses}
    costates: dict[str, Values] = {}
    gradients: dict[str, Array] = {}
    parts: list[Part] = []
    if fn.program.losses and why is None:
        costates, gradients, parts = _backward(fn, setting, lengths)
        left = sorted({v.name for v in fn.program.params} - set(gradients))
        if left:
            reasons.append(f"{', '.join(left)}: integers, which have no gradient.")
    elif fn.program.losses:
        costates, _, _ = _backward(fn, setting, lengths)
    if not any(is_state(v) for v in fn.program.vars.values()):
        reasons.append("Nothing is computed in time: there are no states.")
    costates = {n: _defined(c, fn.program.vars[n], written) for n, c in costates.items()}
    return Run(
        whole, graph, written, lengths, values, losses, costates, gradients, tuple(parts),
        tuple(reasons),
    )  # fmt: skip


def _graph(program: Program, lengths: dict[str, int]) -> Graph:
    """All elements of all variables."""
    outputs = tuple(_whole(v) for v in program.vars.values() if v.role == "variable")
    return unfold(program.with_(outputs=outputs, losses=()), lengths, "equation")


def _defined(values: Values, v: Var, graph: Graph) -> Values:
    """Zero in those places of a variable's box that no equation defines: what native code leaves
    there is not said."""
    if v.role != "variable" or not v.axes:
        return values
    there = np.zeros(values.array.shape[: len(v.axes)], bool)
    for at in np.ndindex(there.shape):
        index = tuple(i + f for i, f in zip(at, values.first, strict=True))
        there[at] = (v.name, index) in graph.elements
    if there.all():
        return values
    array = values.array.copy()
    array[~there] = 0
    return Values(values.first, array)


def _everything(
    fn: Function, program: Program, setting: Setting
) -> tuple[dict[str, Array], dict[str, int]]:
    """The values of all variables, inputs and parameters, and the lengths."""
    all_ = [v for v in program.vars.values() if v.role == "variable"]
    outputs = tuple(_whole(v) for v in all_)
    derived = fn.compiler.derive(("view",), lambda: (program.with_(outputs=outputs, losses=()), {}))
    results, call = fn.compiler.run(
        derived, setting.params, setting.data, {}, None, draws=(setting.seed, 0)
    )
    size = sum(a.size for a in results.values())
    if size > MOST:
        raise InputError(f"a page of {size:,} numbers is too much: fewer steps or smaller sizes")
    return {**call.arrays, **results}, dict(call.lengths)


def _backward(
    fn: Function, setting: Setting, lengths: dict[str, int]
) -> tuple[dict[str, Values], dict[str, Array], list[Part]]:
    """Costates, gradients, and the steps' parts in them."""
    untied = untie(fn.program)
    params = [v.name for v in fn.program.params if v.type.kind == "real"]
    states = [v.name for v in fn.program.vars.values() if is_state(v)]
    wanted = [*params, *states, *untied.copies]
    bound = untied.program
    _not_too_much([bound.vars[n] for n in wanted], lengths)
    bars: dict[str, str] = {}

    def build() -> tuple[Program, dict[str, str]]:
        back = adjoint(bound.with_(outputs=()), wanted)
        names = {v.adjoint_of: n for n, v in back.vars.items() if v.adjoint_of in wanted}
        outputs = tuple(_whole(back.vars[names[n]]) for n in wanted)
        return back.with_(outputs=outputs, losses=()), {n: names[n] for n in wanted}

    derived = fn.compiler.derive(("view", "untied"), build)
    bars = derived.names
    results, _ = fn.compiler.run(
        derived, setting.params, setting.data, {}, None, draws=(setting.seed, 0)
    )

    def found(name: str) -> Values:
        return Values(_first(derived.program.vars[bars[name]], lengths), results[bars[name]])

    parts = [Part(p, untied.readers[c], found(c)) for c, p in untied.copies.items()]
    return {n: found(n) for n in states}, {n: results[bars[n]] for n in params}, parts


def _not_too_much(variables: list[Var], lengths: dict[str, int]) -> None:
    total = 0
    for v in variables:
        size = 1
        for axis in v.axes:
            size *= max((axis.hi - axis.lo + 1).evaluate(lengths), 0)
        for n in v.shape:
            size *= n.evaluate({})
        total += size
    if total > MOST:
        raise InputError(
            f"the gradient by steps has {total:,} numbers, too much for a page: fewer steps or "
            "smaller sizes"
        )


def _whole(v: Var) -> Output:
    """All elements of a variable."""
    return Output(v.name, tuple((a.lo, a.hi) for a in v.axes))


def _first(v: Var, lengths: dict[str, int]) -> tuple[int, ...]:
    return tuple(a.lo.evaluate(lengths) for a in v.axes)


def _with_losses(program: Program) -> Program:
    shown = {o.name for o in program.outputs}
    losses = tuple(Output(n) for n in program.losses if n not in shown)
    return program.with_(outputs=(*losses, *program.outputs), losses=())


__all__ = ["Part", "Run", "Values", "differentiated", "is_state", "record"]
