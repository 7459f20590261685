"""How threads share a call. It is decided from sizes alone: equal calls have equal bits.

A `team.Team` divides the sequences of a batch, a `crew.Crew` the large operations of each step.
Where a core's caches hold the weights, a team is the faster: its threads meet once a call. Where
they do not, each thread of a team reads all weights at every step, for its own few sequences; of a
crew each reads its part of them, for all. Value and gradient of an LSTM in float32 on two cores
(Zen 3) with 512 KiB of second-level cache each, as multiples of the speed of one thread:

    weights of a step   sequences   team   crew
    16 MiB              16          1.47   2.02
    16 MiB              32          1.60   1.72
    4 MiB               1           1.0    1.58
    4 MiB               4           1.27   1.70
    4 MiB               8           1.64   1.86
    4 MiB               16          1.59   1.66
    4 MiB               64          1.91   1.92
    1 MiB               1           1.0    1.18
    1 MiB               2           1.22   1.30
    1 MiB               8, 16       1.70   1.70
    1 MiB               32          1.79   1.58
    256 KiB             1           1.0    0.74

The product alone, of 16 rows with 1,024 x 4,096 weights: 1.27 with half of the rows for each thread
and 1.99 with half of the columns; of 32 rows with 256 x 1,024 weights: 1.87 either way.
"""

from __future__ import annotations

from unfold.named import Named

#: How many microseconds of work a thread should have.
WORTHWHILE = 50.0
#: From so many bytes of weights on that a step reads, a few sequences are a crew's work.
STREAMED = 2**20
#: So many sequences for each thread are no longer few.
FEW = 16


class Division(Named):
    """How many threads share a call, and whether they are a crew; a team otherwise."""

    threads: int
    crew: bool


def division(threads: int, microseconds: float, streamed: int, batch: int, groups: int) -> Division:
    """How threads share a call.

    Args:
        threads: how many there may be.
        microseconds: about how long the call takes on one core.
        streamed: see `unfold.backends.llvm.facts.Facts`.
        batch, groups: how many sequences there are, and groups of them that run side by side.
    """
    threads = min(threads, int(microseconds / WORTHWHILE))
    if threads > 1 and streamed >= STREAMED and batch < FEW * threads:
        return Division(threads, True)
    return Division(max(1, min(threads, groups)), False)


__all__ = ["Division", "division"]
