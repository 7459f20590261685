"""Signs that are not of the language, and how they are written in it.

Mathematics copied from a paper brings its letters along. The language keeps to ASCII (comments may
hold anything), so each sign has one spelling that every keyboard and every tool can produce.
"""

from __future__ import annotations

import unicodedata

#: What to write in place of a sign.
SPELLINGS = {
    "^": "`**` is the power: `a ** 2`",
    "%": "the remainder is `mod(a, b)`; a comment begins with `#`",
    "&": "write `and`",
    "|": "write `or`; the absolute value is `abs(a)`",
    "!": "write `not`; two things that differ are compared with `!=`",
    "?": "a choice is written `a if condition else b`",
    "{": "vectors, components and positions take square brackets: `[a, b]`, `h[t-1]`",
    "}": "vectors, components and positions take square brackets: `[a, b]`, `h[t-1]`",
    "\\": "an equation goes on over several lines inside brackets: `( … )`",
    "$": "leave it out: names are plain words",
    "`": "leave it out: names are plain words",
    '"': 'a string is closed on the same line: `from "other.rec" use foo`',
    "⊙": "the element-wise product is `*`",
    "∘": "the element-wise product is `*`",
    "⊗": "the outer product is `outer(u, v)`",
    "·": "write `*` for a product of elements, `u @ v` for the inner product",
    "⋅": "write `*` for a product of elements, `u @ v` for the inner product",
    "•": "write `*` for a product of elements, `u @ v` for the inner product",
    "×": "write `*` for a product of elements, `@` for a product of matrices",
    "∗": "write `*`",
    "÷": "write `/`",
    "∕": "write `/`",
    "±": "write two equations, one with `+` and one with `-`",
    "−": "this is a typographic minus: write `-`",
    "–": "this is a dash: write `-`",
    "—": "this is a dash: write `-`",
    "≤": "write `<=`",
    "≥": "write `>=`",
    "⩽": "write `<=`",
    "⩾": "write `>=`",
    "≠": "write `!=`",
    "≈": "values are compared with `==`, `<=` and their like",
    "≡": "write `==`",
    "←": "an equation is written with `=`",
    "→": "an equation is written with `=`",
    "≔": "an equation is written with `=`",
    "∈": "write `in`: `for l in 1..3`",
    "∞": "write `inf`",
    "√": "write `sqrt(a)`",
    "∑": "write `sum[t](…)`, or `sum(v)` over the components of a vector",
    "Σ": "write `sum[t](…)`, or `sum(v)` over the components of a vector",
    "∏": "write `exp(sum[t](log(…)))`, or a recurrence",
    "Π": "write `exp(sum[t](log(…)))`, or a recurrence",
    "∂": "derivatives are found for you; an ordinary differential equation says `der(h) = …`",
    "∇": "derivatives are found for you",
    "∫": "write a `flow`",
    "σ": "write `sigmoid(…)` for the function, `sigma` for a name",
    "π": "write `pi`",
    "ᵀ": "the transpose is written `W'`",
    "⊤": "the transpose is written `W'`",
    "∧": "write `and`",
    "∨": "write `or`",
    "¬": "write `not`",
    "‖": "write `norm(v)`",
    "∥": "write `norm(v)`",
    "⌊": "write `floor(a)`",
    "⌋": "write `floor(a)`",
    "⌈": "write `ceil(a)`",
    "⌉": "write `ceil(a)`",
    "…": "a range is written with two points: `1..3`",
    "‥": "a range is written with two points: `1..3`",
    "′": "the transpose is written `W'`, with a straight quote",
    "’": "the transpose is written `W'`, with a straight quote",
    "‘": "the transpose is written `W'`, with a straight quote",
    "“": 'strings take straight quotes: `from "other.rec" use foo`',
    "”": 'strings take straight quotes: `from "other.rec" use foo`',
    "：": "write `:`",
    "，": "write `,`",
    "（": "write `(`",
    "）": "write `)`",
    "＝": "write `=`",
    "↦": "an equation is written with `=`",
}
_INDEXED = "ᵢⱼₖₗₘₙₚₛₜₓ"


def spelling(text: str) -> str:
    """How to write `text` (a sign, or a word with foreign letters) in the language; or ""."""
    if text in SPELLINGS:
        return SPELLINGS[text]
    if unicodedata.name(text[-1], "").startswith("SUPERSCRIPT"):
        base = ascii_letters(text[:-1]) or "a"
        return f"`**` is the power: `{base} ** {ascii_letters(text[-1])}`"
    if len(text) > 1 and text[-1] in "ᵀ⊤":
        return f"the transpose is written `{ascii_letters(text[:-1])}'`"
    head = text.rstrip("₀₁₂₃₄₅₆₇₈₉₊₋" + _INDEXED)
    if head != text and head:
        indices = ascii_letters(text[len(head) :])
        return f"an index goes into brackets: `{ascii_letters(head)}[{indices}]`"
    plain = ascii_letters(text)
    return f"names are written in ASCII letters: `{plain}`" if plain.isidentifier() else ""


def ascii_letters(text: str) -> str:
    """The word in ASCII: accents dropped, Greek letters by name, sub- and superscripts lowered."""
    return "".join(_ascii(char) for char in text)


def _ascii(char: str) -> str:
    plain = unicodedata.normalize("NFKD", char).replace("−", "-").encode("ascii", "ignore").decode()
    if plain:
        return plain
    words = unicodedata.name(char, "").split()
    if words[:1] == ["GREEK"] and "LETTER" in words:
        name = words[words.index("LETTER") + 1].lower().replace("lamda", "lambda")
        return name.capitalize() if "CAPITAL" in words else name
    return ""


def description(char: str) -> str:
    """The sign's own name, for signs that a reader might not see or tell from another."""
    name = unicodedata.name(char, "")
    return f"U+{ord(char):04X}" + (f", {name.lower()}" if name else "")
