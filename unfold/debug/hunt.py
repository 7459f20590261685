"""From a call to a report: what was given, the forward pass, the backward pass, the batch's sums.

The first fault is the first of these in this order: what was given that is no number; then the
forward pass of the whole batch, the sequence with the smallest number first, in it the element
that is computed first (`unfold.debug.order`); then the backward pass in the same way; then the sums
of gradients over the batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiler import Compiler, Derived, merged
from ..inputs import Call, bind
from ..program import Program
from .describe import Telling
from .locate import Budget, Found, candidates, examine, first_fault, origin
from .order import Order, order
from .ranges import Ranges
from .report import Fault, Report, element_text
from .runs import Portion, backward, forward, portions
from .trace import Tracer

Array = NDArray[Any]


@dataclass
class _Hunt:
    """What has been found so far."""

    compiler: Compiler
    call: Call
    strict: bool
    ranges: Ranges = field(default_factory=Ranges)
    faults: list[Fault] = field(default_factory=list)
    elsewhere: list[tuple[int, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    budget: Budget = field(default_factory=Budget)


def debug(
    compiler: Compiler,
    params: Mapping[str, Any],
    data: Mapping[str, Any] | None,
    inputs: Mapping[str, Any],
    *,
    lengths: Any = None,
    draws: tuple[int, int] = (0, 0),
    wrt: tuple[str, ...] = (),
    losses: tuple[str, ...] = (),
    strict: bool = False,
) -> Report:
    """Run with every value kept, and find the first that is not finite.

    Args:
        compiler: of the function; its backend and dtype compute all values.
        params, data, inputs, lengths, draws: a call's arguments, ``draws`` its seed and first.
        wrt, losses: what the gradient is taken in and of; no losses: no gradient.
        strict: whether every infinity is a fault.

    Raises `InputError` as a call does; values that are not finite are accepted.
    """
    value = forward(compiler)
    call = bind(value.signature, params, merged(data, inputs), lengths, *draws)
    hunt = _Hunt(compiler, call, strict)
    _given(hunt, value.program)
    _pass(hunt, "forward", value, value.program, losses)
    ran = not hunt.faults and bool(losses) and bool(wrt)
    if losses and wrt and not ran:
        hunt.notes.append("the backward pass was not run: the forward pass comes first")
    if ran:
        _backward(hunt, value.program, wrt, losses)
    o = compiler.options
    if hunt.budget.spent:
        hunt.notes.append(
            "there are more infinite values than were looked into; strict=True takes each for a "
            "fault"
        )
    if ran and o.checkpoint is not None:
        hunt.notes.append("all states were kept here; checkpoints compute the same ones again")
    return Report(
        compiler.program.name, o.backend, o.dtype, call.batch, ran, tuple(hunt.faults),
        tuple(sorted(hunt.elsewhere)), hunt.ranges.all(), tuple(hunt.notes),
    )  # fmt: skip


def _backward(hunt: _Hunt, model: Program, wrt: tuple[str, ...], losses: tuple[str, ...]) -> None:
    """The gradient as it is compiled decides whether there is a fault. Where there is, the adjoint
    before its simplification tells more, if it has the fault as well: every variable of the model
    still has its adjoint there, each term belongs to one equation."""
    back = backward(hunt.compiler, wrt, losses)
    _pass(hunt, "backward", back, model, tuple(back.names.values()))
    if not hunt.faults or hunt.faults[0].phase != "backward":
        return
    whole = backward(hunt.compiler, wrt, losses, simplified=False)
    again = _Hunt(hunt.compiler, hunt.call, hunt.strict)
    _pass(again, "backward", whole, model, tuple(whole.names.values()))
    if again.faults and again.faults[0].sequence == hunt.faults[0].sequence:
        seen = hunt.faults[0].element
        fault = again.faults[0]
        if seen != fault.element:
            note = f"in the simplified adjoint, which is what runs, it is seen in {seen}"
            fault = replace(fault, notes=(*fault.notes, note))
        hunt.faults[0] = fault
        hunt.elsewhere[:] = again.elsewhere


# --- what is given ----------------------------------------------------------------------------


def _given(hunt: _Hunt, program: Program) -> None:
    """Inputs and parameters that are not finite; an infinity of -inf may be a log-probability."""
    call = hunt.call
    for v in (*program.params, *program.inputs):
        array = call.arrays[v.name]
        if array.dtype.kind != "f":
            continue
        batched = v.role == "input" and call.batch is not None
        hunt.ranges.add("given", {v.name: array}, {}, [v.name], batched)
        bad = ~np.isfinite(array) if hunt.strict else np.isnan(array) | (array == np.inf)
        if not bad.any():
            continue
        where = tuple(map(int, np.argwhere(bad)[0]))
        count = int(np.count_nonzero(bad))
        value = float(array[where])
        sequence, place = (where[0], where[1:]) if batched else (None, where)
        lows = [a.lo.evaluate(call.lengths) for a in v.axes]
        index = tuple(k + lo for k, lo in zip(place, lows, strict=False))
        notes = []
        if count > 1:
            notes.append(f"{count:,} of the {array.size:,} numbers of {v.name} are not finite")
        role = "parameter" if v.role == "param" else "input"
        notes.insert(0, f"the {role} {v.name} is given like this")
        hunt.faults.append(
            Fault("given", v.name, index, place[len(v.axes) :], sequence, value, notes=tuple(notes))
        )


# --- one pass ---------------------------------------------------------------------------------


def _pass(
    hunt: _Hunt, phase: str, derived: Derived, model: Program, results: Sequence[str]
) -> None:
    """Run a program, and look at what it computes: all variables forward, only those that the
    model does not have backward. ``results`` must be finite: losses, or gradients."""
    program = derived.program
    looked = [
        v.name for v in program.vars.values()
        if v.role == "variable" and (phase == "forward" or v.name not in model.vars)
    ]  # fmt: skip
    known = order(program)
    first: tuple[int, Found, Telling] | None = None
    sums: dict[str, Array] = {}
    used_before = bool(hunt.faults)
    for portion in portions(derived, hunt.call):
        batched = portion.sequences is not None
        shown = [n for n in looked if not program.vars[n].generated or phase == "backward"]
        hunt.ranges.add(phase, portion.results, portion.lengths.defined, shown, batched)
        _add_up(sums, phase, portion, results)
        if _is_clean(portion, looked):
            continue
        for number, arrays in portion.rows():
            tracer = Tracer(_values(portion, arrays), hunt.compiler.options.dtype)
            found = _first(hunt, tracer, known, looked, results)
            if found is None:
                continue
            if used_before:
                _seen(hunt, number, found)
                continue
            told = Telling(phase, model, tracer, number, _own(portion, number))
            if first is None or (number or 0) < first[0]:
                if first is not None:
                    hunt.elsewhere.append((first[0], _place(first[1])))
                first = number or 0, found, told
            elif number is not None:
                hunt.elsewhere.append((number, _place(found)))
    if first is not None:
        _, found, told = first
        fault = told.fault(found)
        hunt.faults.append(replace(fault, notes=(*fault.notes, *_reach(told, results))))
    elif not hunt.faults:
        _sums(hunt, phase, program, sums)


def _values(portion: Portion, arrays: Mapping[str, Array]) -> Any:
    from .elements import Values

    return Values(portion.lengths, arrays)


def _is_clean(portion: Portion, looked: Sequence[str]) -> bool:
    """Whether all is finite, which is seen at once."""
    for name in looked:
        array = portion.results[name]
        if name.endswith(".arrived") and not np.all(array >= 1):
            return False
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            return False
    return True


def _first(
    hunt: _Hunt, tracer: Tracer, known: Order, looked: Sequence[str], results: Sequence[str]
) -> Found | None:
    """The first fault of a sequence: of its values, or what makes a result infinite."""
    if hunt.faults:
        for _, number, index in candidates(tracer.values, known, looked):
            eq = known.program.equations[number]
            return examine(tracer, eq, index, True, hunt.budget)
    found = first_fault(tracer, known, looked, hunt.strict, hunt.budget)
    if found is not None:
        return found
    for name in results:
        array = tracer.values.arrays[name]
        bad = np.argwhere(~np.isfinite(array))
        if len(bad):
            axes = len(known.program.vars[name].axes)
            lows = tracer.values.lengths.origins[name]
            at = tuple(map(int, bad[0]))
            index = tuple(k + lo for k, lo in zip(at[:axes], lows, strict=True))
            source = origin(tracer, name, index, at[axes:])
            if source is not None:
                return source
            own = tracer.values.lengths.piece(name, index)
            assert own is not None
            return examine(tracer, own, index, True, hunt.budget)
    return None


def _own(portion: Portion, number: int | None) -> Any:
    """What a solver said, if it is about this sequence."""
    error = portion.error
    if error is None or portion.sequences is None:
        return error
    row = error.sequence or 0
    return error if portion.sequences[row] == number else None


def _seen(hunt: _Hunt, number: int | None, found: Found) -> None:
    """What was given is first met here."""
    for k, fault in enumerate(hunt.faults):
        if fault.sequence in (None, number) and not any("first met" in n for n in fault.notes):
            note = f"first met in {_place(found)}"
            if number is not None and fault.sequence is None:
                note += f" of sequence {number}"
            hunt.faults[k] = replace(fault, notes=(*fault.notes, note))


def _place(found: Found) -> str:
    return element_text(found.equation.name, found.index)


def _reach(told: Telling, results: Sequence[str]) -> list[str]:
    arrays = told.values.arrays
    reached = [n for n in results if not np.isfinite(arrays[n]).all()]
    if reached:
        of = told.program.vars
        names = [
            f"{n} (the gradient in {of[n].adjoint_of})" if of[n].adjoint_of else n for n in reached
        ]
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        return [f"it reaches {', '.join(names[:4])}{more}"]
    kind = "gradient" if told.phase == "backward" else "loss"
    return [f"no {kind} is affected: all are finite in this sequence"] if results else []


# --- sums over the batch ----------------------------------------------------------------------


def _add_up(sums: dict[str, Array], phase: str, portion: Portion, results: Sequence[str]) -> None:
    if phase != "backward" or portion.sequences is None:
        return
    params = {v.name for v in portion.lengths.program.params}
    for name in results:
        if portion.lengths.program.vars[name].adjoint_of in params:
            with np.errstate(all="ignore"):
                total = portion.results[name].sum(axis=0, dtype=portion.results[name].dtype)
                sums[name] = sums[name] + total if name in sums else total


def _sums(hunt: _Hunt, phase: str, program: Program, sums: Mapping[str, Array]) -> None:
    """Gradients that are finite in each sequence, and whose sum is not."""
    for name, total in sums.items():
        bad = np.argwhere(~np.isfinite(total))
        if len(bad):
            at = tuple(map(int, bad[0]))
            axes = len(program.vars[name].axes)
            of = program.vars[name].adjoint_of
            note = f"the gradients in {of} of single sequences are finite, their sum is not"
            hunt.faults.append(
                Fault(
                    "batch",
                    name,
                    at[:axes],
                    at[axes:],
                    None,
                    float(total[at]),
                    derivative_in=of,
                    notes=(note,),
                )
            )
            return


__all__ = ["debug"]
