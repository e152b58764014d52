"""Answers that only the ledger knows: those to old keys, and reservations as they were at first.

They show what was committed long ago, so that nothing needs to be committed, and nobody's ownership checked.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from actors.first_answer import first_answer
from actors.frames import encode
from actors.rebuilding import Misfit, changed_row
from actors.requests import Request, Status
from actors.retrying import until_available
from engine.apply import UNFIT
from engine.commands import ReserveStock
from engine.refusals import Refusal
from persistence.ports import RowsChanged

if TYPE_CHECKING:
    from actors.host import Host
    from actors.queries import RecallReservation
    from engine.entries import Entry
    from engine.views import View

_AT_ONCE_MAX = 8
"""Answers that are worked out at once."""


class LookingBack:
    """Works answers out from the ledger, for a host."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._room = asyncio.Semaphore(_AT_ONCE_MAX)

    async def repeat(self, request: Request, first: Entry) -> None:
        """Answer a key that was used long ago as the first time; `first` is its command's first entry."""
        host = self._host

        async def look() -> View:
            async with self._room:
                return await first_answer(host.ledger, request.command, first)

        try:
            view = await until_available(look, host.sleep)
        except RowsChanged as fault:
            self._refuse_changed(request, fault)
            return
        except UNFIT as fault:
            self._refuse(request, first.partition, first.seq, fault)
            return
        request.status, request.encoded = Status.REPLAYED, encode(view)
        host.gauges.operations[request.name, "replayed"] += 1
        if request.key is not None:
            host.keys.remember(request.key, request.fingerprint, Status.ANSWERED, request.encoded, first)
        host.let_go([request])

    async def recall(self, request: Request, query: RecallReservation) -> None:
        """Answer with a reservation as it was when it was made."""
        host = self._host

        async def look() -> View | None:
            async with self._room:
                for first in await host.ledger.at([(request.partition, query.number)]):
                    if first.reservation == query.number and first.at_ms == query.opened_at_ms:
                        # Whatever command reserved, its answer shows the reservation.
                        return await first_answer(host.ledger, ReserveStock(()), first)
            return None

        try:
            view = await until_available(look, host.sleep)
        except RowsChanged as fault:
            self._refuse_changed(request, fault)
            return
        except UNFIT as fault:
            self._refuse(request, request.partition, query.number, fault)
            return
        outcome = "ok" if view is not None else Refusal.RESERVATION_NOT_FOUND
        if view is not None:
            request.status, request.encoded = Status.ANSWERED, encode(view)
        else:
            request.status, request.encoded = Status.REFUSED, encode((outcome, {}))
        host.gauges.operations[request.name, outcome] += 1
        host.let_go([request])

    def _refuse_changed(self, request: Request, fault: RowsChanged) -> None:
        """Stop to serve partitions in which a row that says what was answered is not as it was written."""
        self._host.ownership.refuse_changed(fault)
        number, seq = min(fault.places.items())
        self._host.ownership.tell_refused([request], changed_row(number, seq))

    def _refuse(self, request: Request, partition: int, seq: int, fault: Exception) -> None:
        """Stop to serve a partition whose entries do not say any more what was answered."""
        owned = self._host.owned.get(partition)
        if owned is not None:
            why = f"what was answered then cannot be worked out again: {fault!r}"
            self._host.ownership.refuse(owned, Misfit(partition, seq, why))
        self._host.ownership.give_back([request])
