"""`unfold generate`: texts, tokens and forecasts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click
import numpy as np

from ..api import compile
from ..errors import InputError
from ..feeding import UnclearFeed
from ..generate import Generated
from ..parameters import Params, check_params, load_params
from ..program import Program
from ..sizes import inferred_sizes
from .calls import params_option
from .common import (
    ArraysPath,
    compile_options,
    file_argument,
    json_option,
    model_option,
    print_json,
    read_arrays,
    read_model,
    size_option,
    write_arrays,
)

#: How many tokens of a single text are made, and shown, at a time.
_CHUNK = 8


def numbers(_context: Any, _parameter: Any, value: str | None) -> list[int] | None:
    """`1,2,3` as numbers."""
    if value is None:
        return None
    try:
        return [int(part) for part in value.replace(",", " ").split()]
    except ValueError:
        raise click.BadParameter(f"`{value}` is not of the form 1,2,3") from None


def fed(_context: Any, _parameter: Any, value: str | None) -> dict[str, str] | None:
    """`x=y` as a dict."""
    if value is None:
        return None
    target, sign, source = value.partition("=")
    if not sign or not target.strip() or not source.strip():
        raise click.BadParameter(f"`{value}` is not of the form INPUT=OUTPUT, such as x=y")
    return {target.strip(): source.strip()}


@click.command("generate")
@file_argument
@params_option(required=True)
@click.option("--prompt", metavar="TEXT", help="What is read first, by the parameters' vocabulary.")
@click.option("--tokens", callback=numbers, metavar="1,2,3", help="What is read first, as numbers.")
@click.option("--start", metavar="TEXT", help="A token that comes before the prompt.")
@click.option(
    "--data", type=click.Path(exists=True, dir_okay=False), metavar="IN.npz",
    help="Inputs: those that a forecast goes on from, and others for the steps to come.",
)  # fmt: skip
@click.option(
    "--feed", callback=fed, metavar="INPUT=OUTPUT",
    help="Which input reads which output (default: tokens and their logits).",
)  # fmt: skip
@click.option("--steps", type=click.IntRange(min=0), default=200, show_default=True)
@click.option(
    "--temperature", type=click.FloatRange(min=0), default=1.0, show_default=True,
    help="Logits are divided by it; 0 takes the best token.",
)  # fmt: skip
@click.option("--top-k", type=click.IntRange(min=1), help="Draw from so many of the best tokens.")
@click.option(
    "--top-p", type=click.FloatRange(0, 1, min_open=True),
    help="Draw from the fewest of the best tokens that have this share of the probability.",
)  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--samples", type=click.IntRange(min=1), help="Go on so many times.")
@size_option
@compile_options
@model_option
@click.option(
    "-o", "--output", type=ArraysPath(), metavar="OUT.npz",
    help="Where the values, their probabilities and the outputs go.",
)  # fmt: skip
@json_option
def generate_command(
    file: str,
    params: str,
    prompt: str | None,
    tokens: list[int] | None,
    start: str | None,
    data: str | None,
    feed: dict[str, str] | None,
    steps: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    seed: int,
    samples: int | None,
    sizes: dict[str, float],
    backend: str,
    dtype: str,
    threads: int | str,
    model: str | None,
    output: str | None,
    as_json: bool,
) -> None:
    """Let the model in FILE read what it wrote: text, tokens, or a forecast.

    Sizes and vocabulary come with the parameters. Text is shown as it comes.
    """
    program = read_model(file, model).program
    held = load_params(params)
    _check_model(program, held, params)
    inputs: dict[str, Any] = dict(read_arrays(data))
    named = held.metadata.get("sizes")
    known = {n: k for n, k in named.items() if n in program.sizes} if isinstance(
        named, Mapping) else {}  # fmt: skip
    lengths = {n: int(v) for n, v in sizes.items() if n in program.lengths}
    stated = {n: v for n, v in sizes.items() if n not in lengths}
    known = inferred_sizes(program, {**held, **inputs}, {**known, **stated})
    function = compile(program, backend=backend, dtype=dtype, threads=threads, sizes=known)
    check_params(function, held, params)
    if sum(value is not None for value in (prompt, tokens)) > 1:
        raise click.UsageError("--prompt and --tokens say the same: give one of them")
    first: Any = prompt if prompt is not None else tokens
    if first is None and inputs:
        first = inputs.pop(_prompt(inputs, feed), None)
    alone = samples is None and data is None
    needed = {*function.step_program().moving, *function.step_program().static}
    others: dict[str, Any] = {n: a for n, a in inputs.items() if n in needed} | lengths
    try:
        parts = function.generate_iter(
            held, [] if first is None else first, steps, temperature=temperature, top_k=top_k,
            top_p=top_p, seed=seed, feed=feed, samples=samples, start=start,
            chunk=_CHUNK if alone else max(steps, 1), **others,
        )  # fmt: skip
    except UnclearFeed as error:
        shown = " or ".join(f"--feed {x}={y}" for x, y in error.pairs)
        raise InputError(f"{error.why}, {shown}") from None
    made = list(_shown(parts) if not as_json else parts)
    whole = _joined(made)
    if output is not None:
        write_arrays(output, whole)
        click.echo(f"wrote {output}", err=True)
    if as_json:
        print_json({"values": whole["values"], "text": _text(made), "seed": seed})


def _check_model(program: Program, held: Params, path: str) -> None:
    """Raise `InputError` for parameters that say they are another model's."""
    name = held.metadata.get("model")
    if name is not None and name != program.name:
        raise InputError(f"{path} holds the parameters of {name}, and the model is {program.name}")


def _prompt(inputs: Mapping[str, Any], feed: Mapping[str, str] | None) -> str:
    """Which of the inputs is the prompt."""
    if feed is not None:
        return next(iter(feed))
    if len(inputs) == 1:
        return next(iter(inputs))
    raise InputError(
        "several inputs are given: say which output is read by which of them, --feed x=y"
    )


def _shown(parts: Iterator[Generated]) -> Iterator[Generated]:
    """The parts, each one printed when it comes; several sequences at the end."""
    kept = []
    for part in parts:
        kept.append(part)
        if isinstance(part.text, str):
            click.echo(part.text, nl=False)
        elif part.text is None and part.probabilities is not None and part.values.ndim == 1:
            click.echo("".join(f"{k} " for k in part.values), nl=False)
        elif part.text is None and part.probabilities is None:
            if part.values.ndim < 3:
                for row in part.values:
                    click.echo(" ".join(f"{v:.6g}" for v in np.ravel(row)))
            else:
                click.echo(f"values of shape {part.values.shape}: -o writes them to a file")
        yield part
    text = _text(kept)
    if isinstance(text, str):
        click.echo()
    elif text is not None:
        click.echo("\n---\n".join(text))
    elif kept[0].probabilities is not None:
        if kept[0].values.ndim == 1:
            click.echo()
        else:
            for row in kept[0].values:
                click.echo(" ".join(map(str, row)))


def _text(made: Sequence[Generated]) -> Any:
    texts = [m.text for m in made]
    if texts[0] is None:
        return None
    if isinstance(texts[0], str):
        return "".join(texts)
    return ["".join(row) for row in zip(*texts, strict=True)]


def _joined(made: Sequence[Generated]) -> dict[str, Any]:
    """All arrays over all steps, by name."""
    first = made[0]
    rows: dict[str, list[Any]] = {"values": [m.values for m in made]}
    if first.probabilities is not None:
        rows["probabilities"] = [m.probabilities for m in made]
    for name in first.outputs:
        rows[name] = [m.outputs[name] for m in made]
    # What comes in several parts is one sequence, without a batch axis.
    return {n: parts[0] if len(parts) == 1 else np.concatenate(parts) for n, parts in rows.items()}


COMMANDS = (generate_command,)
"""The commands of this module."""

__all__ = ["COMMANDS"]
