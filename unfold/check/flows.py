"""Differential equations over one step of time become the equations of an explicit scheme.

before:  flow h[t] from h[t-1] by midpoint(dt[t]):
             der(h) = tanh(A @ h + b)
after:   h.k1[t] = tanh(A @ h[t-1] + b)
         h.k2[t] = tanh(A @ (h[t-1] + dt[t] * (h.k1[t] / 2)) + b)
         h[t] = h[t-1] + dt[t] * h.k2[t]

It happens in the tree, so that everything after it (shapes, causality, the adjoint, both backends)
sees plain recurrences. Many substeps stand on an axis of their own, `h.k1[t, n]`, few are written
out. The derivative is that of the scheme: the discrete adjoint. What the schemes
are is said in `schemes`, how one chooses its steps itself in `adaptive`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from difflib import get_close_matches
from typing import Any

from ..expr import fresh
from ..schemes import ROLLED, SCHEMES, Row, Scheme
from ..syntax import tree as t
from . import adaptive
from .report import Report
from .terms import Terms

KNOWN = (*SCHEMES, "dopri5")

OPTIONS = {
    "adjoint": "`discrete` or `continuous`: `adjoint = continuous`",
    "substeps": "a positive integer, written as a number: `substeps = 4`",
    "max_steps": "a positive integer, written as a number: `max_steps = 100`",
    "rtol": "a number between 0 and 1: `rtol = 1e-8`",
    "atol": "a positive number: `atol = 1e-8`",
}


def expand(model: t.Model, report: Report) -> t.Model:
    """The model with every `flow` replaced by equations; one that is wrong becomes `Broken`."""
    if not any(isinstance(s, t.Flow) for s in model.body):
        return model
    body: list[t.Statement] = []
    broken = list(model.broken)
    taken = {n.text for n in t.walk(model) if isinstance(n, t.Name)}
    for statement in model.body:
        if not isinstance(statement, t.Flow):
            body.append(statement)
            continue
        expanded = _Flow(statement, report, taken).equations()
        if expanded is not None:
            body.extend(expanded)
        else:
            # What it would have defined is unknown now: no complaints about reads of it.
            names = frozenset(_name(target).text for target in statement.targets)
            mentions = frozenset(n.text for n in t.walk(statement) if isinstance(n, t.Name))
            broken.append(t.Broken(names, mentions, "flow", span=statement.span))
    return replace(model, body=tuple(body), broken=tuple(broken))


class _Flow:
    def __init__(self, flow: t.Flow, report: Report, taken: set[str]) -> None:
        self.flow = flow
        self.report = report
        self.taken = taken
        self.states = [_name(target) for target in flow.targets]
        self.names = [state.text for state in self.states]
        self.items = _items(flow.targets[0])

    def equations(self) -> list[t.Statement] | None:
        """The scheme's equations; `None` after an error."""
        method = self.flow.method.function
        options = self.options() if self.is_scheme() else None
        slopes = self.slopes()
        if options is None or slopes is None:
            return None
        step = self.flow.method.arguments[0]

        def at(states: Sequence[t.Expr]) -> list[t.Expr]:
            here = dict(zip(self.names, states, strict=True))
            return [_replace(slope.value, here, self.items) for slope in slopes]

        if method.text == "dopri5":
            w = Terms(self.items, method.span)
            return adaptive.equations(
                w, self.axis(), self.flow.targets, self.names, self.flow.start, step, at,
                adaptive.Tolerance(**options),
            )  # fmt: skip
        substeps = int(options.get("substeps", 1))
        if options.get("adjoint") == "continuous":
            return self.continuous(step, at, substeps)
        return self.fixed(SCHEMES[method.text], self.flow.start, step, at, substeps)

    def axis(self) -> t.Name:
        """A name that the model does not use yet, for an axis of steps within a step."""
        name = fresh("n", self.taken)
        self.taken.add(name)
        return t.Name(name, span=self.flow.method.span)

    def continuous(self, step: t.Expr, at: adaptive.Slopes, substeps: int) -> list[t.Statement]:
        """The scheme from states of their own, ``h.at[t]``, its results marked for the adjoint."""
        method = self.flow.method.function
        w = Terms(self.items, method.span)
        found: list[t.Statement] = [
            w.define(f"{name}.at", start)
            for name, start in zip(self.names, self.flow.start, strict=True)
        ]
        starts = [w.read(f"{name}.at") for name in self.names]
        made = self.fixed(SCHEMES[method.text], starts, step, at, substeps)
        ends = made[-len(self.names) :]
        found += made[: -len(self.names)]
        for number, end in enumerate(ends):
            assert isinstance(end, t.Equation)
            value = w.call(
                "continuous", w.number(number), method, w.number(substeps), end.value,
                step, *starts, *at(starts),
            )  # fmt: skip
            found.append(replace(end, value=value))
        return found

    def fixed(
        self,
        scheme: Scheme,
        start: Sequence[t.Expr],
        step: t.Expr,
        at: adaptive.Slopes,
        substeps: int,
    ) -> list[t.Statement]:
        """A scheme with ``substeps`` equal steps."""
        w = Terms(self.items, step.span)
        found: list[t.Statement] = []
        if substeps > 1:
            found.append(w.define(f"{self.names[0]}.dt", w.binary("/", step, w.number(substeps))))
            step = w.read(f"{self.names[0]}.dt")
        if substeps >= ROLLED:
            return found + self.rolled(scheme, start, step, at, substeps)
        base: list[t.Expr] = list(start)
        for n in range(1, substeps + 1):
            tag = f".{n}" if substeps > 1 else ""
            slopes: list[list[t.Expr]] = [[] for _ in self.states]

            places = [w.at(state.span) for state in self.states]
            for stage, row in enumerate(scheme.a, 1):
                for k, value in enumerate(at(_moved(places, base, step, row, slopes))):
                    name = f"{self.names[k]}{tag}.k{stage}"
                    found.append(places[k].define(name, value))
                    slopes[k].append(places[k].read(name))
            results = _moved(places, base, step, scheme.b, slopes)
            if n == substeps:
                for target, value in zip(self.flow.targets, results, strict=True):
                    found.append(t.Equation((target,), value, span=target.span))
                break
            base = []
            for place, name, value in zip(places, self.names, results, strict=True):
                found.append(place.define(f"{name}.{n}", value))
                base.append(place.read(f"{name}.{n}"))
        return found

    def rolled(
        self,
        scheme: Scheme,
        start: Sequence[t.Expr],
        step: t.Expr,
        at: adaptive.Slopes,
        substeps: int,
    ) -> list[t.Statement]:
        """Substeps of length ``step`` on an axis ``n``: they start from ``h.y[t, 0]``."""
        index = self.axis()
        places = [Terms(self.items, state.span) for state in self.states]
        w = Terms(self.items, step.span)
        end, before = w.number(substeps), w.binary("-", index, w.number(1))
        found: list[t.Statement] = [t.Axis((index,), end, span=step.span)]
        for place, name, value in zip(places, self.names, start, strict=True):
            found.append(place.define(f"{name}.y", value, w.number(0)))
        base: list[t.Expr] = [w.read(f"{name}.y", before) for name in self.names]
        slopes: list[list[t.Expr]] = [[] for _ in self.states]
        for stage, row in enumerate(scheme.a, 1):
            for k, value in enumerate(at(_moved(places, base, step, row, slopes))):
                name = f"{self.names[k]}.k{stage}"
                found.append(places[k].define(name, value, index))
                slopes[k].append(places[k].read(name, index))
        results = _moved(places, base, step, scheme.b, slopes)
        for place, name, value in zip(places, self.names, results, strict=True):
            found.append(place.define(f"{name}.y", value, index))
        for target, name in zip(self.flow.targets, self.names, strict=True):
            value = w.read(f"{name}.y", end)
            found.append(t.Equation((target,), value, span=target.span))
        return found

    # --- what is written, checked ---

    def is_scheme(self) -> bool:
        name = self.flow.method.function
        if name.text in KNOWN:
            return True
        near = get_close_matches(name.text, KNOWN, 1)
        known = ", ".join(f"`{s}`" for s in KNOWN)
        self.report.error(
            "E0711",
            f"there is no integration scheme `{name.text}`",
            (name.span, "unknown scheme"),
            helps=[f"did you mean `{near[0]}`?" if near else f"the schemes are {known}"],
        )
        return False

    def options(self) -> dict[str, Any] | None:
        """What the options say; `None` after an error."""
        method = self.flow.method
        scheme = method.function.text
        if len(method.arguments) != 1:
            self.report.error(
                "E0712",
                f"`{scheme}` needs the length of a step, and nothing else without a name",
                (method.span, f"{len(method.arguments)} arguments"),
                helps=[f"write `{scheme}(dt[t])`, or a number: `{scheme}(0.1)`"],
            )
            return None
        own = ("rtol", "atol", "max_steps") if scheme == "dopri5" else ("substeps", "adjoint")
        found: dict[str, Any] = {}
        for keyword in method.keywords:
            name = keyword.name.text
            if name not in own:
                self.unknown_option(scheme, keyword.name, own)
                return None
            value = _word(keyword.value) if name == "adjoint" else _literal(keyword.value)
            if not _is_fit(name, value):
                self.report.error(
                    "E0712",
                    f"`{name}` is {OPTIONS[name].split(':')[0]}",
                    (keyword.value.span, "not one"),
                    helps=[f"write {OPTIONS[name].split(': ')[1]}"],
                )
                return None
            found[name] = value
        return found

    def unknown_option(self, scheme: str, name: t.Name, own: Sequence[str]) -> None:
        near = get_close_matches(name.text, own, 1)
        listed = " and ".join(f"`{o}`, {OPTIONS[o].split(':')[0]}" for o in own)
        helps = [f"did you mean `{near[0]}`?" if near else f"it has {listed}"]
        if name.text == "adjoint":
            helps = [
                "its adjoint is that of the accepted steps; the continuous one goes back by a "
                "scheme of fixed steps: `rk4(dt[t], substeps = 10, adjoint = continuous)`"
            ]
        elif name.text in OPTIONS:
            of = "`dopri5`, which chooses its steps itself" if scheme != "dopri5" else "the others"
            helps = [f"`{name.text}` is an option of {of}; this one has {listed}"]
        self.report.error(
            "E0712",
            f"`{scheme}` has no option `{name.text}`",
            (name.span, "unknown option"),
            helps=helps,
        )

    def slopes(self) -> list[t.Derivative] | None:
        """One derivative for each state, with the `let`s of the body written out."""
        lets: dict[str, t.Expr] = {}
        found: dict[str, t.Derivative] = {}
        wrong = False
        names = self.names
        for statement in self.flow.body:
            if isinstance(statement, t.Let) and not statement.name.indices:
                lets[statement.name.name.text] = _replace(statement.value, lets, ())
            elif isinstance(statement, t.Derivative):
                state = statement.state.text
                if state not in names or state in found:
                    why = "has its derivative twice" if state in found else "is no state of it"
                    self.report.error(
                        "E0713",
                        f"`{state}` {why} in this flow",
                        (statement.span, "here"),
                        (self.flow.targets[0].span, f"the flow of {', '.join(names)}"),
                        helps=[f"every state has one line: `der({names[0]}) = …`"],
                    )
                    wrong = True
                    continue
                value = _replace(statement.value, lets, ())
                found[state] = replace(statement, value=value)
            else:
                self.report.error(
                    "E0713",
                    "a flow holds derivatives and shorthands only",
                    (statement.span, "this is an equation"),
                    helps=["write `let a = …` for a shorthand, or move the equation out"],
                )
                wrong = True
        for missing in self.states:
            if missing.text not in found and not wrong:
                self.report.error(
                    "E0713",
                    f"the derivative of `{missing.text}` is missing",
                    (missing.span, "flows, but how?"),
                    helps=[f"add `der({missing.text}) = …` to the body"],
                )
                wrong = True
        return None if wrong else [found[s.text] for s in self.states]


def _moved(
    places: Sequence[Terms],
    base: Sequence[t.Expr],
    step: t.Expr,
    weights: Row,
    slopes: Sequence[Sequence[t.Expr]],
) -> list[t.Expr]:
    """Every state, moved along a combination of its slopes."""
    return [
        place.moved(start, step, place.combination(weights, known))
        for place, start, known in zip(places, base, slopes, strict=True)
    ]


def _literal(value: t.Expr) -> int | float | None:
    return value.value if isinstance(value, t.Number) else None


def _word(value: t.Expr) -> str | None:
    return value.text if isinstance(value, t.Name) else None


def _is_fit(option: str, value: int | float | str | None) -> bool:
    if option == "adjoint" or value is None or isinstance(value, str):
        return value in ("discrete", "continuous")
    if option in ("substeps", "max_steps"):
        return isinstance(value, int) and value >= 1
    return 0 < value < 1 if option == "rtol" else 0 < value < float("inf")


def _name(target: t.Name | t.Subscript) -> t.Name:
    if isinstance(target, t.Name):
        return target
    assert isinstance(target.base, t.Name)
    return target.base


def _items(target: t.Name | t.Subscript) -> tuple[t.Expr | t.Slice, ...]:
    return target.items if isinstance(target, t.Subscript) else ()


def _replace(e: t.Expr, values: dict[str, t.Expr], items: tuple[t.Expr | t.Slice, ...]) -> t.Expr:
    """``e`` with names replaced; a state may be written with its own index, ``h[t]``, as well."""

    def go(node: Any) -> Any:
        if isinstance(node, t.Name):
            return values.get(node.text, node)
        if isinstance(node, t.Subscript):
            base = node.base
            if isinstance(base, t.Name) and base.text in values and items and node.items == items:
                return values[base.text]
        if isinstance(node, (t.Call, t.Reduction)):
            inner = {
                f.name: go(getattr(node, f.name))
                for f in fields(node)
                if f.name not in ("span", "function")
            }
            return replace(node, **inner)
        if isinstance(node, t.Node):
            return replace(
                node,
                **{f.name: go(getattr(node, f.name)) for f in fields(node) if f.name != "span"},
            )
        if isinstance(node, tuple):
            return tuple(go(n) for n in node)
        return node

    result: t.Expr = go(e)
    return result
