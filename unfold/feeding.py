"""What a model reads of what it wrote: which input reads which output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .errors import InputError
from .inputs import listed, nearest
from .program import Var
from .rollout import Feed
from .streaming import time_axis

if TYPE_CHECKING:
    from .function import Function


def chosen(function: Function, feed: Mapping[str, str] | None) -> Feed:
    """Which input reads which output. Raises `InputError`."""
    program, plan = function.program, function.step_program()
    sources = [program.vars[n] for n in plan.outputs]
    targets = [program.vars[n] for n in plan.moving if program.vars[n].noise is None]
    name = program.name
    if feed is None:
        pairs = [(x, y) for x in targets if x.type.kind == "int" for y in sources if _logits(x, y)]
        if len(pairs) != 1:
            what = "no output over t has logits for" if not pairs else "several outputs could feed"
            if not any(x.type.kind == "int" for x in targets):
                why = f"{name} reads no tokens at its steps"
                fitting = [(x.name, y.name) for x in targets for y in sources if _alike(x, y)]
                if not fitting:
                    raise InputError(
                        f"{why}, and no output over t is like an input, which could read it: "
                        f"inputs {listed([v.name for v in targets] or ['none'])}, "
                        f"outputs {listed(v.name for v in sources)}"
                    )
                raise UnclearFeed(f"{why}: say which output is read by which input", fitting)
            if pairs:
                why = f"{what} {name}: say which"
                raise UnclearFeed(why, [(x.name, y.name) for x, y in pairs])
            inputs = listed(x.name for x in targets if x.type.kind == "int")
            raise InputError(f"{what} {inputs} of {name}; its outputs are {listed(plan.outputs)}")
        (x, y) = pairs[0]
    else:
        if not isinstance(feed, Mapping) or len(feed) != 1:
            raise InputError(f'feed: expected one input and one output, {{"x": "y"}}, not {feed!r}')
        ((target, source),) = feed.items()
        for given, known, kind in (
            (target, [v.name for v in targets], "input over t that its steps need"),
            (source, [v.name for v in sources], "output over t"),
        ):
            if given not in known:
                hint = nearest(given, known) or f"; there are {listed(known or ['none'])}"
                raise InputError(f"feed: {name} has no {kind} {given}{hint}")
        x, y = program.vars[target], program.vars[source]
    if x.type.kind == "int" and y.type.kind == "real":
        if not _logits(x, y):
            raise InputError(
                f"feed: {x.name} is {function.declared.vars[x.name].type}, and {y.name} has "
                f"{'x'.join(map(str, y.shape)) or 'one'} components: it needs one logit a token"
            )
        return Feed(x.name, y.name)
    if not _alike(x, y):
        d = function.declared.vars
        raise InputError(f"feed: {x.name} is {d[x.name]}, and {y.name} is {d[y.name]}")
    return Feed(x.name, y.name)


class UnclearFeed(InputError):
    """Nothing says which output an input reads.

    Attributes:
        why: what is unclear.
        pairs: inputs and the outputs that they could read.
    """

    def __init__(self, why: str, pairs: Sequence[tuple[str, str]]) -> None:
        self.why, self.pairs = why, list(pairs)
        shown = " or ".join(f'{{"{x}": "{y}"}}' for x, y in pairs)
        super().__init__(f"{why}, feed={shown}")

    def __reduce__(self) -> tuple[Any, ...]:
        return UnclearFeed, (self.why, self.pairs)


def _alike(x: Var, y: Var) -> bool:
    """Whether an input can read an output as it is."""
    return _plain(x) == _plain(y) and time_axis(x) == time_axis(y)


def _logits(x: Var, y: Var) -> bool:
    """Whether an output has a number for each token of an input."""
    bound = x.type.bound
    return (
        y.type.kind == "real"
        and (len(x.axes), len(y.axes), len(x.shape)) == (1, 1, 0)
        and bound is not None
        and y.shape == (bound,)
    )


def _plain(v: Var) -> tuple[Any, ...]:
    k = time_axis(v)
    rest = [(a.lo, a.hi) for j, a in enumerate(v.axes) if j != k]
    return (v.type.kind, v.shape, rest)


__all__ = ["UnclearFeed", "chosen"]
