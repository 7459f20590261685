"""Differential equations over one step of time become the equations of an explicit scheme.

before:  flow h[t] from h[t-1] by midpoint(dt[t]):
             der(h) = tanh(A @ h + b)
after:   h.k1[t] = tanh(A @ h[t-1] + b)
         h.k2[t] = tanh(A @ (h[t-1] + dt[t] * (h.k1[t] / 2)) + b)
         h[t] = h[t-1] + dt[t] * h.k2[t]

It happens in the tree, so that everything after it (shapes, causality, the adjoint, both backends)
sees plain recurrences. The derivative is that of the scheme: the discrete adjoint. Schemes: the
explicit Runge-Kutta methods of Hairer, Nørsett and Wanner, *Solving Ordinary Differential Equations
I*, 1993, section II.1.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from fractions import Fraction
from typing import Any

from ..syntax import tree as t
from ..syntax.span import Span
from .report import Report


@dataclass(frozen=True)
class Scheme:
    """An explicit Runge-Kutta scheme: stage i reads ``a[i]`` of the slopes before it."""

    a: tuple[tuple[Fraction, ...], ...]
    b: tuple[Fraction, ...]


_HALF, _ONE = Fraction(1, 2), Fraction(1)
SCHEMES: dict[str, Scheme] = {
    "euler": Scheme(((),), (_ONE,)),
    "midpoint": Scheme(((), (_HALF,)), (Fraction(0), _ONE)),
    "heun": Scheme(((), (_ONE,)), (_HALF, _HALF)),
    "rk4": Scheme(
        ((), (_HALF,), (Fraction(0), _HALF), (Fraction(0), Fraction(0), _ONE)),
        (Fraction(1, 6), Fraction(1, 3), Fraction(1, 3), Fraction(1, 6)),
    ),
}
LATER = ("dopri5",)


def expand(model: t.Model, report: Report) -> t.Model:
    """The model with every `flow` replaced by equations; one that is wrong becomes `Broken`."""
    if not any(isinstance(s, t.Flow) for s in model.body):
        return model
    body: list[t.Statement] = []
    broken = list(model.broken)
    for statement in model.body:
        if not isinstance(statement, t.Flow) or statement.method.function.text in LATER:
            body.append(statement)
            continue
        expanded = _Flow(statement, report).equations()
        if expanded is not None:
            body.extend(expanded)
        else:
            # What it would have defined is unknown now: no complaints about reads of it.
            names = frozenset(_name(target).text for target in statement.targets)
            mentions = frozenset(n.text for n in t.walk(statement) if isinstance(n, t.Name))
            broken.append(t.Broken(names, mentions, "flow", span=statement.span))
    return replace(model, body=tuple(body), broken=tuple(broken))


class _Flow:
    def __init__(self, flow: t.Flow, report: Report) -> None:
        self.flow = flow
        self.report = report
        self.states = [_name(target) for target in flow.targets]
        self.items = _items(flow.targets[0])

    def equations(self) -> list[t.Statement] | None:
        """The scheme's equations; `None` after an error."""
        scheme = self.scheme()
        options = self.options()
        slopes = self.slopes()
        if scheme is None or options is None or slopes is None:
            return None
        step, substeps = options
        found: list[t.Statement] = []
        if substeps > 1:
            part = t.Binary("/", step, t.Number(substeps, span=step.span), span=step.span)
            found.append(self.define(f"{self.states[0].text}.dt", part, step.span))
            step = self.read(f"{self.states[0].text}.dt", step.span)
        base: list[t.Expr] = list(self.flow.start)
        for n in range(1, substeps + 1):
            tag = f".{n}" if substeps > 1 else ""
            found += self.stages(scheme, step, base, slopes, tag)
            results = [self.result(scheme, step, start, k, tag) for k, start in enumerate(base)]
            if n == substeps:
                for target, value in zip(self.flow.targets, results, strict=True):
                    found.append(t.Equation((target,), value, span=target.span))
            else:
                base = []
                for state, value in zip(self.states, results, strict=True):
                    found.append(self.define(f"{state.text}.{n}", value, state.span))
                    base.append(self.read(f"{state.text}.{n}", state.span))
        return found

    def stages(
        self,
        scheme: Scheme,
        step: t.Expr,
        base: list[t.Expr],
        slopes: list[t.Derivative],
        tag: str,
    ) -> list[t.Statement]:
        """The slopes k1, k2, … of every state, over one (sub)step."""
        found: list[t.Statement] = []
        for stage, row in enumerate(scheme.a, 1):
            here = {
                state.text: self.moved(start, step, state, row, tag)
                for state, start in zip(self.states, base, strict=True)
            }
            for slope in slopes:
                value = _replace(slope.value, here, self.items)
                name = f"{slope.state.text}{tag}.k{stage}"
                found.append(self.define(name, value, slope.span))
        return found

    def moved(
        self, start: t.Expr, step: t.Expr, state: t.Name, row: tuple[Fraction, ...], tag: str
    ) -> t.Expr:
        """``start + step * (a1 * k1 + a2 * k2 + …)``"""
        slope = self.combination(row, state, tag)
        if slope is None:
            return start
        span = state.span
        return t.Binary("+", start, t.Binary("*", step, slope, span=span), span=span)

    def result(self, scheme: Scheme, step: t.Expr, start: t.Expr, k: int, tag: str) -> t.Expr:
        return self.moved(start, step, self.states[k], scheme.b, tag)

    def combination(self, weights: tuple[Fraction, ...], state: t.Name, tag: str) -> t.Expr | None:
        """A weighted sum of slopes over their common denominator: ``(k1 + 2 * k2) / 6``."""
        whole = 1
        for w in weights:
            whole = max(whole, w.denominator)
        total: t.Expr | None = None
        for stage, w in enumerate(weights, 1):
            count = int(w * whole)
            if not count:
                continue
            term: t.Expr = self.read(f"{state.text}{tag}.k{stage}", state.span)
            if count > 1:
                term = t.Binary("*", t.Number(count, span=state.span), term, span=state.span)
            total = term if total is None else t.Binary("+", total, term, span=state.span)
        if total is None or whole == 1:
            return total
        return t.Binary("/", total, t.Number(whole, span=state.span), span=state.span)

    def define(self, name: str, value: t.Expr, span: Span) -> t.Equation:
        target = self.read(name, span)
        assert isinstance(target, (t.Name, t.Subscript))
        return t.Equation((target,), value, span=span)

    def read(self, name: str, span: Span) -> t.Expr:
        head = t.Name(name, span=span)
        return t.Subscript(head, self.items, span=span) if self.items else head

    # --- what is written, checked ---

    def scheme(self) -> Scheme | None:
        name = self.flow.method.function
        if name.text in SCHEMES:
            return SCHEMES[name.text]
        near = get_close_matches(name.text, [*SCHEMES, *LATER], 1)
        known = ", ".join(f"`{s}`" for s in SCHEMES)
        self.report.error(
            "E0711",
            f"there is no integration scheme `{name.text}`",
            (name.span, "unknown scheme"),
            helps=[f"did you mean `{near[0]}`?" if near else f"the schemes are {known}"],
        )
        return None

    def options(self) -> tuple[t.Expr, int] | None:
        method = self.flow.method
        if method.function.text not in SCHEMES:
            return None
        if len(method.arguments) != 1:
            self.report.error(
                "E0712",
                f"`{method.function.text}` needs the length of a step, and nothing else without a "
                "name",
                (method.span, f"{len(method.arguments)} arguments"),
                helps=[f"write `{method.function.text}(dt[t])`, or a number: `rk4(0.1)`"],
            )
            return None
        substeps = 1
        for keyword in method.keywords:
            if keyword.name.text != "substeps":
                self.report.error(
                    "E0712",
                    f"`{method.function.text}` has no option `{keyword.name.text}`",
                    (keyword.name.span, "unknown option"),
                    helps=["the option is `substeps`, a positive integer"],
                )
                return None
            value = keyword.value
            if not isinstance(value, t.Number) or not isinstance(value.value, int) or (
                value.value < 1
            ):  # fmt: skip
                self.report.error(
                    "E0712",
                    "`substeps` is a positive integer, written as a number",
                    (value.span, "not one"),
                )
                return None
            substeps = value.value
        return method.arguments[0], substeps

    def slopes(self) -> list[t.Derivative] | None:
        """One derivative for each state, with the `let`s of the body written out."""
        lets: dict[str, t.Expr] = {}
        found: dict[str, t.Derivative] = {}
        wrong = False
        names = [s.text for s in self.states]
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
