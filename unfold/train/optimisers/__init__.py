"""Optimisers, which are recurrences: the `.rec` files here, and any like them.

An optimiser is a `.rec` model over the steps of training, with these names:

    axis   k: N              the entries of all trained parameters, one after the other
    input  g[t,k]: real      the gradient, clipped where the trainer was asked to
    input  rate[t]: real     the rate of step t
    input  decay[k]: real    how much each entry decays (may be left out)
    param  w0[k]: real       where the entries start
    output w[t,k]            where they are after step t

Whatever else it defines (averages, momenta) is the state that it carries. It may read the last few
steps and the number of the step, as every model that runs one step at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from os import PathLike
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...inputs import listed, nearest
from ...model import Model

#: What others call the options of optimisers.
_ELSEWHERE = {
    "lr": "rate", "learning_rate": "rate", "betas": "beta1", "weight_decay": "decay",
    "epsilon": "eps", "rho": "alpha", "centered": "centred",
}  # fmt: skip
HERE = Path(__file__).resolve().parent
Decay = float | Mapping[str, float]


@dataclass(frozen=True)
class Optimiser:
    """An optimiser of your own, as a `.rec` model with the names above.

    Args:
        model: a path, the text, or a model.
        rate: the rate of a step, before a schedule changes it.
        decay: how much weights decay, for all parameters or by patterns of their names.
        constants: of the model, where they differ from its defaults.
    """

    model: str | PathLike[str] | Model
    rate: float = 1e-3
    decay: Decay = 0.0
    constants: Mapping[str, float] = field(default_factory=dict)

    @property
    def recurrence(self) -> tuple[Any, dict[str, float]]:
        """The model, and its constants."""
        return self.model, dict(self.constants)


@dataclass(frozen=True)
class _Known:
    """What the optimisers here have in common."""

    @property
    def recurrence(self) -> tuple[Any, dict[str, float]]:
        """The model, and its constants."""
        raise NotImplementedError

    def __new__(cls, *args: Any, **options: Any) -> Any:
        names = [f.name for f in fields(cls)] if options else []
        for option in options:
            if option not in names:
                hint = f"; did you mean `{_ELSEWHERE[option]}`?" if option in _ELSEWHERE else ""
                hint = hint or nearest(option, names) or f"; its options are {listed(names)}"
                raise InputError(f"{cls.__name__} has no option {option}{hint}")
        return super().__new__(cls)

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name in ("rate", "decay") or isinstance(value, bool):
                continue
            if not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
                raise InputError(
                    f"{type(self).__name__}: {f.name} is a number from 0 on, not {value!r}"
                )
            if f.name in ("beta1", "beta2", "alpha") and value >= 1:
                raise InputError(
                    f"{type(self).__name__}: {f.name} is the share of the past in an average, "
                    f"below 1, not {value!r}"
                )


@dataclass(frozen=True)
class SGD(_Known):
    """Gradient descent, with momentum if it is not 0: `sgd.rec`, `momentum.rec`, `nesterov.rec`.

    Args:
        rate: the rate of a step, before a schedule changes it.
        momentum: how much of the last step's direction is kept.
        dampening: the share by which new gradients count less, but for the first one.
        nesterov: whether the gradient is that of where momentum alone would lead.
        decay: added to the gradient times the weight; for all parameters, or by patterns.
    """

    rate: float = 1e-2
    momentum: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False
    decay: Decay = 0.0

    @property
    def recurrence(self) -> tuple[Any, dict[str, float]]:
        if self.nesterov:
            if not self.momentum or self.dampening:
                raise InputError("SGD: nesterov needs a momentum, and no dampening")
            return HERE / "nesterov.rec", {"momentum": self.momentum}
        if not self.momentum:
            return HERE / "sgd.rec", {}
        constants = {"momentum": self.momentum, "dampening": self.dampening}
        return HERE / "momentum.rec", constants


@dataclass(frozen=True)
class RMSprop(_Known):
    """Gradients divided by the root of their mean square: `rmsprop.rec`, `rmsprop_momentum.rec`.

    Args:
        rate: the rate of a step, before a schedule changes it.
        alpha: the share of the past in the mean square.
        eps: added to the root.
        momentum: how much of the last step's direction is kept.
        centred: whether squares are taken about the mean of the gradients.
        decay: added to the gradient times the weight; for all parameters, or by patterns.
    """

    rate: float = 1e-2
    alpha: float = 0.99
    eps: float = 1e-8
    momentum: float = 0.0
    centred: bool = False
    decay: Decay = 0.0

    @property
    def recurrence(self) -> tuple[Any, dict[str, float]]:
        constants = {"alpha": self.alpha, "eps": self.eps}
        if not self.momentum and not self.centred:
            return HERE / "rmsprop.rec", constants
        constants |= {"momentum": self.momentum, "centred": float(self.centred)}
        return HERE / "rmsprop_momentum.rec", constants


@dataclass(frozen=True)
class Adam(_Known):
    """Averages of the gradient and of its square, corrected for their start: `adam.rec`.

    Args:
        rate: the rate of a step, before a schedule changes it.
        beta1, beta2: the shares of the past in the averages of the gradient and of its square.
        eps: added to the root of the mean square.
        decay: added to the gradient times the weight; for all parameters, or by patterns.
    """

    rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    decay: Decay = 0.0

    @property
    def recurrence(self) -> tuple[Any, dict[str, float]]:
        return HERE / "adam.rec", {"beta1": self.beta1, "beta2": self.beta2, "eps": self.eps}


@dataclass(frozen=True)
class AdamW(_Known):
    """Adam with weights that decay by themselves, by ``rate * decay`` a step: `adamw.rec`.

    Args:
        rate: the rate of a step, before a schedule changes it.
        beta1, beta2: the shares of the past in the averages of the gradient and of its square.
        eps: added to the root of the mean square.
        decay: for all parameters, or by patterns of their names.
    """

    rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    decay: Decay = 1e-2

    @property
    def recurrence(self) -> tuple[Any, dict[str, float]]:
        return HERE / "adamw.rec", {"beta1": self.beta1, "beta2": self.beta2, "eps": self.eps}


__all__ = ["SGD", "Adam", "AdamW", "Decay", "Optimiser", "RMSprop"]
