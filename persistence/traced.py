"""What is asked of the ledger about a reservation: what changed it last."""

from typing import NamedTuple

from engine.commands import StockKey


class Traced(NamedTuple):
    """A reservation of which somebody knows the entry that changed it last, and asks whether it is so."""

    partition: int
    number: int
    stocks: tuple[StockKey, ...]
    """At which it has lines."""
    seq: int
    """The last entry that is known of it."""
    until_seq: int
    """Entries after this one are left out."""
