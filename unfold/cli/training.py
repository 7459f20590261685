"""The command that fits a model to data: train."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from ..errors import InputError
from ..parameters import SUFFIXES, Params, load_params
from ..program import Program
from ..train import SGD, Adam, AdamW, Fit, Interrupted, RMSprop, fit
from ..train.text import text_data
from .common import (
    compile_options,
    file_argument,
    json_option,
    model_option,
    print_json,
    read_arrays,
    read_model,
    read_text,
    size_option,
)

OPTIMISERS: dict[str, Any] = {"sgd": SGD, "rmsprop": RMSprop, "adam": Adam, "adamw": AdamW}
#: How many steps a window of a text has, where nothing else is asked for.
WINDOW = 100
STOPPED = 130
existing = click.Path(exists=True, dir_okay=False)


@click.command("train")
@file_argument
@click.option(
    "--data", required=True, type=existing, metavar="DATA",
    help="An .npz or .safetensors with the inputs, `lengths` among them for padded sequences; "
    "anything else is a text for a model over characters.",
)  # fmt: skip
@click.option("--validation", metavar="SHARE|DATA", help="What to hold out, 0.1, or another file.")
@click.option(
    "--patience", type=click.IntRange(1), help="Stop after N epochs without a better one."
)
@click.option("--epochs", type=click.IntRange(1), default=10, show_default=True)
@click.option("--batch", type=click.IntRange(1), default=32, show_default=True, help="Sequences.")
@click.option(
    "--carry", type=click.IntRange(1), metavar="STEPS",
    help=f"Windows of long sequences, each from the last one's state (a text: {WINDOW}).",
)  # fmt: skip
@click.option("--optimiser", type=click.Choice([*OPTIMISERS]), default="adam", show_default=True)
@click.option("--rate", type=float, help="Of the optimiser (default: its own).")
@click.option("--decay", type=float, default=None, help="Of the weights.")
@click.option("--clip-norm", type=float, help="Clip the gradient's norm.")
@click.option("--params", type=existing, metavar="PARAMS", help="Where to start.")
@click.option("--folder", type=click.Path(file_okay=False), help="Keep the run; go on from it.")
@click.option("--restart", is_flag=True, help="Begin anew, whatever the folder holds.")
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="Where the parameters go.")
@click.option("--seed", type=int, default=0, show_default=True)
@size_option
@compile_options
@model_option
@json_option
def train_command(
    file: str,
    data: str,
    validation: str | None,
    patience: int | None,
    epochs: int,
    batch: int,
    carry: int | None,
    optimiser: str,
    rate: float | None,
    decay: float | None,
    clip_norm: float | None,
    params: str | None,
    folder: str | None,
    restart: bool,
    output: str | None,
    seed: int,
    sizes: dict[str, float],
    backend: str,
    dtype: str,
    threads: int | str,
    model: str | None,
    as_json: bool,
) -> None:
    """Fit the parameters of the model in FILE to data.

    Sizes that the data tell need not be given. With --folder the run is kept there, and the same
    command goes on from where it was stopped. Ctrl-C saves.
    """
    if output is None and folder is None:
        raise click.UsageError("give -o PARAMS or --folder FOLDER: the result would be lost")
    if output is not None and Path(output).suffix.lower() not in SUFFIXES:
        raise click.UsageError(f"-o: parameters go to files in {' or '.join(SUFFIXES)}")
    loaded = read_model(file, model)
    start = None if params is None else load_params(params)
    source = _Source(loaded.program, start, sizes)
    given = source.read(data)
    options = {"rate": rate, "decay": decay}
    try:
        found = fit(
            loaded,
            given,
            epochs=epochs,
            batch=batch,
            validation=None if validation is None else _validation(validation, source),
            patience=patience,
            seed=seed,
            carry=WINDOW if carry is None and source.vocabulary is not None else carry,
            params=start,
            folder=folder,
            resume=not restart,
            clip_norm=clip_norm,
            optimiser=OPTIMISERS[optimiser](**{n: v for n, v in options.items() if v is not None}),
            backend=backend,
            dtype=dtype,
            threads=threads,
            sizes=source.sizes,
            metadata={} if source.vocabulary is None else {"vocabulary": source.vocabulary},
        )
    except Interrupted as stopped:
        said = str(stopped)
        if output is not None:
            stopped.fit.save(output)
            # What is not in a folder is in this file.
            said = f"{said}; wrote {output}" if folder else f"{said.split(';')[0]}; wrote {output}"
        click.echo(said, err=True)
        sys.exit(STOPPED)
    if output is not None:
        found.save(output)
    _report(found, output or str(Path(str(folder)) / "params.safetensors"), as_json)


class _Source:
    """What the files of a run have in common: the model, and the vocabulary of its texts."""

    def __init__(self, program: Program, start: Params | None, sizes: dict[str, float]) -> None:
        self._program = program
        self.sizes = sizes
        self.vocabulary: list[str] | None = (
            None if start is None else start.metadata.get("vocabulary")
        )

    def read(self, path: str) -> Any:
        """The arrays of a file, or a text in numbers."""
        if Path(path).suffix.lower() in SUFFIXES:
            return dict(read_arrays(path))
        try:
            text = text_data(self._program, read_text(path), self.vocabulary, self.sizes)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        self.vocabulary, self.sizes = text.vocabulary, text.sizes
        return text.data


def _validation(value: str, source: _Source) -> Any:
    """A share, a number of sequences, or data."""
    if Path(value).is_file():
        return source.read(value)
    try:
        return int(value) if value.isdecimal() else float(value)
    except ValueError:
        raise click.BadParameter(f"--validation: `{value}` is no number, and no file") from None


def _report(found: Fit, path: str, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "model": found.function.program.name,
                "params": path,
                "loss": found.loss,
                "best_epoch": found.best_epoch,
                "stopped": found.stopped,
                "history": found.history,
            }
        )
        return
    last = found.history[-1]
    count = len(found.history)
    click.echo(
        f"{count} epoch{'' if count == 1 else 's'}, {last['updates']} updates: loss "
        f"{last['loss']:.5g}"
    )
    if "validation" in last:
        click.echo(f"lowest validation loss {found.loss:.5g}, after epoch {found.best_epoch}")
    click.echo(f"wrote {path}")


COMMANDS = (train_command,)
