"""The command that shows a model at work: view."""

from __future__ import annotations

import click

from ..view.entry import write
from .calls import data_option, params_option, seed_option
from .common import (
    file_argument,
    json_option,
    model_option,
    print_json,
    read_arrays,
    read_model,
    size_option,
)


@click.command("view")
@file_argument
@size_option
@click.option(
    "--steps", type=click.IntRange(1), help="T, and every length that no array tells (default: 6)."
)
@data_option
@params_option(required=False)
@seed_option
@click.option("--prompt", metavar="TEXT", help="What a language model goes on from.")
@click.option("--open/--no-open", "show", default=True, help="Whether to open the browser.")
@model_option
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False), metavar="PAGE.html",
    help="Where the page goes (default: a temporary folder).",
)  # fmt: skip
@json_option
def view_command(
    file: str,
    sizes: dict[str, float],
    steps: int | None,
    data: str | None,
    params: str | None,
    seed: int,
    prompt: str | None,
    show: bool,
    model: str | None,
    output: str | None,
    as_json: bool,
) -> None:
    """Write a page that shows the model in FILE at work, and open it.

    The loop unrolls into the chain, a sequence runs through, gradients flow back, all with the
    numbers of a real run. What is not given is chosen small, and said.
    """
    _write(file, model, sizes, steps, params, data, seed, prompt, show, output, as_json)


def unfold_view(
    file: str, sizes: dict[str, float], steps: int, model: str | None, output: str
) -> None:
    """The page of a drawing."""
    _write(file, model, sizes, steps, None, None, 0, None, False, output)


def _write(
    file: str,
    model: str | None,
    sizes: dict[str, float],
    steps: int | None,
    params: str | None,
    data: str | None,
    seed: int,
    prompt: str | None,
    show: bool,
    output: str | None,
    as_json: bool = False,
) -> None:
    from ..view.choose import choose

    loaded = read_model(file, model)
    setting = choose(
        loaded.program, read_arrays(params), read_arrays(data), sizes=sizes, steps=steps, seed=seed
    )
    for note in () if as_json else setting.notes:
        click.echo(f"{note}.")
    try:
        path = write(loaded, setting, output, prompt, show)
    except OSError as error:
        raise click.UsageError(f"cannot write {output}: {error.strerror}") from None
    if as_json:
        print_json({"page": str(path), "chosen": list(setting.notes)})
    else:
        click.echo(f"wrote {path}")


COMMANDS = (view_command,)
