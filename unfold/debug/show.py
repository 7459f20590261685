"""A report as text, in the form of the compiler's other diagnostics."""

from __future__ import annotations

import math

from ..syntax.diagnostics import Diagnostic, Label, render
from ..syntax.span import Source, Span
from .reasons import show
from .report import Fault, Range, Report

_PHASES = {
    "given": "given", "forward": "forward pass", "backward": "backward pass",
    "batch": "sum over the batch",
}  # fmt: skip
#: So many sequences are listed.
_LISTED = 8


def text(report: Report) -> str:
    """The whole report."""
    blocks = [_fault(f) for f in report.faults]
    if report.ok:
        passes = "values and gradients are" if report.backward else "values are"
        batch = "" if report.sequences is None else f" in all {report.sequences} sequences"
        blocks.append(f"{report.model}: all {passes} finite{batch} ({_how(report)})")
    if report.elsewhere:
        listed = [f"{n} ({at})" for n, at in report.elsewhere[:_LISTED]]
        more = len(report.elsewhere) - len(listed)
        end = f" and {more} more" if more > 0 else ""
        blocks.append(f"other sequences with a fault of their own: {', '.join(listed)}{end}")
    blocks.append(_table(report.ranges))
    if report.notes:
        blocks.append("\n".join(f"note: {n}" for n in report.notes))
    return "\n\n".join(b for b in blocks if b)


def _how(report: Report) -> str:
    return f"{report.backend}, {report.dtype}"


def headline(f: Fault) -> str:
    """``h[3] is nan (component 2; forward pass, sequence 5)``."""
    where = [_PHASES[f.phase]]
    if f.sequence is not None:
        where.append(f"sequence {f.sequence}")
    part = ""
    if f.component:
        part = f"component {_component(f.component)}; "
    return f"{f.element} is {show(f.value)} ({part}{', '.join(where)})"


def _fault(f: Fault) -> str:
    labels: tuple[Label, ...] = ()
    last = f.operations[0] if f.operations else None
    if f.source is not None:
        span = Span(Source(f.source.file, f.source.whole), f.source.start, f.source.end)
        words = last.reason if last is not None else ""
        if f.derivative_in is not None:
            words = f"its derivative in `{f.derivative_in}`" + (f": {words}" if words else "")
        elif f.phase == "backward":
            words = "in its derivative" + (f": {words}" if words else "")
        labels = (Label(span, words),)
    notes = []
    if f.equation is not None and (f.phase == "backward" or f.source is None):
        kind = "the adjoint equation: " if f.phase == "backward" else "in the equation: "
        notes.append(kind + f"`{_short(f.equation)}`")
    for number, op in enumerate(f.operations):
        why = op.reason if number or not labels else ""
        with_ = ", ".join(f"{t} = {show(v)}" for t, v in op.operands if not _is_number(t))
        told = "; ".join(filter(None, (why, with_)))
        notes.append(f"{op.text} = {show(op.value)}" + (f": {told}" if told else ""))
    for r in f.reads:
        if r.bad is not None:
            at = f"component {_component(r.at)} " if r.at else ""
            finite = "" if math.isnan(r.low) else f", the others in {_interval(r.low, r.high)}"
            notes.append(f"{r.name}: {at}is {show(r.bad)}{finite if r.at else ''}")
        else:
            notes.append(f"{r.name}: {_interval(r.low, r.high)}")
    if f.growth is not None:
        g = f.growth
        name = f"{g.variable}[{', '.join(map(str, g.since))}]"
        until = f"{g.variable}[{', '.join(map(str, g.until))}]"
        notes.append(
            f"growing since {name}: largest magnitudes from {show(g.first)} to {show(g.last)} at "
            f"{until}, by a factor of {show(g.factor)} a step"
        )
    elif len(f.chain) > 1:
        fed = " <- ".join(f"{n} ({show(size)})" for n, size in f.chain)
        notes.append(f"fed by (largest magnitudes): {fed}")
    notes += f.notes
    rendered = render(Diagnostic("", "error", "", labels, tuple(notes)))
    _, *rest = rendered.splitlines()
    if not labels:
        rest = [f"  = {notes[0]}", *(f"  = {n}" for n in notes[1:])] if notes else []
    return "\n".join([f"error: {headline(f)}", *rest])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _short(text: str, most: int = 160) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _interval(low: float, high: float) -> str:
    return show(low) if low == high else f"{show(low)} .. {show(high)}"


def _component(at: tuple[int, ...]) -> str:
    return str(at[0]) if len(at) == 1 else f"({', '.join(map(str, at))})"


def _table(ranges: tuple[Range, ...]) -> str:
    rows = [("", "least", "greatest", "smallest size", "largest size", "not finite")]
    phase = ""
    for r in ranges:
        if r.phase != phase:
            phase = r.phase
            rows.append((f"{_PHASES[phase]}:", "", "", "", "", ""))
        counts = [f"{r.nan:,} nan"] * bool(r.nan) + [f"{r.infinite:,} inf"] * bool(r.infinite)
        if math.isnan(r.low):
            rows.append((f"  {r.name}", "", "", "", "", ", ".join(counts)))
            continue
        small = "0" if r.smallest is None else show(r.smallest)
        rows.append(
            (f"  {r.name}", show(r.low), show(r.high), small, show(r.largest), ", ".join(counts))
        )
    if len(rows) == 1:
        return ""
    widths = [max(len(row[k]) for row in rows) for k in range(6)]
    lines = (
        f"{row[0]:<{widths[0]}}  "
        + "  ".join(f"{cell:>{w}}" for cell, w in zip(row[1:], widths[1:], strict=True))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


__all__ = ["headline", "text"]
