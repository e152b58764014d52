"""One SKU of a site as a sequential object: what each operation may answer, and what it does.

Written from the public documentation, not from the engine: a few bins with their units, and the reservations
that are open at them. An answer that this could not have given is not legal.
"""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True)
class Asked:
    """One operation on one SKU, and what was answered."""

    name: str
    location: str = ""
    to: str = ""
    quantity: int = 0
    """Units; for an adjustment the difference, for a count what was counted."""
    reservation: str = ""
    outcome: str = "done"
    """`done`, `refused`, or `unknown`."""
    code: str = ""
    """Why it was refused."""
    shown: Any = field(default=None, hash=False)
    """Bins by location; for a refusal its numbers."""
    change: int | None = None
    """Units by which a count differed."""


class Bin(NamedTuple):
    """Units at one location."""

    on_hand: int = 0
    reserved: int = 0

    @property
    def available(self) -> int:
        return self.on_hand - self.reserved


class Promise(NamedTuple):
    """The open units of a reservation, by location, in the order in which they came there."""

    reservation: str
    units: tuple[tuple[str, int], ...]
    picked: tuple[str, ...] = ()
    """Locations from which some were picked: they keep their turn when the rest is moved away."""


class Sku(NamedTuple):
    """All bins of the SKU, sorted by location, and its open reservations, the oldest first."""

    bins: tuple[tuple[str, Bin], ...] = ()
    promises: tuple[Promise, ...] = ()

    def at(self, location: str) -> Bin:
        return dict(self.bins).get(location, Bin())

    def of(self, reservation: str) -> dict[str, int]:
        for promise in self.promises:
            if promise.reservation == reservation:
                return dict(promise.units)
        return {}

    def changed(self, location: str, on_hand: int = 0, reserved: int = 0) -> "Sku":
        bins = dict(self.bins)
        before = bins.get(location, Bin())
        bins[location] = Bin(before.on_hand + on_hand, before.reserved + reserved)
        return self._replace(bins=tuple(sorted(bins.items())))

    def promised(self, reservation: str, units: dict[str, int], picked: Iterable[str] = ()) -> "Sku":
        """The same, with these units open at a reservation; it keeps its age."""
        before = [old.picked for old in self.promises if old.reservation == reservation]
        gone = {*picked, *(before[0] if before else ())}
        there = tuple((place, count) for place, count in units.items() if count or place in gone)
        promise = Promise(reservation, there, tuple(sorted(gone)))
        kept = [promise if old.reservation == reservation else old for old in self.promises]
        if promise not in kept:
            kept.append(promise)
        return self._replace(promises=tuple(old for old in kept if any(n for _, n in old.units)))


EMPTY = Sku()


def step(state: Hashable, asked: Any) -> Sku | None:
    """Return the SKU after an operation, or None where it cannot have answered so."""
    assert isinstance(state, Sku)
    if asked.outcome == "refused":
        return state if _is_refused(state, asked) else None
    after = _CHANGES[asked.name](state, asked)
    if after is None or asked.outcome == "unknown" or asked.shown is None:
        return after
    return after if all(_is_shown(after, place, view) for place, view in asked.shown.items()) else None


def _is_shown(sku: Sku, location: str, view: dict[str, Any]) -> bool:
    bin_ = sku.at(location)
    shown = (view["on_hand"], view["reserved"], view["held"], view["available"])
    return shown == (bin_.on_hand, bin_.reserved, 0, bin_.available)


def _receive(sku: Sku, asked: Asked) -> Sku | None:
    return sku.changed(asked.location, asked.quantity)


def _adjust(sku: Sku, asked: Asked) -> Sku | None:
    if sku.at(asked.location).available + asked.quantity < 0:
        return None
    return sku.changed(asked.location, asked.quantity)


def _take(sku: Sku, asked: Asked) -> Sku | None:
    if sku.at(asked.location).available < asked.quantity:
        return None
    return sku.changed(asked.location, -asked.quantity)


def _count(sku: Sku, asked: Asked) -> Sku | None:
    bin_ = sku.at(asked.location)
    change = asked.quantity - bin_.on_hand
    if asked.quantity < bin_.reserved or asked.change not in (None, change):
        return None
    return sku.changed(asked.location, change)


def _reserve(sku: Sku, asked: Asked) -> Sku | None:
    if sku.at(asked.location).available < asked.quantity:
        return None
    after = sku.changed(asked.location, reserved=asked.quantity)
    return after.promised(asked.reservation, {asked.location: asked.quantity})


def _pick(sku: Sku, asked: Asked) -> Sku | None:
    """All that is open, or a quantity: from where units came first."""
    units = sku.of(asked.reservation)
    remaining = asked.quantity or sum(units.values())
    if not 0 < remaining <= sum(units.values()):
        return None
    picked = set()
    for place, quantity in units.items():
        part = min(remaining, quantity)
        units[place] -= part
        remaining -= part
        sku = sku.changed(place, -part, -part)
        if part:
            picked.add(place)
    return sku.promised(asked.reservation, units, picked)


def _release(sku: Sku, asked: Asked) -> Sku | None:
    units = sku.of(asked.reservation)
    if not units:
        return None
    for place, quantity in units.items():
        sku = sku.changed(place, reserved=-quantity)
    return sku.promised(asked.reservation, {})


def _move(sku: Sku, asked: Asked) -> Sku | None:
    """Available units first, then those of the oldest reservations, which stay promised."""
    bin_ = sku.at(asked.location)
    if bin_.on_hand < asked.quantity:
        return None
    remaining = asked.quantity - min(asked.quantity, bin_.available)
    after = sku.changed(asked.location, -asked.quantity, -remaining)
    after = after.changed(asked.to, asked.quantity, remaining)
    for promise in sku.promises:
        units = dict(promise.units)
        part = min(remaining, units.get(asked.location, 0))
        if part:
            units[asked.location] -= part
            units[asked.to] = units.get(asked.to, 0) + part
            after = after.promised(promise.reservation, units)
            remaining -= part
    return after


def _read(sku: Sku, _: Asked) -> Sku:
    return sku


_CHANGES = {
    "receive": _receive,
    "adjust": _adjust,
    "take": _take,
    "count": _count,
    "reserve": _reserve,
    "pick": _pick,
    "release": _release,
    "move": _move,
    "read": _read,
}


def _is_refused(sku: Sku, asked: Asked) -> bool:
    """Whether the SKU says no to this, for this reason and with these numbers."""
    bin_ = sku.at(asked.location)
    numbers = asked.shown or {}
    match asked.name, asked.code:
        case ("reserve" | "take", "insufficient_stock"):
            return bool(numbers["available"] == bin_.available < asked.quantity)
        case ("adjust", "insufficient_stock"):
            return bool(numbers["available"] == bin_.available < -asked.quantity)
        case ("move", "insufficient_stock"):
            return bool(numbers["available"] == bin_.on_hand < asked.quantity)
        case ("count", "below_committed"):
            return bool(numbers["reserved"] == bin_.reserved > asked.quantity)
        case _:
            return False
