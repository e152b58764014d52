"""Which stocks and reservations must be active before a command can be decided."""

from collections.abc import Iterable

from engine import commands as c
from engine.partitioning import partition_of
from engine.state import Partition, Reservation

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
        return keys_of(reservation) if reservation is not None else ()
    if isinstance(command, c.SettleAttempt | c.NoteRequest):
        return ()
    keys = [(command.site, command.sku)]
    if isinstance(command, c.ExpireStock):
        stock = partition.stocks.get((command.site, command.sku))
        for reservation in ((stock.reservations or {}) if stock is not None else {}).values():
            keys.extend(keys_of(reservation))
    return keys


def keys_of(reservation: Reservation) -> list[c.StockKey]:
    """Return the stocks of a reservation, but for lines that found nothing: they may lie elsewhere."""
    return [(line.site, line.sku) for line in reservation.lines if line.quantity]


def lies_in(command: object, partition: int, partitions: int) -> bool:
    """Whether all SKUs that a command or query names lie in a partition of so many: 0.3 us for one line.

    What names a reservation or an attempt and no site may be anywhere.
    """
    if isinstance(command, _OF_LINES):
        if len(command.lines) == 1:
            line = command.lines[0]
            return partition_of(line.site, line.sku, partitions) == partition
        return all(partition_of(line.site, line.sku, partitions) == partition for line in command.lines)
    site: str | None = getattr(command, "site", None)
    return site is None or partition_of(site, command.sku, partitions) == partition  # type: ignore[attr-defined]
