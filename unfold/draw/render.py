"""From DOT text to a file: by the Graphviz inside pygraphviz, or by a `neato` on the path."""

from __future__ import annotations

import shutil
import subprocess

from ..errors import UnfoldError

FORMATS = ("svg", "pdf", "png", "dot")

MISSING = """\
drawing needs Graphviz, and there is none: install the package pygraphviz, version 2 or later, \
whose wheel carries Graphviz itself (pip install "pygraphviz>=2"), or Graphviz from \
https://graphviz.org/download/ so that `neato` is on the path; a drawing to .dot needs neither\
"""


class DrawingError(UnfoldError, RuntimeError):
    """There is no Graphviz, or it failed."""


def render(dot: str, kind: str) -> bytes:
    """Draw DOT text whose nodes and lines have their places. Raises `DrawingError`."""
    try:
        import pygraphviz
    except ImportError:
        return _by_command(dot, kind)
    drawn = pygraphviz.AGraph(string=dot).draw(prog="nop2", format=kind)
    if not drawn:
        raise DrawingError(f"Graphviz drew nothing as {kind}")
    return bytes(drawn)


def _by_command(dot: str, kind: str) -> bytes:
    command = shutil.which("neato")
    if command is None:
        raise DrawingError(MISSING)
    done = subprocess.run(
        [command, "-n2", f"-T{kind}"], input=dot.encode(), capture_output=True, check=False
    )
    if done.returncode:
        raise DrawingError(f"Graphviz failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
