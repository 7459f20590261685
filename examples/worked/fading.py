"""What three recurrent networks still know of a signal after 200 steps, in one picture.

    python examples/worked/fading.py

An Elman network loses it within some twenty steps; an LSTM whose gates start by the "chrono"
initialisation keeps it; a ReLU network with an orthogonal matrix, all of whose units are active,
passes gradients on without any change. Writes examples/out/fading.png and tells the verdicts.
"""

from __future__ import annotations

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
STEPS, INPUTS, UNITS = 200, 4, 32
THRESHOLD = 0.01

MODELS = """
from cells use elman, lstm

model elman_network(D, H):
    input  x[t]: real[D]
    cell = elman(x, H)
    output cell.h[t]

model lstm_network(D, H):
    input  x[t]: real[D]
    cell = lstm(x, H)
    output cell.h[t], cell.c[t]

model orthogonal_relu(H):
    input  x[t]: real[H]
    param  U: real[H, H]  ~ orthogonal
    h[0] = 1
    h[t] = relu(U @ h[t-1] + x[t])
    output h[t]
"""


def compiled(name: str, **sizes: int) -> unfold.Function:
    return unfold.compile(unfold.loads(MODELS, model=name), sizes=sizes)


def chrono(params: dict[str, Array], longest: int, rng: np.random.Generator) -> dict[str, Array]:
    """Gates with time constants up to ``longest``: Tallec and Ollivier, "Can recurrent neural
    networks warp time?", ICLR 2018. The forget gate's bias is log(u), u uniform in 1..longest - 1,
    and the input gate's bias its opposite; the gates read little of the inputs at first."""
    bias = np.log(rng.uniform(1, longest - 1, UNITS))
    gates = {n: 0.1 * params[n] for n in ("cell.Wf", "cell.Uf", "cell.Wi", "cell.Ui")}
    return {**params, **gates, "cell.bf": bias, "cell.bi": -bias}


def active(fn: unfold.Function, params: dict[str, Array], rng: np.random.Generator) -> Array:
    """Inputs under which every unit of the ReLU network stays active; shape (STEPS, UNITS)."""
    states = rng.uniform(0.5, 1.5, (STEPS + 1, UNITS))
    states[0] = 1
    return np.asarray(states[1:] - states[:-1] @ params["U"].T)


def pulse(fn: unfold.Function, params: dict[str, Array], x: Array, state: str) -> Array:
    """How far a pulse at the first step moves a state, by step, relative to the first step."""
    moved = x.copy()
    moved[0] += 1e-4
    apart = np.linalg.norm(fn(params, x=moved)[state] - fn(params, x=x)[state], axis=1)
    return np.asarray(apart / apart[0])


def main() -> dict[str, analysis.JacobianProduct]:
    """Measure all three and draw them; the results by the name of the network."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(STEPS, INPUTS))
    elman = compiled("elman_network", D=INPUTS, H=UNITS)
    lstm = compiled("lstm_network", D=INPUTS, H=UNITS)
    relu = compiled("orthogonal_relu", H=UNITS)
    cases: dict[str, tuple[unfold.Function, dict[str, Array], Array, str]] = {}
    cases["Elman network"] = (elman, elman.init(seed=0), x, "cell.h")
    cases["LSTM, chrono initialisation"] = (
        lstm, chrono(lstm.init(seed=0), 2 * STEPS, rng), x, "cell.c",
    )  # fmt: skip
    params = relu.init(seed=0)
    cases["orthogonal ReLU network"] = (relu, params, active(relu, params, rng), "h")

    figure, (left, right) = plt.subplots(1, 2, figsize=(12.0, 4.4), layout="constrained")
    found: dict[str, analysis.JacobianProduct] = {}
    styles = zip(("#D55E00", "#0072B2", "#000000"), ("-", "-", "--"), strict=True)
    for (name, (fn, params, data, state)), (colour, line) in zip(
        cases.items(), styles, strict=True
    ):
        result = analysis.jacobian_product(fn, params, {"x": data}, threshold=THRESHOLD)
        found[name] = result
        print(f"{name}: {result.verdict}")
        left.semilogy(np.exp(result.log_norms), line, color=colour, linewidth=1.8, label=name)
        kept = pulse(fn, params, data, state)
        right.semilogy(np.arange(STEPS), kept, line, color=colour, linewidth=1.8)
    left.set_title("Norm of the Jacobian over k steps", loc="left", fontsize=11)
    left.set_xlabel("lag k (steps)")
    left.set_ylabel("norm of d state[T] / d state[T-k]")
    right.set_title("A small pulse at the first step", loc="left", fontsize=11)
    right.set_xlabel("steps after the pulse")
    right.set_ylabel("change of the state, relative to step 1")
    for ax in (left, right):
        ax.set_ylim(1e-6, 10)
        ax.set_xlim(0, STEPS)
        ax.axhline(THRESHOLD, color="#888888", linewidth=1.0, linestyle=":")
        ax.annotate("1 %", (STEPS, THRESHOLD), xytext=(-4, 3), textcoords="offset points",
                    ha="right", fontsize=8, color="#555555")  # fmt: skip
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(True, color="#dddddd", linewidth=0.6)
    lag = found["Elman network"].verdict.lag
    if lag is not None:
        left.annotate(f"lost from lag {lag} on", (lag, THRESHOLD), xytext=(30, -34),
                      textcoords="offset points", fontsize=9, color="#D55E00",
                      arrowprops={"arrowstyle": "->", "color": "#D55E00"})  # fmt: skip
    left.legend(frameon=False, fontsize=9, loc="lower right")
    OUT.mkdir(exist_ok=True)
    figure.savefig(OUT / "fading.png", dpi=150)
    plt.close(figure)
    print(f"wrote {OUT / 'fading.png'}")
    return found


if __name__ == "__main__":
    main()
