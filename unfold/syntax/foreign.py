"""Mistakes of habit: words, signs and letters that belong to other languages."""

from __future__ import annotations

from unfold.syntax.diagnostics import Diagnostic, error
from unfold.syntax.lalr import Token
from unfold.syntax.letters import description, spelling
from unfold.syntax.trouble import Trouble

_LOOP = "an equation with `[t]` holds for every step by itself: there are no loops"
_CHANGE = "an equation says what a thing is, not how it changes: `s[t] = s[t-1] + a[t]`"
_EQUATION = "an equation introduces its own variable: `h[t] = …`"
_COMMENT = "a comment begins with `#`"

#: First words of statements elsewhere, and what to write here.
WORDS = {
    "def": "a model begins `model name(sizes):`; a shorthand is `let a = …`",
    "function": "a model begins `model name(sizes):`; a shorthand is `let a = …`",
    "fn": "a model begins `model name(sizes):`; a shorthand is `let a = …`",
    "class": "a model begins `model name(sizes):`",
    "return": "what a model gives is listed: `output h[t], loss`",
    "print": "what a model gives is listed: `output h[t], loss`",
    "import": "ready models are taken from a library: `from cells use lstm, gru`",
    "using": "ready models are taken from a library: `from cells use lstm, gru`",
    "use": "ready models are taken from a library: `from cells use lstm, gru`",
    "include": 'models of another file: `from "other.rec" use foo`',
    "for": _LOOP,
    "while": _LOOP,
    "repeat": _LOOP,
    "if": "a choice is an expression: `y[t] = a if x[t] > 0 else b`;\n"
    "steps are chosen behind an equation: `h[t] = … for t <= 2`",
    "else": "a choice is an expression: `y[t] = a if x[t] > 0 else b`",
    "elif": "a choice is an expression: `y[t] = a if p else b if q else c`",
    "var": _EQUATION,
    "local": _EQUATION,
    "state": _EQUATION + ", with `h[0] = …` as its start",
    "variable": _EQUATION + "; what is learnt is a `param`",
    "parameter": "what is learnt is declared as `param W: real[H, D]`",
    "maximize": "write `minimize -value`",
    "maximise": "write `minimize -value`",
    "loss": "write `minimize loss`",
    "pass": "leave it out",
}

#: Signs of other languages that are made of signs of this one, or nearly.
SIGNS = {
    "+=": _CHANGE,
    "-=": _CHANGE,
    "*=": _CHANGE,
    "@=": _CHANGE,
    "/=": "things that differ are compared with `!=`",
    ":=": "an equation is written with `=`",
    "=<": "write `<=`",
    "=>": "write `>=`",
    "<>": "write `!=`",
    "->": "an equation is written with `=`",
    "<-": "an equation is written with `=`",
    "===": "write `==`",
    "&&": "write `and`",
    "||": "write `or`",
    ".*": "`*` is element-wise by itself; the product of matrices is `@`",
    "./": "`/` is element-wise by itself",
    ".+": "`+` is element-wise by itself",
    ".-": "`-` is element-wise by itself",
    ".^": "the power is `**`, element by element",
    ".**": "`**` is element-wise by itself",
    ".'": "the transpose is `W'`",
    "^T": "the transpose is `W'`",
    "^-1": "the inverse is `inv(A)`; `solve(A, b)` is better where it will do",
    "++": "vectors are put end to end with `[a; b]`",
    "--": _COMMENT,
    "/*": _COMMENT,
    "*/": _COMMENT,
    "!=": "things that differ are compared with `!=`",
}


def comment(x: Trouble) -> Diagnostic | None:
    """`// …`, `% …`, `"…"` at the beginning of a line."""
    if x.at or x.found is None:
        return None
    if x.found not in ("//", "%", ";") and x.found.type != "STRING" and x.found != '"':
        return None
    sign = '"' if x.found.startswith('"') else str(x.found)
    return error(
        "E0124",
        f"`{sign}` does not begin a comment",
        (x.span, "no statement begins so"),
        helps=[_COMMENT],
    )


def sign(x: Trouble) -> Diagnostic | None:
    """`+=`, `:=`, `->`, `.*` and other signs that are made of ours."""
    if x.found is None:
        return None
    ranges = ((x.at - 1, x.at + 2), (x.at, x.at + 3), (x.at - 1, x.at + 1), (x.at, x.at + 2))
    for i, j in ranges:
        found = x.joined(i, j)
        if found in SIGNS:
            span = x.between(i, j)
            return error(
                "E0124",
                f"there is no sign `{found}`",
                (span, "of another language"),
                helps=[SIGNS[found]],
            )
    return None


def letter(x: Trouble) -> Diagnostic | None:
    """σ, ⊙, ^ and whatever else the language has no use for: all of them in the line at once."""
    if x.found is None or x.found.type not in ("UNICODE", "STRAY"):
        return None
    runs: list[tuple[int, int]] = []
    for i, token in enumerate(x.words):
        if i >= x.at and token.type in ("UNICODE", "STRAY") and not (runs and i <= runs[-1][1]):
            runs.append(_foreign_run(x, i))
    texts = [x.text(first, last + 1) for first, last in runs]
    shown = [f"`{text}`" for text in dict.fromkeys(texts) if text.isprintable()]
    labels = []
    helps = []
    for (first, last), text in zip(runs, texts, strict=True):
        known = _spelling(text, x.words[last + 1] if last + 1 < len(x.words) else None)
        helps += [known] if known else []
        plain = known or text.isascii() or (len(text) > 1 and text.isprintable())
        labels.append((x.between(first, last + 1), "" if plain else description(text[0])))
    if len(labels) == 1 and not labels[0][1]:
        labels = [(labels[0][0], "not of the language")]
    names = ", ".join(shown[:-1]) + (" and " if shown[1:] else "") + "".join(shown[-1:])
    message = f"{names or 'a sign'} cannot be read"
    return error("E0109", message, *labels, helps=dict.fromkeys(helps))


def _spelling(text: str, after: Token | None) -> str:
    if text == "σ" and after is not None:
        return "write `sigmoid(…)`" if after == "(" else "write `sigma`"
    return spelling(text)


def _foreign_run(x: Trouble, i: int) -> tuple[int, int]:
    """First and last word of the one foreign word that word `i` is part of: `hₜ₋₁` are four."""

    def foreign(token: Token) -> bool:
        return token.type == "UNICODE" or str(token) in "₊₋⁺⁻"

    first = last = i
    if not foreign(x.words[first]) or x.words[first].isascii():
        return first, last
    while last + 1 < len(x.words) and x.joined(last, last + 2):
        following = x.words[last + 1]
        if following.isascii() or not foreign(following):
            break
        last += 1
    if first and x.joined(first - 1, first + 1) and x.words[first - 1].type == "NAME":
        first -= 1
    return first, last


def word(x: Trouble) -> Diagnostic | None:
    """`def`, `for`, `if`, `return` … at the beginning of a line."""
    first = x.words[0]
    if str(first) not in WORDS or (first.type == "NAME" and x.at != 1):
        return None
    if first.type == "NAME" and x.found is not None and x.found in ("=", "[", ",", ":"):
        return None
    return error(
        "E0112",
        f"no statement begins with `{first}`",
        (x.between(0, 1), "a word of other languages"),
        helps=[WORDS[str(first)]],
    )
