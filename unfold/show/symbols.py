r"""Names in formulas: what a textbook makes of `W_hy`, `enc.h`, `h_bar`, `theta`.

Matrices and vectors are bold, scalars italic, words upright; `_bar` and `_dot` become accents,
what follows another underscore a subscript, the name of a sub-model a superscript.

>>> print(symbol("W_hy", 2), symbol("theta", 0), symbol("enc.h", 1), symbol("y1", 0))
\mathbf{W}_{hy} \theta \mathbf{h}^{\mathrm{enc}} y_{1}
>>> print(symbol("h_pre_bar", 1, ("t+1",)))
\bar{\mathbf{h}}_{\mathrm{pre},\,t+1}
"""

from __future__ import annotations

from collections.abc import Sequence

GREEK = frozenset(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau "
    "upsilon phi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega".split()
)
ACCENTS = {"bar": ("bar", "overline"), "dot": ("dot", "dot")}


def symbol(name: str, rank: int, index: Sequence[str] = (), whole: bool = False) -> str:
    """The formula for a variable of so many component axes, at positions ``index``. ``whole`` keeps
    the number of `h0` beside the letter, where `h_{0}` would be read as an element of `h`."""
    *path, last = name.split(".")
    base, *parts = last.split("_") if last.strip("_") else [last.replace("_", r"\_")]
    if not base:
        base, parts = last.replace("_", r"\_"), []
    stem = base.rstrip("0123456789")
    if len(stem) == 1 and stem != base and not whole:
        base, parts = stem, [base[1:], *parts]
    accents: list[str] = []
    while parts and parts[-1] in ACCENTS:
        accents.insert(0, parts.pop())
    text = letters(base, rank)
    for accent in accents:
        short, wide = ACCENTS[accent]
        text = rf"\{wide if len(base) > 1 and base not in GREEK else short}{{{text}}}"
    below = [word(p) for p in parts if p]
    positions = ",".join(index)
    if below and positions:
        below.append(r"\," + positions)
    elif positions:
        below.append(positions)
    if below:
        text += f"_{{{','.join(below)}}}"
    if path:
        text += f"^{{{path_of(path)}}}"
    return text


def letters(base: str, rank: int) -> str:
    """The letter or word itself."""
    shown = rf"\{base}" if base in GREEK else base
    if rank:
        return rf"\boldsymbol{{{shown}}}" if base in GREEK else rf"\mathbf{{{shown}}}"
    return shown if base in GREEK or len(base) == 1 else rf"\mathit{{{shown}}}"


def word(part: str) -> str:
    """A subscript: one or two letters in italics, a word upright."""
    if part in GREEK:
        return rf"\{part}"
    return part if len(part) <= 2 or part.isdigit() else rf"\mathrm{{{part}}}"


def path_of(path: Sequence[str]) -> str:
    """`enc`, `layer.2`: the sub-models that a name goes through."""
    return r"\,".join(p if p.isdigit() else rf"\mathrm{{{p.replace('_', ' ')}}}" for p in path)
