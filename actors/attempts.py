"""Reserving lines of several partitions, all or none: attempts until one is decided.

Lines are held tentatively in all partitions but one, the home partition; its entry then decides for all; the
shares are confirmed after it. The caller is answered when the decision is durable: a crash before it leaves
nothing (each owner asks the home partition when the deadline is over), one after it leaves everything.

An attempt opens with a question to the home partition, whose sequence number then tells which of a decision
and a settlement came first. No clock of the coordinator's or of another machine has a say in that.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from actors.frames import encode
from actors.outcomes import Answered, Fault, Outcome, OutcomeUnknown
from actors.ports import Gateway
from actors.shares import Shares, address_of, joined
from engine.commands import (
    AbandonReservation,
    ConfirmReservation,
    ReserveLine,
    ReserveTentatively,
    ReserveTogether,
)
from engine.refusals import Refusal, Refused

Lines = tuple[ReserveLine, ...]

_ATTEMPTS_MAX = 6
"""How often lines are tried again that only other undecided attempts stand against."""


@dataclass(frozen=True, slots=True)
class Order:
    """What the caller asked for. Made again for a repeat, it is the same."""

    lines: Lines
    by_partition: dict[int, Lines]
    """The lines of each partition, by its number; the first is home."""
    ttl_s: int | None
    reference: str | None
    partial: bool
    key: str

    @property
    def home(self) -> int:
        """The partition that decides: the lowest numbered one."""
        return next(iter(self.by_partition))

    @property
    def fingerprint(self) -> int:
        """A hash that is the same for each attempt."""
        body = encode([self.lines, self.ttl_s, self.reference, self.partial])
        return int.from_bytes(hashlib.blake2b(body, digest_size=8, key=b"together").digest(), "big") >> 1


@dataclass(slots=True)
class _Attempt:
    """One try: which shares hold, and which lines found nothing."""

    name: str
    opened_seq: int
    held: dict[int, Answered] = field(default_factory=dict)
    """What each share answered, by its partition."""
    missing: Lines = ()


class Attempts:
    """The coordinator. It keeps nothing that matters: killed at any instant, all lines hold or none."""

    def __init__(
        self,
        gateway: Gateway,
        shares: Shares,
        tentative_ttl_ms: int,
        random_bytes: Callable[[int], bytes],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._gateway = gateway
        self._shares = shares
        self._tentative_ttl_ms = tentative_ttl_ms
        self._random_bytes = random_bytes
        self._sleep = sleep

    async def reserve(self, order: Order) -> Outcome:
        """Reserve all lines or none (with `partial`: what there is). Raises Fault."""
        for attempt_number in range(_ATTEMPTS_MAX):
            # Asked first, so that a repeat leaves no trace in the ledger.
            opened = await self._open(order)
            if not isinstance(opened, int):
                return opened
            is_last = attempt_number == _ATTEMPTS_MAX - 1
            outcome = await self._try(order, opened, is_last=is_last)
            if is_last or not _may_pass(outcome):
                return outcome
            jitter = self._random_bytes(1)[0] / 256
            await self._sleep(0.02 * 2**attempt_number * (0.5 + jitter))
        raise AssertionError("the last attempt returns")

    async def _try(self, order: Order, opened_seq: int, *, is_last: bool) -> Outcome:
        attempt = _Attempt(self._random_bytes(16).hex(), opened_seq)
        try:
            refusal = await self._hold(order, attempt)
            if refusal is not None:
                await self._abandon(attempt)
                if _may_pass(refusal) and not is_last:
                    return refusal  # The next attempt opens with the same question.
                known = await self._open(order)
                return refusal if isinstance(known, int) else known
            outcome = await self._decide(order, attempt)
        except OutcomeUnknown:
            raise  # The owners of the shares find out after the deadline.
        except Fault:
            await self._abandon(attempt)
            raise
        if isinstance(outcome, Refused):
            await self._abandon(attempt)
            return outcome
        if outcome.replayed and not _is_of(outcome, attempt):
            await self._abandon(attempt)
            return await self._shares.at_first(outcome)
        await self._confirm(attempt, outcome)
        return Answered(joined([outcome.view, *(share.view for share in attempt.held.values())]))

    async def _hold(self, order: Order, attempt: _Attempt) -> Refused | None:
        """Hold the shares of all partitions but home; return the first refusal that counts. Raises Fault.

        Of a partial reservation, lines that find nothing do not count: they are missing.
        """
        numbers = [number for number in order.by_partition if number != order.home]
        asked = [
            self._gateway.submit(
                number,
                ReserveTentatively(
                    attempt.name, order.home, attempt.opened_seq, order.by_partition[number],
                    order.reference, order.partial, self._tentative_ttl_ms,
                ),
                f"{attempt.name} hold {number}",
            )
            for number in numbers
        ]  # fmt: skip
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        refusal = fault = None
        for number, outcome in zip(numbers, outcomes, strict=True):
            if isinstance(outcome, Answered):
                attempt.held[number] = outcome
            elif not isinstance(outcome, Refused):
                fault = fault or outcome
            elif order.partial and outcome.code == Refusal.INSUFFICIENT_STOCK:
                attempt.missing += order.by_partition[number]
            else:
                refusal = refusal or outcome
        if fault is not None:
            await self._abandon(attempt)
            attempt.held.clear()
            raise fault
        return refusal

    async def _decide(self, order: Order, attempt: _Attempt) -> Outcome:
        addresses = [address_of(share.view) for share in attempt.held.values()]
        parts = tuple((address.partition, address.number, address.opened_at_ms) for address in addresses)
        command = ReserveTogether(
            attempt.name, attempt.opened_seq, parts, order.by_partition[order.home], order.ttl_s,
            order.reference, order.partial, order.fingerprint, attempt.missing,
        )  # fmt: skip
        return await self._gateway.submit(order.home, command, order.key)

    async def _open(self, order: Order) -> Outcome | int:
        """Return the first answer to the key, or that it had another body; how far home is, if it is new.

        An attempt that was never opened is refused by the home partition unless the key was decided before.
        """
        command = ReserveTogether(
            self._random_bytes(16).hex(), 0, (), order.by_partition[order.home], order.ttl_s,
            order.reference, order.partial, order.fingerprint,
        )  # fmt: skip
        outcome = await self._gateway.submit(order.home, command, order.key)
        if isinstance(outcome, Refused):
            return outcome.fields["seq"] if outcome.code == Refusal.ATTEMPT_ABANDONED else outcome
        return await self._shares.at_first(outcome)

    async def _abandon(self, attempt: _Attempt) -> None:
        """Give shares back; what cannot be reached now is given back by its owner after the deadline."""
        asked = []
        for number, share in attempt.held.items():
            address = address_of(share.view)
            command = AbandonReservation(address.number, address.opened_at_ms)
            asked.append(self._gateway.submit(number, command, f"{attempt.name} abandon {number}"))
        await asyncio.gather(*asked, return_exceptions=True)

    async def _confirm(self, attempt: _Attempt, home: Answered) -> None:
        """Make shares final. The decision stands whether they can be reached now or not."""
        home_number = address_of(home.view).number
        asked = []
        for number, share in attempt.held.items():
            address = address_of(share.view)
            command = ConfirmReservation(
                address.number, address.opened_at_ms, home_number, home.view["expires_at_ms"]
            )
            asked.append(self._gateway.submit(number, command, f"{attempt.name} confirm {number}"))
        await asyncio.gather(*asked, return_exceptions=True)


def _may_pass(outcome: Outcome) -> bool:
    """Whether an attempt failed only for others that are undecided, or came late: it is made again."""
    if not isinstance(outcome, Refused):
        return False
    if outcome.code != Refusal.INSUFFICIENT_STOCK:
        return outcome.code == Refusal.ATTEMPT_ABANDONED
    pending = outcome.fields.get("pending", 0)
    return bool(outcome.fields["available"] + pending >= outcome.fields["requested"])


def _is_of(home: Answered, attempt: _Attempt) -> bool:
    """Whether a decision is about these shares, as when it was sent again after its lane broke.

    Another one with the same key was made by an earlier attempt, which has shares of its own.
    """
    decided = {tuple(part) for part in home.view["parts"]}
    held = {tuple(address_of(share.view)) for share in attempt.held.values()}
    return bool(held) and decided == held
