"""A deliberately simple model of stock: numbers by bin and lot. It shares no code with the engine.

It is told what was asked and what was answered, says what should have been, and complains when it was not.
"""

from collections import Counter, defaultdict

Place = tuple[str, str, str]
"""(sku, location, lot)"""


class Model:
    def __init__(self, expiry_ms: dict[str, int]) -> None:
        self.expiry_ms = expiry_ms
        self.on_hand: Counter[Place] = Counter()
        self.holds: defaultdict[Place, Counter[str]] = defaultdict(Counter)
        self.promises: dict[int, Counter[Place]] = {}
        self.due_ms: dict[int, int] = {}
        self.put_in = 0
        self.taken_out = 0

    def reserved(self, place: Place) -> int:
        return sum(promise[place] for promise in self.promises.values())

    def held(self, place: Place) -> int:
        return self.holds[place].total()

    def free(self, place: Place) -> int:
        return self.on_hand[place] - self.reserved(place) - self.held(place)

    def is_expired(self, lot: str, now_ms: int) -> bool:
        return lot in self.expiry_ms and self.expiry_ms[lot] <= now_ms

    def available(self, sku: str, now_ms: int, location: str | None = None, lot: str | None = None) -> int:
        return sum(
            self.free(place)
            for place in self.on_hand
            if place[0] == sku
            and location in (None, place[1])
            and lot in (None, place[2])
            and not self.is_expired(place[2], now_ms)
        )

    def put(self, place: Place, quantity: int) -> None:
        self.on_hand[place] += quantity
        self.put_in += quantity

    def take(self, place: Place, quantity: int) -> None:
        self.on_hand[place] -= quantity
        self.taken_out += quantity

    def open(self, number: int) -> int:
        return self.promises[number].total()

    def hold(self, place: Place, quantity: int, reason: str) -> None:
        self.holds[place][reason] += quantity

    def unhold(self, place: Place, quantity: int, reason: str) -> None:
        for held_for in sorted(self.holds[place], key=lambda held_for: (held_for != reason, held_for)):
            part = min(quantity, self.holds[place][held_for])
            self.holds[place][held_for] -= part
            quantity -= part

    def move(self, source: Place, target: Place, quantity: int) -> None:
        reserved = quantity - min(quantity, self.free(source))
        self.on_hand[source] -= quantity
        self.on_hand[target] += quantity
        for number in sorted(self.promises):
            part = min(reserved, self.promises[number][source])
            self.promises[number][source] -= part
            self.promises[number][target] += part
            reserved -= part

    def expire(self, now_ms: int) -> None:
        for number, due_ms in self.due_ms.items():
            if due_ms <= now_ms:
                self.promises[number].clear()
        for place in list(self.on_hand):
            if self.is_expired(place[2], now_ms):
                self.hold(place, self.free(place), "expired")
