"""A character model of English prose: the topics of Python's own documentation, which come with it.

    python examples/worked/characters.py

An LSTM (`examples/charlm.rec`) reads the text that `help("topics")` shows, in 32 streams side by
side, by windows of 64 characters, each from the state that the one before ended in. It is judged in
bits a character on topics that it has not seen, beside n-grams, which count what followed the last
k characters (interpolated; Witten and Bell, "The zero-frequency problem", 1991). Then it writes, at
several temperatures. Paragraphs that stand in several topics are used once, lest the test be in the
training.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from pydoc_data import topics

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import unfold

plt.switch_backend("Agg")

HERE = Path(__file__).parent
EXAMPLES = HERE.parent
OUT = EXAMPLES / "out"

VOCABULARY = ["\n", *map(chr, range(32, 127))]
PLAIN = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-", "…": "..."})
BATCH, WINDOW = 32, 64  # streams side by side, and characters of each to an update
PROMPT = "The value of "
TEMPERATURES = 0.3, 0.7, 1.0

Tokens = NDArray[np.int64]


@dataclass(frozen=True)
class Result:
    """Bits a character on the test, of the network and of n-grams by order, and what it wrote."""

    fit: unfold.Fit
    bits: float
    grams: dict[int, float]
    written: dict[float, str]
    sizes: tuple[int, int]  # characters to train on, and of the test


def load(share: float = 0.1, seed: int = 0) -> tuple[str, str]:
    """The text of the topics to train on, and of those for the test, about a share of all."""
    order = sorted(topics.topics)
    seen: set[str] = set()
    texts = []
    for name in order:
        plain = topics.topics[name].translate(PLAIN)
        plain = "".join(c if c in VOCABULARY else "?" for c in plain)
        fresh = []
        for paragraph in plain.split("\n\n"):
            bare = " ".join(paragraph.split())
            if bare and bare not in seen:
                seen.add(bare)
                fresh.append(paragraph.strip("\n"))
        texts.append("\n\n".join(fresh) + "\n\n\n")
    total = sum(map(len, texts))
    train, test = [], []
    held = 0
    for k in np.random.default_rng(seed).permutation(len(texts)):
        if held + len(texts[k]) <= share * total:
            held += len(texts[k])
            test.append(texts[k])
        else:
            train.append(texts[k])
    return "".join(train), "".join(test)


def tokens(text: str) -> Tokens:
    number = {c: k for k, c in enumerate(VOCABULARY)}
    return np.array([number[c] for c in text])


def stream(text: str) -> dict[str, Tokens]:
    """The text as one sequence: each character, and the one to come."""
    read = tokens(text)
    return {"x": read[:-1], "target": read[1:]}


def run(
    epochs: int = 16, hidden: int = 128, characters: int | None = None, length: int = 300,
    orders: Sequence[int] = range(1, 8), seed: int = 0,
) -> Result:  # fmt: skip
    """Train, judge and generate; `characters` of the text at most are used to train."""
    train, test = load()
    train = train[:characters]
    updates = epochs * math.ceil((len(train) - 1) // BATCH / WINDOW)
    fit = unfold.fit(
        EXAMPLES / "charlm.rec",
        stream(train),
        validation=stream(test),
        optimiser=unfold.Adam(rate=5e-3),
        epochs=epochs,
        batch=BATCH,
        carry=WINDOW,
        clip_norm=1.0,
        schedule=unfold.schedules.Cosine(updates),
        seed=seed,
        dtype="float32",
        metadata={"vocabulary": VOCABULARY},
        K=len(VOCABULARY),
        M=32,
        H=hidden,
    )
    written = {
        t: fit.function.generate(
            fit.last, PROMPT, length, temperature=t, seed=seed, vocabulary=VOCABULARY
        ).text
        for t in TEMPERATURES
    }
    bits = fit.history[-1]["validation"] / math.log(2)
    grams = {k: ngram(train, test, k) for k in orders}
    return Result(fit, bits, grams, written, (len(train), len(test)))


def ngram(train: str, test: str, order: int) -> float:
    """Bits a character of an n-gram that sees ``order`` characters back.

    What was not seen after a context is left to the next shorter one, as often as new characters
    came in the context (Witten and Bell's method C); at the end all characters are alike.
    """
    counts = counted(train, order)
    total = 0.0
    for k in range(1, len(test)):  # the network is asked from the second character on as well
        total -= math.log2(chance(counts, test[max(0, k - order) : k], test[k]))
    return total / (len(test) - 1)


def counted(text: str, order: int) -> dict[str, Counter[str]]:
    """What followed each context of at most ``order`` characters, and how often."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for k, c in enumerate(text):
        for n in range(min(order, k) + 1):
            counts[text[k - n : k]][c] += 1
    return counts


def chance(counts: dict[str, Counter[str]], context: str, c: str) -> float:
    """The probability of a character after a context."""
    p = 1 / len(VOCABULARY)
    for n in range(len(context) + 1):
        seen = counts.get(context[len(context) - n :])
        if seen is None:
            break
        p = (seen[c] + len(seen) * p) / (seen.total() + len(seen))
    return p


def plot(result: Result) -> Figure:
    """Bits a character by epoch, and of n-grams by their order."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
    history = result.fit.history
    epochs = [h["epoch"] for h in history]
    for key, color, label in (("loss", "0.6", "in training"), ("validation", "#d55e00", "test")):
        left.plot(epochs, [h[key] / math.log(2) for h in history], color=color, label=label)
    left.set(xlabel="epoch", ylabel="bits a character")
    right.plot(list(result.grams), list(result.grams.values()), "o-", color="#0072b2",
               label="n-grams")  # fmt: skip
    right.axhline(result.bits, color="#d55e00", lw=1, label="LSTM")
    right.set(xlabel="characters that an n-gram sees back")
    for axes in (left, right):
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    return figure


def main() -> None:
    console = Console()
    result = run()
    history = result.fit.history
    console.print("{:,} characters to train on, {:,} in the test".format(*result.sizes))
    table = Table("", "bits a character")
    for order, bits in result.grams.items():
        table.add_row(f"n-gram, {order} back", f"{bits:.3f}")
    seconds = sum(h["seconds"] for h in history)
    table.add_row(f"LSTM, {len(history)} epochs, {seconds:.0f} s", f"{result.bits:.3f}")
    console.print(table)
    for temperature, text in result.written.items():
        console.rule(f"temperature {temperature}", align="left")
        console.print(PROMPT + text, markup=False, highlight=False)
    OUT.mkdir(exist_ok=True)
    figure = plot(result)
    figure.savefig(OUT / "characters.png", dpi=150)
    plt.close(figure)
    console.print("wrote examples/out/characters.png")


if __name__ == "__main__":
    main()
