"""Implicit equations on tiles: all sequences are searched for together, row by row.

The map is computed for all rows at once, by the operations that compute any other expression; a row
that is found, or lost, stays as it is while the others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING

from unfold.derivative import Forward
from unfold.expr import Call, Reduce, Ref, rewrite
from unfold.implicit import is_affine, parts, patience, tolerance
from unfold.plan import Statement
from unfold.program import Solver

from ..body import BOOL, INT, Body, Type, Value
from ..components import dims
from ..failures import FIELD
from ..gemm.packing import SIDE
from ..ir import integer
from ..solving import (
    EXTRAPOLATED,
    FOUND,
    FRESH,
    PLAIN,
    Reporter,
    anderson_rows,
    linear_system,
    rows_abreast,
    state_size,
)
from ..solving.registers import still
from .loops import pieces
from .nodes import SEARCHED, Solve, View
from .tables import repeated

if TYPE_CHECKING:
    from .emit import TileEmitter
    from .select import Selector

#: Names that no program has: the unknown while a map is differentiated, and its change.
_UNKNOWN, _CHANGE = "%unknown", "%change"


# --- from a statement to an operation -------------------------------------------------------------


def select(s: Selector, target: View, statement: Statement) -> None:
    """Append the operation that solves a statement."""
    assert statement.solver is not None
    v = s.plan.program.vars[statement.target]
    unknown = Ref(statement.target, statement.position, v.shape, v.type)
    rhs, start = parts(statement.rhs)
    shape, n = dims(unknown.shape), prod(dims(unknown.shape))
    image = s.temporary(shape, "real", target.shared)
    method = statement.solver.method
    size = {"anderson": n + 1, "newton": n * n + n}.get(method, 1)
    last = s.temporary((1,), "real", target.shared, SEARCHED)
    work = s.temporary((size,), "real", target.shared, SEARCHED)
    state = None
    if method == "anderson":
        state = s.temporary((state_size(n),), "real", target.shared, SEARCHED, SIDE - 1)
    marks = s.temporary((2,), "int", target.shared, SEARCHED)
    direction = slope = None
    with s.collected() as first:
        if start is None:
            s.fill(target, 0.0)
        else:
            s.into(target, start)
        for e in still(rhs, unknown):
            if isinstance(e, (Call, Reduce)):
                s.view(e)
        with s.collected() as step:
            s.repeated = repeated(rhs) if s.alone else frozenset()
            s.into(image, rhs)
            s.repeated = frozenset()
        with s.collected() as tangent:
            name, change = (Ref(n, (), v.shape, v.type) for n in (_UNKNOWN, _CHANGE))
            named = rewrite(rhs, lambda e: name if e is unknown else e)
            moved = Forward({_UNKNOWN: _CHANGE}).of(named) if method == "newton" else None
            if moved is not None:
                direction = s.temporary(shape, "real", True, 1)
                slope = s.temporary(shape, "real", target.shared)
                s.scopes[-1][change] = direction
                s.into(slope, rewrite(moved, lambda e: unknown if e is name else e))
    s.ops.append(
        Solve(
            target, image, last, work, state, marks, statement.target, statement.solver,
            is_affine(rhs, unknown), patience(statement.solver, rhs, unknown),
            tuple(first), tuple(step), direction, slope, tuple(tangent),
        )
    )  # fmt: skip


# --- from an operation to code --------------------------------------------------------------------


def emit(te: TileEmitter, op: Solve) -> None:
    """Code that solves an implicit equation in every row."""
    _Search(te, op).write()


class _Search:
    def __init__(self, te: TileEmitter, op: Solve) -> None:
        self.te = te
        self.op = op
        self.b = Body(te.f)
        self.n = op.target.size
        self.real = Type(te.tile.formats.real)
        self.solver: Solver = op.solver
        epsilon = 2.0**-52 if self.real.element == "double" else 2.0**-23
        self.tolerance = tolerance(op.solver, epsilon)
        noted = te.generator.work(te.f, FIELD)
        names = tuple(te.generator.plan.program.vars)
        self.reporter = Reporter(noted, te.known["row"], te.known["rows"], names)

    def rows(self) -> Value:
        return self.b.wrap(integer(1) if self.op.target.shared else self.te.tile.rows)

    def at(self, view: View, row: Value) -> Value:
        """The address of a view's first component in a row."""
        return self.b.wrap(self.te.tile.row_base(view, row))

    def load(self, pointer: Value, k: Value | int, kind: Type | None = None) -> Value:
        """What a row has from component ``k`` on."""
        kind = kind or self.real
        return self.b.load(self.b.at(pointer, k, Type(kind.element)), kind)

    def write(self) -> None:
        b, te, op = self.b, self.te, self.op
        te.ops(op.first)
        views = op.target, op.image, op.last, op.work, op.state, op.marks, op.direction, op.slope
        for v in views:
            if v is not None:
                te.tile.base(v)
        rows = self.rows()

        def begin(row: Value, _: list[Value]) -> list[Value]:
            with te.tile.scope():
                marks = self.at(op.marks, row)
                b.store(b.const(INT, 1), marks)
                b.store(b.const(INT, 0), b.at(marks, 1, INT))
            return []

        b.loop(rows, [], begin)
        outer, te.is_repeated = te.is_repeated, True

        def step(values: list[Value]) -> tuple[Value, list[Value]]:
            (count,) = values
            with te.tile.scope():
                te.ops(op.step)
                if self.solver.method == "newton":
                    self.jacobian(rows)

                def one(row: Value, going: list[Value]) -> list[Value]:
                    return [going[0] | self.row(row, count)]

                (going,) = b.loop(rows, [b.const(BOOL, 0)], one)
                if self.solver.method == "anderson":
                    self.extrapolate(rows, count)
            number = count + 1
            return going & number.lt(self.solver.max_steps), [number]

        b.repeat([b.const(INT, 0)], step)
        te.is_repeated = outer
        b.loop(rows, [], self.finish)

    # --- one step of one row ---

    def row(self, row: Value, count: Value) -> Value:
        """Take a row to its next point; whether the search goes on there."""
        b, op = self.b, self.op
        with self.te.tile.scope():
            marks = self.at(op.marks, row)
            active = self.load(marks, 0, INT).ne(0)

            def move() -> list[Value]:
                with self.te.tile.scope():
                    return [self.move(row, marks, count)]

            (going,) = b.when(active, move, [b.const(BOOL, 0)])
        return going

    def move(self, row: Value, marks: Value, count: Value) -> Value:
        b, op = self.b, self.op
        x, image, work = (self.at(v, row) for v in (op.target, op.image, op.work))
        if self.solver.method == "newton":
            self.newton(x, image, work)
        change = self.change(x, image)
        ok = change.le(self.tolerance)
        # A change that is NaN is not less than infinity either.
        going = (ok ^ 1) & change.lt(float("inf"))
        b.store(count + 1, b.at(marks, 1, INT))
        b.store(change, self.at(op.last, row))

        def accept() -> list[Value]:
            self.copy(image, x)
            return []

        if self.solver.method == "anderson":
            b.when(ok, accept)

            def step() -> list[Value]:
                begun = self.load(marks, 0, INT).ge(EXTRAPOLATED)

                def plain() -> list[Value]:
                    return [self.plain(x, image, work, count)]

                return b.when(begun ^ 1, plain, [b.const(INT, EXTRAPOLATED)])

            (mark,) = b.when(going, step, [b.const(INT, FOUND)])
        else:
            accept()
            mark = going.convert("zext", "i64")
        b.store(mark, marks)
        return going

    # --- Anderson's method ---

    def plain(self, x: Value, image: Value, last: Value, count: Value) -> Value:
        """A plain step of a row, if these are not too slow for that; the row's mark."""
        b = self.b

        def residual(k: Value, kind: Type) -> Value:
            return self.load(image, k, kind) - self.load(x, k, kind)

        now = b.const(self.real, 0.0)
        for start, times, width in pieces(self.n, self.te.lanes):
            kind = Type(self.real.element, width)

            def square(k: Value, total: list[Value], kind: Type = kind) -> list[Value]:
                v = residual(k, kind)
                return [b.madd(v, v, total[0])]

            begin = [b.const(kind, 0.0)]
            (part,) = b.loop(start + times * width, begin, square, start=start, by=width)
            now = now + self.total(part)
        before = self.load(last, self.n)
        slow = count.gt(0) & now.gt(before * self.op.patience**2)

        def move() -> list[Value]:
            b.store(now, b.at(last, self.n, self.real))
            for start, times, width in pieces(self.n, self.te.lanes):
                kind = Type(self.real.element, width)

                def one(k: Value, _: list[Value], kind: Type = kind) -> list[Value]:
                    value = self.load(image, k, kind)
                    b.store(residual(k, kind), b.at(last, k, self.real))
                    b.store(value, b.at(x, k, self.real))
                    return []

                b.loop(start + times * width, [], one, start=start, by=width)
            return [b.const(INT, PLAIN)]

        return b.when(slow ^ 1, move, [b.const(INT, FRESH)])[0]

    def total(self, v: Value) -> Value:
        """The sum of all lanes."""
        if v.kind.lanes == 1:
            return v
        name = f"llvm.vector.reduce.fadd.{v.kind.suffix}"
        self.b.module.declare(name, str(self.real), [str(self.real), v.type])
        zero = self.b.const(self.real, -0.0)
        return self.b.wrap(self.b.f.call(str(self.real), name, zero, v, flags="reassoc "))

    def extrapolate(self, rows: Value, count: Value) -> None:
        """Take the rows to their next points that have not taken a plain step there."""
        b, tile, op = self.b, self.te.tile, self.op
        assert op.state is not None
        state, marks = (b.wrap(tile.base(v)) for v in (op.state, op.marks))
        given = [
            v
            for view in (op.target, op.image, op.work)
            for v in (b.wrap(tile.base(view)), b.const(INT, tile.row_step(view)))
        ]

        def by(lanes: int) -> list[Value]:
            name = anderson_rows(b.module, self.n, self.real.element, lanes, self.te.lanes)
            b.call_void(name, state, marks, *given, rows, count)
            return []

        lanes = rows_abreast(self.n, self.real.element, self.te.lanes)
        if op.target.shared or lanes == 1:
            by(1)
            return
        b.when(rows.gt(1), lambda: by(lanes))
        b.when(rows.eq(1), lambda: by(1))

    # --- how far a step goes ---

    def change(self, x: Value, y: Value) -> Value:
        """The largest change of a component, as `unfold.program.Solver` measures it; NaN wins."""
        b = self.b

        def one(k: Value, kind: Type) -> list[Value]:
            old, new = self.load(x, k, kind), self.load(y, k, kind)
            moved, size = b.intrinsic("fabs", new - old), b.intrinsic("fabs", new)
            if not self.op.affine:
                # An infinity by an infinity is a NaN whose sign may be set.
                return [b.intrinsic("fabs", moved / (size + 1.0))]
            return [moved, b.intrinsic("fabs", old), size]

        top, *sizes = self.largest(one, 3 if self.op.affine else 1)
        if not sizes:
            return top.bits
        whole = b.intrinsic("smax", *sizes).bits
        return top.bits.eq(0.0).select(0.0, top.bits / whole)

    def largest(self, part: Callable[[Value, Type], Sequence[Value]], count: int) -> list[Value]:
        """The largest of some numbers that are not negative, of each kind, as integers of the same
        bits: these are in the order of the numbers, and a NaN is above all."""
        b = self.b
        tops = [b.const(self.real.bits, 0)] * count
        for start, times, width in pieces(self.n, self.te.lanes):
            kind = Type(self.real.element, width)

            def one(k: Value, found: list[Value], kind: Type = kind) -> list[Value]:
                values = part(k, kind)
                return [b.intrinsic("smax", a, v.bits) for a, v in zip(found, values, strict=True)]

            begin = [b.const(kind.bits, 0)] * count
            found = b.loop(start + times * width, begin, one, start=start, by=width)
            tops = [b.intrinsic("smax", a, self.top(v)) for a, v in zip(tops, found, strict=True)]
        return tops

    def top(self, v: Value) -> Value:
        """The largest lane."""
        if v.kind.lanes == 1:
            return v
        return self.b.call(f"llvm.vector.reduce.smax.{v.kind.suffix}", Type(v.kind.element), v)

    def copy(self, source: Value, target: Value) -> None:
        for start, times, width in pieces(self.n, self.te.lanes):
            kind = Type(self.real.element, width)

            def one(k: Value, _: list[Value], kind: Type = kind) -> list[Value]:
                self.b.store(self.load(source, k, kind), self.b.at(target, k, self.real))
                return []

            self.b.loop(start + times * width, [], one, start=start, by=width)

    # --- Newton's method ---

    def jacobian(self, rows: Value) -> None:
        """The matrix ``I - dF/dz`` of every row, column by column."""
        b, te, op = self.b, self.te, self.op
        direction, slope = op.direction, op.slope
        if direction is None or slope is None:
            return
        units = self.at(direction, b.const(INT, 0))

        def column(j: Value, _: list[Value]) -> list[Value]:
            def unit(k: Value, _: list[Value]) -> list[Value]:
                one = k.eq(j).select(b.const(self.real, 1.0), 0.0)
                b.store(one, b.at(units, k, self.real))
                return []

            b.loop(self.n, [], unit)
            with te.tile.scope():
                te.ops(op.tangent)

                def one(row: Value, _: list[Value]) -> list[Value]:
                    with te.tile.scope():
                        matrix = self.at(op.work, row)
                        values = self.at(slope, row)

                        def entry(i: Value, _: list[Value]) -> list[Value]:
                            v = self.load(units, i) - self.load(values, i)
                            b.store(v, b.at(matrix, i * self.n + j, self.real))
                            return []

                        b.loop(self.n, [], entry)
                    return []

                b.loop(rows, [], one)
            return []

        b.loop(self.n, [], column)

    def newton(self, x: Value, image: Value, work: Value) -> None:
        """Put the next point in the place of the map's value."""
        b = self.b
        if self.op.slope is None:
            return
        matrix = work
        right = b.at(matrix, self.n * self.n, self.real)

        def residual(k: Value, _: list[Value]) -> list[Value]:
            b.store(self.load(image, k) - self.load(x, k), b.at(right, k, self.real))
            return []

        def add(k: Value, _: list[Value]) -> list[Value]:
            b.store(self.load(x, k) + self.load(right, k), b.at(image, k, self.real))
            return []

        b.loop(self.n, [], residual)
        b.call_void(linear_system(b.module, self.n, self.real.element), matrix, right)
        b.loop(self.n, [], add)

    # --- the end ---

    def finish(self, row: Value, _: list[Value]) -> list[Value]:
        """A row without a solution is noted, and becomes NaN."""
        b, op = self.b, self.op
        with self.te.tile.scope():
            change = self.load(self.at(op.last, row), 0)

            def lost() -> list[Value]:
                with self.te.tile.scope():
                    x = self.at(op.target, row)

                    def spoil(k: Value, _: list[Value]) -> list[Value]:
                        b.store(b.const(self.real, float("nan")), b.at(x, k, self.real))
                        return []

                    b.loop(self.n, [], spoil)
                    steps = self.load(self.at(op.marks, row), 1, INT)
                    number, sequence = self.element(row)
                    self.reporter.note(b, op.name, number, sequence, change, steps)
                return []

            b.when(change.le(self.tolerance) ^ 1, lost)
        return []

    def element(self, row: Value) -> tuple[Value, Value]:
        """Which element of its variable a row is, counted row by row, and of which sequence."""
        b, tile, v = self.b, self.te.tile, self.op.target
        storage = tile.storages[v.storage]
        total = b.const(INT, 0)
        for p, low, step in zip(v.position, storage.lows, storage.steps, strict=True):
            total = total + (b.wrap(tile.position(p)) - b.wrap(low)) * b.wrap(step)
        rows = b.const(INT, 1) if v.shared else b.wrap(self.te.known["rows"])
        number = b.op(f"sdiv {total}, {(rows * v.size).name}", INT)
        # In a stretch the rows of one step follow those of the step before.
        at = row + b.wrap(tile.first)
        return number + at.udiv(rows), b.op(f"urem {at}, {rows.name}", INT)


__all__ = ["emit", "select"]
