"""Where values stand while operations are selected: buffers, temporaries, and parts of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod

from unfold.expr import Call, Const, Expr, Ref, free_symbols, names
from unfold.plan import Buffer, Plan
from unfold.poly import Poly

from ..components import dims
from .nodes import PORTION, Op, Temporary, View, dense

#: Calls whose value stands in their operand's place, seen in another way.
_REARRANGED = frozenset(("transpose", "reshape", "slice", "take", "detach"))


class Places(ABC):
    """The storages of a plan and what is known to stand in them.

    Args:
        plan: with products hoisted.
        summed: buffers that hold the sum over the batch (one row for all sequences).
        alone: whether sequences are done one by one: tiles have one row.

    Attributes:
        temporaries: what was needed beside the plan's buffers, by name.
        ops: the operations selected so far, in the block that is open.
        scopes: for each open block the expressions whose values stand somewhere.
        repeated: what is worth a table (see `tables`).
    """

    def __init__(self, plan: Plan, summed: frozenset[str], alone: bool) -> None:
        self.plan = plan
        self.alone = alone
        self.lengths = frozenset(plan.lengths)
        self.summed = summed
        self.temporaries: dict[str, Temporary] = {}
        self.ops: list[Op] = []
        self.scopes: list[dict[Expr, View]] = [{}]
        self.repeated: frozenset[Expr] = frozenset()

    @contextmanager
    def collected(self) -> Iterator[list[Op]]:
        """Gather operations in a list of their own; temporaries made there end with it."""
        outer, self.ops = self.ops, []
        self.scopes.append({})
        yield self.ops
        self.scopes.pop()
        self.ops = outer

    def element(self, b: Buffer, position: tuple[Poly, ...]) -> View:
        shared = b.shared or b.name in self.summed
        return View(b.name, position, b.shape, dense(b.shape), shared=shared)

    def temporary(
        self, shape: tuple[int, ...], kind: str, shared: bool, least: int = PORTION, more: int = 0,
        axes: tuple[tuple[Poly, Poly], ...] = (),
    ) -> View:  # fmt: skip
        """A new storage for intermediate values of every row, or for one row that all share; with
        ``axes`` for an element at each position."""
        name = f"%{len(self.temporaries)}"
        least = least if not axes else 1
        self.temporaries[name] = Temporary(name, prod(shape), kind, shared, least, more, axes)
        return View(name, (), shape, dense(shape), shared=shared)

    def is_shared(self, e: Expr) -> bool:
        buffers = self.plan.buffers
        if self.alone and free_symbols(e) - self.lengths:
            return False  # It may differ between the values of an index, which may be the rows.
        return all(n not in buffers or buffers[n].shared for n in names(e))

    def known(self, e: Expr) -> View | None:
        for scope in reversed(self.scopes):
            if e in scope:
                return scope[e]
        return None

    def in_place(self, e: Expr) -> View | None:
        """The components of an element, rearranged without moving them, if that is all ``e`` is."""
        if isinstance(e, Ref):
            return self.known(e) or self.element(self.plan.buffers[e.name], e.index)
        if not isinstance(e, Call) or e.op not in _REARRANGED:
            return None
        inner = self.known(e.args[0]) or self.in_place(e.args[0])
        if inner is None:
            return None
        if e.op == "detach":
            return inner
        if e.op == "transpose":
            return inner.transposed()
        if e.op == "reshape":
            return inner.reshaped(dims(e.shape))
        axis = e.attr("axis")
        if e.op == "slice":
            return inner.sliced(axis, e.attr("lo").evaluate({}), e.attr("hi").evaluate({}))
        index = e.args[1]
        if isinstance(index, Const):
            return inner.taken(axis, int(index.value))
        if inner.pick is not None:
            return None
        chosen = self.view(index)
        moved = inner.taken(axis, 0)
        shared = inner.shared and chosen.shared
        return View(
            moved.storage, moved.position, moved.shape, moved.strides, moved.offset,
            shared, (chosen, inner.strides[axis]),
        )  # fmt: skip

    @abstractmethod
    def view(self, e: Expr) -> View:
        """Where the value of an expression stands, after computing it if need be."""
