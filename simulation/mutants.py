"""Bugs that the simulator has to find: each breaks one thing that the product does right.

A simulator that finds nothing says little; one that finds these within a few hundred histories is awake. Each
is a patch of the running code, for the time of a run.
"""

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
from actors.loader import Loader
from actors.outcomes import Unavailable
from actors.queries import QUERY_NAMES, ReadStock
from actors.read_gate import ReadGate
from actors.recovery import restore_partitions
from actors.requests import Request
from actors.reservations import SpanningReservations
from actors.snapshotter import Snapshotter
from engine import apply_reservation, decide, moving, spanning, views
from engine.commands import ExpireStock, HoldStock, ReceiveStock, ReserveTentatively, ReserveTogether
from engine.entries import Kind
from engine.images import Rows
from engine.refusals import Refusal, refused
from engine.straight import reserve_straight
from persistence.memory import MemorySnapshots
from simulation.misdeeds import SEEDED


class Mutant:
    """One seeded bug: what is put in place of which attributes, or items of a dict."""

    def __init__(self, name: str, *changes: tuple[Any, Any, object]) -> None:
        self.name = name
        self._changes = changes

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


def _expire_early(state: Any, command: Any, now_ms: int, *rest: Any) -> Any:  # noqa: ANN401
    return decide.decide(state, command, now_ms + 3_000 * (type(command) is ExpireStock), *rest)


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
    return restore_partitions(host_, recovery._replace(tail=[]))


def _under_new_keys(self: LaneGateway, lane: Any) -> None:  # noqa: ANN401
    for pending in self._pending.values():
        if pending.lane is lane and pending.key is not None:
            pending.key += "'"
    _lose(self, lane)


def _past_the_deadline(partition: Any, command: ReserveTogether, draft: Any) -> Any:  # noqa: ANN401
    return _together(partition, command._replace(deadline_ms=2**62), draft)


async def _empty(*_: object) -> Rows:
    return Rows([], [], [])


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
        return reserve_straight(*args)
    finally:
        for lot, units in zip(lots, held, strict=True):
            lot.held = units


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
    Mutant("answers leave before the commit", (Committer, "_commit", _answer_first)),
    Mutant("reads leave before the commit", (Host, "handle", _read_at_once)),
    Mutant("a deposed owner's reads are not checked", (ReadGate, "_lost", _nobody)),
    Mutant("keys are not recovered", (KeyWindow, "recall", _forget), (KeyWindow, "is_whole", _WHOLE)),
    Mutant("an unknown commit is taken for done", (Committer, "_find_out", _is_there)),
    Mutant("what a broken lane had gets new keys", (LaneGateway, "_lost", _under_new_keys)),
    Mutant("a late answer is told as nothing happened", (gateway, "late", _nothing_happened)),
    Mutant("another body under a key is let through", (Host, "_repeat", _same_body)),
    Mutant("a refusal is not in doubt without its key", (KeyWindow, "is_whole", _WHOLE)),
    Mutant("reservations expire early", (host, "decide", _expire_early)),
    Mutant("picked units stay open", (apply_reservation, "_leave", _keep_open)),
    Mutant("held units are promised", (decide, "reserve_straight", _promise_held)),
    Mutant("a resting stock is taken for empty", (Loader, "load", _empty)),
    Mutant("the ledger's tail is not applied", (ownership, "restore_partitions", _without_tail)),
    Mutant("a snapshot is ahead of the ledger", (Snapshotter, "_durable", _nothing)),
    Mutant("a deposed owner writes snapshots", (MemorySnapshots, "save", _unfenced)),
    Mutant("the courier forgets its cursor", (Courier, "_find_cursors", _skip_to_now)),
    Mutant("entries are broadcast before the commit", (Committer, "_commit", _broadcast_first)),
    Mutant("stocks are not found at times", (Host, "handle", _not_found_at_times)),
    Mutant("a snapshot forgets a stock at times", (Image, "__init__", _forget_at_times)),
    Mutant("holds are refused at times", (decide.DECIDERS, HoldStock, _refuse_at_times)),
    Mutant("a share holds one unit less", (decide.DECIDERS, ReserveTentatively, _share_less)),
    Mutant("a stock is shown without its last bin", (host, "stock_view", _short_of_a_bin)),
    Mutant("an error in a task is left alone", (SpanningReservations, "extend", _fail)),
    Mutant("old states are broadcast again", (Courier, "_publish", _publish_again)),
    Mutant("one unit more is received than asked", (decide.DECIDERS, ReceiveStock, _receive_more)),
    Mutant(
        "an attempt is decided after its deadline", (decide.DECIDERS, ReserveTogether, _past_the_deadline)
    ),
    *(Mutant(name, *changes) for name, _, *changes in SEEDED),
)
"""Each is found by `make simulate-mutants`."""
