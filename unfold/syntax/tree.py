"""The tree: what a `.rec` text says, before anything is known about what its names mean.

One frozen dataclass a construct, named as its rule in the grammar. The tree decides nothing:
whether `h[t-1]` picks a position on an axis or `v[0]` a component, whether a call is a function or
a sub-model, whether a name is known at all, are the questions of `unfold.check`.

Every node has a `span`, which takes no part in comparison: two trees are equal when they say the
same, wherever they stand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Literal, TypeAlias

from unfold.syntax.span import NOWHERE, Span


@dataclass(frozen=True)
class Node:
    """What all nodes share: the place in the text they came from."""

    span: Span = field(default=NOWHERE, compare=False, repr=False, kw_only=True)


# Expressions ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Name(Node):
    """`W`, `h_bar`, `enc.W`, `layer.1.h`: a name, its dots included; `inf` is one too."""

    text: str


@dataclass(frozen=True)
class Number(Node):
    """`3` (an int), `0.1`, `1e-10` (floats)."""

    value: int | float


@dataclass(frozen=True)
class Subscript(Node):
    """`h[t-1]`, `v[0:H]`, `B[:, k]`, `a[t, s]`, `E[x[t]]`: positions on axes, components, or both.

    A variable on n axes takes its first n items, over all brackets that follow it, as positions;
    the items after those are components, each pair of brackets of what stands before it.
    """

    base: Expr
    items: tuple[Expr | Slice, ...]


@dataclass(frozen=True)
class Part(Node):
    """`layer[l].h`: a variable of one layer of a stack. (`enc.h` is a `Name`.)"""

    base: Expr
    part: str


@dataclass(frozen=True)
class Slice(Node):
    """`0:H`, `:`, `2:` as an item of a `Subscript`; the end is excluded, as in Python."""

    start: Expr | None
    stop: Expr | None


@dataclass(frozen=True)
class Call(Node):
    """`tanh(a)`, `sum(M, axis = 0)`, `detach(h[t-1])`, `gru(x, H)`: a function or a model.

    The distribution after `~` and the method after `by` are calls too, perhaps without arguments.
    """

    function: Name
    arguments: tuple[Expr, ...]
    keywords: tuple[Keyword, ...] = ()


@dataclass(frozen=True)
class Keyword(Node):
    """`axis = 0` among the arguments of a call."""

    name: Name
    value: Expr


@dataclass(frozen=True)
class Reduction(Node):
    """`sum[s](e)`, `softmax[s <= t](e)`, `sum[1 <= s <= t, u](e)`, `max[s in 1..t](e)`.

    Each binder is the name of an index, a condition, or a `Member`.
    """

    function: Name
    binders: tuple[Expr | Member, ...]
    arguments: tuple[Expr, ...]
    keywords: tuple[Keyword, ...] = ()


@dataclass(frozen=True)
class Reverse(Node):
    """`reverse gru(x, H)`: a sub-model that runs from `T` to `1`."""

    call: Call


@dataclass(frozen=True)
class Transpose(Node):
    """`W'`."""

    operand: Expr


@dataclass(frozen=True)
class Unary(Node):
    """`-a`, `+a`, `not a`."""

    operator: Literal["-", "+", "not"]
    operand: Expr


@dataclass(frozen=True)
class Binary(Node):
    """`a + b` and its like. `a ** b ** c` is `a ** (b ** c)`, and `-a ** b` is `-(a ** b)`."""

    operator: Literal["+", "-", "*", "/", "//", "@", "**"]
    left: Expr
    right: Expr


@dataclass(frozen=True)
class Comparison(Node):
    """`a < b`, and the chain `a <= b < c`: one more operand than operators."""

    operators: tuple[Literal["<", "<=", ">", ">=", "==", "!="], ...]
    operands: tuple[Expr, ...]


@dataclass(frozen=True)
class Logical(Node):
    """`a and b and c`, `a or b`: two operands or more."""

    operator: Literal["and", "or"]
    operands: tuple[Expr, ...]


@dataclass(frozen=True)
class Conditional(Node):
    """`value if condition else otherwise`."""

    value: Expr
    condition: Expr
    otherwise: Expr


@dataclass(frozen=True)
class Stack(Node):
    """`[a, b, c]`: a vector of scalars (a matrix of vectors, and so on)."""

    items: tuple[Expr, ...]


@dataclass(frozen=True)
class Concat(Node):
    """`[a; b]`: vectors end to end. Two items or more."""

    items: tuple[Expr, ...]


Expr: TypeAlias = (
    Name
    | Number
    | Subscript
    | Part
    | Call
    | Reduction
    | Reverse
    | Transpose
    | Unary
    | Binary
    | Comparison
    | Logical
    | Conditional
    | Stack
    | Concat
)


# Ranges, types and what declarations are made of ---------------------------------------------


@dataclass(frozen=True)
class Range(Node):
    """`1..3`, `-3..0`, `0..T-1`: both ends belong to it."""

    start: Expr
    stop: Expr


@dataclass(frozen=True)
class Member(Node):
    """`l in 1..3`, after `for` or between the brackets of a reduction."""

    index: Name
    range: Range


Clause: TypeAlias = Expr | Member


@dataclass(frozen=True)
class Type(Node):
    """`real`, `real[H, D]`, `bool`, `int<K>`, `int<K>[N]`; `int` alone has no bound."""

    kind: Literal["real", "bool", "int"]
    bound: Expr | None
    shape: tuple[Expr, ...]


@dataclass(frozen=True)
class Declared(Node):
    """`x[t]` in `input x[t]: real[D]`: a name and the indices it lives on."""

    name: Name
    indices: tuple[Name, ...]


@dataclass(frozen=True)
class Draw(Node):
    """`~ glorot`, `~ normal(0.1)`: an initialiser that draws."""

    distribution: Call


# Statements ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Axis(Node):
    """`axis s: S` (the positions `1..S`), `axis s, t: T`, `axis k: -3..0`."""

    indices: tuple[Name, ...]
    extent: Expr | Range


@dataclass(frozen=True)
class Input(Node):
    """`input x[t], y[t]: real[D]`. With ``noise`` it is not data but drawn: `normal`, `uniform`."""

    names: tuple[Declared, ...]
    type: Type
    noise: str = ""


@dataclass(frozen=True)
class Param(Node):
    """`param Wz, Wr: real[H, D] ~ glorot`, `param b: real[H] = 0`, `param W: real[H]`."""

    names: tuple[Declared, ...]
    type: Type
    initial: Draw | Expr | None


@dataclass(frozen=True)
class Random(Node):
    """`random e[t]: real[H] ~ normal`, `random y[t] ~ categorical(p[t])` (type inferred)."""

    names: tuple[Declared, ...]
    type: Type | None
    distribution: Call


@dataclass(frozen=True)
class Const(Node):
    """`const period = [1, 1, 2, 4]`."""

    name: Name
    value: Expr


@dataclass(frozen=True)
class Let(Node):
    """`let a = W @ x0`, `let a[t] = W @ x[t]`: a shorthand that is inlined."""

    name: Declared
    value: Expr


@dataclass(frozen=True)
class Equation(Node):
    """`h[t] = e`, `h[0] = e`, `a[t,s] = e for s <= t, t >= 2`, `i[t], f[t] = split(a[t], 2)`,
    `enc = gru(x, H)`, `layer[l] = gru(layer[l-1], H) for l in 1..3`.

    Each target is a `Name`, or a `Subscript` of one whose items are expressions (never slices).
    """

    targets: tuple[Name | Subscript, ...]
    value: Expr
    clauses: tuple[Clause, ...] = ()


@dataclass(frozen=True)
class Solve(Node):
    """`solve z[t] by anderson(tol = 1e-10):` and the equations of its unknowns.

    `solve z[t] from h[t-1] by newton:` also says where the search begins; `start` is then as long
    as `targets`, and empty otherwise.
    """

    targets: tuple[Name | Subscript, ...]
    start: tuple[Expr, ...]
    method: Call
    body: tuple[Equation | Let, ...]


@dataclass(frozen=True)
class Flow(Node):
    """`flow h[t] from h[t-1] by rk4(dt[t], substeps = 3):` and `der(h) = …` for every state.

    `start` is as long as `targets`.
    """

    targets: tuple[Name | Subscript, ...]
    start: tuple[Expr, ...]
    method: Call
    body: tuple[Derivative | Equation | Let, ...]


@dataclass(frozen=True)
class Derivative(Node):
    """`der(h) = e` in the body of a `flow`."""

    state: Name
    value: Expr


@dataclass(frozen=True)
class Output(Node):
    """`output h[t], logits`; `output h[t in 0..T]` gives another range of an index, and
    `output gradient(W_bar, W)` says that a result is the gradient in a variable."""

    items: tuple[Expr, ...]


@dataclass(frozen=True)
class Minimize(Node):
    """`minimize loss`; a model may have several."""

    value: Expr


Statement: TypeAlias = (
    Axis | Input | Param | Random | Const | Let | Equation | Solve | Flow | Output | Minimize
)


# Files ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Formal(Node):
    """`H` or `alpha = 0.1` in the head of a model."""

    name: Name
    default: Expr | None


@dataclass(frozen=True)
class Broken(Node):
    """A piece of text with a syntax error, of which the tree has no other node.

    `defines` are the names it may have declared or given an equation, `mentions` every name in it
    (those of `defines` too), `word` the first word of it, such as `output`. A checker that goes on
    takes a name of `defines` as known but of unknown type, counts those of `mentions` as used, and
    says nothing more about either: the reader has one mistake to mend, not its echoes.
    """

    defines: frozenset[str]
    mentions: frozenset[str]
    word: str = ""


@dataclass(frozen=True)
class Model(Node):
    """`model gru(D, H, alpha = 0.1):` and its statements. `broken` is empty unless recovered."""

    name: Name
    formals: tuple[Formal, ...]
    body: tuple[Statement, ...]
    broken: tuple[Broken, ...] = ()

    def broken_names(self) -> frozenset[str]:
        """The names whose meaning was lost with a broken line."""
        return frozenset().union(*(each.defines for each in self.broken))

    def broken_mentions(self) -> frozenset[str]:
        """The names that occur in broken lines."""
        return frozenset().union(*(each.mentions for each in self.broken))


@dataclass(frozen=True)
class Use(Node):
    """`from cells use lstm, gru` (a library) or `from "other.rec" use foo` (a file beside this)."""

    library: Name | Path
    names: tuple[Name, ...]


@dataclass(frozen=True)
class Path(Node):
    """`"other.rec"`: the text between the quotes."""

    text: str


@dataclass(frozen=True)
class File(Node):
    """A whole text: what it uses, and its models in order; the last one is the main one."""

    uses: tuple[Use, ...]
    models: tuple[Model, ...]
    broken: tuple[Broken, ...] = ()


def children(node: Node) -> Iterator[Node]:
    """The nodes directly below `node`, in the order of the text."""
    for each in fields(node):
        value = getattr(node, each.name)
        if isinstance(value, Node):
            yield value
        elif isinstance(value, tuple):
            yield from (item for item in value if isinstance(item, Node))


def walk(node: Node) -> Iterator[Node]:
    """`node` and every node below it, parents first."""
    stack = [node]
    while stack:
        top = stack.pop()
        yield top
        stack.extend(reversed(list(children(top))))
