"""The stages of the check of one model, in order."""

from __future__ import annotations

from collections.abc import Callable

from ..program import Program
from ..syntax import tree as t
from . import (
    build,
    claims,
    coverage,
    draws,
    extents,
    flows,
    gaps,
    gradients,
    instances,
    names,
    order,
    pieces,
    reading,
    results,
    shapes,
    unknowns,
    usage,
)
from .report import Report


def check_model(
    model: t.Model, models: dict[str, Callable[[], Program | None]], report: Report
) -> Program | None:
    """The program of one model; ``None`` if something is wrong, which ``report`` then holds."""
    model = draws.expand(flows.expand(model, report), report)
    scope = names.declare(model, models, report)
    names.sort_equations(scope)
    claims.forbid_circles(scope)
    names.lose(scope)
    pieces.name_axes(scope)
    instances.instantiate(scope)
    pieces.lay_out(scope)
    results.collect(scope)
    shapes.infer(scope)
    mistaken = reading.settle_shapes(scope)
    reading.read_all(scope, mistaken)
    unknowns.check(scope)
    results.check_losses(scope)
    gradients.check(scope)
    extents.close(scope)
    if not coverage.holds(scope):
        gaps.report(scope)
    if report.errors or model.broken or scope.broken:
        return None
    program = build.build(scope)
    order.check(scope, program)
    usage.check(scope, program)
    return None if report.errors else program
