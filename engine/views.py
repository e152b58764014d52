"""What callers are shown: the shapes of the public contract, as plain dicts.

A view is made after the entries that it shows are applied, and leaves only when they are committed.
"""

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any

from engine import commands as c
from engine.dates import date_of_expiry, rfc3339
from engine.entries import Entry, Kind
from engine.partitioning import reservation_id
from engine.state import Bin, Lot, Partition, Reservation, Stock

View = dict[str, Any]

_RESERVED = Kind.STOCK_RESERVED
_CODE = attrgetter("code")


def lot_view(lot: Lot) -> View:
    """Return a lot in a bin; quantities in units, `expires_on` the last good date."""
    view: View = {
        "lot": lot.code or None,
        "on_hand": lot.on_hand,
        "reserved": lot.reserved,
        "held": lot.held,
        "available": lot.on_hand - lot.reserved - lot.held,
        "expires_on": None if lot.expires_at_ms is None else date_of_expiry(lot.expires_at_ms),
    }
    if lot.holds:
        view["holds"] = dict(lot.holds)
    return view


def bin_view(stock: Stock, location: str) -> View:
    """Return a bin with its lots by code; one that is not known shows as empty, at sequence number 0."""
    bin_ = stock.bins.get(location) or Bin(location)
    on_hand = reserved = held = 0
    lots = []
    for lot in bin_.lots if bin_.sole() else sorted(bin_.lots, key=_CODE):
        if lot.on_hand:
            on_hand += lot.on_hand
            reserved += lot.reserved
            held += lot.held
            lots.append(lot_view(lot))
    return {
        "site": stock.site,
        "sku": stock.sku,
        "location": location,
        "on_hand": on_hand,
        "reserved": reserved,
        "held": held,
        "available": on_hand - reserved - held,
        "seq": bin_.seq,
        "lots": lots,
    }


def stock_view(stock: Stock, seq: int) -> View:
    """Return all bins of a SKU with their sums; `seq` is the partition's sequence number."""
    bins = [bin_view(stock, location) for location in sorted(stock.bins)]
    sums = {name: sum(view[name] for view in bins) for name in ("on_hand", "reserved", "held", "available")}
    return {"site": stock.site, "sku": stock.sku, **sums, "seq": seq, "bins": bins}


def reservation_view(partition: Partition, reservation: Reservation) -> View:
    """Return a reservation, or this partition's share of one that spans partitions.

    `home` and `parts` ([partition, number, opened_at_ms] each) are there only for a reservation that spans
    partitions: the gateway joins the shares and drops them.
    """
    view: View = {
        "id": reservation_id(partition.number, reservation.number, reservation.opened_at_ms),
        "state": reservation.state,
        "reference": reservation.reference,
        "expires_at": None if reservation.expires_at_ms is None else rfc3339(reservation.expires_at_ms),
        "lines": [
            {
                "line": line.index,
                "site": line.site,
                "sku": line.sku,
                "quantity": line.quantity,
                "requested": line.requested,
                "picked": line.picked,
                "released": line.released,
                "expired": line.expired,
                "short": line.short,
                "allocations": [
                    {
                        "location": allocation.location,
                        "lot": allocation.lot or None,
                        "quantity": allocation.quantity,
                        "open": allocation.open,
                    }
                    for allocation in line.allocations
                ],
            }
            for line in reservation.lines
        ],
    }
    if reservation.attempt is not None:
        view["home"] = reservation.home
        view["parts"] = reservation.parts
        view["tentative"] = reservation.deadline_ms is not None
        view["expires_at_ms"] = reservation.expires_at_ms
    return view


def state_of(lines: Iterable[View]) -> str:
    """Return the state of a reservation from its lines' views: as `Reservation.state`."""
    picked = open_units = expired = 0
    for line in lines:
        picked += line["picked"]
        expired += line["expired"]
        open_units += sum(allocation["open"] for allocation in line["allocations"])
    if open_units:
        return "part_picked" if picked else "held"
    return "picked" if picked else "expired" if expired else "released"


def explain_view(partition: Partition, stock: Stock) -> View:
    """Return why the available quantity of a SKU is what it is: each number with what it consists of."""
    view = stock_view(stock, partition.seq)
    reservations = []
    for number, reservation in sorted((stock.reservations or {}).items()):
        for line in reservation.lines:
            if line.sku == stock.sku and line.site == stock.site:
                reservations += [
                    {
                        "id": reservation_id(partition.number, number, reservation.opened_at_ms),
                        "reference": reservation.reference,
                        "location": allocation.location,
                        "lot": allocation.lot or None,
                        "quantity": allocation.open,
                        "expires_at": None
                        if reservation.expires_at_ms is None
                        else rfc3339(reservation.expires_at_ms),
                        "tentative": reservation.deadline_ms is not None,
                    }
                    for allocation in line.allocations
                    if allocation.open
                ]
    lots = [(bin_, lot) for bin_ in stock.bins.values() for lot in bin_.lots if lot.on_hand]
    holds = [
        {"location": bin_.location, "lot": lot.code or None, "reason": reason, "quantity": units}
        for bin_, lot in lots
        for reason, units in (lot.holds or {}).items()
    ]
    dated = [
        {"location": bin_.location, **lot_view(lot)} for bin_, lot in lots if lot.expires_at_ms is not None
    ]
    sentence = "{on_hand} on hand - {reserved} reserved - {held} held = {available} available".format(**view)
    return {**view, "explanation": sentence, "reservations": reservations, "holds": holds, "lots": dated}


def _reserved_view(partition: Partition, _: c.Command, entries: list[Entry]) -> View:
    entry = entries[0]
    if len(entries) == 1 and entry.kind == _RESERVED and entry.detail is None:
        return _opened_view(entry)
    number = entry.reservation
    assert number is not None
    return reservation_view(partition, partition.reservations[number])


def _opened_view(entry: Entry) -> View:
    """Return the view of a reservation right after its only entry, which says all there is to it."""
    (
        partition, number, at_ms, _, _, _, _, site, sku, location, lot, quantity, _, _, _, _, line, _,
        expires_at_ms, reference, _, _,
    ) = entry  # fmt: skip
    return {
        "id": reservation_id(partition, number, at_ms),
        "state": "held",
        "reference": reference,
        "expires_at": None if expires_at_ms is None else rfc3339(expires_at_ms),
        "lines": [
            {
                "line": line,
                "site": site,
                "sku": sku,
                "quantity": quantity,
                "requested": quantity,
                "picked": 0,
                "released": 0,
                "expired": 0,
                "short": 0,
                "allocations": [
                    {"location": location, "lot": lot or None, "quantity": quantity, "open": quantity}
                ],
            }
        ],
    }


def _named_view(
    partition: Partition,
    command: c.ConfirmReservation
    | c.AbandonReservation
    | c.ExtendReservation
    | c.ReleaseReservation
    | c.PickReservation,
    _: list[Entry],
) -> View:
    return reservation_view(partition, partition.reservations[command.number])


def _bin_of(
    partition: Partition,
    command: c.ReceiveStock | c.AdjustStock | c.HoldStock | c.UnholdStock,
    _: list[Entry],
) -> View:
    return bin_view(partition.stocks[command.site, command.sku], command.location)


def _picked_view(partition: Partition, command: c.PickStock, entries: list[Entry]) -> View:
    stock = partition.stocks[command.site, command.sku]
    locations = dict.fromkeys(entry.location for entry in entries)
    return {
        "site": command.site,
        "sku": command.sku,
        "quantity": command.quantity,
        "reference": command.reference,
        "allocations": [
            {"location": entry.location, "lot": entry.lot or None, "quantity": entry.quantity}
            for entry in entries
        ],
        "bins": [bin_view(stock, location) for location in locations if location is not None],
    }


def _moved_view(partition: Partition, command: c.MoveStock, _: list[Entry]) -> View:
    stock = partition.stocks[command.site, command.sku]
    return {"from": bin_view(stock, command.from_location), "to": bin_view(stock, command.to_location)}


def _counted_view(partition: Partition, command: c.CountStock, entries: list[Entry]) -> View:
    stock = partition.stocks[command.site, command.sku]
    variance = sum(entry.quantity for entry in entries if entry.kind == Kind.STOCK_COUNTED)
    return {"bin": bin_view(stock, command.location), "variance": variance}


def _noted_view(_: Partition, __: c.NoteRequest, ___: list[Entry]) -> View:
    return {}


def _expired_view(_: Partition, __: c.ExpireStock, entries: list[Entry]) -> View:
    return {"expired": sum(entry.quantity for entry in entries)}


def _settled_view(partition: Partition, command: c.SettleAttempt, _: list[Entry]) -> View:
    number = partition.attempts.get(command.attempt)
    if number is None:
        return {"decided": False}
    reservation = partition.reservations[number]
    return {
        "decided": True,
        "home_number": number,
        "expires_at_ms": reservation.expires_at_ms,
    }


_ANSWERS: dict[type[c.Command], Callable[[Partition, Any, list[Entry]], View]] = {
    c.ReceiveStock: _bin_of,
    c.ReserveStock: _reserved_view,
    c.ReserveTentatively: _reserved_view,
    c.ReserveTogether: _reserved_view,
    c.ConfirmReservation: _named_view,
    c.AbandonReservation: _named_view,
    c.SettleAttempt: _settled_view,
    c.NoteRequest: _noted_view,
    c.ExtendReservation: _named_view,
    c.ReleaseReservation: _named_view,
    c.PickReservation: _named_view,
    c.PickStock: _picked_view,
    c.MoveStock: _moved_view,
    c.AdjustStock: _bin_of,
    c.CountStock: _counted_view,
    c.HoldStock: _bin_of,
    c.UnholdStock: _bin_of,
    c.ExpireStock: _expired_view,
}


def answer(partition: Partition, command: c.Command, entries: list[Entry]) -> View:
    """Return what the caller of a command is told, its entries being applied."""
    return _ANSWERS[type(command)](partition, command, entries)
