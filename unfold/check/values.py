"""From the text of a right-hand side to an expression: `Reader.value` and its dispatch.

The same reader serves twice. While shapes are inferred it runs with ``final=False``: mistakes are
muted, and reads of variables without a shape give holes. In the end it runs once with
``final=True``, reports, and notes every read (`Site`) for the check of coverage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..expr import BOOL, REAL, Const
from ..poly import Poly, ShapeError
from ..syntax import tree as t
from ..syntax.habits import otherwise
from ..syntax.span import Span
from . import conditions, functions, reductions, subscripts
from .misfits import misfit
from .operands import LITERAL, Hole, Value, apply, array, literal, position
from .report import Failed, nearest
from .scope import Choice, Definition, Env, Piece, Scope, Site
from .spelling import CONSTANTS, INFIX

_BINARY = {sign: op for op, (sign, level) in INFIX.items() if level > 4}
_COMPARISON = {sign: op for op, (sign, level) in INFIX.items() if level == 4}


class Reader:
    """Reads the expressions of one model; ``met`` takes the names of the variables it reads."""

    def __init__(
        self, scope: Scope, final: bool, guess: bool = False, met: set[str] | None = None
    ) -> None:
        self.scope = scope
        self.report = scope.report
        self.final = final
        self.guess = guess
        self.met = set[str]() if met is None else met
        self.piece: Piece | None = None  # whose right-hand side is being read
        self.sites: list[Site] = []
        self.choices: list[Choice] = []

    # --- dispatch -----------------------------------------------------------------------------

    def value(self, node: t.Expr, env: Env) -> Value:
        """The value of an expression. Raises `Failed`."""
        method: Callable[[Any, Env], Value] = getattr(self, type(node).__name__.lower())
        return method(node, env)

    def all(self, nodes: Sequence[t.Expr], env: Env) -> list[Value]:
        """The values of several expressions; every mistake in any of them is reported."""
        values: list[Value] = []
        failed = False
        for node in nodes:
            try:
                values.append(self.value(node, env))
            except Failed:
                failed = True
        if failed:
            raise Failed
        return values

    def apply(
        self,
        op: str,
        args: Sequence[Value],
        node: t.Expr,
        operands: Sequence[t.Expr],
        env: Env | None = None,
        **attrs: Any,
    ) -> Value:
        """An op applied; operands that do not fit are reported in the model's own words."""
        try:
            result = apply(op, args, frozenset(self.scope.sizes), **attrs)
        except ShapeError as error:
            raise misfit(self, op, error, args, node, operands, env) from None
        if self.guess and op == "matmul" and isinstance(result, Hole) and result.shape is None:
            # Only what stands beside a matrix is unknown: most probably a vector.
            a, b = args
            if a.shape is not None and len(a.shape) == 2 and b.shape is None:
                return Hole(a.shape[:1], REAL)
            if b.shape is not None and len(b.shape) == 2 and a.shape is None:
                return Hole(b.shape[1:], REAL)
        return result

    # --- names and numbers --------------------------------------------------------------------

    def number(self, node: t.Number, env: Env) -> Value:
        if isinstance(node.value, int):
            return literal(node.value)
        return Const(float(node.value))

    def name(self, node: t.Name, env: Env) -> Value:
        name, scope = node.text, self.scope
        if name in env.indices:
            return position(env.indices[name])
        if name in scope.sizes or name in scope.lengths:
            scope.used.add(name)
            return position(Poly.symbol(name))
        if name in CONSTANTS:
            value = CONSTANTS[name]
            return Const(value, (), BOOL if isinstance(value, bool) else REAL)
        if name in scope.constants:
            scope.used.add(name)
            return self.value(scope.constants[name].value, Env({}))
        if name in scope.indices and name not in scope.definitions:
            raise self.unbound(node)
        return subscripts.read(self, node, (), node, env)

    def unbound(self, node: t.Name) -> Failed:
        """An index that is used where nothing says which position is meant."""
        name = node.text
        return self.report.error(
            "E0204",
            f"the index `{name}` means nothing here",
            (node.span, f"which {name}?"),
            helps=[f"an equation for every {name} has it on its left: `y[{name}] = …`;\n"
                   f"a reduction over all of them is `sum[{name}](…)`; "
                   f"one of them is `{scope_length(self.scope, name)}` or a number"],
        )  # fmt: skip

    def subscript(self, node: t.Subscript, env: Env) -> Value:
        base, behind = subscripts.brackets(node)
        if isinstance(base, t.Part):
            base = subscripts.part_name(self, base, env)
        if isinstance(base, t.Name) and base.text not in self.scope.constants:
            return subscripts.read(self, base, behind, node, env)
        return subscripts.components(self, self.value(base, env), behind, node, env)

    def part(self, node: t.Part, env: Env) -> Value:
        return subscripts.read(self, subscripts.part_name(self, node, env), (), node, env)

    # --- operators ----------------------------------------------------------------------------

    def unary(self, node: t.Unary, env: Env) -> Value:
        value = self.value(node.operand, env)
        if node.operator == "+":
            return value
        return self.apply("neg" if node.operator == "-" else "not", [value], node, [node.operand])

    def binary(self, node: t.Binary, env: Env) -> Value:
        operands = (node.left, node.right)
        return self.apply(_BINARY[node.operator], self.all(operands, env), node, operands, env)

    def comparison(self, node: t.Comparison, env: Env) -> Value:
        values = self.all(node.operands, env)
        parts: list[Value] = []
        for k, sign in enumerate(node.operators):
            pair = node.operands[k : k + 2]
            parts.append(self.apply(_COMPARISON[sign], values[k : k + 2], node, pair))
        result = parts[0]
        for part in parts[1:]:
            result = self.apply("and", [result, part], node, [node, node])
        return result

    def logical(self, node: t.Logical, env: Env) -> Value:
        values = self.all(node.operands, env)
        result = values[0]
        for k, value in enumerate(values[1:]):
            pair = node.operands[k : k + 2]
            result = self.apply(node.operator, [result, value], node, pair)
        return result

    def transpose(self, node: t.Transpose, env: Env) -> Value:
        return self.apply("transpose", [self.value(node.operand, env)], node, [node.operand])

    def conditional(self, node: t.Conditional, env: Env) -> Value:
        return conditions.choice(self, node.condition, node.value, node.otherwise, node, env)

    # --- brackets -----------------------------------------------------------------------------

    def stack(self, node: t.Stack, env: Env) -> Value:
        values = self.all(node.items, env)
        constants = [v for v in values if isinstance(v, Const) and v.type in (REAL, LITERAL)]
        if len(constants) == len(values) and len({c.shape for c in constants}) == 1:
            return array(tuple(c.value for c in constants))
        return self.apply("stack", values, node, node.items)

    def concat(self, node: t.Concat, env: Env) -> Value:
        return self.apply("concat", self.all(node.items, env), node, node.items, axis=0)

    # --- calls --------------------------------------------------------------------------------

    def call(self, node: t.Call, env: Env) -> Value:
        return functions.call(self, node, env)

    def reduction(self, node: t.Reduction, env: Env) -> Value:
        return reductions.reduction(self, node, env)

    def reverse(self, node: t.Reverse, env: Env) -> Value:
        raise self.report.error(
            "E0207",
            "a model is used by giving it a name",
            (node.span, "not a value by itself"),
            helps=["write `enc = reverse gru(x, H)`, and then `enc.h[t]`"],
        )

    # --- what others ask ----------------------------------------------------------------------

    def unknown(self, node: t.Name, indices: Sequence[str] = ()) -> Failed:
        """A name that nothing defines, read with some indices."""
        name, scope = node.text, self.scope
        if scope.is_lost(name):
            return Failed()
        owner, _, member = name.rpartition(".")
        if owner in scope.instances:
            program = scope.instances[owner].program
            near = nearest(member, program.vars)
            what = ", ".join(v.name for v in program.role("variable"))
            return self.report.error(
                "E0201",
                f"the model `{program.name}` has no `{member}`",
                (node.span, f"`{owner}` is a `{program.name}`"),
                helps=[f"did you mean `{owner}.{near}`?" if near else f"its variables are {what}"],
            )
        near = nearest(name, scope.known_names() - {"?"})
        meant = otherwise(name, scope.known_names(), scope.indices)
        if not meant and near:
            meant = f"did you mean `{near}`?"
        helps = [meant]
        if not meant and name in scope.models:
            helps = [f"`{name}` is a model: give it a name where it is used, `enc = {name}(…)`"]
        elif not meant and functions.is_function(name):
            helps = [f"`{name}` is a function: `{name}(…)`"]
        elif not meant:
            whole = f"{name}[{', '.join(indices)}]" if indices else name
            helps = [
                f"declare it if it is data (`input {whole}: real`) "
                f"or learnt (`param {name}: real`);\n"
                f"anything else needs an equation, `{whole} = …`"
            ]
        return self.report.error(
            "E0201", f"there is no `{name}`", (node.span, "unknown name"), helps=helps
        )

    def visit(self, d: Definition, index: tuple[Poly, ...], env: Env, span: Span) -> None:
        """Note a read of an element."""
        self.scope.used.add(d.name)
        if self.final:
            self.sites.append(Site(d.name, index, env.inner, span))

    def choose(self, at: Poly, size: Poly, env: Env, span: Span, base: str) -> None:
        """Note the choice of a component by a position."""
        if self.final:
            self.choices.append(Choice(at, size, env.inner, span, base))


def scope_length(scope: Scope, index: str) -> str:
    """The last position of an index, as an example of one."""
    return str(scope.indices[index][1]) if index in scope.indices else "T"
