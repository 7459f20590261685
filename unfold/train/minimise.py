"""Minimising to the end: SciPy's methods with our values, gradients and Hessian products.

What is moved is named in `wrt` (parameters, or inputs such as the controls `u[t]` of a trajectory),
and stands for SciPy in one vector. Constraints are on anything the model computes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiler import merged
from ..errors import InputError
from ..evaluation import REDUCTIONS
from ..function import Function
from ..inputs import kind_of, listed, nearest
from ..jacobian import Element, element_value, with_probe
from .losses import weighted

Array = NDArray[Any]
Vector = NDArray[np.float64]

#: Which methods of SciPy take what.
_PRODUCTS = ("newton-cg", "trust-ncg", "trust-krylov", "trust-constr")
_HESSIANS = ("dogleg", "trust-exact")
_GRADIENTS = ("cg", "bfgs", "l-bfgs-b", "tnc", "slsqp", *_PRODUCTS, *_HESSIANS)
_VALUES = ("nelder-mead", "powell", "cobyla", "cobyqa")
_CONSTRAINED = ("slsqp", "trust-constr", "cobyla", "cobyqa")
_BOUNDED = ("nelder-mead", "powell", "l-bfgs-b", "tnc", *_CONSTRAINED)


@dataclass(frozen=True)
class Minimum:
    """What `minimize` found.

    Attributes:
        params, inputs: all of them, those of ``wrt`` where the minimum is.
        loss: there.
        success, message: what SciPy says of it.
        result: SciPy's own result, `scipy.optimize.OptimizeResult`.
    """

    params: dict[str, Array]
    inputs: dict[str, Array]
    loss: float
    success: bool
    message: str
    result: Any

    def __repr__(self) -> str:
        end = "" if self.success else "no success: "
        return f"<Minimum: loss {self.loss:.6g}; {end}{self.message}>"


def minimize(
    fn: Function,
    params: Mapping[str, Any],
    data: Mapping[str, Any] | None = None,
    /,
    *,
    wrt: str | Sequence[str] | None = None,
    method: str | None = None,
    bounds: Mapping[str, Any] | None = None,
    constraints: Mapping[str, Any] | None = None,
    loss: str | Sequence[str] | Mapping[str, float] | None = None,
    reduce: str = "mean",
    lengths: Any = None,
    seed: int = 0,
    tol: float | None = None,
    options: Mapping[str, Any] | None = None,
    callback: Callable[[dict[str, Array]], object] | None = None,
    **inputs: Any,
) -> Minimum:
    """Minimise a model's loss by a method of `scipy.optimize.minimize`; needs the extra ``scipy``.

    Args:
        params, data, inputs, lengths, seed: as for `Function.value_and_grad`; where it starts.
        wrt: the parameters and inputs that are moved; default: all parameters.
        method: default ``"L-BFGS-B"``, begun again where it stops as long as that brings
            something, and ``"SLSQP"`` with constraints. ``"trust-constr"``,
            ``"Newton-CG"``, ``"trust-ncg"`` and ``"trust-krylov"`` are given Hessian products,
            ``"trust-exact"`` and ``"dogleg"`` the Hessian made of them.
        bounds: ``{"u": (-2, 2)}``; each bound a number, an array of the shape of what is bounded,
            or None.
        constraints: on what one sequence computes, by its name: ``{"theta[T]": 3.14}`` has it equal
            to a number or an array, ``{"omega": (-1, None)}`` between two bounds, for all of 1..T.
        loss, reduce: as for `Function.trainer`.
        tol, options: as SciPy has them.
        callback: called with what is moved after each iteration.

    Returns:
        A `Minimum`; look at its ``success``.

    Raises:
        InputError: wrong arguments, or a loss that is not finite at the start.
        SolverError: an equation of the model has no solution at a point that was tried.
    """
    optimize = _scipy()
    if reduce not in REDUCTIONS[:2]:
        raise InputError(f'reduce is "mean" or "sum", not {reduce!r}')
    own = weighted(fn, loss) if isinstance(loss, Mapping) else fn
    targets = own.targets(None if isinstance(loss, Mapping) else loss)
    given = merged(data, inputs)
    moved = _Moved.of(own, params, given, own.differentiable(wrt))
    method = _method(method, bounds, constraints)
    call: dict[str, Any] = {"loss": targets, "reduce": reduce, "lengths": lengths, "seed": seed}

    def value(x: Vector) -> tuple[float, Vector]:
        found, grads = own.value_and_grad(*moved.arguments(x), wrt=moved.names, **call)
        return float(found), moved.flat(grads)

    def product(x: Vector, p: Vector) -> Vector:
        at, along = moved.arguments(x), moved.parts(p)
        return moved.flat(own.hvp(at[0], along, at[1], wrt=moved.names, **call))

    start = moved.start
    first, _ = value(start)
    if not math.isfinite(first):
        raise InputError(f"the loss at the start is {first}: begin somewhere else")
    more: dict[str, Any] = {}
    if method.lower() in _PRODUCTS:
        more["hessp"] = product
    elif method.lower() in _HESSIANS:
        more["hess"] = lambda x: np.stack([product(x, unit) for unit in np.eye(x.size)])
    if bounds is not None:
        more["bounds"] = optimize.Bounds(*moved.bounds(bounds))
    if constraints is not None:
        if lengths is not None:
            raise InputError("constraints are on one sequence, and lengths make a batch")
        if seed and any(v.noise and v.name not in given for v in fn.program.inputs):
            raise InputError("constraints: what they are on is drawn with seed 0, give no other")
        exact = method.lower() == "trust-constr"
        more["constraints"] = [
            _constraint(optimize, fn, moved, text, wanted, exact)
            for text, wanted in constraints.items()
        ]
    if callback is not None:
        more["callback"] = lambda x, *_: callback(moved.parts(np.array(x)))
    has_gradient = method.lower() in _GRADIENTS
    objective = value if has_gradient else lambda x: value(x)[0]

    def search(x: Vector, options: Mapping[str, Any]) -> Any:
        return optimize.minimize(
            objective, x, jac=has_gradient or None, method=method, tol=tol, options=dict(options),
            **more,
        )  # fmt: skip

    result = search(start, options or {})
    if method.lower() == "l-bfgs-b":
        result = _to_the_end(search, result, options or {}, tol)
    there, inside = moved.arguments(np.asarray(result.x, np.float64))
    return Minimum(
        {n: np.array(a) for n, a in there.items()}, {n: np.array(a) for n, a in inside.items()},
        float(result.fun), bool(result.success), str(result.message), result,
    )  # fmt: skip


def _to_the_end(
    search: Callable[[Vector, Mapping[str, Any]], Any],
    result: Any,
    options: Mapping[str, Any],
    tol: float | None,
) -> Any:
    """L-BFGS-B stops after one poor step, wherever it is: it begins again from there, without what
    it remembers of the curvature, as long as that brings more than its tolerance."""
    least = options.get("ftol", 2.2e-9 if tol is None else tol)
    while "RELATIVE REDUCTION" in str(result.message):
        left = options.get("maxiter", 15_000) - result.nit
        if left < 1:
            break
        again = search(result.x, {**options, "maxiter": left})
        gain = (result.fun - again.fun) / max(abs(result.fun), abs(again.fun), 1.0)
        for count in ("nit", "nfev", "njev"):
            again[count] += result[count]
        result = again
        if gain <= least:
            break
    return result


def _scipy() -> Any:
    try:
        import scipy.optimize
    except ImportError as error:
        raise InputError("minimize needs SciPy: pip install 'unfold-rec[scipy]'") from error
    return scipy.optimize


def _method(method: str | None, bounds: Any, constraints: Any) -> str:
    if method is None:
        return "L-BFGS-B" if constraints is None else "SLSQP"
    known = (*_GRADIENTS, *_VALUES)
    if not isinstance(method, str) or method.lower() not in known:
        hint = nearest(str(method), known) or f"; SciPy has {listed(known)}"
        raise InputError(f"method: there is no {method!r}{hint}")
    for given, what, those in (
        (bounds, "bounds", _BOUNDED), (constraints, "constraints", _CONSTRAINED)
    ):  # fmt: skip
        if given is not None and method.lower() not in those:
            raise InputError(f"{method} knows no {what}; {listed(those)} do")
    return method


@dataclass(frozen=True)
class _Moved:
    """What is moved, as one vector and back.

    Attributes:
        names, shapes: of its parts, in order.
        params, inputs: all that a call is given, at the start.
    """

    names: tuple[str, ...]
    shapes: dict[str, tuple[int, ...]]
    params: dict[str, Any]
    inputs: dict[str, Any]
    dtype: np.dtype[Any]

    @staticmethod
    def of(
        fn: Function, params: Mapping[str, Any], inputs: Mapping[str, Any], wrt: Sequence[str]
    ) -> _Moved:
        if not wrt:
            raise InputError(f"{fn.program.name} has no real parameters: name inputs, `wrt=`")
        given = {"param": dict(params), "input": dict(inputs)}
        dtype = np.dtype(fn.options.dtype)
        shapes = {}
        for n in wrt:
            role = fn.program.vars[n].role
            if role not in given:
                raise InputError(f"wrt: {n} is computed; parameters and inputs can be moved")
            if n not in given[role]:
                raise InputError(f"wrt: there is no value of {n} to begin with")
            given[role][n] = np.array(given[role][n], dtype)
            shapes[n] = given[role][n].shape
        return _Moved(tuple(wrt), shapes, given["param"], given["input"], dtype)

    @property
    def start(self) -> Vector:
        """The vector to begin with."""
        return self.flat({n: self.params.get(n, self.inputs.get(n)) for n in self.names})

    def flat(self, arrays: Mapping[str, Any]) -> Vector:
        """One vector of an array for each part."""
        return np.concatenate([np.ravel(arrays[n]) for n in self.names]).astype(np.float64)

    def parts(self, x: Vector) -> dict[str, Array]:
        """The parts of a vector, by name."""
        found, at = {}, 0
        for n in self.names:
            size = math.prod(self.shapes[n])
            found[n] = x[at : at + size].reshape(self.shapes[n]).astype(self.dtype)
            at += size
        return found

    def arguments(self, x: Vector) -> tuple[dict[str, Any], dict[str, Any]]:
        """Parameters and inputs of a call at a vector."""
        parts = self.parts(x)
        return (
            {n: parts.get(n, a) for n, a in self.params.items()},
            {n: parts.get(n, a) for n, a in self.inputs.items()},
        )

    def bounds(self, given: Mapping[str, Any]) -> tuple[Vector, Vector]:
        """The lower and the upper bound of each entry."""
        if not isinstance(given, Mapping):
            raise InputError(
                f'bounds: expected a dict such as {{"u": (-1, 1)}}, got {kind_of(given)}'
            )
        for n in given:
            if n not in self.names:
                raise InputError(f"bounds: {n} is not moved{nearest(str(n), self.names)}")
        sides: tuple[dict[str, Any], dict[str, Any]] = {}, {}
        for n in self.names:
            pair = _pair(f"bounds[{n!r}]", given.get(n, (None, None)), self.shapes[n])
            for side, bound in zip(sides, pair, strict=True):
                side[n] = bound
        return self.flat(sides[0]), self.flat(sides[1])


def _pair(what: str, given: Any, shape: tuple[int, ...]) -> tuple[Vector, Vector]:
    """A lower and an upper bound of a shape."""
    if not isinstance(given, (tuple, list)) or len(given) != 2:
        raise InputError(f"{what}: expected (low, high), each may be None, got {given!r}")
    sides = [-np.inf if given[0] is None else given[0], np.inf if given[1] is None else given[1]]
    low, high = (_broadcast(what, side, shape) for side in sides)
    if not (low <= high).all():
        raise InputError(f"{what}: the lower bound is not below the upper one")
    return low, high


def _broadcast(what: str, value: Any, shape: tuple[int, ...]) -> Vector:
    try:
        return np.broadcast_to(np.asarray(value, np.float64), shape)
    except (TypeError, ValueError):
        raise InputError(f"{what}: expected numbers that fit the shape {shape}") from None


def _constraint(
    optimize: Any, fn: Function, moved: _Moved, text: str, wanted: Any, exact: bool
) -> Any:
    """SciPy's constraint for one element of the model, ``exact`` with its second derivatives."""
    element = Element.of(text, fn.program)
    if fn.program.vars[element.name].role != "variable":
        raise InputError(
            f"constraints: {element.name} is given and not computed; bounds are for it"
        )

    def value(x: Vector) -> Vector:
        return np.ravel(element_value(fn, element, *moved.arguments(x))).astype(np.float64)

    def jacobian(x: Vector) -> Vector:
        at = moved.arguments(x)
        columns = [fn.jacobian(text, n, *at) for n in moved.names]
        rows = columns[0].size // max(math.prod(moved.shapes[moved.names[0]]), 1)
        return np.concatenate([c.reshape(rows, -1) for c in columns], axis=1, dtype=np.float64)

    shape = np.shape(element_value(fn, element, *moved.arguments(moved.start)))
    what = f"constraints[{text!r}]"
    if isinstance(wanted, tuple):
        low, high = _pair(what, wanted, shape)
    else:
        low = high = _broadcast(what, wanted, shape)
    more = {"hess": _curvature(fn, element, moved, shape)} if exact else {}
    return optimize.NonlinearConstraint(value, np.ravel(low), np.ravel(high), jac=jacobian, **more)


def _curvature(fn: Function, element: Element, moved: _Moved, shape: tuple[int, ...]) -> Any:
    """The Hessian of ``v · element`` as an operator, for given x and v."""
    from scipy.sparse.linalg import LinearOperator

    program, seed, probe = with_probe(fn.program, element)
    probed = Function(program, {}, {}, fn.options)

    def hessian(x: Vector, v: Vector) -> Any:
        params, inputs = moved.arguments(x)
        inputs = {**inputs, seed: np.reshape(v, shape).astype(moved.dtype)}

        def product(p: Vector) -> Vector:
            along = moved.parts(np.ravel(p))
            return moved.flat(probed.hvp(params, along, inputs, wrt=moved.names, loss=probe))

        return LinearOperator((x.size, x.size), matvec=product, dtype=np.float64)

    return hessian


__all__ = ["Minimum", "minimize"]
