"""The same with reservations: any commands at all, beside the model."""

from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from engine.commands import (
    AbandonReservation,
    ConfirmReservation,
    ExtendReservation,
    PickReservation,
    ReleaseReservation,
    ReserveLine,
    ReserveStock,
    ReserveTentatively,
)
from tests.unit.engine.desk import SITE
from tests.unit.engine.model import Place
from tests.unit.engine.shelves import (
    SKUS,
    STRATEGIES,
    Shelves,
    quantities,
    skus,
    some_location,
    some_lot,
)


class Warehouse(Shelves):
    """Shelves whose units are promised to callers."""

    def __init__(self) -> None:
        super().__init__()
        self.tentative: set[int] = set()

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
        command = ReserveTentatively("a", 1, 1, (ReserveLine(SITE, sku, quantity),))
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
        if reservation.attempt is not None and all(line.sku != sku for line in reservation.lines):
            self.pick_from_another_share(number, sku, quantity)
            return
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

    def pick_from_another_share(self, number: int, sku: str, quantity: int) -> None:
        """A share that has nothing of a SKU only notes that others were asked."""
        command = PickReservation(number, self.opened_at_ms(number), quantity, sku, is_share=True)
        entries = self.decide(command, is_possible=self.is_pickable(number))
        assert entries is None or [entry.kind for entry in entries] == ["request_noted"]

    @precondition(has_reservations)
    @rule(choice=st.integers(0, 99), ttl_s=st.integers(1, 120))
    def extend(self, choice: int, ttl_s: int) -> None:
        number = self.number(choice)
        is_share = self.desk.partition.reservations[number].attempt is not None
        is_possible = self.is_pickable(number) and number in self.model.due_ms
        command = ExtendReservation(number, self.opened_at_ms(number), ttl_s, is_share)
        if self.decide(command, is_possible=is_possible) is not None:
            self.model.due_ms[number] = self.now_ms + ttl_s * 1000
