"""The product behind the API in one object: the real engine and memory storage, without hosts or lanes."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from actors.outcomes import Answered, Fault, Outcome
from actors.queries import ExplainStock, Query, ReadBin, ReadReservation, ReadStock, RecallReservation
from actors.reservations import SpanningReservations
from api.app import ApiOptions, create_app
from engine.apply import apply
from engine.commands import Command, ReserveTogether
from engine.decide import decide
from engine.images import capture
from engine.partitioning import partition_of, reservation_id
from engine.refusals import Refusal, Refused, refused
from engine.state import Partition
from engine.views import answer, bin_view, explain_view, reservation_view, stock_view
from persistence.memory.database import MemoryDatabase
from persistence.memory.ledger import MemoryLedger
from persistence.memory.read_model import MemoryReadModel

TOKEN = "secret"
NOW_MS = 1_750_000_000_000
PARTITIONS = 4


class InProcessGateway:
    """Decides at once, keeps keys, and writes what was decided into the memory ledger."""

    partitions = PARTITIONS

    def __init__(self, database: MemoryDatabase) -> None:
        self.database = database
        self.state = [Partition(number) for number in range(PARTITIONS)]
        self.first: dict[str, tuple[Command, Outcome]] = {}
        self.now_ms = NOW_MS
        self.fault: Fault | None = None
        self.gate: asyncio.Event | None = None
        self.arrived = asyncio.Event()
        self.described: list[dict[str, Any]] = [
            {
                "host": "host-0", "pid": 1, "address": "x:1", "partitions": PARTITIONS, "ready": PARTITIONS,
                "in_flight": 3, "courier_lag": 2, "drift": 0, "recovery_ms": 12.5,
                "metrics": {
                    "operations": [["reserve", "ok", 5]],
                    "commit_entries": {"bounds": [1, 2], "counts": [1, 2, 3], "sum": 17},
                    "commit_seconds": {"bounds": [0.001, 0.1], "counts": [4, 1, 1], "sum": 0.2},
                    "drift": 0,
                },
            }
        ]  # fmt: skip

    def submit(self, partition: int, command: Command, key: str) -> asyncio.Future[Outcome]:
        self.arrived.set()
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        if self.fault is not None:
            future.set_exception(self.fault)
        elif self.gate is not None:
            waiting = asyncio.ensure_future(self.gate.wait())
            waiting.add_done_callback(
                lambda _: future.done() or future.set_result(self._decide(partition, command, key))
            )
        else:
            future.set_result(self._decide(partition, command, key))
        return future

    def _decide(self, number: int, command: Command, key: str) -> Outcome:
        if key in self.first:
            first_command, first = self.first[key]
            if _body_of(first_command) != _body_of(command):
                return refused(Refusal.IDEMPOTENCY_KEY_REUSED)
            if isinstance(first, Refused):
                return first._replace(replayed=True)
            return Answered(first.view, replayed=True)
        partition = self.state[number]
        entries = decide(partition, command, self.now_ms, key, 1)
        if isinstance(entries, Refused):
            if not isinstance(command, ReserveTogether):
                self.first[key] = (command, entries)
            return entries
        for entry in entries:
            apply(partition, entry)
        self.database.commit(entries)
        # A deep copy: later commands do not change what was answered.
        view = json.loads(json.dumps(answer(partition, command, entries)))
        self.first[key] = (command, Answered(view))
        return Answered(view)

    async def query(self, partition: int, query: Query) -> Outcome:
        if self.fault is not None:
            raise self.fault
        state = self.state[partition]
        if isinstance(query, ReadReservation | RecallReservation):
            reservation = state.reservations.get(query.number)
            if reservation is None or query.opened_at_ms not in (-1, reservation.opened_at_ms):
                return refused(Refusal.RESERVATION_NOT_FOUND)
            return Answered(reservation_view(state, reservation))
        stock = state.stocks.get((query.site, query.sku))
        if stock is None:
            return refused(Refusal.STOCK_NOT_FOUND, site=query.site, sku=query.sku)
        match query:
            case ReadStock():
                return Answered(stock_view(stock, state.seq))
            case ExplainStock():
                return Answered(explain_view(state, stock))
            case ReadBin():
                if query.location not in stock.bins:
                    return refused(
                        Refusal.BIN_NOT_FOUND, site=query.site, sku=query.sku, location=query.location
                    )
                return Answered(bin_view(stock, query.location))

    async def flush(self) -> None:
        for partition in self.state:
            self.database.write(
                partition.number, capture(partition, partition.stocks, partition.reservations)
            )

    async def hosts(self) -> list[dict[str, Any]]:
        if self.fault is not None:
            raise self.fault
        return self.described


def _body_of(command: Command) -> object:
    """What a repeat has in common with the first time: an attempt's own names differ."""
    return command.fingerprint if isinstance(command, ReserveTogether) else command


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: dict[str, str]
    raw: bytes
    multi: list[tuple[bytes, bytes]]

    @property
    def body(self) -> Any:
        if "msgpack" in self.headers["content-type"]:
            return msgspec.msgpack.decode(self.raw)
        return msgspec.json.decode(self.raw)

    @property
    def code(self) -> str | None:
        return self.body.get("code") if self.status >= 400 else None


class Caller:
    """Asks an API by raw ASGI calls as a server makes them."""

    app: Any

    async def ask(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        raw: bytes | None = None,
        chunks: list[bytes] | None = None,
        token: str | None = TOKEN,
    ) -> Reply:
        raw_path, _, query = target.partition("?")
        sent = {name.lower(): value for name, value in (headers or {}).items()}
        if token is not None:
            sent.setdefault("authorization", f"Bearer {token}")
        if raw is None and body is not None:
            msgpack = "msgpack" in sent.get("content-type", "")
            raw = msgspec.msgpack.encode(body) if msgpack else msgspec.json.encode(body)
            sent.setdefault("content-type", "application/json")
        parts = chunks if chunks is not None else [raw or b""]
        if chunks is None and raw is not None:
            sent["content-length"] = str(len(raw))
        messages = [
            {"type": "http.request", "body": part, "more_body": index < len(parts) - 1}
            for index, part in enumerate(parts)
        ]
        started: dict[str, Any] = {}
        payload = bytearray()

        async def receive() -> dict[str, Any]:
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                started.update(message)
            else:
                payload.extend(message.get("body", b""))

        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
            "method": method, "scheme": "http", "path": raw_path, "raw_path": raw_path.encode("latin-1"),
            "query_string": query.encode("latin-1"), "root_path": "", "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in sent.items()],
        }  # fmt: skip
        await self.app(scope, receive, send)
        replied = {name.decode(): value.decode("latin-1") for name, value in started["headers"]}
        return Reply(started["status"], replied, bytes(payload), started["headers"])

    async def get(self, target: str, **more: Any) -> Reply:
        return await self.ask("GET", target, **more)

    async def post(self, target: str, body: Any = None, **more: Any) -> Reply:
        return await self.ask("POST", target, body, **more)


class World(Caller):
    """An API with its storage."""

    def __init__(self, body_bytes_max: int = 8 * 1024 * 1024, body_s_max: float = 30.0) -> None:
        self.database = MemoryDatabase(PARTITIONS)
        self.gateway = InProcessGateway(self.database)
        self.ledger = MemoryLedger(self.database)
        self.app = create_app(
            self.gateway,
            SpanningReservations(self.gateway),
            self.ledger,
            MemoryReadModel(self.database),
            ApiOptions(tokens=(TOKEN,), body_bytes_max=body_bytes_max, body_s_max=body_s_max),
        )

    async def stocked(self, quantity: int = 10, **more: Any) -> dict[str, Any]:
        body = {"site": "berlin", "sku": "apple", "location": "A-1", "quantity": quantity, **more}
        reply = await self.post("/v1/stock/receive", body)
        assert reply.status == 201, reply.body
        return reply.body

    def balance(self) -> list[tuple[int, int, int]]:
        """On hand, reserved and held of every lot: what must not change when something is refused."""
        return [
            (lot.on_hand, lot.reserved, lot.held)
            for partition in self.gateway.state
            for stock in partition.stocks.values()
            for bin_ in stock.bins.values()
            for lot in bin_.lots
        ]


def skus_apart(site: str = "berlin", count: int = 2) -> list[str]:
    """SKUs that lie in different partitions."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < count:
        sku = f"sku-{number}"
        found.setdefault(partition_of(site, sku, PARTITIONS), sku)
        number += 1
    return list(found.values())


def unknown_id() -> str:
    """The id of a reservation that is not there."""
    return reservation_id(1, 999_999, NOW_MS)
