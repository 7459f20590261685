"""The grammar of the `.rec` language, as data for every tool that reads it."""

from __future__ import annotations

from importlib.resources import files


def text() -> str:
    """The grammar in Lark's notation."""
    return files(__name__).joinpath("rec.lark").read_text(encoding="utf-8")
