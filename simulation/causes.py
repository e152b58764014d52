"""Asks of all entries who wanted them: a client's key, a step of a client's request, an attempt, or a date.

Whatever else is in the ledger nobody has asked for. A key makes entries once. What each key made is compared
with what was asked under it (`deeds`) when it is committed, whether or not anybody is ever told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from simulation.deeds import expiry_of, wrong_change, wrong_lines, wrong_on_stock
from simulation.model import NO_BIN, LedgerModel, partition_of
from simulation.plan import SITE
from simulation.promises import Promise
from simulation.serving import wrong_places

if TYPE_CHECKING:
    from engine.entries import Entry
    from simulation.clients import Call

Wrong = tuple[str, str]
"""(promise, what broke it)"""
_NOBODY = "P3", "nobody has asked for it"


class Group(NamedTuple):
    """What a key made."""

    partition: int
    first: Entry
    last_seq: int


class Causes:
    """Knows what was asked, and what was made of it."""

    def __init__(self, models: Sequence[LedgerModel]) -> None:
        self.made: dict[str, Group] = {}
        """By key."""
        self.asked: dict[str, Call] = {}
        """The first call of each key."""
        self.asked_seqs: dict[str, list[int]] = {}
        """How far the ledgers were when a key was sent first."""
        self._models = models
        self._homes: dict[str, int] = {}
        """The partition that decides each attempt."""
        self._decided: dict[str, tuple[int, int]] = {}
        """(partition, number) of the reservation that an attempt became."""
        self._abandoned: set[str] = set()
        self._of_attempts: dict[str, Callable[[str, Sequence[Entry]], str | None]] = {
            "confirm": self._wrong_confirm, "settled": self._wrong_settled, "abandon": self._wrong_abandon,
        }  # fmt: skip

    def sent(self, call: Call) -> None:
        """Remember what a client asks."""
        if call.is_command and not call.is_reuse and call.key not in self.asked:
            self.asked[call.key] = call
            self.asked_seqs[call.key] = call.seqs

    def changed_by(self, key: str, home: Promise) -> set[str]:
        """Return the SKUs of those shares of a reservation that a client's request has changed."""
        shares = [home, *(self._models[part[0]].promises[part[1]] for part in home.parts or ())]
        return {
            sku for share in shares if f"{key} {share.partition}" in self.made for sku in share.skus.values()
        }

    def of_key(self, key: str) -> list[Group]:
        """Return what was made of a client's request, its steps included."""
        keys = [key, *(f"{key} {number}" for number in range(len(self._models)))]
        return [self.made[one] for one in keys if one in self.made]

    def wrong(self, entries: Sequence[Entry]) -> Wrong | None:
        """Judge what one command made, right before it is added to the models."""
        first, key = entries[0], entries[0].key
        if any(entry.key is not None or entry.span or entry.at_ms != first.at_ms for entry in entries[1:]):
            return "P3", "its entries are not of one command"
        if key is None:
            return self._wrong_unasked(entries)
        if key in self.made:
            return "P3", f"{key} was done already, at {self.made[key].first.seq}"
        self.made[key] = Group(first.partition, first, entries[-1].seq)
        call = self.asked.get(key)
        name, _, rest = key.partition(" ")
        if call is not None:
            wrong = self._wrong_asked(call, entries)
        elif name in self.asked:
            call, wrong = self.asked[name], self._wrong_step(self.asked[name], rest, entries)
        else:
            return self._wrong_attempt(name, rest, entries)
        return None if wrong is None else ("P1", f"{key} ({call.operation.kind}): {wrong}")

    # Without a key

    def _wrong_unasked(self, entries: Sequence[Entry]) -> Wrong | None:
        """Without being asked, an owner claims its partition, and lets expire what is due."""
        first = entries[0]
        model = self._models[first.partition]
        if first.kind == "partition_claimed" and len(entries) == 1:
            return None
        expired: dict[int, int] = {}
        freed: dict[tuple[str | None, ...], int] = {}
        for entry in entries:
            place = (entry.sku, entry.location, entry.lot)
            if entry.kind == "reservation_expired" and entry.reservation is not None:
                expired[entry.reservation] = expired.get(entry.reservation, 0) + entry.quantity
                freed[place] = freed.get(place, 0) + entry.quantity
            elif entry.kind != "lot_expired":
                return _NOBODY
        for number, units in expired.items():
            if number in model.promises and model.promises[number].open_units != units:
                return "P3", f"{units} of reservation {number} expired, the others did not"
        for entry in entries:
            if entry.kind == "lot_expired":
                bin_ = model.bins_of(str(entry.sku), SITE).get(str(entry.location), NO_BIN)
                lot = bin_.lot(str(entry.lot))
                if lot.expires_at_ms is None or lot.expires_at_ms > entry.at_ms:
                    return "P3", f"lot {lot.code} expired before its time, {lot.expires_at_ms}"
                if entry.quantity != lot.free + freed.get((entry.sku, entry.location, entry.lot), 0):
                    return "P3", f"{entry.quantity} of lot {lot.code} expired, {lot.free} were free"
        return None

    # Under a client's key

    def _wrong_asked(self, call: Call, entries: Sequence[Entry]) -> str | None:
        first, kind = entries[0], call.operation.kind
        if kind.startswith("reserve"):
            if (first.reference, first.reservation) != (call.key, first.seq):
                return f"it is for {first.reference}"
            if first.expires_at_ms != expiry_of(call, first):
                return f"it expires at {first.expires_at_ms}, not at {expiry_of(call, first)}"
            if first.kind == "attempt_decided":
                return self._wrong_decision(call, entries)
            numbers = self._numbers(call)
            if any(number != first.partition for number in numbers):
                return "only some of its lines were reserved"
            return wrong_lines(call, entries, self._models[first.partition], numbers)
        if call.subject is None:
            return wrong_on_stock(call, entries, self._models[first.partition])
        promise = self._promise(*call.subject)
        if promise is None or promise.parts is None:
            return (
                "there is no such reservation"
                if promise is None
                else self._wrong_change(call, entries, promise)
            )
        found = [(entry.kind, entry.partition, entry.reservation) for entry in entries]
        is_noted = found == [("request_noted", promise.partition, promise.number)]
        return None if is_noted else f"it was not noted first, but {found}"

    def _wrong_change(self, call: Call, entries: Sequence[Entry], promise: Promise) -> str | None:
        wrong = wrong_change(call, entries, promise)
        if wrong is not None or call.operation.kind == "extend":
            return wrong
        return wrong_places(call, entries, promise, self._models[promise.partition])

    def _numbers(self, call: Call) -> list[int]:
        """Return the partition of each line of a reservation."""
        return [partition_of(SITE, sku, len(self._models)) for sku in call.skus]

    def _promise(self, partition: int, number: int) -> Promise | None:
        return self._models[partition].promises.get(number)

    def _wrong_decision(self, call: Call, entries: Sequence[Entry]) -> str | None:
        """Judge the entry that decides for all partitions, and its own partition's lines."""
        first = entries[0]
        said = Promise.said(first)
        attempt = said["attempt"]
        if attempt in self._decided or attempt in self._abandoned:
            return f"attempt {attempt} was decided already, or abandoned"
        self._decided[attempt] = (first.partition, first.seq)
        found = {first.partition}
        for partition, number, opened_at_ms in said["parts"]:
            share = self._promise(partition, number)
            if share is None or (share.attempt, share.opened_at_ms) != (attempt, opened_at_ms):
                return f"{number} of partition {partition} is no share of attempt {attempt}"
            if not share.is_tentative or not share.open_units:
                return f"share {number} of partition {partition} does not hold any more"
            if "opened_seq" not in share.detail and share.detail["deadline_ms"] <= first.at_ms:
                return f"attempt {attempt} was decided after its deadline"
            found.add(partition)
        numbers = self._numbers(call)
        missing = [index for index, number in enumerate(numbers) if number not in found]
        for index in missing:
            number, sku = numbers[index], call.skus[index]
            since, model = self.asked_seqs[call.key][number], self._models[number]
            if min(model.available_between((SITE, sku, call.location or ""), since, model.seq)) > 0:
                return f"{sku} was left out, and always there"
        if missing and not call.operation.flag:
            return f"lines {missing} were left out"
        return wrong_lines(call, entries, self._models[first.partition], numbers, missing)

    def _wrong_step(self, call: Call, rest: str, entries: Sequence[Entry]) -> str | None:
        """Judge a step of a request that is about a reservation over several partitions."""
        if call.subject is None or call.key not in self.made:
            return "it has no steps, or was not noted before"
        home = self._promise(*call.subject)
        assert home is not None
        numbers = {part[0]: part[1] for part in home.parts or ()} | {home.partition: home.number}
        word, _, place = rest.rpartition(" ")
        number = int(place) if place.isdecimal() else -1
        share = self._promise(number, numbers[number]) if number in numbers else None
        if share is None:
            return f"there is no share {rest}"
        if word == "confirm":
            return self._wrong_confirm(home.attempt or "", entries)
        return self._wrong_change(call, entries, share) if not word else f"there is no step {word}"

    # Under an attempt's name

    def _wrong_attempt(self, name: str, rest: str, entries: Sequence[Entry]) -> Wrong | None:
        word = rest.partition(" ")[0]
        if word == "hold":
            wrong = self._wrong_share(name, entries)
        elif word == "settle":
            wrong = self._wrong_settle(name, entries)
        elif word in self._of_attempts and name in self._homes:
            wrong = self._of_attempts[word](name, entries)
        else:
            return _NOBODY
        return None if wrong is None else ("P1", f"{name} {rest}: {wrong}")

    def _wrong_share(self, name: str, entries: Sequence[Entry]) -> str | None:
        first, said = entries[0], Promise.said(entries[0])
        call = self.asked.get(str(first.reference))
        if call is None or call.operation.kind != "reserve_several":
            return f"{first.reference} is no request for shares"
        numbers = self._numbers(call)
        if first.partition not in numbers or said["home"] != min(numbers) or said["attempt"] != name:
            return f"it is in partition {first.partition}, its home is {said['home']}"
        if first.expires_at_ms is not None:
            return "a share that is tentative expires by no date"
        self._homes[name] = said["home"]
        return wrong_lines(call, entries, self._models[first.partition], numbers)

    def _share(self, name: str, entries: Sequence[Entry]) -> Promise | None:
        """Return the tentative share of an attempt that entries are about."""
        numbers = {entry.reservation for entry in entries}
        share = self._promise(entries[0].partition, numbers.pop() or 0)
        is_one = share is not None and share.attempt == name and share.is_tentative and not numbers
        return share if is_one else None

    def _is_decided(self, name: str, share: Promise) -> bool:
        home = self._promise(*self._decided[name]) if name in self._decided else None
        parts = [] if home is None or home.parts is None else home.parts
        return [share.partition, share.number, share.opened_at_ms] in parts

    def _wrong_confirm(self, name: str, entries: Sequence[Entry]) -> str | None:
        share, first = self._share(name, entries), entries[0]
        if share is None or [entry.kind for entry in entries] != ["reservation_confirmed"]:
            return "it confirms no share of this attempt"
        if not self._is_decided(name, share):
            return "it confirms what was not decided"
        home = self._promise(*self._decided[name])
        assert home is not None
        if Promise.said(first)["home_number"] != home.number or first.expires_at_ms not in home.dates:
            return f"it says {first.detail} and {first.expires_at_ms}, the whole expires at {home.dates}"
        return None

    def _wrong_settled(self, name: str, entries: Sequence[Entry]) -> str | None:
        kind = entries[0].kind
        wrong = self._wrong_confirm if kind == "reservation_confirmed" else self._wrong_abandon
        return wrong(name, entries)

    def _wrong_abandon(self, name: str, entries: Sequence[Entry]) -> str | None:
        share = self._share(name, entries)
        if share is None or any((one.kind, one.reason) != ("stock_released", "abandoned") for one in entries):
            return "it abandons no share of this attempt"
        if self._is_decided(name, share):
            return "a share that was decided is abandoned"
        units = sum(entry.quantity for entry in entries)
        return None if units == share.open_units else f"{units} of {share.open_units} are abandoned"

    def _wrong_settle(self, name: str, entries: Sequence[Entry]) -> str | None:
        first = entries[0]
        # An owner settles a share whose own entry takes longer to be durable than shares hold: then home
        # closes an attempt of which the ledger has nothing else yet. It changes no stock.
        home = self._homes.get(name, first.partition)
        if [entry.kind for entry in entries] != ["attempt_abandoned"] or first.partition != home:
            return f"the entries are {[entry.kind for entry in entries]}"
        if name in self._decided:
            return "it was abandoned after it was decided"
        self._abandoned.add(name)
        return None if Promise.said(first)["attempt"] == name else f"it says {first.detail}"
