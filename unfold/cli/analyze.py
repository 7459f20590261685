"""The command that answers questions about a recurrence: analyze."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from ..analysis import (
    Result,
    fixed_points,
    gradient_cosine,
    gradient_norms,
    influence,
    jacobian_product,
    path_lengths,
    time_constants,
    truncation_bias,
)
from ..analysis.result import pyplot
from ..api import compile
from ..errors import UnfoldError
from ..files import atomically
from ..function import Function
from ..gradcheck import random_arrays
from ..sizes import inferred_sizes
from .calls import data_option, params_option, seed_option
from .common import (
    Failed,
    file_argument,
    json_option,
    model_option,
    numbers,
    read_arrays,
    read_model,
    size_option,
)

PICTURES = (".png", ".svg", ".pdf")


@dataclass(frozen=True)
class Subject:
    """What is analysed, and how."""

    fn: Function
    params: dict[str, Any]
    data: dict[str, Any]
    of: str | None
    wrt: list[str] | None
    loss: str | None
    hold: dict[str, float] | None
    dt: float
    unit: str
    threshold: float
    sequence: int
    seed: int

    @property
    def common(self) -> dict[str, Any]:
        return {"sequence": self.sequence, "seed": self.seed}


#: The analyses by the names that `--what` takes.
ANALYSES: dict[str, Callable[[Subject], Result]] = {
    "gradients": lambda s: gradient_norms(
        s.fn, s.params, s.data, loss=s.loss, threshold=s.threshold, **s.common
    ),
    "jacobian": lambda s: jacobian_product(
        s.fn, s.params, s.data, threshold=s.threshold, **s.common
    ),
    "paths": lambda s: path_lengths(s.fn, s.of),
    "influence": lambda s: influence(s.fn, s.params, s.data, s.of, wrt=s.wrt, **s.common),
    "truncation": lambda s: truncation_bias(s.fn, s.params, s.data, seed=s.seed),
    "losses": lambda s: gradient_cosine(s.fn, s.params, s.data, seed=s.seed),
    "fixed-points": lambda s: fixed_points(
        s.fn, s.params, s.data, hold=s.hold, dt=s.dt, unit=s.unit, slow=True, **s.common
    ),
    "time-constants": lambda s: time_constants(
        s.fn, s.params, s.data, dt=s.dt, unit=s.unit, **s.common
    ),
}


def _wanted(value: str | None) -> list[str] | None:
    if value is None:
        return None
    names = [n.strip() for n in value.split(",") if n.strip()]
    for name in names:
        if name not in ANALYSES:
            raise click.BadParameter(f"`{name}` is none of {', '.join(ANALYSES)}")
    return list(dict.fromkeys(names))


def _target(value: str | None) -> str | None:
    suffix = "" if value is None else Path(value).suffix.lower()
    if suffix and suffix not in PICTURES:
        raise click.BadParameter(
            f"{value}: a picture is .png, .svg or .pdf, and a name without a dot is a folder"
        )
    return value


@click.command("analyze")
@file_argument
@params_option(required=False)
@data_option
@size_option
@click.option(
    "--what", metavar="NAMES", callback=lambda _c, _p, value: _wanted(value),
    help=f"Some of {', '.join(ANALYSES)}, with commas (default: all that fit the model).",
)  # fmt: skip
@click.option("--of", metavar="ELEMENT", help="The output of influence and paths, such as y[T].")
@click.option(
    "--wrt", metavar="NAMES",
    callback=lambda _c, _p, value: None if value is None else [n for n in value.split(",") if n],
    help="Whose influence: inputs or other variables over t (default: all real inputs).",
)  # fmt: skip
@click.option("--loss", metavar="NAME", help="Which loss, for gradients (default: all, added).")
@click.option(
    "--hold", multiple=True, metavar="NAME=VALUE",
    callback=lambda _c, _p, values: numbers(values) or None,
    help="Where an input is held for fixed points (default: at its mean).",
)  # fmt: skip
@click.option("--dt", type=float, default=1.0, show_default=True, help="The time of a step.")
@click.option("--unit", default="steps", show_default=True, help="The unit of --dt.")
@click.option(
    "--threshold", type=float, default=0.01, show_default=True,
    help="The share of itself under which a signal counts as lost.",
)  # fmt: skip
@click.option(
    "--steps", type=click.IntRange(1), default=50, show_default=True,
    help="T of random inputs, where there is no --data.",
)  # fmt: skip
@click.option(
    "--sequence", type=click.IntRange(0), default=0, help="Which one of a batch (from 0)."
)
@seed_option
@click.option("--backend", type=click.Choice(["llvm", "numpy"]), default="llvm", show_default=True)
@model_option
@click.option(
    "-o", "--output", metavar="OUT", type=click.Path(),
    callback=lambda _c, _p, value: _target(value),
    help="Plots: a file (png, svg, pdf), or a folder for one picture each, with report.txt.",
)  # fmt: skip
@json_option
def analyze_command(
    file: str,
    params: str | None,
    data: str | None,
    sizes: dict[str, float],
    what: list[str] | None,
    of: str | None,
    wrt: list[str] | None,
    loss: str | None,
    hold: dict[str, float] | None,
    dt: float,
    unit: str,
    threshold: float,
    steps: int,
    sequence: int,
    seed: int,
    backend: str,
    model: str | None,
    output: str | None,
    as_json: bool,
) -> None:
    """Analyse the recurrence in FILE: gradients by step and lag, Jacobian products, influence,
    truncation, fixed points, time constants.

    Without --params the model starts as it says, without --data its inputs are random.
    """
    fn, held, arrays, notes = _given(file, model, params, data, sizes, steps, seed, backend)
    subject = Subject(
        fn, held, arrays, of, wrt, loss, hold, dt, unit, threshold, sequence, seed
    )  # fmt: skip
    for note in notes:
        click.echo(note, err=True)
    found: dict[str, Result] = {}
    refused: dict[str, str] = {}
    for name in what or ANALYSES:
        try:
            found[name] = ANALYSES[name](subject)
        except (UnfoldError, ValueError) as error:
            refused[name] = str(error)
    if what and refused:
        for name, why in refused.items():
            click.echo(f"error: {name}: {why}", err=True)
    if output is not None and found:
        _write(Path(output), found, fn.program.name)
    if as_json:
        results = {n: {"report": str(r), **r.to_dict()} for n, r in found.items()}
        click.echo(json.dumps({"notes": notes, "refused": refused, "results": results}))
    else:
        click.echo(_report(found, {} if what else refused))
        if output is not None and found:
            click.echo(f"wrote {output}")
    if refused and (what or not found):
        raise Failed


def _report(found: Mapping[str, Result], refused: Mapping[str, str]) -> str:
    parts = [f"--- {name} ---\n{result}" for name, result in found.items()]
    if refused:
        lines = [f"{name}: {why.splitlines()[0]}" for name, why in refused.items()]
        parts.append("--- not for this model ---\n" + "\n".join(lines))
    return "\n\n".join(parts)


def _given(
    file: str,
    model: str | None,
    params: str | None,
    data: str | None,
    sizes: Mapping[str, float],
    steps: int,
    seed: int,
    backend: str,
) -> tuple[Function, dict[str, Any], dict[str, Any], list[str]]:
    """The compiled model, its parameters and data, and what was made up."""
    program = read_model(file, model).program
    arrays, held = read_arrays(data), read_arrays(params)
    names = {v.name for v in program.params}
    # One file may hold both, under the names of each.
    weights = {n: a for n, a in {**arrays, **held}.items() if n in names}
    inputs = {n: a for n, a in {**held, **arrays}.items() if n not in names}
    stated = {n: v for n, v in sizes.items() if n not in program.lengths}
    fn = compile(
        program, backend=backend, sizes=inferred_sizes(program, {**weights, **inputs}, stated)
    )
    lengths = {n: int(v) for n, v in sizes.items() if n in program.lengths}
    notes = []
    if not inputs and program.inputs:
        least = {n: fn.program.minimum.get(n, 1) for n in fn.program.lengths}
        lengths = {n: max(steps, least[n]) for n in fn.program.lengths} | lengths
        made = random_arrays(fn.program, lengths, np.random.default_rng(seed))
        inputs = {v.name: made[v.name] for v in program.inputs if not v.noise}
        at = ", ".join(f"{n} = {k}" for n, k in lengths.items())
        notes.append(f"no --data: random inputs between 0.2 and 0.9 ({at}, seed {seed})")
    elif not program.inputs and "T" in fn.program.lengths:
        lengths = dict.fromkeys(fn.program.lengths, steps) | lengths
    if not weights and program.params:
        weights = dict(fn.init(seed, **lengths))
        notes.append(f"no --params: parameters as the model starts them (seed {seed})")
    return fn, weights, {**inputs, **lengths}, notes


# --- pictures ---------------------------------------------------------------------------------


def _write(target: Path, found: Mapping[str, Result], title: str) -> None:
    """One figure with a panel for each result, or a folder with a picture of each."""
    plt = pyplot()
    suffix = target.suffix.lower()
    if suffix in PICTURES:
        columns = min(2, len(found))
        rows = -(-len(found) // columns)
        figure, panels = plt.subplots(
            rows, columns, figsize=(6.8 * columns, 4.2 * rows), layout="constrained", squeeze=False
        )
        for ax, result in zip(panels.flat, found.values(), strict=False):
            result.plot(ax)
        for ax in list(panels.flat)[len(found) :]:
            ax.set_axis_off()
        _save(figure, target, suffix)
        plt.close(figure)
        return
    target.mkdir(parents=True, exist_ok=True)
    for name, result in found.items():
        figure = result.plot().figure
        _save(figure, target / f"{name}.png", ".png")
        plt.close(figure)
    report = _report(found, {}) + "\n"
    atomically(str(target / "report.txt"), lambda f: f.write(report.encode()))


def _save(figure: Any, target: Path, suffix: str) -> None:
    atomically(str(target), lambda f: figure.savefig(f, format=suffix[1:], dpi=150))


COMMANDS = (analyze_command,)
