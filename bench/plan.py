"""How much is measured."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured. The full plan takes 15 to 17 minutes on two cores."""

    rounds: int = 3
    warm_s: float = 0.5
    seconds: float = 2.5
    """Of each round that counts, after `warm_s` that do not."""
    paced_s: float = 5.0
    """Of each load in open loop."""
    growth_s: float = 1.5
    """Of each measurement that shows how something grows."""
    bins: int = 10_000
    """Over which `spread` and orders are spread."""
    retail_bins: int = 100_000
    growth_bins: tuple[int, ...] = (1_000, 100_000, 1_000_000)
    growth_in_flight: tuple[int, ...] = (1, 8, 32, 64, 128, 256, 512)
    growth_lines: tuple[int, ...] = (1, 2, 4, 8)
    growth_hosts: tuple[int, ...] = (1, 2)
    loads: tuple[float, ...] = (0.25, 0.5, 0.75, 0.9)
    """Offered in open loop, as shares of the capacity."""
    in_flight: int = 256
    connections: int = 128
    """Of HTTP callers, each with one request under way."""
    clients: int = 32
    """Connections of callers to Postgres and Redis."""
    batch: int = 100
    """Operations of one HTTP batch."""
    copies: int = 60
    """Of 2,000 rows, in each round."""
    commits: int = 400
    """Of one row, in each round and by each way."""
    actors: int = 50
    """Ray actors, one a bin."""
    is_whole: bool = True
    """Whether more is measured than the table needs: more workloads, peers and doors, and a replay."""
    seed: int = 1


QUICK = Plan(
    rounds=2,
    warm_s=0.2,
    seconds=0.5,
    paced_s=1.5,
    growth_s=0.6,
    bins=2_000,
    retail_bins=10_000,
    growth_bins=(1_000, 20_000),
    growth_in_flight=(),
    growth_lines=(),
    growth_hosts=(),
    loads=(0.5, 0.75),
    copies=20,
    commits=60,
    actors=2,
    is_whole=False,
)
"""Two minutes, for a first look: the same figures from less of everything. The largest of `growth_bins`
stands for the 1,000,000 of the figures' names."""
