"""What is written in a box."""

from __future__ import annotations

from ..graph import Graph, Node

SYMBOLS = {
    "add": "+", "sub": "−", "mul": "×", "div": "÷", "matmul": "@", "neg": "−", "pow": "^",
    "transpose": "transpose", "reduce_sum": "Σ", "sum": "Σ", "reduce_max": "max",
    "reduce_min": "min", "reduce_logsumexp": "logsumexp", "lt": "<", "le": "≤", "gt": ">",
    "ge": "≥", "eq": "=", "ne": "≠", "broadcast": "repeat",
}  # fmt: skip


def label(graph: Graph, node: Node) -> str:
    """``h[3]`` for an element; at op level with its operation, and for other operations that."""
    if graph.level == "equation" or not node.operands:
        return node.name
    if node.op == "copy":
        return node.name
    return f"{node.name}  {operation(graph, node)}" if node.is_element else operation(graph, node)


def operation(graph: Graph, node: Node) -> str:
    """The operation with its constant operands: ``×``, ``1 −``, ``^ 2``."""
    symbol = SYMBOLS.get(node.op, node.op)
    operands = [graph.table[o] for o in node.operands]
    if len(operands) == 2:
        left, right = (_number(o.var) if o.is_literal else "" for o in operands)
        return f"{left} {symbol} {right}".strip()
    return symbol


def _number(text: str) -> str:
    return text.removesuffix(".0")
