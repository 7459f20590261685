"""The worked examples of learning beside the same models in PyTorch, at equal epochs.

    python -m tests.benchmarks.worked [--quick] [--json FILE] [EXAMPLE…]

Every training of an example is done twice more, by us and in PyTorch: from the same initial
parameters (`unfold.to_torch`), with the same batches in the same order, the same optimiser and
clipping, on one thread, in the dtype of the example. Of PyTorch's two biases only one is trained,
as ours has one. ``apart`` are the greatest relative differences of the losses of the first updates,
and of all: rounding grows in training, which is chaotic. The parameters after the last update are
judged by the same function on data that were not trained on. Times are of updates alone.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import unfold
from unfold.train.data import Batch, sequences
from unfold.train.windows import Batches, Feed, Update, Windows

Array = NDArray[Any]
Params = dict[str, Array]
WORKED = Path(__file__).resolve().parent.parent.parent / "examples" / "worked"
FIRST = 10  # updates over which losses should agree to rounding


@dataclass(frozen=True)
class Training:
    """What is to be trained, by us and by PyTorch.

    Attributes:
        name: of its row in the table.
        model: a key of `LOSSES`.
        fn, params: the model, and where it starts.
        feed, epochs: the updates.
        judge, measure: a figure for parameters, and what it is.
        optimiser, clip_norm, schedule: as for `unfold.fit`.
    """

    name: str
    model: str
    fn: unfold.Function
    params: Params
    feed: Feed
    epochs: int
    judge: Callable[[Params], float]
    measure: str
    optimiser: Any
    clip_norm: float | None = None
    schedule: Callable[[int], float] | None = None

    def updates(self) -> Iterable[Update]:
        for epoch in range(self.epochs):
            yield from self.feed.updates(epoch, 0)


@dataclass(frozen=True)
class Row:
    """One training, twice."""

    name: str
    updates: int
    loss: tuple[float, float]
    measure: str
    figure: tuple[float, float]
    seconds: tuple[float, float]
    apart_first: float
    apart: float


def compared(training: Training) -> Row:
    """The training by us and by PyTorch."""
    (l1, p1, t1), (l2, p2, t2) = ours(training), torchs(training)
    off = np.abs(l1 - l2) / np.abs(l2)
    tail = max(1, len(off) // training.epochs)
    return Row(
        training.name, len(off), (float(l1[-tail:].mean()), float(l2[-tail:].mean())),
        training.measure, (training.judge(p1), training.judge(p2)), (t1, t2),
        float(off[:FIRST].max()), float(off.max()),
    )  # fmt: skip


def ours(training: Training) -> tuple[Array, Params, float]:
    """Losses before each update, the last parameters, seconds."""
    feed = training.feed

    def trainer() -> Any:
        return feed.function.trainer(
            training.params, training.optimiser, clip_norm=training.clip_norm,
            schedule=training.schedule, keep=feed.keep,
        )  # fmt: skip

    first = next(iter(training.updates())).batch
    trainer().step(first.inputs, lengths=first.lengths)  # compiles
    model, losses = trainer(), []
    start = time.perf_counter()
    for update in training.updates():
        losses.append(float(model.step(update.batch.inputs, lengths=update.batch.lengths)))
        feed.finish(model.outputs)
    seconds = time.perf_counter() - start
    return np.array(losses), {n: a.copy() for n, a in model.params.items()}, seconds


def torchs(training: Training) -> tuple[Array, Params, float]:
    """The same by PyTorch."""
    import torch

    torch.set_num_threads(1)
    fn = training.fn
    state = unfold.to_torch(training.params, fn)
    kinds = {1: torch.nn.RNN, 4: torch.nn.LSTM, 3: torch.nn.GRU}
    width = {n: a.shape for n, a in state.items()}
    units = width["weight_hh_l0"][1]
    blocks = width["weight_hh_l0"][0] // units
    rnn = kinds[blocks](width["weight_ih_l0"][1], units, batch_first=True)
    rnn = rnn.to(getattr(torch, fn.options.dtype))
    rnn.load_state_dict({n: torch.from_numpy(a.copy()) for n, a in state.items()})
    # Ours has one bias a gate; the second one that counts is that of the GRU's candidate.
    mask = torch.zeros(blocks * units)
    if blocks == 3:
        mask[2 * units :] = 1
    rnn.bias_hh_l0.register_hook(lambda g: g * mask)
    own = set(unfold.from_torch(state, fn))
    rest = {
        n: torch.from_numpy(np.array(a)).requires_grad_()
        for n, a in training.params.items() if n not in own
    }  # fmt: skip
    weights: list[Any] = [*rnn.parameters(), *rest.values()]
    o = training.optimiser
    kind = torch.optim.AdamW if isinstance(o, unfold.AdamW) else torch.optim.Adam
    optimiser = kind(
        weights, lr=o.rate, betas=(o.beta1, o.beta2), eps=o.eps, weight_decay=o.decay, fused=True
    )
    loss_of = LOSSES[training.model]
    dtypes = {"f": getattr(torch, fn.options.dtype), "i": torch.int64}
    names = [v.name for v in fn.program.inputs]

    def step(update: Update, carried: Any) -> tuple[float, Any]:
        data = {
            n: torch.from_numpy(a).to(dtypes[a.dtype.kind])
            for n, a in update.batch.inputs.items() if n in names
        }  # fmt: skip
        lengths = update.batch.lengths
        data["lengths"] = None if lengths is None else torch.from_numpy(np.asarray(lengths))
        optimiser.zero_grad()
        loss, carried = loss_of(rnn, rest, data, carried)
        loss.backward()
        if training.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(weights, training.clip_norm)
        optimiser.step()
        return loss.item(), _detached(carried)

    losses, carried = [], None
    start = time.perf_counter()
    for k, update in enumerate(training.updates()):
        if training.schedule is not None:
            optimiser.param_groups[0]["lr"] = o.rate * training.schedule(k)
        loss, carried = step(update, carried if update.start else None)
        losses.append(loss)
    seconds = time.perf_counter() - start
    found = unfold.from_torch(rnn.state_dict(), fn)
    found |= {n: a.detach().numpy() for n, a in rest.items()}
    return np.array(losses), found, seconds


def _detached(state: Any) -> Any:
    if isinstance(state, tuple):
        return tuple(part.detach() for part in state)
    return None if state is None else state.detach()


# --- the models in PyTorch ------------------------------------------------------------------------


def _digits(rnn: Any, p: Any, data: Any, _: Any) -> tuple[Any, Any]:
    from torch.nn import functional as f

    h = rnn(data["x"])[0][:, -1]
    return f.cross_entropy(h @ p["V"].T + p["b"], data["digit"]), None


def _sunspots(rnn: Any, p: Any, data: Any, _: Any) -> tuple[Any, Any]:
    y = data["x"] + rnn(data["x"])[0] @ p["V"].T + p["c"]
    return ((y - data["next"]) ** 2).sum(-1).mean(), None


def _characters(rnn: Any, p: Any, data: Any, carried: Any) -> tuple[Any, Any]:
    from torch.nn import functional as f

    h, state = rnn(f.embedding(data["x"], p["E"]), carried)
    logits = h @ p["W_hy"].T + p["b_y"]
    return f.cross_entropy(logits.flatten(0, 1), data["target"].flatten()), state


def _adding(rnn: Any, p: Any, data: Any, _: Any) -> tuple[Any, Any]:
    return ((rnn(data["x"])[0][:, -1] @ p["v"] + p["c"] - data["y"]) ** 2).mean(), None


def _copying(rnn: Any, p: Any, data: Any, _: Any) -> tuple[Any, Any]:
    from torch.nn import functional as f

    symbols = script("memory").SYMBOLS
    token = f.one_hot(data["x"], p["V"].shape[0] + 2).to(p["V"].dtype)
    logits = rnn(token)[0][:, -symbols:] @ p["V"].T + p["c"]
    return f.cross_entropy(logits.flatten(0, 1), data["y"][:, -symbols:].flatten()), None


def _last_state(rnn: Any, p: Any, data: Any, _: Any) -> tuple[Any, Any]:
    import torch
    from torch.nn import functional as f

    h = rnn(f.embedding(data["word"], p["E"]))[0]
    rows = torch.arange(len(h))
    last = h[:, -1] if data["lengths"] is None else h[rows, data["lengths"] - 1]
    return f.cross_entropy(last @ p["V"].T + p["b"], data["fits"]), None


def _attention_pooling(rnn: Any, p: Any, data: Any, _: Any) -> tuple[Any, Any]:
    import torch
    from torch.nn import functional as f

    h = rnn(f.embedding(data["word"], p["E"]))[0]
    score = torch.tanh(h @ p["W"].T + p["c"]) @ p["q"]
    if data["lengths"] is not None:
        behind = torch.arange(h.shape[1]) >= data["lengths"][:, None]
        score = score.masked_fill(behind, -torch.inf)
    z = (torch.softmax(score, 1)[..., None] * h).sum(1)
    return f.cross_entropy(z @ p["V"].T + p["b"], data["fits"]), None


#: The mean loss of a batch and the state at its end: of cell, other parameters, data, and the state
#: that it begins with.
LOSSES: dict[str, Callable[[Any, Any, Any, Any], tuple[Any, Any]]] = {
    "digits": _digits,
    "sunspots": _sunspots,
    "characters": _characters,
    "adding": _adding,
    "copying": _copying,
    "last_state": _last_state,
    "attention_pooling": _attention_pooling,
}


# --- what the examples train ----------------------------------------------------------------------


def script(name: str) -> ModuleType:
    """The module of a worked example."""
    known = f"worked_{name}"
    if known in sys.modules:
        return sys.modules[known]
    spec = importlib.util.spec_from_file_location(known, WORKED / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[known] = module
    spec.loader.exec_module(module)
    return module


def fits(run: Callable[..., Any], **options: Any) -> tuple[Any, list[dict[str, Any]]]:
    """What an example returns, and the arguments of every call of `unfold.fit` in it."""
    calls: list[dict[str, Any]] = []
    real = unfold.fit

    def noted(model: Any, data: Any, **kwargs: Any) -> unfold.Fit:
        fit = real(model, data, **kwargs)
        calls.append({"fn": fit.function, "data": data, **kwargs})
        return fit

    unfold.fit = noted  # type: ignore[assignment]
    try:
        return run(**options), calls
    finally:
        unfold.fit = real


def training(
    name: str, model: str, call: dict[str, Any], judge: Callable[[Params], float], measure: str
) -> Training:
    """The training that a call of `unfold.fit` did."""
    fn, seed, size = call["fn"], call["seed"], call.get("batch", 32)
    data = sequences(fn, call["data"])
    carry = call.get("carry")
    feed = Batches(fn, data, size, seed) if carry is None else Windows(fn, data, size, seed, carry)
    return Training(
        name, model, fn, fn.init(seed), feed, call["epochs"], judge, measure,
        call["optimiser"], call.get("clip_norm"), call.get("schedule"),
    )  # fmt: skip


def digits(quick: bool) -> Iterable[Training]:
    worked = script("digits")
    _, calls = fits(worked.run, seeds=[0], **({"epochs": 5} if quick else {}))
    _, test = worked.load()
    for cell, call in zip(worked.CELLS, calls, strict=True):
        fn = call["fn"]

        def judge(params: Params, fn: unfold.Function = fn) -> float:
            return float(worked.right(fn, params, test)[-1])

        yield training(f"digits, {cell.upper()}", "digits", call, judge, "accuracy")


def sunspots(quick: bool) -> Iterable[Training]:
    worked = script("sunspots")
    result, (call,) = fits(worked.run, **({"updates": 100} if quick else {}))
    x = worked.scaled(result.numbers)
    fn, test = call["fn"], int(np.searchsorted(result.years, worked.TEST))

    def judge(params: Params) -> float:
        ahead = worked.unscaled(fn(params, x=x, next=x)["y"])
        error = ahead[test - 1 : -1] - result.numbers[test:]
        return float(worked.rms(error))

    yield training("sunspots, GRU", "sunspots", call, judge, "error, test")


def characters(quick: bool) -> Iterable[Training]:
    worked = script("characters")
    small = {"epochs": 1, "characters": 100_000, "orders": [1]} if quick else {"orders": [1]}
    _, (call,) = fits(worked.run, **small)
    fn, test = call["fn"], worked.stream(worked.load()[1])

    def judge(params: Params) -> float:
        return float(fn(params, test).loss) / float(np.log(2))

    yield training("characters, LSTM", "characters", call, judge, "bits, test")


class Drawn:
    """Updates of sequences that are drawn as they are needed, as in memory.py."""

    state: dict[str, Array]
    keep: tuple[str, ...] = ()

    def __init__(self, fn: unfold.Function, task: Any, steps: int, seed: int, count: int) -> None:
        self.function, self.state = fn, {}
        self._task, self._steps, self._seed, self._count = task, steps, seed, count

    def count(self, epoch: int) -> int:
        return self._count

    def updates(self, epoch: int, position: int) -> Iterable[Update]:
        size = script("memory").BATCH
        draw = np.random.default_rng([self._seed, self._steps])
        for _ in range(self._count):
            data = self._task.draw(size, self._steps, draw)
            yield Update(Batch(data, None), size, list(range(size)))

    def finish(self, outputs: Any) -> None:
        """Nothing is carried."""


def memory(quick: bool) -> Iterable[Training]:
    worked = script("memory")
    steps = 100
    for name, task in worked.TASKS.items():
        for cell in worked.CELLS:
            fn = worked.compiled(name, cell)
            test = task.draw(worked.TESTS, steps, np.random.default_rng([0, steps, 1]))

            def judge(
                params: Params, fn: unfold.Function = fn, task: Any = task, test: Any = test
            ) -> float:
                return float(task.score(fn(params, test), test))

            feed: Any = Drawn(fn, task, steps, 0, 50 if quick else 600)
            yield Training(
                f"{name}, {cell.upper()}, T = {steps}", name, fn,
                worked.start(fn, cell, steps, 0), feed, 1, judge, "right, test",
                unfold.Adam(worked.RATES[cell]), 1.0,
            )  # fmt: skip


def sentences(quick: bool) -> Iterable[Training]:
    worked = script("sentences")
    size = 300 if quick else 3000
    result, calls = fits(worked.run, sizes=[size], seeds=[0], **({"epochs": 2} if quick else {}))
    for name, call in zip(worked.MODELS, calls, strict=True):
        fn = call["fn"]

        def judge(params: Params, fn: unfold.Function = fn) -> float:
            return float(worked.right(fn, params, result.test).mean())

        title = f"sentences, {name.replace('_', ' ')}"
        yield training(title, name, call, judge, "accuracy")


EXAMPLES: dict[str, Callable[[bool], Iterable[Training]]] = {
    "sunspots": sunspots,
    "digits": digits,
    "memory": memory,
    "sentences": sentences,
    "characters": characters,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.worked", description=__doc__)
    parser.add_argument("examples", nargs="*", metavar="EXAMPLE", help=f"of {', '.join(EXAMPLES)}")
    parser.add_argument("--quick", action="store_true", help="few epochs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 120)
    table = Table(
        "training", "updates", "loss", "PyTorch", "on the test", "PyTorch", "seconds", "PyTorch",
        "apart, first", "apart, all", title="the same training by unfold and by PyTorch",
    )  # fmt: skip
    rows = []
    for name in options.examples or EXAMPLES:
        for each in EXAMPLES[name](options.quick):
            row = compared(each)
            rows.append(asdict(row))
            table.add_row(
                row.name, str(row.updates), *(f"{v:.4f}" for v in row.loss),
                *(f"{v:.3f} {row.measure if k == 0 else ''}" for k, v in enumerate(row.figure)),
                *(f"{v:.1f}" for v in row.seconds), f"{row.apart_first:.0e}", f"{row.apart:.0e}",
            )  # fmt: skip
            if options.json:
                options.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    console.print(table)


if __name__ == "__main__":
    main()
