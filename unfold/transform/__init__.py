"""Program -> Program. One module a transformation; each says before, after and what it requires."""

from __future__ import annotations

from .adjoint import adjoint
from .simplify import simplify
from .tangent import tangent
from .truncate import Horizon, Window, truncate
from .untie import Untied, untie

__all__ = ["Horizon", "Untied", "Window", "adjoint", "simplify", "tangent", "truncate", "untie"]
