"""The exceptions a user can meet."""

from __future__ import annotations

from collections.abc import Iterable

from unfold.syntax.diagnostics import Diagnostic, render_all


class UnfoldError(Exception):
    """The base of every error that is about the user's program or data, never about this code."""


class RecError(UnfoldError):
    """A wrong program. `diagnostics` holds everything found in it, in the order of the text."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics: tuple[Diagnostic, ...] = tuple(diagnostics)
        super().__init__(self.diagnostics)

    def __str__(self) -> str:
        return render_all(self.diagnostics)

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: the mistakes in the text, and not the way through the compiler."""
        return str(self).splitlines()


class InputError(UnfoldError, ValueError):
    """A wrong argument of a call: names the argument, what was expected and what came."""


class SolverError(UnfoldError, RuntimeError):
    """An implicit equation without a solution, or a flow that did not reach the end of its step,
    found by a call, forward or backward.

    Where several fail, it is about the first sequence of the batch that has a failure, in it about
    an equation that did not fail because of another one.

    Attributes:
        equation: the variable that is solved for, such as ``z``; ``z_lambda`` is the adjoint of its
            equation, ``z_dot`` the tangent.
        index: its positions, ``(3,)`` for ``z[3]``.
        sequence: which sequence of the batch, counted from 0; ``None`` without a batch.
        residual: the largest change of a component in the last step, relative as `unfold.program.
            Solver` has it; NaN where a value was not a number.
        steps: how many were taken.
        method, tol: of the solver; of a flow by `dopri5` its ``rtol``.
        reached: of a flow, the part of its step (0 to 1) that ``steps`` attempts have covered;
            ``residual`` is NaN then. ``None`` for an implicit equation.
    """

    def __init__(
        self,
        equation: str,
        index: tuple[int, ...],
        sequence: int | None,
        residual: float,
        steps: int,
        method: str,
        tol: float,
        reached: float | None = None,
    ) -> None:
        super().__init__(equation, index, sequence, residual, steps, method, tol, reached)
        self.equation = equation
        self.index = index
        self.sequence = sequence
        self.residual = residual
        self.steps = steps
        self.method = method
        self.tol = tol
        self.reached = reached

    def __str__(self) -> str:
        element = self.equation
        if self.index:
            element += f"[{', '.join(map(str, self.index))}]"
        where = "" if self.sequence is None else f" in sequence {self.sequence} of the batch"
        if self.reached is not None:
            return (
                f"the step to {element}{where} was not completed by {self.method}: {self.steps} "
                f"attempts with rtol {self.tol:.0e} came {self.reached:.3g} of the way. Allow "
                "more attempts (max_steps) or larger errors (rtol, atol); near 0, the right-hand "
                "side may not be a finite number there"
            )
        count = f"{self.steps} step{'' if self.steps == 1 else 's'}"
        head = f"{element}{where} was not found by {self.method}"
        if self.residual != self.residual or self.residual == float("inf"):
            return f"{head}: after {count} its value is not a finite number"
        return (
            f"{head}: after {count} it still changes by {self.residual:.1e} a step, "
            f"relative to its size, and tol is {self.tol:.0e}"
        )


class DivergenceError(UnfoldError, ArithmeticError):
    """A step of training whose loss or gradient is not finite; nothing was changed by it.

    Attributes:
        step: its number, from 1.
        loss: its loss.
        gradients: the parameters whose gradient holds a NaN or an infinity.
        place: where it was in a longer run, ``epoch 3, update 7``.
    """

    def __init__(self, step: int, loss: float, gradients: tuple[str, ...], place: str = "") -> None:
        super().__init__(step, loss, gradients, place)
        self.step = step
        self.loss = loss
        self.gradients = gradients
        self.place = place

    def __str__(self) -> str:
        if self.gradients:
            what = f"the gradient of {', '.join(self.gradients)} is"
        else:
            what = "the loss is" if self.loss - self.loss != 0 else "the gradient's norm is"
        return (
            f"{self.place or f'step {self.step}'}: {what} not finite, and the loss is {self.loss}. "
            "The parameters are those before it. A smaller rate, clip_norm=1 or a warm-up may "
            "help; look for log(0), sqrt(0) and divisions by 0 otherwise, which `fn.debug` finds"
        )
