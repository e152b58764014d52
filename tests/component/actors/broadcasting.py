"""What a world has broadcast, and work that is broadcast."""

from collections import defaultdict
from typing import Any

import msgspec

from actors.queries import ReadBin
from persistence.nats.subjects import stock_subject
from tests.component.actors.world import World, number_of, view_of

decode = msgspec.msgpack.decode


def broadcast(w: World) -> dict[int, list[int]]:
    """Return the sequence numbers that the `LEDGER` stream holds, by partition."""
    seqs: dict[int, list[int]] = defaultdict(list)
    for message in w.streams.ledger:
        payload = decode(message.payload)
        entries = [entry["seq"] for entry in payload["entries"]]
        assert entries == list(range(payload["first_seq"], payload["last_seq"] + 1))
        seqs[payload["partition"]] += entries
    return seqs


def is_complete(w: World) -> bool:
    """Whether the ledger stream holds each partition's entries from the first to the last, in order."""
    seqs = broadcast(w)
    return all(
        list(dict.fromkeys(seqs[number])) == list(range(1, len(tables.ledger) + 1))
        for number, tables in enumerate(w.database.partitions)
    )


async def shown(w: World, sku: str, location: str = "A") -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a bin's last message, and the bin."""
    message = w.streams.stock[stock_subject("LON", sku, location)]
    bin_ = await w.gateway.query(number_of(sku), ReadBin("LON", sku, location))
    return decode(message.payload), view_of(bin_)


async def work(w: World, count: int = 30) -> None:
    for n in range(count):
        await w.receive(f"SKU-{n % 7}", 5, f"LOC {n % 3}")
        view_of(await w.reserve(f"SKU-{n % 7}", 2))
