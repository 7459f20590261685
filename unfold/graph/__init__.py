"""The explicit DAG of a program unfolded over a number of steps.

`unfold` makes it, `Graph` holds it: a walk over it computes (`unfold.backends.numpy`), a reverse
sweep over it differentiates (`Graph.adjoint`), and it can be drawn (`Graph.draw`).
"""

from __future__ import annotations

from .graph import Graph, Result
from .nary import NARY
from .node import Node
from .unroll import extents, output_ranges, placed, unfold

__all__ = ["NARY", "Graph", "Node", "Result", "extents", "output_ranges", "placed", "unfold"]
