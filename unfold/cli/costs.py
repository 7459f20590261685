"""Commands that tell what a model costs: cost, bench."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from ..api import compile
from ..cost.show import amount, seconds, size
from ..function import Function
from .common import (
    compile_options,
    file_argument,
    json_option,
    model_option,
    print_json,
    read_model,
    size_option,
)

if TYPE_CHECKING:
    from ..roofline import Bench

steps_option = click.option(
    "--steps", type=click.IntRange(1), default=100, show_default=True,
    help="T, and every other length that no --size gives.",
)  # fmt: skip
batch_option = click.option("--batch", type=click.IntRange(1), help="Sequences (default: one).")


@click.command("cost")
@file_argument
@size_option
@steps_option
@batch_option
@click.option(
    "--dtype", type=click.Choice(["float64", "float32"]), default="float64", show_default=True
)
@click.option(
    "--solve-steps",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="How many steps the solver of an implicit equation needs.",
)
@click.option(
    "--memory/--no-memory",
    default=True,
    help="What a gradient allocates, also with checkpoints (default; compiles its code).",
)
@model_option
@json_option
def cost_command(
    file: str,
    sizes: dict[str, float],
    steps: int,
    batch: int | None,
    dtype: str,
    solve_steps: int,
    memory: bool,
    model: str | None,
    as_json: bool,
) -> None:
    """Tell what the model in FILE costs before anything runs.

    Parameters, floating-point operations (a multiplication and an addition are two), special
    functions (exp, tanh, ...), bytes of the arrays, and bytes stored for the way back; for the
    value alone and with the gradient in all parameters; and what a gradient allocates, keeping all
    states and with checkpoints.
    """
    fn, lengths = _function(file, model, sizes, steps, dtype=dtype)
    bill = fn.cost(batch or 1, memory=memory, solve_steps=solve_steps, **lengths)
    if as_json:
        print_json(asdict(bill))
    else:
        click.echo(str(bill))


@click.command("bench")
@file_argument
@size_option
@steps_option
@batch_option
@compile_options
@model_option
@json_option
def bench_command(
    file: str,
    sizes: dict[str, float],
    steps: int,
    batch: int | None,
    backend: str,
    dtype: str,
    threads: int | str,
    model: str | None,
    as_json: bool,
) -> None:
    """Time the model in FILE on random data, beside what this machine could do.

    The roof is the lesser of the arithmetic peak and of what memory allows, each measured now.
    Times are medians of warm calls from Python; a step is one T of one sequence.
    """
    from ..roofline import bench

    fn, lengths = _function(file, model, sizes, steps, backend, dtype, threads)
    found = bench(fn, lengths, batch)
    if as_json:
        print_json(asdict(found))
    else:
        click.echo(_report(found))


def _function(
    file: str,
    model: str | None,
    sizes: dict[str, float],
    steps: int,
    backend: str = "llvm",
    dtype: str = "float64",
    threads: int | str = 1,
) -> tuple[Function, dict[str, int]]:
    program = read_model(file, model).program
    fixed = {n: v for n, v in sizes.items() if n not in program.lengths}
    fn: Function = compile(program, backend=backend, dtype=dtype, threads=threads, sizes=fixed)
    return fn, {n: int(sizes.get(n, steps)) for n in program.lengths}


def _report(found: Bench) -> str:
    c = found.costs
    at = ", ".join([*(f"{n} = {k}" for n, k in c.lengths.items()), f"batch {c.batch}", c.dtype])
    threads = f", {found.threads} threads" if found.threads > 1 else ""
    lines = [
        f"{c.model} at {at}{threads}; first call {seconds(found.compile)}",
        f"machine: {rate(found.peak_flops)}, {size(found.bandwidth)}/s",
        "",
    ]
    steps = c.batch * c.lengths.get("T", 1)
    rows = [("", "time", "a step", "operations", "reached", "of peak", "roof", "limit")]
    for name, s in (("value", found.value), ("value and gradient", found.gradient)):
        if s is not None:
            times = seconds(s.seconds), seconds(s.seconds / steps)
            rates = rate(s.flops), f"{100 * s.share:.1f} %", rate(s.roof), s.bound
            rows.append((name, *times, amount(s.side.work.flops).strip(), *rates))
    widths = [max(len(r[k]) for r in rows) for k in range(len(rows[0]))]
    for first, *rest in rows:
        cells = [f"{first:<{widths[0]}}"]
        cells += [f"{cell:>{w}}" for cell, w in zip(rest, widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def rate(flops: float) -> str:
    """Operations a second."""
    return f"{amount(flops)}FLOP/s"


COMMANDS = (cost_command, bench_command)
