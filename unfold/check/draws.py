"""Random variables become noise that is drawn beforehand, and equations on it.

before:  random e[t]: real[H] ~ normal(0, 0.1)
         random y[t]: int<K> ~ categorical(p[t])
after:   random e.noise[t]: real[H] ~ normal
         e[t] = 0 + 0.1 * e.noise[t]
         random y.noise[t]: real[K] ~ uniform
         y[t] = mod(argmax(log(p[t]) - log(-log(y.noise[t]))), K)

It happens in the tree. Draws do not depend on parameters, so gradients pass through the equations
(the reparametrisation of Kingma and Welling 2014); a category is chosen by the Gumbel-max trick
(Gumbel 1954; Maddison, Tarlow and Minka 2014) and stops the gradient, as every integer does.
"""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches

from ..syntax import tree as t
from .report import Report

#: distribution -> numbers of arguments it takes
DISTRIBUTIONS = {"normal": (0, 2), "uniform": (0, 2), "bernoulli": (1,), "categorical": (1,)}


def expand(model: t.Model, report: Report) -> t.Model:
    """The model with every `random` replaced; one that is wrong becomes `Broken`."""
    if not any(isinstance(s, t.Random) for s in model.body):
        return model
    body: list[t.Statement] = []
    broken = list(model.broken)
    for statement in model.body:
        if not isinstance(statement, t.Random):
            body.append(statement)
            continue
        expanded = _expanded(statement, report)
        if expanded is not None:
            body.extend(expanded)
        else:
            names = frozenset(d.name.text for d in statement.names)
            mentions = frozenset(n.text for n in t.walk(statement) if isinstance(n, t.Name))
            broken.append(t.Broken(names, mentions, "random", span=statement.span))
    return replace(model, body=tuple(body), broken=tuple(broken))


def _expanded(s: t.Random, report: Report) -> list[t.Statement] | None:
    if not _is_known(s, report):
        return None
    kind, given = s.distribution.function.text, s.distribution.arguments
    want = {"bernoulli": "bool", "categorical": "int"}.get(kind, "real")
    declared = s.type
    if declared is None and kind == "bernoulli":
        declared = t.Type("bool", None, (), span=s.span)
    if declared is None or declared.kind != want or (want == "int" and declared.bound is None):
        example = {"bool": "bool", "int": "int<K>", "real": "real[H]"}[want]
        report.error(
            "E0721",
            f"the type of a draw from `{kind}` is `{example}`",
            (declared.span if declared else s.span, f"`{kind}` does not give that"
             if declared else "no type is given"),
            helps=[f"write `random {s.names[0].name.text}[t]: {example} ~ {kind}…`"],
        )  # fmt: skip
        return None
    if kind in ("normal", "uniform") and not given:
        return [t.Input(s.names, declared, noise=kind, span=s.span)]
    shape = declared.shape
    if kind == "categorical":
        assert declared.bound is not None
        shape = (*shape, declared.bound)
    real = t.Type("real", None, shape, span=declared.span)
    base = "normal" if kind == "normal" else "uniform"
    found: list[t.Statement] = []
    for name in s.names:
        hidden = t.Name(f"{name.name.text}.noise", span=name.span)
        noise = t.Declared(hidden, name.indices, span=name.span)
        found.append(t.Input((noise,), real, noise=base, span=s.span))
        value = _value(kind, given, _read(hidden, name), s)
        found.append(t.Equation((_read(name.name, name),), value, span=s.span))
    return found


def _is_known(s: t.Random, report: Report) -> bool:
    name, given = s.distribution.function, s.distribution.arguments
    if name.text not in DISTRIBUTIONS:
        near = get_close_matches(name.text, DISTRIBUTIONS, 1)
        known = ", ".join(f"`{d}`" for d in DISTRIBUTIONS)
        report.error(
            "E0722",
            f"there is no distribution `{name.text}`",
            (name.span, "unknown distribution"),
            helps=[f"did you mean `{near[0]}`?" if near else f"the distributions are {known}"],
        )
        return False
    if len(given) not in DISTRIBUTIONS[name.text] or s.distribution.keywords:
        forms = {
            "normal": "`normal`, or `normal(mean, deviation)`",
            "uniform": "`uniform`, or `uniform(low, high)`",
            "bernoulli": "`bernoulli(p)`, with a probability",
            "categorical": "`categorical(p)`, with a vector of probabilities",
        }
        report.error(
            "E0722",
            f"`{name.text}` is not called like this",
            (s.distribution.span, "wrong arguments"),
            helps=[f"write {forms[name.text]}"],
        )
        return False
    return True


def _value(kind: str, given: tuple[t.Expr, ...], noise: t.Expr, s: t.Random) -> t.Expr:
    span = s.distribution.span

    def binary(op: str, a: t.Expr, b: t.Expr) -> t.Expr:
        return t.Binary(op, a, b, span=span)  # type: ignore[arg-type]

    def call(name: str, a: t.Expr) -> t.Expr:
        return t.Call(t.Name(name, span=span), (a,), span=span)

    if kind == "normal":
        return binary("+", given[0], binary("*", given[1], noise))
    if kind == "uniform":
        return binary("+", given[0], binary("*", binary("-", given[1], given[0]), noise))
    if kind == "bernoulli":
        return t.Comparison(("<=",), (noise, given[0]), span=span)
    # log p + g, with g = -log(-log u) drawn from Gumbel's distribution. `mod` changes nothing, but
    # states the bound where the category is fed back before p is known.
    inner = call("log", t.Unary("-", call("log", noise), span=span))
    chosen = call("argmax", binary("-", call("log", given[0]), inner))
    assert s.type is not None
    assert s.type.bound is not None
    return t.Call(t.Name("mod", span=span), (chosen, s.type.bound), span=span)


def _read(name: t.Name, like: t.Declared) -> t.Name | t.Subscript:
    if not like.indices:
        return name
    return t.Subscript(name, like.indices, span=like.span)
