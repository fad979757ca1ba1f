"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """``one``: records of the single repo. ``many`` repos of ``each`` records. ``huge``: records of the repo that is
    imported for the peak of memory, and of those beside live frames. ``held``: rows that the full table holds.
    ``rounds``: runs of the rest. ``singles``: rows that the yardstick inserts one at a time. ``frames`` of the
    firehose, of so many ``authors``: ``verified`` of them alone, ``burst`` in each run at full speed, ``paced`` in each
    at ``pace`` a second.
    """

    one: int = 100_000
    many: int = 200
    each: int = 500
    huge: int = 1_000_000
    held: int = 5_000_000
    rounds: int = 3
    singles: int = 5_000
    frames: int = 100_000
    authors: int = 500
    verified: int = 20_000
    burst: int = 20_000
    paced: int = 6_500
    pace: float = 500.0


FULL = Sizes()
QUICK = Sizes(
    one=5_000,
    many=10,
    each=200,
    huge=60_000,
    held=40_000,
    rounds=1,
    singles=300,
    frames=2_000,
    authors=20,
    verified=500,
    burst=500,
    paced=200,
)
