"""Any commands about stock in any order, on a clock that goes forth and back, beside a model of numbers."""

import random
from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from engine.commands import (
    AdjustStock,
    Command,
    CountStock,
    ExpireStock,
    HoldStock,
    MoveStock,
    PickStock,
    ReceiveStock,
    UnholdStock,
)
from engine.entries import Entry
from engine.images import Rows, capture, digest, restore
from engine.moving import count_needs_past, next_due_ms
from engine.refusals import Refused
from engine.state import Partition
from tests.unit.engine.desk import NOON_MS, SITE, Desk, everything, replayed
from tests.unit.engine.model import Model, Place

SKUS = ("tea", "jam")
LOCATIONS = ("A-1", "A-2", "B-10")
EXPIRY_MS = {"L1": NOON_MS + 60_000, "L2": NOON_MS + 600_000}
LOTS = ("", "L1", "L2")
STRATEGIES = ("fefo", "fifo", "lifo", "closest", "fewest")

skus = st.sampled_from(SKUS)
locations = st.sampled_from(LOCATIONS)
lots = st.sampled_from(LOTS)
some_location = st.none() | locations
some_lot = st.none() | st.sampled_from(LOTS[1:])
quantities = st.integers(1, 12)
reasons = st.sampled_from(("damage", "quality", "short"))


def code(lot: str) -> str | None:
    return lot or None


def restored(partition: Partition, shuffle: random.Random | None = None) -> Partition:
    """Return a partition as a new owner finds it in its snapshot, whose rows come in any order."""
    rows = capture(partition, partition.stocks, partition.reservations)
    if shuffle is not None:
        rows = Rows(*(shuffle.sample(part, len(part)) for part in rows))
    fresh = Partition(partition.number)
    fresh.seq, fresh.at_ms = partition.seq, partition.at_ms
    restore(fresh, list(partition.stocks), rows)
    return fresh


class Shelves(RuleBasedStateMachine):
    """Stock that comes, goes, moves, is counted, held and expires."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk()
        self.model = Model(EXPIRY_MS)
        self.past: list[tuple[int, Counter[Place]]] = []

    @property
    def now_ms(self) -> int:
        return max(self.desk.now_ms, self.desk.partition.at_ms)

    def decide(self, command: Command, *, is_possible: bool) -> list[Entry] | None:
        """Give an order; it is refused if and only if the model says so."""
        outcome = self.desk.decide(command)
        assert isinstance(outcome, Refused) is not is_possible, (command, outcome)
        if isinstance(outcome, Refused):
            return None
        self.desk.apply(outcome)
        return outcome

    def known(self, sku: str, location: str | None = None, lot: str | None = None) -> bool:
        """Whether there ever was such stock."""
        return any(
            place[0] == sku and location in (None, place[1]) and lot in (None, place[2])
            for place in self.model.on_hand
        )

    # Time and recovery

    @rule(seconds=st.integers(-40, 90))
    def time_passes(self, seconds: int) -> None:
        self.desk.now_ms += seconds * 1000
        for sku in SKUS:
            self.decide(ExpireStock(SITE, sku), is_possible=True)
        self.model.expire(self.now_ms)
        for stock in self.desk.partition.stocks.values():
            assert next_due_ms(stock) > self.now_ms, "something that was due is still there"

    @rule(shuffle=st.randoms(use_true_random=False))
    def another_host_takes_over(self, shuffle: random.Random) -> None:
        fresh = restored(self.desk.partition, shuffle)
        assert digest(fresh) == digest(self.desk.partition)
        assert everything(fresh) == everything(self.desk.partition)
        for key, stock in fresh.stocks.items():
            assert stock.due_ms == next_due_ms(self.desk.partition.stocks[key])
        self.desk.partition = fresh

    @rule()
    def a_counter_looks(self) -> None:
        self.past.append((self.desk.partition.seq, self.model.on_hand.copy()))

    # Stock

    @rule(sku=skus, location=locations, lot=lots, quantity=quantities)
    def receive(self, sku: str, location: str, lot: str, quantity: int) -> None:
        command = ReceiveStock(SITE, sku, location, quantity, code(lot), EXPIRY_MS.get(lot))
        self.decide(command, is_possible=True)
        self.model.put((sku, location, lot), quantity)
        self.expire_lots()

    def expire_lots(self) -> None:
        """Let the owner's clock do its work."""
        for sku in SKUS:
            self.decide(ExpireStock(SITE, sku), is_possible=True)
        self.model.expire(self.now_ms)

    @rule(sku=skus, location=some_location, lot=some_lot, quantity=quantities)
    def pick_stock(self, sku: str, location: str | None, lot: str | None, quantity: int) -> None:
        available = self.model.available(sku, self.now_ms, location, lot)
        is_possible = self.known(sku, location, lot) and available >= quantity
        entries = self.decide(PickStock(SITE, sku, quantity, location, lot), is_possible=is_possible)
        self.take_out(entries, quantity)

    def take_out(self, entries: list[Entry] | None, quantity: int) -> None:
        picks = [entry for entry in entries or () if entry.kind == "stock_picked"]
        assert entries is None or sum(entry.quantity for entry in picks) == quantity
        for entry in picks:
            self.model.take((str(entry.sku), str(entry.location), str(entry.lot)), entry.quantity)

    @rule(sku=skus, source=locations, to=locations, lot=st.sampled_from(LOTS[1:]), quantity=quantities)
    def move(self, sku: str, source: str, to: str, lot: str, quantity: int) -> None:
        place = (sku, source, lot)
        movable = self.model.on_hand[place] - self.model.held(place)
        command = MoveStock(SITE, sku, source, to, quantity, lot)
        if self.decide(command, is_possible=movable >= quantity) is not None:
            self.model.move(place, (sku, to, lot), quantity)

    @rule(sku=skus, location=locations, lot=st.sampled_from(LOTS[1:]), delta=st.integers(-12, 12))
    def adjust(self, sku: str, location: str, lot: str, delta: int) -> None:
        place = (sku, location, lot)
        is_possible = delta >= 0 or (self.known(*place) and self.model.free(place) >= -delta)
        command = AdjustStock(SITE, sku, location, delta, lot, "recount")
        if self.decide(command, is_possible=is_possible) is not None:
            self.model.put(place, delta)
            self.expire_lots()

    @rule(
        sku=skus, location=locations, lot=st.sampled_from(LOTS[1:]), counted=st.integers(0, 20),
        look=st.none() | st.integers(0, 5),
    )  # fmt: skip
    def count(self, sku: str, location: str, lot: str, counted: int, look: int | None) -> None:
        place = (sku, location, lot)
        command = CountStock(SITE, sku, location, counted, lot)
        seen = self.model.on_hand[place]
        is_rebased = False
        if look is not None and self.past:
            seq, on_hand = self.past[-1 - look % len(self.past)]
            command = command._replace(seen_seq=seq)
            is_rebased = count_needs_past(self.desk.partition, command)
            if is_rebased:
                seen = on_hand[place]
                command = command._replace(on_hand_seen=seen)
        variance = counted - seen
        missing = self.model.holds[place]["short"]
        if is_rebased:
            missing = min(missing, max(0, -variance))
        committed = self.model.reserved(place) + self.model.held(place) - missing
        is_possible = self.model.on_hand[place] + variance >= committed
        if self.decide(command, is_possible=is_possible) is not None:
            self.model.holds[place]["short"] -= missing
            self.model.put(place, variance)
            self.expire_lots()

    @rule(sku=skus, location=locations, lot=st.sampled_from(LOTS[1:]), quantity=quantities, reason=reasons)
    def hold(self, sku: str, location: str, lot: str, quantity: int, reason: str) -> None:
        place = (sku, location, lot)
        command = HoldStock(SITE, sku, location, quantity, lot, reason)
        if self.decide(command, is_possible=self.model.free(place) >= quantity) is not None:
            self.model.hold(place, quantity, reason)

    @rule(sku=skus, location=locations, lot=st.sampled_from(LOTS[1:]), quantity=quantities, reason=reasons)
    def unhold(self, sku: str, location: str, lot: str, quantity: int, reason: str) -> None:
        place = (sku, location, lot)
        command = UnholdStock(SITE, sku, location, quantity, lot, reason)
        if self.decide(command, is_possible=self.model.held(place) >= quantity) is not None:
            self.model.unhold(place, quantity, reason)
            self.expire_lots()

    # What holds always

    @initialize()
    def open_the_doors(self) -> None:
        for sku in SKUS:
            for lot in LOTS[1:]:
                self.receive(sku, "A-1", lot, 8)

    @invariant()
    def the_engine_and_the_model_agree(self) -> None:
        for (_, sku), stock in self.desk.partition.stocks.items():
            for bin_ in stock.bins.values():
                for lot in bin_.lots:
                    place = (sku, bin_.location, lot.code)
                    assert lot.on_hand == self.model.on_hand[place], place
                    assert lot.reserved == self.model.reserved(place), place
                    assert lot.held == self.model.held(place), place
                    assert not lot.on_hand or lot.expires_at_ms == EXPIRY_MS.get(lot.code), place

    @invariant()
    def nothing_is_made_and_nothing_is_lost(self) -> None:
        assert self.model.on_hand.total() == self.model.put_in - self.model.taken_out

    def teardown(self) -> None:
        for entry in self.desk.ledger:
            assert 0 <= entry.reserved + entry.held <= entry.on_hand
        fresh = replayed(self.desk.ledger)
        assert everything(fresh) == everything(self.desk.partition)
        assert digest(fresh) == digest(self.desk.partition)
