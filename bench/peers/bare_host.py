"""The bare limit of a host: requests from lanes become rows, which COPY writes; it decides nothing.

It holds no stock, knows no keys, writes no snapshots and broadcasts nothing: each request becomes the same
row and gets the same answer. What the rest of the way costs remains: the caller, the lane, the ledger.
Whatever is written in Python and put into its place can only be slower.

`python -m bench.peers.bare_host POSTGRES_URL PORT` serves until it is told to stop.
"""

import asyncio
import contextlib
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, cast

import asyncpg
import msgspec
import uvloop

from actors.frames import LANE_VERSION, FrameReader, decode_requests, encode, frame
from actors.requests import Status
from bench.child_process import first_line, running
from bench.load_process import LoadFailed
from bench.product import free_port
from bench.workloads import ON_HAND
from engine.entries import Entry, Kind, make_entry
from persistence.checksums import COLUMNS, with_checksums

_START_S_MAX = 30.0
_NAME = "bare"
_KIND = Kind.STOCK_RESERVED.value
_REST = (None,) * 5
_INSERT = (
    f"INSERT INTO ledger ({', '.join(COLUMNS)})"  # noqa: S608 - our own columns' names
    f" VALUES ({', '.join(f'${number}' for number in range(1, len(COLUMNS) + 1))})"
)
_COUNTS = dict.fromkeys(("picked", "released", "expired", "short"), 0)
_ALLOCATION = {"location": "A-00000-01", "lot": None, "quantity": 1, "open": 1}
_WANTED = {"line": 0, "site": "spread", "sku": "SKU-0000001", "quantity": 1, "requested": 1}
_RESERVATION = {
    "id": "01a20284-a1ee-7065-8000-000000000003",
    "state": "held",
    "reference": None,
    "expires_at": None,
    "lines": [{**_WANTED, **_COUNTS, "allocations": [_ALLOCATION]}],
}
_ANSWER = msgspec.Raw(encode(_RESERVATION))
"""As long as the engine's answer to a reserve of one unit."""


class BareHost:
    """One connection to the ledger and what waits for it. `partitions` is how many it says that it owns."""

    def __init__(self, connection: Any, insert: Any, partitions: int) -> None:  # noqa: ANN401 - asyncpg ships no types
        self._connection = connection
        self._insert = insert
        self.described = msgspec.Raw(encode({"partitions": partitions}))
        self.rows: list[Entry] = []
        self.waiting: list[tuple[_BareLane, int]] = []
        self.heads: Counter[int] = Counter()
        self._committing: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, postgres_url: str) -> "BareHost":
        """Return a host on a database that the product's migration made and nobody else writes to."""
        connection = await asyncpg.connect(postgres_url)
        partitions = await connection.fetchval("SELECT count(*) FROM partition")
        return cls(connection, await connection.prepare(_INSERT), partitions)

    def commit(self) -> None:
        """Have what waits written, as soon as what is being written is."""
        if self.rows and self._committing is None:
            self._committing = asyncio.get_running_loop().create_task(self._commit())

    async def _commit(self) -> None:
        while self.rows:
            rows, self.rows = self.rows, []
            waiting, self.waiting = self.waiting, []
            records = with_checksums(rows)
            if len(records) == 1:
                await self._insert.fetch(*records[0])
            else:
                await self._connection.copy_records_to_table("ledger", records=records, columns=COLUMNS)
            replies: dict[_BareLane, list[tuple[int, int, msgspec.Raw]]] = {}
            for lane, request_id in waiting:
                replies.setdefault(lane, []).append((request_id, Status.ANSWERED, _ANSWER))
            for lane, items in replies.items():
                lane.send(items)
        self._committing = None


class _BareLane(asyncio.Protocol):
    """One caller's connection."""

    def __init__(self, host: BareHost) -> None:
        self._host = host
        self._reader = FrameReader()
        self._transport: asyncio.Transport | None = None
        self._is_welcome = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._transport = None

    def send(self, items: list[Any]) -> None:
        if self._transport is not None:
            self._transport.write(frame(encode(items)))

    def data_received(self, data: bytes) -> None:
        for payload in self._reader.feed(data):
            if self._is_welcome:
                self._take(payload)
            else:
                self._is_welcome = True
                self.send(["welcome", LANE_VERSION, _NAME])
        self._host.commit()

    def _take(self, payload: bytes) -> None:
        host, at_ms = self._host, time.time_ns() // 1_000_000
        heads, rows, waiting = host.heads, host.rows, host.waiting
        for request_id, partition, name, key, _ in decode_requests(payload):
            if name != "reserve":
                self.send([(request_id, Status.ANSWERED, host.described)])
                continue
            seq = heads[partition] + 1
            heads[partition] = seq
            bin_ = "spread", "SKU-0000001", "A-00000-01", ""
            balances = ON_HAND, seq, 0
            entry = (partition, seq, at_ms, _KIND, key, seq, 1, *bin_, 1, *balances, seq, 0, *_REST)
            rows.append(make_entry(entry))
            waiting.append((self, request_id))


@contextlib.asynccontextmanager
async def started(postgres_url: str) -> AsyncIterator[None]:
    """The host in a process of its own, as the owner of all partitions of a database. Raises LoadFailed."""
    port = free_port()
    async with running("-m", "bench.peers.bare_host", postgres_url, str(port)) as process:
        if await first_line(process, _START_S_MAX) != "ready":
            raise LoadFailed("the bare host does not start")
        connection = await asyncpg.connect(postgres_url)
        await connection.execute(
            "UPDATE partition SET host = $1, address = $2, epoch = 1", _NAME, f"127.0.0.1:{port}"
        )
        await connection.close()
        yield


async def _serve(postgres_url: str, port: int) -> None:
    host = await BareHost.open(postgres_url)
    server = await asyncio.get_running_loop().create_server(lambda: _BareLane(host), "127.0.0.1", port)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1], int(sys.argv[2])))
