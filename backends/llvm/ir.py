"""Writing LLVM IR as text: values, functions, blocks.

Text because it is quick to make (a few hundred nanoseconds an instruction) and easy to read: what
`unfold show --after llvm` prints is what was written here. A `Value` is a type and a name or
constant; a `Function` collects instructions block by block.
"""

from __future__ import annotations

import operator
import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .jit import HostTarget

#: The note on branches that are hardly ever taken.
_RARE = "!0"
#: What notes say.
NOTES = {_RARE: f'{_RARE} = !{{!"branch_weights", i32 1, i32 1048576}}'}


class Value:
    """An SSA value or a constant: its type (``double``, ``<8 x float>``, ``ptr``) and its name."""

    __slots__ = ("name", "type")

    def __init__(self, type_: str, name: str) -> None:
        self.type = type_
        self.name = name

    def __str__(self) -> str:
        return f"{self.type} {self.name}"


def scalar_of(type_: str) -> str:
    """The element of a vector type, or the type itself."""
    return type_[type_.index("x ") + 2 : -1] if type_.startswith("<") else type_


def width_of(type_: str) -> int:
    """The number of lanes of a vector type; 1 for others."""
    return int(type_[1 : type_.index(" ")]) if type_.startswith("<") else 1


def vector(type_: str, width: int) -> str:
    """The type of ``width`` lanes; for one lane the scalar type itself."""
    return type_ if width == 1 else f"<{width} x {type_}>"


def suffix(type_: str) -> str:
    """How names of intrinsics say a type: ``f64``, ``v16f32``."""
    scalar = {"double": "f64", "float": "f32"}.get(scalar_of(type_), scalar_of(type_))
    return scalar if width_of(type_) == 1 else f"v{width_of(type_)}{scalar}"


def real(value: float, type_: str) -> Value:
    """A floating-point constant of a scalar or vector type, exact to the bit."""
    scalar = scalar_of(type_)
    if scalar == "float":
        value = struct.unpack("f", struct.pack("f", value))[0] if abs(value) < 3.5e38 else value
    bits = struct.unpack("<Q", struct.pack("<d", value))[0]
    return splat_constant(f"0x{bits:016X}", type_)


def integer(value: int, type_: str = "i64") -> Value:
    """An integer constant (or truth value for ``i1``) of a scalar or vector type."""
    return splat_constant(str(int(value)), type_)


def is_zero(a: Value) -> bool:
    """Whether a value is the constant 0 (not -0) in every lane."""
    return a.name in (zero := ("0", "0x0000000000000000")) or any(
        a.name == f"splat ({scalar_of(a.type)} {text})" for text in zero
    )


def number_of(a: Value) -> int | None:
    """The integer that a value is in every lane, if that is known."""
    text = a.name.removeprefix(f"splat ({scalar_of(a.type)} ").removesuffix(")")
    return int(text) if text.lstrip("-").isdigit() else None


def splat_constant(text: str, type_: str) -> Value:
    """A constant in every lane."""
    if not type_.startswith("<"):
        return Value(type_, text)
    return Value(type_, f"splat ({scalar_of(type_)} {text})")


def folded(op: str, a: Value, b: Value) -> Value | None:
    """The value of an operation on integers that follows from the numbers in it, if it does."""
    name = op.partition(" ")[0]
    x, y = number_of(a), number_of(b)
    if x is not None and y is not None and name in _EXACT:
        return Value(a.type, str(_EXACT[name](x, y)))
    if y == _NEUTRAL.get(name):
        return a if y is not None else None
    if x is not None and name in ("add", "mul") and x == _NEUTRAL[name]:
        return b
    return Value(a.type, "0") if name == "mul" and 0 in (x, y) else None


_EXACT = {"add": operator.add, "sub": operator.sub, "mul": operator.mul}
_NEUTRAL = {"add": 0, "sub": 0, "mul": 1, "sdiv": 1, "udiv": 1, "shl": 0, "ashr": 0}


#: Marks of functions that only pass addresses on, see `Function.driving`.
COLD, PLAIN = "cold", "noinline optnone"
#: Arithmetic with numbers of the model.
_ARITHMETIC = re.compile(r" = f(?!reeze)")


class Line(str):
    """An instruction that may be taken out again: one object in one place."""

    __slots__ = ()


@dataclass(eq=False)
class Block:
    """A label and the instructions under it.

    Attributes:
        before: a block that always runs before this one.
        known: values that were computed in this block, by the instructions that compute them.
    """

    label: str
    before: Block | None = None
    lines: list[str] = field(default_factory=list)
    known: dict[str, Value] = field(default_factory=dict)


class Module:
    """Functions and the declarations they need.

    Args:
        target: the machine that the code is for; None is the one that runs this process.
        receiver: takes functions and globals as soon as they are there.
    """

    def __init__(self, target: HostTarget | None = None, receiver: Receiver | None = None) -> None:
        self.target = target
        self.receiver = receiver
        self.declared: dict[str, str] = {}
        self.texts: list[str] = []
        #: Library functions and tables that are in ``texts`` already.
        self.defined: set[str] = set()
        #: Whether some branches say that they are hardly ever taken.
        self.rare = False

    def declare(self, name: str, result: str, args: Sequence[str], attributes: str = "") -> None:
        """Make an external function known; more than once does no harm."""
        self.declared[name] = f"declare {result} @{name}({', '.join(args)}) {attributes}".rstrip()

    def add(self, text: str, common: bool = False) -> None:
        """Add a finished function or a global; other modules may have a ``common`` one as well."""
        self.texts.append(text)
        if self.receiver is not None:
            self.receiver.add(self, text, common)

    def __str__(self) -> str:
        notes = [NOTES[_RARE]] if self.rare else []
        return "\n\n".join(["\n".join(self.declared.values()), *self.texts, *notes]) + "\n"


class Receiver(Protocol):
    """Takes what is written for a module, to compile it."""

    def has(self, name: str) -> bool:
        """Whether a function that many modules have need not be written."""

    def add(self, module: Module, text: str, common: bool) -> None:
        """A function or a global of a module."""


class Function:
    """A function under construction; instructions go to the block that was started last.

    Integers and addresses are computed once: an instruction whose value is there already is not
    written again, nor one whose value follows from the numbers in it.

    Args:
        module: receives declarations.
        name: without the ``@``.
        args: the parameters, as (type, name, attributes).
        result: the return type.
        linkage: such as ``internal``.
    """

    def __init__(
        self,
        module: Module,
        name: str,
        args: Sequence[tuple[str, str, str]],
        result: str = "void",
        linkage: str = "",
        attributes: str = "nounwind",
    ) -> None:
        self.module = module
        self.args = [Value(t, f"%{n}") for t, n, _ in args]
        params = ", ".join(f"{t} {a} %{n}".replace("  ", " ") for t, n, a in args)
        self.head = f"define {linkage} {result} @{name}({params}) {attributes} {{"
        self.count = 0
        #: What runs before all else; printed at the beginning of the first block.
        self.opening = Block("")
        self.block = Block(self.label("entry"), self.opening)
        self.blocks = [self.block]

    # --- names and blocks ---

    def label(self, stem: str) -> str:
        """A fresh name for a block."""
        self.count += 1
        return f"{stem}.{self.count}"

    def start(self, label: str, before: Block | None = None) -> None:
        """Begin a block; the one before must have ended with a branch.

        Values of ``before``, a block that always runs before this one, may be used in it: that is
        the function's first, if nothing else is said.
        """
        self.block = Block(label, before or self.blocks[0])
        self.blocks.append(self.block)

    @contextmanager
    def at_first(self) -> Iterator[None]:
        """Instructions that run before all others: of the arguments, and without branches."""
        outer, self.block = self.block, self.opening
        yield
        assert self.block is self.opening
        self.block = outer

    def emit(self, text: str) -> None:
        """An instruction without a result."""
        self.block.lines.append(text)

    def op(self, type_: str, text: str) -> Value:
        """An instruction whose result has the given type."""
        self.count += 1
        name = f"%v{self.count}"
        self.block.lines.append(f"{name} = {text}")
        return Value(type_, name)

    def pure(self, type_: str, text: str) -> Value:
        """As `op`, for an instruction that always has the same result: the value that is there
        already, if there is one."""
        block: Block | None = self.block
        while block is not None:
            found = block.known.get(text)
            if found is not None:
                return found
            block = block.before
        found = self.block.known[text] = self.op(type_, text)
        return found

    # --- instructions ---

    def binary(self, op: str, a: Value, b: Value) -> Value:
        """``add``, ``fmul``, … of two values of one type."""
        if a.type != "i64":
            return self.op(a.type, f"{op} {a.type} {a.name}, {b.name}")
        return folded(op, a, b) or self.pure("i64", f"{op} i64 {a.name}, {b.name}")

    def compare(self, op: str, a: Value, b: Value) -> Value:
        """``icmp slt``, ``fcmp oeq``, …"""
        if a.type == "i64":
            return self.pure("i1", f"{op} i64 {a.name}, {b.name}")
        return self.op(vector("i1", width_of(a.type)), f"{op} {a.type} {a.name}, {b.name}")

    def select(self, condition: Value, a: Value, b: Value) -> Value:
        """``a`` where the condition holds, else ``b``."""
        write = self.pure if a.type in ("i64", "ptr") else self.op
        return write(a.type, f"select {condition}, {a}, {b}")

    def select_rarely(self, condition: Value, a: Value, b: Value) -> Value:
        """As `select` of single values, for a condition that hardly ever holds.

        The processor guesses that it does not, and goes on with ``b``: nothing waits for ``a``,
        whose computation moves behind the branch if nothing else needs it.
        """
        yes, after = self.label("rare"), self.label("after")
        before = self.block
        self.module.rare = True
        self.emit(f"br {condition}, label %{yes}, label %{after}, !prof {_RARE}")
        self.start(yes, before)
        self.branch(after)
        self.start(after, before)
        return self.phi(a.type, [(b, before.label), (a, yes)])

    def convert(self, op: str, a: Value, scalar: str) -> Value:
        """``sitofp``, ``zext``, … lane by lane."""
        to = vector(scalar, width_of(a.type))
        return self.op(to, f"{op} {a} to {to}")

    def call(self, result: str, name: str, *args: Value, flags: str = "") -> Value:
        """Call a function that returns a value."""
        listed = ", ".join(str(a) for a in args)
        return self.op(result, f"call {flags}{result} @{name}({listed})".replace("  ", " "))

    def call_void(self, name: str, *args: Value) -> None:
        """Call a function without a result."""
        self.emit(f"call void @{name}({', '.join(str(a) for a in args)})")

    def intrinsic(self, name: str, *args: Value, flags: str = "") -> Value:
        """An element-wise intrinsic (``llvm.fma``) whose operands all have the result's type."""
        kind = args[0].type
        full = f"{name}.{suffix(kind)}"
        if kind == "i64" and name in ("llvm.smax", "llvm.smin"):
            a, b = args
            if a.name == b.name:
                return a
            self.module.declare(full, kind, [kind, kind])
            return self.pure(kind, f"call i64 @{full}({a}, {b})")
        self.module.declare(full, kind, [kind] * len(args))
        return self.call(kind, full, *args, flags=flags)

    def load(self, type_: str, pointer: Value, align: int, note: str = "") -> Value:
        """Read memory."""
        return self.op(type_, f"load {type_}, {pointer}, align {align}{note}")

    def fixed(self, type_: str, pointer: Value, align: int) -> Value:
        """Read memory that nobody writes to while the function runs."""
        return self.pure(type_, f"load {type_}, {pointer}, align {align}")

    def store(self, value: Value, pointer: Value, align: int) -> Line:
        """Write memory; the instruction, for `drop`."""
        return self.line(f"store {value}, {pointer}, align {align}")

    def line(self, text: str) -> Line:
        """An instruction without a result, for `drop`."""
        line = Line(text)
        self.emit(line)
        return line

    def drop(self, lines: Sequence[Line]) -> None:
        """Take instructions without results out again."""
        gone = set(map(id, lines))
        for block in self.blocks:
            block.lines = [line for line in block.lines if id(line) not in gone]

    def prefetch(self, pointer: Value, level: int = 1, write: bool = False) -> None:
        """Ask for a cache line to be brought into the cache of a level and those behind it, to be
        read or to be written."""
        name = "llvm.prefetch.p0"
        self.module.declare(name, "void", ["ptr", "i32 immarg", "i32 immarg", "i32 immarg"])
        self.emit(f"call void @{name}({pointer}, i32 {int(write)}, i32 {4 - level}, i32 1)")

    def offset(self, pointer: Value, type_: str, count: Value) -> Value:
        """The address ``count`` elements of a type further on."""
        if count.name == "0":
            return pointer
        return self.pure("ptr", f"getelementptr {type_}, {pointer}, {count}")

    def splat(self, a: Value, width: int) -> Value:
        """A scalar in every lane."""
        if width == 1 or width_of(a.type) == width:
            return a
        if not a.name.startswith("%"):
            return splat_constant(a.name, vector(a.type, width))
        to = vector(a.type, width)
        first = self.op(to, f"insertelement {to} poison, {a}, i64 0")
        zeros = f"<{width} x i32> zeroinitializer"
        return self.op(to, f"shufflevector {first}, {to} poison, {zeros}")

    def lane(self, a: Value, at: int) -> Value:
        """One lane of a vector."""
        if width_of(a.type) == 1:
            return a
        return self.op(scalar_of(a.type), f"extractelement {a}, i64 {at}")

    def with_lane(self, a: Value, value: Value, at: int) -> Value:
        """A vector with one lane replaced."""
        return self.op(a.type, f"insertelement {a}, {value}, i64 {at}")

    def phi(self, type_: str, incoming: Sequence[tuple[Value, str]]) -> Value:
        """A value that depends on where control came from."""
        listed = ", ".join(f"[ {v.name}, %{label} ]" for v, label in incoming)
        return self.op(type_, f"phi {type_} {listed}")

    def branch(self, label: str) -> None:
        """Go on at a block."""
        self.emit(f"br label %{label}")

    def branch_if(self, condition: Value, yes: str, no: str) -> None:
        """Go on at one of two blocks."""
        self.emit(f"br {condition}, label %{yes}, label %{no}")

    def ret(self) -> None:
        """Return nothing."""
        self.emit("ret void")

    # --- structured control flow ---

    @contextmanager
    def when(self, condition: Value) -> Iterator[None]:
        """Instructions that run only if a condition holds (and define no values for later)."""
        yes, after = self.label("then"), self.label("after")
        before = self.block
        self.branch_if(condition, yes, after)
        self.start(yes, before)
        yield
        self.branch(after)
        self.start(after, before)

    def loop(self, lo: Value, hi: Value, direction: int, carried: Sequence[Value] = ()) -> OpenLoop:
        """Start a loop over ``lo..hi`` (inclusive); see `OpenLoop`."""
        return OpenLoop(self, lo, hi, direction, carried)

    def driving(self, loops: bool = False) -> str:
        """The text of a function that runs once in a call, and calls others.

        LLVM is told where it need not take care: of a function that computes nothing but places
        (`PLAIN`, if it may be for a function with ``loops``), least of all if there is no loop in
        it either (`COLD`).
        """
        lines = [line for block in (self.opening, *self.blocks) for line in block.lines]
        if not any(map(_ARITHMETIC.search, lines)):
            self.mark((PLAIN if loops else "") if any(" = phi " in s for s in lines) else COLD)
        return str(self)

    def mark(self, attribute: str) -> None:
        """Say something of the function to LLVM."""
        self.head = f"{self.head[:-1]}{attribute} {{"

    def __str__(self) -> str:
        first, *others = self.blocks
        parts = [self.head, _text(first.label, self.opening.lines + first.lines)]
        parts += [_text(block.label, block.lines) for block in others]
        return "\n".join([*parts, "}"])


def _text(label: str, lines: Sequence[str]) -> str:
    return "\n  ".join([f"{label}:", *lines])


class OpenLoop:
    """A loop between its head and its `close`.

    ``index`` is the loop's variable and ``state`` the carried values as they are at the start of
    an iteration; ``close(next)`` gives their values for the next one and returns what they are
    after the loop (the initial ones if it does not run at all). A loop over numbers that are known
    runs without being asked whether it does.
    """

    def __init__(
        self, fn: Function, lo: Value, hi: Value, direction: int, carried: Sequence[Value]
    ) -> None:
        self.fn = fn
        self.direction = direction
        self.last = hi if direction > 0 else lo
        first = lo if direction > 0 else hi
        self.initial = list(carried)
        head, self.after = fn.label("loop"), fn.label("done")
        self.before = fn.block
        self.runs = not any(v.name.startswith("%") for v in (lo, hi)) and int(lo.name) <= int(
            hi.name
        )
        if self.runs:
            fn.branch(head)
        else:
            fn.branch_if(fn.compare("icmp sle", lo, hi), head, self.after)
        fn.start(head, self.before)
        self.head = fn.block
        # The incoming values of the back edge are known at the end: the phis are written then.
        fn.count += 1
        self.index = Value("i64", f"%i{fn.count}")
        self.first = first
        self.state = []
        for v in carried:
            fn.count += 1
            self.state.append(Value(v.type, f"%c{fn.count}"))

    def close(self, following: Sequence[Value] = ()) -> list[Value]:
        fn = self.fn
        step = integer(1 if self.direction > 0 else -1)
        after_step = fn.binary("add nsw", self.index, step)
        end = fn.compare("icmp eq", self.index, self.last)
        latch = fn.block.label
        fn.branch_if(end, self.after, self.head.label)
        heads = [(self.index, self.first, after_step)]
        heads += list(zip(self.state, self.initial, following, strict=True))
        before = self.before.label
        self.head.lines[:0] = [
            f"{v.name} = phi {v.type} [ {a.name}, %{before} ], [ {b.name}, %{latch} ]"
            for v, a, b in heads
        ]
        if self.runs:
            fn.start(self.after, fn.block)
            return list(following)
        fn.start(self.after, self.before)
        return [
            fn.phi(v.type, [(a, before), (b, latch)])
            for v, a, b in zip(self.state, self.initial, following, strict=True)
        ]
