"""What happens in a run: the clients' operations and the faults, drawn from a seed before it begins.

Both are plain values, so that a history can be printed, cut down and run again.
"""

from dataclasses import dataclass, replace
from random import Random
from typing import Any, NamedTuple

SITE = "LON"
LOCATIONS = ("A-2", "A-10", "B-1")
LOTS = (None, None, None, "L1", "L2", "L3")
EXPIRE_AFTER_MS = {"L1": 8_000, "L3": 3_000_000}
"""When a run has lasted so long a lot expires; L3 where a clock steps by an hour."""
STRATEGIES = ("fefo", "fifo", "lifo", "closest", "fewest")


class Operation(NamedTuple):
    """One call of one client. Which fields count depends on the kind."""

    client: int
    kind: str
    skus: tuple[int, ...] = ()
    quantity: int = 1
    location: int | None = None
    to: int = 0
    lot: int = 0
    back: int = 0
    """Which of the client's earlier reservations or operations is meant, counted from the newest."""
    ttl_s: int | None = None
    flag: bool = False
    twice: bool = False
    """Whether it is sent through two gateways at once."""
    is_short: bool = False
    """Whether a pick says that what it does not find is not there."""
    names_sku: bool = False
    """Whether a pick or release names one SKU of its reservation."""
    is_elsewhere: bool = False
    """Whether a pick names the location that it takes from."""
    gateway: int | None = None
    """Through which gateway it goes; None draws one each time that it is sent."""
    strategy: str = "fefo"
    """By which lots are chosen for a reservation."""


class Fault(NamedTuple):
    """Something goes wrong when so many operations have begun."""

    after: int
    kind: str
    target: int = 0
    seconds: float = 0.0
    size: float = 0.0
    steps: int = 0
    """How many callbacks later, so that it falls between any two."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One run."""

    seed: int
    operations: tuple[Operation, ...]
    faults: tuple[Fault, ...]
    clients: int = 8
    partitions: int = 8
    skus: int = 7
    hosts: int = 2
    calm_after: int | None = None
    """When so many operations have begun, no fault is left; None when the last one has ended."""

    @property
    def only_moves(self) -> bool:
        """Whether nothing goes wrong, whatever is moved on purpose."""
        kinds = {fault.kind for fault in self.faults}
        return not kinds or (len(kinds) == 1 and kinds <= set(MOVES))

    def without(self, operations: set[int], faults: set[int]) -> "Plan":
        """Return the plan less operations and faults, by their places. What is left falls where it fell."""
        kept = [fault for place, fault in enumerate(self.faults) if place not in faults]
        return replace(
            self,
            operations=tuple(o for place, o in enumerate(self.operations) if place not in operations),
            calm_after=None
            if self.calm_after is None
            else self.calm_after - sum(place < self.calm_after for place in operations),
            faults=tuple(
                fault._replace(after=fault.after - sum(place < fault.after for place in operations))
                for fault in kept
            ),
        )


KINDS = {
    "receive": 14,
    "reserve": 24,
    "reserve_several": 8,
    "pick": 10,
    "release": 6,
    "extend": 3,
    "pick_stock": 4,
    "move": 5,
    "adjust": 4,
    "count": 4,
    "hold": 3,
    "unhold": 2,
    "read_stock": 4,
    "read_bin": 5,
    "read_reservation": 4,
    "explain": 3,
    "repeat": 5,
    "reuse": 2,
}
"""How often each comes."""

FAULTS = {
    "kill_host": 5,
    "kill_starting": 2,
    "kill_gateway": 3,
    "kill_supervisor": 1,
    "pause_host": 6,
    "pause_gateway": 2,
    "pause_supervisor": 1,
    "hold_network": 3,
    "cut_connections": 4,
    "storage_down": 2,
    "storage_slow": 2,
    "storage_fails": 3,
    "storage_loses_answers": 4,
    "harm_snapshot": 5,
    "harm_ledger": 2,
    "streams_down": 2,
    "streams_cut": 2,
    "streams_forget": 2,
    "cut_off_host": 3,
    "clock_steps": 2,
    "gateway_clock_steps": 2,
    "depose_host": 6,
    "stall_streams": 4,
    "kill_stalled": 2,
    "hand_over": 3,
    "wish": 3,
    "give_up": 1,
}

MOVES = ("hand_over", "wish")
"""What moves partitions on purpose: hosts on their own, or the placing. Where one of them alone does, and
nothing else happens, no request may fail."""
_MOVES_ALONE_ODDS = 0.06


def plan(seed: int, operations: int = 1_000, *, faults: bool = True, calm_after: int | None = None) -> Plan:
    """Return the plan of a seed. With `calm_after`, all faults come before that operation."""
    random = Random(f"plan {seed}")
    clients, skus = 8, 7
    drawn = [_operation(random, place % clients, skus) for place in range(operations)]
    stocked = [
        Operation(sku % clients, "receive", (sku,), random.randint(5, 40), random.randrange(3))
        for sku in range(skus)
    ]
    count = random.randint(4, 16) if faults else 0
    kinds = FAULTS
    if random.random() < _MOVES_ALONE_ODDS:
        kinds, count = {random.choice(MOVES): 1}, count // 2
    troubles = sorted(_fault(random, min(operations, calm_after or operations), kinds) for _ in range(count))
    return Plan(seed, (*stocked, *drawn[skus:]), tuple(troubles), clients, 8, skus, calm_after=calm_after)


def last_round(skus: int, gateways: int) -> list[list[Operation]]:
    """Return requests of every kind to every SKU, in steps: those of a step are sent at once, one a SKU.

    Every kind goes through every gateway, and every SKU is asked for through every gateway.
    """
    steps = []
    for place, (kind, fields) in enumerate(_LAST_ROUND):
        step = []
        for sku in range(skus):
            many = (sku, (sku + 1) % skus) if kind == "reserve_several" else (sku,)
            lot = LOTS.index("L2") if sku == 0 and not kind.startswith("reserve") else 0
            operation = Operation(sku, kind, many, location=0, lot=lot, gateway=(place + sku) % gateways)
            step.append(operation._replace(**fields))
        steps.append(step)
    return steps


_LAST_ROUND: tuple[tuple[str, dict[str, Any]], ...] = (
    ("receive", {"quantity": 60}),
    ("read_stock", {}),
    ("read_bin", {}),
    ("adjust", {"quantity": 2}),
    ("hold", {}),
    ("unhold", {}),
    ("move", {"to": 1}),
    ("count", {"quantity": 30, "location": 2}),
    ("pick_stock", {}),
    ("reserve", {"quantity": 4, "ttl_s": 60}),
    ("read_reservation", {}),
    ("extend", {"ttl_s": 60}),
    ("pick", {"flag": True}),
    ("explain", {}),
    ("repeat", {}),
    ("release", {}),
    ("reserve_several", {"ttl_s": 60}),
    ("pick", {}),
    ("reuse", {}),
)
"""Each kind of request. None but a count or a used key may be refused after the first."""


def _operation(random: Random, client: int, skus: int) -> Operation:
    kind = random.choices(list(KINDS), list(KINDS.values()))[0]
    many = random.randint(2, 4) if kind == "reserve_several" else 1
    chosen = _skus(random, skus, many)
    is_named = random.random() < (0.3 if kind.startswith("reserve") else 1.0)
    return Operation(
        client,
        kind,
        chosen,
        quantity=_quantity(random, kind),
        location=random.randrange(len(LOCATIONS)) if is_named else None,
        to=random.randrange(len(LOCATIONS)),
        lot=random.randrange(len(LOTS)) if chosen[0] == 0 and not kind.startswith("reserve") else 0,
        back=int(random.expovariate(0.5)),
        ttl_s=random.choice((None, None, 1, 2, 5, 30)) if kind != "extend" else random.randint(1, 20),
        flag=random.random() < 0.3,
        twice=random.random() < 0.05,
        is_short=kind == "pick" and random.random() < 0.35,
        names_sku=kind in ("pick", "release") and random.random() < 0.3,
        is_elsewhere=kind == "pick" and random.random() < 0.2,
        strategy=random.choice(STRATEGIES) if kind.startswith("reserve") else "fefo",
    )


def _skus(random: Random, skus: int, many: int) -> tuple[int, ...]:
    """Draw SKUs, hot ones first: what is seldom changed shows what stays wrong."""
    left = list(range(skus))
    chosen = []
    for _ in range(many):
        chosen.append(random.choices(left, [1 / (1 + sku) for sku in left])[0])
        left.remove(chosen[-1])
    return tuple(chosen)


def _quantity(random: Random, kind: str) -> int:
    if kind == "receive":
        return random.randint(1, 25)
    if kind == "adjust":
        return random.choice((-3, -2, -1, 1, 2, 4))
    if kind == "move":
        return random.choice((1, 2, 5, 10, 20))  # Those that are many are reserved in part.
    if kind == "count":
        return random.randint(0, 30)
    return random.choices((1, 2, 3, 5, 9), (8, 4, 3, 2, 1))[0]


def _fault(random: Random, operations: int, kinds: dict[str, int]) -> Fault:
    kind = random.choices(list(kinds), list(kinds.values()))[0]
    seconds = random.choice((0.05, 0.3, 1.0, 2.5))
    if kind == "pause_host":
        seconds = random.choice((0.5, 2.0, 6.0, 7.5, 14.0))  # It is replaced after 4.
    elif kind.startswith("pause"):
        seconds = random.choice((0.3, 2.0, 6.0))
    return Fault(
        random.randrange(operations),
        kind,
        random.randrange(8),
        seconds,
        random.random(),
        random.randrange(400),
    )
