"""Explicit Runge-Kutta schemes as tables of exact weights (Hairer, Nørsett and Wanner, *Solving
Ordinary Differential Equations I*, 1993, sections II.1 and II.5)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

Row = tuple[Fraction, ...]


@dataclass(frozen=True)
class Scheme:
    """An explicit scheme: stage i reads ``a[i]`` of the slopes before it, the result ``b``.

    ``error`` are the weights of the difference to an embedded scheme of lower order, if there is
    one.
    """

    a: tuple[Row, ...]
    b: Row
    error: Row = ()


def _row(*weights: str) -> Row:
    return tuple(Fraction(w) for w in weights)


SCHEMES: dict[str, Scheme] = {
    "euler": Scheme((_row(),), _row("1")),
    "midpoint": Scheme((_row(), _row("1/2")), _row("0", "1")),
    "heun": Scheme((_row(), _row("1")), _row("1/2", "1/2")),
    "rk4": Scheme(
        (_row(), _row("1/2"), _row("0", "1/2"), _row("0", "0", "1")),
        _row("1/6", "1/3", "1/3", "1/6"),
    ),
}

#: From so many equal steps up they stand on an axis of their own: the size of the program, and of
#: its code, does not depend on how many there are. Fewer are written out, which is faster.
ROLLED = 8

_FIFTH = _row("35/384", "0", "500/1113", "125/192", "-2187/6784", "11/84")
#: Dormand and Prince 1980, "A family of embedded Runge-Kutta formulae" (table II.5.2). Its last
#: stage is the first one of the next step.
DOPRI5 = Scheme(
    (
        _row(),
        _row("1/5"),
        _row("3/40", "9/40"),
        _row("44/45", "-56/15", "32/9"),
        _row("19372/6561", "-25360/2187", "64448/6561", "-212/729"),
        _row("9017/3168", "-355/33", "46732/5247", "49/176", "-5103/18656"),
        _FIFTH,
    ),
    _FIFTH,
    _row("71/57600", "0", "-71/16695", "71/1920", "-17253/339200", "22/525", "-1/40"),
)

__all__ = ["DOPRI5", "ROLLED", "SCHEMES", "Row", "Scheme"]
