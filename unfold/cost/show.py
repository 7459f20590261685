"""A bill as a table of text."""

from __future__ import annotations

from .bill import Costs, Side


def table(c: Costs) -> list[tuple[str, str, str]]:
    """Rows of a caption, the value's figure and the gradient's."""
    sides = (c.forward, c.gradient)
    back = c.backward

    def row(caption: str, figure: object) -> tuple[str, str, str]:
        assert callable(figure)
        first, second = (figure(s) if s is not None else "" for s in sides)
        return caption, first, second

    def intensity(s: Side) -> str:
        return f"{s.intensity:.3g}"

    return [
        row("floating-point operations", lambda s: amount(s.work.flops)),
        *([("  of them backward", "", amount(back.flops))] if back is not None else []),
        row("special functions", lambda s: amount(s.work.functions)),
        *([("  of them backward", "", amount(back.functions))] if back is not None else []),
        row("bytes in", lambda s: size(s.read)),
        row("bytes out", lambda s: size(s.written)),
        row("stored for the way back", lambda s: size(s.stored)),
        row("operations per byte", intensity),
    ]


def text(c: Costs) -> str:
    """The whole bill, for a terminal."""
    captions = ("", "value", "value and gradient" if c.gradient is not None else "")
    rows = [captions, *table(c)]
    widths = [max(len(r[k]) for r in rows) for k in range(3)]
    at = ", ".join(f"{n} = {k}" for n, k in c.lengths.items()) or "one step"
    lines = [
        f"{c.model} at {at}, batch {c.batch}, {c.dtype}",
        f"{c.parameters:,} parameters",
        "",
        *(f"{a:<{widths[0]}}  {b:>{widths[1]}}  {d:>{widths[2]}}".rstrip() for a, b, d in rows),
    ]
    if c.memory is not None:
        lines += ["", *_memory(c)]
    if c.implicit:
        names = ", ".join(c.implicit)
        steps = "one step" if c.solve_steps == 1 else f"{c.solve_steps} steps"
        lines.append(f"\nof the implicit {names}: {steps} of the solver each")
    return "\n".join(lines)


def _memory(c: Costs) -> list[str]:
    """The bytes of a gradient's storages, all states kept beside checkpoints."""
    m = c.memory
    assert m is not None
    ratio = f" ({m.ratio:.3g} of what is needed)" if m.held else ""
    own = ""
    if m.held < m.needed:
        few = "one sequence" if m.together == 1 else f"{m.together} sequences"
        own = f", {size(m.held)} at once: {few} at a time"
    lines = [
        "memory of a gradient, beside arrays in and out",
        f"  states that the adjoint needs  {size(m.needed)}{own}",
        f"  allocated, all states kept     {size(m.allocated)}{ratio}",
    ]
    if m.checkpointed is None:
        return [*lines, "  with checkpoints               not possible for this model"]
    assert m.extra is not None
    whole = c.gradient.work.flops if c.gradient is not None else 0
    more = f", {100 * m.extra.flops / whole:.0f} % more" if whole else ""
    return [
        *lines,
        f"  allocated, with checkpoints    {size(m.checkpointed)}, one every {m.segment:,} steps; "
        f"{amount(m.extra.flops)} operations once more{more}",
        f'  checkpoint="auto" takes       {m.chosen}',
    ]


def amount(n: float) -> str:
    """A count with three digits: ``1.71 G``."""
    return _scaled(n, 1000, ("", " k", " M", " G", " T", " P"))


def size(n: float) -> str:
    """Bytes with three digits, in powers of 1,024: ``9.45 MiB``."""
    return _scaled(n, 1024, (" B", " KiB", " MiB", " GiB", " TiB", " PiB"))


def seconds(x: float) -> str:
    """A time with three digits: ``12.3 µs``."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if x >= scale:
            return f"{x / scale:.3g} {unit}"
    return f"{x / 1e-9:.3g} ns"


def _scaled(n: float, base: int, units: tuple[str, ...]) -> str:
    for unit in units[:-1]:
        if n < 999.5 or (base == 1024 and n < 1023.5):
            return f"{n:.4g}{unit}" if unit == units[0] else f"{n:.3g}{unit}"
        n /= base
    return f"{n:.3g}{units[-1]}"
