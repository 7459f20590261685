"""Which models there are: those of the file, and those of the files that it uses.

`from cells use gru` takes the model `gru` of the compiler's own library, `from "other.rec" use foo`
one of a file beside this one. Every model is checked once, by itself, before it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from pathlib import Path

from ..program import Program
from ..syntax import tree as t
from ..syntax.diagnostics import Diagnostic, in_order
from ..syntax.parse import parse_partial
from .report import Report, listed, nearest
from .stages import check_model

Maker = Callable[[], "Program | None"]


class Library:
    """The models of one file, each elaborated when it is first asked for."""

    def __init__(self, source: str | t.File, name: str, above: tuple[str, ...] = ()) -> None:
        self.name = name
        self.above = (*above, name)
        self.report = Report()
        self.syntax: tuple[Diagnostic, ...] = ()
        if isinstance(source, t.File):
            self.file = source
        else:
            self.file, self.syntax = parse_partial(source, name)
        self.used: list[Library] = []
        self.files: dict[str, str] = {}  # the texts of the files named here
        self.reports: dict[str, Report] = {}
        self.programs: dict[str, Program | None] = {}
        self.models: dict[str, t.Model] = {}
        self.makers: dict[str, Maker] = {}
        self.inside: set[str] = set()  # models that another model uses
        self.active: list[str] = []
        for use in self.file.uses:
            self._use(use)
        for model in self.file.models:
            self._add(model)

    def diagnostics(self) -> list[Diagnostic]:
        """Everything found so far, here and in the files used."""
        found = [*self.syntax, *self.report.all()]
        for name, report in self.reports.items():
            # A model inside another is read by the names of its variables: it needs no output.
            found += [d for d in report.all() if d.code != "W0804" or name not in self.inside]
        if self.syntax:
            # What stands in lines that could not be read may be just what a warning misses.
            found = [d for d in found if d.severity == "error"]
        result = list(in_order(found))
        for other in self.used:
            result += [d for d in other.diagnostics() if d.severity == "error" and d not in result]
        return result

    def main(self, model: str | None) -> Program | None:
        """The program of the main model (or of a named one), after all models were checked.

        Raises ``KeyError`` for a name that is no model of this file.
        """
        for name in self.models:
            self.program(name)
        if model is None:
            return self.programs.get(next(reversed(self.models), ""))
        if model not in self.models:
            known = listed(self.models)
            raise KeyError(f"there is no model `{model}` in {self.name}; it has {known}")
        return self.programs[model]

    def _add(self, model: t.Model) -> None:
        name = model.name.text
        if name in self.models:
            self.report.error(
                "E0202",
                f"the model `{name}` is defined twice",
                (model.name.span, "here again"),
                (self.models[name].name.span, "first here"),
            )
            return
        self.models[name] = model
        self.makers[name] = lambda: self.used_inside(name)

    def used_inside(self, name: str) -> Program | None:
        """A model of this file, as part of another one."""
        self.inside.add(name)
        if name in self.active:
            self._circle(self.active[self.active.index(name) :])
        return self.program(name)

    def program(self, name: str) -> Program | None:
        """A model of this file; ``None`` if something is wrong with it."""
        if name not in self.programs:
            report = self.reports[name] = Report()
            self.programs[name] = None
            self.active.append(name)
            model = self.models[name]
            try:
                self.programs[name] = check_model(model, self.makers, report)
            except RecursionError:
                report.error(
                    "E0117",
                    f"the expressions of `{name}` are nested too deeply",
                    (model.name.span, "in this model"),
                    helps=["give names to parts of them, with equations of their own"],
                )
            self.active.pop()
        return self.programs[name]

    def _circle(self, names: list[str]) -> None:
        whom = "itself" if len(names) == 1 else "each other"
        self.report.error(
            "E0211",
            f"the model{'s' if len(names) > 1 else ''} {listed(names)} "
            f"use{'' if len(names) > 1 else 's'} {whom}",
            *((self.models[n].name.span, "" if k else f"contains {whom}")
              for k, n in enumerate(names)),
            helps=["a model inside a model is copied there, so that none can contain itself; "
                   "what goes on over time is a recurrence: `h[t] = … h[t-1] …`"],
        )  # fmt: skip

    # --- files ----------------------------------------------------------------------------------

    def _use(self, use: t.Use) -> None:
        for name in use.names:
            library = self._open(use, name)
            if library is None:
                self.makers.setdefault(name.text, lambda: None)
                continue
            if name.text not in library.models:
                near = nearest(name.text, library.models)
                self.report.error(
                    "E0206",
                    f"there is no model `{name.text}` in {library.name}",
                    (name.span, "unknown"),
                    helps=[f"did you mean `{near}`?" if near else
                           f"it has {listed(library.models)}"],
                )  # fmt: skip
                self.makers.setdefault(name.text, lambda: None)
                continue
            self.makers[name.text] = _maker(library, name.text)

    def _open(self, use: t.Use, name: t.Name) -> Library | None:
        if isinstance(use.library, t.Path):
            return self._file(use, use.library)
        if use.library.text != "cells":
            self.report.error(
                "E0206",
                f"there is no library `{use.library.text}`",
                (use.library.span, "unknown"),
                helps=["the library that comes with the compiler is `cells`; "
                       f"a file beside this one is named in quotes: `\"{use.library.text}.rec\"`"],
            )  # fmt: skip
            return None
        known = {
            p.name.removesuffix(".rec")
            for p in resources.files("unfold.cells").iterdir()
            if p.name.endswith(".rec")
        }
        if name.text not in known:
            near = nearest(name.text, known)
            self.report.error(
                "E0206",
                f"the library has no model `{name.text}`",
                (name.span, "unknown"),
                helps=[f"did you mean `{near}`?" if near else f"it has {listed(sorted(known))}"],
            )
            return None
        text = resources.files("unfold.cells").joinpath(f"{name.text}.rec").read_text("utf-8")
        return self._load(text, f"cells/{name.text}.rec", use)

    def _file(self, use: t.Use, path: t.Path) -> Library | None:
        folder = Path(self.name).parent if self.name not in ("<text>", "-") else Path()
        file = folder / path.text
        try:
            text = file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not a text"
            self.report.error(
                "E0206",
                f"the file `{path.text}` cannot be read",
                (path.span, str(why)),
                helps=[f"it was looked for as {file}"],
            )
            return None
        self.files[str(file)] = text
        return self._load(text, str(file), use)

    def all_files(self) -> dict[str, str]:
        """The texts of the files that are used from here, by their paths."""
        found = dict(self.files)
        for other in self.used:
            found |= other.all_files()
        return found

    def _load(self, text: str, name: str, use: t.Use) -> Library | None:
        for other in self.used:
            if other.name == name:
                return other
        if name in self.above:
            self.report.error(
                "E0211",
                "files use each other in a circle",
                (use.library.span, f"{name} is being read already"),
            )
            return None
        library = Library(text, name, self.above)
        self.used.append(library)
        return library


def _maker(library: Library, name: str) -> Maker:
    return lambda: library.program(name)
