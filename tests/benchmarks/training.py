"""A step of training beside its parts, and beside PyTorch's and JAX's.

    python -m tests.benchmarks.training [--json FILE]

An inventory of 50 steps with three parameters, and an LSTM of 32 units on one and on 32 sequences
of 50 steps; Adam, gradients clipped by their norm; one core. ``kernels`` is the native code of the
gradient and of the optimiser called by itself, ``step`` the public call, ``by hand`` the gradient
by its public call and Adam in NumPy, as one would write it without a trainer. PyTorch has
`torch.nn.LSTM` and its fused Adam; JAX one jitted function of gradient and update, with buffers
given up to it. All take turns; every figure is the least of many rounds, in microseconds.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import unfold
from tests.benchmarks.small import Repeated, repeated
from unfold.backends.llvm import jit

Array = NDArray[Any]
EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"
STEPS, D, H, K = 50, 8, 32, 4
RATE, CLIP = 1e-4, 1.0
ROUNDS, SECONDS = 300, 0.0005
#: Model, number of sequences (None: one without a batch axis), dtype.
CASES: dict[str, tuple[str, int | None, str]] = {
    "inventory": ("inventory", None, "float64"),
    "lstm": ("lstm", None, "float32"),
    "lstm x 32": ("lstm", 32, "float32"),
}


_REPEAT = """
define void @repeat(ptr %f, ptr %record, ptr %advance, ptr %table, double %share, i64 %n) {
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  call void %f(ptr %record)
  %status = call i64 %advance(ptr %table, double %share)
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %n
  br i1 %more, label %loop, label %done
done:
  ret void
}
"""


class Case:
    """One model with data and a trainer."""

    def __init__(self, name: str) -> None:
        self.model, self.batch, dtype = CASES[name]
        sizes = {"D": D, "H": H, "K": K} if self.model == "lstm" else {}
        self.fn = unfold.compile(EXAMPLES / f"{self.model}.rec", sizes=sizes, dtype=dtype)
        chance = np.random.default_rng(0)
        head = () if self.batch is None else (self.batch,)
        self.data = {
            v.name: chance.normal(size=(*head, STEPS, *(n.constant or 0 for n in v.shape))).astype(
                dtype
            )
            for v in self.fn.program.inputs
        }
        self.params = self.fn.init(seed=0)
        self.trainer = self.fn.trainer(self.params, unfold.Adam(RATE), clip_norm=CLIP)

    def step(self) -> Callable[[], Any]:
        """The public call."""
        trainer, data = self.trainer, self.data
        return lambda: trainer.step(data)

    def kernels(self) -> Repeated:
        """The gradient and the update, called from native code."""
        trainer = self.fn.trainer(self.params, unfold.Adam(RATE), clip_norm=CLIP)
        derived = self.fn.compiler.gradient(tuple(self.fn.params), self.fn.program.losses)
        kernel: Any = derived.kernel
        slot = kernel.new_slot({"T": STEPS}, self.batch)
        shown = {bar: trainer._gradients[n] for n, bar in derived.names.items()}
        results = [
            shown.get(n, np.empty(shape, kind))
            for n, (shape, kind) in zip(slot.entry.names, slot.shapes, strict=True)
        ]
        arrays = {**trainer.params, **self.data}
        given = [arrays[n] for n in slot.entry.given]
        slot.hand(given, results)
        update = trainer._update
        update.supply([RATE], forever=True)
        library = jit.compile_ir(_REPEAT)
        types = (*[ctypes.c_void_p] * 4, ctypes.c_double, ctypes.c_int64)
        repeat = ctypes.CFUNCTYPE(None, *types)(library.address("repeat"))
        at = slot.entry.address, slot.address, int(update.table[0]), update.table.ctypes.data
        kept = (slot, results, given, trainer, library)
        return lambda n: (repeat(*at, 1.0 / (self.batch or 1), n), kept)

    def by_hand(self) -> Callable[[], Any]:
        """The gradient, and Adam in NumPy."""
        params = {n: a.copy() for n, a in self.params.items()}
        mean = {n: np.zeros_like(a) for n, a in params.items()}
        square = {n: np.zeros_like(a) for n, a in params.items()}
        count = 0

        def call() -> Any:
            nonlocal count
            count += 1
            loss, grads = self.fn.value_and_grad(params, self.data)
            norm = sum(float(np.sum(g * g)) for g in grads.values()) ** 0.5
            factor = min(1.0, CLIP / (norm + 1e-6))
            for n, g in grads.items():
                g = g * factor
                mean[n] += 0.1 * (g - mean[n])
                square[n] += 0.001 * (g * g - square[n])
                root = np.sqrt(square[n] / (1 - 0.999**count)) + 1e-8
                params[n] -= RATE * mean[n] / (1 - 0.9**count) / root
            return loss

        return call

    def torch(self) -> Callable[[], Any]:
        """PyTorch's step, on modules of its own."""
        import torch

        torch.set_num_threads(1)
        if self.model == "inventory":
            p = {n: torch.tensor(float(a), dtype=torch.float64, requires_grad=True)
                 for n, a in self.params.items()}  # fmt: skip
            x, d = (torch.tensor(self.data[n]) for n in ("x", "d"))
            weights: list[Any] = list(p.values())

            def loss() -> Any:
                stock = p["h0"] + torch.cumsum(x - d, 0)
                return (p["order_cost"] * x**2 / 2 + p["hold"] * stock**2 / 2).sum()
        else:
            cell, out = torch.nn.LSTM(D, H, batch_first=True), torch.nn.Linear(H, K)
            weights = [*cell.parameters(), *out.parameters()]
            x, target = (torch.tensor(self.data[n]) for n in ("x", "target"))

            def loss() -> Any:
                return ((out(cell(x)[0]) - target) ** 2).mean()

        optimiser = torch.optim.Adam(weights, lr=RATE, fused=True)

        def call() -> Any:
            optimiser.zero_grad()
            value = loss()
            value.backward()
            torch.nn.utils.clip_grad_norm_(weights, CLIP)
            optimiser.step()
            return value.item()

        return call

    def jax(self) -> Callable[[], Any]:
        """One jitted step: the gradient of a scan, clipped, and Adam."""
        import jax
        import jax.numpy as jnp

        jax.config.update("jax_enable_x64", True)
        data = {n: jnp.asarray(a) for n, a in self.data.items()}

        def inventory(p: Any, x: Any, d: Any) -> Any:
            def body(h: Any, xd: Any) -> Any:
                h = h + xd[0] - xd[1]
                return h, p["order_cost"] * xd[0] ** 2 / 2 + p["hold"] * h**2 / 2

            return jax.lax.scan(body, p["h0"], (x, d))[1].sum()

        def lstm(p: Any, x: Any, target: Any) -> Any:
            def gate(g: str, h: Any) -> Any:
                return p[f"W_h{g}"] @ h + p[f"b_h{g}"]

            def body(carry: Any, xs: Any) -> Any:
                h, c = carry
                now, y = xs
                i, f, g, o = (
                    p[f"W_i{g}"] @ now + p[f"b_i{g}"] + gate(g, h) for g in ("i", "f", "g", "o")
                )
                c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
                h = jax.nn.sigmoid(o) * jnp.tanh(c)
                return (h, c), jnp.mean((p["W_hy"] @ h + p["b_y"] - y) ** 2)

            return jax.lax.scan(body, (p["h0"], p["c0"]), (x, target))[1].mean()

        one = inventory if self.model == "inventory" else lstm
        names = ("x", "d") if self.model == "inventory" else ("x", "target")

        def loss(p: Any, *xs: Any) -> Any:
            if self.batch is None:
                return one(p, *xs)
            return jax.vmap(one, (None, 0, 0))(p, *xs).mean()

        def step(p: Any, m: Any, v: Any, t: Any, *xs: Any) -> Any:
            value, grads = jax.value_and_grad(loss)(p, *xs)
            norm = jnp.sqrt(sum(jnp.sum(g * g) for g in jax.tree.leaves(grads)))
            factor = jnp.minimum(1.0, CLIP / (norm + 1e-6)).astype(value.dtype)
            t = t + 1
            m = jax.tree.map(lambda a, g: 0.9 * a + 0.1 * factor * g, m, grads)
            v = jax.tree.map(lambda a, g: 0.999 * a + 0.001 * (factor * g) ** 2, v, grads)
            first, second = 1 - 0.9**t, 1 - 0.999**t

            def moved(w: Any, a: Any, b: Any) -> Any:
                return w - RATE * (a / first) / (jnp.sqrt(b / second) + 1e-8)

            return jax.tree.map(moved, p, m, v), m, v, t, value

        jitted = jax.jit(step, donate_argnums=(0, 1, 2))
        p = {n: jnp.asarray(a) for n, a in self.params.items()}
        zeros = [{n: jnp.zeros_like(a) for n, a in p.items()} for _ in range(2)]
        state: list[Any] = [p, *zeros, jnp.zeros((), p["h0"].dtype)]

        def call() -> Any:
            *state[:], value = jitted(*state, *(data[n] for n in names))
            return value.block_until_ready()

        return call


def measure(name: str) -> dict[str, float]:
    """Microseconds by what was timed."""
    case = Case(name)
    work: dict[str, Repeated] = {
        "kernels": case.kernels(),
        "step": repeated(case.step()),
        "by hand": repeated(case.by_hand()),
    }
    if importlib.util.find_spec("torch") is not None:
        work["torch"] = repeated(case.torch())
    if importlib.util.find_spec("jax") is not None:
        work["jax"] = repeated(case.jax())
    return {n: 1e6 * t for n, t in fastest(work).items()}


def fastest(work: dict[str, Repeated]) -> dict[str, float]:
    """Seconds of each, the least of rounds in which all take turns."""
    counts = {}
    for name, f in work.items():
        f(5)
        start = time.perf_counter()
        f(1)
        counts[name] = max(1, round(SECONDS / max(time.perf_counter() - start, 1e-6)))
    found = dict.fromkeys(work, float("inf"))
    for _ in range(ROUNDS):
        for name, f in work.items():
            start = time.perf_counter()
            f(counts[name])
            found[name] = min(found[name], (time.perf_counter() - start) / counts[name])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.training", description=__doc__
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    table = Table(title="a step of training with Adam: µs")
    columns = ["kernels", "step", "by hand", "torch", "jax"]
    for title in ("case", *columns):
        table.add_column(title, justify="right" if title != "case" else "left")
    found = {}
    for name in options.cases or CASES:
        t = found[name] = measure(name)
        table.add_row(name, *(f"{t[c]:.2f}" if c in t else "" for c in columns))
    Console(width=100).print(table)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
