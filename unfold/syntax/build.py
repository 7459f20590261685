"""From Lark's tree to ours: files and statements, one method a rule of the grammar.

The few rules of syntax that an LALR grammar would say badly are checked here and in expressions.py:
what can stand left of `=`, that a called thing has a name, that keywords come last, where `der`
belongs. A statement that breaks one is reported and left out.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from unfold.syntax import tree as t
from unfold.syntax.diagnostics import Diagnostic, error
from unfold.syntax.expressions import ExpressionBuilder, ProblemError, is_rule
from unfold.syntax.lalr import Token, Tree
from unfold.syntax.lost import LOST, broken
from unfold.syntax.span import Source, Span


class Builder(ExpressionBuilder):
    """Builds the tree of one source; `diagnostics` and `broken` collect what it could not."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.diagnostics: list[Diagnostic] = []
        self.broken: list[t.Broken] = []

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
        head = [child for child in children if not is_rule(child, "body")]
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
        statements = next(child for child in body.children if is_rule(child, "statements"))
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
        self.ranges = True
        try:
            return t.Output(*self._all(children), span=self._span(children))
        finally:
            self.ranges = False

    def minimize(self, children: list[Any]) -> t.Minimize:
        return t.Minimize(*self._all(children), span=self._span(children))

    def solve(self, children: list[Any]) -> t.Solve:
        head = [child for child in children if not is_rule(child, "body")]
        targets, *start, method = self._all(head)
        first = start[0] if start else ()
        self._paired(targets, first)
        body = self._body(children[-1], "solve")
        return t.Solve(targets, first, method, body, span=self._span(head))

    def flow(self, children: list[Any]) -> t.Flow:
        head = [child for child in children if not is_rule(child, "body")]
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

    declarations = targets = ExpressionBuilder.names

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


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
