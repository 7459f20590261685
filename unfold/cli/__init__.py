"""The command line: `unfold COMMAND …`. Exit status: 0 done, 1 the program or its data is wrong,
2 the command line is wrong."""

from __future__ import annotations

import sys

import click

from .. import __version__
from . import (
    analyze,
    cached,
    calls,
    costs,
    debugging,
    drawing,
    generating,
    programs,
    training,
    views,
)
from .common import failures


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96},
    epilog="An .npz holds arrays under the names of inputs and parameters. FILE may be `-`.",
)
@click.version_option(__version__, prog_name="unfold")
def cli() -> None:
    """A compiler for recurrences: equations in, unrolled graphs, adjoints and gradients out."""


for command in (
    *programs.COMMANDS,
    *drawing.COMMANDS,
    *calls.COMMANDS,
    *debugging.COMMANDS,
    *cached.COMMANDS,
    *costs.COMMANDS,
    *training.COMMANDS,
    *generating.COMMANDS,
    *analyze.COMMANDS,
    *views.COMMANDS,
):
    cli.add_command(command)


def main() -> None:
    """The entry point of the `unfold` script."""
    with failures():
        cli(prog_name="unfold", standalone_mode=False)
    sys.exit(0)


if __name__ == "__main__":
    main()
