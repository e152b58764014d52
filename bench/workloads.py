"""Workloads: seeded, named, and the same for Binkeeper and its peers."""

import random
from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from engine.partitioning import partition_of

ON_HAND = 1_000_000_000
"""Units that each bin starts with: more than a run can reserve."""
_SEQUENCE_LENGTH = 1 << 17


@dataclass(frozen=True, slots=True)
class Workload:
    """Reserves of one unit a line. Each bin is a SKU's only one.

    The name is also the site, so that the stocks of two workloads do not meet.
    """

    name: str
    bins: int
    seed: int = 1
    zipf: float = 0.0
    """How uneven bins are asked for: the one of rank r in proportion to 1 / r ** zipf; 0 is uniform."""
    lines_min: int = 1
    lines_max: int = 1
    """An order's lines are of different SKUs, all or nothing."""

    @classmethod
    def read(cls, plain: dict[str, Any]) -> Self:
        """Return the workload that `plain` wrote."""
        return cls(**plain)

    def plain(self) -> dict[str, Any]:
        """Return the workload as plain values, to cross to another process."""
        return asdict(self)

    def sku(self, index: int) -> str:
        """Return the SKU of a bin. All have the same length."""
        return f"SKU-{index:07d}"

    def location(self, index: int) -> str:
        """Return the location of a bin."""
        return f"A-{index // 100:05d}-{index % 100:02d}"

    def partition(self, index: int, partitions: int) -> int:
        """Return the partition of a bin."""
        return partition_of(self.name, self.sku(index), partitions)

    def sequence(self, salt: int) -> Sequence[int]:
        """Return bins in the order in which they are reserved from; whoever needs more begins anew."""
        if self.bins == 1:
            return array("l", [0])
        chance = np.random.default_rng([self.seed, salt])
        if not self.zipf:
            return array("l", chance.integers(self.bins, size=_SEQUENCE_LENGTH).tolist())
        weights = np.arange(1, self.bins + 1, dtype=np.float64) ** -self.zipf
        upto = np.cumsum(weights)
        draws = chance.random(_SEQUENCE_LENGTH) * upto[-1]
        return array("l", np.searchsorted(upto, draws, side="right").tolist())

    def orders(self, salt: int) -> list[tuple[int, ...]]:
        """Return orders, each its bins in ascending order, without a bin twice; as `sequence` otherwise."""
        assert self.lines_max <= self.bins, "an order has more lines than there are bins"
        sizes = random.Random(self.seed * 1_000_003 + salt)
        drawn = iter(self.sequence(salt))
        found: list[tuple[int, ...]] = []
        bins: set[int] = set()
        wanted = sizes.randint(self.lines_min, self.lines_max)
        for index in drawn:
            bins.add(index)
            if len(bins) == wanted:
                found.append(tuple(sorted(bins)))
                bins.clear()
                wanted = sizes.randint(self.lines_min, self.lines_max)
        return found


def spread(bins: int = 10_000, seed: int = 1) -> Workload:
    """Return the workload that asks for every bin equally often."""
    return Workload("spread", bins, seed)


def retail(bins: int = 100_000, seed: int = 1) -> Workload:
    """Return the workload of a shop: few bins are asked for very often, most hardly ever (Zipf 1.0)."""
    return Workload("retail", bins, seed, zipf=1.0)


def flash_sale(seed: int = 1) -> Workload:
    """Return the workload in which everybody wants one bin."""
    return Workload("flash-sale", 1, seed)


def orders(bins: int = 10_000, seed: int = 1, *, lines_min: int = 3, lines_max: int = 8) -> Workload:
    """Return the workload of orders of several lines, all or nothing."""
    name = "orders" if lines_min != lines_max else f"orders-of-{lines_min}"
    return Workload(name, bins, seed, lines_min=lines_min, lines_max=lines_max)


def warehouse(bins: int = 10_000, seed: int = 1) -> Workload:
    """Return the workload of a warehouse's day, whose operations `bench.warehouse_load` mixes."""
    return Workload("warehouse", bins, seed)


def keys_of(salt: int) -> random.Random:
    """Return a source of keys: `getrandbits(128)` of it, as hex, is a key that no other salt gives.

    Keys are random, as callers' are: the worst case for an index.
    """
    return random.Random(f"keys {salt}")


def key_from(source: random.Random) -> str:
    """Return the next key, 32 characters."""
    return f"{source.getrandbits(128):032x}"
