"""Reservations as the public sees them, whatever partitions their lines lie in.

Lines in one partition are one command. Lines in several are held tentatively in all but one, the home
partition; its entry then decides for all; the shares are confirmed after it. The caller is answered when the
decision is durable: a crash before it leaves nothing (each owner asks the home partition when the deadline is
over), one after it leaves everything.
"""

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from actors.frames import encode
from actors.outcomes import Answered, Fault, Outcome, OutcomeUnknown
from actors.ports import Gateway
from actors.queries import ReadReservation
from engine.commands import (
    AbandonReservation,
    ConfirmReservation,
    ExtendReservation,
    PickReservation,
    ReleaseReservation,
    ReserveLine,
    ReserveStock,
    ReserveTentatively,
    ReserveTogether,
)
from engine.partitioning import ReservationAddress, partition_of, reservation_address
from engine.refusals import Refusal, Refused, refused
from engine.views import View, state_of

Lines = tuple[ReserveLine, ...]
_Change = PickReservation | ReleaseReservation | ExtendReservation

_ATTEMPTS_MAX = 6
"""How often lines are tried again that only other undecided attempts stand against."""


@dataclass(frozen=True, slots=True)
class _Request:
    """What the caller asked for."""

    lines: Lines
    ttl_s: int | None
    reference: str | None
    partial: bool
    key: str

    @property
    def fingerprint(self) -> int:
        """A hash that is the same for each attempt at the request."""
        body = encode([self.lines, self.ttl_s, self.reference, self.partial])
        return int.from_bytes(hashlib.blake2b(body, digest_size=8, key=b"together").digest(), "big") >> 1


class SpanningReservations:
    """The coordinator. It keeps nothing that matters: killed at any instant, all lines hold or none."""

    def __init__(
        self,
        gateway: Gateway,
        clock: Callable[[], int],
        *,
        tentative_ttl_s: float = 10.0,
        random_bytes: Callable[[int], bytes] = os.urandom,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._gateway = gateway
        self._clock = clock
        self._tentative_ttl_ms = int(tentative_ttl_s * 1000)
        self._random_bytes = random_bytes
        self._sleep = sleep
        self._running: dict[str, asyncio.Future[Outcome]] = {}

    # Reserving

    async def reserve(
        self,
        lines: Sequence[ReserveLine],
        *,
        ttl_s: int | None,
        reference: str | None,
        partial: bool,
        key: str,
    ) -> Outcome:
        """Reserve all lines or none (with `partial`: what there is). See `actors.ports.Reservations`."""
        by_partition: dict[int, list[ReserveLine]] = {}
        for line in lines:
            number = partition_of(line.site, line.sku, self._gateway.partitions)
            by_partition.setdefault(number, []).append(line)
        if len(by_partition) == 1:
            ((number, own),) = by_partition.items()
            command = ReserveStock(tuple(own), ttl_s, reference, partial)
            return await self._gateway.submit(number, command, key)
        running = self._running.get(key)
        if running is not None:
            await asyncio.wait([running])  # Then the first answer is there to be given again.
        request = _Request(tuple(lines), ttl_s, reference, partial, key)
        done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._running[key] = done
        try:
            return await self._reserve_spanning(
                request, {n: tuple(own) for n, own in sorted(by_partition.items())}
            )
        finally:
            if self._running.get(key) is done:
                del self._running[key]
            done.cancel()

    async def _reserve_spanning(self, request: _Request, shares: dict[int, Lines]) -> Outcome:
        # Asked first, so that a repeat leaves no trace in the ledger.
        known = await self._known(request, shares)
        if known is not None:
            return known
        for attempt_number in range(_ATTEMPTS_MAX):
            outcome = await self._attempt(request, shares)
            is_contended = (
                isinstance(outcome, Refused)
                and outcome.code == Refusal.INSUFFICIENT_STOCK
                and outcome.fields["available"] + outcome.fields.get("pending", 0)
                >= outcome.fields["requested"]
            )
            is_late = isinstance(outcome, Refused) and outcome.code == Refusal.ATTEMPT_ABANDONED
            if not (is_contended or is_late) or attempt_number == _ATTEMPTS_MAX - 1:
                return outcome
            jitter = self._random_bytes(1)[0] / 256
            await self._sleep(0.02 * 2**attempt_number * (0.5 + jitter))
        raise AssertionError("the last attempt returns")

    async def _attempt(self, request: _Request, shares: dict[int, Lines]) -> Outcome:
        attempt = self._random_bytes(16).hex()
        deadline_ms = self._clock() + self._tentative_ttl_ms
        home = next(iter(shares))
        held: dict[int, Answered] = {}
        try:
            refusal = await self._hold(request, shares, home, attempt, deadline_ms, held)
            if refusal is not None and not request.partial:
                await self._abandon(held, attempt)
                return await self._known(request, shares) or refusal
            outcome = await self._decide(request, shares, home, attempt, deadline_ms, held)
            if request.partial and isinstance(outcome, Refused) and held:
                # Home has none of its own lines: it decides for the others alone.
                outcome = await self._decide(request, {**shares, home: ()}, home, attempt, deadline_ms, held)
        except OutcomeUnknown:
            raise  # The owners of the shares find out after the deadline.
        except Fault:
            await self._abandon(held, attempt)
            raise
        if isinstance(outcome, Refused):
            await self._abandon(held, attempt)
            return outcome
        if outcome.replayed and not _is_of(outcome, held):
            await self._abandon(held, attempt)
            return await self._first(outcome)
        await self._confirm(held, outcome, attempt)
        return Answered(_join([outcome.view, *(share.view for share in held.values())]))

    async def _hold(
        self, request: _Request, shares: dict[int, Lines], home: int, attempt: str, deadline_ms: int,
        held: dict[int, Answered],
    ) -> Refused | None:  # fmt: skip
        """Hold the shares of all partitions but home; return the first refusal. Raises Fault."""
        numbers = [number for number in shares if number != home]
        asked = [
            self._gateway.submit(
                number,
                ReserveTentatively(
                    attempt, home, deadline_ms, shares[number], request.reference, request.partial
                ),
                f"{attempt} hold {number}",
            )
            for number in numbers
        ]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        refusal = fault = None
        for number, outcome in zip(numbers, outcomes, strict=True):
            if isinstance(outcome, Answered):
                held[number] = outcome
            elif isinstance(outcome, Refused):
                refusal = refusal or outcome
            else:
                fault = fault or outcome
        if fault is not None:
            await self._abandon(held, attempt)
            held.clear()
            raise fault
        return refusal

    async def _decide(
        self, request: _Request, shares: dict[int, Lines], home: int, attempt: str, deadline_ms: int,
        held: dict[int, Answered],
    ) -> Outcome:  # fmt: skip
        addresses = [_address(share) for share in held.values()]
        parts = tuple((address.partition, address.number, address.opened_at_ms) for address in addresses)
        command = ReserveTogether(
            attempt, deadline_ms, parts, shares[home], request.ttl_s, request.reference, request.partial,
            request.fingerprint,
        )  # fmt: skip
        return await self._gateway.submit(home, command, request.key)

    async def _known(self, request: _Request, shares: dict[int, Lines]) -> Outcome | None:
        """Return the first answer to the key, or that it had another body; None when it was not decided yet.

        An attempt whose deadline is over is refused by the home partition unless the key was decided before.
        """
        home, lines = next(iter(shares.items()))
        command = ReserveTogether(
            self._random_bytes(16).hex(), 0, (), lines, request.ttl_s, request.reference, request.partial,
            request.fingerprint,
        )  # fmt: skip
        outcome = await self._gateway.submit(home, command, request.key)
        if isinstance(outcome, Refused):
            return outcome if outcome.code == Refusal.IDEMPOTENCY_KEY_REUSED else None
        return await self._first(outcome)

    async def _abandon(self, held: dict[int, Answered], attempt: str) -> None:
        """Give shares back; what cannot be reached now is given back by its owner after the deadline."""
        asked = []
        for number, share in held.items():
            address = _address(share)
            command = AbandonReservation(address.number, address.opened_at_ms)
            asked.append(self._gateway.submit(number, command, f"{attempt} abandon {number}"))
        await asyncio.gather(*asked, return_exceptions=True)

    async def _confirm(self, held: dict[int, Answered], home: Answered, attempt: str) -> None:
        """Make shares final. The decision stands whether they can be reached now or not."""
        home_number = _address(home).number
        asked = []
        for number, share in held.items():
            address = _address(share)
            command = ConfirmReservation(
                address.number, address.opened_at_ms, home_number, home.view["expires_at_ms"]
            )
            asked.append(self._gateway.submit(number, command, f"{attempt} confirm {number}"))
        await asyncio.gather(*asked, return_exceptions=True)

    # Reservations that exist

    async def find(self, public_id: str) -> Outcome:
        """Return a reservation; refused `reservation_not_found`."""
        address = self._address_of(public_id)
        if address is None:
            return refused(Refusal.RESERVATION_NOT_FOUND)
        query = ReadReservation(address.number, address.opened_at_ms)
        home = await self._gateway.query(address.partition, query)
        return home if isinstance(home, Refused) else await self._joined(home)

    async def pick(
        self,
        public_id: str,
        *,
        quantity: int | None,
        sku: str | None,
        location: str | None,
        lot: str | None,
        short_reason: str | None,
        key: str,
    ) -> Outcome:
        """Pick from a reservation; the answer is the reservation."""
        command = PickReservation(0, 0, quantity, sku, location, lot, short_reason)
        return await self._change(public_id, command, key)

    async def release(self, public_id: str, *, quantity: int | None, sku: str | None, key: str) -> Outcome:
        """Release units of a reservation; the answer is the reservation."""
        return await self._change(public_id, ReleaseReservation(0, 0, quantity, sku), key)

    async def extend(self, public_id: str, *, ttl_s: int, key: str) -> Outcome:
        """Extend a soft reservation; the answer is the reservation."""
        return await self._change(public_id, ExtendReservation(0, 0, ttl_s), key)

    async def _change(self, public_id: str, command: _Change, key: str) -> Outcome:
        """Change a reservation wherever its units are. One in a single partition is a single command."""
        address = self._address_of(public_id)
        if address is None:
            return refused(Refusal.RESERVATION_NOT_FOUND)
        whole = command._replace(number=address.number, opened_at_ms=address.opened_at_ms)
        outcome = await self._gateway.submit(address.partition, whole, key)
        if isinstance(outcome, Refused) and outcome.code == Refusal.RESERVATION_SPANS:
            return await self._change_shares(address, command, key)
        return outcome

    async def _change_shares(self, address: ReservationAddress, command: _Change, key: str) -> Outcome:
        """Change each share by its own command, under a key that follows from the caller's.

        A repeat finishes what a crash left undone: a share that is resolved already stays as it is, and is no
        reason to refuse. Any other refusal of a share is the answer; when other shares did change, its field
        `changed` names their SKUs. Once a share has answered, or may have, no fault says that nothing
        happened. Units of a quantity must lie in one share.
        """
        query = ReadReservation(address.number, address.opened_at_ms)
        home = await self._gateway.query(address.partition, query)
        if isinstance(home, Refused):
            return home
        if home.view["home"] is not None:
            return refused(Refusal.RESERVATION_NOT_FOUND)
        sku = getattr(command, "sku", None)
        shares = [
            view
            for view in (home.view, *await self._shares(home))
            if any(sku in (None, line["sku"]) for line in view["lines"])
        ]
        if not shares:
            return refused(Refusal.SKU_NOT_RESERVED, sku=sku)
        if getattr(command, "quantity", None) is not None and len(shares) > 1:
            return refused(Refusal.SKU_REQUIRED)
        await self._confirm_late(home, shares, key)
        asked = []
        for view in shares:
            share = reservation_address(view["id"])
            assert share is not None
            step = command._replace(number=share.number, opened_at_ms=share.opened_at_ms, is_share=True)
            asked.append(self._gateway.submit(share.partition, step, f"{key} {share.partition}"))
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        _raise_fault(outcomes)
        answered = [outcome for outcome in outcomes if isinstance(outcome, Answered)]
        refusals = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
        refusals.sort(key=lambda refusal: _WEIGHTS.get(refusal.code, 1))
        if not answered:
            return refusals[0]
        if refusals and refusals[0].code != Refusal.RESERVATION_RESOLVED:
            skus = {
                line["sku"]
                for view, outcome in zip(shares, outcomes, strict=True)
                if isinstance(outcome, Answered)
                for line in view["lines"]
                if sku in (None, line["sku"])
            }
            fields = {**refusals[0].fields, "changed": sorted(skus)}
            return Refused(refusals[0].code, fields, refusals[0].replayed and _all_replayed(answered))
        with _has_happened():
            joined = await self._joined(home)
        return Answered(joined.view, _all_replayed(answered))

    async def _confirm_late(self, home: Answered, shares: list[View], key: str) -> None:
        """Make shares final whose coordinator was killed after the decision. Raises Fault."""
        asked = []
        for view in shares:
            share = reservation_address(view["id"])
            assert share is not None
            if view["tentative"]:
                command = ConfirmReservation(
                    share.number, share.opened_at_ms, _address(home).number, home.view["expires_at_ms"]
                )
                asked.append(
                    self._gateway.submit(share.partition, command, f"{key} confirm {share.partition}")
                )
        await asyncio.gather(*asked)

    async def _shares(self, home: Answered) -> list[View]:
        asked = [
            self._gateway.query(number, ReadReservation(reservation, opened_at_ms))
            for number, reservation, opened_at_ms in home.view["parts"]
        ]
        outcomes = await asyncio.gather(*asked)
        return [outcome.view for outcome in outcomes if isinstance(outcome, Answered)]

    async def _joined(self, home: Answered) -> Answered:
        """Return the reservation with the lines of all its shares, as they are now."""
        if not home.view.get("parts"):
            return Answered(_join([home.view]), home.replayed)
        address = _address(home)
        fresh = await self._gateway.query(
            address.partition, ReadReservation(address.number, address.opened_at_ms)
        )
        view = fresh.view if isinstance(fresh, Answered) else home.view
        return Answered(_join([view, *await self._shares(home)]), home.replayed)

    async def _first(self, home: Answered) -> Answered:
        """Return the reservation as it was when it was made, for a repeat of the request."""
        with _has_happened():
            shares = await self._shares(home)
        for line in (line for view in shares for line in view["lines"]):
            line.update(picked=0, released=0, expired=0, short=0)
            for allocation in line["allocations"]:
                allocation["open"] = allocation["quantity"]
        return Answered(_join([home.view, *shares]), home.replayed)

    def _address_of(self, public_id: str) -> ReservationAddress | None:
        address = reservation_address(public_id)
        return address if address is not None and address.partition < self._gateway.partitions else None


def _address(answered: Answered) -> ReservationAddress:
    address = reservation_address(answered.view["id"])
    assert address is not None
    return address


def _is_of(home: Answered, held: dict[int, Answered]) -> bool:
    """Whether a decision is about these shares, as when it was sent again after its lane broke.

    Another one with the same key was made by an earlier attempt, which has shares of its own.
    """
    decided = {tuple(part) for part in home.view["parts"]}
    return bool(held) and decided == {tuple(_address(share)) for share in held.values()}


_WEIGHTS = {Refusal.IDEMPOTENCY_KEY_REUSED: 0, Refusal.RESERVATION_RESOLVED: 2}
"""Which refusal of several shares is told: the least, and 1 for all others."""


def _all_replayed(answered: Sequence[Answered]) -> bool:
    return all(outcome.replayed for outcome in answered)


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


_PARTLY = "it happened, or a part of it: send the same key again"


def _join(views: Sequence[dict[str, Any]]) -> View:
    """Return one reservation from its home's view and its shares'."""
    lines = sorted((line for view in views for line in view["lines"]), key=lambda line: line["line"])
    home = {name: value for name, value in views[0].items() if name not in _INTERNAL}
    return {**home, "state": state_of(lines), "lines": lines}


_INTERNAL = frozenset({"home", "parts", "tentative", "expires_at_ms"})
