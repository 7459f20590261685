"""A model as users hold it: a program, with what one may ask of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .program import Program

if TYPE_CHECKING:
    from .draw import Rolled
    from .graph import Graph
    from .show import Latex
    from .syntax.diagnostics import Diagnostic
    from .transform import Horizon, Window


class Model:
    """A program and the text it came from. ``str(model)`` is its `.rec` text.

    Attributes:
        program: the equations.
        source: the text, if there is one, and ``path``, what errors call it.
        name: the model's name.
    """

    def __init__(self, program: Program, source: str | None = None, path: str = "<text>") -> None:
        self.program = program
        self.source = source
        self.path = path

    @property
    def name(self) -> str:
        return self.program.name

    @property
    def sizes(self) -> tuple[str, ...]:
        """The compile-time integers that `unfold.compile` wants."""
        return self.program.sizes

    def adjoint(
        self, wrt: str | Sequence[str] | None = None, of: str | Sequence[str] | None = None
    ) -> Model:
        """The model that also computes gradients: backpropagation through time, as equations.

        Args:
            wrt: names of inputs, parameters or variables (default: all parameters). The adjoint of
                a variable is its costate.
            of: names of scalars whose sum is differentiated (default: all losses).

        Raises:
            ValueError: an unknown name, or nothing to differentiate.
        """
        from .transform import adjoint

        return Model(adjoint(self.program, _names(wrt), _names(of)))

    def tangent(self, wrt: str | Sequence[str] | None = None) -> Model:
        """The model that also computes directional derivatives: `W_dot` beside `W`, `h_dot`, …

        ``wrt``: names of inputs and parameters (default: all parameters).
        """
        from .transform import tangent

        return Model(tangent(self.program, _names(wrt)))

    def truncate(self, how: Window | Horizon) -> Model:
        """The model whose values are the same and whose gradient is cut in time: truncated
        backpropagation, as equations. Its drawing shows the cuts.

        Args:
            how: ``Window(10)`` cuts at the borders of windows of ten steps; of ``Horizon(20)`` each
                loss term sees twenty steps back.

        Raises:
            ValueError: no recurrence, or one that cannot be cut in this way.
        """
        from .transform import truncate

        return Model(truncate(self.program, how))

    def unfold(self, steps: int = 4, level: str = "equation", **lengths: int) -> Graph:
        """The explicit graph over ``steps`` steps of time.

        Args:
            steps: the length ``T``.
            level: "equation" (a node is an element, ``h[3]``) or "op" (a node is an operation).
            lengths: the other lengths of the model, and the sizes that axes run over, by name
                (default: ``steps`` too).

        Raises:
            ValueError: a length that the model does not have, or one that is too small.
        """
        from .graph import extents, unfold

        known = extents(self.program)
        for name in lengths:
            if name not in known:
                raise ValueError(f"{self.name} has no length {name}, only {', '.join(known)}")
        return unfold(self.program, dict.fromkeys(known, steps) | lengths, level)

    def rolled(self) -> Rolled:
        """The graph that is not unfolded: a box for each equation, whatever the number of steps,
        and lines that say how far back they read. ``model.rolled().draw("elman.svg")``; a notebook
        shows it as it is."""
        from .draw import Rolled

        return Rolled(self.program)

    def draw(
        self,
        path: str | Path,
        steps: int = 4,
        views: str | Sequence[str] = "unrolled",
        **options: Any,
    ) -> Path:
        """Draw the graph over ``steps`` steps to svg, pdf, png or dot, by the suffix.

        Args:
            views: any of "rolled", "unrolled" and "adjoint"; several stand side by side on one
                sheet, equal rows at equal heights.
            options: those of `Graph.draw`, and by name lengths other than ``T`` and sizes that
                axes run over.

        Raises ``ValueError`` for an unknown view or suffix, a name that is not there, and for more
        steps than can be unfolded, `unfold.draw.DrawingError` if there is no Graphviz.
        """
        from .draw import draw_views
        from .graph import extents

        lengths = dict.fromkeys(extents(self.program), steps)
        lengths |= {n: options.pop(n) for n in lengths if n in options}
        named = (views,) if isinstance(views, str) else tuple(views)
        return draw_views(
            self.program, lambda: self.adjoint().program, path, named, lengths, **options
        )

    def _repr_svg_(self) -> str | None:
        return self.rolled()._repr_svg_()

    def view(self, params: Any = None, data: Any = None, /, **options: Any) -> Path:
        """Write a page that shows the model at work, and open it: `unfold.view`."""
        from .view.entry import view

        return view(self, params, data, **options)

    def check(self) -> tuple[Diagnostic, ...]:
        """The warnings about its text: unused parameters and the like. (There are no errors, they
        were raised when it was loaded.)"""
        from .check import check_text

        return tuple(check_text(self.source, self.path)) if self.source is not None else ()

    def latex(self) -> Latex:
        """The equations as an ``align*`` environment. A notebook shows it as formulas."""
        from .show import to_latex

        return to_latex(self.program)

    def __str__(self) -> str:
        from .show import to_rec

        return to_rec(self.program)

    def __repr__(self) -> str:
        p = self.program
        head = f"{p.name}({', '.join(p.sizes)})" if p.sizes else p.name
        parts = [
            f"{what}s {', '.join(v.name for v in found)}"
            for what, found in (("input", p.inputs), ("param", p.params))
            if found
        ]
        outputs = ", ".join(o.name for o in p.outputs)
        parts += [f"outputs {outputs}"] if outputs else []
        parts += [f"minimizes {', '.join(p.losses)}"] if p.losses else []
        return f"<Model {head}: {'; '.join(parts)}>"


def _names(names: str | Sequence[str] | None) -> list[str] | None:
    return [names] if isinstance(names, str) else None if names is None else list(names)
