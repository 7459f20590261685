"""The memory of a call, told before it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from .compiler import Compiler, Derived
from .cost import Costs, Memory, Work, total_work
from .errors import InputError
from .inputs import listed
from .plan.build import results_of
from .program import Program
from .segments.checkpoints import Either
from .transform import adjoint


@dataclass(frozen=True)
class Bill:
    """Bytes by purpose and name.

    Attributes:
        params, inputs: what is given.
        results: losses and gradients, which are new arrays at each call.
        work: the storages of the call; names that begin with ``%`` are scratch.
    """

    params: dict[str, int]
    inputs: dict[str, int]
    results: dict[str, int]
    work: dict[str, int]

    @property
    def total(self) -> int:
        """All bytes."""
        return sum(sum(part.values()) for part in self._parts().values())

    def _parts(self) -> dict[str, dict[str, int]]:
        return {
            "parameters": self.params, "inputs": self.inputs,
            "results": self.results, "storages": self.work,
        }  # fmt: skip

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        printer.text(str(self))  # what a notebook shows

    def __str__(self) -> str:
        lines = []
        for title, part in self._parts().items():
            lines.append(f"{title:<32}{sum(part.values()):>16,}")
            ordered = sorted(part.items(), key=lambda item: -item[1])
            lines += [f"    {name:<28}{size:>16,}" for name, size in ordered if size]
        return "\n".join([*lines, f"{'all':<32}{self.total:>16,}"])


def bill(derived: Derived, lengths: Mapping[str, int], batch: int | None) -> Bill:
    """The bytes of a call of a derived program. Raises `InputError`."""
    sig = derived.signature
    missing = [n for n in sig.lengths if n not in lengths]
    wrong = [n for n in lengths if n not in sig.lengths]
    if missing or wrong:
        what = f"needs {listed(missing)}" if missing else f"has no length {wrong[0]}"
        raise InputError(f"memory: {sig.model} {what}; its lengths are {listed(sig.lengths)}")
    known = {n: int(lengths[n]) for n in sig.lengths}
    kinds = {"int": 8, "bool": 1}
    real = np.dtype(sig.dtype).itemsize

    def rows(of_batch: bool) -> int:
        return batch if batch is not None and of_batch else 1

    given: dict[str, dict[str, int]] = {"param": {}, "input": {}}
    for s in sig.specs.values():
        numbers = prod(d.evaluate(known) for d in s.dims)
        given[s.role][s.name] = rows(s.role == "input") * numbers * kinds.get(s.kind, real)
    results = {}
    for r in results_of(derived.program):
        v = derived.program.vars[r.name]
        numbers = prod(max((hi - lo + 1).evaluate(known), 0) for lo, hi in r.ranges)
        numbers *= prod(n.evaluate({}) for n in v.shape)
        results[r.name] = rows(not r.summed) * numbers * kinds.get(v.type.kind, real)
    work = derived.kernel.workspace(known, batch)
    return Bill(given["param"], given["input"], results, dict(work))


def memory(
    compiler: Compiler, wrt: tuple[str, ...], losses: tuple[str, ...], costs: Costs
) -> Memory:
    """What a gradient allocates, with all states and with checkpoints; nothing runs."""

    def build() -> tuple[Program, dict[str, str]]:
        return adjoint(compiler.differentiated.with_(outputs=()), wrt, losses), {}

    lengths = dict(costs.lengths)
    batch = None if costs.batch == 1 else costs.batch
    needed = costs.gradient.stored if costs.gradient is not None else 0
    shared = costs.gradient.shared if costs.gradient is not None else 0

    def held(together: int) -> int:
        return shared + (needed - shared) * together // costs.batch

    made: Any = compiler.derive(("gradient or segments", wrt, losses), build, "auto").kernel
    made = getattr(made, "kernel", made)  # below what watches flows
    if not isinstance(made, Either):
        allocated = sum(made.workspace(lengths, batch).values())
        together = made.together(batch)
        return Memory(
            needed, allocated, None, None, None, "all states", together, held(together)
        )  # fmt: skip
    allocated = sum(made.whole.workspace(lengths, batch).values())
    swept = made.swept
    steps = swept.steps(lengths, batch)
    cut = sum(swept.workspace(lengths, batch).values())
    first, last = (p.evaluate(lengths) for p in (swept.made.first, swept.made.last))
    extra = Work()
    whole, rest = divmod(last + 1 - first, steps)
    for number, count in ((whole, steps), (1, rest)):
        own = {**lengths, swept.made.start: first, swept.made.count: count}
        for sweep, _ in swept.sweeps.values() if number and count else ():
            known = {n: own[n] for n in sweep.program.lengths}
            once = total_work(sweep.program, known, costs.batch, costs.solve_steps)
            extra = extra + once * number
    for program in swept.made.between:
        if program is not None:
            known = {n: lengths[n] for n in program.lengths}
            extra = extra + total_work(program, known, costs.batch, costs.solve_steps)
    assert costs.gradient is not None
    more = extra + costs.gradient.work * -1
    extra = Work(max(more.flops, 0), max(more.functions, 0))
    chosen = "checkpoints" if made.chosen(lengths, batch, False) is swept else "all states"
    together = made.together(batch)
    return Memory(needed, allocated, cut, steps, extra, chosen, together, held(together))


__all__ = ["Bill", "bill", "memory"]
