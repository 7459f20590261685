"""The same training steps in PyTorch and in JAX: value and gradient of recurrent networks.

A `Task` is a network and its sizes; `ours`, `torch_step` and `jax_step` make a function of no
arguments that computes loss and gradients from the same numbers. Gradients come as a dict in
PyTorch's layout (weight_ih_l0, …), so that all of them can be held against each other.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import unfold

Array = NDArray[Any]
Step = Callable[[], tuple[float, dict[str, Array]]]

GATES = {"lstm": "ifgo", "gru": "rzn", "elman": "h"}


@dataclass(frozen=True)
class Task:
    """A network (``lstm``, ``gru``, ``elman``), its layers and its sizes."""

    cell: str
    B: int
    T: int
    I: int  # noqa: E741
    H: int
    layers: int = 1
    both_ways: bool = False

    @property
    def chains(self) -> list[tuple[str, int]]:
        """PyTorch's suffix of each chain of cells, and the components of its input."""
        ways = ["", "_reverse"] if self.both_ways else [""]
        sizes = [self.I if n == 0 else self.H * len(ways) for n in range(self.layers)]
        return [(f"l{n}{way}", size) for n, size in enumerate(sizes) for way in ways]

    @property
    def flops(self) -> int:
        """Operations of all matrix products, forward and back; two for a multiply-add."""
        rows, gates = self.B * self.T, len(GATES[self.cell])
        total = 0
        for n, (_, size) in enumerate(self.chains):
            # Forward, and the gradients of weights and of operands; data have none.
            passes = 2 if n < len(self.chains) // self.layers else 3
            total += 2 * rows * gates * self.H * (passes * size + 3 * self.H)
        return total

    def data(self) -> Array:
        rng = np.random.default_rng(0)
        return rng.standard_normal((self.B, self.T, self.I)).astype(np.float32)

    def params(self) -> dict[str, Array]:
        """Random parameters under PyTorch's names."""
        rng = np.random.default_rng(1)
        rows = len(GATES[self.cell]) * self.H
        found = {}
        for suffix, size in self.chains:
            shapes: dict[str, tuple[int, ...]]
            shapes = {"weight_ih": (rows, size), "weight_hh": (rows, self.H)}
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
            for name, shape in shapes.items():
                drawn = rng.uniform(-1, 1, shape) / self.H**0.5
                found[f"{name}_{suffix}"] = drawn.astype(np.float32)
        return found


# --- ours -----------------------------------------------------------------------------------------

CELLS = """
model elman(D, H):
    input  x[t]: real[D]
    param  Wh: real[H, D]
    param  Uh: real[H, H]
    param  bh, ch: real[H]
    h[0] = 0
    h[t] = tanh(Wh @ x[t] + bh + Uh @ h[t-1] + ch)
    output h[t]

model gru(D, H):
    input  x[t]: real[D]
    param  Wr, Wz, Wn: real[H, D]
    param  Ur, Uz, Un: real[H, H]
    param  br, bz, bn, cr, cz, cn: real[H]
    h[0] = 0
    r[t] = sigmoid(Wr @ x[t] + br + Ur @ h[t-1] + cr)
    z[t] = sigmoid(Wz @ x[t] + bz + Uz @ h[t-1] + cz)
    n[t] = tanh(Wn @ x[t] + bn + r[t] * (Un @ h[t-1] + cn))
    h[t] = (1 - z[t]) * n[t] + z[t] * h[t-1]
    output h[t]

model lstm(D, H):
    input  x[t]: real[D]
    param  Wi, Wf, Wg, Wo: real[H, D]
    param  Ui, Uf, Ug, Uo: real[H, H]
    param  bi, bf, bg, bo, ci, cf, cg, co: real[H]
    h[0] = 0
    c[0] = 0
    i[t] = sigmoid(Wi @ x[t] + bi + Ui @ h[t-1] + ci)
    f[t] = sigmoid(Wf @ x[t] + bf + Uf @ h[t-1] + cf)
    g[t] = tanh(Wg @ x[t] + bg + Ug @ h[t-1] + cg)
    o[t] = sigmoid(Wo @ x[t] + bo + Uo @ h[t-1] + co)
    c[t] = f[t] * c[t-1] + i[t] * g[t]
    h[t] = o[t] * tanh(c[t])
    output h[t]
"""


def text(task: Task) -> str:
    """The network as equations; the loss is the mean square of the last layer's states."""
    lines = ["model main(D, H):", "    input  x[t]: real[D]"]
    below = "x"
    for n in range(task.layers):
        lines.append(f"    l{n} = {task.cell}({below}, H)")
        if task.both_ways:
            lines.append(f"    l{n}_reverse = reverse {task.cell}({below}, H)")
            lines.append(f"    y{n}[t] = [l{n}.h[t]; l{n}_reverse.h[t]]")
        else:
            lines.append(f"    y{n}[t] = l{n}.h[t]")
        below = f"y{n}"
    lines += [f"    loss = mean[t](mean({below}[t] ** 2))", "    minimize loss"]
    return CELLS + "\n" + "\n".join(lines) + "\n"


LETTERS = {"weight_ih": "W", "weight_hh": "U", "bias_ih": "b", "bias_hh": "c"}


def ours(task: Task, dtype: str = "float32", threads: int = 1) -> Step:
    """One call of ``fn.value_and_grad``."""
    fn = unfold.compile(
        unfold.loads(text(task), model="main"), D=task.I, H=task.H, dtype=dtype, threads=threads
    )
    gates = GATES[task.cell]
    params: dict[str, Array] = {}
    for name, value in task.params().items():
        kind, suffix = name.rsplit("_l", 1)
        for gate, part in zip(gates, np.split(value, len(gates)), strict=True):
            params[f"l{suffix}.{LETTERS[kind]}{gate}"] = part.astype(dtype)
    x = task.data().astype(dtype)

    def step() -> tuple[float, dict[str, Array]]:
        value, grads = fn.value_and_grad(params, x=x)
        return value, grads

    return step


def in_torch_layout(task: Task, grads: dict[str, Array]) -> dict[str, Array]:
    """Our gradients with the gates stacked."""
    return {
        f"{kind}_{suffix}": np.concatenate(
            [grads[f"{suffix}.{letter}{gate}"] for gate in GATES[task.cell]]
        )
        for suffix, _ in task.chains
        for kind, letter in LETTERS.items()
    }


# --- peers ----------------------------------------------------------------------------------------


def torch_step(task: Task, threads: int = 1) -> Step | None:
    """``torch.nn.LSTM`` and its relatives; None without PyTorch."""
    if importlib.util.find_spec("torch") is None:
        return None
    torch = importlib.import_module("torch")
    torch.set_num_threads(threads)
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "elman": torch.nn.RNN}[task.cell]
    net = kind(
        task.I, task.H, num_layers=task.layers, bidirectional=task.both_ways, batch_first=True
    )
    with torch.no_grad():
        for name, value in task.params().items():
            getattr(net, name).copy_(torch.from_numpy(value))
    x = torch.from_numpy(task.data())
    named = dict(net.named_parameters())

    def step() -> tuple[float, dict[str, Array]]:
        net.zero_grad(set_to_none=True)
        out, _ = net(x)
        loss = out.square().mean()
        loss.backward()
        return loss.item(), {n: p.grad.numpy() for n, p in named.items()}

    return step


def jax_step(task: Task) -> Step | None:
    """A jitted ``lax.scan`` with the input projection outside of it; None without JAX.

    XLA takes as many threads as the process has processors: pin it before JAX is imported.
    """
    if importlib.util.find_spec("jax") is None:
        return None
    jax = importlib.import_module("jax")
    jnp, H = jax.numpy, task.H

    def cell(state: Any, a: Any, p: Any, suffix: str) -> Any:
        h, c = state
        b = h @ p[f"weight_hh_{suffix}"].T + p[f"bias_hh_{suffix}"]
        if task.cell == "elman":
            return jnp.tanh(a + b), c
        if task.cell == "gru":
            r = jax.nn.sigmoid(a[:, :H] + b[:, :H])
            z = jax.nn.sigmoid(a[:, H : 2 * H] + b[:, H : 2 * H])
            n = jnp.tanh(a[:, 2 * H :] + r * b[:, 2 * H :])
            return (1 - z) * n + z * h, c
        s = a + b
        i, f, o = (jax.nn.sigmoid(s[:, k * H : (k + 1) * H]) for k in (0, 1, 3))
        c = f * c + i * jnp.tanh(s[:, 2 * H : 3 * H])
        return o * jnp.tanh(c), c

    def chain(p: Any, x: Any, suffix: str) -> Any:
        a = x @ p[f"weight_ih_{suffix}"].T + p[f"bias_ih_{suffix}"]
        zero = jnp.zeros((task.B, H), jnp.float32)

        def body(state: Any, a: Any) -> Any:
            state = cell(state, a, p, suffix)
            return state, state[0]

        _, h = jax.lax.scan(body, (zero, zero), a, reverse=suffix.endswith("_reverse"))
        return h

    def loss(p: Any, x: Any) -> Any:
        y = jnp.swapaxes(x, 0, 1)
        for n in range(task.layers):
            ways = [chain(p, y, f"l{n}")]
            if task.both_ways:
                ways.append(chain(p, y, f"l{n}_reverse"))
            y = jnp.concatenate(ways, -1)
        return jnp.mean(y**2)

    run = jax.jit(jax.value_and_grad(loss))
    params = {n: jnp.asarray(v) for n, v in task.params().items()}
    x = jnp.asarray(task.data())

    def step() -> tuple[float, dict[str, Array]]:
        value, grads = jax.block_until_ready(run(params, x))
        return value, grads

    return step
