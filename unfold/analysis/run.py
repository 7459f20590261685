"""One run of a model on one sequence: what every analysis begins with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..api import compile
from ..errors import InputError
from ..expr import names, reads
from ..function import Function
from ..inputs import bind, listed, nearest
from ..model import Model
from ..poly import Poly
from ..program import TIME, Output, Program
from ..streaming import time_axis
from ..transform.common import prune

Array = NDArray[Any]


@dataclass(frozen=True)
class Run:
    """A compiled model with parameters and data, usually of one sequence.

    Attributes:
        fn: the model.
        params, data: arrays by name. Lengths are among the data.
        seed: of its random draws.
    """

    fn: Function
    params: dict[str, Any]
    data: dict[str, Any]
    seed: int = 0

    @property
    def program(self) -> Program:
        return self.fn.program

    @cached_property
    def lengths(self) -> dict[str, int]:
        """A number for each length. Raises `InputError` for wrong or missing arrays."""
        derived = self.fn.compiler.value()
        return bind(derived.signature, self.params, self.data, None, self.seed).lengths

    @property
    def steps(self) -> int:
        """T. Raises `InputError` for a model without time."""
        if TIME not in self.lengths:
            raise InputError(f"{self.program.name} has no steps over t")
        return self.lengths[TIME]

    def values(
        self, wanted: list[str], whole: bool = False, program: Program | None = None
    ) -> tuple[dict[str, Array], dict[str, Array], dict[str, int]]:
        """Values of variables along the run, their time axis first: steps ``1..T``, or the
        ``whole`` of them; and the arrays and lengths of the call, draws among them.

        ``program`` is the run's own with more variables, if these are wanted.
        """
        program = self.program if program is None else program
        outputs = []
        for name in wanted:
            v = program.vars[name]
            k = time_axis(v)
            ranges = [(a.lo, a.hi) for a in v.axes]
            if k is not None and not whole:
                ranges[k] = (Poly.const(1), Poly.symbol(TIME))
            outputs.append(Output(name, tuple(ranges)))

        def build() -> tuple[Program, dict[str, str]]:
            return pruned(program.with_(outputs=tuple(outputs), losses=())), {}

        derived = self.fn.compiler.derive(("values", tuple(wanted), whole), build)
        params, data = self.needed(derived.program)
        results, call = self.fn.compiler.run(derived, params, data, {}, None, draws=(self.seed, 0))
        found = {}
        for name, array in results.items():
            k = time_axis(program.vars[name])
            found[name] = np.moveaxis(array, k, 0) if k else array
        return found, call.arrays, call.lengths

    def needed(self, program: Program) -> tuple[dict[str, Any], dict[str, Any]]:
        """Of the parameters and data those that a derived program takes."""
        roles = {v.name: v.role for v in program.vars.values()}
        params = {n: a for n, a in self.params.items() if roles.get(n) == "param"}
        arrays = {n: a for n, a in self.data.items() if roles.get(n) == "input"}
        # An array that the derived program does not read still tells how long the run is.
        known = self._counted()
        stated = {n: known[n] for n in program.lengths if n in known}
        return params, {**arrays, **stated}

    def _counted(self) -> dict[str, int]:
        """The lengths that the data tell: as numbers, or by an axis that has just that length."""
        found = {n: int(self.data[n]) for n in self.program.lengths if n in self.data}
        for v in self.program.inputs:
            if v.name in self.data:
                shape = np.shape(self.data[v.name])
                for axis, count in zip(v.axes, shape, strict=False):
                    size = axis.hi - axis.lo + 1
                    for name in self.program.lengths:
                        if size == Poly.symbol(name):
                            found.setdefault(name, count)
        return found


def prepare(
    fn: Function | Model | str,
    params: Mapping[str, Any] | None,
    data: Mapping[str, Any] | None,
    sizes: Mapping[str, float] | None = None,
    sequence: int | None = 0,
    seed: int = 0,
) -> Run:
    """The run that an analysis is of.

    Args:
        fn: a compiled model; or a model, a path or a text, which is compiled with ``sizes``.
        params: arrays by name; ``None`` for initial ones.
        data: inputs by name, and lengths that no array fixes. Of a batch, ``sequence`` is taken
            (``None``: all of it).

    Raises `InputError`.
    """
    if not isinstance(fn, Function):
        fn = compile(fn, sizes=sizes)
    elif sizes:
        raise InputError("sizes are fixed when a model is compiled; give the model, or no sizes")
    given = dict(data or {})
    known = {v.name: v for v in fn.program.inputs}
    for name in given:
        if name not in known and name not in fn.program.lengths:
            also = [*known, *fn.program.lengths]
            raise InputError(f"{fn.program.name} has no input {name}{nearest(name, also)}")
    extra = {
        n: np.ndim(a) - len(known[n].axes) - len(known[n].shape)
        for n, a in given.items()
        if n in known
    }
    if sequence is not None and extra and all(k == 1 for k in extra.values()):
        count = len(given[next(iter(extra))])
        if not 0 <= sequence < count:
            raise InputError(f"sequence {sequence} is not one of the {count} given")
        given |= {n: np.asarray(given[n])[sequence] for n in extra}
    lengths = {n: int(given[n]) for n in fn.program.lengths if n in given}
    return Run(fn, dict(fn.init(seed, **lengths) if params is None else params), given, seed)


def pruned(program: Program) -> Program:
    """The program with the inputs and parameters only that its results need."""
    program = prune(program)
    used = frozenset().union(*(names(eq.rhs) for eq in program.equations))
    kept = {
        n: v
        for n, v in program.vars.items()
        if v.role == "variable" or n in used or n in {o.name for o in program.outputs}
    }
    return program.with_(vars=kept)


def carried(program: Program, backward: bool = False) -> list[str]:
    """The real variables over t that an equation reads some fixed steps before (or after) its own
    step: the states of a recurrence, in order of declaration."""
    found = set()
    for eq in program.equations:
        k = time_axis(program.vars[eq.name])
        if k is None:
            continue
        for read in reads(eq.rhs):
            v = program.vars[read.ref.name]
            at = time_axis(v)
            if at is None or v.role != "variable" or v.type.kind != "real":
                continue
            behind = (eq.element[k] - read.ref.index[at]).constant
            if behind is not None and (behind < 0 if backward else behind > 0):
                found.add(v.name)
    return [n for n in program.vars if n in found]


def named_states(program: Program, wanted: str | list[str] | tuple[str, ...]) -> list[str]:
    """States that a caller names, checked."""
    names_ = [wanted] if isinstance(wanted, str) else list(wanted)
    over_time = [
        v.name for v in program.vars.values()
        if v.role == "variable" and v.type.kind == "real" and time_axis(v) is not None
    ]  # fmt: skip
    for name in names_:
        if name not in over_time:
            there = f"; there are {listed(over_time)}" if over_time else ""
            hint = nearest(name, over_time) or there
            raise InputError(f"{program.name} has no real variable {name} over t{hint}")
    return names_
