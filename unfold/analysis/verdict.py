"""Vanishing, exploding or steady: the verdict on a signal over lags."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .result import from_log, number

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Verdict:
    """What becomes of a signal, relative to what it is at lag 0.

    Attributes:
        kind: ``vanishing`` (in the end under ``threshold`` of itself), ``exploding`` (in the end
            over ``1 / threshold`` times itself), ``steady`` or ``undefined`` (not a number).
        lag: from which lag on it is under (or over) for good; ``None`` if steady.
        lags: the largest lag that was looked at.
        log_final: natural logarithm of what is left there.
        log_rate: the mean change of the logarithm a step.
    """

    kind: str
    lag: int | None
    lags: int
    threshold: float
    log_final: float
    log_rate: float

    def __str__(self) -> str:
        rate = f"x {np.exp(self.log_rate):.4g} a step on average"
        left = from_log(self.log_final)
        if self.kind == "vanishing":
            part = f"{number(100 * self.threshold)} %"
            return f"vanishing: under {part} from lag {self.lag} on ({rate})"
        if self.kind == "exploding":
            return f"exploding: over {number(1 / self.threshold)} x from lag {self.lag} on ({rate})"
        if self.kind == "undefined":
            return f"undefined: not a number at lag {self.lag}"
        text = f"steady: x {left} after {self.lags} steps ({rate}"
        if self.log_rate and np.isfinite(self.log_rate):
            ahead = abs(np.log(self.threshold) / self.log_rate)
            if ahead < 10 * self.lags:
                way = "under" if self.log_rate < 0 else "over"
                share = self.threshold if self.log_rate < 0 else 1 / self.threshold
                text += f"; at this rate {way} x {number(share)} from about lag {ahead:.0f}"
        return text + ")"


def judge(logs: Array, threshold: float) -> Verdict:
    """The verdict on norms by lag 0, 1, …, given as natural logarithms.

    Raises `InputError` for a threshold outside 0..1.
    """
    if not 0 < threshold < 1:
        raise InputError(f"threshold is a share between 0 and 1, not {threshold!r}")
    last = len(logs) - 1
    bad = np.flatnonzero(np.isnan(logs) | (logs == np.inf))
    if bad.size or logs[0] == -np.inf:
        at = int(bad[0]) if bad.size else 0
        return Verdict("undefined", at, last, threshold, float("nan"), float("nan"))
    own = logs - logs[0]
    alive = np.flatnonzero(own > -np.inf)
    end = int(alive[-1])
    rate = float(own[end] / end) if end else (0.0 if last == 0 else -np.inf)
    if own[-1] < np.log(threshold):
        kind, outside = "vanishing", own < np.log(threshold)
    elif own[-1] > -np.log(threshold):
        kind, outside = "exploding", own > -np.log(threshold)
    else:
        return Verdict("steady", None, last, threshold, float(own[-1]), rate)
    inside = np.flatnonzero(~outside)
    return Verdict(kind, int(inside[-1]) + 1, last, threshold, float(own[-1]), rate)
