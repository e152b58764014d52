"""What the ledger says of lots: the last row of each, or what a stretch of rows adds up to."""

from typing import NamedTuple

SUMMED_MAX = 1_000
"""Entries that `Ledger.sums` adds up at once: 6 ms of a database's time, and sums that 64 bits hold."""


class LotSum(NamedTuple):
    """What a stretch of the ledger says of one lot in one bin."""

    site: str
    sku: str
    location: str
    lot: str
    seq: int
    """The lot's last entry in the stretch."""
    on_hand: int
    reserved: int
    held: int
    """What the stretch's entries add up to, by their kinds and quantities alone."""
    least: tuple[int, int, int]
    most: tuple[int, int, int]
    """By how much the rows' own balances exceed the sum up to them, at least and at most.

    Both are what the lot had before the stretch, if every row follows from those before it.
    """


class LotBalance(NamedTuple):
    """What the last entry of a lot in a bin says of it."""

    partition: int
    site: str
    sku: str
    location: str
    lot: str
    seq: int
    on_hand: int
    reserved: int
    held: int
