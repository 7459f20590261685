"""Commands about a text: check, show, explain."""

from __future__ import annotations

import difflib
import sys
from typing import Any

import click

from ..api import bindings
from ..check.spelling import CALLS, FORMS
from ..program import Program
from ..show import equation_text, to_latex, to_rec
from ..stages import STAGES, Request, show
from ..syntax.codes import CODES, explain
from ..syntax.diagnostics import render_all, to_json
from .common import (
    Failed,
    file_argument,
    json_option,
    model_option,
    name_of,
    print_json,
    read_model,
    read_text,
    size_option,
    wrt_option,
)


@click.command("check")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, allow_dash=True)
)
@json_option
@click.option("--strict", is_flag=True, help="Let warnings fail as well.")
def check_command(files: tuple[str, ...], as_json: bool, strict: bool) -> None:
    """Report everything that is wrong in FILES."""
    from ..check import check_text

    found = [d for file in files for d in check_text(read_text(file), name_of(file))]
    errors = [d for d in found if d.severity == "error"]
    if as_json:
        print_json([to_json(d) for d in found])
    else:
        if found:
            click.echo(render_all(found, color=sys.stderr.isatty()) + "\n", err=True)
        counts = [(len(errors), "mistake"), (len(found) - len(errors), "warning")]
        said = [f"{n} {word}{'' if n == 1 else 's'}" for n, word in counts if n]
        what = files[0] if len(files) == 1 else f"{len(files)} files"
        click.echo(f"{what}: {', '.join(said) or 'no mistakes'}", err=bool(errors))
    if errors or (strict and found):
        raise Failed


@click.command("show")
@file_argument
@click.option(
    "--after", "stage", type=click.Choice(list(STAGES)), help="The stage (default: check)."
)
@click.option("--adjoint", "derivative", flag_value="adjoint", help="With the gradients.")
@click.option("--tangent", "derivative", flag_value="tangent", help="With directional derivatives.")
@wrt_option
@click.option(
    "--format", "form", type=click.Choice(["rec", "latex"]), default="rec", show_default=True
)
@click.option("--dtype", type=click.Choice(["float64", "float32"]), default="float64")
@size_option
@model_option
@json_option
def show_command(
    file: str,
    stage: str | None,
    derivative: str | None,
    wrt: list[str] | None,
    form: str,
    dtype: str,
    sizes: dict[str, float],
    model: str | None,
    as_json: bool,
) -> None:
    """Print the program in FILE after a stage of the compiler.

    With --adjoint the program is followed by its backpropagation through time, simplified unless
    a stage is named. The stages plan, llvm and asm need every --size. With --json its variables and
    equations come apart.
    """
    if as_json and (form == "latex" or stage is not None):
        raise click.UsageError("--json tells a program as a whole: leave out --format and --after")
    if stage is None and (derivative or as_json or form == "latex"):
        loaded = read_model(file, model)
        if derivative == "adjoint":
            loaded = loaded.adjoint(wrt)
        elif derivative == "tangent":
            loaded = loaded.tangent(wrt)
        if as_json:
            print_json(_parts(loaded.program))
            return
        click.echo(to_latex(loaded.program) if form == "latex" else str(loaded), nl=False)
        return
    if form == "latex":
        raise click.UsageError("LaTeX shows a program as a whole; leave out --after")

    def bind(program: Program) -> Program:
        return program.bind(*bindings(program, sizes))

    request = Request(read_text(file), name_of(file), model, bind, derivative, wrt, dtype=dtype)
    click.echo(show(stage or "check", request), nl=False)


def _parts(program: Program) -> dict[str, Any]:
    """A program for other programs: its names, and each equation as text."""
    return {
        "model": program.name,
        "sizes": list(program.sizes),
        "lengths": list(program.lengths),
        "variables": [
            {"name": v.name, "role": v.role, "declaration": str(v), "adjoint_of": v.adjoint_of}
            for v in program.vars.values()
        ],
        "equations": [
            {"name": eq.name, "text": equation_text(program, eq)} for eq in program.equations
        ],
        "outputs": [o.name for o in program.outputs],
        "losses": list(program.losses),
        "text": to_rec(program),
    }


@click.command("explain")
@click.argument("code")
@json_option
def explain_command(code: str, as_json: bool) -> None:
    """Say more about a diagnostic, with an example and its cure; or about a function."""
    entry = CODES.get(code.upper())
    if entry is None and (code in FORMS or CALLS.get(code) == f"{code}({{0}})"):
        form, meaning = FORMS.get(code, (f"{code}(x)", "of each component"))
        print_json({"form": form, "meaning": meaning}) if as_json else click.echo(
            f"{form}\n\n    {meaning}"
        )
        return
    if entry is None:
        near = difflib.get_close_matches(code.upper(), CODES, 3, 0.7) or _neighbours(code.upper())
        near = near or difflib.get_close_matches(code.lower(), FORMS, 2, 0.8)
        meant = f"did you mean {' or '.join(near)}?" if near else (
            "a code stands in front of what `unfold check` says, as in error[E0301]")  # fmt: skip
        raise click.UsageError(f"there is neither a diagnostic nor a function {code}; {meant}")
    if as_json:
        data: dict[str, Any] = {
            k: getattr(entry, k) for k in ("code", "title", "explanation", "bad", "cure")
        }
        print_json(data)
    else:
        click.echo(explain(code).rstrip("\n"))


def _neighbours(code: str) -> list[str]:
    """The two codes of the same letter whose numbers are nearest."""
    number = code[1:]
    if not number.isdecimal():
        return []
    own = [c for c in CODES if c[0] == code[0]]
    return sorted(own, key=lambda c: (abs(int(c[1:]) - int(number)), c))[:2]


COMMANDS = (check_command, show_command, explain_command)
