"""The shares of a reservation that spans partitions: read and joined to one, and changed together.

A change has been noted at home under the caller's key when it comes here. Each share is changed under a key
that follows from it. What a share answers shows it right after its step, so that a repeat, which gets the
first answer of each, shows the first answer of all.
"""

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

from actors.outcomes import Answered, Fault, Outcome, OutcomeUnknown
from actors.ports import Gateway
from actors.queries import ReadReservation, RecallReservation
from engine.commands import ConfirmReservation, ExtendReservation, PickReservation, ReleaseReservation
from engine.partitioning import ReservationAddress, reservation_address
from engine.refusals import Refusal, Refused, refused
from engine.views import View, state_of

Change = PickReservation | ReleaseReservation | ExtendReservation

_WEIGHTS = {Refusal.IDEMPOTENCY_KEY_REUSED: 0, Refusal.RESERVATION_RESOLVED: 2}
"""Which refusal of several shares is told: the least, and 1 for all others."""

_INTERNAL = frozenset({"home", "parts", "tentative", "expires_at_ms"})
_OPEN = frozenset({"held", "part_picked"})
"""States of a share that can still change."""
_PARTLY = "it happened, or a part of it: send the same key again"


class Shares:
    """Reaches the shares of reservations whose home partition has answered."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    # Reading

    async def read(
        self, home: Answered, query: type[ReadReservation | RecallReservation] = ReadReservation
    ) -> list[View]:
        """Return the shares without home's: as they are, or by another query. Raises Fault."""
        asked = [
            self._gateway.query(number, query(reservation, opened_at_ms))
            for number, reservation, opened_at_ms in home.view["parts"]
        ]
        views = []
        for outcome in await asyncio.gather(*asked):
            assert isinstance(outcome, Answered), "a share of a decided reservation is not there"
            views.append(outcome.view)
        return views

    async def now(self, home: Answered) -> Answered:
        """Return the reservation with the lines of all its shares, as they are now. Raises Fault."""
        shares = await self.read(home) if home.view.get("parts") else []
        return Answered(joined([home.view, *shares]), home.replayed)

    async def at_first(self, home: Answered) -> Answered:
        """Return the reservation as it was when it was made, for a repeat of the request."""
        with _has_happened():
            shares = await self.read(home, RecallReservation)
        return Answered(joined([home.view, *shares]), home.replayed)

    # Changing

    async def change(self, home: Answered, command: Change, key: str) -> Outcome:
        """Change the shares that a change of the whole is about, after home has noted it.

        A repeat finishes what a crash left undone: a share that is resolved already stays as it is, and is no
        reason to refuse. Any other refusal of a share is the answer; when other shares did change, its field
        `changed` names their SKUs. Once a share has answered, or may have, no fault says that nothing
        happened. Units of a quantity must lie in one share.
        """
        sku = getattr(command, "sku", None)
        with _has_happened() if home.replayed else nullcontext():
            views = [home.view, *await self.read(home)]
        concerned = [view for view in views if any(sku in (None, line["sku"]) for line in view["lines"])]
        if not concerned:
            return refused(Refusal.SKU_NOT_RESERVED, sku=sku)
        if getattr(command, "quantity", None) is not None and len(concerned) > 1:
            return refused(Refusal.SKU_REQUIRED)
        with _has_happened() if home.replayed else nullcontext():
            await self._confirm_late(home, views, key)
        outcomes = await asyncio.gather(*self._steps(concerned, command, key), return_exceptions=True)
        _raise_fault(outcomes)
        answered = [outcome for outcome in outcomes if isinstance(outcome, Answered)]
        refusals = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
        refusals.sort(key=lambda refusal: _WEIGHTS.get(refusal.code, 1))
        if not answered:
            return refusals[0]
        is_replayed = all(outcome.replayed for outcome in answered)
        if refusals and refusals[0].code != Refusal.RESERVATION_RESOLVED:
            lines = [line for outcome in answered for line in outcome.view["lines"]]
            skus = sorted({line["sku"] for line in lines if sku in (None, line["sku"])})
            fields = {**refusals[0].fields, "changed": skus}
            return Refused(refusals[0].code, fields, refusals[0].replayed and is_replayed)
        changed = {outcome.view["id"]: outcome.view for outcome in answered}
        others = [view for view in views if view["id"] not in changed]
        with _has_happened():
            shown = await self._shown(others, command, key)
        return Answered(joined([changed.get(view["id"]) or shown[view["id"]] for view in views]), is_replayed)

    def _steps(self, views: list[View], command: Change, key: str) -> list[Awaitable[Outcome]]:
        """Send each of these shares its own command."""
        asked = []
        for view in views:
            share = address_of(view)
            step = command._replace(number=share.number, opened_at_ms=share.opened_at_ms, is_share=True)
            asked.append(self._gateway.submit(share.partition, step, f"{key} {share.partition}"))
        return asked

    async def _shown(self, views: list[View], command: Change, key: str) -> dict[str, View]:
        """Return shares that were not changed, by id, as a repeat will be shown them too. Raises Fault.

        Each notes this instant under the key of its step, unless a repeat that overtook us had it noted
        already. One that is over has nothing to note, and stays as it is for ever.
        """
        shown = {}
        for view, noted in zip(views, await asyncio.gather(*self._steps(views, command, key)), strict=True):
            outcome = noted
            if isinstance(noted, Refused) and view["state"] in _OPEN:
                partition, number, opened_at_ms = address_of(view)
                outcome = await self._gateway.query(partition, ReadReservation(number, opened_at_ms))
            shown[view["id"]] = outcome.view if isinstance(outcome, Answered) else view
        return shown

    async def _confirm_late(self, home: Answered, views: list[View], key: str) -> None:
        """Make shares final whose coordinator was killed after the decision. Raises Fault."""
        asked = []
        for view in views:
            if view["tentative"]:
                share = address_of(view)
                command = ConfirmReservation(
                    share.number, share.opened_at_ms, address_of(home.view).number, home.view["expires_at_ms"]
                )
                asked.append(
                    self._gateway.submit(share.partition, command, f"{key} confirm {share.partition}")
                )
        await asyncio.gather(*asked)


def address_of(view: View) -> ReservationAddress:
    """Return where a reservation or share lies that a host has shown."""
    address = reservation_address(view["id"])
    assert address is not None
    return address


def joined(views: Sequence[View]) -> View:
    """Return one reservation from its home's view and its shares'."""
    lines = sorted((line for view in views for line in view["lines"]), key=lambda line: line["line"])
    home = {name: value for name, value in views[0].items() if name not in _INTERNAL}
    return {**home, "state": state_of(lines), "lines": lines}


def _raise_fault(outcomes: Sequence[Outcome | BaseException]) -> None:
    """Raise what went wrong with any of several steps: unknown, as soon as one of them may have happened."""
    faults = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    for fault in faults:
        if not isinstance(fault, Fault):
            raise fault
    if faults and any(isinstance(outcome, Answered | OutcomeUnknown) for outcome in outcomes):
        raise OutcomeUnknown(_PARTLY) from faults[0]
    if faults:
        raise faults[0]


@contextmanager
def _has_happened() -> Iterator[None]:
    """Let no fault say that nothing happened."""
    try:
        yield
    except Fault as fault:
        raise OutcomeUnknown(_PARTLY) from fault
