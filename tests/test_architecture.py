"""The arrows between the modules, drawn once: imports point down, and this table is the picture.

A line says what a module (or a package, for all that is in it) may import of ours; modules on one
line may also import each other. What is allowed to a module below is allowed above it: an arrow to
`program` includes what `program` stands on. Lines stand in the order of the picture, so that an
arrow can only point to a line above.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

ARROWS = """
    grammar, cells, intern          :
    collecting, later, named        :
    postponed                       :
    digest                          : intern
    cache                           : collecting digest postponed
    schemes                         :
    poly                            : intern
    domain                          : poly
    expr                            : domain
    ops                             : expr
    program                         : ops digest
    implicit                        : program
    derivative                      : ops
    syntax.span, syntax.diagnostics :
    errors                          : syntax.diagnostics
    syntax                          : errors grammar cache
    noise                           : errors
    dependence, causality, schedule : program
    check.spelling                  : ops
    show                            : implicit check.spelling
    transform                       : dependence derivative implicit schemes
    check                           : syntax transform schedule show
    graph                           : implicit derivative
    plan                            : transform schedule
    stages                          : check plan cache
    backends.numpy                  : graph errors
    cost                            : plan errors
    backends.llvm                   : cost cache collecting later named
    files                           :
    inputs, outputs, init, sizes    : program errors noise
    parameters                      : inputs sizes files
    pytorch                         : parameters stages
    segments                        : errors plan show
    draw                            : graph segments files
    arrival                         : segments
    buffers                         : inputs
    distances                       : program
    streaming, compiler             : arrival buffers cache collecting distances
    forward, shortcut, bill         : compiler cost
    state, quick_step               : streaming parameters
    rollout, vocabulary             : streaming
    sampling, feeding               : rollout stages
    debug                           : compiler graph
    evaluation                      : forward shortcut
    function, stepper, jacobian, generate : state evaluation cost debug sampling feeding vocabulary
    model                           : graph check draw
    api, gradcheck, roofline        : function model stages
    train                           : api parameters
    analysis                        : api
    view                            : api draw parameters
    __init__                        : train pytorch view analysis
    cli                             : __init__ draw
"""

# What may be imported inside a function, when it is needed, against the direction of the picture.
# Backends are imported by their names: the compiler knows that there are some, not which.
LATE = {
    ("program", "show"),  # str(program)
    ("graph", "draw"),  # graph.draw("out.svg")
    ("function", "train"),  # fn.trainer(params, optimiser)
    ("compiler", "backends.numpy"),
    ("compiler", "backends.llvm"),
    ("roofline", "backends.llvm"),
    ("model", "view"),  # model.view()
    ("debug", "backends.numpy"),  # what an expression means, at one point
}

# Where the packages of the table live, when not under unfold/.
OUTSIDE = {"backends": ROOT / "backends", "grammar": ROOT / "grammar"}


@cache
def table() -> dict[str, set[str]]:
    """The rows of ARROWS: unit -> the units it may import, those below them included."""
    allowed: dict[str, set[str]] = {}
    for line in ARROWS.strip().splitlines():
        units, below = (part.replace(",", " ").split() for part in line.split(":"))
        for name in below:
            assert name in allowed, f"{units[0]} -> {name}: points to no line above"
        for unit in units:
            allowed[unit] = set(units).union(*(allowed[name] for name in below))
    return allowed


@cache
def modules() -> dict[str, Path]:
    """Every module of ours under its dotted name without `unfold.`, `graph` or `ops.table`."""
    folders = {"": ROOT / "unfold"} | OUTSIDE
    found = {}
    for prefix, folder in folders.items():
        for path in sorted(folder.rglob("*.py")):
            parts = [*filter(None, [prefix]), *path.relative_to(folder).with_suffix("").parts]
            if parts[-1] == "__init__" and len(parts) > 1:
                parts.pop()
            found[".".join(parts)] = path
    return found


def unit_of(module: str) -> str | None:
    """The line of the table that speaks of the module, the longest that fits."""
    parts = module.split(".")
    names = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((name for name in names if name in table()), None)


def imports(path: Path, module: str) -> Iterator[tuple[int, str, bool]]:
    """(line, imported module, inside a function or not) for each import of ours in the file."""
    known = modules()
    package = [] if module == "__init__" else module.split(".")
    if path.name != "__init__.py":
        package.pop()

    def ours(name: str) -> str:
        name = "__init__" if name == "unfold" else name.removeprefix("unfold.")
        return name if name in known else name.rpartition(".")[0] or "__init__"

    def visit(node: ast.AST, late: bool) -> Iterator[tuple[int, str, bool]]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == "unfold":
                    yield node.lineno, ours(alias.name), late
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = ["unfold", *package[: len(package) - node.level + 1]]
                base = ".".join([*above, *filter(None, [base])])
            if base.partition(".")[0] == "unfold":
                for alias in node.names:
                    yield node.lineno, ours(f"{base}.{alias.name}"), late
        late = late or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        if not is_for_types_only(node):
            for child in ast.iter_child_nodes(node):
                yield from visit(child, late)

    return visit(ast.parse(path.read_text(encoding="utf-8")), False)


def is_for_types_only(node: ast.AST) -> bool:
    """`if TYPE_CHECKING:` — what stands there is not imported when the program runs."""
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )


@pytest.mark.parametrize("module", sorted(modules()))
def test_imports_point_down(module: str) -> None:
    unit = unit_of(module)
    if unit is None:
        assert is_empty(modules()[module]), f"{module} stands on no line of the table"
        return
    allowed = table()[unit]
    for line, name, late in imports(modules()[module], module):
        target = unit_of(name)
        if target in allowed or (late and (unit, target) in LATE):
            continue
        where = f"{modules()[module].relative_to(ROOT)}:{line}"
        pytest.fail(f"{where}: {unit} may not import {name}, only {', '.join(sorted(allowed))}")


def is_empty(path: Path) -> bool:
    """A module with a docstring and no statement but `from __future__ import annotations`."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    future = [n for n in body if isinstance(n, ast.ImportFrom) and n.module == "__future__"]
    return len(body) <= len(future) + 1


@pytest.mark.parametrize("unit", sorted(table()))
def test_every_line_of_the_table_speaks_of_a_module(unit: str) -> None:
    names = modules()
    here = unit in names or any(name.startswith(f"{unit}.") for name in names)
    assert here, f"no module is called {unit}"


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    import networkx as nx

    arrows: nx.DiGraph[str] = nx.DiGraph()
    for module, path in modules().items():
        for _, name, late in imports(path, module):
            # A package's front names what its own modules hold: `from unfold.ops import Op` inside
            # unfold/ops/ would be a circle, the front importing its modules is not.
            if not late and name != module:
                arrows.add_edge(module, name)
    circles = [sorted(c) for c in nx.strongly_connected_components(arrows) if len(c) > 1]
    assert circles == []
