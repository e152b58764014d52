"""Rows of a snapshot whose text says nothing that a host could read."""

from persistence.memory.database import PartitionTables
from tests.component.actors.harm import Harm

DEEP = "[" * 5_000 + "]" * 5_000
"""Beyond what Python's own parser follows."""


def held_as(holds: str) -> Harm:
    """Text that the column takes, and that is no units by reason."""

    def harm(tables: PartitionTables) -> None:
        lots = tables.lots["LON", "TEA"]
        lots["A", ""] = lots["A", ""]._replace(holds=holds)

    return harm


def allocated_as(allocations: str) -> Harm:
    def harm(tables: PartitionTables) -> None:
        for lines in tables.lines.values():
            for index, line in lines.items():
                if line.open and line.sku == "TEA":
                    lines[index] = line._replace(allocations=allocations)

    return harm


def with_parts(parts: str) -> Harm:
    def harm(tables: PartitionTables) -> None:
        for number, row in tables.reservations.items():
            if row.open:
                tables.reservations[number] = row._replace(parts=parts)

    return harm


UNREADABLE: list[Harm] = [
    *map(held_as, ("{", "[1]", "5", "null", '"x"', '{"x": "a"}', '{"x": 1.5}', '{"x": true}', '{"x": null}')),
    *map(allocated_as, ("[[", "null", "{}", "5", "[5]", '[["A", "", 3]]', '[["A", "", 3, "3"]]')),
    *map(allocated_as, ('[["A", "", 3, 2.5]]', '[[["A"], "", 3, 3]]', '[["A", {}, 3, 3]]')),
    allocated_as('[["A", "", 2, 3]]'),
    *map(with_parts, ("5", "[1]", "[[1, 2]]", '[["1", 2, 3]]', "[[1, 2, [3]]]")),
    held_as(DEEP), allocated_as(DEEP), with_parts(DEEP),
]  # fmt: skip
