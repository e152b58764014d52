"""Bugs that only a judge sees who compares everything: what was asked, done, shown and kept.

Each is (name, the promises that it breaks, what is put in place of which attributes or items of a dict).
`simulation.mutants` takes them.
"""

from typing import Any

import msgspec

from actors import courier, host, intake, stock_broadcast
from actors.auditor import Auditor
from actors.frames import encode, fingerprint_of
from actors.host import Host
from actors.messages import ledger_messages, stock_messages
from actors.outcomes import Answered
from actors.requests import Request, Status
from actors.reservations import SpanningReservations
from actors.shares import Shares, joined
from engine import commands as c
from engine import decide, images, moving, reserving, views
from engine.decide import DECIDERS
from engine.entries import Kind
from engine.refusals import Refusal, Refused, refused

_handle = Host.handle
_reserve_all = SpanningReservations.reserve
_fingerprint = fingerprint_of
_show_bin, _show_stock, _show_reservation = views.bin_view, views.stock_view, views.reservation_view
_explain = views.explain_view
_show_count = views._ANSWERS[c.CountStock]
_show_pick = views._ANSWERS[c.PickStock]
_extend = DECIDERS[c.ExtendReservation]
_capture_reservation, _capture_stock = images._capture_reservation, images._capture_stock
_stock_messages, _ledger_messages = stock_messages, ledger_messages


def _not_at_shares(command: type[c.Command]) -> Any:  # noqa: ANN401
    decider = DECIDERS[command]

    def note(partition: Any, command: Any, draft: Any) -> Refused | None:  # noqa: ANN401
        reservation = partition.reservations.get(command.number)
        if not command.is_share or reservation is None:
            return decider(partition, command, draft)
        draft.note(Kind.REQUEST_NOTED, reservation=command.number, expires_at_ms=reservation.expires_at_ms)
        return None

    return note


def _record_unasked(self: Host, owned: Any, command: c.Command) -> None:  # noqa: ANN401
    outcome = decide.decide(owned.state, command, self.clock())
    if not isinstance(outcome, Refused):
        self._record(owned, outcome)


def _receive_again(self: Host, owned: Any, request: Request) -> None:  # noqa: ANN401
    seq = owned.state.seq
    _handle(self, owned, request)
    if type(request.command) is c.ReceiveStock and request.status == Status.ANSWERED and seq % 7 == 0:
        _record_unasked(self, owned, request.command)


def _release_unasked(self: Host, owned: Any, request: Request) -> None:  # noqa: ANN401
    _handle(self, owned, request)
    if type(request.command) is c.ReserveStock and owned.state.seq % 11 == 0:
        found = [one for one in owned.state.reservations.values() if one.open and one.attempt is None]
        for one in found[-1:]:
            _record_unasked(self, owned, c.ReleaseReservation(one.number, one.opened_at_ms))


async def _never_several(self: SpanningReservations, lines: Any, **named: Any) -> Any:  # noqa: ANN401
    if len(lines) == 1:
        return await _reserve_all(self, lines, **named)
    line = lines[0]
    return refused(
        Refusal.INSUFFICIENT_STOCK, site=line.site, sku=line.sku, line=line.index, requested=line.quantity,
        available=0, pending=0,
    )  # fmt: skip


def _never_the_first(self: Host, owned: Any, request: Request) -> None:  # noqa: ANN401
    if type(request.command) is c.ReserveStock and request.command.lines[0].sku == "SKU-0":
        line = request.command.lines[0]
        fields = {"site": line.site, "sku": line.sku, "line": line.index, "requested": line.quantity}
        refusal = Refused(Refusal.INSUFFICIENT_STOCK, {**fields, "available": 0, "pending": 0})
        self.refuse(request, refusal)
        return
    _handle(self, owned, request)


def _sparing(partition: Any, command: c.ReserveStock, draft: Any) -> Refused | None:  # noqa: ANN401
    if command.partial:
        lines = tuple(line._replace(quantity=max(1, line.quantity - 1)) for line in command.lines)
        command = command._replace(lines=lines)
    return reserving.reserve(partition, command, draft)


def _never_straight(*_: object) -> None:
    return None


def _fewer_days(partition: Any, command: c.ExtendReservation, draft: Any) -> Refused | None:  # noqa: ANN401
    refusal: Refused | None = _extend(partition, command._replace(ttl_s=max(1, command.ttl_s - 1)), draft)
    return refusal


def _for_no_reason(partition: Any, command: c.HoldStock, draft: Any) -> Refused | None:  # noqa: ANN401
    return moving.hold(partition, command._replace(reason="other"), draft)


def _shown_with(show: Any, **wrong: Any) -> Any:  # noqa: ANN401
    """Return a view with some of its fields made wrong by functions of the right ones."""

    def shown(*args: Any) -> Any:  # noqa: ANN401
        view = show(*args)
        return {**view, **{name: change(view[name]) for name, change in wrong.items()}}

    return shown


def _all_but_the_last(listed: list[Any]) -> list[Any]:
    return listed[:-1]


def _none_tentative(listed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**one, "tentative": False} for one in listed]


def _more(units: int) -> int:
    return units + 1


def _none(_: object) -> list[Any]:
    return []


def _line_of_more(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**line, "requested": line["requested"] + 1} for line in lines]


async def _without_shares(_: Shares, home: Answered) -> Answered:
    return Answered(joined([home.view]), home.replayed)


def _as_receives_only(command: Any, name: str, *rest: Any) -> int:  # noqa: ANN401
    return _fingerprint(command, name, *rest) if type(command) is c.ReceiveStock else 1


async def _without_lots(*args: Any) -> list[Any]:  # noqa: ANN401
    messages = await _stock_messages(*args)
    return [
        message._replace(payload=encode({**msgspec.msgpack.decode(message.payload), "lots": []}))
        for message in messages
    ]


def _without_the_second(partition: int, entries: list[Any]) -> list[Any]:
    messages = _ledger_messages(partition, entries)
    if len(entries) < 3:  # First and last stay.
        return messages
    body = msgspec.msgpack.decode(messages[0].payload)
    del body["entries"][1]
    return [messages[0]._replace(payload=encode(body)), *messages[1:]]


def _only_open(partition: int, reservation: Any, rows: Any) -> None:  # noqa: ANN401
    if reservation.open:
        _capture_reservation(partition, reservation, rows)


def _row_less(**wrong: Any) -> Any:  # noqa: ANN401
    def capture(partition: int, reservation: Any, rows: Any) -> None:  # noqa: ANN401
        _capture_reservation(partition, reservation, rows)
        rows.reservations[-1] = rows.reservations[-1]._replace(**wrong)

    return capture


def _undated(partition: int, stock: Any, lots: list[Any]) -> None:  # noqa: ANN401
    _capture_stock(partition, stock, lots)
    lots[:] = [lot._replace(expires_at_ms=None) for lot in lots]


async def _idle(_: Auditor) -> None:
    pass


_CHANGES = (c.PickReservation, c.ReleaseReservation, c.ExtendReservation)

SEEDED: tuple[tuple[Any, ...], ...] = (
    ("changes of shares do nothing", "P1", *((DECIDERS, one, _not_at_shares(one)) for one in _CHANGES)),
    ("stock is received again without a key", "P3", (Host, "handle", _receive_again)),
    ("units are released that nobody released", "P3", (Host, "handle", _release_unasked)),
    ("several SKUs are never reserved together", "P5", (SpanningReservations, "reserve", _never_several)),
    ("SKU-0 is never reserved", "P5", (Host, "handle", _never_the_first)),
    (
        "a part is a unit less than there is", "P1", (DECIDERS, c.ReserveStock, _sparing),
        (decide, "reserve_straight", _never_straight),
    ),
    ("extensions are a second too short", "P1", (DECIDERS, c.ExtendReservation, _fewer_days)),
    ("units are held for another reason", "P1", (DECIDERS, c.HoldStock, _for_no_reason)),
    ("available is shown wrong", "P5", (host, "bin_view", _shown_with(_show_bin, available=_more))),
    ("lots are not shown", "P5", (host, "bin_view", _shown_with(_show_bin, lots=_none))),
    (
        "the sum of a stock is shown wrong", "P5",
        (host, "stock_view", _shown_with(_show_stock, on_hand=_more)),
    ),
    (
        "the variance of a count is shown wrong", "P5",
        (views._ANSWERS, c.CountStock, _shown_with(_show_count, variance=_more)),
    ),
    (
        "what was picked from is not shown", "P5",
        (views._ANSWERS, c.PickStock, _shown_with(_show_pick, allocations=_none)),
    ),
    (
        "a reservation's state is shown wrong", "P5",
        (views, "reservation_view", _shown_with(_show_reservation, state=lambda _: "picked")),
    ),
    (
        "a reservation's date is not shown", "P5",
        (views, "reservation_view", _shown_with(_show_reservation, expires_at=lambda _: None)),
    ),
    (
        "more is shown as requested than was", "P5",
        (views, "reservation_view", _shown_with(_show_reservation, lines=_line_of_more)),
    ),
    (
        "an explanation lacks a reservation", "P5",
        (host, "explain_view", _shown_with(_explain, reservations=_all_but_the_last)),
    ),
    (
        "an explanation lacks what is held", "P5",
        (host, "explain_view", _shown_with(_explain, holds=_all_but_the_last)),
    ),
    (
        "what is tentative is explained as final", "P5",
        (host, "explain_view", _shown_with(_explain, reservations=_none_tentative)),
    ),
    ("an explanation is of a later entry", "P5", (host, "explain_view", _shown_with(_explain, seq=_more))),
    ("a reservation is read without its shares", "P5", (Shares, "now", _without_shares)),
    (
        "another body passes for all but receives", "P3",
        (intake, "fingerprint_of", _as_receives_only),
    ),
    ("lots are not broadcast", "P5", (stock_broadcast, "stock_messages", _without_lots)),
    ("an entry is left out of a message", "P8", (courier, "ledger_messages", _without_the_second)),
    ("the auditor never looks", "P7", (Auditor, "round", _idle)),
    ("what is resolved has no row", "P5 P7", (images, "_capture_reservation", _only_open)),
    ("rows lose the reference", "P5 P7", (images, "_capture_reservation", _row_less(reference=None))),
    ("rows have another state", "P7", (images, "_capture_reservation", _row_less(state="held"))),
    ("rows of lots lose the date", "P5 P7", (images, "_capture_stock", _undated)),
)  # fmt: skip
"""Found within a few histories, each by a promise that it breaks."""
