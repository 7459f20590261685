"""A normal form of a graph's equations: equal formulas are equal, whatever their names.

A value is a sum of products with rational coefficients. Sums and products are flattened and
multiplied out, copies are looked through, numbers are folded and pulled out of linear ops together
with scalars, so that ``W @ (2 * (a - b))`` and ``-(W @ (b + b)) + 2 * (W @ a)`` have one form.
Repetition (``broadcast``) is looked through as well. Anything else is opaque: an op with its
attributes and the forms of its operands.

Two graphs are the same up to names of intermediate values if every element that both have has the
same form in both, in terms of other such elements.
"""

from __future__ import annotations

import math
import operator
from fractions import Fraction
from itertools import product
from typing import Any

from unfold.graph import Graph, Node
from unfold.poly import Poly

#: A product of factors with exponents, and a sum of products with coefficients.
Monomial = tuple[tuple[int, int], ...]
Form = tuple[tuple[Monomial, Fraction], ...]
ONE = Fraction(1)

# Linear in each operand (integers of take and scatter aside).
LINEAR = {"matmul", "outer", "transpose", "sum", "reshape", "slice", "pad", "take", "scatter"}
LINEAR |= {"half_lower"}

COMPARISONS = {
    "lt": operator.lt, "le": operator.le, "gt": operator.gt,
    "ge": operator.ge, "eq": operator.eq, "ne": operator.ne,
}  # fmt: skip


def rational(value: float) -> Fraction:
    """A number as the fraction that it was meant to be: arithmetic on these is exact."""
    return Fraction(value).limit_denominator(10**6)


def normal(terms: dict[Monomial, Fraction]) -> Form:
    return tuple(sorted((m, c) for m, c in terms.items() if c))


def number(value: Fraction) -> Form:
    return normal({(): value})


def value_of(a: Form) -> Fraction | None:
    """The number that a form is, if it is one."""
    if not a:
        return Fraction(0)
    return a[0][1] if len(a) == 1 and not a[0][0] else None


def add(parts: list[Form]) -> Form:
    terms: dict[Monomial, Fraction] = {}
    for part in parts:
        for m, c in part:
            terms[m] = terms.get(m, Fraction(0)) + c
    return normal(terms)


def scale(a: Form, by: Fraction) -> Form:
    return normal({m: c * by for m, c in a})


def times(a: Form, b: Form) -> Form:
    terms: dict[Monomial, Fraction] = {}
    for (m, c), (n, d) in product(a, b):
        exponents = dict(m)
        for factor, exponent in n:
            exponents[factor] = exponents.get(factor, 0) + exponent
        key = tuple(sorted((f, e) for f, e in exponents.items() if e))
        terms[key] = terms.get(key, Fraction(0)) + c * d
    return normal(terms)


class Forms:
    """Numbers for factors, shared between the graphs that are compared."""

    def __init__(self) -> None:
        self.known: dict[Any, int] = {}
        self.scalars: set[int] = set()
        self.switches: set[int] = set()
        self.transposed: dict[Form, Form] = {}
        self.elements: dict[Form, tuple[Form, str]] = {}

    def of(self, graph: Graph, named: set[str]) -> dict[str, Form]:
        """The form of each element in ``named``, in terms of other elements in ``named``."""
        found: dict[str, Form] = {}
        forms: list[Form] = []
        for node in graph.table:
            form = self.node(graph, node, [forms[o] for o in node.operands])
            if node.is_element and node.operands and node.name in named:
                # What is a number needs no name: it folds into the formulas around it.
                if value_of(form) is None and form not in self.elements:
                    # Elements with one formula are one factor, whichever was made a copy.
                    name = self.factor(("element", form), not node.shape)
                    self.elements.setdefault(name, (form, node.name))
                    form = name
                found[node.name] = form
            forms.append(form)
        return found

    def factor(self, key: Any, scalar: bool) -> Form:
        """One opaque value."""
        atom = self.known.setdefault(key, len(self.known))
        if scalar:
            self.scalars.add(atom)
        return ((((atom, 1),), ONE),)

    def node(self, graph: Graph, node: Node, args: list[Form]) -> Form:
        op = node.op
        if op in ("input", "param"):
            return self.factor(("leaf", node.name), not node.shape)
        if op == "const":
            value = node.attr("value")
            if isinstance(value, tuple) or not math.isfinite(float(str(value))):
                return self.factor(("array", value), not node.shape)
            return number(rational(value.evaluate({}) if isinstance(value, Poly) else value))
        if op in ("copy", "broadcast", "real"):
            return args[0]
        if op in ("add", "reduce_sum"):
            return add(args)
        if op == "sub":
            return add([args[0], scale(args[1], -ONE)])
        if op == "neg":
            return scale(args[0], -ONE)
        if op in ("mul", "chain_rule"):
            # A product by the chain rule is the product wherever its second factor is finite.
            return self.once(times(args[0], args[1]))
        if op == "div":
            return times(args[0], self.power(args[1], -1, not node.shape))
        if op == "pow":
            exponent = value_of(args[1])
            if exponent is not None and exponent.denominator == 1:
                return self.power(args[0], int(exponent), not node.shape)
        if op in COMPARISONS:
            left, right = (value_of(a) for a in args)
            if left is not None and right is not None:
                return number(Fraction(bool(COMPARISONS[op](left, right))))
        shapes = tuple(graph.table[o].shape for o in node.operands)
        if op == "where":
            return self.choice(args, not shapes[0])
        if op == "matmul" and len(shapes[0]) == len(shapes[1]) == 1:
            # An inner product is the sum of the products, in either order.
            dot = node._replace(op="sum", attrs=(("axis", None),))
            return self.linear(dot, [times(*args)], shapes[:1])
        if op == "solve" and not args[1]:
            return args[1]  # the right side is zero
        if op in LINEAR:
            return self.linear(node, args, shapes)
        return self.factor((op, node.attrs, tuple(args), shapes), not node.shape)

    def power(self, a: Form, exponent: int, scalar: bool) -> Form:
        if 0 <= exponent <= 3:
            result = number(ONE)
            for _ in range(exponent):
                result = times(result, a)
            return result
        if len(a) == 1:
            ((m, c),) = a
            return normal({tuple((f, e * exponent) for f, e in m): c**exponent})
        # A sum is one factor, up to the number in front of it.
        front = a[0][1] if a else ONE
        ((m, _),) = self.factor(("sum", scale(a, 1 / front)), scalar)
        return normal({tuple((f, e * exponent) for f, e in m): front**exponent})

    def choice(self, args: list[Form], scalar: bool) -> Form:
        """``where(c, a, b)`` as ``b + [c] (a - b)``, with ``[c]`` one or zero."""
        decided = value_of(args[0])
        if decided is not None:
            return args[1] if decided else args[2]
        chosen = self.factor(("if", args[0]), scalar)
        self.switches.add(chosen[0][0][0][0])
        gap = add([args[1], scale(args[2], -ONE)])
        return add([args[2], self.once(times(chosen, gap))])

    def once(self, a: Form) -> Form:
        """The same with every power of a switch as the switch itself."""
        terms: dict[Monomial, Fraction] = {}
        for m, c in a:
            key = tuple((f, 1 if f in self.switches and e > 1 else e) for f, e in m)
            terms[key] = terms.get(key, Fraction(0)) + c
        return normal(terms)

    def linear(self, node: Node, args: list[Form], shapes: tuple[Any, ...]) -> Form:
        """A linear op term by term, with numbers and scalars pulled out in front."""
        total: list[Form] = []
        index = args[1:] if node.op in ("take", "scatter") else []
        for terms in product(*(args[:1] if index else args)):
            front: Form = number(ONE)
            plain: list[Form] = []
            for m, c in terms:
                scalars = tuple((f, e) for f, e in m if f in self.scalars)
                rest = tuple((f, e) for f, e in m if f not in self.scalars)
                front = times(front, ((scalars, c),))
                plain.append(((rest, ONE),))
            key = (node.op, node.attrs, tuple(plain + index), shapes)
            result = self.factor(key, not node.shape)
            if node.op == "transpose" and plain[0] in self.transposed:
                result = self.transposed[plain[0]]
            elif node.op == "transpose":
                self.transposed[result] = plain[0]
            total.append(times(front, result))
        return add(total)

    def show(self, a: Form) -> str:
        """A form as a formula, for messages."""
        a = self.elements[a][0] if a in self.elements else a
        names = {f[0][0][0][0]: name for f, (_, name) in self.elements.items()}
        keys = {atom: key for key, atom in self.known.items()}

        def one(key: Any) -> str:
            if key[0] == "element":
                return names[self.known[key]]
            if key[0] in ("leaf", "array"):
                return str(key[1])
            if key[0] == "sum":
                return f"({self.show(key[1])})"
            if key[0] == "if":
                return f"[{self.show(key[1])}]"
            return f"{key[0]}({', '.join(self.show(k) for k in key[2])})"

        terms = []
        for m, c in a:
            factors = [one(keys[f]) + (f"^{e}" if e != 1 else "") for f, e in m]
            terms.append("*".join([*([] if c == 1 and factors else [str(c)]), *factors]))
        return " + ".join(terms) or "0"
