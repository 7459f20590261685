"""What one step costs: of a stepper beside PyTorch's LSTMCell and JAX's jitted step, and of a model
that generates.

    python -m tests.benchmarks.streaming

All take turns; every figure is a minimum over rounds, in µs a step, one sequence, one thread.
``beside`` is what is not native code: Python, checks, new arrays.
"""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import unfold
from unfold.backends.llvm.kernel import Kernel
from unfold.backends.llvm.slots import Slot

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"
ROUNDS, CALLS = 15, 1000
LSTM = (
    "from cells use lstm\nmodel one(D, H):\n    input x[t]: real[D]\n    net = lstm(x, H)\n"
    "    output net.h[t]\n"
)
Call = Callable[[], Any]
K, M, H = 100, 16, 64


def main() -> None:
    console = Console()
    console.print(steps())
    console.print(tokens())


def steps() -> Table:
    table = Table("model", "dtype", "step", "native", "beside", "PyTorch", "JAX")
    for text, sizes in (
        (LSTM, {"D": 32, "H": 32}), (LSTM, {"D": 128, "H": 128}),
        (EXAMPLES / "kinetics.rec", {}), (EXAMPLES / "inventory.rec", {}),
    ):  # fmt: skip
        for dtype in ("float32", "float64"):
            fn = unfold.compile(text, sizes=sizes, dtype=dtype)
            calls: dict[str, Call | None] = dict(zip(("step", "native"), ours(fn), strict=True))
            if sizes:
                calls |= {"PyTorch": torch_cell(sizes["H"], dtype), "JAX": jax_cell(fn, dtype)}
            found = best({n: c for n, c in calls.items() if c is not None})
            found["beside"] = found["step"] - found["native"]
            cells = [f"{found[n]:.2f}" if n in found else "" for n in
                     ("step", "native", "beside", "PyTorch", "JAX")]  # fmt: skip
            name = fn.program.name + (f" H={sizes['H']}" if sizes else "")
            table.add_row(name, dtype, *cells)
    return table


def tokens() -> Table:
    """A language model over characters: the whole generation, and the draws alone in NumPy."""
    table = Table(f"charlm K={K} H={H}, 1,000 tokens", "µs a token")
    fn = unfold.compile(EXAMPLES / "charlm.rec", K=K, M=M, H=H, dtype="float32")
    params = fn.init()
    stepper, logits = fn.stepper(params), np.random.default_rng(0).normal(size=K)
    token = np.array(3)
    calls: dict[str, Call] = {}
    ways: list[tuple[str, dict[str, Any]]] = [
        ("the best token", {"temperature": 0}),
        ("temperature", {}),
        ("top-k", {"top_k": 20}),
        ("nucleus", {"top_p": 0.9}),
        ("top-k and nucleus", {"top_k": 20, "top_p": 0.9}),
    ]
    for name, how in ways:
        calls[f"generate: {name}"] = partial(fn.generate, params, [1], 1000, **how)
    calls["a step of a stepper"] = lambda: [stepper.step(x=token) for _ in range(1000)]
    chance = np.random.default_rng(0)
    calls["NumPy: top-k and nucleus, the draw alone"] = lambda: [
        in_numpy(logits, 0.8, 20, 0.9, chance) for _ in range(1000)
    ]
    for name, seconds in best(calls, 1).items():
        table.add_row(name, f"{seconds / 1000:.2f}")
    return table


def in_numpy(
    logits: Any, temperature: float, top_k: int, top_p: float, chance: np.random.Generator
) -> int:
    """A draw as it is usually written."""
    order = np.argsort(logits)[::-1][:top_k]
    z = logits[order] / temperature
    p = np.exp(z - z[0])
    p /= p.sum()
    count = int(np.searchsorted(np.cumsum(p), top_p)) + 1
    return int(order[np.searchsorted(np.cumsum(p[:count]), chance.random() * p[:count].sum())])


def best(calls: dict[str, Call], count: int = CALLS) -> dict[str, float]:
    """The least time of each call, in µs; they take turns."""
    found = dict.fromkeys(calls, np.inf)
    for _ in range(ROUNDS):
        for name, call in calls.items():
            call()
            start = time.perf_counter()
            for _ in range(count):
                call()
            found[name] = min(found[name], 1e6 * (time.perf_counter() - start) / count)
    return found


def ours(fn: unfold.Function) -> tuple[Call, Call]:
    """A step, and its native code alone."""
    plan, chance = fn.step_program(), np.random.default_rng(0)
    inputs: dict[str, Any] = {}
    for n in plan.moving:
        shape = tuple(k.evaluate({}) for k in plan.program.vars[n].shape)
        inputs[n] = chance.uniform(0.1, 1.0, shape).astype(fn.options.dtype)
    params = fn.init()
    static: dict[str, Any] = {n: np.asarray(0.5, fn.options.dtype) for n in plan.static}
    stepper = fn.stepper(params, **static)
    kernel = fn.streaming()[0].kernel
    assert isinstance(kernel, Kernel)
    slot = kernel.new_slot({}, None)
    assert isinstance(slot, Slot)
    kept = {n: v for s in plan.states for n, v in zip(
        s.names, stepper.state[s.variable], strict=True)}  # fmt: skip
    arrays = {**stepper.fixed, **inputs, **kept}
    given = [np.require(arrays[n], requirements=("C", "A")) for n in slot.entry.given]
    results = [np.empty(shape, kind) for shape, kind in slot.shapes]
    slot.run(given, results)
    run, address = slot.entry.run, slot.address

    def native(_kept: Any = (slot, given, results)) -> Any:
        return run(address)

    return (lambda: stepper.step(**inputs)), native


def torch_cell(size: int, dtype: str) -> Call | None:
    if importlib.util.find_spec("torch") is None:
        return None
    torch = importlib.import_module("torch")
    torch.set_num_threads(1)
    cell = torch.nn.LSTMCell(size, size, dtype=getattr(torch, dtype))
    x = torch.rand(1, size, dtype=getattr(torch, dtype))
    state = [torch.zeros_like(x), torch.zeros_like(x)]

    def step() -> Any:
        with torch.inference_mode():
            state[:] = cell(x, tuple(state))
        return state[0]

    return step


def jax_cell(fn: unfold.Function, dtype: str) -> Call | None:
    if importlib.util.find_spec("jax") is None:
        return None
    jax = importlib.import_module("jax")
    jax.config.update("jax_enable_x64", True)
    jnp = jax.numpy
    p = {n: jnp.asarray(a) for n, a in fn.init().items()}

    def plain(p: Any, x: Any, state: Any) -> Any:
        h, c = state
        i, f, o = (
            jax.nn.sigmoid(p[f"net.W{g}"] @ x + p[f"net.U{g}"] @ h + p[f"net.b{g}"]) for g in "ifo"
        )
        c = f * c + i * jnp.tanh(p["net.Wg"] @ x + p["net.Ug"] @ h + p["net.bg"])
        return o * jnp.tanh(c), c

    cell = jax.jit(plain)
    x = jnp.ones(p["net.Wi"].shape[1], dtype)
    zero = jnp.zeros(p["net.bi"].shape, dtype)
    state = [zero, zero]

    def step() -> Any:
        state[:] = cell(p, x, tuple(state))
        return state[0].block_until_ready()

    return step


if __name__ == "__main__":
    main()
