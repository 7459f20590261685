"""Commands that compute: run, grad, grad-check."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click
import numpy as np

from ..api import compile
from ..errors import InputError
from ..function import Function
from ..gradcheck import GradCheck, cells, grad_check
from ..inputs import listed, nearest
from ..program import Program
from ..sizes import inferred_sizes
from .common import (
    ArraysPath,
    F,
    Failed,
    compile_options,
    file_argument,
    json_option,
    model_option,
    print_json,
    read_arrays,
    read_model,
    size_option,
    write_arrays,
    wrt_option,
)

data_option = click.option(
    "--data", type=click.Path(exists=True, dir_okay=False), metavar="IN.npz",
    help="The inputs; `lengths` among them marks a padded batch.",
)  # fmt: skip
seed_option = click.option("--seed", type=int, default=0, show_default=True)


def params_option(required: bool) -> Callable[[F], F]:
    return click.option(
        "--params", type=click.Path(exists=True, dir_okay=False), required=required,
        metavar="PARAMS", help="The parameters: a .safetensors or an .npz"
        + ("." if required else " (default: initial ones)."),
    )  # fmt: skip


def output_option(what: str) -> Callable[[F], F]:
    return click.option("-o", "--output", type=ArraysPath(), metavar="OUT.npz", help=what)


@click.command("run")
@file_argument
@data_option
@params_option(required=False)
@size_option
@seed_option
@compile_options
@model_option
@output_option("Where the outputs go (default: a summary only).")
@json_option
def run_command(
    file: str,
    data: str | None,
    params: str | None,
    sizes: dict[str, float],
    seed: int,
    backend: str,
    dtype: str,
    threads: int | str,
    model: str | None,
    output: str | None,
    as_json: bool,
) -> None:
    """Compute the outputs and losses of the model in FILE.

    Sizes that the arrays tell need not be given.
    """
    call = CallOptions(file, model, data, params, sizes, seed, backend, dtype, threads)
    out = call.function(call.params, call.inputs, lengths=call.lengths)
    if output is not None:
        write_arrays(output, out)
    if as_json:
        print_json({name: np.asarray(a) for name, a in out.items()})
    else:
        _summary(out, output)


@click.command("grad")
@file_argument
@data_option
@params_option(required=False)
@wrt_option
@click.option("--loss", multiple=True, metavar="NAME", help="Which losses (default: all, added).")
@click.option(
    "--reduce", type=click.Choice(["mean", "sum", "none"]), default="mean", show_default=True,
    help="Over a batch.",
)  # fmt: skip
@size_option
@seed_option
@compile_options
@model_option
@output_option("Where the gradients go, under the names of what they are gradients of.")
@json_option
def grad_command(
    file: str,
    data: str | None,
    params: str | None,
    wrt: list[str] | None,
    loss: tuple[str, ...],
    reduce: str,
    sizes: dict[str, float],
    seed: int,
    backend: str,
    dtype: str,
    threads: int | str,
    model: str | None,
    output: str | None,
    as_json: bool,
) -> None:
    """Compute the loss of the model in FILE and its gradients."""
    call = CallOptions(file, model, data, params, sizes, seed, backend, dtype, threads)
    value, grads = call.function.value_and_grad(
        call.params,
        call.inputs,
        wrt=wrt,
        loss=list(loss) or None,
        reduce=reduce,
        lengths=call.lengths,
    )
    if output is not None:
        write_arrays(output, grads)
    if as_json:
        print_json({"loss": np.asarray(value), "grads": grads})
    else:
        click.echo(f"loss {value}")
        _summary(grads, output)


@click.command("grad-check")
@file_argument
@size_option
@seed_option
@data_option
@params_option(required=False)
@click.option(
    "--backend", "backends", multiple=True, type=click.Choice(["numpy", "llvm"]),
    help="May be given several times (default: both).",
)  # fmt: skip
@model_option
@json_option
def grad_check_command(
    file: str,
    sizes: dict[str, float],
    seed: int,
    data: str | None,
    params: str | None,
    backends: tuple[str, ...],
    model: str | None,
    as_json: bool,
) -> None:
    """Compare the gradients of the model in FILE with differences, on both backends.

    Sizes and lengths that are not given are small numbers.
    """
    loaded = read_model(file, model)
    result = grad_check(
        loaded,
        backends=backends or ("numpy", "llvm"),
        seed=seed,
        params=read_arrays(params),
        data=read_arrays(data),
        sizes=sizes,
    )
    if as_json:
        print_json(_as_data(result))
    else:
        _table(result)
    if not result.ok:
        raise Failed


class CallOptions:
    """A compiled model and the arrays of a call, as the command line gives them."""

    def __init__(
        self,
        file: str,
        model: str | None,
        data: str | None,
        params: str | None,
        sizes: Mapping[str, float],
        seed: int,
        backend: str,
        dtype: str,
        threads: int | str,
    ) -> None:
        program = read_model(file, model).program
        arrays = read_arrays(data)
        held = read_arrays(params)
        # One file may hold both, under the names of each.
        self.params: dict[str, Any] = {
            v.name: source[v.name]
            for source in (arrays, held)
            for v in program.params
            if v.name in source
        }
        self.inputs: dict[str, Any] = {
            n: a for n, a in {**held, **arrays}.items() if n not in self.params
        }
        self.lengths = None
        if "lengths" not in program.vars:
            self.lengths = self.inputs.pop("lengths", None)
        stated = {n: v for n, v in sizes.items() if n not in program.lengths}
        known = inferred_sizes(program, {**self.params, **self.inputs}, stated)
        if not known.keys() >= set(program.sizes):
            _familiar(program, self.inputs)  # an array that is not read tells no size
        self.function: Function = compile(
            program, backend=backend, dtype=dtype, threads=threads, sizes=known
        )
        lengths = {n: int(v) for n, v in sizes.items() if n in program.lengths}
        self.inputs |= lengths
        initial = params is None and not self.params
        if initial:
            self.params = self.function.init(seed, **lengths)
        if params is None and data is None and program.inputs:
            names = ", ".join(v.name for v in program.inputs)
            raise InputError(f"{program.name} has inputs ({names}): give them with --data")
        if initial and self.params:
            click.echo(f"parameters were not given: initial ones, seed {seed}", err=True)


def _familiar(program: Program, arrays: Mapping[str, Any]) -> None:
    """Raise `InputError` for an array that the model does not read."""
    own = [v.name for v in program.inputs]
    for name in arrays:
        if name not in (*own, *program.lengths):
            hint = nearest(name, [n for n in own if n not in arrays])
            hint = hint or (f"; its inputs are {listed(own)}" if own else "; it has no inputs")
            raise InputError(f"{program.name} has no input {name}{hint}")


def _summary(arrays: Mapping[str, Any], output: str | None) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("", "shape", "smallest", "mean", "largest", box=None, pad_edge=False)
    for name, value in arrays.items():
        array = np.asarray(value)
        shape = " x ".join(map(str, array.shape)) or "scalar"
        if array.size == 0:
            table.add_row(name, shape)
        elif array.ndim == 0:
            table.add_row(name, shape, "", f"{float(array):.6g}", "")
        else:
            row = (array.min(), array.mean(), array.max())
            table.add_row(name, shape, *(f"{float(v):.6g}" for v in row))
    Console(highlight=False).print(table)
    if output is not None:
        click.echo(f"wrote {output}")


def _table(result: GradCheck) -> None:
    from rich.console import Console
    from rich.table import Table

    at = ", ".join(f"{k} = {v}" for k, v in {**result.sizes, **result.lengths}.items())
    columns = [f"{b} - differences" for b in result.values]
    table = Table("", "shape", *columns, "between backends", "", box=None, pad_edge=False)
    for row in result.rows:
        *plain, verdict = cells(row)
        table.add_row(*plain, f"[{'green' if row.ok else 'bold red'}]{verdict}[/]")
    console = Console(highlight=False)
    console.print(f"{result.model} at {at}")
    console.print("errors relative to the largest gradient of each array", style="dim")
    console.print(table)
    for note in result.notes:
        console.print(note, style="dim")
    if not result.ok:
        values = ", ".join(f"{b}: {v!r}" for b, v in result.values.items())
        click.echo(f"the gradients or values do not agree; losses {values}", err=True)


def _as_data(result: GradCheck) -> dict[str, Any]:
    def finite(x: float) -> float | None:
        return x if np.isfinite(x) else None

    return {
        "model": result.model,
        "sizes": result.sizes,
        "lengths": result.lengths,
        "ok": result.ok,
        "losses": {b: finite(v) for b, v in result.values.items()},
        "arrays": [
            {
                "name": r.name,
                "shape": list(r.shape),
                "differences": {b: finite(e) for b, e in r.differences.items()},
                "backends": finite(r.backends),
                "judged": r.judged,
                "kinks": r.kinks,
                "continuous": None if r.continuous is None else finite(r.continuous),
                "ok": r.ok,
            }
            for r in result.rows
        ],
    }


COMMANDS = (run_command, grad_command, grad_check_command)
