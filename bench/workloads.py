"""Workloads: seeded, named, and the same for Binkeeper and its peers."""

import random
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from engine.partitioning import partition_of

ON_HAND = 1_000_000_000
"""Units that each bin starts with: more than a run can reserve."""
_SEQUENCE_LENGTH = 1 << 17


@dataclass(frozen=True, slots=True)
class Workload:
    """Single reserves of one unit, spread uniformly over bins. Each bin is a SKU's only one.

    The name is also the site, so that the stocks of two workloads do not meet.
    """

    name: str
    bins: int
    seed: int = 1

    @classmethod
    def read(cls, plain: dict[str, Any]) -> Self:
        """Return the workload that `plain` wrote."""
        return cls(str(plain["name"]), int(plain["bins"]), int(plain["seed"]))

    def plain(self) -> dict[str, Any]:
        """Return the workload as plain values, to cross to another process."""
        return {"name": self.name, "bins": self.bins, "seed": self.seed}

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
        draw = random.Random(self.seed * 1_000_003 + salt).random
        return array("l", (int(draw() * self.bins) for _ in range(_SEQUENCE_LENGTH)))


def keys_of(salt: int) -> random.Random:
    """Return a source of keys: `getrandbits(128)` of it, as hex, is a key that no other salt gives.

    Keys are random, as callers' are: the worst case for an index.
    """
    return random.Random(f"keys {salt}")


def key_from(source: random.Random) -> str:
    """Return the next key, 32 characters."""
    return f"{source.getrandbits(128):032x}"
