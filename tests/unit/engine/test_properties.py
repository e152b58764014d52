"""The engine against a model of numbers: any commands, in any order, on a clock that goes forth and back."""

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from engine.commands import (
    AbandonReservation,
    AdjustStock,
    Command,
    ConfirmReservation,
    CountStock,
    ExpireStock,
    ExtendReservation,
    HoldStock,
    MoveStock,
    PickReservation,
    PickStock,
    ReceiveStock,
    ReleaseReservation,
    ReserveLine,
    ReserveStock,
    ReserveTentatively,
    UnholdStock,
)
from engine.entries import Entry
from engine.images import Rows, capture, digest, restore
from engine.moving import count_needs_past, next_due_ms
from engine.refusals import Refused
from engine.reserving import summed
from engine.state import Partition
from tests.unit.engine.conftest import PROFILE
from tests.unit.engine.desk import NOON_MS, SITE, Desk, everything, replayed
from tests.unit.engine.model import Model, Place

SKUS = ("tea", "jam")
LOCATIONS = ("A-1", "A-2", "B-10")
EXPIRY_MS = {"L1": NOON_MS + 60_000, "L2": NOON_MS + 600_000}
LOTS = ("", "L1", "L2")
STRATEGIES = ("fefo", "fifo", "lifo", "closest", "fewest")
SETTINGS = settings(settings.get_profile(PROFILE))

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


class Warehouse(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk()
        self.model = Model(EXPIRY_MS)
        self.tentative: set[int] = set()
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

    def number(self, choice: int) -> int:
        return sorted(self.model.promises)[choice % len(self.model.promises)]

    def opened_at_ms(self, number: int) -> int:
        return self.desk.partition.reservations[number].opened_at_ms

    def remember_promise(self, number: int) -> None:
        """Take down where the engine says that units are reserved; the invariant checks that they are."""
        promise: Counter[Place] = Counter()
        for line in self.desk.partition.reservations[number].lines:
            for part in line.allocations:
                promise[line.sku, part.location, part.lot] += part.open
        self.model.promises[number] = promise

    def is_pickable(self, number: int) -> bool:
        return self.model.open(number) > 0 and number not in self.tentative

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

    # Reservations

    @rule(
        sku=skus, location=some_location, lot=some_lot, strategy=st.sampled_from(STRATEGIES),
        parts=st.lists(quantities, min_size=1, max_size=3), ttl_s=st.none() | st.integers(1, 120),
        partial=st.booleans(),
    )  # fmt: skip
    def reserve(
        self,
        sku: str,
        location: str | None,
        lot: str | None,
        strategy: str,
        parts: list[int],
        ttl_s: int | None,
        partial: bool,
    ) -> None:
        available = self.model.available(sku, self.now_ms, location, lot)
        lines = tuple(
            ReserveLine(SITE, sku, part, location, lot, strategy, index) for index, part in enumerate(parts)
        )
        is_possible = available >= sum(parts) or (partial and available > 0)
        entries = self.decide(ReserveStock(lines, ttl_s, None, partial), is_possible=is_possible)
        if entries is not None:
            number = entries[0].seq
            self.remember_promise(number)
            assert self.model.open(number) == min(sum(parts), available)
            if ttl_s is not None:
                self.model.due_ms[number] = self.now_ms + ttl_s * 1000

    @rule(quantity=st.integers(1, 4))
    def reserve_several_skus(self, quantity: int) -> None:
        lines = tuple(ReserveLine(SITE, sku, quantity, index=index) for index, sku in enumerate(SKUS))
        is_possible = all(self.model.available(sku, self.now_ms) >= quantity for sku in SKUS)
        entries = self.decide(ReserveStock(lines), is_possible=is_possible)
        if entries is not None:
            self.remember_promise(entries[0].seq)
            assert self.model.open(entries[0].seq) == quantity * len(SKUS)

    @rule(sku=skus, quantity=quantities)
    def reserve_tentatively(self, sku: str, quantity: int) -> None:
        command = ReserveTentatively("a", 1, self.now_ms + 5, (ReserveLine(SITE, sku, quantity),))
        is_possible = self.model.available(sku, self.now_ms) >= quantity
        entries = self.decide(command, is_possible=is_possible)
        if entries is not None:
            self.remember_promise(entries[0].seq)
            self.tentative.add(entries[0].seq)

    @precondition(lambda self: self.tentative)
    @rule(choice=st.integers(0, 99), is_decided=st.booleans())
    def finish_an_attempt(self, choice: int, is_decided: bool) -> None:
        number = sorted(self.tentative)[choice % len(self.tentative)]
        self.tentative.discard(number)
        opened_at_ms = self.opened_at_ms(number)
        if is_decided:
            self.decide(ConfirmReservation(number, opened_at_ms, 7), is_possible=True)
        else:
            self.decide(AbandonReservation(number, opened_at_ms), is_possible=True)
            self.model.promises[number].clear()

    def has_reservations(self) -> bool:
        return bool(self.model.promises)

    @precondition(has_reservations)
    @rule(choice=st.integers(0, 99), quantity=st.none() | quantities)
    def release(self, choice: int, quantity: int | None) -> None:
        number = self.number(choice)
        before = self.model.open(number)
        skus_open = {line.sku for line in self.desk.partition.reservations[number].lines}
        is_possible = self.is_pickable(number) and (quantity or 0) <= before
        if quantity is not None and len(skus_open) > 1:
            is_possible = False
        is_share = self.desk.partition.reservations[number].attempt is not None
        command = ReleaseReservation(number, self.opened_at_ms(number), quantity, None, is_share)
        if self.decide(command, is_possible=is_possible) is not None:
            self.remember_promise(number)
            assert self.model.open(number) == before - (before if quantity is None else quantity)
            self.expire_lots()

    @precondition(has_reservations)
    @rule(
        choice=st.integers(0, 99), sku=skus, quantity=st.integers(0, 12), location=some_location,
        is_short=st.booleans(),
    )  # fmt: skip
    def pick(self, choice: int, sku: str, quantity: int, location: str | None, is_short: bool) -> None:
        number = self.number(choice)
        promise = self.model.promises[number].copy()
        open_units = sum(units for place, units in promise.items() if place[0] == sku)
        here = sum(units for place, units in promise.items() if place[:2] == (sku, location))
        is_possible = self.is_pickable(number) and 0 < open_units >= quantity
        if location is not None and quantity > here:
            is_possible = is_possible and self.model.available(sku, self.now_ms, location) >= quantity - here
        reservation = self.desk.partition.reservations[number]
        command = PickReservation(
            number, reservation.opened_at_ms, quantity, sku, location, None,
            "not there" if is_short else None, reservation.attempt is not None,
        )  # fmt: skip
        entries = self.decide(command, is_possible=is_possible)
        self.take_out(entries, quantity)
        if entries is None:
            return
        shorted = [entry for entry in entries if entry.kind == "stock_shorted"]
        for entry in shorted:
            assert promise[sku, str(entry.location), str(entry.lot)] >= entry.quantity
            self.model.hold((sku, str(entry.location), str(entry.lot)), entry.quantity, "short")
        self.remember_promise(number)
        left = self.model.open(number)
        assert left == promise.total() - quantity - sum(entry.quantity for entry in shorted)
        if is_short and location is None:
            assert left == promise.total() - open_units, "a short pick leaves nothing of its SKU reserved"
        self.expire_lots()

    @precondition(has_reservations)
    @rule(choice=st.integers(0, 99), ttl_s=st.integers(1, 120))
    def extend(self, choice: int, ttl_s: int) -> None:
        number = self.number(choice)
        is_share = self.desk.partition.reservations[number].attempt is not None
        is_possible = self.is_pickable(number) and number in self.model.due_ms
        command = ExtendReservation(number, self.opened_at_ms(number), ttl_s, is_share)
        if self.decide(command, is_possible=is_possible) is not None:
            self.model.due_ms[number] = self.now_ms + ttl_s * 1000

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


def test_any_commands_leave_the_engine_and_the_model_in_agreement() -> None:
    run_state_machine_as_test(Warehouse, settings=SETTINGS)


def stocked(places: list[tuple[str, str, int]]) -> Desk:
    desk = Desk()
    for location, lot, quantity in places:
        desk.receive(quantity, location, lot=code(lot))
    return desk


stockings = st.lists(st.tuples(locations, lots, st.integers(1, 9)), min_size=1, max_size=6)
lines_of_one_sku = st.lists(
    st.builds(
        ReserveLine, st.just(SITE), st.just("tea"), st.integers(1, 6), some_location, some_lot,
        st.sampled_from(STRATEGIES),
    ),
    min_size=1,
    max_size=4,
)  # fmt: skip


@SETTINGS
@given(stockings, lines_of_one_sku)
def test_a_batch_of_lines_does_what_its_lines_do_one_after_another(
    places: list[tuple[str, str, int]], lines: list[ReserveLine]
) -> None:
    together, apart = stocked(places), stocked(places)
    outcome = together.decide(ReserveStock(tuple(lines)))
    outcomes = []
    for line in summed(lines):
        single = apart.decide(ReserveStock((line,)))
        outcomes.append(single)
        if isinstance(single, Refused):
            break
        apart.apply(single)
    if isinstance(outcome, Refused):
        assert isinstance(outcomes[-1], Refused)
        assert outcomes[-1].code == outcome.code
        return
    together.apply(outcome)
    assert not any(isinstance(single, Refused) for single in outcomes)
    assert digest(together.partition)["seq"] == digest(apart.partition)["seq"]
    for location, lot, _ in places:
        assert together.balance(location, lot) == apart.balance(location, lot)


@SETTINGS
@given(stockings, st.lists(st.integers(1, 6), min_size=2, max_size=4), st.sampled_from(STRATEGIES))
def test_equal_lines_do_what_their_sum_does(
    places: list[tuple[str, str, int]], quantities: list[int], strategy: str
) -> None:
    together, summed_up = stocked(places), stocked(places)
    lines = tuple(
        ReserveLine(SITE, "tea", quantity, strategy=strategy, index=index)
        for index, quantity in enumerate(quantities)
    )
    outcome = together.decide(ReserveStock(lines))
    assert outcome == summed_up.decide(ReserveStock((lines[0]._replace(quantity=sum(quantities)),)))


@SETTINGS
@given(
    stockings, st.lists(st.tuples(st.integers(1, 6), st.sampled_from(STRATEGIES)), max_size=6), st.randoms()
)
def test_a_restored_partition_goes_on_as_the_original_would(
    places: list[tuple[str, str, int]], later: list[tuple[int, str]], shuffle: random.Random
) -> None:
    desk = stocked(places)
    desk.reserve(1, ttl_s=60)
    for quantity, strategy in later:
        twin = Desk()
        twin.partition = restored(desk.partition, shuffle)
        command = ReserveStock((ReserveLine(SITE, "tea", quantity, strategy=strategy),), 60, None, True)
        outcome = desk.decide(command)
        assert twin.decide(command) == outcome
        if not isinstance(outcome, Refused):
            desk.apply(outcome)
            twin.apply(outcome)
            assert everything(twin.partition) == everything(restored(desk.partition, shuffle))
