"""From Lark's tree to ours: expressions, one method a rule of the grammar."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NoReturn

from unfold.syntax import tree as t
from unfold.syntax.diagnostics import Diagnostic, error
from unfold.syntax.lalr import Token, Tree
from unfold.syntax.lines import too_deep
from unfold.syntax.span import Source, Span

#: Levels of an expression; what is deeper would exhaust the stacks of later stages.
DEEPEST = 200


class ProblemError(Exception):
    """A statement of the right form that still says nothing."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        self.diagnostic = diagnostic


class ExpressionBuilder:
    """Builds the expressions of one source."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.depth = 0
        self.ranges = False  # whether `h[t in 0..T]` may stand here

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

    # Names and ranges ---------------------------------------------------------------------------

    def name(self, children: list[Any]) -> t.Name:
        return t.Name(str(children[0]), span=self._span(children))

    def names(self, children: list[Any]) -> tuple[t.Name, ...]:
        return self._all(children)

    clauses = expressions = items = arguments = names

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
            if isinstance(item, t.Member) and not self.ranges:
                self._fail(
                    "E0102",
                    "`in` does not belong between these brackets",
                    (item.span, "a range of an index"),
                    help="`sum[s in 1..t](…)` reduces over a range; a slice is written `v[0:H]`",
                )
        return t.Subscript(base, items, span=self._span(children))

    def part(self, children: list[Any]) -> t.Part:
        base = self.build(children[0])
        if children[1] == ".T":
            self._fail(
                "E0124",
                "the transpose is a sign, not an attribute",
                (self._span(children[1:]), "expected `'`"),
                help="`W'` is the transpose of `W`, `x[t]'` that of `x[t]`",
            )
        return t.Part(base, str(children[1])[1:], span=self._span(children))

    def slice(self, children: list[Any]) -> t.Slice:
        colon = next(i for i, child in enumerate(children) if isinstance(child, Token))
        start = self.build(children[0]) if colon == 1 else None
        stop = self.build(children[-1]) if colon < len(children) - 1 else None
        return t.Slice(start, stop, span=self._span(children))

    def call(self, children: list[Any]) -> t.Call | t.Reduction:
        callee = children[0]
        arguments = self.build(children[2]) if is_rule(children[2], "arguments") else ()
        span = self._span(children)
        if is_rule(callee, "name"):
            return self._call(self.build(callee), arguments, span)
        if is_rule(callee, "subscript") and is_rule(callee.children[0], "name"):
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


def is_rule(item: Any, rule: str) -> bool:
    return isinstance(item, Tree) and item.data == rule


def _edge(item: Any, side: int) -> int:
    """The first (side 0) or last (side -1) offset of a token or tree."""
    while isinstance(item, Tree):
        item = item.children[side]
    position = item.start_pos if side == 0 else item.end_pos
    return int(position or 0)
