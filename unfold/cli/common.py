"""What the commands share: reading models and arrays, writing files, errors and exit statuses."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np
from numpy.typing import NDArray

from ..api import loads
from ..errors import RecError, UnfoldError
from ..files import atomically
from ..model import Model
from ..parameters import load_params, save_params, write_npz
from ..syntax.diagnostics import render_all
from ..transform import Horizon, Window

Array = NDArray[Any]
F = TypeVar("F", bound=Callable[..., Any])

WRONG, USAGE = 1, 2


class Failed(Exception):
    """The program or its data is wrong, and it has been said."""


@contextlib.contextmanager
def failures() -> Iterator[None]:
    """Turn errors about programs, data and the command line into messages and exit statuses."""
    try:
        yield
    except RecError as error:
        click.echo(render_all(error.diagnostics, color=sys.stderr.isatty()), err=True)
        count = len(error.diagnostics)
        click.echo(f"\n{count} {'mistake' if count == 1 else 'mistakes'}", err=True)
        sys.exit(WRONG)
    except Failed:
        sys.exit(WRONG)
    except (UnfoldError, ValueError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(WRONG)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(USAGE)
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # The reader, `head` say, has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        click.echo(f"error: {error.filename or ''}: {error.strerror}", err=True)
        sys.exit(USAGE)


# --- options ----------------------------------------------------------------------------------

file_argument = click.argument(
    "file", type=click.Path(exists=True, dir_okay=False, allow_dash=True)
)
model_option = click.option("--model", metavar="NAME", help="Which of several models in FILE.")
json_option = click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
size_option = click.option(
    "--size",
    "sizes",
    multiple=True,
    metavar="NAME=N",
    callback=lambda _c, _p, values: numbers(values),
    help="A size, constant or length, such as H=16; may be given several times.",
)
wrt_option = click.option(
    "--wrt",
    multiple=True,
    metavar="NAME",
    callback=lambda _c, _p, values: [n for v in values for n in v.split(",") if n] or None,
    help="Differentiate in these inputs, parameters or states (default: all parameters).",
)
truncate_option = click.option(
    "--truncate",
    metavar="HOW:STEPS",
    callback=lambda _c, _p, value: truncation(value),
    help="Cut gradients in time: window:10 at the borders of windows, horizon:20 for each loss.",
)


class Threads(click.ParamType):
    """A number of threads, or ``auto``."""

    name = "number|auto"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | str:
        if value == "auto":
            return "auto"
        if not str(value).isdecimal() or int(value) < 1:
            self.fail(f"{value!r} is neither a positive integer nor `auto`", param, ctx)
        return int(value)


def compile_options(command: F) -> F:
    """`--backend`, `--dtype` and `--threads`."""
    for option in (
        click.option(
            "--threads", type=Threads(), default="1", show_default=True,
            help="How many threads share a batch; `auto` for one a core.",
        ),
        click.option(
            "--dtype", type=click.Choice(["float64", "float32"]), default="float64",
            show_default=True,
        ),
        click.option(
            "--backend", type=click.Choice(["llvm", "numpy"]), default="llvm", show_default=True
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def truncation(value: str | None) -> Window | Horizon | None:
    """`window:10` or `horizon:20`. Raises `click.BadParameter`."""
    if value is None:
        return None
    how, _, steps = value.partition(":")
    kinds: dict[str, type[Window] | type[Horizon]] = {"window": Window, "horizon": Horizon}
    if how not in kinds or not steps.isdigit() or int(steps) < 1:
        raise click.BadParameter(f"`{value}` is neither window:STEPS nor horizon:STEPS")
    return kinds[how](int(steps))


def numbers(values: tuple[str, ...]) -> dict[str, float]:
    """`H=16` as a dict. Raises `click.BadParameter`."""
    found: dict[str, float] = {}
    for value in values:
        name, sign, number = value.partition("=")
        try:
            found[name.strip()] = (
                int(number) if number.strip().lstrip("+-").isdigit() else float(number)
            )
        except ValueError:
            sign = ""
        if not sign or not name.strip():
            raise click.BadParameter(f"`{value}` is not of the form NAME=NUMBER, such as H=16")
    return found


# --- files ------------------------------------------------------------------------------------


def read_text(file: str) -> str:
    """The text of a file, or of standard input for `-`."""
    try:
        if file == "-":
            return sys.stdin.read()
        return Path(file).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UnfoldError(f"{file} is not text in UTF-8: {error}") from None


def name_of(file: str) -> str:
    """What diagnostics call the file."""
    return "<stdin>" if file == "-" else file


def read_model(file: str, model: str | None) -> Model:
    """The model in a file; its warnings go to standard error."""
    found = loads(read_text(file), name_of(file), model)
    warnings = found.check()
    if warnings:
        click.echo(render_all(warnings, color=sys.stderr.isatty()) + "\n", err=True)
    return found


def read_arrays(path: str | None) -> dict[str, Array]:
    """The arrays of an `.npz` or a `.safetensors`."""
    return {} if path is None else load_params(path)


class ArraysPath(click.Path):
    """A file of arrays to write: its suffix says of which kind."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        path = str(super().convert(value, param, ctx))
        if Path(path).suffix.lower() not in (".npz", ".safetensors"):
            self.fail(f"{path}: arrays are written to an .npz or a .safetensors", param, ctx)
        return path


def write_arrays(path: str, arrays: Mapping[str, Any]) -> None:
    """Write a `.safetensors` or an `.npz`, whole or not at all."""
    try:
        if Path(path).suffix.lower() == ".safetensors":
            save_params(path, arrays)
        else:
            atomically(path, lambda file: write_npz(file, arrays))
    except OSError as error:
        raise click.UsageError(f"cannot write {path}: {error.strerror}") from None


def print_json(value: Any) -> None:
    """Plain data, on standard output; arrays as lists, and null for what is not finite: JSON has
    no NaN."""

    def plain(item: Any) -> Any:
        if isinstance(item, Mapping):
            return {str(name): plain(part) for name, part in item.items()}
        if isinstance(item, (np.ndarray, np.generic)):
            item = item.tolist()
        if isinstance(item, (list, tuple)):
            return [plain(part) for part in item]
        return None if isinstance(item, float) and not math.isfinite(item) else item

    click.echo(json.dumps(plain(value), indent=2, allow_nan=False))
