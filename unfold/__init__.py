"""A compiler for recurrences: from `.rec` equations to graphs, adjoints and native gradients.

model = unfold.load("gru.rec")
fn = unfold.compile(model, D=8, H=16, K=3)
loss, grads = fn.value_and_grad(fn.init(seed=0), x=x, y=y)
"""

from __future__ import annotations

__version__ = "0.1.0"

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .api import compile, load, loads
from .errors import DivergenceError, InputError, RecError, SolverError, UnfoldError
from .function import Function
from .model import Model
from .outputs import Outputs
from .view import view

if TYPE_CHECKING:
    from . import analysis
    from .generate import Generated
    from .gradcheck import GradCheck, grad_check
    from .graph import Graph
    from .parameters import Params, load_params, save_params
    from .pytorch import from_torch, to_torch
    from .state import StreamState
    from .stepper import Stepper
    from .train import (
        SGD,
        Adam,
        AdamW,
        Fit,
        Interrupted,
        Minimum,
        Optimiser,
        RMSprop,
        Trainer,
        fit,
        minimize,
        schedules,
    )
    from .transform import Horizon, Window

__all__ = [
    "Adam",
    "AdamW",
    "DivergenceError",
    "Fit",
    "Function",
    "Generated",
    "GradCheck",
    "Graph",
    "Horizon",
    "InputError",
    "Interrupted",
    "Minimum",
    "Model",
    "Optimiser",
    "Outputs",
    "Params",
    "RMSprop",
    "RecError",
    "SGD",
    "SolverError",
    "Stepper",
    "StreamState",
    "Trainer",
    "UnfoldError",
    "Window",
    "analysis",
    "compile",
    "fit",
    "from_torch",
    "grad_check",
    "load",
    "load_params",
    "loads",
    "minimize",
    "save_params",
    "schedules",
    "to_torch",
    "view",
]

#: What is imported when it is first asked for (PEP 562): module -> the names in it.
_LATE = {
    "generate": ("Generated",),
    "gradcheck": ("GradCheck", "grad_check"),
    "graph": ("Graph",),
    "parameters": ("Params", "load_params", "save_params"),
    "pytorch": ("from_torch", "to_torch"),
    "state": ("StreamState",),
    "stepper": ("Stepper",),
    "train": (
        "SGD", "Adam", "AdamW", "Fit", "Interrupted", "Minimum", "Optimiser", "RMSprop", "Trainer",
        "fit", "minimize", "schedules",
    ),
    "transform": ("Horizon", "Window"),
}  # fmt: skip
_HOME = {name: module for module, names in _LATE.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "analysis":
        return import_module(".analysis", __name__)  # which makes it an attribute
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value  # the next time it is found at once
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
