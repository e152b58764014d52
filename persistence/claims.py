"""The entry by which a host takes a partition over."""

import json

from engine.entries import Entry, Kind


def claim_entry(partition: int, seq: int, at_ms: int, *, host: str, address: str, epoch: int) -> Entry:
    """Return the claim: whoever still thinks that `seq` is free collides with it."""
    detail = json.dumps({"host": host, "epoch": epoch, "address": address})
    return Entry(
        partition, seq, at_ms, Kind.PARTITION_CLAIMED, None, None, 1, None, None, None, None, 0, 0, 0, 0,
        None, None, None, None, None, None, detail,
    )  # fmt: skip
