"""`unfold graph`: rolled, unrolled and adjoint graphs as pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from ..draw import COLUMNS, FORMATS, ROWS, VIEWS, draw_views
from ..errors import InputError
from ..graph import extents
from ..model import Model
from ..transform import Horizon, Window
from .common import (
    file_argument,
    json_option,
    model_option,
    print_json,
    read_model,
    size_option,
    truncate_option,
    wrt_option,
)
from .views import unfold_view


def several(_c: click.Context, _p: click.Parameter, values: tuple[str, ...]) -> list[str]:
    """Names that may be given several times, or with commas between them."""
    return [name for value in values for name in value.split(",") if name]


@click.command("graph")
@file_argument
@click.option(
    "--steps", type=click.IntRange(1), default=4, show_default=True,
    help="T, and every other length or size of an axis that no --size gives.",
)  # fmt: skip
@click.option("--rolled", is_flag=True, help="One box for each equation, whatever T is.")
@click.option("--adjoint", is_flag=True, help="With the gradients.")
@click.option(
    "--views", multiple=True, callback=several, metavar="VIEW,VIEW",
    help=f"Several on one sheet: {', '.join(VIEWS)}.",
)  # fmt: skip
@wrt_option
@click.option(
    "--level", type=click.Choice(["equation", "op"]), default="equation", show_default=True,
    help="A node for each element of a variable, or for each operation.",
)  # fmt: skip
@click.option(
    "--columns", type=click.IntRange(2), default=COLUMNS, show_default=True,
    help="The most steps to draw; the middle of a longer sequence becomes one column.",
)  # fmt: skip
@click.option(
    "--rows", type=click.IntRange(2), default=ROWS, show_default=True,
    help="The most rows of one variable with several axes.",
)  # fmt: skip
@click.option(
    "--fold", multiple=True, callback=several, metavar="NAME",
    help="Show a sub-model as one box a step; `all` for every one.",
)  # fmt: skip
@click.option(
    "--highlight", multiple=True, callback=several, metavar="NAME",
    help="Light all uses of a parameter, and what is gathered into its gradient.",
)  # fmt: skip
@click.option(
    "--checkpoint", type=click.IntRange(1), metavar="STEPS",
    help="Show what checkpoints every so many steps keep, and what is computed once more.",
)  # fmt: skip
@truncate_option
@size_option
@model_option
@click.option("-o", "--output", type=click.Path(dir_okay=False), metavar="OUT")
@json_option
def graph_command(
    file: str,
    steps: int,
    rolled: bool,
    adjoint: bool,
    views: list[str],
    wrt: list[str] | None,
    level: str,
    columns: int,
    rows: int,
    fold: list[str],
    highlight: list[str],
    checkpoint: int | None,
    truncate: Window | Horizon | None,
    sizes: dict[str, float],
    model: str | None,
    output: str | None,
    as_json: bool,
) -> None:
    """Draw the graph of FILE to OUT: .svg, .pdf, .png or .dot.

    Unrolled over STEPS steps, or --rolled up; with --adjoint the way back stands above. To an .html
    goes the page of `unfold view`, which has all of these views. With --json the nodes and edges of
    the unrolled graph are told, and OUT may be left out.
    """
    if as_json:
        if rolled or views:
            raise click.UsageError(
                "--json tells the unrolled graph: leave out --rolled and --views"
            )
        _tell(*_loaded(file, model, truncate, sizes), adjoint, wrt, steps, level)
        if output is None:
            return
    if output is None:
        raise click.UsageError("give -o OUT, the file to draw to, or --json")
    suffix = Path(output).suffix
    if suffix.lower() == ".html":
        unfold_view(file, sizes, steps, model, output)
        return
    if suffix.lstrip(".").lower() not in FORMATS:
        known = ", ".join(f".{f}" for f in (*FORMATS, "html"))
        raise click.UsageError(f"{output}: the suffix says what to draw, {known}")
    if views and (rolled or adjoint):
        raise click.UsageError("--views says all of what is drawn; leave out --rolled, --adjoint")
    if wrt and not (adjoint or "adjoint" in views):
        raise click.UsageError("--wrt says what the gradients are in; add --adjoint")
    loaded, others = _loaded(file, model, truncate, sizes)
    lengths = _lengths(loaded, others, steps)
    drawn = loaded.adjoint(wrt) if adjoint else loaded
    draw_views(
        drawn.program,
        lambda: loaded.adjoint(wrt).program,
        output,
        views or ["rolled" if rolled else "unrolled"],
        lengths,
        level,
        columns=columns,
        rows=rows,
        fold="all" if "all" in fold else fold or None,
        highlight=highlight or None,
        checkpoint=checkpoint,
    )
    click.echo(f"wrote {output}", err=as_json)


def _loaded(
    file: str,
    model: str | None,
    truncate: Window | Horizon | None,
    given: Mapping[str, float],
) -> tuple[Model, dict[str, float]]:
    """The model at the sizes and constants that are given, and what else is given."""
    loaded = read_model(file, model)
    own = {v.name for v in loaded.program.role("const")}
    sizes, constants, rest = {}, {}, {}
    for name, value in given.items():
        if name in own:
            constants[name] = value
        elif name not in loaded.sizes:
            rest[name] = value
        elif value == int(value) >= 1:
            sizes[name] = int(value)
        else:
            raise InputError(f"{name} is a size: expected a positive integer, got {value:g}")
    if sizes or constants:
        loaded = Model(loaded.program.bind(sizes, constants), loaded.source, loaded.path)
    return loaded if truncate is None else loaded.truncate(truncate), rest


def _lengths(loaded: Model, given: Mapping[str, float], steps: int) -> dict[str, int]:
    """A number for each length of a model, and for each size that an axis runs over.

    Raises `InputError`.
    """
    known = extents(loaded.program)
    for name, value in given.items():
        if name not in known:
            there = f"only {', '.join(known)}" if known else "it has none"
            raise InputError(f"{loaded.name} has no length {name}, {there}")
        if value != int(value):
            raise InputError(f"{name} = {value}: a length is a whole number")
    return dict.fromkeys(known, steps) | {n: int(v) for n, v in given.items()}


def _tell(
    loaded: Model,
    others: Mapping[str, float],
    adjoint: bool,
    wrt: list[str] | None,
    steps: int,
    level: str,
) -> None:
    """Nodes and edges of the unrolled graph as JSON, as `Graph.networkx` names them."""
    lengths = _lengths(loaded, others, steps)
    shown = loaded.adjoint(wrt) if adjoint else loaded
    graph = shown.unfold(steps, level=level, **lengths).networkx
    print_json(
        {
            "model": loaded.name,
            "lengths": lengths,
            "level": level,
            "nodes": [
                {n: node[n] for n in ("name", "var", "index", "op", "type", "role", "output")}
                for _, node in graph.nodes(data=True)
            ],
            "edges": [
                {"from": a, "to": b, "cut": edge["cut"]} for a, b, edge in graph.edges(data=True)
            ],
        }
    )


COMMANDS = (graph_command,)
