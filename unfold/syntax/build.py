"""From Lark's tree to ours: one method a rule of the grammar, and what the grammar cannot say.

The few rules of syntax that an LALR grammar would say badly are checked here: what can stand left
of `=`, that a called thing has a name, that keywords come last, where `der` belongs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, NoReturn

from unfold.syntax import tree as t
from unfold.syntax.diagnostics import Diagnostic, error
from unfold.syntax.lalr import Token, Tree
from unfold.syntax.lines import STARTERS, too_deep
from unfold.syntax.span import Source, Span

#: Levels of an expression; what is deeper would exhaust the stacks of later stages.
DEEPEST = 200
#: The name that stands for one that could not be read; no text can contain it.
LOST = "?"


class ProblemError(Exception):
    """A statement of the right form that still says nothing."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        self.diagnostic = diagnostic


class Builder:
    """Builds the nodes of one source; `diagnostics` and `broken` collect what it could not."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.diagnostics: list[Diagnostic] = []
        self.broken: list[t.Broken] = []
        self.depth = 0

    # What the methods are made of ---------------------------------------------------------------

    def build(self, item: Any) -> Any:
        """A token as it is, a tree as the node (or the tuple of nodes) of its rule."""
        if isinstance(item, Token):
            return item
        self.depth += 1
        if self.depth > DEEPEST:
            raise ProblemError(too_deep(self._span([item])))
        method: Callable[[list[Any]], Any] = getattr(self, item.data)
        result = method(item.children)
        self.depth -= 1
        return result

    def _all(self, children: Iterable[Any]) -> tuple[Any, ...]:
        """The nodes of all children that are not punctuation."""
        return tuple(self.build(child) for child in children if isinstance(child, Tree))

    def _span(self, children: Sequence[Any]) -> Span:
        return Span(self.source, _edge(children[0], 0), _edge(children[-1], -1))

    def _fail(self, code: str, message: str, *labels: tuple[Span, str], help: str = "") -> NoReturn:  # noqa: A002
        raise ProblemError(error(code, message, *labels, helps=[help] if help else []))

    # Files --------------------------------------------------------------------------------------

    def file(self, children: list[Any]) -> t.File:
        uses, models = [], []
        for entry in _flattened(children[0]):
            node = self._guarded(entry) if entry.data == "use" else self.build(entry)
            if isinstance(node, t.Use):
                uses.append(node)
            elif isinstance(node, t.Model) and node.name.text != LOST:
                models.append(node)
        return t.File(tuple(uses), tuple(models), span=Span(self.source, 0, len(self.source.text)))

    def _guarded(self, item: Tree) -> Any:
        """The node of a statement, or None, when its trouble and its names have been recorded."""
        depth = self.depth
        try:
            return self.build(item)
        except ProblemError as problem:
            self.depth = depth
            self._lose(item, problem.diagnostic)
            return None

    def _lose(self, item: Tree, diagnostic: Diagnostic) -> None:
        tokens = item.scan_values(lambda x: isinstance(x, Token) and x.type[0] != "_")
        self.broken.append(broken(self.source, list(tokens)))
        self.diagnostics.append(diagnostic)

    def use(self, children: list[Any]) -> t.Use:
        library, names = self._all(children)
        return t.Use(library, names, span=self._span(children))

    def library(self, children: list[Any]) -> t.Name | t.Path:
        (token,) = children
        span = self._span(children)
        if token.endswith(".rec"):
            help_ = f'`from "{token}" use …`'
            self._fail("E0123", "the name of a file is quoted", (span, "a file"), help=help_)
        return t.Path(token[1:-1], span=span) if token[0] == '"' else t.Name(str(token), span=span)

    def model(self, children: list[Any]) -> t.Model:
        head = [child for child in children if not _is(child, "body")]
        name, *formals = self._all(head)
        body = self._body(children[-1], "model")
        return t.Model(name, formals[0] if formals else (), body, span=self._span(head))

    def formals(self, children: list[Any]) -> tuple[t.Formal, ...]:
        return self._all(children)

    def formal(self, children: list[Any]) -> t.Formal:
        name, *default = self._all(children)
        return t.Formal(name, default[0] if default else None, span=self._span(children))

    def _body(self, body: Tree, owner: str) -> tuple[Any, ...]:
        nodes = []
        statements = next(child for child in body.children if _is(child, "statements"))
        for statement in _flattened(statements):
            node = self._guarded(statement)
            if node is None or _lost(node):
                continue
            trouble = _misplaced(node, owner)
            if trouble is None:
                nodes.append(node)
            else:
                self._lose(statement, trouble)
        return tuple(nodes)

    # Statements ---------------------------------------------------------------------------------

    def statement(self, children: list[Any]) -> Any:
        return self.build(children[0])

    def axis(self, children: list[Any]) -> t.Axis:
        return t.Axis(*self._all(children), span=self._span(children))

    def input(self, children: list[Any]) -> t.Input:
        return t.Input(*self._all(children), span=self._span(children))

    def param(self, children: list[Any]) -> t.Param:
        names, kind, *initial = self._all(children)
        return t.Param(names, kind, initial[0] if initial else None, span=self._span(children))

    def random(self, children: list[Any]) -> t.Random:
        names, *kind, distribution = self._all(children)
        span = self._span(children)
        return t.Random(names, kind[0] if kind else None, distribution, span=span)

    def const(self, children: list[Any]) -> t.Const:
        return t.Const(*self._all(children), span=self._span(children))

    def let(self, children: list[Any]) -> t.Let:
        return t.Let(*self._all(children), span=self._span(children))

    def equation(self, children: list[Any]) -> t.Equation:
        return t.Equation(*self._all(children), span=self._span(children))

    def derivative(self, children: list[Any]) -> t.Derivative:
        return t.Derivative(*self._all(children), span=self._span(children))

    def output(self, children: list[Any]) -> t.Output:
        return t.Output(*self._all(children), span=self._span(children))

    def minimize(self, children: list[Any]) -> t.Minimize:
        return t.Minimize(*self._all(children), span=self._span(children))

    def solve(self, children: list[Any]) -> t.Solve:
        head = [child for child in children if not _is(child, "body")]
        targets, *start, method = self._all(head)
        first = start[0] if start else ()
        self._paired(targets, first)
        body = self._body(children[-1], "solve")
        return t.Solve(targets, first, method, body, span=self._span(head))

    def flow(self, children: list[Any]) -> t.Flow:
        head = [child for child in children if not _is(child, "body")]
        targets, start, method = self._all(head)
        self._paired(targets, start)
        body = self._body(children[-1], "flow")
        return t.Flow(targets, start, method, body, span=self._span(head))

    def _paired(self, targets: tuple[t.Node, ...], start: tuple[t.Node, ...]) -> None:
        if start and len(start) != len(targets):
            self._fail(
                "E0123",
                "each state has one start",
                (targets[0].span.to(targets[-1].span), _count(len(targets), "state")),
                (start[0].span.to(start[-1].span), _count(len(start), "start")),
            )

    # Parts of statements ------------------------------------------------------------------------

    def name(self, children: list[Any]) -> t.Name:
        return t.Name(str(children[0]), span=self._span(children))

    def names(self, children: list[Any]) -> tuple[t.Name, ...]:
        return self._all(children)

    declarations = targets = clauses = expressions = items = arguments = names

    def declared(self, children: list[Any]) -> t.Declared:
        name, *indices = self._all(children)
        return t.Declared(name, indices[0] if indices else (), span=self._span(children))

    def type(self, children: list[Any]) -> t.Type:
        name = self.build(children[0])
        kind = name.text
        if kind not in ("real", "bool", "int"):
            near = {"float": "real", "double": "real", "boolean": "bool", "integer": "int"}
            close = near.get(kind) or next(iter(get_close_matches(kind, near.values())), "")
            size = f"a vector of that size is `real[{kind}]`" if kind[0].isupper() else ""
            self._fail(
                "E0115",
                f"there is no type `{kind}`",
                (name.span, "expected `real`, `bool` or `int<K>`"),
                help=f"did you mean `{close}`?" if close else size,
            )
        bound = self.build(children[2]) if children[1:] and children[1] == "<" else None
        if bound is not None and kind != "int":
            self._fail(
                "E0115",
                f"`{kind}` has no bound",
                (bound.span, "only `int<K>` has one"),
                help=f"components go into square brackets: `{kind}[{bound.span.text}]`",
            )
        shape = self.build(children[-2]) if children[-1:] and children[-1] == "]" else ()
        return t.Type(kind, bound, shape, span=self._span(children))

    def draw(self, children: list[Any]) -> t.Draw:
        return t.Draw(*self._all(children), span=self._span(children))

    def distribution(self, children: list[Any]) -> t.Call:
        function, *arguments = self._all(children)
        return self._call(function, arguments[0] if arguments else (), self._span(children))

    method = distribution

    def target(self, children: list[Any]) -> t.Name | t.Subscript:
        base, *items = self._all(children)
        span = self._span(children)
        if not items:
            assert isinstance(base, t.Name)
            return base
        wrong = next((x for x in items[0] if isinstance(x, (t.Slice, t.Member))), None)
        if isinstance(base, t.Subscript) or wrong is not None:
            whole = base.base if isinstance(base, t.Subscript) else base
            self._fail(
                "E0113",
                "an equation defines whole elements, not some of their components",
                (wrong.span if wrong is not None else span, "part of an element"),
                help=f"put `{whole.span.text}[…]` together from its parts: `[a; b]` or `[a, b]`",
            )
        return t.Subscript(base, items[0], span=span)

    def member(self, children: list[Any]) -> t.Member:
        return t.Member(*self._all(children), span=self._span(children))

    def range(self, children: list[Any]) -> t.Range:
        return t.Range(*self._all(children), span=self._span(children))

    # Expressions --------------------------------------------------------------------------------

    def conditional(self, children: list[Any]) -> t.Conditional:
        return t.Conditional(*self._all(children), span=self._span(children))

    def logical_or(self, children: list[Any]) -> t.Logical:
        return t.Logical("or", self._all(children), span=self._span(children))

    def logical_and(self, children: list[Any]) -> t.Logical:
        return t.Logical("and", self._all(children), span=self._span(children))

    def comparison(self, children: list[Any]) -> t.Comparison:
        operators: tuple[Any, ...] = tuple(str(child.children[0]) for child in children[1::2])
        operands = tuple(self.build(child) for child in children[::2])
        return t.Comparison(operators, operands, span=self._span(children))

    def unary(self, children: list[Any]) -> t.Unary:
        operator: Any = str(children[0])
        return t.Unary(operator, self.build(children[1]), span=self._span(children))

    def binary(self, children: list[Any]) -> t.Binary:
        operator: Any = str(children[1])
        left, right = self._all(children)
        return t.Binary(operator, left, right, span=self._span(children))

    def reverse(self, children: list[Any]) -> t.Reverse:
        call = self.build(children[1])
        if not isinstance(call, t.Call):
            self._fail(
                "E0120",
                "only a model can be reversed",
                (call.span, "not a call of a model"),
                help="`reverse gru(x, H)` runs the model `gru` from T to 1",
            )
        return t.Reverse(call, span=self._span(children))

    def transpose(self, children: list[Any]) -> t.Transpose:
        return t.Transpose(*self._all(children), span=self._span(children))

    def subscript(self, children: list[Any]) -> t.Subscript:
        base, items = self._all(children)
        for item in items:
            if isinstance(item, t.Member):
                self._fail(
                    "E0102",
                    "`in` does not belong between these brackets",
                    (item.span, "a range of an index"),
                    help="`sum[s in 1..t](…)` reduces over a range; a slice is written `v[0:H]`",
                )
        return t.Subscript(base, items, span=self._span(children))

    def slice(self, children: list[Any]) -> t.Slice:
        colon = next(i for i, child in enumerate(children) if isinstance(child, Token))
        start = self.build(children[0]) if colon == 1 else None
        stop = self.build(children[-1]) if colon < len(children) - 1 else None
        return t.Slice(start, stop, span=self._span(children))

    def call(self, children: list[Any]) -> t.Call | t.Reduction:
        callee = children[0]
        arguments = self.build(children[2]) if _is(children[2], "arguments") else ()
        span = self._span(children)
        if _is(callee, "name"):
            return self._call(self.build(callee), arguments, span)
        if _is(callee, "subscript") and _is(callee.children[0], "name"):
            function, binders = self._all(callee.children)
            for binder in binders:
                if isinstance(binder, t.Slice):
                    self._fail(
                        "E0102",
                        "a reduction runs over an index, not over a slice",
                        (binder.span, "a slice"),
                        help=f"name the index: `{function.text}[s](…)` or "
                        f"`{function.text}[s <= t](…)`",
                    )
            call = self._call(function, arguments, span)
            return t.Reduction(function, binders, call.arguments, call.keywords, span=span)
        return self._fail(
            "E0120",
            "this cannot be called",
            (self._span([callee]), "neither a function nor a model"),
            help="a product is written with `*` (element-wise) or `@` (matrices)",
        )

    def _call(self, function: t.Name, arguments: tuple[t.Node, ...], span: Span) -> t.Call:
        keywords = tuple(x for x in arguments if isinstance(x, t.Keyword))
        positional: Any = tuple(x for x in arguments if not isinstance(x, t.Keyword))
        if arguments[len(positional) :] != keywords:
            late = next(x for x in positional if x.span.start > keywords[0].span.start)
            self._fail(
                "E0120",
                "an argument without a name follows one with a name",
                (late.span, "this has no name"),
                (keywords[0].span, "this has one"),
                help=f"if that was meant as a comparison, write `==`: "
                f"`{keywords[0].name.text} == {keywords[0].value.span.text}`",
            )
        seen: dict[str, t.Keyword] = {}
        for keyword in keywords:
            first = seen.setdefault(keyword.name.text, keyword)
            if first is not keyword:
                self._fail(
                    "E0120",
                    f"the argument `{keyword.name.text}` is given twice",
                    (keyword.span, "again"),
                    (first.span, "first here"),
                )
        return t.Call(function, positional, keywords, span=span)

    def keyword(self, children: list[Any]) -> t.Keyword:
        return t.Keyword(*self._all(children), span=self._span(children))

    def number(self, children: list[Any]) -> t.Number:
        text, span = str(children[0]), self._span(children)
        whole = text.isdigit()
        value = float(text) if len(text) < 400 or not whole else float("inf")
        if value == float("inf") or (whole and value > 2**53):
            self._fail(
                "E0116",
                "this number is too large",
                (span, "whole numbers are below 2**53" if whole else "reals end at 1.8e308"),
                help="write it as a real number, with a point or an exponent; infinity is `inf`",
            )
        return t.Number(int(text) if whole else value, span=span)

    def group(self, children: list[Any]) -> t.Node:
        node: t.Node = self.build(children[1])
        return replace(node, span=self._span(children))

    def stack(self, children: list[Any]) -> t.Stack:
        return t.Stack(self.build(children[1]), span=self._span(children))

    def concat(self, children: list[Any]) -> t.Concat:
        return t.Concat(self._all(children), span=self._span(children))


def broken(source: Source, tokens: Sequence[Token]) -> t.Broken:
    """What can be said of a statement that could not be read: see `tree.Broken`."""
    names = [x for x in tokens if x.type == "NAME" and x != LOST]
    mentions = frozenset(str(x) for x in names)
    kind = tokens[0].type
    defines: set[str] = set()
    depth = 0
    for token in tokens:
        depth += (token in ("(", "[")) - (token in (")", "]"))
        if depth == 0 and (token in ("=", ":", "~") or token.type in ("BY", "FROM")):
            break
        if token in names and (depth == 0 or kind == "DER"):
            defines.add(str(token))
    else:
        # No sign says where the defined names end: any of them may be one.
        if kind not in STARTERS:
            defines = set(mentions)
        elif kind in ("OUTPUT", "MINIMIZE"):
            defines = set()
    if kind in ("MODEL", "FROM"):
        defines = set(mentions)
    elif kind in ("FOR", "IF", "ELSE"):
        defines = set()
    span = Span(source, tokens[0].start_pos or 0, tokens[-1].end_pos or 0)
    return t.Broken(frozenset(defines), mentions, str(tokens[0]), span=span)


def _misplaced(node: t.Node, owner: str) -> Diagnostic | None:
    """What is wrong with a statement of this kind in the body of a model, solve or flow."""
    if isinstance(node, t.Derivative) and owner != "flow":
        state = node.state.text
        return error(
            "E0121",
            "`der(…)` belongs in the body of a `flow`",
            (node.span, "not in a flow"),
            helps=[f"flow {state}[t] from {state}[t-1] by rk4(dt):\n    {node.span.text}"],
        )
    inner = (t.Equation, t.Let, t.Derivative)
    if owner != "model" and not isinstance(node, inner):
        return error(
            "E0123",
            f"this does not belong in the body of a `{owner}`",
            (node.span, "not an equation"),
            helps=["declare it in the model's own body"],
        )
    return None


def _lost(node: Any) -> bool:
    """Whether this is a block whose head was only made up, so that its body could be read."""
    return (
        isinstance(node, (t.Solve, t.Flow))
        and isinstance(node.targets[0], t.Name)
        and node.targets[0].text == LOST
    )


def _flattened(entries: Tree) -> list[Tree]:
    """The items of a left-recursive list, in order, without recursion."""
    found = []
    while entries.children:
        entries, item = entries.children
        found.append(item)
    return found[::-1]


def _is(item: Any, rule: str) -> bool:
    return isinstance(item, Tree) and item.data == rule


def _edge(item: Any, side: int) -> int:
    """The first (side 0) or last (side -1) offset of a token or tree."""
    while isinstance(item, Tree):
        item = item.children[side]
    position = item.start_pos if side == 0 else item.end_pos
    return int(position or 0)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
