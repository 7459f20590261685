"""From "unexpected token" to a sentence that teaches.

A line that the grammar refuses becomes one diagnostic. Each rule knows one kind of mistake; the
first in the order of `_RULES` that recognises its own speaks, and when none does, the diagnostic
says what was found and what could have stood there.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches

from unfold.syntax import declarations, foreign, placement
from unfold.syntax.diagnostics import Diagnostic, error
from unfold.syntax.lines import STARTERS
from unfold.syntax.span import Span
from unfold.syntax.trouble import OPERANDS, Trouble

_STATEMENTS = (
    "statements begin with input, param, const, let, axis, random, solve, flow, output or\n"
    "minimize, or are equations: `h[t] = …`"
)


def explain_trouble(trouble: Trouble) -> Diagnostic:
    """The diagnostic for a line that the grammar refuses."""
    for rule in _RULES:
        diagnostic = rule(trouble)
        if diagnostic is not None:
            return diagnostic
    found = "the end of the line" if trouble.found is None else f"`{trouble.found}`"
    label = (trouble.span, f"expected {trouble.expected()}")
    return error("E0102", f"{found} does not fit here", label)


def _nested(x: Trouble) -> Diagnostic | None:
    if x.at or x.found is None or x.found.type not in ("MODEL", "FROM"):
        return None
    return placement.nested(x.span)


def _reserved(x: Trouble) -> Diagnostic | None:
    """A word of the language where a name is wanted."""
    first, found = x.words[0], x.found
    if found is None:
        return None
    if first.type in STARTERS and x.words[1] in ("=", "[") and found in ("=", "["):
        word, what = first, "begins a statement"
    elif str(found.type) == found.upper() and "NAME" in x.accepts and found.isalpha():
        if x.at and not (x.after is None or x.after in _FOLLOW_NAMES):
            return None
        word, what = found, "is a word of the language"
    else:
        return None
    return error(
        "E0118",
        f"`{word}` cannot be a name",
        (Span(x.source, word.start_pos or 0, word.end_pos or 0), f"`{word}` {what}"),
        helps=[f"choose another name, such as `{word}_`"],
    )


_JOINTS = ("PLUS", "MINUS", "STAR", "SLASH", "AT", "POWER", "COMMA")
_FOLLOW_NAMES = ("=", "[", "]", ",", ")", ":", "+", "-", "*", "/", "@", "**", "'")


def _comparison(x: Trouble) -> Diagnostic | None:
    """`=` where `==` is meant and the other way round, or `for l = 1..3`."""
    if x.found == "==" and "EQUAL" in x.accepts and not x.open:
        return error(
            "E0110",
            "`==` compares, and `=` defines",
            (x.span, "expected `=`"),
        )
    if x.found != "=":
        return None
    since = next((w for w in reversed(x.flat) if w.type in ("FOR", "IF")), None)
    if since is not None and "IN" in x.accepts:
        if any(token.type == "RANGE" for token in x.words[x.at :]):
            values = x.text(x.at + 1, len(x.words))
            return error(
                "E0110",
                "a range of values is given with `in`",
                (x.span, "expected `in`"),
                helps=[f"`for {x.before} in {values}`"],
            )
    if since is None and not x.open:
        return None
    return error(
        "E0110",
        "`=` defines, and `==` compares",
        (x.span, "expected `==`"),
    )


def _left_side(x: Trouble) -> Diagnostic | None:
    """`h(t) = …`, `2 * h = …`, `a = b = c`, `h[t]` alone, `parm W: real`."""
    kind, name, found = x.line.first, x.words[0], x.found
    if kind in STARTERS:
        return None
    if any(word == "=" for word in x.flat):
        if found != "=" or x.open:
            return None
        return error(
            "E0113",
            "an equation has one `=`",
            (x.span, "a second one"),
            helps=["write two equations, or `==` for a comparison"],
        )
    whole = x.text(0, len(x.words))
    signs = [i for i, token in enumerate(x.words) if token == "="]
    if x.at == 1 and found == "(" and kind == "NAME":
        close = x.closing(1)
        if close is not None and any(i > close for i in signs):
            return error(
                "E0113",
                "a variable's index stands in square brackets",
                (x.between(1, close + 1), "expected `[…]`"),
                helps=[f"`{name}[{x.text(2, close)}] = …`"],
            )
    if x.at == 1 and found is not None and found.type in OPERANDS and kind == "NAME":
        near = get_close_matches(name.lower(), [k.lower() for k in STARTERS], 1, 0.7)
        return error(
            "E0102",
            f"no statement begins with `{name}`",
            (x.between(0, 1), "not a word that begins a statement"),
            helps=[f"did you mean `{near[0]}`?" if near else _STATEMENTS],
        )
    if signs and signs[0] >= max(x.at, 1) and found is not None and not x.open:
        return error(
            "E0113",
            "left of `=` stands the one thing that is defined",
            (x.between(0, signs[0]), "not a variable"),
            helps=["solve for the variable: `h[t] = …`"],
        )
    if kind != "NAME" or x.open or signs:
        return None
    if found == ":":
        return error(
            "E0123",
            "what is this a declaration of?",
            (x.between(0, 1), "no word before the name"),
            helps=[f"data: `input {whole}`\nwhat is learnt: `param {whole}`"],
        )
    return error(
        "E0113",
        "this is not an equation",
        (x.between(0, len(x.words)), "what is equal to this?"),
        helps=[f"give it a name: `y = {whole}`; what a model gives is listed: `output …`"],
    )


def _range(x: Trouble) -> Diagnostic | None:
    """`v[0..3]`, `for l in range(3)`, `for l in 3`."""
    if x.found is not None and x.found == "..":
        return error(
            "E0102",
            "`..` does not fit here",
            (x.span, "not a range of positions"),
            helps=["a slice is written `v[0:H]`; ranges stand in `axis s: 1..4`, `for s in 1..4`"],
        )
    where = next((i for i in reversed(range(x.at)) if x.words[i].type == "IN"), None)
    if "RANGE" not in x.accepts or where is None:
        return None
    if x.found is not None and x.found not in ",])":
        return None
    return error(
        "E0102",
        "`in` is followed by a range",
        (x.between(where + 1, x.at), "not a range"),
        helps=["both ends are given, and both belong to it: `for l in 1..3`"],
    )


def _too_short(x: Trouble) -> Diagnostic | None:
    """Lines and brackets that stop before they have said it all."""
    ends = x.found is None or x.found.type in ("FOR", "ELSE") or x.found in ")],;"
    if not ends or x.before is None:
        return None
    words = x.words[: x.at] if x.open else x.flat
    condition = next((word for word in reversed(words) if word.type == "IF"), None)
    if "ELSE" in x.accepts and condition is not None:
        return error(
            "E0122",
            "a choice needs both its branches",
            (x.span, "expected `else`"),
            (Span(x.source, condition.start_pos or 0, condition.end_pos or 0), "for this `if`"),
            helps=["`a if condition else b`, perhaps with `else 0`"],
        )
    if not x.wants_expression:
        return None
    if x.found == "]" and x.before == "[":
        return error(
            "E0119",
            "there is nothing between the brackets",
            (x.between(x.at - 1, x.at + 1), "empty"),
            helps=["an index is written `h[t]`, a vector `[a, b]`; a scalar takes no brackets"],
        )
    helps = []
    if x.before.type == "FOR":
        helps = ["steps are chosen by a condition, `for t <= 2`, or from a range, `for l in 1..3`"]
    elif x.found is None and (x.before.type in _JOINTS or x.before in ("and", "or")):
        helps = ["a line goes on only while a bracket is open: put `( … )` around an expression"]
    return error(
        "E0114",
        f"an expression is missing after `{x.before}`",
        (x.span, "the line ends too early" if x.found is None else f"`{x.found}` comes too early"),
        helps=helps,
    )


def _separator(x: Trouble) -> Diagnostic | None:
    """`[a, b; c]`, `;` at the end of a line, `y = a, b`."""
    if x.found == ";" and not x.open:
        return error(
            "E0124",
            "a statement ends with its line",
            (x.span, "leave this out"),
            helps=["every statement has a line of its own"],
        )
    if x.found is None or x.found not in (";", ",") or not x.wants_operator:
        return None
    if x.found == "," and not x.open and "_NEWLINE" in x.accepts:
        return error(
            "E0102",
            "an equation has one right-hand side",
            (x.span, "expected the end of the line"),
            helps=["a vector of scalars is written `[a, b]`"],
        )
    if not x.open or x.open[-1] != "[":
        return None
    return error(
        "E0119",
        "`,` and `;` do not mix between brackets",
        (x.span, f"`{x.found}` here, the other one before"),
        helps=["`[a, b]` is a vector of scalars, `[u; v]` puts vectors end to end: `[[a, b]; v]`"],
    )


def _side_by_side(x: Trouble) -> Diagnostic | None:
    """`W x[t]`, `2h`, `(a) b`: mathematics multiplies by writing side by side, we do not."""
    if x.found is None or x.before is None or not x.wants_operator:
        return None
    if x.found.type not in ("NAME", "NUMBER", "LPAR", "LSQB") or x.before.type not in OPERANDS:
        return None
    plain = x.before.type in ("NAME", "NUMBER") and x.found.type in ("NAME", "NUMBER")
    a, b = (str(x.before), str(x.found)) if plain else ("a", "b")
    help_ = f"`{a} * {b}` is the element-wise product"
    if "NUMBER" not in (x.before.type, x.found.type):
        help_ = f"`{a} @ {b}` is the product of matrices and vectors, " + help_
    return error(
        "E0111",
        "an operator is missing between two expressions",
        (x.between(x.at - 1, x.at + 1), "side by side"),
        helps=[help_],
    )


_RULES: tuple[Callable[[Trouble], Diagnostic | None], ...] = (
    foreign.comment,
    foreign.sign,
    foreign.letter,
    foreign.word,
    _nested,
    _reserved,
    _comparison,
    _left_side,
    declarations.part,
    _range,
    declarations.whole,
    _too_short,
    _separator,
    _side_by_side,
)
