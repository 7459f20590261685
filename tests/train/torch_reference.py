"""Writes torch.npz: what PyTorch's optimisers, clipping and schedules do, for test_torch.py.

    python tests/train/torch_reference.py        (with PyTorch; the tests do not need it)

A small recurrent network is trained for 100 steps in float64 by each of RUNS. Kept are the data,
the initial parameters, and of each run every tenth loss and the parameters at the end, flat.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

D, H, T, B, STEPS = 3, 4, 7, 5, 100
TARGET = Path(__file__).with_name("torch.npz")

#: By name: PyTorch's class and options, then how gradients are clipped, the weight decay of W and U
#: alone, the schedule.
RUNS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "sgd": ("SGD", {"lr": 0.1}, {}),
    "sgd decay": ("SGD", {"lr": 0.1, "weight_decay": 0.02}, {}),
    "momentum": ("SGD", {"lr": 0.05, "momentum": 0.9}, {}),
    "dampening": ("SGD", {"lr": 0.1, "momentum": 0.8, "dampening": 0.3, "weight_decay": 0.01}, {}),
    "nesterov": ("SGD", {"lr": 0.03, "momentum": 0.9, "nesterov": True}, {}),
    "rmsprop": ("RMSprop", {"lr": 0.01}, {}),
    "rmsprop momentum": ("RMSprop", {"lr": 0.003, "alpha": 0.9, "momentum": 0.9}, {}),
    "rmsprop centred": ("RMSprop", {"lr": 0.01, "eps": 1e-6, "centered": True}, {}),
    "rmsprop all": (
        "RMSprop",
        {"lr": 0.003, "alpha": 0.95, "momentum": 0.5, "centered": True, "weight_decay": 0.01,
         "eps": 1e-6},
        {},
    ),
    "adam": ("Adam", {"lr": 0.02}, {}),
    "adam decay": (
        "Adam", {"lr": 0.02, "betas": (0.8, 0.99), "eps": 1e-6, "weight_decay": 0.01}, {}
    ),
    "adamw": ("AdamW", {"lr": 0.02, "weight_decay": 0.1}, {}),
    "adamw by name": ("AdamW", {"lr": 0.02}, {"decay": 0.3}),
    "adam norm": ("Adam", {"lr": 0.02}, {"norm": 0.05}),
    "sgd norm": ("SGD", {"lr": 0.5}, {"norm": 0.2}),
    "sgd value": ("SGD", {"lr": 0.5, "momentum": 0.5}, {"value": 0.02}),
    "adam cosine": ("Adam", {"lr": 0.05}, {"schedule": "cosine"}),
    "adam warm": ("Adam", {"lr": 0.05}, {"schedule": "warm, then cosine"}),
}  # fmt: skip
RATE = 0.2


def schedule(optimiser: Any, name: str) -> Any:
    """PyTorch's schedules by name, for a rate of RATE."""
    import torch.optim.lr_scheduler as lr

    rate = optimiser.param_groups[0]["lr"]
    return {
        "constant": lambda: lr.ConstantLR(optimiser, 1.0),
        "step": lambda: lr.StepLR(optimiser, 15, gamma=0.5),
        "exponential": lambda: lr.ExponentialLR(optimiser, 0.97),
        "cosine": lambda: lr.CosineAnnealingLR(optimiser, 100, eta_min=0.1 * rate),
        "linear": lambda: lr.LinearLR(optimiser, 0.05, 1.0, total_iters=20),
        "warm, then cosine": lambda: lr.SequentialLR(
            optimiser,
            [lr.LinearLR(optimiser, 0.05, 1.0, total_iters=20),
             lr.CosineAnnealingLR(optimiser, 80)],
            [20],
        ),
        "exponential and step": lambda: lr.ChainedScheduler(
            [lr.ExponentialLR(optimiser, 0.97), lr.StepLR(optimiser, 15, gamma=0.5)]
        ),
    }[name]()  # fmt: skip


SCHEDULES = ("constant", "step", "exponential", "cosine", "linear", "warm, then cosine",
             "exponential and step")  # fmt: skip


def main() -> None:
    import torch

    torch.set_default_dtype(torch.float64)
    chance = np.random.default_rng(0)
    data = {"x": chance.normal(size=(B, T, D)), "y": chance.normal(size=(B, T))}
    start = {
        "W": chance.normal(size=(H, D)) / 2, "U": chance.normal(size=(H, H)) / 2,
        "b": chance.normal(size=H) / 2, "v": chance.normal(size=H) / 2,
    }  # fmt: skip
    found: dict[str, Any] = {**data, **{f"start {n}": a for n, a in start.items()}}
    x, y = (torch.tensor(a) for a in data.values())

    def loss(p: dict[str, Any]) -> Any:
        h, total = torch.zeros(B, H), torch.zeros(B)
        for t in range(T):
            h = torch.tanh(x[:, t] @ p["W"].T + h @ p["U"].T + p["b"])
            total = total + (h @ p["v"] - y[:, t]) ** 2 / T
        return total.mean()

    for name, (kind, options, more) in RUNS.items():
        p = {n: torch.tensor(a, requires_grad=True) for n, a in start.items()}
        groups: Any = list(p.values())
        if "decay" in more:
            groups = [{"params": [p["W"], p["U"]], "weight_decay": more["decay"]},
                      {"params": [p["b"], p["v"]], "weight_decay": 0.0}]  # fmt: skip
        optimiser = getattr(torch.optim, kind)(groups, **options)
        rates = schedule(optimiser, more["schedule"]) if "schedule" in more else None
        losses, norms = [], []
        for _ in range(STEPS):
            optimiser.zero_grad()
            value = loss(p)
            value.backward()
            losses.append(value.item())
            if "value" in more:
                torch.nn.utils.clip_grad_value_(p.values(), more["value"])
            most = more.get("norm", float("inf"))
            norms.append(torch.nn.utils.clip_grad_norm_(p.values(), most).item())
            optimiser.step()
            if rates is not None:
                rates.step()
        found[f"{name}: losses"] = losses[::10]
        found[f"{name}: end"] = np.concatenate([a.detach().numpy().ravel() for a in p.values()])
        if "value" not in more:
            found[f"{name}: norms"] = norms[::10]
    for name in SCHEDULES:
        optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=RATE)
        rates, listed = schedule(optimiser, name), []
        for _ in range(STEPS):
            listed.append(optimiser.param_groups[0]["lr"])
            optimiser.step()
            rates.step()
        found[f"schedule {name}"] = listed
    for name, clip in (("norm", torch.nn.utils.clip_grad_norm_),
                       ("value", torch.nn.utils.clip_grad_value_)):  # fmt: skip
        for k, scale in enumerate((0.1, 1.0, 30.0)):
            p = {n: torch.zeros(shape, requires_grad=True) for n, shape in
                 (("first", 11), ("second", (3, 5)), ("third", ()))}  # fmt: skip
            for n, a in p.items():
                a.grad = torch.tensor(scale * chance.normal(size=a.shape))
                found[f"clip {name} {k} {n}"] = a.grad.numpy().copy()
            clip(p.values(), 1.5)
            for n, a in p.items():
                found[f"clipped {name} {k} {n}"] = a.grad.numpy()
    np.savez_compressed(TARGET, **found)
    print(f"wrote {TARGET}: {TARGET.stat().st_size} bytes, torch {torch.__version__}")


if __name__ == "__main__":
    main()
