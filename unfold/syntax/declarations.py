"""Declarations and heads with a part missing, too much, or written otherwise."""

from __future__ import annotations

from unfold.syntax.diagnostics import Diagnostic, error
from unfold.syntax.lines import BLOCKS
from unfold.syntax.trouble import Trouble

_EXAMPLES = {
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


def part(x: Trouble) -> Diagnostic | None:
    """Single parts of declarations that are often written otherwise."""
    kind, found = x.line.first, x.found
    example = _EXAMPLES.get(kind, "")
    if found is None:
        return None
    if kind in BLOCKS and x.before == ":" and not x.open:
        return error(
            "E0105",
            f"the body of a `{x.words[0]}` stands on lines of its own",
            (x.span, "expected the end of the line"),
            helps=["write it below, indented by four spaces"],
        )
    declares = kind in ("INPUT", "PARAM", "RANDOM") and not any(w == ":" for w in x.flat)
    if kind in ("INPUT", "PARAM", "RANDOM") and found == "(" and not x.open:
        message, label = "indices and sizes stand in square brackets", "expected `[`"
        help_ = f"`{example}`"
    elif declares and len(x.open) == 1:
        message, label = "a declaration names the indices it lives on", "not the name of an index"
        help_ = f"`{example}`; single elements are given by equations: `h[0] = …`"
    elif kind == "INPUT" and found in ("=", "~"):
        message, label = "an input has no value of its own: it comes from the caller", "a value"
        help_ = "a fixed value is a `const`, a learnt one a `param`"
    elif kind == "PARAM" and found.type == "NAME" and "TILDE" in x.accepts:
        message, label = "an initialiser is introduced by `~`", "expected `~` or `=`"
        help_ = f"`~ {found}`"
    elif kind == "DER" and x.at == 3:
        message, label = "a derivative is one of a whole state", "expected `)`"
        help_ = f"`der({x.before}) = …`, without an index"
    elif kind in ("OUTPUT", "MINIMIZE") and found == "=":
        message, label = f"an equation is no part of `{x.words[0]}`", "expected the end of the line"
        help_ = f"write it on a line of its own, and `{x.words[0]} {x.text(1, x.at)}`"
    elif kind == "MINIMIZE" and found == "," and not x.open:
        message, label = "each loss has a line of its own", "expected the end of the line"
        help_ = "write `minimize` again for the next loss, or minimize the sum"
    else:
        return None
    return error("E0123", message, (x.span, label), helps=[help_])


def whole(x: Trouble) -> Diagnostic | None:
    """Declarations with a part missing or too much."""
    example = _EXAMPLES.get(x.line.first)
    if example is None or x.open or (x.at > 1 and (x.wants_expression or x.wants_operator)):
        return None
    found = "the line ends here" if x.found is None else f"found `{x.found}`"
    place = "line" if x.line.first == "FROM" else f"`{x.words[0]}`"
    return error(
        "E0123",
        f"expected {x.expected()} in this {place}",
        (x.span, found),
        helps=[f"it is written like this: `{example}`"],
    )
