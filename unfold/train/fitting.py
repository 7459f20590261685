"""Fitting a model to data: what is asked for, checked and brought into one run of training."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..api import as_program, check_keywords, compile
from ..errors import InputError
from ..function import Function
from ..inputs import kind_of, listed
from ..model import Model
from ..parameters import check_params
from ..program import Program
from ..sizes import inferred_sizes
from .data import Sequences, check_names, held_out, sequences
from .folder import Folder
from .losses import weighted
from .optimisers import Adam
from .run import Fit, Run
from .windows import Batches, Feed, Windows

Array = NDArray[Any]


def fit(
    model: Model | Program | Function | str | os.PathLike[str],
    data: Any,
    /,
    *,
    optimiser: Any = None,
    epochs: int = 10,
    batch: int = 32,
    lengths: Any = None,
    validation: Any = None,
    patience: int | None = None,
    seed: int = 0,
    carry: int | None = None,
    params: Mapping[str, Any] | None = None,
    folder: str | os.PathLike[str] | None = None,
    resume: bool = True,
    save_every: float = 30.0,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    decay: Any = None,
    schedule: Any = None,
    wrt: str | Sequence[str] | None = None,
    loss: str | Sequence[str] | Mapping[str, float] | None = None,
    backend: str = "llvm",
    dtype: Any = "float64",
    threads: int | str = 1,
    truncate: Any = None,
    checkpoint: int | str | None = None,
    progress: bool = True,
    log_updates: bool = False,
    metadata: Mapping[str, Any] | None = None,
    sizes: Mapping[str, float] | None = None,
    **sizes_and_constants: float,
) -> Fit:
    """Fit a model's parameters to data, by minibatches.

    Equal calls give equal bits, whether or not they were interrupted and went on from a folder.

    Args:
        model: a model, a path, a text, or a function that was compiled from one.
        data: by the names of inputs, in one of four forms: a dict of arrays with an axis of
            sequences before the others (with ``lengths``, of shape (B,), they are padded); a dict
            of lists, an element for each sequence; a list of dicts; a dict of arrays without that
            axis, one sequence or, with ``carry``, one long stream.
        optimiser: `SGD`, `RMSprop`, `Adam`, `AdamW` or one of your own; default: ``Adam()``.
        epochs: how many times all data are used.
        batch: how many sequences make an update. Sequences of like length come together.
        validation: data of their own, in any of the forms; or the share of the sequences to hold
            out (of one single sequence, its end), or their number.
        patience: stop after so many epochs without a lower validation loss.
        seed: of the initial parameters, the order of the data, what is held out, and the model's
            draws.
        carry: truncated backpropagation over long sequences: cut them into windows of so many
            steps, an update for each, which begins with the state that the window before ended in.
            A single stream is first cut into ``batch`` streams of equal length, side by side (into
            fewer, where they would be shorter than a window). Where a loss leaves out the last
            steps (`mean[t < T]`), windows overlap by these.
        params: where to start; default: the model's initial parameters.
        folder: where the run is kept: its state at every epoch's end, and every ``save_every``
            seconds, on Ctrl-C too; ``metrics.jsonl``; and ``params.safetensors``, the result.
        resume: go on from the state in ``folder`` if there is one; ``False`` begins anew. It must
            have been saved by the same call; only ``epochs`` and ``patience`` may differ.
        clip_norm, clip_value, decay, schedule, wrt, loss: see `Function.trainer`.
        backend, dtype, threads, truncate, checkpoint: see `unfold.compile`. With ``carry`` all
            states of a window are kept.
        progress: whether a bar is drawn, if standard error is a terminal.
        log_updates: whether ``metrics.jsonl`` has a line for each update too.
        metadata: what is written beside the parameters, ``vocabulary`` for example.
        sizes, sizes_and_constants: as for `unfold.compile`; sizes that the data tell may be left
            out.

    Raises:
        InputError: wrong data or options, naming them; a folder of another run, or one that another
            process trains into.
        DivergenceError: the loss or the gradient is not finite; it says when.
        Interrupted: Ctrl-C, a `KeyboardInterrupt` that holds the `Fit` so far.
    """
    _positive(epochs=epochs, batch=batch, patience=patience, carry=carry)
    if patience is not None and validation is None:
        raise InputError("patience counts epochs without a better validation: give validation=")
    given = {**(sizes or {}), **sizes_and_constants}
    if isinstance(model, Function):
        check_keywords(model.declared, sizes_and_constants, fit, _ELSEWHERE)
        if given:
            raise InputError(f"the function is compiled: {listed(given)} cannot be given any more")
        fn = model
    else:
        program = as_program(model)
        check_keywords(program, sizes_and_constants, fit, _ELSEWHERE)
        fn = compile(
            program,
            backend=backend,
            dtype=dtype,
            threads=threads,
            truncate=truncate,
            checkpoint=checkpoint,
            sizes=_sizes(program, data, params or {}, given),
        )
    if not fn.declared.losses and loss is None:
        raise InputError(
            f"{fn.program.name} has no `minimize` line: nothing says what a good fit is"
        )
    if isinstance(loss, Mapping):
        fn, names = weighted(fn, loss), None
    else:
        names = loss
    losses = fn.targets(names)
    train = sequences(fn, data, lengths)
    valid: Sequences | None = None
    if isinstance(validation, (float, int, np.floating, np.integer)):
        share = int(validation) if isinstance(validation, (int, np.integer)) else float(validation)
        train, valid = held_out(train, share, seed, fn.program)
    elif validation is not None:
        valid = sequences(fn, validation, what="validation")
    if params is None:
        start = fn.init(seed)
    else:
        check_params(fn, params)
        start = {n: np.asarray(params[n]) for n in fn.params}
    feed: Feed
    if carry is None:
        feed = Batches(fn, train, batch, seed)
    else:
        feed = Windows(fn, train, batch, seed, carry)
    trainer = feed.function.trainer(
        start,
        Adam() if optimiser is None else optimiser,
        clip_norm=clip_norm,
        clip_value=clip_value,
        decay=decay,
        schedule=schedule,
        wrt=wrt,
        loss=losses,
        keep=feed.keep,
    )
    run = Run(
        fn=fn,
        feed=feed,
        trainer=trainer,
        losses=losses,
        valid=valid,
        batch=batch,
        epochs=epochs,
        patience=patience,
        save_every=save_every,
        log_updates=log_updates,
        metadata={
            **(getattr(params, "metadata", {}) if params is not None else {}),
            "model": fn.declared.name,
            "sizes": dict(fn.compiler.sizes),
            **(metadata or {}),
        },
    )
    if folder is not None:
        from ..show import to_rec

        o = fn.options
        options = {
            "model": fn.declared.name,
            "text": to_rec(fn.declared),
            "sizes": {**fn.compiler.sizes, **fn.compiler.constants},
            "optimiser": repr(trainer.optimiser),
            "epochs": epochs,
            "batch": batch,
            "patience": patience,
            "seed": seed,
            "carry": carry,
            "clip_norm": clip_norm,
            "clip_value": clip_value,
            "decay": repr(decay),
            "schedule": _described(schedule),
            "wrt": repr(wrt),
            "loss": repr(loss),
            "backend": o.backend,
            "dtype": o.dtype,
            "threads": o.workers,
            "truncate": repr(o.truncate),
            "checkpoint": o.checkpoint,
            "data": train.digests(),
            "validation_data": None if valid is None else valid.digests(),
            "start": _digests(start),
        }
        run.folder = Folder(folder, options)
    try:
        return run.go(resume, progress)
    finally:
        if run.folder is not None:
            run.folder.close()


_RATE = "the rate is the optimiser's: `optimiser=unfold.Adam(rate=1e-3)`"
#: What an option is called elsewhere, and here.
_CALLED = {
    "opt": "optimiser", "max_epochs": "epochs", "num_epochs": "epochs", "batch_size": "batch",
    "val": "validation", "validation_data": "validation", "validation_split": "validation",
    "weight_decay": "decay", "grad_clip": "clip_norm", "max_norm": "clip_norm", "window": "carry",
    "bptt": "carry", "random_state": "seed", "verbose": "progress", "early_stopping": "patience",
}  # fmt: skip
_ELSEWHERE = dict.fromkeys(("lr", "rate", "learning_rate"), _RATE) | {
    theirs: f"did you mean `{ours}`?" for theirs, ours in _CALLED.items()
}


def _positive(**values: Any) -> None:
    for name, value in values.items():
        if value is None:
            continue
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if not whole or value < 1:
            raise InputError(f"{name} is a positive integer, not {value!r}")


def _sizes(
    program: Program, data: Any, params: Mapping[str, Any], given: Mapping[str, float]
) -> dict[str, float]:
    """The sizes that are given, and those that data and parameters tell. Raises `InputError`."""
    one: dict[str, Any] = {}
    if isinstance(data, (list, tuple)) and data:
        if not isinstance(data[0], Mapping):
            raise InputError(f"data[0]: expected a dict of arrays, got {kind_of(data[0])}")
        one = dict(data[0])
        check_names(program, one, "data[0]")
    elif isinstance(data, Mapping):
        check_names(program, data)
        for n, value in data.items():
            several = isinstance(value, (list, tuple)) and len(value)
            one[n] = value[0] if several and np.ndim(value[0]) else value
    known = inferred_sizes(program, {**params, **one}, given)
    missing = [n for n in program.sizes if n not in known]
    if missing:
        raise InputError(
            f"{program.name} needs the size{'s' if len(missing) > 1 else ''} {listed(missing)}, "
            f"which the data do not tell: give {', '.join(f'{n}=…' for n in missing)}, or "
            "--size in the shell"
        )
    return known


def _described(schedule: Any) -> str | None:
    """A schedule in words that are the same in the next process."""
    if schedule is None:
        return None
    text = repr(schedule)
    if " at 0x" not in text:
        return text
    code = getattr(getattr(schedule, "__code__", None), "co_code", b"")
    return f"{getattr(schedule, '__qualname__', type(schedule).__name__)} {code.hex()}"


def _digests(params: Mapping[str, Any]) -> dict[str, str]:
    every = {n: [np.asarray(a)] for n, a in params.items()}
    return Sequences(every, None, {}, [()]).digests()


__all__ = ["Fit", "fit"]
