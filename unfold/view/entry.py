"""The front door: a model in, a page in the browser."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..api import as_program, load, loads
from ..files import atomically
from ..model import Model

if TYPE_CHECKING:
    from .choose import Setting


def view(
    model: Any,
    params: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    /,
    *,
    path: str | os.PathLike[str] | None = None,
    steps: int | None = None,
    prompt: str | None = None,
    seed: int = 0,
    open: bool = True,  # noqa: A002 - what it does
    sizes: Mapping[str, float] | None = None,
    **numbers: float,
) -> Path:
    """Write a page that shows a model at work, and open it.

    Args:
        model: as for `unfold.compile`.
        params: an array for every parameter (default: initial ones).
        data: an array for every input, of one sequence, or a batch whose first one is shown
            (default: drawn at random).
        path: where the page goes (default: ``NAME.html`` in a new temporary folder).
        steps: the lengths that no array tells (default 6).
        prompt: what a language model is given to go on from.
        seed: of everything that is drawn.
        open: whether to show the page in the browser.
        sizes, numbers: sizes, constants and lengths by name; sizes that neither these nor arrays
            tell are small.

    Returns the path of the page, which says what was chosen.

    Raises:
        InputError: unknown names, arrays that do not fit, more numbers than a page should hold.
        SolverError: an equation without a solution.
        OSError: the page cannot be written.
    """
    from .choose import choose

    given = _model(model)
    setting = choose(
        given.program, params, data, sizes={**(sizes or {}), **numbers}, steps=steps, seed=seed
    )
    return write(given, setting, path, prompt, open)


def write(
    model: Model,
    setting: Setting,
    path: str | os.PathLike[str] | None,
    prompt: str | None,
    show: bool,
) -> Path:
    """Write the page of a setting, whole or not at all, and open it."""
    from .gather import gather
    from .page import page

    text = page(gather(model, setting, prompt))
    if path is None:
        target = Path(tempfile.mkdtemp(prefix="unfold-")) / f"{model.name}.html"
    else:
        target = Path(path)
    atomically(target, lambda file: file.write(text.encode("utf-8")))
    if show:
        import webbrowser

        webbrowser.open(target.resolve().as_uri())
    return target


def _model(model: Any) -> Model:
    if isinstance(model, Model):
        return model
    if isinstance(model, str) and "\n" in model:
        return loads(model)
    if isinstance(model, (str, os.PathLike)):
        return load(model)
    return Model(as_program(model))


__all__ = ["view", "write"]
