"""The entries of one decision in the making, with the balances that they lead to. The state is only read."""

import json
from typing import Any

from engine.entries import EFFECTS, Entry, make_entry
from engine.limits import QUANTITY_MAX
from engine.state import Lot, Partition, Stock


class Draft:
    """Entries that follow the partition's last one, each with the balances after it."""

    __slots__ = ("at_ms", "balances", "detail", "entries", "fingerprint", "key", "partition", "seq")

    def __init__(self, partition: Partition, now_ms: int, key: str | None, fingerprint: int | None) -> None:
        self.partition = partition.number
        self.seq = partition.seq
        self.at_ms = max(now_ms, partition.at_ms)
        self.key = key
        self.fingerprint = fingerprint
        self.entries: list[Entry] = []
        self.detail: dict[str, Any] | None = None
        """What the first entry says beside its fields."""
        self.balances: dict[tuple[Stock, str, str], tuple[int, int, int]] = {}
        """(on hand, reserved, held) of what this draft changes, by stock, location and lot."""

    def balance(self, stock: Stock, location: str, lot: str) -> tuple[int, int, int]:
        """Return (on hand, reserved, held) of a lot in a bin after the entries so far."""
        if self.balances:
            balance = self.balances.get((stock, location, lot))
            if balance is not None:
                return balance
        bin_ = stock.bins.get(location)
        found: Lot | None = bin_.lot(lot) if bin_ is not None else None
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
        plus_on_hand, plus_reserved, plus_held = EFFECTS[kind]
        on_hand += plus_on_hand * quantity
        held += plus_held * quantity
        if reservation is not None:
            reserved += plus_reserved * quantity
        assert reserved >= 0 <= held, "a decision leads below zero"
        assert reserved + held <= on_hand <= QUANTITY_MAX, "a decision commits more than there is"
        self.balances[stock, location, lot] = (on_hand, reserved, held)
        self._add(
            kind, stock.site, stock.sku, location, lot, quantity, on_hand, reserved, held, reservation, line,
            counterpart, expires_at_ms, reference, reason, detail,
        )  # fmt: skip

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
        self._add(
            kind, None, None, None, None, 0, 0, 0, 0, reservation, None, None, expires_at_ms, reference, None,
            detail,
        )  # fmt: skip

    def _add(self, kind: str, *rest: object) -> None:
        """Add an entry; `rest` are its fields from `site` on. The first one is made as if it stayed alone."""
        self.seq += 1
        entries = self.entries
        if entries:
            entries.append(make_entry((self.partition, self.seq, self.at_ms, kind, None, None, 0, *rest)))
        else:
            start = (self.partition, self.seq, self.at_ms, kind, self.key, self.fingerprint, 1)
            entries.append(make_entry((*start, *rest)))

    def finish(self) -> list[Entry]:
        """Return the entries; the first carries the key, the body's fingerprint and how many they are."""
        entries = self.entries
        if self.detail is not None and entries:
            entries[0] = entries[0]._replace(detail=json.dumps(self.detail))
        if len(entries) > 1:
            entries[0] = entries[0]._replace(span=len(entries))
        return entries
