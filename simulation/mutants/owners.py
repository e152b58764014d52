"""Bugs of what hosts and gateways have to remember: commits, claims, keys, snapshots, cursors.

Each is (name, the promises that it breaks, what is put in place of which attributes).
"""

from __future__ import annotations

import asyncio
from typing import Any

from actors import gateway, host, ownership
from actors.committer import Batch, Committer
from actors.courier import Courier
from actors.gateway import LaneGateway
from actors.host import Host
from actors.image import Image
from actors.key_window import KeyWindow
from actors.loader import Loaded, Loader
from actors.outcomes import Unavailable
from actors.overtaken import Overtaken
from actors.ownership import Ownership
from actors.queries import QUERY_NAMES, ReadStock
from actors.read_gate import ReadGate
from actors.recovery import restore_partitions
from actors.requests import Request, Status
from actors.reservations import SpanningReservations
from actors.snapshotter import Snapshotter
from actors.stock_broadcast import StockBroadcast
from engine import views
from engine.commands import MoveStock
from engine.images import Rows
from persistence.memory import MemorySnapshots
from simulation.storage import Flight, RemoteLedger


async def _answer_first(self: Committer, batch: Batch) -> None:
    self._gate.committed(batch)
    if batch.entries:
        await self._append(batch)


async def _broadcast_first(self: Committer, batch: Batch) -> None:
    for listener in self._gate.on_committed:  # type: ignore[attr-defined]
        listener(batch)
    await _commit(self, batch)


_commit = Committer._commit
_show_stock = views.stock_view
_publish = Courier._publish
_begin_image = Image.__init__
_handle = Host.handle
_lose = LaneGateway._lost


async def _is_there(*_: object) -> bool:
    return True


async def _nobody(*_: object) -> set[tuple[int, int]]:
    return set()


async def _nothing(*_: object) -> None:
    return None


def _forget(*_: object, **__: object) -> None:
    pass


def _nothing_happened(_: object) -> Unavailable:
    return Unavailable("nothing happened")


def _read_at_once(self: Host, owned: Any, request: Request) -> None:  # noqa: ANN401
    _handle(self, owned, request)
    if type(request.command) in QUERY_NAMES and request in self.committer.open.requests:
        self.committer.open.requests.remove(request)
        self.let_go([request])


async def _skip_to_now(self: Courier, numbers: list[int]) -> None:
    for number in numbers:
        track = self._tracks[number]
        track.cursor = track.committed_seq


def _without_tail(host_: Host, recovery: Any) -> Any:  # noqa: ANN401
    """Leave the tail out, and tell nobody that something is missing."""
    misfits = restore_partitions(host_, recovery._replace(tail=[]))
    for head in recovery.heads:
        owned = host_.owned.get(head.partition)
        if owned is not None and head.partition in misfits:
            owned.state.seq = head.seq
            del misfits[head.partition]
    return misfits


def _under_new_keys(self: LaneGateway, lane: Any) -> None:  # noqa: ANN401
    for pending in self._pending.values():
        if pending.lane is lane and pending.key is not None:
            pending.key += "'"
    _lose(self, lane)


async def _empty(*_: object) -> Loaded:
    return Loaded(Rows([], [], []), {})


def _without_claim_check(self: RemoteLedger, flight: Flight, *rest: Any) -> None:  # noqa: ANN401
    """Let a batch follow whatever is there, whoever has written that."""
    heads: dict[int, int] = {}
    moved = []
    for entry in flight.entries:
        before = heads.get(entry.partition)
        if before is None:
            before = max(entry.seq - 1, len(self._storage.database.partitions[entry.partition].ledger))
        heads[entry.partition] = before + 1
        moved.append(entry._replace(seq=before + 1))
    flight.entries = tuple(moved)
    _arrive(self, flight, *rest)


_arrive = RemoteLedger._commit
_submit = LaneGateway.submit
_query = LaneGateway.query


def _no_moves(self: LaneGateway, partition: int, command: Any, key: str) -> Any:  # noqa: ANN401
    if type(command) is MoveStock:
        raise Unavailable("nothing is moved today")
    return _submit(self, partition, command, key)


def _no_answer(self: LaneGateway, partition: int, query: Any) -> Any:  # noqa: ANN401
    loop: Any = asyncio.get_running_loop()
    return loop.create_future() if loop.time() > 10 else _query(self, partition, query)


_repeat = Host._repeat


def _same_body(self: Host, request: Request, remembered: Any) -> None:  # noqa: ANN401
    _repeat(self, request, remembered._replace(fingerprint=request.fingerprint))


async def _unfenced(self: MemorySnapshots, epochs: Any, rows: Rows) -> frozenset[int]:  # noqa: ANN401
    for number, (_, seq, at_ms) in epochs.items():
        self._database.write(number, rows)
        tables = self._database.partitions[number]
        tables.snapshot_seq, tables.snapshot_at_ms = seq, at_ms
    return frozenset()


def _not_found_at_times(self: Host, owned: Any, request: Request) -> None:  # noqa: ANN401
    if type(request.command) is ReadStock and owned.state.seq % 7 == 0:
        request.command = request.command._replace(sku="SKU-0'")
    _handle(self, owned, request)


def _send_away(self: Ownership, requests: list[Request]) -> None:
    for request in requests:
        self.forget(request)
        self._host.in_flight -= 1
        self._host.turn_away(request, Status.UNAVAILABLE)


def _settle_silently(self: StockBroadcast, number: int, _: object) -> None:
    del self._doubts[number]


def _forget_at_times(self: Image, owned: Any) -> None:  # noqa: ANN401
    if owned.state.seq % 7 == 0 and owned.dirty_stocks:
        owned.dirty_stocks.remove(min(owned.dirty_stocks))
    _begin_image(self, owned)


def _short_of_a_bin(stock: Any, seq: int) -> Any:  # noqa: ANN401
    view = _show_stock(stock, seq)
    return {**view, "bins": view["bins"][:-1]}


async def _fail(*_: object, **__: object) -> None:
    raise ValueError("seeded")


async def _publish_again(self: Courier, messages: list[Any]) -> None:
    before = self.__dict__.get("before", [])
    if messages and messages[0].subject.startswith("stock."):
        self.__dict__["before"] = messages
    await _publish(self, [*messages, *before])


_WHOLE = property(lambda _: True, lambda _, __: None)
"""A key window that says it knows all keys, whatever it knows."""


SEEDED: tuple[tuple[Any, ...], ...] = (
    ("answers leave before the commit", "P1", (Committer, "_commit", _answer_first)),
    ("reads leave before the commit", "P5", (Host, "handle", _read_at_once)),
    ("a deposed owner's reads are not checked", "P5", (ReadGate, "_lost", _nobody)),
    ("a commit does not check the claim", "P4", (RemoteLedger, "_commit", _without_claim_check)),
    ("keys are not recovered", "P3", (KeyWindow, "recall", _forget), (KeyWindow, "is_whole", _WHOLE)),
    ("an unknown commit is taken for done", "P1", (Committer, "_find_out", _is_there)),
    ("what a broken lane had gets new keys", "P3 P6", (LaneGateway, "_lost", _under_new_keys)),
    ("a late answer is told as nothing happened", "P6", (gateway, "late", _nothing_happened)),
    ("another body under a key is let through", "P3", (Host, "_repeat", _same_body)),
    ("a refusal is not in doubt without its key", "P3", (KeyWindow, "is_whole", _WHOLE)),
    ("a resting stock is taken for empty", "P2 P5", (Loader, "load", _empty)),
    ("the ledger's tail is not applied", "P2 P5", (ownership, "restore_partitions", _without_tail)),
    ("a snapshot is ahead of the ledger", "P7", (Snapshotter, "_durable", _nothing)),
    ("a deposed owner writes snapshots", "P7", (MemorySnapshots, "save", _unfenced)),
    ("the courier forgets its cursor", "P8", (Courier, "_find_cursors", _skip_to_now)),
    ("entries are broadcast before the commit", "P5", (Committer, "_commit", _broadcast_first)),
    ("stocks are not found at times", "P5", (Host, "handle", _not_found_at_times)),
    ("a snapshot forgets a stock at times", "P7", (Image, "__init__", _forget_at_times)),
    ("a stock is shown without its last bin", "P5", (host, "stock_view", _short_of_a_bin)),
    ("an error in a task is left alone", "liveness", (SpanningReservations, "extend", _fail)),
    ("what others overtook is not said again", "P8", (Overtaken, "doubt", _forget)),
    ("what a broken connection had is not repeated", "P8", (StockBroadcast, "repeat_later", _forget)),
    ("what the dead had is repeated too early only", "P8", (StockBroadcast, "_settle", _settle_silently)),
    ("old states are broadcast again", "P8", (Courier, "_publish", _publish_again)),
    ("who waits for a move is sent away", "liveness", (Ownership, "give_back", _send_away)),
    ("no move is ever carried out", "liveness", (LaneGateway, "submit", _no_moves)),
    ("a gateway forgets whom it asked", "liveness", (LaneGateway, "query", _no_answer)),
)
