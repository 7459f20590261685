"""Drawing a token from logits, as equations.

    d = (max(y) - y) / temperature                    how far each token is behind the best
    d <= r,  r the least with  #{d <= r} >= top_k     the top_k best (Fan, Lewis and Dauphin 2018)
    d <= q,  q the least with  mass of {d <= q} >= top_p * mass of those
                                                      the nucleus (Holtzman et al. 2020)
    v = exp(-d) where d <= q, else 0;  p = v / sum(v)
    m the least with  v_0 + … + v_m >= u * sum(v)     the token, u uniform in (0, 1]

Tokens that are exactly as good as the last one kept are kept as well, so that the result does not
depend on the order of the vocabulary; tokens closer than 64 units in the last place may count as
equally good. Each "least" is found by halving an interval, a `solve` block whose map leaves alone
what is settled: no token is sorted, and the cost grows as the number of tokens.
"""

from __future__ import annotations

from functools import lru_cache

from .rollout import Link
from .stages import front

SAMPLER = """
model sampler(K):
    input  y[t]: real[K]
    input  temperature, top_k, top_p: real
    input  order: real[K]
    random u[t]: real ~ uniform

    d[t] = (max(y[t]) - y[t]) / temperature
    far[t] = max(where(d[t] < inf, d[t], 0))

    # Intervals (r[0], r[1]] that hold the threshold, and how many tokens are up to both ends.
    every[t] = [far[t], far[t], K, K]
    solve r[t] from [-1, far[t], 0, K] if top_k < K else every[t] by picard(tol = 1e-15):
        let mid = (r[t][0] + r[t][1]) / 2
        let count = sum(real(d[t] <= mid))
        let lower = [r[t][0], mid, r[t][2], count]
        let upper = [mid, r[t][1], count, r[t][3]]
        r[t] = (lower if count >= top_k else upper) if r[t][3] - r[t][2] > 1 else r[t]
    w[t] = where(d[t] <= r[t][1], exp(-d[t]), 0)
    enough[t] = top_p * sum(w[t])

    whole[t] = [r[t][1], r[t][1], K, K]
    solve q[t] from [-1, r[t][1], 0, r[t][3]] if top_p < 1 else whole[t] by picard(tol = 1e-15):
        let middle = (q[t][0] + q[t][1]) / 2
        let number = sum(real(d[t] <= middle))
        let mass = sum(where(d[t] <= middle, w[t], 0))
        let nearer = [q[t][0], middle, q[t][2], number]
        let further = [middle, q[t][1], number, q[t][3]]
        q[t] = (nearer if mass >= enough[t] else further) if q[t][3] - q[t][2] > 1 else q[t]
    v[t] = where(d[t] <= q[t][1], w[t], 0)
    p[t] = v[t] / sum(v[t])

    goal[t] = u[t] * sum(v[t])
    solve m[t] from [-1, K - 1] by picard(tol = 1e-15):
        let centre = floor((m[t][0] + m[t][1]) / 2)
        let upto = sum(where(order <= centre, v[t], 0))
        m[t] = [m[t][0], centre] if upto >= goal[t] else [centre, m[t][1]]
    token[t] = mod(argmax(-abs(order - m[t][1])), K)
    output token[t], p[t]
"""

BEST = """
model best(K):
    input  y[t]: real[K]
    token[t] = mod(argmax(y[t]), K)
    p[t] = onehot(token[t], K)
    output token[t], p[t]
"""


@lru_cache(maxsize=64)
def sampler(tokens: int, greedy: bool) -> Link:
    """What chooses one of so many tokens: a draw, or the best one.

    The draw has inputs ``temperature``, ``top_k`` (``tokens`` for all), ``top_p`` (1 for all),
    ``order`` (0, 1, …) and ``u`` (over t, uniform in (0, 1]).
    """
    program = front(BEST if greedy else SAMPLER, "<sampler>").bind({"K": tokens})
    return Link(program, "y", "token", ("p",))


__all__ = ["sampler"]
