"""`unfold cache`: what was compiled and is kept for the next process."""

from __future__ import annotations

import click

from .. import cache
from .common import json_option, print_json


@click.group("cache", invoke_without_command=True)
@click.pass_context
def cache_command(context: click.Context) -> None:
    """Show or empty the cache of compiled code.

    The environment variable UNFOLD_CACHE moves it to another folder, or turns it `off`.
    """
    if context.invoked_subcommand is None:
        context.invoke(info_command)


@cache_command.command("info")
@json_option
def info_command(as_json: bool = False) -> None:
    """Where the cache is, and how large."""
    found = cache.info()
    if as_json:
        place = None if found.folder is None else str(found.folder)
        print_json({"folder": place, "entries": found.entries, "bytes": found.size})
    elif found.folder is None:
        click.echo("nothing is cached: it is turned off, or its folder is not this user's alone")
    else:
        entries = f"{found.entries} entr{'y' if found.entries == 1 else 'ies'}"
        click.echo(f"{found.folder}: {entries}, {found.size / 2**20:.1f} MiB")


@cache_command.command("clear")
def clear_command() -> None:
    """Remove all that is cached."""
    click.echo(f"removed {(count := cache.clear())} entr{'y' if count == 1 else 'ies'}")


COMMANDS = (cache_command,)
