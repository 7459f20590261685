"""The command that finds the first value that is not finite."""

from __future__ import annotations

import click

from .calls import CallOptions, data_option, params_option, seed_option
from .common import (
    Failed,
    compile_options,
    file_argument,
    json_option,
    model_option,
    print_json,
    size_option,
    wrt_option,
)


@click.command("debug")
@file_argument
@data_option
@params_option(required=False)
@click.option("--backward/--no-backward", default=True, help="Gradients as well (default).")
@click.option("--strict", is_flag=True, help="Every infinite value counts, also log(0) = -inf.")
@wrt_option
@click.option("--loss", multiple=True, metavar="NAME", help="Which losses (default: all, added).")
@size_option
@seed_option
@compile_options
@model_option
@json_option
def debug_command(
    file: str,
    data: str | None,
    params: str | None,
    backward: bool,
    strict: bool,
    wrt: list[str] | None,
    loss: tuple[str, ...],
    sizes: dict[str, float],
    seed: int,
    backend: str,
    dtype: str,
    threads: int | str,
    model: str | None,
    as_json: bool,
) -> None:
    """Find the first value of the model in FILE that is not finite.

    Names the equation, the step and the sequence of the batch, forward or backward, with what the
    equation reads there; a clean run is reported with the range of every variable. The exit status
    is 1 when something is found.
    """
    call = CallOptions(file, model, data, params, sizes, seed, backend, dtype, threads)
    report = call.function.debug(
        call.params,
        call.inputs,
        lengths=call.lengths,
        seed=seed,
        backward=backward,
        wrt=wrt,
        loss=list(loss) or None,
        strict=strict,
    )
    if as_json:
        print_json(report.to_json())
    else:
        click.echo(str(report))
    if not report.ok:
        raise Failed


COMMANDS = (debug_command,)
