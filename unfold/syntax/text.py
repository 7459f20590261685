"""The tree printed back as text, with no more parentheses than it needs.

`parse(to_text(file)) == file` for every file. Comments and line breaks inside expressions are not
in the tree, and so not in the text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from unfold.syntax import tree as t

# How tightly the parts of the grammar bind; an operand that binds less gets parentheses.
_CHOICE, _OR, _AND, _NOT, _RELATION, _SUM, _PRODUCT, _FACTOR, _POWER, _POSTFIX = range(10)
_BINARY = {
    "+": (_SUM, _SUM, _PRODUCT),
    "-": (_SUM, _SUM, _PRODUCT),
    "*": (_PRODUCT, _PRODUCT, _FACTOR),
    "/": (_PRODUCT, _PRODUCT, _FACTOR),
    "//": (_PRODUCT, _PRODUCT, _FACTOR),
    "@": (_PRODUCT, _PRODUCT, _FACTOR),
    "**": (_POWER, _POSTFIX, _FACTOR),
}  # of the whole, of its left and of its right operand


def to_text(node: t.Node) -> str:
    """The text of a file, a model, a statement, an expression or any part of one."""
    if isinstance(node, t.File):
        uses = [to_text(use) for use in node.uses]
        parts = ["\n".join(uses)] if uses else []
        return "\n\n".join([*parts, *(to_text(model) for model in node.models)]) + "\n"
    if isinstance(node, t.Model):
        formals = f"({_list(node.formals)})" if node.formals else "()"
        return _block(f"model {node.name.text}{formals}", node.body)
    if isinstance(node, (t.Solve, t.Flow)):
        word = "solve" if isinstance(node, t.Solve) else "flow"
        start = f" from {_list(node.start)}" if node.start else ""
        return _block(f"{word} {_list(node.targets)}{start} by {_drawn(node.method)}", node.body)
    return _line(node)


def _block(head: str, body: Iterable[t.Node]) -> str:
    lines = [line for node in body for line in to_text(node).splitlines()]
    return "\n".join([head + ":", *("    " + line for line in lines)])


def _line(node: t.Node) -> str:
    """What stands on one line: statements without a body, and the parts of statements."""
    match node:
        case t.Use():
            library = node.library
            source = f'"{library.text}"' if isinstance(library, t.Path) else library.text
            return f"from {source} use {_list(node.names)}"
        case t.Formal():
            return node.name.text + (f" = {_text(node.default)}" if node.default else "")
        case t.Axis():
            return f"axis {_list(node.indices)}: {_line(node.extent)}"
        case t.Input():
            return f"input {_list(node.names)}: {_line(node.type)}"
        case t.Param():
            initial = ""
            if isinstance(node.initial, t.Draw):
                initial = f" ~ {_drawn(node.initial.distribution)}"
            elif node.initial is not None:
                initial = f" = {_text(node.initial)}"
            return f"param {_list(node.names)}: {_line(node.type)}{initial}"
        case t.Random():
            kind = f": {_line(node.type)}" if node.type is not None else ""
            return f"random {_list(node.names)}{kind} ~ {_drawn(node.distribution)}"
        case t.Const() | t.Let():
            word = "const" if isinstance(node, t.Const) else "let"
            return f"{word} {_line(node.name)} = {_text(node.value)}"
        case t.Equation():
            clauses = f" for {_list(node.clauses)}" if node.clauses else ""
            return f"{_list(node.targets)} = {_text(node.value)}{clauses}"
        case t.Derivative():
            return f"der({node.state.text}) = {_text(node.value)}"
        case t.Output():
            return f"output {_list(node.items)}"
        case t.Minimize():
            return f"minimize {_text(node.value)}"
        case t.Declared():
            return node.name.text + (f"[{_list(node.indices)}]" if node.indices else "")
        case t.Type():
            bound = f"<{_text(node.bound, _SUM)}>" if node.bound is not None else ""
            return node.kind + bound + (f"[{_list(node.shape)}]" if node.shape else "")
        case t.Draw():
            return f"~ {_drawn(node.distribution)}"
        case t.Range():
            return f"{_text(node.start, _SUM, True)}..{_text(node.stop, _SUM, True)}"
        case t.Member():
            return f"{node.index.text} in {_line(node.range)}"
        case t.Keyword():
            return f"{node.name.text} = {_text(node.value)}"
        case t.Slice():
            ends = (node.start, node.stop)
            return ":".join("" if end is None else _text(end, _SUM, True) for end in ends)
        case _:
            return _text(node)


def _list(nodes: Iterable[t.Node]) -> str:
    return ", ".join(_line(node) for node in nodes)


def _drawn(call: t.Call) -> str:
    """A distribution or a method: no parentheses without arguments."""
    return _text(call) if call.arguments or call.keywords else call.function.text


def _text(node: t.Node, least: int = _CHOICE, tight: bool = False) -> str:
    """An expression where one that binds at least so much can stand; `tight` without blanks."""
    text, level = _expression(node, tight)
    return text if level >= least else f"({text})"


def _expression(node: t.Node, tight: bool) -> tuple[str, int]:
    """The text of an expression, and how tightly it binds."""
    match node:
        case t.Name():
            return node.text, _POSTFIX
        case t.Number():
            return repr(node.value), _POSTFIX if node.value >= 0 else _FACTOR
        case t.Subscript():
            return f"{_text(node.base, _POSTFIX)}[{_items(node.items)}]", _POSTFIX
        case t.Part():
            return f"{_text(node.base, _POSTFIX)}.{node.part}", _POSTFIX
        case t.Call():
            arguments = _list((*node.arguments, *node.keywords))
            return f"{node.function.text}({arguments})", _POSTFIX
        case t.Reduction():
            binders = ", ".join(_line(binder) for binder in node.binders)
            arguments = _list((*node.arguments, *node.keywords))
            return f"{node.function.text}[{binders}]({arguments})", _POSTFIX
        case t.Transpose():
            return f"{_text(node.operand, _POSTFIX)}'", _POSTFIX
        case t.Reverse():
            return f"reverse {_text(node.call, _POSTFIX)}", _FACTOR
        case t.Unary(operator="not"):
            return f"not {_text(node.operand, _NOT)}", _NOT
        case t.Unary():
            return node.operator + _text(node.operand, _FACTOR, tight), _FACTOR
        case t.Binary():
            level, left, right = _BINARY[node.operator]
            blank = "" if tight and node.operator in ("+", "-", "*") else " "
            sign = f"{blank}{node.operator}{blank}"
            return _text(node.left, left, tight) + sign + _text(node.right, right, tight), level
        case t.Comparison():
            first, *rest = (_text(operand, _SUM) for operand in node.operands)
            signs = zip(node.operators, rest, strict=True)
            return first + "".join(f" {sign} {operand}" for sign, operand in signs), _RELATION
        case t.Logical():
            level = _OR if node.operator == "or" else _AND
            operands = (_text(operand, level + 1) for operand in node.operands)
            return f" {node.operator} ".join(operands), level
        case t.Conditional():
            value, condition = _text(node.value, _OR), _text(node.condition, _OR)
            return f"{value} if {condition} else {_text(node.otherwise)}", _CHOICE
        case t.Stack():
            return f"[{_list(node.items)}]", _POSTFIX
        case t.Concat():
            return f"[{'; '.join(_text(item) for item in node.items)}]", _POSTFIX
        case _:
            raise TypeError(f"not an expression: {node!r}")


def _items(items: Sequence[t.Node]) -> str:
    """Subscripts, positions written without blanks: `h[t-1]`, `v[0:H]`."""
    return ", ".join(
        _line(item) if isinstance(item, t.Slice) else _text(item, _CHOICE, True) for item in items
    )
