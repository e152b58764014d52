"""How much is measured."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured. The full plan takes under three minutes on two cores."""

    rounds: int = 3
    seconds: float = 2.5
    """Of each round that counts, after `warm_s` that do not."""
    warm_s: float = 0.5
    bins: int = 10_000
    resting_bins: int = 200_000
    in_flight: int = 256
    connections: int = 128
    clients: int = 32
    copies: int = 60
    """Of 2,000 rows, in each round."""
    commits: int = 400
    """Of one row, in each round and by each way."""
    seed: int = 1


QUICK = Plan(rounds=2, seconds=1.0, warm_s=0.4, bins=2_000, resting_bins=20_000, copies=25, commits=100)
