"""Harms what is stored, and knows what of it is not put right yet: rows of snapshots, entries of the ledger.

Rows are harmed of stocks that rest, or whose owner dies, in ways that are promised to be noticed (ADR 20). An
entry is harmed that the next owner has to apply, when its owner dies; an operator puts it right, and restarts
who refuses it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from actors.origins import DEPTH
from persistence.checksums import checksum
from simulation.doubting import Doubting

if TYPE_CHECKING:
    from engine.entries import Entry
    from engine.images import LotRow, ReservationRow, Rows
    from persistence.memory.database import PartitionTables
    from simulation.launching import SimulatedHost
    from simulation.world import World

_LOOK_S = 0.3


class Row(NamedTuple):
    """A row that is not what it was."""

    table: dict[Any, Any]
    key: Any
    now: object | None
    """What is there instead; None where it was deleted."""

    @property
    def is_wrong(self) -> bool:
        """Whether it still is."""
        return self.table.get(self.key) is self.now


class Harming:
    """What is harmed in a world's database."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rows: list[tuple[int, Row]] = []
        self.doubting = Doubting(world)
        self._entries: dict[int, Entry] = {}
        """What entries were that are harmed now, by partition."""
        self._refused_s: dict[int, float] = {}
        """Since when the owners of their partitions have to refuse them."""
        self._before: dict[tuple[int, int], ReservationRow] = {}
        """What the row of each reservation was before it was written last."""
        storage = world.storage
        storage.on_saving, storage.on_claimed = self._saving, self._claimed

    # Snapshots

    def harm_snapshot(self, target: int, size: float) -> bool:
        """Harm a row of a stock that rests, or whose owner dies now; return whether there was one."""
        found = self._resting()
        is_resting = bool(found)
        if not is_resting:
            found = [(number, key) for number, _, tables in self._served() for key in tables.lots]
        if not found:
            return False
        number, key = found[target % len(found)]
        tables = self._world.storage.database.partitions[number]
        kinds = [self._harm_lot, self._harm_reservation, self._harm_line]
        chance = int(size * 10_000)
        rows = (kinds[(chance + place) % len(kinds)](tables, key, chance // len(kinds)) for place in range(3))
        row = next((row for row in rows if row is not None), None)
        if row is None:
            return False
        if row.now is None:
            del row.table[row.key]
        else:
            row.table[row.key] = row.now
        self._rows.append((number, row))
        self.doubting.harmed(number)
        owner = self._world.owner_of(number)
        if not is_resting and owner is not None:
            self._world.kill_host(owner)
        what = "row harmed of a stock that rests" if is_resting else "row harmed as its owner died"
        self._world.loop.effects[what] += 1
        return True

    def wrong_row(self) -> str | None:
        """Say which partition still has a row that was harmed."""
        self._rows = [(number, row) for number, row in self._rows if row.is_wrong]
        return f"a harmed row of partition {self._rows[0][0]} is not noticed" if self._rows else None

    def replaced(self, number: int) -> None:
        """Forget what was harmed of a snapshot: all of it was written anew."""
        self._rows = [(one, row) for one, row in self._rows if one != number]
        self._settle(number)

    def _settle(self, number: int) -> None:
        """Doubt a partition no longer, unless anything of it is harmed still."""
        if number not in self._entries and all(one != number for one, _ in self._rows):
            self.doubting.settled(number)

    def _resting(self) -> list[tuple[int, tuple[str, str]]]:
        found = []
        for number, host, tables in self._served():
            owned = host.running.host.owned[number]
            if not owned.is_activating and not owned.queue:  # Else it may be on its way into memory.
                found += [(number, key) for key in tables.lots if key not in owned.state.stocks]
        return found

    def _harm_lot(self, tables: PartitionTables, key: tuple[str, str], chance: int) -> Row | None:
        of_stock = [entry for entry in tables.ledger if (entry.site, entry.sku) == key]
        newest = {(entry.location, entry.lot): entry for entry in of_stock[-DEPTH:]}
        rows = tables.lots[key]
        places = [place for place in rows if place in newest and rows[place].on_hand]
        if not places:
            return None
        place = places[chance % len(places)]
        # Of a lot that the tail changes, balances alone are looked at: the rest may be made anew by then.
        ways = _LOT_WAYS if self._is_still(rows[place].partition, key, *place) else _LOT_WAYS[:2]
        return Row(rows, place, ways[chance // len(places) % len(ways)](rows[place]))

    def _is_still(self, number: int, key: tuple[str, str], location: str, code: str) -> bool:
        """Whether a lot has not changed since its row was written, durably or not."""
        owned = next(host.running.host.owned[number] for one, host, _ in self._served() if one == number)
        stock = owned.state.stocks.get(key)
        bin_ = stock.bins.get(location) if stock is not None else None
        lot = bin_.lot(code) if bin_ is not None else None
        return lot is None or lot.seq <= owned.snapshot_seq

    def _harm_reservation(self, tables: PartitionTables, key: tuple[str, str], chance: int) -> Row | None:
        number = self._open_at(tables, key, chance)
        if number is None:
            return None
        row = tables.reservations[number]
        before = self._before.get((row.partition, number))
        if before is not None and chance % 2:
            return Row(tables.reservations, number, before)
        return Row(tables.reservations, number, _RESERVATION_WAYS[chance % len(_RESERVATION_WAYS)](row))

    def _harm_line(self, tables: PartitionTables, key: tuple[str, str], chance: int) -> Row | None:
        number = self._open_at(tables, key, chance)
        if number is None:
            return None
        lines = tables.lines[number]
        line = next(index for index, row in lines.items() if row.open and (row.site, row.sku) == key)
        garbled = lines[line]._replace(allocations=lines[line].allocations[:-1])
        return Row(lines, line, None if chance % 2 else garbled)

    def _open_at(self, tables: PartitionTables, key: tuple[str, str], chance: int) -> int | None:
        """Return a reservation that is open at a stock, and that no entry behind the snapshot touches.

        One that the tail resolves is not open at its stock any more, and is compared when it is asked for.
        """
        owned = next(host.running.host.owned[number] for number, host, one in self._served() if one is tables)
        reservations = owned.state.reservations.values()
        touched = {one.number for one in reservations if one.seq > owned.snapshot_seq}
        numbers = [
            number
            for number, lines in sorted(tables.lines.items())
            if number in tables.reservations
            and number not in touched
            and any(row.open and (row.site, row.sku) == key for row in lines.values())
        ]
        return numbers[chance % len(numbers)] if numbers else None

    def _saving(self, rows: Rows) -> None:
        """Remember what reservations' rows are, before others are written over them."""
        for row in rows.reservations:
            now = self._world.storage.database.partitions[row.partition].reservations.get(row.number)
            if now is not None and now != row:
                self._before[row.partition, row.number] = now

    # The ledger

    def harm_ledger(self, target: int, seconds: float) -> bool:
        """Kill an owner, and harm an entry that the next one has to apply; put it right after a while.

        Either its balances follow from nothing, though its checksum holds, or its checksum does not hold.
        """
        found = []
        for number, host, tables in self._served():
            tail = [entry for entry in tables.ledger[tables.snapshot_seq :] if entry.sku is not None]
            if tail:
                found.append((number, host, tail))
        if not found:
            return False
        number, host, tail = found[target % len(found)]
        was = tail[target % len(tail)]
        harmed = was._replace(on_hand=was.on_hand + 1) if target % 2 else was._replace(reason="harmed")
        self._put(harmed, checksum(harmed if target % 2 else was))
        self._entries[number] = was
        self.doubting.harmed(number, was.seq)
        self._world.kill_host(host)
        self._world.loop.later(seconds, lambda: self._restore(number))
        return True

    @property
    def is_ledger_harmed(self) -> bool:
        """Whether any entry is not what it was."""
        return bool(self._entries)

    def is_harmed(self, number: int, seq: int) -> bool:
        """Whether an entry is not what it was."""
        return number in self._entries and self._entries[number].seq == seq

    def _claimed(self, number: int) -> None:
        """Note that somebody takes a partition: if it has to apply a harmed entry, it must not serve it.

        If the owner that died has still written a snapshot that lies behind the entry, nobody has to. Where
        its checksum holds, nobody can tell either, and it is put right.
        """
        was, tables = self._entries.get(number), self._world.storage.database.partitions[number]
        if was is None:
            return
        if was.seq > tables.snapshot_seq:
            self._refused_s.setdefault(number, self._world.loop.time())
        elif number not in self._refused_s and tables.checksums[was.seq] == checksum(
            tables.ledger[was.seq - 1]
        ):
            self._restore(number)

    def is_refused_since(self, number: int, at_s: float) -> bool:
        """Whether nobody may have served a partition from an instant until now."""
        return number in self._refused_s and self._refused_s[number] <= at_s

    def restore(self) -> None:
        """Put all entries right at once."""
        for number in list(self._entries):
            self._restore(number)

    def _put(self, entry: Entry, sum_: int) -> None:
        tables = self._world.storage.database.partitions[entry.partition]
        tables.ledger[entry.seq - 1] = entry
        tables.checksums[entry.seq] = sum_

    def _restore(self, number: int) -> None:
        was = self._entries.pop(number, None)
        if was is not None:
            self._refused_s.pop(number, None)
            self._put(was, checksum(was))
            self._restart(number)

    def _restart(self, number: int) -> None:
        """Restart whoever refuses a partition, until it is served; from then on nobody may."""
        for host in list(self._world.hosts):
            if number in host.running.host.refused:
                self._world.loop.effects["host restarted after its ledger was mended"] += 1
                self._world.kill_host(host)
        if all(one != number for one, _, _ in self._served()):
            self._world.loop.later(_LOOK_S, lambda: self._restart(number))
        else:
            self.doubting.served(number)
            self._settle(number)

    def _served(self) -> list[tuple[int, SimulatedHost, PartitionTables]]:
        """Return the partitions that are served, and whose ledger is whole."""
        found = []
        for number, tables in enumerate(self._world.storage.database.partitions):
            host = self._world.owner_of(number)
            owned = host.running.host.owned.get(number) if host is not None else None
            if host is not None and owned is not None and owned.is_ready and number not in self._entries:
                found.append((number, host, tables))
        return found


def _one_more(row: LotRow) -> LotRow:
    return row._replace(on_hand=row.on_hand + 1)


def _garbled(row: LotRow) -> LotRow:
    return row._replace(holds=json.dumps([row.holds])[:-1])


def _deleted(_: object) -> None:
    return None


def _another_date(row: Any) -> Any:  # noqa: ANN401
    return row._replace(expires_at_ms=(row.expires_at_ms or 2_000_000_000_000) + 86_400_000)


def _another_age(row: LotRow) -> LotRow:
    return row._replace(age=1)  # The first claim: nothing came by it.


def _another_reference(row: ReservationRow) -> ReservationRow:
    return row._replace(reference=f"{row.reference}'")


def _opened_before(row: ReservationRow) -> ReservationRow:
    return row._replace(opened_at_ms=row.opened_at_ms - 1)


_LOT_WAYS: tuple[Callable[[LotRow], LotRow | None], ...] = (
    _deleted, _one_more, _garbled, _another_date, _another_age,
)  # fmt: skip
_RESERVATION_WAYS: tuple[Callable[[ReservationRow], ReservationRow | None], ...] = (
    _deleted, _another_date, _another_reference, _opened_before,
)  # fmt: skip
