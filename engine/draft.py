"""The entries of one decision in the making, with the balances that they lead to. The state is only read."""

import json
from typing import Any

from engine.entries import EFFECTS, Entry
from engine.limits import QUANTITY_MAX
from engine.state import NO_LOT, Lot, Partition, Stock


class Draft:
    """Entries that follow the partition's last one, each with the balances after it."""

    __slots__ = ("at_ms", "balances", "detail", "entries", "fingerprint", "key", "partition", "seq")

    def __init__(self, partition: Partition, now_ms: int, key: str | None, fingerprint: int | None) -> None:
        self.partition = partition.number
        self.seq = partition.seq
        self.at_ms = now_ms if now_ms > partition.at_ms else partition.at_ms
        self.key = key
        self.fingerprint = fingerprint
        self.entries: list[Entry] = []
        self.detail: dict[str, Any] | None = None
        """What the first entry says beside its fields."""
        self.balances: dict[tuple[Stock, str, str], tuple[int, int, int]] = {}
        """(on hand, reserved, held) of what this draft changes, by stock, location and lot."""

    def balance(self, stock: Stock, location: str, lot: str) -> tuple[int, int, int]:
        """Return (on hand, reserved, held) of a lot in a bin after the entries so far."""
        balance = self.balances.get((stock, location, lot))
        if balance is not None:
            return balance
        bin_ = stock.bins.get(location)
        found: Lot | None = bin_.lots.get(lot) if bin_ is not None else None
        return (found.on_hand, found.reserved, found.held) if found is not None else (0, 0, 0)

    def available(self, stock: Stock, location: str, lot: Lot) -> int:
        """Return the units of a lot that can still be promised after the entries so far."""
        balance = self.balances.get((stock, location, lot.code)) if self.balances else None
        if balance is None:
            return lot.on_hand - lot.reserved - lot.held
        return balance[0] - balance[1] - balance[2]

    def change(  # noqa: PLR0913 - an entry has that many parts
        self,
        kind: str,
        stock: Stock,
        location: str,
        lot: str,
        quantity: int,
        *,
        reservation: int | None = None,
        line: int | None = None,
        counterpart: str | None = None,
        expires_at_ms: int | None = None,
        reference: str | None = None,
        reason: str | None = None,
        detail: str | None = None,
    ) -> None:
        """Add an entry that changes `quantity` units of a lot in a bin, and work out its balances."""
        on_hand, reserved, held = self.balance(stock, location, lot)
        effect = EFFECTS[kind]
        on_hand += effect[0] * quantity
        held += effect[2] * quantity
        if reservation is not None:
            reserved += effect[1] * quantity
        assert reserved >= 0 <= held, "a decision leads below zero"
        assert reserved + held <= on_hand <= QUANTITY_MAX, "a decision commits more than there is"
        self.balances[stock, location, lot] = (on_hand, reserved, held)
        self.seq += 1
        self.entries.append(
            Entry(
                self.partition,
                self.seq,
                self.at_ms,
                kind,
                None,
                None,
                0,
                stock.site,
                stock.sku,
                location,
                lot,
                quantity,
                on_hand,
                reserved,
                held,
                reservation,
                line,
                counterpart,
                expires_at_ms,
                reference,
                reason,
                detail,
            )
        )

    def note(
        self,
        kind: str,
        *,
        reservation: int | None = None,
        expires_at_ms: int | None = None,
        reference: str | None = None,
        detail: str | None = None,
    ) -> None:
        """Add an entry that changes no stock."""
        self.seq += 1
        self.entries.append(
            Entry(
                self.partition, self.seq, self.at_ms, kind, None, None, 0, None, None, None, None, 0, 0, 0, 0,
                reservation, None, None, expires_at_ms, reference, None, detail,
            )
        )  # fmt: skip

    def finish(self) -> list[Entry]:
        """Return the entries; the first carries the key, the body's fingerprint and how many they are."""
        entries = self.entries
        if entries:
            first = entries[0]
            detail = first.detail if self.detail is None else json.dumps(self.detail)
            entries[0] = first._replace(
                key=self.key, fingerprint=self.fingerprint, span=len(entries), detail=detail
            )
        return entries


def sole_lot(stock: Stock, location: str) -> Lot | None:
    """Return the only lot with units in a bin (an empty one without a lot code if none has), or None if several do."""
    bin_ = stock.bins.get(location)
    if bin_ is None:
        return Lot(NO_LOT)
    stocked = [lot for lot in bin_.lots.values() if lot.on_hand]
    if len(stocked) > 1:
        return None
    return stocked[0] if stocked else bin_.lots.get(NO_LOT) or Lot(NO_LOT)
