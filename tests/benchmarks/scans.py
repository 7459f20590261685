"""The losses of small systems as `jax.lax.scan`, for one sequence. Parameters come by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

Loss = Callable[[dict[str, Any], dict[str, Any]], Any]


def losses() -> dict[str, Loss]:
    """``loss(params, inputs)`` by the name of the model."""
    jax = importlib.import_module("jax")
    np = importlib.import_module("jax.numpy")
    scan = jax.lax.scan

    def inventory(p: dict[str, Any], i: dict[str, Any]) -> Any:
        def step(h: Any, now: Any) -> Any:
            x, d = now
            h = h + x - d
            return h, p["order_cost"] * x**2 / 2 + p["hold"] * h**2 / 2

        return scan(step, p["h0"], (i["x"], i["d"]))[1].sum()

    def queue(p: dict[str, Any], i: dict[str, Any]) -> Any:
        def step(h: Any, a: Any) -> Any:
            h = np.maximum(0.0, h + a - p["sigma"])
            return h, h

        return scan(step, p["h0"], i["a"])[1].sum()

    def kinetics(p: dict[str, Any], i: dict[str, Any]) -> Any:
        k = p["k"]

        def step(state: Any, dt: Any) -> Any:
            a, b, c = state
            rate = k[0] * a - k[1] * b - k[2] * b
            return (a - dt * k[0] * a, b + dt * rate, c + dt * k[1] * b), None

        return scan(step, (p["a0"], p["b0"], 0.0), i["dt"])[0][2]

    def pendulum_control(p: dict[str, Any], i: dict[str, Any]) -> Any:
        dt, grav, ref = i["dt"], i["grav"], i["theta_ref"]

        def step(state: Any, u: Any) -> Any:
            theta, omega = state
            pull = -(grav / p["length"]) * np.sin(theta) - p["damping"] * omega
            speed = pull + u / (p["mass"] * p["length"] ** 2)
            theta, omega = theta + dt * omega, omega + dt * speed
            cost = p["q_theta"] * (theta - ref) ** 2 + p["q_omega"] * omega**2 + p["r_u"] * u**2
            return (theta, omega), dt / 2 * cost

        (theta, omega), costs = scan(step, (p["theta0"], p["omega0"]), i["u"])
        end = p["s_theta"] * (theta - ref) ** 2 / 2 + p["s_omega"] * omega**2 / 2
        return costs.sum() + end

    return {f.__name__: f for f in (inventory, queue, kinetics, pendulum_control)}
