"""What a caller gives, against what a program declares: the arrays of a call, checked.

`bind` turns the arguments of a call into the arrays, lengths and batch that a kernel takes, or
raises `InputError` with the argument, what was expected in the model's own terms, and what came:

    x: expected real[T, D] with D = 8, got an array of shape (50, 7)
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .noise import draw
from .poly import Poly
from .program import Program, Var

Array = NDArray[Any]


@dataclass(frozen=True)
class Spec:
    """What one input or parameter must be.

    Attributes:
        name: as in the model; ``label`` is how errors speak of it (``the tangent of W``).
        role: ``input`` or ``param``.
        kind: ``real``, ``int`` or ``bool``; ``bound`` of an ``int<bound>``.
        dims: the number of entries of each axis, time first; components are constants.
        declared: the type in the model's own sizes: ``real[T, D]``.
        known: the sizes that occur in it: ``D = 8``.
        noise: how an input is drawn that is not given.
    """

    name: str
    label: str
    role: str
    kind: str
    bound: int | None
    dims: tuple[Poly, ...]
    declared: str
    known: str
    noise: str | None = None

    @property
    def expected(self) -> str:
        return f"{self.declared} with {self.known}" if self.known else self.declared

    def batched(self) -> str:
        """The type with a batch axis."""
        head, _, rest = self.declared.partition("[")
        shape = f"[B, {rest}" if rest else "[B]"
        return f"{head}{shape} with {self.known}" if self.known else f"{head}{shape}"


@dataclass(frozen=True)
class Call:
    """The checked arguments of a call, as a kernel takes them."""

    arrays: dict[str, Array]
    lengths: dict[str, int]
    batch: int | None
    ragged: NDArray[np.int64] | None


def spec(v: Var, declared: Var, sizes: Mapping[str, int], label: str | None = None) -> Spec:
    """The specification of a bound variable; ``declared`` is the same one with symbolic sizes."""
    counts = [a.hi - a.lo + 1 for a in declared.axes]
    shape = [str(n) for n in (*counts, *declared.shape)]
    kind = str(declared.type)
    used = {s for n in (*counts, *declared.shape) for s in n.symbols}
    if declared.type.bound is not None:
        used |= declared.type.bound.symbols
    known = ", ".join(f"{s} = {n}" for s, n in sizes.items() if s in used)
    bound = v.type.bound.constant if v.type.bound is not None else None
    return Spec(
        v.name,
        label or v.name,
        v.role,
        v.type.kind,
        bound,
        tuple(a.hi - a.lo + 1 for a in v.axes) + v.shape,
        kind + (f"[{', '.join(shape)}]" if shape else ""),
        known,
        v.noise,
    )


@dataclass(frozen=True)
class Signature:
    """All that a program takes: its specifications by name, and its lengths."""

    model: str
    specs: dict[str, Spec]
    lengths: tuple[str, ...]
    minimum: dict[str, int]
    dtype: np.dtype[Any]
    check_finite: bool = False
    #: Lengths and batch by the shapes of all arrays, for calls that have been checked before.
    seen: dict[tuple[tuple[int, ...], ...], tuple[dict[str, int], int | None]] = field(
        default_factory=dict, compare=False, repr=False
    )

    @property
    def inputs(self) -> list[str]:
        return [s.name for s in self.specs.values() if s.role == "input"]

    @property
    def params(self) -> list[str]:
        return [s.name for s in self.specs.values() if s.role == "param"]


def signature(
    program: Program,
    declared: Program,
    sizes: Mapping[str, int],
    dtype: Any,
    check_finite: bool = False,
    labels: Mapping[str, str] | None = None,
) -> Signature:
    """The signature of a bound program. Variables that ``declared`` lacks stand for themselves."""
    specs = {
        v.name: spec(v, declared.vars.get(v.name, v), sizes, (labels or {}).get(v.name))
        for v in program.vars.values()
        if v.role in ("input", "param")
    }
    minimum = {n: program.minimum.get(n, 1) for n in program.lengths}
    return Signature(program.name, specs, program.lengths, minimum, np.dtype(dtype), check_finite)


def bind(
    sig: Signature,
    params: Mapping[str, Any],
    inputs: Mapping[str, Any],
    lengths: Any = None,
    seed: int = 0,
    first: int = 0,
) -> Call:
    """Check the arguments of a call, and draw what is to be drawn.

    Args:
        params: an array for every parameter.
        inputs: an array for every input; and numbers for lengths (``T = 50``).
        lengths: each sequence's own ``T``, for a padded batch.
        seed: of the draws that are not given.
        first: the number of the batch's first sequence, for a batch that is part of a larger one.

    Raises:
        InputError: anything missing, unknown, ill-shaped, of the wrong type or out of range.
    """
    if lengths is None and (again := _again(sig, params, inputs)) is not None:
        return again
    given = {n: v for n, v in inputs.items() if n not in sig.lengths or n in sig.specs}
    stated = {n: _length(n, v) for n, v in inputs.items() if n not in given}
    drawn = {n: s for n, s in sig.specs.items() if s.noise and n not in given}
    if drawn:
        sig = replace(sig, specs={n: s for n, s in sig.specs.items() if n not in drawn})
    _names(sig, "parameter", sig.params, params, given)
    _names(
        sig, "input", sig.inputs, given, params, also=[n for n in sig.lengths if n not in stated]
    )
    arrays = {n: _array(sig, sig.specs[n], params[n]) for n in sig.params}
    arrays |= {n: _array(sig, sig.specs[n], given[n]) for n in sig.inputs}
    batch = _batch(sig, arrays, lengths)
    _shapes(sig, arrays, batch, None)
    found = _lengths(sig, arrays, batch, stated)
    _shapes(sig, arrays, batch, found)
    ragged = _ragged(sig, arrays, lengths, batch, found)
    for name, s in sig.specs.items():
        shared = batch is None or s.role == "param"
        clean = (
            arrays[name]
            if ragged is None or shared
            else _blank(s, arrays[name], ragged, found["T"])
        )
        _values(sig, s, clean, None if shared else batch)
        arrays[name] = _ready(clean, _dtype(sig, s))
    for name, s in drawn.items():
        shape = [dim.evaluate(found) for dim in s.dims]
        values = draw(s.noise or "", seed, name, shape, batch, first)
        arrays[name] = _ready(values, _dtype(sig, s))
    if not drawn and not stated and ragged is None:
        if len(sig.seen) >= _REMEMBERED:
            sig.seen.clear()
        sig.seen[tuple(arrays[n].shape for n in sig.specs)] = found, batch
    return Call(arrays, found, batch, ragged)


_REMEMBERED = 256


def _again(sig: Signature, params: Mapping[str, Any], inputs: Mapping[str, Any]) -> Call | None:
    """The call, if arrays of these very shapes were checked before and nothing in them needs a
    check or a conversion: a small recurrence runs in less time than a full check takes."""
    if sig.check_finite or not isinstance(params, Mapping):
        return None
    if len(params) + len(inputs) != len(sig.specs):
        return None
    arrays: dict[str, Array] = {}
    shapes = []
    for name, s in sig.specs.items():
        value = (params if s.role == "param" else inputs).get(name)
        if (
            type(value) is not np.ndarray
            or s.kind != "real"
            or value.dtype is not sig.dtype
            or not value.flags.c_contiguous
            or not value.flags.aligned
        ):
            return None
        arrays[name] = value
        shapes.append(value.shape)
    found = sig.seen.get(tuple(shapes))
    return None if found is None else Call(arrays, dict(found[0]), found[1], None)


_ROLES = {
    "input": ("an input", "as a keyword"),
    "param": ("a parameter", "in the dict of parameters"),
}

# --- names ------------------------------------------------------------------------------------


def by_name(what: str, given: Any) -> Mapping[str, Any]:
    """What a caller gives by names, the same object. Raises `InputError` if it is no dict."""
    if type(given) is not dict and not isinstance(given, Mapping):
        raise InputError(f"the {what} come as a dict from names to arrays, not as {kind_of(given)}")
    return given


def nearest(name: str, known: Iterable[str]) -> str:
    """``; did you mean `x`?``, or nothing."""
    names = list(known)
    close = [n for n in names if n.casefold() == name.casefold()]
    close = close or difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean `{close[0]}`?" if close else ""


def listed(names: Iterable[str]) -> str:
    """``x, y and z``."""
    items = list(names)
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _names(
    sig: Signature,
    what: str,
    wanted: list[str],
    given: Mapping[str, Any],
    others: Mapping[str, Any],
    also: Iterable[str] = (),
) -> None:
    """``others``: what is given in the other place, where some of ``wanted`` may be."""
    for name in by_name(f"{what}s", given):
        if name in wanted:
            continue
        if name in sig.specs:
            raise _misplaced(sig, name)
        hint = nearest(name, [n for n in (*wanted, *also) if n not in given])
        if not hint:
            hint = f"; its {what}s are {listed(wanted)}" if wanted else f"; it has no {what}s"
        raise InputError(f"{sig.model} has no {what} {name}{hint}")
    missing = [n for n in wanted if n not in given]
    if missing:
        astray = next((n for n in missing if isinstance(others, Mapping) and n in others), None)
        if astray is not None:
            raise _misplaced(sig, astray)
        lines = [f"    {sig.specs[n].label}: {sig.specs[n].expected}" for n in missing]
        count = f"{len(missing)} {what}s are" if len(missing) > 1 else f"the {what} {missing[0]} is"
        if what == "parameter" and not given:
            lines.append(
                "parameters come first, in a dict by name: `fn(params, …)`; `fn.init()` makes one"
            )
        raise InputError("\n".join([f"{count} missing for {sig.model}:", *lines]))


def _misplaced(sig: Signature, name: str) -> InputError:
    role, where = _ROLES[sig.specs[name].role]
    return InputError(f"{name} is {role} of {sig.model}: give it {where}")


# --- arrays -----------------------------------------------------------------------------------


def kind_of(value: Any) -> str:
    """``a list``, ``an int``, ``None``."""
    if value is None:
        return "None"
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeioAEIO' else 'a'} {name}"


def _dtype(sig: Signature, s: Spec) -> np.dtype[Any]:
    if s.kind == "real":
        return sig.dtype
    return np.dtype(np.int64) if s.kind == "int" else np.dtype(np.bool_)


def _array(sig: Signature, s: Spec, value: Any) -> Array:
    """The value as an array of a fitting kind of number (its dtype is fixed later)."""
    if isinstance(value, np.ndarray):
        array = value
        if type(value) is not np.ndarray and np.ma.is_masked(value):
            raise InputError(
                f"{s.label} is a masked array, and a mask is not read: give its values, "
                "`.filled(0)`, and an input of the model's own that says which there are"
            )
    else:
        try:
            array = np.asarray(value)
        except ValueError:
            raise InputError(
                f"{s.label}: expected {s.expected}, got a {type(value).__name__} whose rows differ "
                "in length; pad them to one length and give `lengths`"
            ) from None
    kind = array.dtype.kind
    if array.size == 0 and not isinstance(value, np.ndarray) and s.kind != "real":
        return array.astype(_dtype(sig, s))  # an empty list has no type of its own
    fits = {"real": "fiub", "int": "iub", "bool": "b"}[s.kind]
    if s.kind == "bool" and kind in "iu" and np.isin(array, (0, 1)).all():
        return array.astype(np.bool_)
    if kind not in fits:
        came = str(array.dtype) if kind in "fiubc" else f"{kind_of(value)}, which is no number"
        cure = ""
        if s.kind == "int" and kind == "f":
            cure = "; integers are asked for, convert them with `.astype(int)`"
        elif s.kind == "bool":
            cure = "; truth values are asked for, such as `x > 0`"
        elif kind == "c":
            cure = "; complex numbers have no place here"
        raise InputError(f"{s.label}: expected {s.expected}, got {came}{cure}")
    return array


def _ready(array: Array, dtype: np.dtype[Any]) -> Array:
    """A plain C-contiguous array of the dtype; the same one if it is that already."""
    flags = array.flags
    if type(array) is np.ndarray and array.dtype == dtype and flags.c_contiguous and flags.aligned:
        return array
    return np.require(array, dtype, ("C", "A", "E"))


def _batch(sig: Signature, arrays: Mapping[str, Array], lengths: Any) -> int | None:
    """The size of the batch if all inputs have one more axis than declared, else ``None``."""
    plain: list[str] = []
    leading: list[str] = []
    for name in sig.params:
        s, a = sig.specs[name], arrays[name]
        if a.ndim != len(s.dims):
            raise _wrong_shape(s, a, batch=False)
    for name in sig.inputs:
        s, a = sig.specs[name], arrays[name]
        extra = a.ndim - len(s.dims)
        if extra == 0:
            plain.append(name)
        elif extra == 1:
            leading.append(name)
        else:
            raise _wrong_shape(s, a, batch=True)
    if plain and leading:
        with_ = ", ".join(f"{n} of shape {arrays[n].shape}" for n in leading)
        without = ", ".join(f"{n} of shape {arrays[n].shape}" for n in plain)
        size = arrays[leading[0]].shape[0]
        raise InputError(
            f"some inputs have a batch axis and others have none:\n"
            f"    with:    {with_}\n    without: {without}\n"
            f"all inputs need one, or none; `np.broadcast_to({plain[0]}, "
            f"({size}, *np.shape({plain[0]})))` repeats {plain[0]} for every sequence"
        )
    if leading:
        sizes = {n: arrays[n].shape[0] for n in leading}
        if len(set(sizes.values())) > 1:
            counts = ", ".join(f"{n} has {k}" for n, k in sizes.items())
            hint = _time_first(sig, arrays, set(sizes.values()), "or")
            raise InputError(f"the inputs disagree about the number of sequences: {counts}{hint}")
        return next(iter(sizes.values()))
    if lengths is not None and not plain:
        return len(np.atleast_1d(np.asarray(lengths)))
    return None


def _time_first(
    sig: Signature, arrays: Mapping[str, Array], counts: Collection[int], word: str
) -> str:
    """What to say if the steps of some inputs stand where sequences are counted, and sequences,
    of which there may be any of ``counts``, where steps are."""
    turned = [
        n for n in sig.inputs
        if sig.specs[n].dims and sig.specs[n].dims[0].symbols
        and (shape := arrays[n].shape)[0] != shape[1] and shape[1] in counts
    ]  # fmt: skip
    if not turned:
        return ""
    shown = f" {word} ".join(f"`{n}.swapaxes(0, 1)`" for n in turned)
    return f"; the batch is the first axis and time the second: is {shown} meant?"


# --- lengths ----------------------------------------------------------------------------------


def _length(name: str, value: Any) -> int:
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return int(value)
    raise InputError(f"{name} is a length: expected an integer, got {kind_of(value)}")


def _lengths(
    sig: Signature, arrays: Mapping[str, Array], batch: int | None, stated: Mapping[str, int]
) -> dict[str, int]:
    """Solve the shapes of all arrays for the lengths."""
    found = dict(stated)
    source = dict.fromkeys(stated, "")
    pending = [
        (s, axis, dim)
        for s in sig.specs.values()
        for axis, dim in enumerate(s.dims)
        if dim.symbols & set(sig.lengths)
    ]
    progress = True
    while pending and progress:
        progress = False
        for item in list(pending):
            s, axis, dim = item
            rest = dim.subs(found)
            unknown = rest.symbols
            if len(unknown) > 1:
                continue
            pending.remove(item)
            progress = True
            offset = 1 if batch is not None and s.role == "input" else 0
            count = arrays[s.name].shape[axis + offset]
            if not unknown:
                if rest.constant != count:
                    raise _disagree(s, arrays[s.name], dim, found, source)
                continue
            (symbol,) = unknown
            coefficient, constant = rest.coefficient(symbol), rest.offset
            value, remainder = divmod(count - constant, coefficient)
            if remainder:
                raise InputError(
                    f"{s.label}: expected {s.expected}; {came(arrays[s.name])}, "
                    f"and {dim} = {count} has no whole {symbol}"
                )
            found[symbol] = value
            source[symbol] = s.label
    for symbol in sig.lengths:
        if symbol not in found:
            raise InputError(
                f"no input of {sig.model} fixes the length {symbol}; give it as a keyword, "
                f"`{symbol}=50`"
            )
        least = sig.minimum.get(symbol, 1)
        if found[symbol] < least:
            whose = f"{source[symbol]} has " if source.get(symbol) else ""
            reason = f"{sig.model} speaks of positions up to {least}"
            if least == 1:
                reason = "a sequence has at least one step"
            raise InputError(
                f"{whose}{symbol} = {found[symbol]}, "
                f"but {symbol} must be at least {least}: {reason}"
            )
    return {symbol: found[symbol] for symbol in sig.lengths}


def _disagree(
    s: Spec, array: Array, dim: Poly, found: Mapping[str, int], source: Mapping[str, str]
) -> InputError:
    symbols = sorted(dim.symbols & set(found))
    says = " and ".join(
        f"{n} = {found[n]}" + (f" (as in {source[n]})" if source[n] else " (as given)")
        for n in symbols
    )
    joined = ", " if s.known else " with "
    return InputError(f"{s.label}: expected {s.expected}{joined}{says}; {came(array)}")


def _ragged(
    sig: Signature,
    arrays: Mapping[str, Array],
    lengths: Any,
    batch: int | None,
    found: Mapping[str, int],
) -> NDArray[np.int64] | None:
    if lengths is None:
        return None
    own = np.asarray(lengths)
    if batch is None:
        raise InputError("`lengths` is for a padded batch, and these inputs have no batch axis")
    if "T" not in found:
        raise InputError(f"`lengths` counts time steps, and {sig.model} has no time axis")
    if own.dtype.kind not in "iu" and own.size:
        raise InputError(f"lengths: expected integers of shape ({batch},), got {own.dtype}")
    if own.shape != (batch,):
        hint = _time_first(sig, arrays, {own.size}, "and")
        raise InputError(
            f"lengths: expected one integer for each of the {batch} sequences, "
            f"got an array of shape {own.shape}{hint}"
        )
    least, most = sig.minimum.get("T", 1), found["T"]
    bad = np.flatnonzero((own < least) | (own > most))
    if bad.size:
        k = int(bad[0])
        raise InputError(
            f"lengths[{k}] is {own[k]}, but must lie in {least}..{most}, the padded length"
        )
    return np.ascontiguousarray(own, dtype=np.int64)


def _blank(s: Spec, array: Array, ragged: NDArray[np.int64], longest: int) -> Array:
    """The array with zeros in place of the padding, whatever stood there."""
    for axis, dim in enumerate(s.dims):
        slope = dim.coefficient("T")
        if not slope:
            continue
        size = array.shape[axis + 1]
        keep = np.arange(size)[None, :] < (size - slope * (longest - ragged))[:, None]
        shape = [1] * array.ndim
        shape[0], shape[axis + 1] = keep.shape
        array = np.where(keep.reshape(shape), array, np.zeros((), dtype=array.dtype))
    return array


# --- shapes and values ------------------------------------------------------------------------


def came(array: Array) -> str:
    return f"got an array of shape {array.shape}" if array.ndim else "got a single number"


def _wrong_shape(s: Spec, array: Array, batch: bool) -> InputError:
    """``batch``: whether a batch axis would have been welcome."""
    expected = f"{s.expected}, or {s.batched()}" if batch else s.expected
    return InputError(f"{s.label}: expected {expected}; {came(array)}")


def _shapes(
    sig: Signature,
    arrays: Mapping[str, Array],
    batch: int | None,
    lengths: Mapping[str, int] | None,
) -> None:
    """Compare shapes; without ``lengths`` what is known before them, so that an array that lies on
    its side is not believed when it tells a length."""
    for name, s in sig.specs.items():
        own = arrays[name].shape
        if s.role == "input" and batch is not None:
            own = own[1:]
        for count, d in zip(own, s.dims, strict=True):
            wanted = d.constant if lengths is None else d.evaluate(lengths)
            if wanted is not None and count != wanted:
                raise _wrong_shape(s, arrays[name], batch=False)


def _values(sig: Signature, s: Spec, array: Array, batch: int | None) -> None:
    """Integers in range; reals finite where that is asked."""
    if s.kind == "int" and s.bound is not None and array.size:
        low, high = array.min(), array.max()
        if low < 0 or high >= s.bound:
            where = np.unravel_index(np.argmax((array < 0) | (array >= s.bound)), array.shape)
            raise InputError(
                f"{_entry(s, where)} is {array[where]}, but {s.label} is {s.expected}: "
                f"its values lie in 0..{s.bound - 1}"
            )
    elif s.kind == "real" and sig.check_finite and array.dtype.kind == "f":
        bad = ~np.isfinite(array)
        if bad.any():
            where = np.unravel_index(np.argmax(bad), array.shape)
            raise InputError(f"{_entry(s, where)} is {array[where]}, which is not finite")


def _entry(s: Spec, where: tuple[Any, ...]) -> str:
    return s.label + ("[" + ", ".join(str(int(k)) for k in where) + "]" if where else "")
