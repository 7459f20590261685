"""Fitting a model to data: epochs of updates, validation, and a run that nothing can lose."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..api import as_program, check_keywords, compile
from ..errors import DivergenceError, InputError
from ..function import Function
from ..inputs import kind_of, listed
from ..model import Model
from ..parameters import check_params, save_params
from ..program import Program
from ..sizes import inferred_sizes
from .bar import Bar
from .data import Sequences, batches, check_names, held_out, sequences
from .folder import Folder, Progress, Saved
from .interrupt import Asked, Interrupted, asked
from .losses import weighted
from .optimisers import Adam
from .windows import Batches, Feed, Update, Windows

Array = NDArray[Any]


@dataclass(frozen=True)
class Fit:
    """A fitted model. Made by `fit`.

    Attributes:
        params: the parameters of the epoch with the best validation; the last ones where nothing
            was validated.
        last: the parameters after the last update.
        history: for each epoch a dict: ``epoch`` (from 1), ``updates`` (so far), ``loss`` (the mean
            over the epoch, each taken before its update), ``validation`` and ``best`` (whether it
            is the lowest so far) if there is one, ``grad_norm`` (the mean, before clipping),
            ``rate``, ``seconds``, ``sequences_per_second``.
        best_epoch: the epoch of ``params``; 0 for none.
        stopped: why it ended: ``"epochs"``, ``"patience"`` or ``"interrupted"``.
        function: the compiled model.
        metadata: what `save` writes beside the parameters.
    """

    params: dict[str, Array]
    last: dict[str, Array]
    history: list[dict[str, Any]]
    best_epoch: int
    stopped: str
    function: Function
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def loss(self) -> float:
        """The lowest validation loss; the last epoch's mean loss where nothing was validated."""
        if not self.history:
            return math.nan
        valid = [h["validation"] for h in self.history if "validation" in h]
        return min(valid) if valid else float(self.history[-1]["loss"])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ``params`` to a `.safetensors` or an `.npz`, with model and sizes as metadata."""
        save_params(path, self.params, **self.metadata)

    def __repr__(self) -> str:
        count = len(self.history)
        epochs = f"{count} epoch{'' if count == 1 else 's'}"
        return f"<Fit of {self.function.program.name}: {epochs}, loss {self.loss:.6g}>"


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
    run = _Run(
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
#: What an option is called elsewhere.
_ELSEWHERE = {
    "lr": _RATE, "rate": _RATE, "learning_rate": _RATE,
    "opt": "did you mean `optimiser`?",
    "max_epochs": "did you mean `epochs`?", "num_epochs": "did you mean `epochs`?",
    "batch_size": "did you mean `batch`?",
    "val": "did you mean `validation`?",
    "validation_data": "did you mean `validation`?",
    "validation_split": "did you mean `validation`?",
    "weight_decay": "did you mean `decay`?",
    "grad_clip": "did you mean `clip_norm`?", "max_norm": "did you mean `clip_norm`?",
    "window": "did you mean `carry`?", "bptt": "did you mean `carry`?",
    "random_state": "did you mean `seed`?", "verbose": "did you mean `progress`?",
    "early_stopping": "did you mean `patience`?",
}  # fmt: skip


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


@dataclass
class _Run:
    """One run of training: what it needs, and how far it is."""

    fn: Function
    feed: Feed
    trainer: Any
    losses: tuple[str, ...]
    valid: Sequences | None
    batch: int
    epochs: int
    patience: int | None
    save_every: float
    log_updates: bool
    metadata: dict[str, Any]
    folder: Folder | None = None
    at: Progress = field(default_factory=Progress)
    best: dict[str, Array] = field(default_factory=dict)

    def go(self, resume: bool, show: bool) -> Fit:
        if self.folder is not None:
            saved = self.folder.load() if resume else None
            if saved is None:
                self.folder.begin()
                self.save()
            else:
                self.restore(saved)
            if show and saved is not None and self.folder.left_by is not None:
                who = f"{self.folder.path}: {self.folder.left_by} did not come to its end"
                print(f"{who}; going on from what it saved", file=sys.stderr)
        bar = Bar(show, self.epochs)
        try:
            with asked() as wish:
                while self.reason() is None:
                    if not self.epoch(bar, wish):
                        raise Interrupted(self.said(), self.result("interrupted"))
        finally:
            bar.close()
        result = self.result(self.reason() or "epochs")
        if self.folder is not None:
            self.folder.save_params(result.params, self.metadata)
        return result

    def reason(self) -> str | None:
        """Why the run is over, if it is."""
        if self.patience is not None and self.at.since >= self.patience:
            return "patience"
        return "epochs" if self.at.epoch >= self.epochs else None

    # --- an epoch ---

    def epoch(self, bar: Bar, wish: Asked) -> bool:
        """The rest of an epoch. Returns whether it was not interrupted."""
        at, number = self.at, self.at.epoch + 1
        bar.epoch(number, self.feed.count(at.epoch), at.position)
        since = saved = time.perf_counter()
        for update in self.feed.updates(at.epoch, at.position):
            loss = self.update(update, number)
            norm = self.trainer.grad_norm
            at.position += 1
            at.weight += update.weight
            at.loss += update.weight * loss
            at.norm += norm
            at.sequences += update.batch.size
            now = time.perf_counter()
            at.seconds += now - since
            since = now
            if self.log_updates and self.folder is not None:
                self.folder.write(
                    {"update": self.trainer.steps, "epoch": number, "loss": loss, "grad_norm": norm}
                )
            bar.update(at.position, at.loss / at.weight, norm, at.sequences / max(at.seconds, 1e-9))
            if wish.stop:
                self.save()
                return False
            if now - saved >= self.save_every:
                self.save()
                saved = now
        bar.line(self.close_epoch())
        self.save()
        return not wish.stop

    def update(self, update: Update, number: int) -> float:
        """One update: its loss."""
        batch = update.batch
        try:
            loss = float(self.trainer.step(batch.inputs, lengths=batch.lengths))
            self.feed.finish(self.trainer.outputs)
            return loss
        except DivergenceError as error:
            raise self.diverged(error, number, update) from None

    def diverged(self, error: DivergenceError, number: int, update: Update) -> DivergenceError:
        rows = ", ".join(map(str, update.rows[:8])) + (", …" if len(update.rows) > 8 else "")
        start = f", from step {update.start + 1} on" if update.start else ""
        place = f"epoch {number}, update {self.at.position + 1} (sequences {rows}{start})"
        if self.folder is not None:
            place += f", last saved in {self.folder.path} before that"
        return DivergenceError(error.step, error.loss, error.gradients, place)

    def close_epoch(self) -> dict[str, Any]:
        """The entry of the history for the epoch that is complete."""
        at = self.at
        entry: dict[str, Any] = {
            "epoch": at.epoch + 1,
            "updates": self.trainer.steps,
            "loss": at.loss / at.weight,
        }
        if self.valid is not None:
            value = entry["validation"] = self.validate(self.valid)
            entry["best"] = at.best_loss is None or value < at.best_loss
            at.since += 1
            if entry["best"]:
                at.best, at.best_loss, at.since = at.epoch + 1, value, 0
                self.best = {n: a.copy() for n, a in self.trainer.params.items()}
        entry |= {
            "grad_norm": at.norm / at.position,
            "rate": self.trainer.rate,
            "seconds": at.seconds,
            "sequences_per_second": at.sequences / max(at.seconds, 1e-9),
        }
        at.history.append(entry)
        at.epoch += 1
        at.position = at.sequences = 0
        at.weight = at.loss = at.norm = at.seconds = 0.0
        self.feed.state = {}
        if self.folder is not None:
            self.folder.write(entry)
            if self.valid is None or entry["best"]:
                self.folder.save_params(self.trainer.params, self.metadata)
        return entry

    def validate(self, data: Sequences) -> float:
        """The mean loss over the sequences."""
        total = 0.0
        for rows in batches(data, self.batch, None):
            batch = data.batch(rows)
            out = self.fn(self.trainer.params, batch.inputs, lengths=batch.lengths)
            total += float(sum(out[n].sum() for n in self.losses))
        value = total / len(data)
        if not math.isfinite(value):
            raise InputError(
                f"the validation loss after epoch {self.at.epoch + 1} is {value}; {_ADVICE}"
            )
        return value

    # --- saved and restored ---

    def save(self) -> None:
        if self.folder is not None:
            self.folder.save(self.at, self.trainer.state, self.best, self.feed.state)

    def restore(self, saved: Saved) -> None:
        self.at = saved.progress
        self.trainer.state = saved.trainer
        self.best = saved.best
        self.feed.state = saved.carry

    def result(self, stopped: str) -> Fit:
        last = {n: a.copy() for n, a in self.trainer.params.items()}
        return Fit(
            self.best or last,
            last,
            self.at.history,
            self.at.best if self.best else self.at.epoch,
            stopped,
            self.fn,
            self.metadata,
        )

    def said(self) -> str:
        at = self.at
        where = f"stopped after {at.epoch} of {self.epochs} epochs"
        if at.position:
            where += f" and {at.position} update{'' if at.position == 1 else 's'}"
        if self.folder is None:
            return f"{where}; nothing is saved, as no folder was given: the error's `fit` holds it"
        return f"{where}; saved in {self.folder.path}: run the same again to go on"


_ADVICE = "a smaller rate, clip_norm=1 or a warm-up may help, and `fn.debug` finds where it begins"


__all__ = ["Fit", "fit"]
