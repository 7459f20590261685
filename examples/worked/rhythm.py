"""A recurrent network learns a noisy rhythm; its frequency is read off its eigenvalues.

    python examples/worked/rhythm.py

Trains a small tanh network to foretell a 2 Hz rhythm under noise, 50 samples a second. Then the
network runs by itself, each forecast being its next input, and the fixed point of that autonomous
system is found: the eigenvalues of its step there tell the frequency that it has learnt,
`f = arg(lambda) / (2 pi dt)`, which agrees with that of the data. Writes examples/out/rhythm.png
and tells both frequencies.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")  # pictures go to files, whether or not there is a screen

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

import unfold
from unfold import analysis

Array = NDArray[np.float64]
OUT = Path(__file__).resolve().parent.parent / "out"

DT, FREQUENCY = 0.02, 2.0  # seconds, hertz
AMPLITUDE, NOISE = 0.5, 0.15  # of the rhythm; the standard deviation of the noise
STEPS, SEQUENCES, UNITS, UPDATES = 100, 32, 8, 600

MODEL = """
# The next value of a rhythm from noisy ones: an Elman network with a linear readout.
model rhythm(H):
    input  x[t], next[t]: real
    param  w: real[H]     ~ normal(0.3)
    param  U: real[H, H]  ~ orthogonal
    param  b: real[H]     = 0
    param  v: real[H]     ~ normal(0.3)

    h[0] = 0
    h[t] = tanh(w * x[t] + U @ h[t-1] + b)
    y[t] = v @ h[t]
    loss = mean[t]((y[t] - next[t]) ** 2)

    output h[t], y[t]
    minimize loss
"""

# The same network on its own: what it foretells is what it hears next.
FREE = """
model free_rhythm(H):
    param  w: real[H]     ~ normal(0.3)
    param  U: real[H, H]  ~ orthogonal
    param  b: real[H]     = 0
    param  v: real[H]     ~ normal(0.3)
    param  h0: real[H]    = 0

    h[0] = h0
    h[t] = tanh(w * (v @ h[t-1]) + U @ h[t-1] + b)
    y[t] = v @ h[t]

    output h[t], y[t]
"""


@dataclass(frozen=True)
class Found:
    """What was measured, in hertz and seconds.

    Attributes:
        data: the frequency of the data, from the peak of their spectrum.
        network: that of the leading eigenvalue at the fixed point.
        points: the fixed points.
        losses: before each update.
    """

    data: float
    network: float
    points: analysis.FixedPoints
    losses: list[float]


def recorded(rng: np.random.Generator, sequences: int, steps: int) -> Array:
    """Sines of the rhythm's frequency with phases of their own, under noise."""
    time = DT * np.arange(steps)
    phase = rng.uniform(0, 2 * np.pi, (sequences, 1))
    clean = AMPLITUDE * np.sin(2 * np.pi * FREQUENCY * time + phase)
    return np.asarray(clean + NOISE * rng.normal(size=clean.shape))


def spectral_peak(x: Array) -> float:
    """The frequency at which the mean spectrum is largest, by a parabola through its peak."""
    padded = 16 * x.shape[1]
    window = np.hanning(x.shape[1])
    power = np.log((np.abs(np.fft.rfft(window * x, padded, axis=1)) ** 2).mean(axis=0))
    k = int(power[1:-1].argmax()) + 1
    a, b, c = power[k - 1 : k + 2]
    return float((k + 0.5 * (a - c) / (a - 2 * b + c)) / (padded * DT))


def main() -> Found:
    rng = np.random.default_rng(1)
    fn = unfold.compile(MODEL, H=UNITS)
    trainer = fn.trainer(fn.init(seed=2), unfold.Adam(rate=5e-3), clip_norm=1.0)
    losses = []
    for _ in range(UPDATES):
        x = recorded(rng, SEQUENCES, STEPS + 1)
        losses.append(float(trainer.step(x=x[:, :-1], next=x[:, 1:])))
    test = recorded(rng, SEQUENCES, STEPS + 1)
    heard = fn(trainer.params, x=test[0, :-1], next=test[0, 1:])
    free = unfold.compile(FREE, H=UNITS)
    own = {**trainer.params, "h0": heard["h"][-1]}
    points = analysis.fixed_points(free, own, {"T": 4 * STEPS}, dt=DT, unit="s")
    print(points)
    leading = points.points[0]
    network = float(leading.frequencies[0])
    measured = spectral_peak(test)
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f} (the noise alone: {NOISE**2:.3f})")
    print(f"frequency of the data {measured:.3f} Hz, of the network's eigenvalue {network:.3f} Hz")
    draw(test[0, 1:], heard["y"], free(own, T=2 * STEPS)["y"], points, measured, network)
    return Found(measured, network, points, losses)


def draw(
    data: Array,
    forecast: Array,
    alone: Array,
    points: analysis.FixedPoints,
    measured: float,
    network: float,
) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(12.0, 4.4), layout="constrained")
    seconds = DT * np.arange(1, len(data) + len(alone) + 1)
    left.plot(seconds[: len(data)], data, ".", color="#888888", markersize=4, label="data")
    left.plot(seconds[: len(data)], forecast, color="#0072B2", linewidth=1.8,
              label="forecast, step by step")  # fmt: skip
    left.plot(seconds[len(data) :], alone, color="#D55E00", linewidth=1.8,
              label="the network on its own")  # fmt: skip
    left.set_title(
        f"A noisy rhythm of {measured:.2f} Hz, forecast and continued", loc="left", fontsize=11
    )
    left.set_xlabel("time (s)")
    left.set_ylabel("value")
    left.set_ylim(-1.1, 1.4)
    left.legend(frameon=False, fontsize=9, ncols=3, loc="upper right")
    left.spines[["top", "right"]].set_visible(False)
    points.plot(right)
    turn = 2 * np.pi * measured * DT
    for sign, label in ((1, "angle of the data's frequency"), (-1, None)):
        right.plot([0, 1.1 * np.cos(turn)], [0, 1.1 * sign * np.sin(turn)], "--", color="#D55E00",
                   linewidth=1.2, label=label)  # fmt: skip
    right.set_title(f"Eigenvalues at the fixed point: {network:.2f} Hz", loc="left", fontsize=11)
    right.legend(fontsize=9, loc="upper left", framealpha=1.0, edgecolor="white")
    OUT.mkdir(exist_ok=True)
    figure.savefig(OUT / "rhythm.png", dpi=150)
    plt.close(figure)
    print(f"wrote {OUT / 'rhythm.png'}")


if __name__ == "__main__":
    main()
