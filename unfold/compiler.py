"""The programs that derive from a model, compiled: values, gradients, tangents, Hessian products.

Each is made and compiled when it is first asked for, and kept.
"""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from . import cache
from .arrival import Watched, watched
from .buffers import check
from .collecting import uncollected
from .errors import InputError
from .inputs import Call, Signature, bind, by_name, signature
from .later import Later
from .program import Output, Program, verify

if TYPE_CHECKING:
    from .segments import Backend, Kernel
    from .transform import Horizon, Window

Array = NDArray[Any]


@dataclass(frozen=True)
class Options:
    """How a function was compiled."""

    backend: str = "llvm"
    dtype: str = "float64"
    threads: int | str = 1
    check_finite: bool = False
    truncate: Window | Horizon | None = None
    mode: str = "auto"
    checkpoint: int | str | None = None

    @property
    def workers(self) -> int:
        """How many threads share a batch: ``threads``, or the cores that this process may use."""
        if self.threads != "auto":
            return int(self.threads)
        if hasattr(os, "sched_getaffinity"):
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1


@dataclass(frozen=True)
class Derived:
    """A program derived from the model, its kernel, and what it takes.

    ``names`` maps what the user asked for to the outputs that hold it (``W`` to ``W_bar``).
    """

    packed: Later[Program]  # most calls ask for nothing of it
    kernel: Kernel
    signature: Signature
    names: dict[str, str]

    @property
    def program(self) -> Program:
        """What is computed."""
        return self.packed.value


class Compiler:
    """Makes kernels of what derives from one model, for fixed sizes; safe in several threads.

    Attributes:
        declared: the program as it was written.
        sizes, constants: what was fixed.
        options: backend, dtype, threads, check_finite, truncate, mode, checkpoint.
    """

    def __init__(
        self,
        declared: Program,
        sizes: Mapping[str, int],
        constants: Mapping[str, float],
        options: Options,
    ) -> None:
        self.declared = declared
        self.sizes = dict(sizes)
        self.constants = dict(constants)
        self.options = options
        self._backend = importlib.import_module(f"unfold.backends.{options.backend}")
        self._target = self._backend.target()
        self._lock = threading.RLock()
        self._derived: dict[tuple[Any, ...], Derived] = {}

    @cached_property
    def program(self) -> Program:
        """The program with its sizes and constants fixed."""
        return verify(self.declared.bind(self.sizes, self.constants))

    @cached_property
    def differentiated(self) -> Program:
        """What derivatives are taken of: the program, or the same one truncated.

        Raises ``ValueError`` for a truncation that the program has no place for.
        """
        from .transform import truncate

        cut = self.options.truncate
        return self.program if cut is None else truncate(self.program, cut)

    def value(self) -> Derived:
        """What the model computes: its losses and outputs."""

        def build() -> tuple[Program, dict[str, str]]:
            from .transform import simplify

            return simplify(_with_losses(self.program)), {}

        return self.derive(("value",), build)

    def gradient(
        self, wrt: tuple[str, ...], losses: tuple[str, ...], keep: tuple[str, ...] = ()
    ) -> Derived:
        """Losses, and their gradients in ``wrt`` (variables of any role); and the outputs ``keep``
        of the model."""

        def build() -> tuple[Program, dict[str, str]]:
            self._backend.foresee(self.program, dtype=self.options.dtype)
            from .transform import adjoint

            outputs = tuple(o for o in self.differentiated.outputs if o.name in keep)
            result = adjoint(self.differentiated.with_(outputs=outputs), wrt, losses)
            return result, _marked(result, "adjoint_of", wrt)

        key = ("gradient", wrt, losses, keep) if keep else ("gradient", wrt, losses)
        return self.derive(key, build, self.options.checkpoint)

    def tangent(self, wrt: tuple[str, ...]) -> Derived:
        """Outputs, and their tangents when the parameters and inputs ``wrt`` move."""

        def build() -> tuple[Program, dict[str, str]]:
            from .transform import tangent

            result = tangent(_with_losses(self.differentiated), wrt)
            names = [v.tangent_of for v in map(result.vars.get, _outputs(result)) if v]
            return result, _marked(result, "tangent_of", [n for n in names if n])

        return self.derive(("tangent", wrt), build)

    def hessian(
        self, vectors: tuple[str, ...], wrt: tuple[str, ...], losses: tuple[str, ...]
    ) -> Derived:
        """The tangents of the gradients in ``wrt`` when ``vectors`` move."""

        def build() -> tuple[Program, dict[str, str]]:
            from .transform import adjoint, simplify, tangent

            first = adjoint(self.differentiated.with_(outputs=()), wrt, losses)
            bars = _marked(first, "adjoint_of", wrt)
            only = tuple(o for o in first.outputs if o.name in bars.values())
            second = tangent(first.with_(outputs=only), vectors)
            dots = _marked(second, "tangent_of", list(bars.values()))
            only = tuple(o for o in second.outputs if o.name in dots.values())
            second = simplify(second.with_(outputs=only))
            return second, {name: dots[bar] for name, bar in bars.items()}

        return self.derive(("hessian", vectors, wrt, losses), build, self.options.checkpoint)

    def derive(
        self,
        key: tuple[Any, ...],
        build: Callable[[], tuple[Program, dict[str, str]]],
        checkpoint: int | str | None = None,
    ) -> Derived:
        """The derived program of a key, made by ``build`` when it is not there yet."""
        found = self._derived.get(key)
        if found is None:
            with self._lock:
                found = self._derived.get(key)
                if found is None:
                    entry = self.entry("derived", *key)
                    made = uncollected()(lambda: self.compiled(*build(), entry, checkpoint))
                    found = self._derived[key] = cache.remember(entry, made)
        return found

    def observed(
        self, key: tuple[Any, ...], build: Callable[[], tuple[Program, dict[str, str]]]
    ) -> Derived:
        """As `derive`, for a program all of whose variables are results, of each sequence its own.

        What a flow that chooses its steps has to arrive at is one more variable (`watched`).
        """

        def compiled(entry: str | None) -> Derived:
            from .transform.continuous import plain

            program, names = build()
            program, _ = watched(plain(program))
            program = program.with_(outputs=everything(program), losses=())
            o = self.options
            kernel: Kernel = self._backend.compile(
                verify(program), dtype=o.dtype, threads=1, sum_adjoints=False, entry=entry
            )
            sig = signature(program, self.declared, self.sizes, o.dtype)
            return Derived(Later(program), kernel, sig, names)

        key = ("observed", *key)
        with self._lock:
            found = self._derived.get(key)
            if found is None:
                entry = self.entry(*key)
                found = self._derived[key] = cache.remember(entry, lambda: compiled(entry))
        return found

    def entry(self, *key: Any) -> str | None:
        """The name, in the cache, of something that follows from what is compiled."""
        if cache.folder() is None or self.declared.fingerprint is None:
            return None
        return cache.key(
            self.declared.fingerprint,
            self.sizes,
            self.constants,
            self.options,
            self.options.workers,
            self._target,
            key,
        )

    def compiled(
        self,
        program: Program,
        names: dict[str, str] | None = None,
        entry: str | None = None,
        checkpoint: int | str | None = None,
    ) -> Derived:
        """Compile a program derived from this one with the same options.

        Args:
            entry: the name under which the code may be kept in the cache.
            checkpoint: which states it keeps (see `unfold.compile`).
        """
        from .transform.continuous import plain

        o = self.options
        lowered, arrivals = watched(plain(program))

        def native(part: Program, label: str = "") -> Backend:
            name = entry if entry is None or not label else cache.key(entry, label)
            made: Backend = self._backend.compile(
                verify(part), dtype=o.dtype, threads=o.workers, sum_adjoints=True, entry=name
            )
            return made

        kernel: Kernel
        if checkpoint is None:
            kernel = native(lowered)
        else:
            from .segments import checkpointed

            kernel = checkpointed(lowered, checkpoint, native, o.dtype)
        if arrivals:
            kernel = Watched(kernel, arrivals)
        labels = {
            v.name: f"the tangent of {v.tangent_of}" for v in program.vars.values() if v.tangent_of
        }
        declared = dict(self.declared.vars)
        for v in program.vars.values():
            if v.tangent_of in declared:
                declared[v.name] = replace(declared[v.tangent_of], name=v.name)
        sig = signature(
            program,
            self.declared.with_(vars=declared),
            self.sizes,
            o.dtype,
            o.check_finite,
            labels,
        )
        return Derived(Later(program), kernel, sig, names or {})

    def run(
        self,
        derived: Derived,
        params: Mapping[str, Any],
        data: Mapping[str, Any] | None,
        inputs: Mapping[str, Any],
        lengths: Any,
        tangents: Mapping[str, Any] | None = None,
        draws: tuple[int, int] = (0, 0),
        out: Mapping[str, Any] | None = None,
    ) -> tuple[dict[str, Array], Call]:
        """Check the arrays of a call and compute; the outputs by name, and the checked call.

        ``out`` are arrays to write to by the names of ``derived.names``, or of outputs where it has
        none; a backend that cannot do that leaves them alone (see `unfold.buffers.place`).
        """
        given = merged(data, inputs)
        if tangents:
            params, given = self._with_tangents(derived, params, given, tangents)
        call = bind(derived.signature, params, given, lengths, *draws)
        kernel: Any = derived.kernel
        if not out or not hasattr(kernel, "shapes"):
            return kernel(call.arrays, call.lengths, call.batch, call.ragged), call
        shapes = kernel.shapes(call.lengths, call.batch)
        results = {n: derived.names.get(n, n) for n in out}
        check(out, {n: shapes[result] for n, result in results.items()}, call.arrays)
        into = {result: out[n] for n, result in results.items()}
        return kernel(call.arrays, call.lengths, call.batch, call.ragged, into), call

    def _with_tangents(
        self,
        derived: Derived,
        params: Mapping[str, Any],
        inputs: Mapping[str, Any],
        tangents: Mapping[str, Any],
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        dots = directions(derived, tangents)
        moved = {"param": dict(params), "input": dict(inputs)}
        for name, value in tangents.items():
            moved[derived.program.vars[dots[name]].role][dots[name]] = value
        return moved["param"], moved["input"]


def directions(derived: Derived, names: Container[str]) -> dict[str, str]:
    """For parameters and inputs that move, by name, the variable that holds the direction."""
    return {
        v.tangent_of: v.name
        for v in derived.program.vars.values()
        if v.tangent_of is not None and v.tangent_of in names and v.role in ("input", "param")
    }


def merged(data: Mapping[str, Any] | None, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """The inputs of a call, given in a dict, as keywords or both. Raises `InputError`."""
    if data is None:
        return inputs
    both = sorted(set(by_name("inputs", data)) & set(inputs))
    if both:
        raise InputError(f"{both[0]} is given twice")
    return {**data, **inputs}


def everything(program: Program) -> tuple[Output, ...]:
    """Every stored element of every variable, as outputs."""
    return tuple(
        Output(v.name, tuple((a.lo, a.hi) for a in v.axes))
        for v in program.vars.values()
        if v.role == "variable"
    )


def _outputs(program: Program) -> list[str]:
    return [o.name for o in program.outputs]


def _with_losses(program: Program) -> Program:
    """The program whose outputs are its losses and its outputs."""
    shown = _outputs(program)
    losses = tuple(Output(n) for n in program.losses if n not in shown)
    return program.with_(outputs=(*losses, *program.outputs), losses=())


def _marked(program: Program, mark: str, names: Sequence[str]) -> dict[str, str]:
    """For each name the output that is its adjoint or tangent."""
    shown = set(_outputs(program))
    by_mark = {getattr(v, mark): n for n, v in program.vars.items() if n in shown}
    return {name: by_mark[name] for name in names}
