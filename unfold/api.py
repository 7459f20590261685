"""The front door: `load`, `loads`, `compile`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import cache
from .compiler import Options
from .errors import InputError, UnfoldError
from .forward import MODES
from .function import Function
from .inputs import kind_of, listed, nearest
from .model import Model
from .program import Program
from .stages import front

if TYPE_CHECKING:
    from .transform import Horizon, Window

BACKENDS = ("llvm", "numpy")
DTYPES = ("float64", "float32")
_NO_WORDS: Mapping[str, str] = {}


def load(path: str | os.PathLike[str], model: str | None = None) -> Model:
    """Read a `.rec` file.

    Args:
        path: the file.
        model: which of several models; default: the last.

    Raises:
        RecError: with everything that is wrong in the file.
        InputError: there is no such model in it; a text in the place of a path.
        OSError: the file cannot be read.
    """
    if isinstance(path, str) and "\n" in path:
        raise InputError("expected the path of a .rec file, got a text: `unfold.loads` reads one")
    text = Path(path).read_text(encoding="utf-8")
    return loads(text, os.fspath(path), model)


def loads(text: str, name: str = "<text>", model: str | None = None) -> Model:
    """As `load`, from a text; ``name`` is what errors call it."""
    return Model(front(text, name, model), text, name)


def compile(  # noqa: A001 - the name users expect, in a module of its own
    model: Model | Program | str | os.PathLike[str],
    /,
    *,
    backend: str = "llvm",
    dtype: Any = "float64",
    threads: int | str = 1,
    check_finite: bool = False,
    truncate: Window | Horizon | None = None,
    checkpoint: int | str | None = None,
    mode: str = "auto",
    sizes: Mapping[str, float] | None = None,
    **sizes_and_constants: float,
) -> Function:
    """Compile a model for given sizes.

    Args:
        model: a model, a path to a `.rec` file, or the text of one.
        backend: ``"llvm"`` (native code) or ``"numpy"`` (the interpreter).
        dtype: of all reals, ``"float64"`` or ``"float32"``.
        threads: how many threads share a batch, or ``"auto"``: as many as there are cores. The same
            number gives the same bits, whatever else the machine does; another number adds the
            gradients of a batch in another order. Threads have sequences of their own, or, where
            weights are large (1 MiB and more) and sequences few (less than 16 for each thread),
            parts of each product; so a single sequence of a small model stays on one, and so does
            what takes less than about 0.1 ms.
        check_finite: whether to refuse arrays with NaN or infinities.
        truncate: cut the gradient in time, never the values: `Window` (10) at the borders of
            windows of ten steps, `Horizon` (20) so that each loss term sees twenty steps back.
        mode: how gradients and Jacobians are computed. ``"reverse"``: by the adjoint, one sweep
            for any number of parameters. ``"forward"``: by one tangent for each component of what
            the gradient is taken in, side by side; no step is kept, so memory does not grow with
            the length; states have no gradient then. ``"auto"``: forward where it is no more work,
            which is a gradient in one number, or a Jacobian with fewer inputs than outputs.
        checkpoint: what a gradient keeps of the states. ``None``: all of them. A number of steps:
            the states at the borders of segments of so many steps; the others are computed once
            more, segment by segment, when the adjoint comes to them. Segments of sqrt(T) steps
            take memory that grows as sqrt(T), and a third more time. ``"auto"``: segments of a
            length that balances the two kinds of storage, where that saves memory; all states
            where they are few, or where an equation reads more than a fixed part of the sequence
            (with a number, such a model is refused).
        sizes: sizes and constants by name, beside or instead of keywords.
        sizes_and_constants: the model's sizes (``H=16``), all of them, and those of its constants
            that are to differ from their defaults.

    Returns:
        A function; lengths such as ``T`` and the batch come from the arrays of each call.

    Raises:
        InputError: sizes that are missing, unknown or no positive integers; unknown options.
        RecError: a wrong text, or one that asks for components that these sizes do not have.
    """
    program = as_program(model)
    check_keywords(program, sizes_and_constants, compile)
    if backend not in BACKENDS:
        raise InputError(f"backend is one of {listed(BACKENDS)}, not {backend!r}")
    try:
        name = np.dtype(dtype).name
    except TypeError:
        name = str(dtype)
    if name not in DTYPES:
        raise InputError(f"dtype is one of {listed(DTYPES)}, not {name}")
    if threads != "auto" and (not isinstance(threads, int) or threads < 1):
        raise InputError(f'threads is a positive integer or "auto", not {threads!r}')
    if mode not in MODES:
        raise InputError(f"mode is one of {listed(MODES)}, not {mode!r}")
    if checkpoint not in (None, "auto"):
        whole = isinstance(checkpoint, (int, np.integer)) and not isinstance(checkpoint, bool)
        if not whole or int(checkpoint) < 1:
            raise InputError(
                f'checkpoint is None, "auto" or a positive number of steps, not {checkpoint!r}'
            )
    if truncate is not None:
        from .transform import Horizon, Window

        cut: object = truncate  # whatever a caller without a type checker gives
        if not isinstance(cut, (Window, Horizon)):
            ways = "None, unfold.Window(steps) or unfold.Horizon(steps)"
            raise InputError(f"truncate is {ways}, not {truncate!r}")
    fixed, constants = bindings(program, {**(sizes or {}), **sizes_and_constants})
    options = Options(backend, name, threads, check_finite, truncate, mode, checkpoint)
    function = Function(program, fixed, constants, options)

    def checked() -> bool:
        from .check.fixed import check_fixed

        try:
            function.compiler.differentiated  # noqa: B018 - made now, so that errors come now
        except ValueError as error:
            if truncate is None:
                raise
            raise InputError(f"truncate: {error}") from None
        check_fixed(function.program, fixed)
        return True

    cache.remember(function.compiler.entry("checked"), checked)
    return function


def as_program(model: Model | Program | str | os.PathLike[str]) -> Program:
    """The program of a model, of a path, or of a text (which has a line end)."""
    if isinstance(model, Program):
        return model
    if isinstance(model, Model):
        return model.program
    if isinstance(model, str) and "\n" in model:
        return loads(model).program
    if isinstance(model, (str, os.PathLike)):
        return load(model).program
    raise InputError(f"expected a model, a path or a text, got {kind_of(model)}")


def check_keywords(
    program: Program,
    given: Mapping[str, Any],
    function: Callable[..., Any],
    words: Mapping[str, str] = _NO_WORDS,
) -> None:
    """Keywords that are meant as sizes or constants: raise `InputError` for those that are none,
    and look like an option of the function.

    Args:
        words: what other libraries call an option, and what to say of it.
    """
    own = {*program.sizes, *program.lengths, *(v.name for v in program.role("const"))}
    strange = [n for n in given if n not in own and not nearest(n, own - set(given))]
    if not strange:
        return
    import difflib
    import inspect

    options = [p.name for p in inspect.signature(function).parameters.values()
               if p.kind is inspect.Parameter.KEYWORD_ONLY]  # fmt: skip
    for name in strange:
        near = difflib.get_close_matches(name, options, 1, 0.75)
        meant = words.get(name) or (f"did you mean `{near[0]}`?" if near else "")
        if meant:
            raise InputError(
                f"{function.__name__} has no option {name}, and {program.name} no size of that "
                f"name; {meant}"
            )


def bindings(
    program: Program, values: Mapping[str, Any]
) -> tuple[dict[str, int], dict[str, float]]:
    """Given sizes and constants, checked and told apart; constants left out take their default.

    Raises `InputError` listing what is missing.
    """
    known = {v.name: v for v in program.role("const")}
    sizes: dict[str, int] = {}
    constants: dict[str, float] = {}
    for name, value in values.items():
        if name in program.sizes:
            sizes[name] = _size(name, value)
        elif name in known:
            constants[name] = _constant(name, value)
        elif name in program.lengths:
            raise InputError(
                f"{name} is a length: it comes with the arrays of each call, not when compiling"
            )
        else:
            also = [n for n in (*program.sizes, *known) if n not in values]
            hint = nearest(name, also)
            if not hint:
                there = [*program.sizes, *known]
                hint = f"; its sizes and constants are {listed(there)}" if there else (
                    "; it has neither sizes nor constants")  # fmt: skip
            raise InputError(f"{program.name} has no size or constant {name}{hint}")
    missing = [n for n in program.sizes if n not in sizes]
    missing += [n for n, v in known.items() if n not in constants and v.default is None]
    if missing:
        give = ", ".join(f"{n}=…" for n in missing)
        what = "size" if missing[0] in program.sizes else "constant"
        raise InputError(
            f"{program.name} needs the {what}{'s' if len(missing) > 1 else ''} {listed(missing)}: "
            f"compile(…, {give}), or --size in the shell"
        )
    for name, v in known.items():
        if name not in constants and v.default is not None:
            constants[name] = v.default
    return {n: sizes[n] for n in program.sizes}, {n: constants[n] for n in known}


def _size(name: str, value: Any) -> int:
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= 1:
        return int(value)
    raise InputError(f"{name} is a size: expected a positive integer, got {value!r}")


def _constant(name: str, value: Any) -> float:
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        return float(value)
    raise InputError(f"{name} is a constant: expected a number, got {value!r}")


__all__ = [
    "UnfoldError", "as_program", "bindings", "check_keywords", "compile", "load", "loads",
]  # fmt: skip
