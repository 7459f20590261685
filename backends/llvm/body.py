"""Functions written with operators: ``x * y + 1.0`` instead of two calls.

The mathematics and the matrix kernels are formulas; with a `Value` that knows the function it
belongs to they can be written as such, on top of `ir`::

    def write(b: Body) -> Value:
        x, y = b.args
        return x * y + 1.0

    name = define(module, "madd", DOUBLE, (DOUBLE, DOUBLE), write)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from . import ir
from .stock import COMMON
from .values import (
    BOOL,
    DOUBLE,
    FLOAT,
    INT,
    POINTER,
    SCALAR,
    VOID,
    Operand,
    Type,
    Value,
    type_of,
)

__all__ = [
    "BOOL", "DOUBLE", "FLOAT", "INT", "POINTER", "SCALAR", "VOID", "Body", "Operand", "Type",
    "Value", "define", "is_there", "type_of",
]  # fmt: skip

_ALIGN = {"float": 4, "i32": 4, "i8": 1, "i1": 1}


class Body:
    """Writes with operators into a function of `ir`; ``args`` are its arguments as `Value`."""

    def __init__(self, function: ir.Function) -> None:
        self.f = function
        self.module = function.module
        self.args = [self.wrap(a) for a in function.args]

    # --- values -----------------------------------------------------------------------------

    def wrap(self, value: ir.Value) -> Value:
        """A value of the function, with operators."""
        return Value(self, type_of(value.type), value.name)

    def op(self, text: str, kind: Type) -> Value:
        """Write an instruction that has a result."""
        return Value(self, kind, self.f.op(str(kind), text).name)

    def pure(self, text: str, kind: Type) -> Value:
        """As `op`, for an instruction that always has the same result: it is written once."""
        return Value(self, kind, self.f.pure(kind.text, text).name)

    def const(self, kind: Type, number: float) -> Value:
        """The number, rounded to the type, in all lanes."""
        if kind == POINTER:
            return Value(self, kind, "null")
        text = str(kind)
        plain = ir.real(number, text) if kind.is_float else ir.integer(int(number), text)
        return Value(self, kind, plain.name)

    def vector(self, element: Type, numbers: Sequence[float]) -> Value:
        """A constant with a number for each lane."""
        entries = ", ".join(str(self.const(element, n)) for n in numbers)
        return Value(self, Type(element.element, len(numbers)), f"<{entries}>")

    def like(self, model: Value, operand: Operand) -> Value:
        """The operand itself, or a constant of the model's type."""
        return operand if isinstance(operand, Value) else self.const(model.kind, operand)

    def splat(self, scalar: Value, lanes: int) -> Value:
        """A scalar in all lanes."""
        return self.wrap(self.f.splat(scalar, lanes))

    def lane(self, vector: Value, index: int | Value) -> Value:
        """One lane of a vector."""
        if vector.kind.lanes == 1:
            return vector
        return self.op(f"extractelement {vector}, {_index(index)}", Type(vector.kind.element))

    def with_lane(self, vector: Value, value: Value, index: int | Value) -> Value:
        """A vector with one lane replaced."""
        return self.op(f"insertelement {vector}, {value}, {_index(index)}", vector.kind)

    def shuffle(self, x: Value, y: Value, lanes: Sequence[int]) -> Value:
        """Chosen lanes of ``x`` (counted from 0) and ``y`` (counted on from there)."""
        mask = ", ".join(f"i32 {lane}" for lane in lanes)
        kind = Type(x.kind.element, len(lanes))
        return self.op(f"shufflevector {x}, {y}, <{len(lanes)} x i32> <{mask}>", kind)

    # --- calls ------------------------------------------------------------------------------

    def call(self, name: str, result: Type, *args: Value) -> Value:
        """Call a function that returns a value; LLVM's own are declared on the way."""
        if name.startswith("llvm."):
            self.module.declare(name, str(result), [a.type for a in args])
        return self.wrap(self.f.call(str(result), name, *args))

    def call_void(self, name: str, *args: Value) -> None:
        """Call a function without a result."""
        if name.startswith("llvm."):
            self.module.declare(name, "void", [a.type for a in args])
        self.f.call_void(name, *args)

    def function(self, name: str) -> Value:
        """The address of a function."""
        return Value(self, POINTER, f"@{name}")

    def call_at(self, address: Value, *args: Value) -> None:
        """Call the function that begins at an address, for nothing that it returns."""
        self.f.emit(f"call void {address.name}({', '.join(map(str, args))})")

    def intrinsic(self, name: str, *args: Value) -> Value:
        """An intrinsic that is overloaded on the type of its first argument and returns it."""
        return self.call(f"llvm.{name}.{args[0].kind.suffix}", args[0].kind, *args)

    def fma(self, a: Value, b: Operand, c: Operand) -> Value:
        """``a * b + c`` with one rounding, on every machine."""
        return self.intrinsic("fma", a, self.like(a, b), self.like(a, c))

    def madd(self, a: Value, b: Operand, c: Operand) -> Value:
        """``a * b + c``, fused where the machine can."""
        return self.intrinsic("fmuladd", a, self.like(a, b), self.like(a, c))

    def any(self, truth: Value) -> Value:
        """Whether it is true in some lane."""
        if truth.kind.lanes == 1:
            return truth
        return self.call(f"llvm.vector.reduce.or.{truth.kind.suffix}", BOOL, truth)

    # --- memory -----------------------------------------------------------------------------

    def at(self, pointer: Value, index: Value | int, element: Type) -> Value:
        """The address ``index`` elements on."""
        if index == 0 or (isinstance(index, Value) and index.name == "0"):
            return pointer
        return self.pure(f"getelementptr {element}, {pointer}, {_index(index)}", POINTER)

    @staticmethod
    def align(kind: Type) -> int:
        """The alignment of an element in memory, which is all that may be relied on."""
        return _ALIGN.get(kind.element, 8)

    def load(self, pointer: Value, kind: Type) -> Value:
        """Load a scalar or vector that is aligned as its element is."""
        return self.wrap(self.f.load(str(kind), pointer, self.align(kind)))

    def store(self, value: Value, pointer: Value) -> None:
        """Store a scalar or vector at an address that is aligned as its element is."""
        self.f.store(value, pointer, self.align(value.kind))

    def prefetch(self, pointer: Value, write: bool = False) -> None:
        """Ask for a cache line to be brought into the caches, to be read or to be written."""
        self.f.prefetch(pointer, write=write)

    # --- control ----------------------------------------------------------------------------

    def phi(self, kind: Type, *incoming: tuple[Value, str]) -> Value:
        """A merge, at the start of a block: pairs of a value and the block it comes from."""
        return self.wrap(self.f.phi(str(kind), incoming))

    def loop(
        self,
        stop: Operand,
        carried: Sequence[Value],
        step: Callable[[Value, list[Value]], Sequence[Value]],
        *,
        start: Operand = 0,
        by: int | Value = 1,
    ) -> list[Value]:
        """Run ``step(i, values)`` for i = start, start + by, … below ``stop``.

        ``step`` returns the next values of what is carried; the result is the last ones.
        """
        if (
            isinstance(start, int)
            and isinstance(stop, int)
            and isinstance(by, int)
            and start < stop
        ):
            return self._times(range(start, stop, by), carried, step)
        f = self.f
        first, end = (v if isinstance(v, Value) else self.const(INT, v) for v in (start, stop))
        head, inside, after = f.label("head"), f.label("loop"), f.label("done")
        before = f.block
        f.branch(head)
        f.start(head, before)
        place = f.block
        fresh = head.replace("head", "i")
        index = Value(self, INT, f"%{fresh}")
        values = [Value(self, v.kind, f"%{fresh}.{n}") for n, v in enumerate(carried)]
        f.branch_if(index.lt(end), inside, after)
        f.start(inside, place)
        following = step(index, list(values))
        merges = [(index, first, index + by), *zip(values, carried, following, strict=True)]
        latch = f.block.label
        f.branch(head)
        place.lines[:0] = [
            f"{to.name} = phi {to.kind} [ {a.name}, %{before.label} ], [ {b.name}, %{latch} ]"
            for to, a, b in merges
        ]
        f.start(after, place)
        return values

    def _times(
        self,
        numbers: range,
        carried: Sequence[Value],
        step: Callable[[Value, list[Value]], Sequence[Value]],
    ) -> list[Value]:
        """As `loop`, for numbers that are known, of which there is one at least."""
        first = self.const(INT, numbers[0])
        if len(numbers) == 1:
            return list(step(first, list(carried)))

        def once(values: list[Value]) -> tuple[Value, list[Value]]:
            index, *state = values
            following = step(index, state)
            index = index + numbers.step
            return index.lt(numbers.stop), [index, *following]

        return self.repeat([first, *carried], once)[1:]

    def repeat(
        self, carried: Sequence[Value], step: Callable[[list[Value]], tuple[Value, Sequence[Value]]]
    ) -> list[Value]:
        """Run ``step`` once, and again while the first value it returns holds."""
        f = self.f
        again, after = f.label("again"), f.label("done")
        before = f.block
        f.branch(again)
        f.start(again, before)
        place = f.block
        values = [Value(self, v.kind, f"%{again}.{n}") for n, v in enumerate(carried)]
        more, following = step(list(values))
        latch = f.block
        f.branch_if(more, again, after)
        place.lines[:0] = [
            f"{to.name} = phi {to.kind} [ {a.name}, %{before.label} ], [ {b.name}, %{latch.label} ]"
            for to, a, b in zip(values, carried, following, strict=True)
        ]
        f.start(after, latch)
        return list(following)

    def when(
        self, condition: Value, then: Callable[[], Sequence[Value]], otherwise: Sequence[Value] = ()
    ) -> list[Value]:
        """``then()`` if the scalar condition holds, else the values ``otherwise``."""
        f = self.f
        yes, after = f.label("then"), f.label("after")
        before = f.block
        f.branch_if(condition, yes, after)
        f.start(yes, before)
        found = then()
        latch = f.block.label
        f.branch(after)
        f.start(after, before)
        return [
            self.phi(a.kind, (a, latch), (b, before.label))
            for a, b in zip(found, otherwise, strict=True)
        ]

    def switch(
        self, value: Value, cases: Mapping[int, Callable[[], Sequence[Value]]]
    ) -> list[Value]:
        """The case for an integer, which must be one of them."""
        f = self.f
        if len(cases) == 1:
            return list(*(case() for case in cases.values()))
        after, never = f.label("after"), f.label("never")
        labels = {n: f.label("case") for n in cases}
        table = " ".join(f"{value.type} {n}, label %{label}" for n, label in labels.items())
        f.emit(f"switch {value}, label %{never} [ {table} ]")
        before = f.block
        f.start(never)
        f.emit("unreachable")
        ends = []
        for n, label in labels.items():
            f.start(label, before)
            found = cases[n]()
            ends.append((found, f.block.label))
            f.branch(after)
        f.start(after, before)
        merged = zip(*(found for found, _ in ends), strict=True)
        return [
            self.phi(values[0].kind, *zip(values, (block for _, block in ends), strict=True))
            for values in merged
        ]


def define(
    module: ir.Module,
    name: str,
    result: Type,
    params: Sequence[Type],
    write: Callable[[Body], Value | None],
    *,
    attributes: str = "nounwind",
    linkage: str = "internal",
) -> str:
    """Give the module a function, unless it has one of that name; the name.

    ``write`` fills it and returns its result, or None for a function of type `VOID`.
    """
    if name not in module.defined:
        module.defined.add(name)
        common = name.startswith(COMMON)
        if common and module.receiver is not None and module.receiver.has(name):
            module.declare(name, f"hidden {result}", list(map(str, params)), attributes)
            return name
        params_text = [(str(kind), f"a{n}", "") for n, kind in enumerate(params)]
        f = ir.Function(module, name, params_text, str(result), linkage, attributes)
        value = write(Body(f))
        f.emit("ret void" if value is None else f"ret {value}")
        module.add(str(f), common)
    return name


def is_there(module: ir.Module, name: str) -> bool:
    """Whether `define` would find a function that it need not write."""
    if name in module.defined:
        return True
    return module.receiver is not None and module.receiver.has(name)


def _index(index: int | Value) -> str:
    return str(index) if isinstance(index, Value) else f"i64 {index}"
