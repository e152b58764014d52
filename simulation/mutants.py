"""Bugs that the simulator has to find: each breaks one thing that the product does right.

A simulator that finds nothing says little; one that finds these within a few hundred histories is awake. Each
is a patch of the running code, for the time of a run.
"""

import asyncio
import inspect
import textwrap
from contextlib import AbstractContextManager, ExitStack
from typing import Any
from unittest.mock import patch

from actors import gateway, host, ownership
from actors.committer import Batch, Committer
from actors.courier import Courier
from actors.gateway import LaneGateway
from actors.host import Host
from actors.image import Image
from actors.key_window import KeyWindow
from actors.loader import Loaded, Loader
from actors.outcomes import Unavailable
from actors.queries import QUERY_NAMES, ReadStock
from actors.read_gate import ReadGate
from actors.recovery import restore_partitions
from actors.requests import Request
from actors.reservations import SpanningReservations
from actors.snapshotter import Snapshotter
from engine import apply, apply_reservation, decide, moving, spanning, views
from engine.commands import (
    ExpireStock,
    HoldStock,
    MoveStock,
    ReceiveStock,
    ReserveStock,
    ReserveTentatively,
    ReserveTogether,
)
from engine.draft import Draft
from engine.entries import Kind
from engine.images import Rows
from engine.refusals import Refusal, refused
from engine.straight import reserve_straight
from persistence.memory import MemoryDatabase, MemorySnapshots, database
from simulation.misdeeds import SEEDED
from simulation.storage import Flight, RemoteLedger
from simulation.world import EPOCH_MS


class Mutant:
    """One seeded bug: what is put in place of which attributes, or items of a dict."""

    def __init__(self, name: str, breaks: str, *changes: tuple[Any, Any, object]) -> None:
        self.name = name
        self.promises = frozenset(breaks.split())
        """Those that it breaks. A finding counts that names one of them."""
        self._changes = changes

    def is_named_by(self, violation: str | None) -> bool:
        """Whether a violation is about a promise that this bug breaks."""
        return violation is not None and violation.partition(":")[0] in self.promises

    def patch(self) -> AbstractContextManager[Any]:
        """Return the bug, for the length of a block."""
        stack = ExitStack()
        for target, name, value in self._changes:
            is_item = isinstance(target, dict)
            change: Any = patch.dict(target, {name: value}) if is_item else patch.object(target, name, value)
            stack.enter_context(change)
        return stack


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
_leave = apply_reservation._leave
_together = spanning.reserve_together


async def _is_there(*_: object) -> bool:
    return True


async def _nobody(*_: object) -> set[tuple[int, int]]:
    return set()


async def _nothing(*_: object) -> None:
    return None


def _forget(*_: object) -> None:
    pass


def _nothing_happened(_: object) -> Unavailable:
    return Unavailable("nothing happened")


def _read_at_once(self: Host, owned: Any, request: Request) -> None:  # noqa: ANN401
    _handle(self, owned, request)
    if type(request.command) in QUERY_NAMES and request in self.committer.open.requests:
        self.committer.open.requests.remove(request)
        self.let_go([request])


def _expire_early(partition: Any, command: ExpireStock, draft: Any) -> Any:  # noqa: ANN401
    """Expire what is due within three seconds, and date it right."""
    at_ms = draft.at_ms
    draft.at_ms += 3_000
    moving.expire_stock(partition, command, draft)
    draft.at_ms = at_ms
    draft.entries = [entry._replace(at_ms=at_ms) for entry in draft.entries]


def _keep_open(partition: Any, entry: Any, reservation: Any, line: Any, allocation: Any, stock: Any) -> None:  # noqa: ANN401
    _leave(partition, entry, reservation, line, allocation, stock)
    if entry.kind == Kind.STOCK_PICKED:
        allocation.open += entry.quantity
        reservation.open += entry.quantity


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


def _after_it_was_closed(partition: Any, command: ReserveTogether, draft: Any) -> Any:  # noqa: ANN401
    if command.opened_seq:
        command = command._replace(opened_seq=partition.seq)
    return _together(partition, command, draft)


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


def _by_the_clients_clock(self: LaneGateway, partition: int, command: Any, key: str) -> Any:  # noqa: ANN401
    """Have reservations end when the gateway's clock says, as if it sent an instant instead of a time."""
    if type(command) is ReserveStock and command.ttl_s is not None:
        loop: Any = asyncio.get_running_loop()
        ahead_s = loop.clock_ahead_ms.get(loop.process().name, 0) // 1_000
        command = command._replace(ttl_s=max(1, command.ttl_s + ahead_s))
    return _submit(self, partition, command, key)


def _before_a_strange_deadline(partition: Any, command: ReserveTogether, draft: Any) -> Any:  # noqa: ANN401
    """Refuse what comes after a deadline that was made by a clock which is right."""
    deadline_ms = EPOCH_MS + int(asyncio.get_running_loop().time() * 1_000) + 400
    if draft.at_ms >= deadline_ms:
        return refused(Refusal.ATTEMPT_ABANDONED, attempt=command.attempt, seq=partition.seq)
    return _together(partition, command, draft)


def _no_moves(self: LaneGateway, partition: int, command: Any, key: str) -> Any:  # noqa: ANN401
    if type(command) is MoveStock:
        raise Unavailable("nothing is moved today")
    return _submit(self, partition, command, key)


def _no_answer(self: LaneGateway, partition: int, query: Any) -> Any:  # noqa: ANN401
    loop: Any = asyncio.get_running_loop()
    return loop.create_future() if loop.time() > 10 else _query(self, partition, query)


def _unasserted(function: Any) -> Any:  # noqa: ANN401
    """Return a function without its assertions: so the referee alone can see what they would have stopped."""
    source = textwrap.dedent(inspect.getsource(function))
    names: dict[str, Any] = {}
    code = compile(
        f"from __future__ import annotations\n{source}", inspect.getfile(function), "exec", optimize=1
    )
    exec(code, function.__globals__, names)  # noqa: S102 - it is our own code
    return names[function.__name__]


_UNASSERTED = (
    (apply, "_apply_to_lot", _unasserted(apply._apply_to_lot)),
    (apply, "_apply_opening", _unasserted(apply._apply_opening)),
    (Draft, "change", _unasserted(Draft.change)),
    (database, "check", _forget),
    (MemoryDatabase, "write", _unasserted(MemoryDatabase.write)),
)
"""The engine's and the database's own defences, off."""


_repeat = Host._repeat


def _same_body(self: Host, request: Request, remembered: Any) -> None:  # noqa: ANN401
    _repeat(self, request, remembered._replace(fingerprint=request.fingerprint))


async def _unfenced(self: MemorySnapshots, epochs: Any, rows: Rows) -> frozenset[int]:  # noqa: ANN401
    for number, (_, seq, at_ms) in epochs.items():
        self._database.write(number, rows)
        tables = self._database.partitions[number]
        tables.snapshot_seq, tables.snapshot_at_ms = seq, at_ms
    return frozenset()


def _promise_held(*args: Any) -> Any:  # noqa: ANN401
    command, partition = args[1], args[0]
    site, sku = command.lines[0][:2]
    stock = partition.stocks.get((site, sku))
    lots = [lot for bin_ in stock.bins.values() for lot in bin_.lots] if stock is not None else []
    held = [lot.held for lot in lots]
    for lot in lots:
        lot.held = 0
    try:
        entry = reserve_straight(*args)
    finally:
        for lot, units in zip(lots, held, strict=True):
            lot.held = units
    if entry is None:
        return None
    lot = stock.bins[entry.location].lot(entry.lot)
    return entry._replace(held=lot.held)


def _not_found_at_times(self: Host, owned: Any, request: Request) -> None:  # noqa: ANN401
    if type(request.command) is ReadStock and owned.state.seq % 7 == 0:
        request.command = request.command._replace(sku="SKU-0'")
    _handle(self, owned, request)


def _forget_at_times(self: Image, owned: Any) -> None:  # noqa: ANN401
    if owned.state.seq % 7 == 0 and owned.dirty_stocks:
        owned.dirty_stocks.remove(min(owned.dirty_stocks))
    _begin_image(self, owned)


def _receive_more(partition: Any, command: ReceiveStock, draft: Any) -> Any:  # noqa: ANN401
    return moving.receive(partition, command._replace(quantity=command.quantity + 1), draft)


def _share_less(partition: Any, command: ReserveTentatively, draft: Any) -> Any:  # noqa: ANN401
    lines = tuple(line._replace(quantity=max(1, line.quantity - 1)) for line in command.lines)
    return spanning.reserve_tentatively(partition, command._replace(lines=lines), draft)


def _refuse_at_times(partition: Any, command: HoldStock, draft: Any) -> Any:  # noqa: ANN401
    if partition.seq % 5 == 0:
        return refused(Refusal.INSUFFICIENT_STOCK, requested=command.quantity, available=0)
    return moving.hold(partition, command, draft)


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

MUTANTS = (
    Mutant("answers leave before the commit", "P1", (Committer, "_commit", _answer_first)),
    Mutant("reads leave before the commit", "P5", (Host, "handle", _read_at_once)),
    Mutant("a deposed owner's reads are not checked", "P5", (ReadGate, "_lost", _nobody)),
    Mutant("a commit does not check the claim", "P4", (RemoteLedger, "_commit", _without_claim_check)),
    Mutant("keys are not recovered", "P3", (KeyWindow, "recall", _forget), (KeyWindow, "is_whole", _WHOLE)),
    Mutant("an unknown commit is taken for done", "P1", (Committer, "_find_out", _is_there)),
    Mutant("what a broken lane had gets new keys", "P3 P6", (LaneGateway, "_lost", _under_new_keys)),
    Mutant("a late answer is told as nothing happened", "P6", (gateway, "late", _nothing_happened)),
    Mutant("another body under a key is let through", "P3", (Host, "_repeat", _same_body)),
    Mutant("a refusal is not in doubt without its key", "P3", (KeyWindow, "is_whole", _WHOLE)),
    Mutant("reservations expire early", "P2", (decide.DECIDERS, ExpireStock, _expire_early)),
    Mutant("reservations expire by the client's clock", "P1", (LaneGateway, "submit", _by_the_clients_clock)),
    Mutant("picked units stay open", "P2 P5", (apply_reservation, "_leave", _keep_open)),
    Mutant("held units are promised", "P2", *_UNASSERTED, (decide, "reserve_straight", _promise_held)),
    Mutant("a resting stock is taken for empty", "P2 P5", (Loader, "load", _empty)),
    Mutant("the ledger's tail is not applied", "P2 P5", (ownership, "restore_partitions", _without_tail)),
    Mutant("a snapshot is ahead of the ledger", "P7", (Snapshotter, "_durable", _nothing)),
    Mutant("a deposed owner writes snapshots", "P7", (MemorySnapshots, "save", _unfenced)),
    Mutant("the courier forgets its cursor", "P8", (Courier, "_find_cursors", _skip_to_now)),
    Mutant("entries are broadcast before the commit", "P5", (Committer, "_commit", _broadcast_first)),
    Mutant("stocks are not found at times", "P5", (Host, "handle", _not_found_at_times)),
    Mutant("a snapshot forgets a stock at times", "P7", (Image, "__init__", _forget_at_times)),
    Mutant("holds are refused at times", "P5 liveness", (decide.DECIDERS, HoldStock, _refuse_at_times)),
    Mutant("a share holds one unit less", "P1", (decide.DECIDERS, ReserveTentatively, _share_less)),
    Mutant("a stock is shown without its last bin", "P5", (host, "stock_view", _short_of_a_bin)),
    Mutant("an error in a task is left alone", "liveness", (SpanningReservations, "extend", _fail)),
    Mutant("old states are broadcast again", "P8", (Courier, "_publish", _publish_again)),
    Mutant("one unit more is received than asked", "P1", (decide.DECIDERS, ReceiveStock, _receive_more)),
    Mutant(
        "an attempt is decided after it was closed",
        "P1",
        (decide.DECIDERS, ReserveTogether, _after_it_was_closed),
    ),
    Mutant(
        "attempts are refused by another machine's clock",
        "P5",
        (decide.DECIDERS, ReserveTogether, _before_a_strange_deadline),
    ),
    Mutant("no move is ever carried out", "liveness", (LaneGateway, "submit", _no_moves)),
    Mutant("a gateway forgets whom it asked", "liveness", (LaneGateway, "query", _no_answer)),
    *(Mutant(name, breaks, *changes) for name, breaks, *changes in SEEDED),
)
"""Each is found by `make simulate-mutants`: by the referee, and not by an assertion of the product."""
