"""Types and values that know the function they belong to, so that formulas can be written."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Union

from . import ir

if TYPE_CHECKING:
    from .body import Body

_SHORT = {"float": "f32", "double": "f64", "ptr": "p0"}
_SAME_SIZE = {"float": "i32", "double": "i64", "i32": "float", "i64": "double"}


@dataclass(frozen=True)
class Type:
    """A scalar, or a vector of ``lanes`` > 1 elements (``Type("float", 16)``)."""

    element: str
    lanes: int = 1

    @cached_property
    def text(self) -> str:
        """As LLVM writes it: ``<16 x float>``."""
        return ir.vector(self.element, self.lanes)

    def __str__(self) -> str:
        return self.text

    @property
    def is_float(self) -> bool:
        return self.element in ("float", "double")

    @property
    def suffix(self) -> str:
        """As in the names of overloaded intrinsics: ``v16f32``, ``f64``."""
        short = _SHORT.get(self.element, self.element)
        return f"v{self.lanes}{short}" if self.lanes > 1 else short

    def of(self, element: str) -> Type:
        """As many lanes of another element type."""
        return Type(element, self.lanes)

    @property
    def bits(self) -> Type:
        """The integers of the size of these floats, or the other way round."""
        return self.of(_SAME_SIZE[self.element])


@lru_cache(maxsize=2**10)
def type_of(text: str) -> Type:
    """The `Type` that is written so."""
    return Type(ir.scalar_of(text), ir.width_of(text))


BOOL, INT, POINTER, VOID = Type("i1"), Type("i64"), Type("ptr"), Type("void")
FLOAT, DOUBLE = Type("float"), Type("double")
SCALAR = {"float32": FLOAT, "float64": DOUBLE, "int64": INT}

Operand = Union["Value", float, int]


class Value(ir.Value):
    """A value of `ir` that knows its function and has operators; numbers may stand beside it."""

    __slots__ = ("body", "kind")

    def __init__(self, body: Body, kind: Type, name: str) -> None:
        super().__init__(kind.text, name)
        self.body = body
        self.kind = kind

    def _binary(self, floating: str, integer: str, other: Operand, swap: bool = False) -> Value:
        op = floating if self.kind.is_float else integer
        a, b = self, self.body.like(self, other)
        if swap:
            a, b = b, a
        if self.type == "i64":
            return self.body.wrap(self.body.f.binary(op, a, b))
        return self.body.op(f"{op} {self.kind} {a.name}, {b.name}", self.kind)

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
        if self.kind.is_float:
            return self.body.op(f"fneg {self.kind} {self.name}", self.kind)
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

    def udiv(self, other: Operand) -> Value:
        """The quotient of integers without a sign."""
        return self._binary("", "udiv", other)

    def srem(self, other: Operand) -> Value:
        """The remainder with the sign of the dividend, as C has it."""
        return self._binary("frem", "srem", other)

    def _compare(self, floating: str, integer: str, other: Operand) -> Value:
        op = f"fcmp {floating}" if self.kind.is_float else f"icmp {integer}"
        right = self.body.like(self, other).name
        write = self.body.pure if self.type in ("i64", "ptr") else self.body.op
        return write(f"{op} {self.kind} {self.name}, {right}", self.kind.of("i1"))

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
        text = f"select {self.kind} {self.name}, {x.kind} {x.name}, {y.kind} {y.name}"
        write = self.body.pure if x.type in ("i64", "ptr") else self.body.op
        return write(text, x.kind)

    def convert(self, how: str, element: str) -> Value:
        """One of LLVM's conversions: ``bitcast``, ``fpext``, ``fptosi``, ``sitofp``, ``zext``…"""
        to = self.kind.of(element)
        return self.body.op(f"{how} {self.kind} {self.name} to {to}", to)

    @property
    def bits(self) -> Value:
        """The same bits as integers of this size, or as floats."""
        return self.convert("bitcast", self.kind.bits.element)
