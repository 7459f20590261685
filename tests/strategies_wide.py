"""Random programs out of much of the language, as texts.

`wide` draws models of vectors, matrices, integers and truth values over the steps ``t``: chains in
both directions with lags, chains of parameters alone, integers that recur, families of parameters,
look-ups, picks by a number that is computed, choices by comparisons, reductions inside of
reductions, windows, running sums, slices and concatenations, small linear systems, equilibria and
flows, ties of maxima, constants, and outputs that are inputs. `strategies.programs` and
`strategies_axes.texts` draw deeper programs out of less. All are well-formed for every T from 1 on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

#: Kinds of value: a real number, vectors of N and of M components, an integer below K, a condition.
SCALAR, LONG, SHORT, INT, BOOL = "scalar", "long", "short", "int", "bool"
#: Lengths of vectors: below, at and above the widths of registers.
SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 12, 17)
SMOOTH = ("tanh", "sigmoid", "sin", "softplus", "cos", "erf", "atan")
ROUGH = ("relu", "abs", "elu", "floor", "sign", "silu", "gelu", "round")

Draw = Callable[[st.SearchStrategy[Any]], Any]


@dataclass(frozen=True)
class Known:
    """Something that may be read: ``lo`` and ``hi`` say where, behind ``1`` and ``T``."""

    name: str
    kind: str
    timed: bool = True

    def at(self, index: str) -> str:
        return f"{self.name}[{index}]" if self.timed else self.name


@dataclass
class Writer:
    """Draws statements out of what is finished."""

    draw: Draw
    n: int
    m: int
    k: int
    known: list[Known] = field(default_factory=list)
    count: int = 0

    def __post_init__(self) -> None:
        self.known += [
            Known("x", LONG), Known("y", SHORT), Known("u", SCALAR), Known("c", INT),
            Known("f", BOOL), Known("b", LONG, False), Known("d", SHORT, False),
            Known("a", SCALAR, False), Known("z", SHORT, False),
        ]  # fmt: skip

    def head(self) -> str:
        n, m, k = self.n, self.m, self.k
        return f"""\
model wide():
    axis   s, r: T
    axis   k: 0..2
    input  x[t]: real[{n}]
    input  y[t]: real[{m}]
    input  u[t]: real
    input  c[t]: int<{k}>
    input  f[t]: bool
    input  z: real[{m}]
    param  W: real[{n}, {n}]
    param  V: real[{m}, {n}]
    param  E: real[{k}, {n}]
    param  b: real[{n}]
    param  d: real[{m}]
    param  a: real
    param  U[k]: real[{n}, {n}]
    param  q[k]: real
    const  list = [{", ".join(str(0.3 * i - 0.5) for i in range(m))}]
"""

    def pick(self, *options: Any) -> Any:
        return self.draw(st.sampled_from(options))

    def fresh(self) -> str:
        self.count += 1
        return f"v{self.count}"

    def leaf(self, kind: str, now: str | None) -> str:
        """A read or a number; without a time at hand, of some fixed time."""
        fit = [k for k in self.known if k.kind == kind]
        made = [k for k in fit if k.name.startswith("v")]
        other = {
            SCALAR: ["0.7", "-0.3"] + ([f"0.1 * {now}", f"{now} / T"] if now else ["0.2 * T"]),
            LONG: [f"E[{self.pick(0, self.k - 1)}]", f"W[:, {self.pick(0, self.n - 1)}]"],
            SHORT: ["list", f"V[:, {self.pick(0, self.n - 1)}]", "list"],
            INT: [f"mod(c[T] + 1, {self.k})", f"mod(c[1], {self.k})"],
            BOOL: [f"{now} > 2", f"{now} == T", f"{now} != 1"] if now else ["T > 2"],
        }[kind]
        read = self.pick(*(made or fit), *fit, None)
        if read is None:
            return str(self.pick(*other))
        if now is None:
            return read.at(self.pick("1", "T"))
        return read.at(self.pick(now, now, now, "1", "T", f"T+1-{now}"))

    def value(self, kind: str, now: str | None, depth: int, own: tuple[str, ...] = ()) -> str:
        """An expression of a kind; ``own`` are reads of this kind that it may have besides."""
        if own and self.pick(True, False, False):
            return str(self.pick(*own))
        if depth <= 0:
            return self.leaf(kind, now)

        def again(other: str = kind) -> str:
            return self.value(other, now, depth - 1, own if other == kind else ())

        forms = {
            SCALAR: self.scalar, LONG: self.long, SHORT: self.short, INT: self.integer,
            BOOL: self.condition,
        }  # fmt: skip
        if kind in (SCALAR, LONG, SHORT):
            shared = self.pick(
                "leaf", "smooth", "rough", "add", "mul", "where", "tie", *["own"] * 6
            )
            if shared == "leaf":
                return self.leaf(kind, now)
            if shared == "smooth":
                return f"{self.pick(*SMOOTH)}({again()})"
            if shared == "rough":
                return f"{self.pick(*ROUGH)}({again()})"
            if shared == "add":
                return f"({again()} {self.pick('+', '-')} {again(self.pick(kind, SCALAR))})"
            if shared == "mul":
                return f"({again()}) * ({again(self.pick(kind, SCALAR))})"
            if shared == "where":
                test = self.pick(again(BOOL), f"({again()} > {again(SCALAR)})")
                return f"where({test}, {again()}, {again(self.pick(kind, SCALAR))} + 0 * {again()})"
            if shared == "tie":
                twice = again()
                other = self.pick(twice, "0", again())
                return f"{self.pick('max', 'min')}({twice}, {other})"
        return str(forms[kind](again, now, depth))

    def scalar(self, again: Callable[..., str], now: str | None, depth: int) -> str:
        vector = self.pick(LONG, SHORT)
        last = (self.n if vector == LONG else self.m) - 1
        way = self.pick("fold", "at", "dot", "pick", "best", "entropy", "linear", "time", "clip")
        if way == "fold":
            fold = self.pick("sum", "max", "min", "mean", "logsumexp", "norm", "var")
            inner = again(vector)
            # A norm has no slope at 0.
            return f"{fold}({inner})" if fold != "norm" else f"norm([{again(vector)}; [0.5]])"
        if way == "at":
            return f"({again(vector)})[{self.pick(0, last)}]"
        if way == "dot":
            return f"({again(vector)}) @ ({again(vector)})"
        if way == "pick":
            return f"(E @ ({again(LONG)}))[{again(INT)}]"
        if way == "best":
            return f"({again(vector)})[argmax({again(vector)})]"
        if way == "entropy":
            return f"cross_entropy(E @ ({again(LONG)}), {again(INT)})"
        if way == "linear":
            return f"logdet(eye({self.m}) + 0.1 * outer({again(SHORT)}, {again(SHORT)}))"
        if way == "clip":
            return f"clip({again(SCALAR)}, -0.5, 0.4)"
        return self.over_time(SCALAR, now, depth)

    def long(self, again: Callable[..., str], now: str | None, depth: int) -> str:
        n, cut = self.n, self.pick(*range(self.n))
        way = self.pick(
            "W", "V", "lookup", "soft", "turn", "family", "onehot", "axis", "time", "part", "build"
        )
        if way == "W":
            return f"{self.pick('W', chr(87) + chr(39))} @ ({again(LONG)})"
        if way == "V":
            return f"V' @ ({again(SHORT)})"
        if way == "lookup":
            return f"E[{again(INT)}]"
        if way == "soft":
            return f"{self.pick('softmax', 'log_softmax')}({again(LONG)})"
        if way == "turn" and cut:
            v = again(LONG)
            return f"[({v})[{cut}:{n}]; ({v})[0:{cut}]]"
        if way == "family":
            return f"sum[k]({self.pick('U[k]', 'q[k] * U[k]')} @ ({again(LONG)}))"
        if way == "onehot":
            return f"onehot(mod({again(INT)}, {n}), {n})"
        if way == "axis":
            fold = self.pick("sum", "max", "min", "mean", "logsumexp")
            return f"{fold}(outer({again(LONG)}, {again(LONG)}), axis = {self.pick(0, 1)})"
        if way == "part" and cut:
            return f"pad(({again(LONG)})[{cut}:{n}], {self.pick(f'{cut}, 0', f'0, {cut}')})"
        if way == "build":
            return f"[{', '.join([again(SCALAR), *('0.1' for _ in range(n - 1))])}]"
        return self.over_time(LONG, now, depth)

    def short(self, again: Callable[..., str], now: str | None, depth: int) -> str:
        way = self.pick("V", "solve", "soft", "time", "join", "maximum")
        if way == "V":
            return f"V @ ({again(LONG)})"
        if way == "solve":
            return f"solve(3 * eye({self.m}) + 0.1 * outer({again(SHORT)}, d), {again(SHORT)})"
        if way == "soft":
            return f"softmax({again(SHORT)})"
        if way == "join" and self.m > 1:
            return f"[[{again(SCALAR)}]; ({again(SHORT)})[1:{self.m}]]"
        if way == "maximum":
            return f"{self.pick('max', 'sum')}(V * row({again(LONG)}), axis = 1)"
        return self.over_time(SHORT, now, depth)

    def integer(self, again: Callable[..., str], now: str | None, depth: int) -> str:
        way = self.pick("argmax", "mod", "where", "leaf")
        if way == "argmax":
            return f"argmax(E @ ({again(LONG)}))"
        if way == "mod":
            return f"mod({again(INT)} + {again(INT)}, {self.k})"
        if way == "where":
            return f"where({again(BOOL)}, {again(INT)}, {again(INT)})"
        return self.leaf(INT, now)

    def condition(self, again: Callable[..., str], now: str | None, depth: int) -> str:
        way = self.pick("gt", "and", "or", "not", "int", "leaf")
        if way == "gt":
            return f"({again(SCALAR)} {self.pick('>', '<', '>=', '<=')} {again(SCALAR)})"
        if way in ("and", "or"):
            return f"({again(BOOL)} {way} {again(BOOL)})"
        if way == "not":
            return f"not ({again(BOOL)})"
        if way == "int":
            return f"({again(INT)} {self.pick('==', '!=', '<')} {again(INT)})"
        return self.leaf(BOOL, now)

    def over_time(self, kind: str, now: str | None, depth: int) -> str:
        """A reduction over the steps, or over some of them, or a read of a step beside this one."""
        if now is None or self.pick(True, True, False):
            index = "r" if now == "s" else "s"
            if now == "r":
                return self.leaf(kind, now)
            guards = [index]
            if now is not None:
                guards += [f"{index} <= {now}", f"{now}-2 <= {index} <= {now}", f"{index} >= {now}"]
            guard = self.pick(*guards)
            fold = self.pick(
                "sum", "mean", "max", "min", *(["logsumexp"] if kind == SCALAR else [])
            )
            weight = self.pick("", f"{index} * ", f"({index} - T) * ", "0.5 * ")
            return f"{fold}[{guard}]({weight}({self.value(kind, index, depth - 1)}))"
        read = self.pick(*[k for k in self.known if k.kind == kind and k.timed])
        step = self.pick(1, 2, 3)
        if self.pick(True, False):
            return f"({read.at(f'{now}-{step}')} if {now} > {step} else {self.leaf(kind, now)})"
        return f"({read.at(f'{now}+{step}')} if {now} <= T-{step} else {self.leaf(kind, now)})"


def bounded(w: Writer, kind: str, rhs: str) -> str:
    """Something that stays in range however it recurs."""
    zero = {SCALAR: "0", LONG: "0 * b", SHORT: "0 * d"}[kind]
    return f"tanh({rhs}) + {zero}"


def chain(w: Writer) -> list[str]:
    """A recurrence with a lag, forward or backward."""
    name, kind, lag = w.fresh(), w.pick(SCALAR, LONG, LONG, SHORT), w.pick(1, 1, 2, 3)
    ahead = w.pick(False, False, True)
    own = tuple(f"{name}[t{'+' if ahead else '-'}{k}]" for k in {1, lag})
    start = {SCALAR: ("0", "a"), LONG: ("0 * b", "b", "E[0]"), SHORT: ("0 * d", "d", "z")}[kind]
    if ahead:
        lines = [f"{name}[T+{k + 1}] = {w.pick(*start)}" for k in range(lag)]
    else:
        lines = [f"{name}[{-k}] = {w.pick(*start)}" for k in range(lag)]
    must = {SCALAR: "0.6 * {}", LONG: "W @ {}", SHORT: "0.5 * {}"}[kind].format(w.pick(*own))
    rhs = bounded(w, kind, f"{must} + {w.value(kind, 't', 3, own)}")
    w.known.append(Known(name, kind))
    return [*lines, f"{name}[t] = {rhs}"]


def counter(w: Writer) -> list[str]:
    """An integer that recurs."""
    name = w.fresh()
    own = f"{name}[t-1]"
    rhs = w.pick(
        f"mod({own} + {w.value(INT, 't', 2)}, {w.k})",
        f"where({w.value(BOOL, 't', 2)}, {own}, {w.value(INT, 't', 2)})",
        f"argmax(E @ ({w.value(LONG, 't', 2)}) + E[mod({own}, {w.k})][0])",
    )
    w.known.append(Known(name, INT))
    return [f"{name}[0] = 0", f"{name}[t] = {rhs}"]


def plain(w: Writer) -> list[str]:
    """What does not recur, at every step or once."""
    name, kind, timed = w.fresh(), w.pick(SCALAR, LONG, SHORT), w.pick(True, True, False)
    rhs = bounded(w, kind, w.value(kind, "t" if timed else None, 3))
    w.known.append(Known(name, kind, timed))
    return [f"{name}[t] = {rhs}" if timed else f"{name} = {rhs}"]


def equilibrium(w: Writer) -> list[str]:
    """A fixed point at every step, which may begin at the one before."""
    name, kind = w.fresh(), w.pick(SCALAR, LONG)
    rhs = bounded(w, kind, w.value(kind, "t", 2))
    way = w.pick("picard", "anderson", "newton")
    w.known.append(Known(name, kind))
    return [
        f"solve {name}[t] by {way}(tol = 1e-13, max_steps = 300):",
        f"    {name}[t] = 0.4 * sin({name}[t]) + {rhs}",
    ]


def flow(w: Writer) -> list[str]:
    """A differential equation over each step."""
    name, kind = w.fresh(), w.pick(SCALAR, LONG)
    way = w.pick("euler", "midpoint", "heun", "rk4")
    drive = bounded(w, kind, w.value(kind, "t", 2))
    w.known.append(Known(name, kind))
    return [
        f"{name}[0] = {'a' if kind == SCALAR else 'b'}",
        f"flow {name}[t] from {name}[t-1] by {way}(0.1 + 0.1 * abs(tanh(u[t])), substeps = 2):",
        f"    der({name}) = {drive} - {name}",
    ]


def shared(w: Writer) -> list[str]:
    """A vector and a matrix that recur by parameters alone: the same for all sequences."""
    state, matrix, read = w.fresh(), w.fresh(), w.fresh()
    n, lag = w.n, w.pick(1, 1, 2)
    old = f"{state}[t-{lag}]"
    moved = w.pick(f"W @ {old}", f"U[1] @ {old} * a", f"b * {old}", f"q[0] * softmax({old})")
    more = w.pick("b", "E[0]", f"where(t > 2, b, {old})", "0.1 * t * b", f"sum[k](U[k] @ {old})")
    first = w.pick(f"eye({n})", "outer(b, b)", "W")
    # Unrolled, products of large matrices keep the compiler busy for minutes.
    product = f"W @ {matrix}[t-1] @ W'" if n < 9 else f"0.5 * {matrix}[t-1]"
    spread = w.pick(product, f"{matrix}[t-1] + outer(b, {state}[t])")
    whose = w.pick("x[t]", "b", f"{state}[t]", f"({w.value(LONG, 't', 1)})")
    applied = f"{matrix}[t] @ {whose}"
    solved = f"solve({matrix}[t] + 3 * eye({n}), {whose})" if n < 6 else applied
    w.known += [Known(state, LONG), Known(read, LONG)]
    return [
        *(f"{state}[{-k}] = {w.pick('b', 'E[1]', '0 * b')}" for k in range(lag)),
        f"{state}[t] = tanh({moved} + {more})",
        f"{matrix}[0] = {first}",
        f"{matrix}[t] = 0.5 * tanh({spread}) + eye({n})",
        f"{read}[t] = {w.pick(applied, solved)}",
    ]


@st.composite
def wide(draw: Draw) -> str:
    """A random model with one loss, as text."""
    w = Writer(draw, draw(st.sampled_from(SIZES)), draw(st.sampled_from((1, 2, 3, 5))), 3)
    parts = (chain, chain, chain, chain, shared, counter, plain, plain, equilibrium, flow)
    lines: list[str] = []
    for _ in range(draw(st.integers(1, 3))):
        lines += w.pick(*parts)(w)
    made = [k for k in w.known if k.name.startswith("v")]
    terms = [f"tanh({w.value(SCALAR, None, 3)})", "sum[t](u[t]) * a"]
    for v in made:
        square = "{}" if v.kind == INT else "({}) ** 2" if v.kind == SCALAR else "sum(({}) ** 2)"
        if not v.timed:
            terms.append(square.format(v.name))
        elif v.kind != INT:
            terms.append(f"{w.pick('mean', 'sum', 'max')}[t]({square.format(v.at('t'))})")
    lines.append(f"loss = {' + '.join(terms)}")
    outputs = ", ".join([*(v.at("t") for v in made), w.pick("x[t]", "c[t]", "b", "u[t]")])
    lines += [f"output {outputs}", "minimize loss"]
    return w.head() + "".join(f"    {line}\n" for line in lines)
