"""Adjoints of small systems as a careful programmer writes them, to be compiled by numba.

Each takes the inputs, the parameters in the order of their declaration, an array for the states and
one that receives the gradients; it returns the loss.
"""

from __future__ import annotations

import math
from typing import Any


def inventory(x: Any, d: Any, h0: Any, order_cost: Any, hold: Any, h: Any, g: Any) -> Any:
    at, orders, stocks = h0, 0.0, 0.0
    for t in range(x.shape[0]):
        at = at + x[t] - d[t]
        h[0, t] = at
        orders += x[t] * x[t]
        stocks += at * at
    bar = 0.0
    for t in range(x.shape[0] - 1, -1, -1):
        bar += hold * h[0, t]
    g[0], g[1], g[2] = bar, 0.5 * orders, 0.5 * stocks
    return 0.5 * order_cost * orders + 0.5 * hold * stocks


def queue(a: Any, sigma: Any, h0: Any, h: Any, g: Any) -> Any:
    at, loss = h0, 0.0
    for t in range(a.shape[0]):
        h[0, t] = at + a[t] - sigma
        at = max(0.0, h[0, t])
        loss += at
    bar, sigma_bar = 0.0, 0.0
    for t in range(a.shape[0] - 1, -1, -1):
        bar += 1.0
        if h[0, t] < 0.0:
            bar = 0.0
        elif h[0, t] == 0.0:
            bar *= 0.5
        sigma_bar -= bar
    g[0], g[1] = sigma_bar, bar
    return loss


def kinetics(dt: Any, k: Any, a0: Any, b0: Any, h: Any, g: Any) -> Any:
    k0, k1, k2 = k[0], k[1], k[2]
    a, b, c = a0, b0, 0.0
    for t in range(dt.shape[0]):
        h[0, t], h[1, t] = a, b
        c = c + dt[t] * k1 * b
        b, a = b + dt[t] * (k0 * a - k1 * b - k2 * b), a - dt[t] * k0 * a
    a_bar, b_bar, g0, g1, g2 = 0.0, 0.0, 0.0, 0.0, 0.0
    for t in range(dt.shape[0] - 1, -1, -1):
        w = b_bar * dt[t]
        v = a_bar * dt[t]
        g0 += (w - v) * h[0, t]
        g1 += (dt[t] - w) * h[1, t]
        g2 -= w * h[1, t]
        a_bar = a_bar - v * k0 + w * k0
        b_bar = b_bar - w * k1 - w * k2 + dt[t] * k1
    g[0], g[1], g[2], g[3], g[4] = g0, g1, g2, a_bar, b_bar
    return c


def pendulum_control(
    u: Any, dt: Any, grav: Any, ref: Any, theta0: Any, omega0: Any, length: Any, mass: Any,
    damping: Any, q_theta: Any, q_omega: Any, r_u: Any, s_theta: Any, s_omega: Any, h: Any, g: Any,
) -> Any:  # fmt: skip
    inertia = mass * length * length
    pull = grav / length
    theta, omega, thetas, omegas, torques = theta0, omega0, 0.0, 0.0, 0.0
    for t in range(u.shape[0]):
        h[0, t], h[1, t] = theta, omega
        speed = -pull * math.sin(theta) - damping * omega + u[t] / inertia
        theta, omega = theta + dt * omega, omega + dt * speed
        thetas += (theta - ref) ** 2
        omegas += omega**2
        torques += u[t] ** 2
    half = 0.5 * dt
    end = s_theta * (theta - ref) ** 2 / 2 + s_omega * omega**2 / 2
    g[0:10] = 0.0
    g[5], g[6], g[7] = half * thetas, half * omegas, half * torques
    g[8], g[9] = 0.5 * (theta - ref) ** 2, 0.5 * omega**2
    theta_bar = s_theta * (theta - ref) + dt * q_theta * (theta - ref)
    omega_bar = s_omega * omega + dt * q_omega * omega
    pulls, inertias, dampings = 0.0, 0.0, 0.0
    for t in range(u.shape[0] - 1, -1, -1):
        theta, omega = h[0, t], h[1, t]
        w = omega_bar * dt
        pulls -= w * math.sin(theta)
        inertias -= w * u[t]
        dampings -= w * omega
        omega_bar = omega_bar - w * damping + theta_bar * dt
        theta_bar = theta_bar - w * pull * math.cos(theta)
        if t > 0:
            theta_bar += dt * q_theta * (theta - ref)
            omega_bar += dt * q_omega * omega
    inertias /= inertia * inertia
    g[0], g[1] = theta_bar, omega_bar
    g[2] = -pulls * grav / length**2 + inertias * 2 * mass * length
    g[3], g[4] = inertias * length**2, dampings
    return half * (q_theta * thetas + q_omega * omegas + r_u * torques) + end
