"""Stage 9: warnings. What is declared or defined, and has no part in any result?"""

from __future__ import annotations

from collections.abc import Iterator

from ..expr import names
from ..program import Program
from ..syntax.span import Span
from .scope import Definition, Scope


def check(scope: Scope, program: Program) -> None:
    """Warn of parameters, inputs, constants and equations that no result depends on."""
    if not program.outputs and not program.losses:
        scope.report.warning(
            "W0804",
            f"the model `{program.name}` returns nothing",
            (scope.model.name.span, "no `output` and no `minimize`"),
            helps=["list what it gives: `output h[t]`"],
        )
        return
    needed = _needed(program)
    for block in scope.blocks():
        # Unknowns that are found together are needed together.
        if needed & set(block.unknowns):
            needed |= set(block.unknowns)
    read = {n for eq in program.equations for n in names(eq.rhs) if n != eq.name}
    mentioned = scope.model.broken_mentions()
    for d in scope.definitions.values():
        if d.instance is not None or d.name in needed or d.generated or d.name in mentioned:
            continue
        if "." in d.name:  # a stage of a solver's scheme, which nobody wrote: `R.k1` of a flow
            continue
        if d.role == "variable":
            _idle_equation(scope, d, d.name in read)
        else:
            _idle_declaration(scope, d, d.name in read)
    for instance in scope.instances.values():
        if not any(name.startswith(f"{instance.name}.") for name in needed):
            scope.report.warning(
                "W0803",
                f"no result depends on the sub-model `{instance.name}`",
                (instance.span, "never used"),
                helps=["read one of its variables, or remove it"],
            )
    for name, span in _idle_others(scope):
        scope.report.warning("W0801", f"`{name}` is never used", (span, "not used"))


def _needed(program: Program) -> set[str]:
    """Everything that some result depends on."""
    reads: dict[str, set[str]] = {}
    for eq in program.equations:
        reads.setdefault(eq.name, set()).update(names(eq.rhs))
    needed: set[str] = set()
    stack = [*(o.name for o in program.outputs), *program.losses]
    while stack:
        name = stack.pop()
        if name not in needed:
            needed.add(name)
            stack += reads.get(name, ())
    return needed


def _idle_equation(scope: Scope, d: Definition, read: bool) -> None:
    index = f"[{', '.join(d.axes)}]" if d.axes else ""
    scope.report.warning(
        "W0803",
        f"no result depends on `{d.name}`",
        (d.pieces[0].target if d.pieces else d.span,
         "used only by others like it" if read else "never used"),
        helps=[f"return it (`output {d.name}{index}`), or remove its equation"],
    )  # fmt: skip


def _idle_declaration(scope: Scope, d: Definition, read: bool) -> None:
    code, what = {
        "input": ("W0802", "input"),
        "param": ("W0801", "parameter"),
        "const": ("W0801", "constant"),
    }[d.role]
    helps = ["its gradient is zero"] if d.role == "param" else []
    scope.report.warning(
        code,
        f"no result depends on the {what} `{d.name}`",
        (d.span, "used only where nothing comes of it" if read else "never used"),
        helps=helps,
    )


def _idle_others(scope: Scope) -> Iterator[tuple[str, Span]]:
    """Sizes, shorthands, constants and sub-models that nothing mentions."""
    for name, span in scope.sizes.items():
        if name not in scope.used:
            yield name, span
    for name, let in scope.lets.items():
        if name not in scope.used:
            yield name, let.name.name.span
    for name, constant in scope.constants.items():
        if name not in scope.used:
            yield name, constant.name.span
