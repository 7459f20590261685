"""A run of training: epochs of updates, validation, and nothing that can be lost."""

from __future__ import annotations

import math
import os
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from ..errors import DivergenceError, InputError
from ..function import Function
from ..parameters import save_params
from .bar import Bar
from .data import Sequences, batches
from .folder import Folder, Progress, Saved
from .interrupt import Asked, Interrupted, asked
from .windows import Feed, Update

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


@dataclass
class Run:
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


__all__ = ["Fit", "Run"]
