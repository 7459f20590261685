"""Functions of LLVM IR written as text, with operators for arithmetic.

`llvmlite.ir` builds an object for each instruction and prints it later, which costs more than the
compilation of small functions. The mathematics and the kernels are long and have no need of
objects: here a `Value` is the name of a result, and an operation writes its line at once::

    def write(body: Body) -> Value:
        x, y = body.args
        return x * y + 1.0

    hypot = define(module, "madd", DOUBLE, (DOUBLE, DOUBLE), write)

What `define` returns is an `llvmlite.ir.Function` of the module like any other.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Union

from llvmlite import ir

_IR: dict[str, Any] = {
    "float": ir.FloatType(),
    "double": ir.DoubleType(),
    "i1": ir.IntType(1),
    "i32": ir.IntType(32),
    "i64": ir.IntType(64),
    "i128": ir.IntType(128),
    "ptr": ir.PointerType(),
    "void": ir.VoidType(),
}
_ELEMENT = {"f32": "float", "f64": "double"}
_SUFFIX = {text: short for short, text in _ELEMENT.items()} | {"ptr": "p0"}
_SAME_SIZE = {"float": "i32", "double": "i64", "i32": "float", "i64": "double"}


@dataclass(frozen=True)
class Type:
    """A scalar, or a vector of ``lanes`` > 1 elements (``Type("float", 16)``)."""

    element: str
    lanes: int = 1

    def __str__(self) -> str:
        return f"<{self.lanes} x {self.element}>" if self.lanes > 1 else self.element

    @property
    def is_float(self) -> bool:
        return self.element in ("float", "double")

    @property
    def suffix(self) -> str:
        """As in the names of overloaded intrinsics: ``v16f32``, ``f64``."""
        short = _SUFFIX.get(self.element, self.element)
        return f"v{self.lanes}{short}" if self.lanes > 1 else short

    @property
    def ir(self) -> Any:
        """The type as an `llvmlite.ir` type."""
        element = _IR[self.element]
        return ir.VectorType(element, self.lanes) if self.lanes > 1 else element

    def of(self, element: str) -> Type:
        """As many lanes of another element type."""
        return Type(element, self.lanes)

    @property
    def bits(self) -> Type:
        """The integers of the size of these floats, or the other way round."""
        return self.of(_SAME_SIZE[self.element])


def type_of(value: Any) -> Type:
    """The `Type` of an `llvmlite.ir` type."""
    if isinstance(value, ir.VectorType):
        return Type(str(value.element), int(value.count))
    return Type(str(value))


BOOL, INT, POINTER, VOID = Type("i1"), Type("i64"), Type("ptr"), Type("void")
FLOAT, DOUBLE = Type("float"), Type("double")
SCALAR = {"float32": FLOAT, "float64": DOUBLE, "int64": INT}

Operand = Union["Value", float, int]


@dataclass(frozen=True, eq=False)
class Value:
    """The result of an instruction, or a constant: its type and the text that refers to it."""

    body: Body
    type: Type
    ref: str

    def _binary(self, floating: str, integer: str, other: Operand, swap: bool = False) -> Value:
        op = floating if self.type.is_float else integer
        a, b = self, self.body.like(self, other)
        if swap:
            a, b = b, a
        return self.body.op(f"{op} {self.type} {a.ref}, {b.ref}", self.type)

    def __add__(self, other: Operand) -> Value:
        return self._binary("fadd", "add", other)

    def __radd__(self, other: Operand) -> Value:
        return self._binary("fadd", "add", other, swap=True)

    def __sub__(self, other: Operand) -> Value:
        return self._binary("fsub", "sub", other)

    def __rsub__(self, other: Operand) -> Value:
        return self._binary("fsub", "sub", other, swap=True)

    def __mul__(self, other: Operand) -> Value:
        return self._binary("fmul", "mul", other)

    def __rmul__(self, other: Operand) -> Value:
        return self._binary("fmul", "mul", other, swap=True)

    def __truediv__(self, other: Operand) -> Value:
        return self._binary("fdiv", "sdiv", other)

    def __rtruediv__(self, other: Operand) -> Value:
        return self._binary("fdiv", "sdiv", other, swap=True)

    def __neg__(self) -> Value:
        if self.type.is_float:
            return self.body.op(f"fneg {self.type} {self.ref}", self.type)
        return 0 - self

    def __and__(self, other: Operand) -> Value:
        return self._binary("", "and", other)

    def __or__(self, other: Operand) -> Value:
        return self._binary("", "or", other)

    def __xor__(self, other: Operand) -> Value:
        return self._binary("", "xor", other)

    def __lshift__(self, other: Operand) -> Value:
        return self._binary("", "shl", other)

    def __rshift__(self, other: Operand) -> Value:
        """The logical shift (zeros come in); `sar` is the arithmetic one."""
        return self._binary("", "lshr", other)

    def sar(self, other: Operand) -> Value:
        return self._binary("", "ashr", other)

    def srem(self, other: Operand) -> Value:
        """The remainder with the sign of the dividend, as C has it."""
        return self._binary("frem", "srem", other)

    def _compare(self, floating: str, integer: str, other: Operand) -> Value:
        op = f"fcmp {floating}" if self.type.is_float else f"icmp {integer}"
        right = self.body.like(self, other).ref
        return self.body.op(f"{op} {self.type} {self.ref}, {right}", self.type.of("i1"))

    def lt(self, other: Operand) -> Value:
        return self._compare("olt", "slt", other)

    def le(self, other: Operand) -> Value:
        return self._compare("ole", "sle", other)

    def gt(self, other: Operand) -> Value:
        return self._compare("ogt", "sgt", other)

    def ge(self, other: Operand) -> Value:
        return self._compare("oge", "sge", other)

    def eq(self, other: Operand) -> Value:
        return self._compare("oeq", "eq", other)

    def ne(self, other: Operand) -> Value:
        """Not equal; true for NaN."""
        return self._compare("une", "ne", other)

    def is_nan(self) -> Value:
        return self._compare("uno", "", self)

    def select(self, a: Operand, b: Operand) -> Value:
        """``a`` where this truth value holds, else ``b`` (one of them must be a `Value`)."""
        model = a if isinstance(a, Value) else b
        assert isinstance(model, Value)
        x, y = self.body.like(model, a), self.body.like(model, b)
        text = f"select {self.type} {self.ref}, {x.type} {x.ref}, {y.type} {y.ref}"
        return self.body.op(text, x.type)

    def convert(self, how: str, element: str) -> Value:
        """One of LLVM's conversions: ``bitcast``, ``fpext``, ``fptosi``, ``sitofp``, ``zext``…"""
        to = self.type.of(element)
        return self.body.op(f"{how} {self.type} {self.ref} to {to}", to)

    @property
    def bits(self) -> Value:
        """The same bits as integers of this size, or as floats."""
        return self.convert("bitcast", self.type.bits.element)


class Body:
    """The text of one function as it grows; ``args`` are its arguments."""

    def __init__(self, module: ir.Module, params: Sequence[Type]) -> None:
        self.module = module
        self.args = [Value(self, kind, f"%a{n}") for n, kind in enumerate(params)]
        self.lines: list[str] = ["entry:"]
        self.block = "entry"
        self._count = 0

    # --- values -----------------------------------------------------------------------------

    def op(self, text: str, kind: Type) -> Value:
        """Write an instruction that has a result."""
        self._count += 1
        ref = f"%v{self._count}"
        self.lines.append(f"  {ref} = {text}")
        return Value(self, kind, ref)

    def do(self, text: str) -> None:
        """Write an instruction without a result."""
        self.lines.append(f"  {text}")

    def const(self, kind: Type, number: float) -> Value:
        """The number, rounded to the type, in all lanes."""
        if kind.is_float:
            text = _float_text(number, kind.element)
        elif kind.element == "i1":
            text = "true" if number else "false"
        else:
            text = str(int(number))
        return Value(self, kind, f"splat ({kind.element} {text})" if kind.lanes > 1 else text)

    def vector(self, kind: Type, numbers: Sequence[float]) -> Value:
        """A constant with a number for each lane."""
        entries = [self.const(Type(kind.element), n).ref for n in numbers]
        text = ", ".join(f"{kind.element} {entry}" for entry in entries)
        return Value(self, kind, f"<{text}>" if kind.lanes > 1 else entries[0])

    def like(self, model: Value, operand: Operand) -> Value:
        """The operand itself, or a constant of the model's type."""
        return operand if isinstance(operand, Value) else self.const(model.type, operand)

    def splat(self, scalar: Value, lanes: int) -> Value:
        """A scalar in all lanes."""
        if lanes == 1:
            return scalar
        kind = Type(scalar.type.element, lanes)
        one = self.op(f"insertelement {kind} poison, {scalar.type} {scalar.ref}, i64 0", kind)
        zeros = f"<{lanes} x i32> zeroinitializer"
        return self.op(f"shufflevector {kind} {one.ref}, {kind} poison, {zeros}", kind)

    def lane(self, vector: Value, index: int) -> Value:
        """One lane of a vector."""
        if vector.type.lanes == 1:
            return vector
        text = f"extractelement {vector.type} {vector.ref}, i64 {index}"
        return self.op(text, Type(vector.type.element))

    def call(self, name: str, result: Type, *args: Value) -> Value:
        """Call a function of the module by its name; one that is unknown is declared."""
        self._declare(name, result, args)
        return self.op(f"call {self._call_text(name, result, args)}", result)

    def call_void(self, name: str, *args: Value) -> None:
        self._declare(name, VOID, args)
        self.do(f"call {self._call_text(name, VOID, args)}")

    def _declare(self, name: str, result: Type, args: Sequence[Value]) -> None:
        if name not in self.module.globals:
            kinds = [a.type.ir for a in args]
            ir.Function(self.module, ir.FunctionType(result.ir, kinds), name)

    @staticmethod
    def _call_text(name: str, result: Type, args: Sequence[Value]) -> str:
        return f'{result} @"{name}"({", ".join(f"{a.type} {a.ref}" for a in args)})'

    def intrinsic(self, name: str, *args: Value) -> Value:
        """An intrinsic that is overloaded on the type of its first argument and returns it."""
        return self.call(f"llvm.{name}.{args[0].type.suffix}", args[0].type, *args)

    def fma(self, a: Value, b: Operand, c: Operand) -> Value:
        """``a * b + c`` with one rounding, on every machine."""
        return self.intrinsic("fma", a, self.like(a, b), self.like(a, c))

    def madd(self, a: Value, b: Operand, c: Operand) -> Value:
        """``a * b + c``, fused where the machine can."""
        return self.intrinsic("fmuladd", a, self.like(a, b), self.like(a, c))

    # --- memory -----------------------------------------------------------------------------

    def at(self, pointer: Value, index: Operand, element: Type) -> Value:
        """The address ``index`` elements on."""
        number = index.ref if isinstance(index, Value) else str(index)
        text = f"getelementptr {element}, ptr {pointer.ref}, i64 {number}"
        return self.op(text, POINTER)

    def load(self, pointer: Value, kind: Type) -> Value:
        """Load a scalar or vector that is aligned as its element is."""
        return self.op(f"load {kind}, ptr {pointer.ref}, align {_align(kind)}", kind)

    def store(self, value: Value, pointer: Value) -> None:
        kind = value.type
        self.do(f"store {kind} {value.ref}, ptr {pointer.ref}, align {_align(kind)}")

    # --- control ----------------------------------------------------------------------------

    def label(self, stem: str) -> str:
        """A fresh name for a block."""
        self._count += 1
        return f"{stem}{self._count}"

    def start(self, label: str) -> None:
        """Begin the block of that name; the one before must have ended with a branch."""
        self.lines.append(f"{label}:")
        self.block = label

    def jump(self, label: str) -> None:
        self.do(f"br label %{label}")

    def branch(self, condition: Value, yes: str, no: str) -> None:
        self.do(f"br i1 {condition.ref}, label %{yes}, label %{no}")

    def phi(self, kind: Type, *incoming: tuple[Value, str]) -> Value:
        """A merge, as the first instruction of a block."""
        edges = ", ".join(f"[ {value.ref}, %{label} ]" for value, label in incoming)
        return self.op(f"phi {kind} {edges}", kind)

    def loop(
        self,
        stop: Operand,
        carried: Sequence[Value],
        step: Callable[[Value, list[Value]], Sequence[Value]],
        *,
        by: int = 1,
    ) -> list[Value]:
        """Run ``step(i, values)`` for i = 0, by, 2 by, … below ``stop``; the values at the end.

        ``step`` returns the next values of what is carried.
        """
        end = stop if isinstance(stop, Value) else self.const(INT, stop)
        head, inside, after = self.label("head"), self.label("loop"), self.label("done")
        before = self.block
        self.jump(head)
        self.start(head)
        place = len(self.lines)
        self._count += 1
        index = Value(self, INT, f"%i{self._count}")
        values = []
        for n, value in enumerate(carried):
            values.append(Value(self, value.type, f"%c{self._count}.{n}"))
        self.branch(index.lt(end), inside, after)
        self.start(inside)
        following = step(index, list(values))
        step_on = index + by
        latch = self.block
        self.jump(head)
        merges = [(index, self.const(INT, 0), step_on)]
        merges += list(zip(values, carried, following, strict=True))
        self.lines[place:place] = [
            f"  {to.ref} = phi {to.type} [ {first.ref}, %{before} ], [ {again.ref}, %{latch} ]"
            for to, first, again in merges
        ]
        self.start(after)
        return values

    def when(
        self, condition: Value, then: Callable[[], Sequence[Value]], otherwise: Sequence[Value] = ()
    ) -> list[Value]:
        """``then()`` if the scalar condition holds, else the values ``otherwise``."""
        yes, after = self.label("then"), self.label("after")
        before = self.block
        self.branch(condition, yes, after)
        self.start(yes)
        found = then()
        latch = self.block
        self.jump(after)
        self.start(after)
        return [
            self.phi(a.type, (a, latch), (b, before)) for a, b in zip(found, otherwise, strict=True)
        ]


class _Written(ir.Function):
    """A function whose text is at hand."""

    text: str

    def __str__(self) -> str:
        return self.text


def define(
    module: ir.Module,
    name: str,
    result: Type,
    params: Sequence[Type],
    write: Callable[[Body], Value | None],
    *,
    linkage: str = "internal",
    attributes: str = "nounwind",
) -> ir.Function:
    """The function of that name: the one of the module, or a new one that ``write`` fills.

    ``write`` returns the result, or None for a function of type `VOID`.
    """
    found = module.globals.get(name)
    if found is not None:
        return found
    body = Body(module, params)
    value = write(body)
    body.do("ret void" if value is None else f"ret {value.type} {value.ref}")
    function = _Written(module, ir.FunctionType(result.ir, [p.ir for p in params]), name)
    head = ", ".join(f"{a.type} {a.ref}" for a in body.args)
    lines = "\n".join(body.lines)
    function.text = f'define {linkage} {result} @"{name}"({head}) {attributes} {{\n{lines}\n}}\n'
    return function


def _align(kind: Type) -> int:
    return {"float": 4, "i32": 4, "i1": 1}.get(kind.element, 8)


def _float_text(number: float, element: str) -> str:
    if element == "float":
        number = _single(number)
    return f"0x{struct.unpack('>Q', struct.pack('>d', number))[0]:016X}"


def _single(number: float) -> float:
    if number != number or number in (float("inf"), -float("inf")):
        return number
    return float(struct.unpack("f", struct.pack("f", number))[0])
