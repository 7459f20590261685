"""Texts that are true: a document's commands and Python are run again, and what they print is put
in the place of what the document shows.

A document is Markdown. Its fenced blocks are played in order, in one folder and one Python session:

- ``rec``: a file, under the last name in backquotes that stands above the block;
- ``console``: lines ``$ unfold …`` are run, and what each prints stands below it;
- ``python``: is run; a ``text`` block right behind it holds what it printed.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: How far numbers that another machine prints may be from those that are shown, relative to them;
#: below what is nothing but rounding, any two are alike.
TOLERANCE, ROUNDING = 0.03, 1e-9

NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"`([\w.-]+\.rec)`")


def replay(document: Path, folder: Path) -> str:
    """The document's text with every output made anew; runs in ``folder``, the current one."""
    text = document.read_text(encoding="utf-8")
    return "".join(_parts(text, document, folder))


def settled(made: str, shown: str) -> str:
    """``made``, with numbers that differ from those ``shown`` by less than `TOLERANCE` as shown.

    The last bits of a computation differ from one kind of processor to the next, and training makes
    more of them.
    """
    # Columns are as wide as their numbers are long.
    texts = ([" ".join(t.split()) for t in NUMBER.split(text)] for text in (made, shown))
    if next(texts) != next(texts):
        return made
    pairs = list(zip(NUMBER.findall(made), NUMBER.findall(shown), strict=True))
    near = all(abs(float(a) - float(b)) <= TOLERANCE * float(b) + ROUNDING for a, b in pairs)
    return shown if near else made


def _parts(text: str, document: Path, folder: Path) -> Iterator[str]:
    session: dict[str, Any] = {"__name__": "__main__"}
    at, printed = 0, None
    for block in FENCE.finditer(text):
        between = text[at : block.start()]
        kind, body = block[1], block[2]
        if kind == "rec":
            name = FILE.findall(text[: block.start()])[-1]
            (folder / name).write_text(body, encoding="utf-8")
        elif kind == "console":
            body = "".join(_commands(body, folder))
        elif kind == "text" and printed is not None and not between.strip():
            body = printed
        printed = None
        if kind == "python":
            # Padded, so that a traceback shows the line of the document.
            lines = text[: block.start()].count("\n") + 1
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile("\n" * lines + body, str(document), "exec"), session)
            printed = out.getvalue()
        yield between + f"```{kind}\n{body}```"
        at = block.end()
    yield text[at:]


def _commands(body: str, folder: Path) -> Iterator[str]:
    """Each command of a console block, and below it what it prints on both streams."""
    commands = [line for line in body.splitlines() if line.startswith("$ ")]
    for line in commands:
        program, *arguments = shlex.split(line[2:])
        assert program == "unfold", f"a document runs `unfold` alone, not {line!r}"
        run = subprocess.run(
            [sys.executable, "-m", "unfold.cli", *arguments],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        printed = "\n".join(row.rstrip() for row in run.stdout.splitlines()).strip("\n")
        yield f"{line}\n{printed}\n" if printed else f"{line}\n"
