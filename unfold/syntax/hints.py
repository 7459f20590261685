"""From "unexpected token" to a sentence that teaches.

A line that the grammar refuses becomes one diagnostic. Each function below knows one kind of mistake,
in the order of `_RULES`: the first that recognises its own speaks, and the last one, which says only
what was found and what could have stood there, always does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from unfold.syntax.diagnostics import Diagnostic, error
from unfold.syntax.lalr import Token
from unfold.syntax.letters import SPELLINGS, ascii_letters, description, spelling
from unfold.syntax.lines import STARTERS, Line, span_of
from unfold.syntax.span import Source, Span

_OPERANDS = {"NAME", "NUMBER", "RPAR", "RSQB", "QUOTE"}
_DECLARATIONS = {
    "INPUT": "input x[t]: real[D]",
    "PARAM": "param W: real[H, D] ~ glorot",
    "RANDOM": "random e[t]: real[H] ~ normal",
    "AXIS": "axis s: S",
    "CONST": "const dt = 0.1",
    "LET": "let a = W @ x0",
    "OUTPUT": "output h[t], loss",
    "MINIMIZE": "minimize loss",
    "MODEL": "model gru(D, H):",
    "SOLVE": "solve z[t] by newton(tol = 1e-10):",
    "FLOW": "flow h[t] from h[t-1] by rk4(dt):",
    "FROM": "from cells use lstm, gru",
    "DER": "der(h) = A @ h",
}
_FOREIGN_WORDS = {
    "def": "a model begins `model name(sizes):`; a shorthand is `let a = …`",
    "function": "a model begins `model name(sizes):`; a shorthand is `let a = …`",
    "lambda": "a shorthand is `let a = …`",
    "class": "a model begins `model name(sizes):`",
    "return": "what a model gives is listed: `output h[t], loss`",
    "import": "ready models are taken from a library: `from cells use lstm, gru`",
    "using": "ready models are taken from a library: `from cells use lstm, gru`",
    "include": "models of another file: `from \"other.rec\" use foo`",
    "for": "an equation with `[t]` holds for every step by itself: there are no loops",
    "while": "an equation with `[t]` holds for every step by itself: there are no loops",
    "if": "a choice is an expression: `y[t] = a if x[t] > 0 else b`; a piece of the steps is chosen "
    "behind the equation: `h[t] = … for t <= 2`",
    "else": "a choice is an expression: `y[t] = a if x[t] > 0 else b`",
    "elif": "a choice is an expression: `y[t] = a if p else b if q else c`",
    "var": "an equation introduces its own variable: `h[t] = …`",
    "local": "an equation introduces its own variable: `h[t] = …`",
    "state": "an equation introduces its own variable: `h[t] = …`, with `h[0] = …` as its start",
    "variable": "what is learnt is a `param`; all else is introduced by its equation",
    "parameter": "what is learnt is declared as `param W: real[H, D]`",
    "maximize": "write `minimize -value`",
    "loss": "write `minimize loss`",
    "print": "what a model gives is listed: `output h[t], loss`",
    "pass": "leave it out",
}
#: Signs of other languages, made of signs of this one that follow each other closely.
_FOREIGN_SIGNS = {
    "+=": "an equation says what a thing is, not how it changes: `s[t] = s[t-1] + a[t]`",
    "-=": "an equation says what a thing is, not how it changes: `s[t] = s[t-1] - a[t]`",
    "*=": "an equation says what a thing is, not how it changes: `s[t] = s[t-1] * a[t]`",
    "/=": "two things that differ are compared with `!=`",
    "@=": "an equation says what a thing is, not how it changes",
    ":=": "an equation is written with `=`",
    "=<": "write `<=`",
    "=>": "write `>=`",
    "<>": "write `!=`",
    "->": "an equation is written with `=`, and nothing is declared by an arrow",
    "<-": "an equation is written with `=`",
    "===": "write `==`",
    "&&": "write `and`",
    "||": "write `or`",
    ".*": "`*` is element-wise; the product of matrices is `@`",
    "./": "`/` is element-wise",
    ".+": "`+` is element-wise",
    ".^": "the power is `**`, and it is element-wise",
    "..": "positions run over a range behind `for`, or of an axis; a slice is written `v[0:H]`",
    "'*": "the product of matrices is `@`: `W' @ x`",
    "++": "vectors are put end to end with `[a; b]`",
    "--": "a comment begins with `#`",
    "/*": "a comment begins with `#`",
    "*/": "a comment begins with `#`",
}


@dataclass(frozen=True)
class Trouble:
    """A line, the place in it that the grammar refuses, and what the grammar would have taken.

    `at` is the number of the refused word; it is the number of words if that is the line's end.
    """

    source: Source
    line: Line
    at: int
    accepts: frozenset[str]

    @property
    def found(self) -> Token | None:
        return self.line.tokens[self.at] if self.at < len(self.line.tokens) else None

    @property
    def before(self) -> Token | None:
        return self.line.tokens[self.at - 1] if self.at else None

    @cached_property
    def span(self) -> Span:
        """Of what was found; the empty place behind the line, if that is its end."""
        if self.found is not None:
            return span_of(self.source, self.found)
        end = self.line.tokens[-1].end_pos or 0
        return Span(self.source, end, end)

    @cached_property
    def open(self) -> list[Token]:
        """The brackets that are open at the place."""
        stack: list[Token] = []
        for token in self.line.tokens[: self.at]:
            if token in ("(", "["):
                stack.append(token)
            elif token in (")", "]") and stack:
                stack.pop()
        return stack

    def flat(self) -> list[Token]:
        """The words before the place that stand in no bracket."""
        depth, words = 0, []
        for token in self.line.tokens[: self.at]:
            depth -= token in (")", "]")
            if depth == 0:
                words.append(token)
            depth += token in ("(", "[")
        return words

    def joined(self, i: int, j: int) -> str:
        """Words `i` to `j`, if they stand without blanks between them; else ""."""
        words = self.line.tokens[max(i, 0) : j]
        closed = all(a.end_pos == b.start_pos for a, b in zip(words, words[1:], strict=False))
        return "".join(words) if closed and len(words) == j - i and i >= 0 else ""

    @property
    def wants_expression(self) -> bool:
        return {"NAME", "NUMBER", "LPAR"} <= self.accepts

    @property
    def wants_operator(self) -> bool:
        return "STAR" in self.accepts


def explain_trouble(trouble: Trouble) -> Diagnostic:
    """The diagnostic for a line that the grammar refuses."""
    for rule in _RULES:
        diagnostic = rule(trouble)
        if diagnostic is not None:
            return diagnostic
    return _anything(trouble)


def _foreign_sign(x: Trouble) -> Diagnostic | None:
    """`+=`, `:=`, `->`, `.*` and other signs that are made of ours."""
    if x.found is None:
        return None
    for i, j in ((x.at - 1, x.at + 2), (x.at, x.at + 3), (x.at - 1, x.at + 1), (x.at, x.at + 2),
                 (x.at, x.at + 1)):  # fmt: skip
        sign = x.joined(i, min(j, len(x.line.tokens)))
        if sign in _FOREIGN_SIGNS and len(sign) > 1:
            span = span_of(x.source, x.line.tokens[i], x.line.tokens[j - 1])
            return error(
                "E0124",
                f"there is no `{sign}` here" if sign == ".." else f"there is no sign `{sign}`",
                (span, "not of the language" if sign != ".." else "not a range of positions"),
                helps=[_FOREIGN_SIGNS[sign]],
            )
    return None


def _comment(x: Trouble) -> Diagnostic | None:
    """`// …`, `% …`, `"…"` at the beginning of a line."""
    if x.at or x.found is None or x.found not in ("//", "/", "%", "*", ";") and x.found.type != "STRING":
        return None
    return error(
        "E0124",
        f"`{x.found if x.found.type != 'STRING' else chr(34)}` does not begin a comment",
        (x.span, "no statement begins so"),
        helps=["a comment begins with `#`"],
    )


def _foreign_letter(x: Trouble) -> Diagnostic | None:
    """σ, ⊙, ^ and whatever else the language has no use for."""
    if x.found is None or x.found.type not in ("UNICODE", "STRAY"):
        return None
    text, first = str(x.found), x.at
    if x.found.type == "UNICODE" and x.before is not None and x.before.type == "NAME":
        if x.before.end_pos == x.found.start_pos:
            text, first = str(x.before) + text, x.at - 1
    span = span_of(x.source, x.line.tokens[first], x.found)
    visible = text if text.isprintable() else description(text)
    known = spelling(text)
    after = x.line.tokens[x.at + 1 : x.at + 2]
    if text == "σ" and after:
        known = "write `sigmoid(…)`" if after[0] == "(" else "write `sigma`"
    plain = not text.isascii() and text not in SPELLINGS and not ascii_letters(text)
    return error(
        "E0109",
        f"`{visible}` is not of the language",
        (span, description(text) if plain and len(text) == 1 else "not an ASCII word or sign"
         if not text.isascii() else "no sign of the language"),
        helps=[known] if known else [],
    )  # fmt: skip


def _foreign_word(x: Trouble) -> Diagnostic | None:
    """`def`, `for`, `if`, `return` … at the beginning of a line."""
    word = x.line.tokens[0]
    if str(word) not in _FOREIGN_WORDS or x.found == "=":
        return None
    if word.type == "NAME" and not (x.at == 1 and (x.found is None or x.found.type not in
                                                     ("LSQB", "COMMA", "EQUAL"))):  # fmt: skip
        return None
    return error(
        "E0112",
        f"no statement begins with `{word}`",
        (span_of(x.source, word), "a word of other languages"),
        helps=[_FOREIGN_WORDS[str(word)]],
    )


def _reserved(x: Trouble) -> Diagnostic | None:
    """A word of the language where a name is wanted."""
    first = x.line.tokens[0]
    if x.found is None:
        return None
    if x.at == 1 and first.type in STARTERS and x.found in ("=", "["):
        word, why = first, "begins a statement"
    elif x.found.isalpha() and x.found.type == str(x.found).upper() and "NAME" in x.accepts:
        word, why = x.found, "is a word of the language"
        if x.found.type in STARTERS or x.wants_expression and x.found.type not in ("IN", "NOT"):
            return None
    else:
        return None
    return error(
        "E0118",
        f"`{word}` cannot be a name",
        (span_of(x.source, word), f"`{word}` {why}"),
        helps=[f"choose another name, such as `{word}_` or `{word}s`"],
    )


def _comparison(x: Trouble) -> Diagnostic | None:
    """`=` where `==` is meant, or `for l = 1..3`."""
    if x.found != "=":
        return None
    words = x.flat()
    since = next((w for w in reversed(words) if w.type in ("FOR", "IF")), None)
    if since is not None and since.type == "FOR" and "IN" in x.accepts:
        values = [token for token in x.line.tokens[x.at :] if token.type == "RANGE"]
        if values:
            rest = x.source.text[x.line.tokens[x.at + 1].start_pos : x.line.tokens[-1].end_pos]
            return error(
                "E0110",
                "a range of values is given with `in`",
                (x.span, "expected `in`"),
                helps=[f"`for {x.before} in {rest}`"],
            )
    if since is None and not x.open:
        return None
    return error(
        "E0110",
        "`=` defines, and `==` compares",
        (x.span, "expected `==`"),
        helps=["write `==` in a condition"],
    )


def _left_side(x: Trouble) -> Diagnostic | None:
    """`h(t) = …`, `2 * h = …`, `h[t]` alone, `a = b = c`."""
    words = x.flat()
    kind = x.line.first
    if kind in STARTERS or x.open and x.line.tokens[1:2] != ("(",):
        return None
    signs = [i for i, token in enumerate(x.line.tokens) if token == "="]
    if any(word == "=" for word in words):
        if x.found == "=" and not x.open:
            return error(
                "E0113",
                "an equation has one `=`",
                (x.span, "a second one"),
                helps=["write two equations, or `==` for a comparison"],
            )
        return None
    name = x.line.tokens[0]
    if x.found is None and kind == "NAME" and "EQUAL" in x.accepts:
        return error(
            "E0113",
            "this is not an equation",
            (span_of(x.source, *x.line.tokens), "what is it equal to?"),
            helps=[f"`{_text(x, 0, len(x.line.tokens))} = …`; what the model is to give is listed: "
                   f"`output {_text(x, 0, len(x.line.tokens))}`"],
        )  # fmt: skip
    if x.at == 1 and x.found == "(" and kind == "NAME":
        close = _closing(x.line.tokens, 1)
        if close is not None and any(i > close for i in signs):
            return error(
                "E0113",
                "a variable's index stands in square brackets",
                (span_of(x.source, *x.line.tokens[1 : close + 1]), "expected `[…]`"),
                helps=[f"`{name}[{_text(x, 2, close)}] = …`"],
            )
    if signs and signs[0] >= max(x.at, 1) and x.found is not None and not x.open:
        return error(
            "E0113",
            "left of `=` stands the one thing that is defined",
            (span_of(x.source, *x.line.tokens[: signs[0]]), "not a variable"),
            helps=["solve for a variable: `h[t] = …`"],
        )
    if kind == "NAME" and x.at == 1 and x.found is not None and x.found.type in _OPERANDS:
        return error(
            "E0102",
            f"no statement begins with `{name}`",
            (span_of(x.source, name), "not a word that begins a statement"),
            helps=[_nearest_starter(str(name))],
        )
    return None


def _declaration(x: Trouble) -> Diagnostic | None:
    """Declarations with a part missing or too much."""
    kind = x.line.first
    example = _DECLARATIONS.get(kind)
    text = x.source.text[x.line.tokens[0].start_pos : x.line.tokens[-1].end_pos]
    if x.found == ":" and kind == "NAME" and not x.open and x.at:
        return error(
            "E0123",
            "what is this a declaration of?",
            (span_of(x.source, x.line.tokens[0]), "no word before the name"),
            helps=[f"data: `input {text}`\nwhat is learnt: `param {text}`"],
        )
    if example is None or x.found is not None and x.found.type in STARTERS:
        return None
    if kind in ("INPUT", "PARAM", "RANDOM") and x.found == "(":
        return error(
            "E0123",
            "indices and sizes stand in square brackets",
            (x.span, "expected `[`"),
            helps=[f"`{example}`"],
        )
    if kind == "INPUT" and x.found is not None and x.found in ("=", "~"):
        return error(
            "E0123",
            "an input has no value of its own: it comes from the caller",
            (x.span, "a value"),
            helps=["a fixed value is a `const`, a learnt one a `param`"],
        )
    if kind == "PARAM" and x.found is not None and x.found.type == "NAME" and "TILDE" in x.accepts:
        return error(
            "E0123",
            "an initialiser is introduced by `~`",
            (x.span, "expected `~` or `=`"),
            helps=[f"`~ {x.found}`"],
        )
    if x.open or x.wants_expression and x.at > 1 or x.wants_operator:
        return None
    found = "the line ends here" if x.found is None else f"found `{x.found}`"
    return error(
        "E0123",
        f"expected {_expected(x)} in this {'line' if kind == 'FROM' else f'`{x.line.tokens[0]}`'}",
        (x.span, found),
        helps=[f"it is written like this: `{example}`"],
    )


def _too_short(x: Trouble) -> Diagnostic | None:
    """Lines that stop before they have said it all."""
    if x.found is not None and x.found not in (")", "]", ",", ";"):
        return None
    inside = x.open or x.found is None
    words = x.flat() if not x.open else list(x.line.tokens[: x.at])
    if "ELSE" in x.accepts and any(word.type == "IF" for word in words):
        where = next(word for word in reversed(words) if word.type == "IF")
        return error(
            "E0122",
            "a choice needs both its branches",
            (x.span, "expected `else`"),
            (span_of(x.source, where), "for this `if`"),
            helps=["`a if condition else b`, perhaps with `else 0`"],
        )
    if not (x.wants_expression and inside) or x.before is None:
        return None
    if x.found == "]" and x.before == "[":
        return error(
            "E0119",
            "there is nothing between the brackets",
            (span_of(x.source, x.before, x.found), "empty"),
            helps=["an index is written `h[t]`, a vector `[a, b]`; a scalar takes no brackets"],
        )
    where = "the line ends" if x.found is None else f"`{x.found}` comes"
    helps = []
    if x.found is None:
        helps = ["a line goes on only while a bracket is open: put `( … )` around a long expression"]
    return error(
        "E0114",
        f"an expression is missing after `{x.before}`",
        (x.span, f"{where} too early"),
        helps=helps,
    )


def _brackets(x: Trouble) -> Diagnostic | None:
    """`[a, b; c]`, `;` at the end of a line, an unexpected closing bracket."""
    if x.found == ";" and not x.open:
        return error(
            "E0124",
            "a statement ends with its line",
            (x.span, "leave this out"),
            helps=["every statement has a line of its own"],
        )
    if x.found is None or x.found not in (";", ",") or not x.open or x.open[-1] != "[":
        return None
    if not x.wants_operator:
        return None
    return error(
        "E0119",
        "`,` and `;` do not mix between brackets",
        (x.span, f"`{x.found}` here, the other one before"),
        helps=["`[a, b]` is a vector of scalars, `[u; v]` puts vectors end to end: "
               "`[[a, b]; c]`"],
    )  # fmt: skip


def _side_by_side(x: Trouble) -> Diagnostic | None:
    """`W x[t]`, `2h`, `(a) (b)`: mathematics multiplies by writing side by side, we do not."""
    if x.found is None or x.before is None or not x.wants_operator:
        return None
    if x.found.type not in ("NAME", "NUMBER", "LPAR", "LSQB") or x.before.type not in _OPERANDS:
        return None
    left, right = str(x.before), str(x.found)
    plain = x.before.type in ("NAME", "NUMBER") and x.found.type in ("NAME", "NUMBER")
    first, second = (left, right) if plain else ("a", "b")
    scalar = "NUMBER" in (x.before.type, x.found.type)
    helps = [f"`{first} * {second}` is the element-wise product"]
    if not scalar:
        helps = [f"`{first} @ {second}` is the product of matrices and vectors, "
                 f"`{first} * {second}` the element-wise one"]  # fmt: skip
    return error(
        "E0111",
        "an operator is missing between two expressions",
        (Span(x.source, x.before.start_pos or 0, x.found.end_pos or 0), "side by side"),
        helps=helps,
    )


def _anything(x: Trouble) -> Diagnostic:
    found = "the end of the line" if x.found is None else f"`{x.found}`"
    return error(
        "E0102", f"{found} does not fit here", (x.span, f"expected {_expected(x)}")
    )


_RULES: tuple[Callable[[Trouble], Diagnostic | None], ...] = (
    _comment,
    _foreign_sign,
    _foreign_letter,
    _foreign_word,
    _reserved,
    _comparison,
    _left_side,
    _declaration,
    _too_short,
    _brackets,
    _side_by_side,
)

_NAMES = {
    "_NEWLINE": "the end of the line", "COLON": "`:`", "COMMA": "`,`", "RSQB": "`]`",
    "RPAR": "`)`", "EQUAL": "`=`", "TILDE": "`~`", "BY": "`by`", "FROM": "`from`", "USE": "`use`",
    "IN": "`in`", "RANGE": "`..`", "ELSE": "`else`", "SEMICOLON": "`;`", "STRING": "a file's name",
    "LESSTHAN": "`<`", "MORETHAN": "`>`",
}  # fmt: skip


def _expected(x: Trouble) -> str:
    """What the grammar would take, in words."""
    accepts = set(x.accepts)
    items = []
    if "MODEL" in accepts or "MINIMIZE" in accepts:
        return "a statement"
    if x.wants_expression:
        items.append("an expression")
    elif "NAME" in accepts:
        items.append("a name")
    if x.wants_operator:
        items.append("an operator")
        accepts -= {"LESSTHAN", "MORETHAN"}
    if "LSQB" in accepts and not x.wants_operator and not x.wants_expression:
        items.append("`[`")
    if "LPAR" in accepts and not x.wants_operator and not x.wants_expression:
        items.append("`(`")
    items += [text for key, text in _NAMES.items() if key in accepts]
    return " or ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items or ["nothing"])


def _text(x: Trouble, i: int, j: int) -> str:
    """The text of words `i` up to `j`."""
    return x.source.text[x.line.tokens[i].start_pos : x.line.tokens[j - 1].end_pos] if j > i else ""


def _closing(tokens: tuple[Token, ...], opening: int) -> int | None:
    depth = 0
    for i, token in enumerate(tokens[opening:], opening):
        depth += (token in ("(", "[")) - (token in (")", "]"))
        if depth == 0:
            return i
    return None


def _nearest_starter(word: str) -> str:
    from difflib import get_close_matches

    starters = [kind.lower() for kind in STARTERS]
    near = get_close_matches(word.lower(), starters, 1, 0.7)
    if near:
        return f"did you mean `{near[0]}`?"
    return "statements begin with input, param, const, let, axis, random, solve, flow, output or " \
        "minimize, or are equations: `h[t] = …`"  # fmt: skip
