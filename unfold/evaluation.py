"""What a compiled model computes: values, gradients, tangents, products with the Hessian."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import buffers, forward
from .compiler import Compiler, Derived, Options, directions, merged
from .errors import InputError
from .init import initial_params
from .inputs import Call, by_name, listed, nearest
from .outputs import Outputs
from .program import Program, Var
from .shortcut import Shortcut

Array = NDArray[Any]
REDUCTIONS = ("mean", "sum", "none")
#: What a model without parameters takes; never changed. (A dict: quick calls know no other type.)
NO_PARAMS: Mapping[str, Any] = {}


class Evaluation:
    """The calls of a compiled model: safe in several threads.

    Attributes:
        compiler: makes and keeps the kernels of what derives from the model.
    """

    def __init__(
        self,
        declared: Program,
        sizes: Mapping[str, int],
        constants: Mapping[str, float],
        options: Options,
    ) -> None:
        self.compiler = Compiler(declared, sizes, constants, options)
        self._value: Shortcut | None = None
        self._gradients: dict[tuple[Any, ...], Shortcut] = {}
        self._tangents: dict[tuple[str, ...], Shortcut] = {}
        self._hessians: dict[tuple[Any, ...], Shortcut] = {}
        self._forward: dict[tuple[tuple[str, ...], tuple[str, ...]], forward.Tangents] = {}
        self._real_params = tuple(v.name for v in declared.params if v.type.kind == "real")

    # --- what it is ---

    @property
    def program(self) -> Program:
        """The program with its sizes and constants fixed."""
        return self.compiler.program

    @property
    def declared(self) -> Program:
        """The program as it was written."""
        return self.compiler.declared

    @property
    def options(self) -> Options:
        """How the function was compiled."""
        return self.compiler.options

    @property
    def inputs(self) -> list[str]:
        """The names of the inputs, in order of declaration."""
        return [v.name for v in self.declared.inputs]

    @property
    def params(self) -> list[str]:
        """The names of the parameters, in order of declaration."""
        return [v.name for v in self.declared.params]

    def __repr__(self) -> str:
        o = self.options
        fixed = ", ".join(
            f"{k}={v}" for k, v in {**self.compiler.sizes, **self.compiler.constants}.items()
        )
        return f"<Function {self.program.name}({fixed}) {o.backend} {o.dtype}>"

    def init(self, seed: int = 0, **lengths: int) -> dict[str, Array]:
        """Initial parameters by name, drawn as the model says (`~ glorot`, `= 0`, …).

        Every parameter depends on the seed and its own name only. ``lengths`` are needed by
        parameters that live on a run-time axis.
        """
        return initial_params(self.program, seed, lengths, self.options.dtype)

    # --- values and derivatives ---

    def __call__(
        self,
        params: Mapping[str, Any] = NO_PARAMS,
        data: Mapping[str, Any] | None = None,
        /,
        *,
        lengths: Any = None,
        seed: int = 0,
        first: int = 0,
        out: Mapping[str, Any] | None = None,
        **inputs: Any,
    ) -> Outputs:
        """The outputs and losses.

        Args:
            params: an array for every parameter; scalars may be numbers. A model that has none
                needs no dict.
            data: inputs by name, beside or instead of keywords.
            lengths: integers of shape (B,): each sequence's own length in a padded batch.
            seed: of the model's `random` draws (also of the derivatives below); a draw can be
                given as an input instead.
            first: the number of the batch's first sequence, so that a divided batch draws what the
                whole one does.
            out: arrays by the names of outputs, which these are written to instead of new ones;
                C-contiguous, of the output's shape and dtype, apart from all inputs. After a
                `SolverError` their contents are not defined.
            inputs: an array for every input, of the declared rank or all with one leading batch
                axis; lengths that no array fixes, ``T=50``.

        Raises:
            InputError: see `unfold.inputs`.
        """
        shortcut = self._value
        if shortcut is not None and lengths is None and (data is None or not inputs):
            given = inputs if data is None else data
            quick = shortcut.call(params, given) if out is None else shortcut.call(
                params, given, out
            )  # fmt: skip
            if quick is not None:
                return Outputs.of(quick)
        value = self.compiler.value()
        given = merged(data, inputs)
        if out is not None:
            out = buffers.known(out, [o.name for o in value.program.outputs], "output")
        results, call = self.compiler.run(
            value, params, None, given, lengths, draws=(seed, first), out=out
        )
        if out:
            results = buffers.place(out, results, call.arrays)
        if shortcut is None:
            shortcut = self._value = Shortcut(value, {"shown": {n: n for n in results}})
        shortcut.learn(params, given, call)
        return Outputs(results)

    def value_and_grad(
        self,
        params: Mapping[str, Any] = NO_PARAMS,
        data: Mapping[str, Any] | None = None,
        /,
        *,
        wrt: str | Sequence[str] | None = None,
        loss: str | Sequence[str] | None = None,
        reduce: str = "mean",
        lengths: Any = None,
        seed: int = 0,
        first: int = 0,
        out: Mapping[str, Any] | None = None,
        **inputs: Any,
    ) -> tuple[Any, dict[str, Array]]:
        """The loss and its gradients.

        Args:
            wrt: names of parameters, real inputs, or states (whose gradients are the costates);
                default: all parameters.
            loss: the losses that are added; default: all.
            reduce: over a batch, ``"mean"``, ``"sum"``, or ``"none"`` (a value for each sequence,
                gradients of the sum). A sequence counts once, whatever its length.
            out: arrays by the names of gradients, which these are written to; as in a call.

        Returns:
            The value and a dict from names to gradients of the same shapes as what they are
            gradients of.
        """
        key = (
            wrt if wrt is None else _named(wrt), loss if loss is None else _named(loss), reduce,
        )  # fmt: skip
        shortcut = self._gradients.get(key)
        if shortcut is not None and lengths is None and (data is None or not inputs):
            given = inputs if data is None else data
            quick = shortcut.call(params, given) if out is None else shortcut.call(
                params, given, out
            )  # fmt: skip
            if quick is not None:
                return quick
        if reduce not in REDUCTIONS:
            raise InputError(f"reduce is one of {listed(REDUCTIONS)}, not {reduce!r}")
        names, targets = self.differentiable(wrt), self.targets(loss)
        if out is not None:
            out = buffers.known(out, names, "gradient of")
        given = merged(data, inputs)
        losses, grads, call, derived = self.differentiate(
            params, given, names, targets, lengths, (seed, first), out
        )
        if shortcut is None and derived is not None:
            request = {"shown": derived.names, "losses": targets, "reduce": reduce}
            shortcut = self._gradients[key] = Shortcut(derived, request)
        elif shortcut is None:
            shortcut = forward.shortcut(self._forward_mode(names, targets), reduce)
            if shortcut is not None:
                self._gradients[key] = shortcut
        if shortcut is not None and (derived is not None or call.batch is None):
            shortcut.learn(params, given, call)
        value, grads = reduced(added(losses), grads, reduce, call)
        return value, buffers.place(out, grads, call.arrays) if out else grads

    def differentiate(
        self,
        params: Mapping[str, Any],
        inputs: Mapping[str, Any],
        wrt: tuple[str, ...],
        losses: tuple[str, ...],
        lengths: Any,
        draws: tuple[int, int],
        out: Mapping[str, Any] | None,
    ) -> tuple[list[Array], dict[str, Array], Call, Derived | None]:
        """Each loss, the gradients of their sum (over the batch as well), and the checked call.

        The last of the results is the program that was run, or ``None`` if it was another than the
        gradient's. Gradients stand in ``out`` where that was possible.
        """
        if forward.is_chosen(self.compiler, wrt):
            moved = self._forward_mode(wrt, losses)
            return *forward.value_and_grad(moved, params, inputs, lengths, draws), None
        derived = self.compiler.gradient(wrt, losses)
        results, call = self.compiler.run(
            derived, params, None, inputs, lengths, draws=draws, out=out
        )
        grads = {name: results[bar] for name, bar in derived.names.items()}
        return [results[n] for n in losses], grads, call, derived

    def _forward_mode(self, wrt: tuple[str, ...], losses: tuple[str, ...]) -> forward.Tangents:
        found = self._forward.get((wrt, losses))
        if found is None:
            found = self._forward[wrt, losses] = forward.tangents(self.compiler, wrt, losses)
        return found

    def jvp(
        self,
        params: Mapping[str, Any],
        tangents: Mapping[str, Any],
        data: Mapping[str, Any] | None = None,
        /,
        *,
        lengths: Any = None,
        seed: int = 0,
        first: int = 0,
        **inputs: Any,
    ) -> tuple[Outputs, Outputs]:
        """The outputs, and their derivative along a direction (forward mode).

        ``tangents`` holds an array for each parameter or input that moves, of its shape.
        """
        key = tuple(by_name("tangents", tangents))
        shortcut = self._tangents.get(key)
        if shortcut is not None and lengths is None and (data is None or not inputs):
            quick = shortcut.call(params, inputs if data is None else data, tangents)
            if quick is not None:
                return Outputs.of(quick[0]), Outputs.of(quick[1])
        names = self._directions(tangents, "tangents")
        derived = self.compiler.tangent(names)
        given = merged(data, inputs)
        results, call = self.compiler.run(
            derived, params, None, given, lengths, tangents, (seed, first)
        )
        values = {n: a for n, a in results.items() if n not in derived.names.values()}
        if shortcut is None:
            request = {"shown": {n: n for n in values}, "moved": derived.names}
            shortcut = self._tangents[key] = Shortcut(derived, request, directions(derived, names))
        shortcut.learn(params, given, call)
        return Outputs(values), Outputs({n: results[d] for n, d in derived.names.items()})

    def hvp(
        self,
        params: Mapping[str, Any],
        vectors: Mapping[str, Any],
        data: Mapping[str, Any] | None = None,
        /,
        *,
        wrt: str | Sequence[str] | None = None,
        loss: str | Sequence[str] | None = None,
        reduce: str = "mean",
        lengths: Any = None,
        seed: int = 0,
        first: int = 0,
        **inputs: Any,
    ) -> dict[str, Array]:
        """The product of the loss's Hessian with a vector: the derivative of the gradient.

        ``vectors`` holds an array for each parameter or input in which the vector is not zero;
        the result has the rows of ``wrt`` (default: all parameters).
        """
        key = tuple(by_name("vectors", vectors)), _named(wrt), _named(loss), reduce
        shortcut = self._hessians.get(key)
        if shortcut is not None and lengths is None and (data is None or not inputs):
            quick = shortcut.call(params, inputs if data is None else data, vectors)
            if quick is not None:
                return quick
        if reduce not in REDUCTIONS:
            raise InputError(f"reduce is one of {listed(REDUCTIONS)}, not {reduce!r}")
        names = self._directions(vectors, "vectors")
        derived = self.compiler.hessian(names, self.differentiable(wrt), self.targets(loss))
        given = merged(data, inputs)
        results, call = self.compiler.run(
            derived, params, None, given, lengths, vectors, (seed, first)
        )
        if shortcut is None:
            share = "mean" if reduce == "mean" else "sum"
            request = {"shown": derived.names, "scalars": False, "reduce": share}
            shortcut = self._hessians[key] = Shortcut(derived, request, directions(derived, names))
        shortcut.learn(params, given, call)
        rows = {name: results[dot] for name, dot in derived.names.items()}
        return reduced(np.zeros(()), rows, reduce, call)[1]

    # --- names that callers give ---

    def differentiable(self, wrt: str | Sequence[str] | None) -> tuple[str, ...]:
        """The names in ``wrt``, or those of all real parameters. Raises `InputError`."""
        if wrt is None:
            return self._real_params
        names = (wrt,) if isinstance(wrt, str) else tuple(wrt)
        for name in names:
            self._real(name, self.program.vars, "wrt")
        return tuple(dict.fromkeys(names))

    def _directions(self, tangents: Mapping[str, Any], what: str) -> tuple[str, ...]:
        known = {v.name: v for v in self.program.vars.values() if v.role in ("input", "param")}
        for name in tangents:
            self._real(name, known, what)
        return tuple(v for v in known if v in tangents)

    def _real(self, name: str, known: Mapping[str, Var], what: str) -> None:
        if name not in known:
            kind = "" if what == "wrt" else "input or parameter "
            hint = nearest(name, known)
            raise InputError(f"{what}: {self.program.name} has no {kind}{name}{hint}")
        if known[name].type.kind != "real":
            kind = str(self.declared.vars[name].type)
            raise InputError(f"{what}: {name} is {kind}, and derivatives are of real numbers")

    def targets(self, loss: str | Sequence[str] | None) -> tuple[str, ...]:
        """The names in ``loss``, or those of all losses. Raises `InputError`."""
        if loss is None:
            if not self.declared.losses:
                raise InputError(
                    f"{self.program.name} has no `minimize` line: name what to differentiate, "
                    '`loss="…"`'
                )
            return self.declared.losses
        names = (loss,) if isinstance(loss, str) else tuple(loss)
        for name in names:
            v = self.program.vars.get(name)
            scalars = [
                u.name for u in self.program.vars.values()
                if u.role == "variable" and not u.shape and not u.axes and u.type.kind == "real"
            ]  # fmt: skip
            if v is None or name not in scalars:
                hint = nearest(name, scalars) or f"; its scalars are {listed(scalars or ['none'])}"
                raise InputError(f"loss: {self.program.name} has no real scalar {name}{hint}")
        return tuple(dict.fromkeys(names))


def _named(names: str | Sequence[str] | None) -> str | tuple[str, ...] | None:
    """Names as a caller gives them, to be looked up by."""
    return names if names is None or isinstance(names, str) else tuple(names)


def added(losses: Sequence[Array]) -> Any:
    """The sum of losses, for each sequence."""
    return losses[0] if len(losses) == 1 else sum(losses[1:], start=losses[0])


def reduced(
    value: Any, grads: dict[str, Array], reduce: str, call: Call
) -> tuple[Any, dict[str, Array]]:
    """Sums over the batch as they come from a kernel, turned into what was asked for."""
    if call.batch is None:
        return value[()], grads
    if reduce == "none":
        return value, grads
    if reduce == "sum":
        return _total(value, 1), grads
    if call.batch == 0:
        raise InputError(
            'the mean over a batch of no sequences is undefined; `reduce="sum"` gives zeros'
        )
    share = 1.0 / call.batch
    return (
        _total(value, call.batch),
        {name: np.multiply(g, g.dtype.type(share), out=g) for name, g in grads.items()},
    )


def _total(value: Array, divisor: int) -> Any:
    """The sum over a batch, divided; added by halves, as quick calls do."""
    if not value.ndim:
        return value[()]
    sums = value.astype(np.float64)
    while len(sums) > 1:
        half = (len(sums) + 1) // 2
        sums[: len(sums) - half] += sums[half:]
        sums = sums[:half]
    return value.dtype.type(sums.sum() / divisor)
