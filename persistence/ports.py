"""What the owners of stock need from storage. Each port has an adapter in memory and one on a real server.

Faults are exceptions, and their docstrings say what is known. Adapters translate their library's errors here.
What others than owners need has modules of its own: `placement`, `read_model` and `survey`.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from engine.commands import StockKey
from engine.entries import Entry
from engine.images import LotRow, Rows
from persistence.balances import LotBalance, LotSum
from persistence.traced import Traced


class Fault(Exception):
    """Something outside the engine did not work."""


class Unavailable(Fault):
    """The server cannot be reached or refuses to work. Nothing happened; try again."""


class OutcomeUnknown(Fault):
    """The connection was lost while a commit was on its way. Ask `Ledger.is_committed` before going on."""


class PartitionsLost(Fault):
    """Another owner has written at these partitions' sequence numbers. Nothing was committed."""

    def __init__(self, partitions: frozenset[int]) -> None:
        super().__init__(f"partitions taken over by another host: {sorted(partitions)}")
        self.partitions = partitions


class KeysTaken(Fault):
    """These command keys are in the ledger already. Nothing was committed."""

    def __init__(self, keys: frozenset[str]) -> None:
        super().__init__(f"{len(keys)} keys are in the ledger already")
        self.keys = keys


class UnsafeDatabase(Fault):
    """The server would acknowledge what it can lose, or its schema is another version's. Nothing began."""


class RowsChanged(Fault):
    """Rows of the ledger are not as they were written. Nothing happened.

    Asking again helps only once a person has mended them: whoever serves their partitions must stop to.
    """

    def __init__(self, places: dict[int, int]) -> None:
        told = ", ".join(f"partition {number}, entry {seq}" for number, seq in sorted(places.items()))
        super().__init__(f"Rows of the ledger are not as they were written: {told}.")
        self.places = places
        """The first one in each partition: sequence numbers by partition."""


class Ledger(Protocol):
    """The append-only record that everything follows from.

    Whatever returns entries, and what reads their times, raises RowsChanged where a row that it read is not
    as it was written. `last`, `sums` and `missing` do not look: what they say is only ever compared.
    """

    async def append(self, entries: Sequence[Entry]) -> None:
        """Commit entries of one or more partitions, all or nothing, durably.

        Raises PartitionsLost, KeysTaken, Unavailable (nothing was committed in all three) or OutcomeUnknown.
        """

    async def is_committed(self, entries: Sequence[Entry]) -> bool:
        """Say whether entries of an append with unknown outcome are in the ledger.

        The append is certain to have ended when this answers. Raises Unavailable.
        """

    async def read(self, partition: int, after_seq: int, limit: int) -> list[Entry]:
        """Return committed entries of a partition in order, from `after_seq + 1`, at most `limit`."""

    async def history(self, partition: int, stock: StockKey, after_seq: int, limit: int) -> list[Entry]:
        """Return committed entries of one SKU in order, from `after_seq + 1`, at most `limit`."""

    async def of_reservation(self, partition: int, number: int, until_seq: int) -> list[Entry]:
        """Return the entries of a reservation in order, from its first (`seq == number`) to `until_seq`."""

    async def last_of(self, reservations: Sequence[Traced], depth: int) -> list[Entry]:
        """Return what changed reservations last, in no particular order.

        Of each that is its last entry that touches no stock, if there is one; and its last after `seq` among
        the newest `depth` entries of each of its stocks.
        """

    async def at(self, places: Sequence[tuple[int, int]]) -> list[Entry]:
        """Return the entries at these (partition, seq), in this order; where there is none, none."""

    async def confirmations(self, partition: int, numbers: Sequence[int]) -> list[Entry]:
        """Return the `reservation_confirmed` entries of these reservations of a partition, in order."""

    async def with_keys(self, keys: Sequence[str]) -> list[Entry]:
        """Return the keyed entries (each its command's first) that carry one of these keys."""

    async def seq_at(self, partition: int, at_ms: int) -> int:
        """Return the last sequence number recorded at or before an instant; 0 when there is none."""

    async def head(self, partition: int) -> tuple[int, int]:
        """Return (seq, at_ms) of a partition's last entry; (0, 0) when there is none."""

    async def balances(self, partition: int, stock: StockKey, until_seq: int) -> list[Entry]:
        """Return, for each lot in each bin of a SKU, its last entry at or before a sequence number."""

    async def last(self, stocks: Sequence[tuple[int, StockKey, int]], depth: int) -> list[LotBalance]:
        """Return the last entry of each lot in each bin of stocks: (partition, stock, until_seq) each.

        It looks at the newest `depth` entries of each stock up to `until_seq`: lots that rest longer are left
        out. In no particular order.
        """

    async def sums(self, partition: int, after_seq: int, until_seq: int) -> list[LotSum]:
        """Add up the entries of a partition from `after_seq + 1` to `until_seq`, lot by lot.

        At most `SUMMED_MAX` entries at once.
        """

    async def missing(self, partition: int, after_seq: int, until_seq: int) -> int | None:
        """Return the first sequence number from `after_seq + 1` to `until_seq` that has no entry, if any."""

    async def changed(self, partition: int, after_seq: int, until_seq: int) -> int | None:
        """Return the first entry from `after_seq + 1` to `until_seq` that is not as it was written."""


TIMES_SOUGHT = 20
"""Where a partition's last row is not as it was written, so many before it are looked at for its time."""


class Head(NamedTuple):
    """A partition as its owner found it."""

    partition: int
    epoch: int
    """Rises by one with each claim."""
    snapshot_seq: int
    """The snapshot's rows include every entry up to this one."""
    seq: int
    """The last entry: the claim, unless the ledger ends before the snapshot."""
    at_ms: int
    """When it was recorded; where its row is not as it was written, when the last one was that is, or 0."""

    @property
    def ends_early(self) -> bool:
        """Whether the snapshot has seen entries that the ledger does not have: they are lost."""
        return self.snapshot_seq > self.seq


class Due(NamedTuple):
    """The earliest time at which something at a resting stock expires."""

    partition: int
    site: str
    sku: str
    due_ms: int


class Recovery(NamedTuple):
    """What the new owner of partitions starts from: one consistent view, taken after the claim."""

    heads: list[Head]
    tail: list[Entry]
    """Entries after each partition's snapshot, by partition and sequence number."""
    stocks: list[tuple[int, StockKey]]
    """(partition, stock) of every stock that the tail touches: to be active before the tail is applied."""
    rows: Rows
    """Their snapshot rows, with all reservations that are open at them or that the tail names."""
    recent_keys: list[Entry]
    """The newest keyed entries, oldest first."""
    dues: list[Due]
    """Of resting stocks that have something to expire."""
    tentative: list[tuple[int, int, int]]
    """(partition, number, deadline_ms) of shares whose attempt was not settled at the snapshot."""
    changed: dict[int, int]
    """The first row in each partition, among those read for this, that is not as it was written."""


class Snapshots(Protocol):
    """State behind the ledger: what recovery starts from, and the read model of SQL users."""

    async def claim(self, host: str, address: str, partitions: Sequence[int], now_ms: int) -> list[Head]:
        """Take partitions over: append a `partition_claimed` entry to each and record the owner, all or none.

        A ledger that ends before its snapshot gets no entry: one in the place of what is lost would hide
        from the next claim that it is lost. Its owner is recorded all the same, under a risen epoch.

        A former owner's commit in flight is waited for, and after 2 s its database session is ended.
        Raises Unavailable.
        """

    async def lost(self, epochs: dict[int, int]) -> frozenset[int]:
        """Return those of the partitions (by the epochs of the asker's claims) that others claimed since.

        A read or a refusal leaves only after this check, so that a deposed owner answers nothing stale.
        """

    async def recover(self, partitions: Sequence[int], recent_keys: int) -> Recovery:
        """Return what the owner of these partitions starts from, with up to `recent_keys` keyed entries."""

    async def load(self, stocks: Sequence[tuple[int, StockKey]]) -> Rows:
        """Return the rows of resting stocks, (partition, stock) each.

        With them comes every reservation that is open at one of them, with all its lines.

        Rows come in no particular order, but a reservation's lines by their index.
        """

    async def lots(self, stocks: Sequence[StockKey]) -> list[LotRow]:
        """Return the rows of these stocks' lots alone, in no particular order."""

    async def load_reservation(self, partition: int, number: int) -> Rows:
        """Return the rows of one reservation; none when it is not known. No lots."""

    async def load_attempt(self, partition: int, attempt: str) -> Rows:
        """Return the rows of the reservation that decided an attempt at its home partition. No lots."""

    async def save(self, epochs: dict[int, tuple[int, int, int]], rows: Rows) -> frozenset[int]:
        """Write rows and move snapshots forward, in one transaction.

        `epochs` gives (epoch, seq, at_ms) by partition. Returns the partitions that somebody else has
        claimed: nothing of those was written. Saving the same again is harmless.
        """

    async def replace(self, head: Head, rows: Rows) -> bool:
        """Write a partition's rows in place of all that it has, as of `head.seq`, in one transaction.

        False: somebody has claimed it since `head.epoch`, and nothing was written. Raises Unavailable.
        """


class Message(NamedTuple):
    """One message for a stream."""

    subject: str
    payload: bytes
    message_id: str | None = None
    """Sent as `Nats-Msg-Id`."""


class Streams(Protocol):
    """The broadcast: derived from the ledger, at least once, in order per subject."""

    async def publish(self, messages: Sequence[Message]) -> None:
        """Publish in order; returns when all are stored.

        One that is too large for the server is left out and logged.
        Raises Unavailable: any of them may have been stored.
        """

    async def ledger_tails(self, partitions: Sequence[int]) -> dict[int, int]:
        """Return the last sequence number of each partition that the `LEDGER` stream holds; 0 for none.

        A partition is left out when its messages may have aged out: then only the cursor knows.
        Raises Unavailable.
        """

    def start_over(self) -> None:
        """Say that nothing is taken for known any more of what the streams hold.

        Once the streams were away, everything raises Unavailable until this is called, since they may have
        come back without what they held.
        """


class Cursors(Protocol):
    """How far the courier has come, durably."""

    async def cursors(self, partitions: Sequence[int]) -> dict[int, int]:
        """Return the last published sequence number by partition; 0 for none."""

    async def move_cursors(self, cursors: dict[int, int], *, back: bool = False) -> None:
        """Remember cursors. One that would go back stays, unless the stream itself went `back`."""
