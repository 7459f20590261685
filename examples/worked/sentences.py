"""Does the verb fit its subject? Sentences judged by the last state and by attention to all states.

    python examples/worked/sentences.py

The sentences are made by a small grammar, after Linzen, Dupoux and Goldberg, "Assessing the ability
of LSTMs to learn syntax-sensitive dependencies", 2016: "the keys to the cabinet that is near the
dogs are old beside the house ." Half of them have the wrong main verb. Other nouns come between
subject and verb, clauses with verbs of their own, and phrases after it; the test has more of them
between than were ever seen in training. Sentences are of unequal length: `unfold.fit` makes batches
of like ones. A GRU is read either at the end (`last_state.rec`) or by a weighted mean of its states
(`attention_pooling.rec`), whose weights the picture shows; both learn from the same
sentences, few and many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import unfold

plt.switch_backend("Agg")

HERE = Path(__file__).parent
OUT = HERE.parent / "out"

MODELS = {"last_state": "#0072b2", "attention_pooling": "#d55e00"}
NOUNS = "key cabinet dog house tree book road boat".split()
PLURALS = [f"{noun}s" for noun in NOUNS]
PLACES = "to near beside behind under".split()
ADJECTIVES = "old red small heavy lost new".split()
WORDS = ["the", "that", "is", "are", ".", *NOUNS, *PLURALS, *PLACES, *ADJECTIVES]
#: Phrases between subject and verb: at most so many in training, and in the test.
TRAINED, TESTED = 4, 8
CASES = f"0-{TRAINED} phrases between", f"{TRAINED + 1}-{TESTED}, never trained"

Array = NDArray[Any]


@dataclass(frozen=True)
class Sentence:
    """Its words, whether the verb fits, and how many phrases stand between subject and verb."""

    words: tuple[str, ...]
    fits: bool
    between: int


@dataclass(frozen=True)
class Result:
    """Runs by model, for each number of sentences to train on and each seed, and what came of them.

    Accuracy is by phrases between as well: (sizes, seeds, TESTED + 1).
    """

    sizes: list[int]
    fits: dict[str, list[list[unfold.Fit]]]
    accuracy: dict[str, Array]
    test: list[Sentence]


def sentence(draw: np.random.Generator, between: int) -> Sentence:
    """A sentence of the grammar, in one of two cases with the wrong main verb."""

    def noun() -> tuple[str, bool]:
        plural = bool(draw.integers(2))
        return str(draw.choice(PLURALS if plural else NOUNS)), plural

    def verb(plural: bool) -> str:
        return "are" if plural else "is"

    head, plural = noun()
    words, nearest = ["the", head], plural
    for _ in range(between):
        if draw.random() < 0.4:
            words += ["that", verb(nearest)]  # this one always fits the noun before it
        name, nearest = noun()
        words += [str(draw.choice(PLACES)), "the", name]
    fits = bool(draw.integers(2))
    words += [verb(plural == fits), str(draw.choice(ADJECTIVES))]
    for _ in range(draw.integers(0, TRAINED + 1)):
        words += [str(draw.choice(PLACES)), "the", noun()[0]]
    return Sentence((*words, "."), fits, between)


def load(train: int, test: int, seed: int = 0) -> tuple[list[Sentence], list[Sentence]]:
    """Sentences to train on, and ``test`` others for each number of phrases between."""
    draw = np.random.default_rng(seed)
    first = [sentence(draw, int(draw.integers(0, TRAINED + 1))) for _ in range(train)]
    seen = {s.words for s in first}
    second: list[Sentence] = []
    for between in range(TESTED + 1):
        while len(second) < (between + 1) * test:
            new = sentence(draw, between)
            if new.words not in seen:
                second.append(new)
    return first, second


def data(sentences: Sequence[Sentence]) -> dict[str, list[Any]]:
    number = {word: k for k, word in enumerate(WORDS)}
    return {
        "word": [np.array([number[w] for w in s.words]) for s in sentences],
        "fits": [int(s.fits) for s in sentences],
    }


def run(
    sizes: Sequence[int] = (750, 1500, 3000, 6000), seeds: Sequence[int] = range(3),
    epochs: int = 12, test: int = 200, hidden: int = 32,
) -> Result:  # fmt: skip
    first, second = load(max(sizes), test)
    fits: dict[str, list[list[unfold.Fit]]] = {}
    for name in MODELS:
        widths = {"K": len(WORDS), "M": 16, "H": hidden}
        if name == "attention_pooling":
            widths["A"] = 16
        fn = unfold.compile(HERE / f"{name}.rec", dtype="float32", sizes=widths)
        fits[name] = [
            [
                unfold.fit(
                    fn,
                    data(first[:size]),
                    optimiser=unfold.Adam(rate=3e-3),
                    epochs=epochs,
                    clip_norm=1.0,
                    seed=seed,
                )
                for seed in seeds
            ]
            for size in sizes
        ]
    accuracy = {
        name: np.array([[right(f.function, f.params, second) for f in row] for row in rows])
        for name, rows in fits.items()
    }
    return Result(list(sizes), fits, accuracy, second)


def right(fn: unfold.Function, params: dict[str, Array], sentences: Sequence[Sentence]) -> Array:
    """The share that is judged rightly, by the number of phrases between subject and verb."""
    between = np.array([s.between for s in sentences])
    fits = np.array([s.fits for s in sentences])
    said = outputs(fn, params, sentences)["y"].argmax(-1)
    return np.array([(said == fits)[between == k].mean() for k in np.unique(between)])


def near_and_far(accuracy: Array) -> tuple[Array, Array]:
    """The mean over as many phrases between as in training, and over more; the last axis goes."""
    near, far = np.split(accuracy, [TRAINED + 1], axis=-1)
    return near.mean(-1), far.mean(-1)


def outputs(
    fn: unfold.Function, params: dict[str, Array], sentences: Sequence[Sentence]
) -> unfold.Outputs:
    """Of a padded batch of sentences."""
    columns = data(sentences)
    lengths = np.array([len(word) for word in columns["word"]])
    word = np.zeros((len(sentences), lengths.max()), np.int64)
    for row, tokens in zip(word, columns["word"], strict=True):
        row[: len(tokens)] = tokens
    return fn(params, word=word, fits=np.array(columns["fits"]), lengths=lengths)


def plot(result: Result) -> Figure:
    """Accuracy by the number of sentences to learn from, and where attention looks in some."""
    figure, (above, below) = plt.subplots(2, 1, figsize=(11, 7.5), height_ratios=[1, 1.1])
    for name, color in MODELS.items():
        parts = near_and_far(result.accuracy[name])
        for part, style, what in zip(parts, ("o-", "s--"), CASES, strict=True):
            above.plot(result.sizes, part.mean(1), style, color=color,
                       label=f"{name.replace('_', ' ')}, {what}")  # fmt: skip
            for seed in part.T:
                above.plot(result.sizes, seed, style[0], color=color, alpha=0.4, ms=4)
    above.axhline(0.5, color="0.6", lw=1, ls="--")
    above.set(xscale="log", xticks=result.sizes, xticklabels=result.sizes, ylim=(0.4, 1.02),
              xlabel="sentences to train on", ylabel="accuracy in the test")  # fmt: skip
    above.minorticks_off()
    above.legend(frameon=False)
    above.spines[["top", "right"]].set_visible(False)

    fit = result.fits["attention_pooling"][-1][0]
    shown = [next(s for s in result.test if s.between == k) for k in (1, 2, 3, 4)]
    out = outputs(fit.function, fit.params, shown)
    longest = max(len(s.words) for s in shown)
    for k, s in enumerate(shown):
        strongest = out["a"][k].max()
        for t, word in enumerate(s.words):
            share = out["a"][k, t] / strongest
            below.add_patch(Rectangle((t, -k - 0.4), 1, 0.8, color="#d55e00", alpha=share))
            below.text(t + 0.5, -k, word, ha="center", va="center", fontsize=7.5, rotation=30)
        said = out["y"][k].argmax() == 1
        verdict = "fits" if said else "does not fit"
        below.text(longest + 0.3, -k, f"{verdict}\n({'right' if said == s.fits else 'wrong'})",
                   va="center", fontsize=8)  # fmt: skip
    below.set(xlim=(0, longest + 3), ylim=(-len(shown) + 0.4, 0.6))
    below.set_title("where attention looks (the darker, the more), and the verdict", fontsize=10)
    below.set_axis_off()
    figure.tight_layout()
    return figure


def main() -> None:
    console = Console()
    result = run()
    table = Table("", "sentences", *CASES, "loss in training", "seconds a run",
                  title="accuracy in the test, mean and spread of the seeds")  # fmt: skip
    for name, rows in result.fits.items():
        for k, fits in enumerate(rows):
            parts = near_and_far(result.accuracy[name][k])
            loss = np.mean([fit.history[-1]["loss"] for fit in fits])
            seconds = np.mean([sum(h["seconds"] for h in fit.history) for fit in fits])
            table.add_row(
                name.replace("_", " "), str(result.sizes[k]),
                *(f"{part.mean():.1%} ± {part.std():.1%}" for part in parts),
                f"{loss:.4f}", f"{seconds:.1f}",
            )  # fmt: skip
    console.print(table)
    OUT.mkdir(exist_ok=True)
    figure = plot(result)
    figure.savefig(OUT / "sentences.png", dpi=150)
    plt.close(figure)
    console.print("wrote examples/out/sentences.png")


if __name__ == "__main__":
    main()
