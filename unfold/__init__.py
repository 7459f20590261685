"""A compiler for recurrences: from `.rec` equations to graphs, adjoints and native gradients.

model = unfold.load("gru.rec")
fn = unfold.compile(model, D=8, H=16, K=3)
loss, grads = fn.value_and_grad(fn.init(seed=0), x=x, y=y)
"""

from __future__ import annotations

__version__ = "0.1.0"

from .api import compile, load, loads
from .errors import DivergenceError, InputError, RecError, SolverError, UnfoldError
from .function import Function
from .generate import Generated
from .gradcheck import GradCheck, grad_check
from .graph import Graph
from .model import Model
from .outputs import Outputs
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
from .view import view

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
