"""Which stocks and reservations must be active before a command can be decided."""

from collections.abc import Iterable

from engine import commands as c
from engine.state import Partition

_OF_RESERVATION = (
    c.ConfirmReservation,
    c.AbandonReservation,
    c.ExtendReservation,
    c.ReleaseReservation,
    c.PickReservation,
)
_OF_LINES = (c.ReserveStock, c.ReserveTentatively, c.ReserveTogether)


def reservation_number(command: c.Command) -> int | None:
    """Return the number of the reservation that a command names."""
    return command.number if isinstance(command, _OF_RESERVATION) else None


def stock_keys(partition: Partition, command: c.Command) -> Iterable[c.StockKey]:
    """Return the (site, sku) of each stock that a command reads or changes, its reservation being active."""
    if isinstance(command, _OF_LINES):
        return [(line.site, line.sku) for line in command.lines]
    if isinstance(command, _OF_RESERVATION):
        reservation = partition.reservations.get(command.number)
        return [(line.site, line.sku) for line in reservation.lines] if reservation is not None else ()
    if isinstance(command, c.SettleAttempt):
        return ()
    keys = [(command.site, command.sku)]
    if isinstance(command, c.ExpireStock):
        stock = partition.stocks.get((command.site, command.sku))
        for reservation in ((stock.reservations or {}) if stock is not None else {}).values():
            keys.extend((line.site, line.sku) for line in reservation.lines)
    return keys


def partition_key(command: c.Command) -> c.StockKey | None:
    """Return a (site, sku) that says which partition a command is for; None when it names a reservation."""
    if isinstance(command, _OF_LINES):
        return (command.lines[0].site, command.lines[0].sku) if command.lines else None
    if isinstance(command, (*_OF_RESERVATION, c.SettleAttempt)):
        return None
    return (command.site, command.sku)
