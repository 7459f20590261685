"""Random programs over two axes, as texts.

`texts` draws small systems over the steps ``t`` (T of them) and a second axis ``s`` (S of them):
chains along either axis in either direction, tables that recur along one axis or both, memories
that a chain reads and writes, triangles under a guard, attention, and reductions over either axis,
guarded or not. All are well-formed for every T and S from 1 on; ``r`` is a second index on the
axis of ``t``, ``q`` one on that of ``s``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

HEAD = """\
model random:
    axis   r: T
    axis   s, q: S
    input  x[t]: real[2]
    input  u[s]: real
    input  m[t, s]: real
    param  W: real[2, 2]
    param  b: real[2]
    param  a: real
    param  p[s]: real
"""
#: What else an index is called inside a reduction.
OTHER = {"t": "r", "s": "q"}
LENGTH = {"t": "T", "s": "S"}
SMOOTH = ("tanh", "sigmoid", "sin", "softplus", "cos")

Draw = Callable[[st.SearchStrategy[Any]], Any]
#: What the index of each axis is called at the place where an expression stands.
Site = dict[str, str]


@dataclass(frozen=True)
class Known:
    """A finished variable: its axes, and whether its elements are vectors."""

    name: str
    axes: tuple[str, ...]
    vector: bool = False

    def at(self, site: Site) -> str:
        index = ", ".join(site[k] for k in self.axes)
        return f"{self.name}[{index}]" if index else self.name


GIVEN = (
    Known("x", ("t",), True), Known("u", ("s",)), Known("m", ("t", "s")), Known("b", (), True),
    Known("a", ()), Known("p", ("s",)),
)  # fmt: skip


@dataclass
class Writer:
    """Draws right-hand sides out of what is finished."""

    draw: Draw
    known: list[Known] = field(default_factory=lambda: list(GIVEN))

    def pick(self, *options: Any) -> Any:
        return self.draw(st.sampled_from(options))

    def leaf(self, site: Site, vector: bool) -> str:
        """A read or a number that exists at the site."""
        fit = [k for k in self.known if k.vector == vector and set(k.axes) <= set(site)]
        if not vector and self.pick(True, False, False, False):
            return str(self.pick("0.7", "-0.4", *(f"0.1 * {i}" for i in site.values())))
        return str(self.pick(*fit).at(site))

    def elsewhere(self, site: Site, vector: bool) -> str:
        """A read at another position of the site's indices."""
        fit = [k for k in self.known if k.vector == vector and k.axes and set(k.axes) <= set(site)]
        if not fit:
            return self.leaf(site, vector)
        read = self.pick(*fit)
        axis = self.pick(*read.axes)
        index, length = site[axis], LENGTH[axis]
        way = self.pick("first", "last", "mirror", "before", "after")
        if way in ("first", "last", "mirror"):
            to = {"first": "1", "last": length, "mirror": f"{length}+1-{index}"}[way]
            return str(read.at({**site, axis: to}))
        there = read.at({**site, axis: f"{index}-1" if way == "before" else f"{index}+1"})
        inside = f"{index} >= 2" if way == "before" else f"{index} <= {length}-1"
        return f"({there} if {inside} else {self.leaf(site, vector)})"

    def reduction(self, site: Site, vector: bool, depth: int) -> str:
        """A reduction over one of the axes, perhaps of what stands before this place alone."""
        axis = self.pick("t", "s")
        taken = axis in site
        index = OTHER[axis] if taken else axis
        if index in site.values():
            return self.leaf(site, vector)
        inside = {**site, axis: index}
        op = self.pick("sum", "sum", "mean", "max", "min", "logsumexp")
        guards = [index]
        if taken:
            guards.append(f"{index} <= {site[axis]}")
        if op == "sum":
            # A sum may be empty.
            guards += [f"{index} < {i}" for i in site.values()]
            guards += [f"{index} >= {i}" for i in site.values()]
        return f"{op}[{self.pick(*guards)}]({self.value(inside, vector, depth - 1, False)})"

    def value(self, site: Site, vector: bool, depth: int, reduce: bool = True) -> str:
        """An expression that exists at the site."""
        if depth <= 0:
            return self.leaf(site, vector)

        def again(kind: bool = vector) -> str:
            return self.value(site, kind, depth - 1, reduce)

        kind = self.pick(
            "leaf", "function", "add", "mul", "choice", "elsewhere", "shape", "reduce", "where"
        )
        if kind == "function":
            return f"{self.pick(*SMOOTH)}({again()})"
        if kind == "add":
            return f"({again()} {self.pick('+', '-')} {again(self.pick(vector, False))})"
        if kind == "mul":
            return f"{again()} * {again(False)}"
        if kind == "where":
            return f"where({again(False)} > 0.1, {again()}, {again()})"
        if kind == "choice" and site:
            left = self.pick(*site.values())
            right = self.pick("1", "2", "T", "S", *site.values())
            relation = self.pick("<=", "==", ">", "<", ">=")
            return f"({again()} if {left} {relation} {right} else {again()})"
        if kind == "elsewhere" and site:
            return self.elsewhere(site, vector)
        if kind == "shape":
            inner = again(True)
            return f"W @ ({inner})" if vector else f"sum({inner})"
        if kind == "reduce" and reduce:
            return self.reduction(site, vector, depth)
        return self.leaf(site, vector)

    def start(self, vector: bool) -> str:
        return str(self.pick("0", "b" if vector else "a"))


def chain(w: Writer, name: str) -> list[str]:
    """A recurrence along one axis, forward or backward."""
    axis, vector = w.pick("t", "s"), w.pick(True, False)
    step, start = w.pick(("-1", "0"), ("+1", f"{LENGTH[axis]}+1"))
    own = f"W @ {name}[{axis}{step}]" if vector else f"0.5 * {name}[{axis}{step}]"
    rhs = f"tanh({own} + {w.value({axis: axis}, vector, 3)})"
    w.known.append(Known(name, (axis,), vector))
    return [f"{name}[{start}] = {w.start(vector)}", f"{name}[{axis}] = {rhs}"]


def table(w: Writer, name: str) -> list[str]:
    """A table that recurs along both axes, each in its own direction, or along one."""
    site = {"t": "t", "s": "s"}
    t_step, t_start = w.pick(("-1", "0"), ("+1", "T+1"))
    s_step, s_start = w.pick(("-1", "0"), ("+1", "S+1"))
    inner = w.value(site, False, 2)
    before, beside = f"{name}[t{t_step}, s]", f"{name}[t, s{s_step}]"
    kind = w.pick("both", "soft", "time", "across")
    lines = []
    if kind in ("both", "soft", "time"):
        lines.append(f"{name}[{t_start}, s] = {w.pick('0', 'p[s]', '0.2 * s')}")
    if kind in ("both", "soft", "across"):
        lines.append(f"{name}[t, {s_start}] = {w.pick('0', 'a', 'sum(x[t])')}")
    if kind == "soft":
        lines.append(f"{name}[{t_start}, {s_start}] = 0")
        corner = f"{name}[t{t_step}, s{s_step}]"
        rhs = f"0.5 * logsumexp([{before}, {beside}, {corner}]) + tanh({inner})"
    elif kind == "both":
        rhs = f"tanh(0.5 * {before} - 0.4 * {beside} + {inner})"
    else:
        rhs = f"tanh(0.6 * {before if kind == 'time' else beside} + {inner})"
    w.known.append(Known(name, ("t", "s")))
    return [*lines, f"{name}[t, s] = {rhs}"]


def memory(w: Writer, name: str) -> list[str]:
    """A chain that reads all slots of a memory, and writes to them."""
    state = f"{name}h"
    address = w.value({"t": "t", "s": "s"}, False, 2)
    drive = w.value({"t": "t"}, False, 2)
    lines = [
        f"{name}[0, s] = p[s]",
        f"{state}[0] = {w.start(False)}",
        f"{name}w[t, s] = softmax[s]({address} + {name}[t-1, s])",
        f"{state}[t] = tanh({drive} + sum[s]({name}w[t, s] * {name}[t-1, s]) - {state}[t-1])",
        f"{name}[t, s] = {name}[t-1, s] * (1 - {name}w[t, s]) + {name}w[t, s] * {state}[t]",
    ]
    w.known += [Known(name, ("t", "s")), Known(state, ("t",)), Known(f"{name}w", ("t", "s"))]
    return lines


def triangle(w: Writer, name: str) -> list[str]:
    """Causal attention: a variable on half of its square, read under the same guard."""
    vector = w.pick(True, False)
    score = w.value({"t": "t"}, False, 2, False)
    other = w.value({"t": "r"}, False, 2, False)
    guard = w.pick("r <= t", "r >= t")
    own = w.value({"t": "r"}, vector, 1, False)
    w.known.append(Known(name, ("t",), vector))
    return [
        f"{name}a[t, r] = softmax[{guard}]({score} * ({other})) for {guard}",
        f"{name}[t] = sum[{guard}]({name}a[t, r] * {own})",
    ]


def plain(w: Writer, name: str) -> list[str]:
    """A variable that does not recur, over one axis or both."""
    axes = w.pick(("t",), ("s",), ("t", "s"))
    vector = w.pick(True, False)
    rhs = w.value({k: k for k in axes}, vector, 3)
    w.known.append(Known(name, axes, vector))
    # A number alone would be a scalar.
    return [f"{name}[{', '.join(axes)}] = tanh({rhs}){' + 0 * b' if vector else ''}"]


@st.composite
def texts(draw: Draw) -> str:
    """A random program over ``t`` and ``s`` with one loss, as text."""
    w = Writer(draw)
    lines: list[str] = []
    for number in range(draw(st.integers(1, 3))):
        part = w.pick(chain, chain, table, table, memory, triangle, plain)
        lines += part(w, f"v{number}")
    terms = []
    for made in w.known[len(GIVEN) :]:
        term = f"{made.at({'t': 't', 's': 's'})} ** 2"
        term = f"sum({term})" if made.vector else term
        terms.append(f"sum[{', '.join(made.axes)}]({term})")
    free = w.value({}, False, 3)
    lines.append(f"loss = {' + '.join(terms)} + tanh({free})")
    outputs = ", ".join(k.at({"t": "t", "s": "s"}) for k in w.known[len(GIVEN) :])
    lines += [f"output {outputs}", "minimize loss"]
    return HEAD + "".join(f"    {line}\n" for line in lines)
