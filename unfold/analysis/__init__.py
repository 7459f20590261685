"""Questions about a recurrence, answered with numbers and plots.

from unfold import analysis
print(analysis.jacobian_product(fn, params, data))            # vanishing, exploding or steady?
analysis.influence(fn, params, data, of="y[T]").plot().figure.savefig("influence.png")

Every function takes a compiled model (or a model with ``sizes``), parameters and data, and returns
a frozen result with arrays that prints as a table, draws itself (``.plot(ax)``) and becomes JSON.
"""

from __future__ import annotations

from .fixed_points import FixedPoint, FixedPoints, fixed_points, kind_of_point, time_scales
from .gradients import GradientNorms, gradient_norms
from .influence import Influence, influence
from .jacobians import JacobianProduct, jacobian_product
from .losses import GradientCosine, gradient_cosine
from .paths import PathLengths, path_lengths
from .result import Result
from .run import Run, prepare
from .steps import StepMap, step_map
from .time_constants import TimeConstants, time_constants
from .truncation import TruncationBias, truncation_bias
from .verdict import Verdict

__all__ = [
    "FixedPoint",
    "FixedPoints",
    "GradientCosine",
    "GradientNorms",
    "Influence",
    "JacobianProduct",
    "PathLengths",
    "Result",
    "Run",
    "StepMap",
    "TimeConstants",
    "TruncationBias",
    "Verdict",
    "fixed_points",
    "gradient_cosine",
    "gradient_norms",
    "influence",
    "jacobian_product",
    "kind_of_point",
    "path_lengths",
    "prepare",
    "step_map",
    "time_constants",
    "time_scales",
    "truncation_bias",
]
