"""What callers asked and were told, and what that means for each SKU and each reservation.

A request over several SKUs is one operation on each of them, in the same interval.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tests.faults.bins import Asked
from tests.faults.linearizable import Operation
from tests.faults.promises import Turn

WRITES = frozenset({"reserve", "pick", "release", "receive", "take", "move", "adjust", "count"})


class Try(NamedTuple):
    """A request that was sent once; times in ns of this process's monotonic clock."""

    start: int
    end: int
    outcome: str = "unknown"
    """As `Call.outcome`."""
    code: str = ""


@dataclass(slots=True)
class Call:
    """One request under one key, however often it was sent, and its outcome."""

    name: str
    key: str
    via: str
    """`http` or `lane`."""
    lines: tuple[tuple[str, str, int], ...]
    """(SKU, location, units) of each line: of a reservation, those that it was made with."""
    to: str = ""
    reservation: str = ""
    quantity: int = 0
    """Units of a pick; 0 is all."""
    tries: list["Try"] = field(default_factory=list)
    outcome: str = "unknown"
    """`done`, `refused`, `nothing` (it was said that nothing happened), or `unknown`."""
    code: str = ""
    """Why it was refused."""
    answer: Any = None
    repeated: Any = None
    """What came of its repeat under the same key, where it had been done and was sent once more."""

    @property
    def start(self) -> int:
        return self.tries[0].start

    @property
    def began(self) -> int:
        """When it can have taken effect at the earliest: no try of which it was said that nothing happened
        counts. Of several SKUs some may be held for a while all the same, until the attempt is given up.
        """
        if len(self.lines) > 1:
            return self.start
        return next((sent.start for sent in self.tries if sent.outcome != "nothing"), self.tries[-1].start)

    @property
    def end(self) -> int | None:
        return self.tries[-1].end if self.is_answered else None

    @property
    def is_answered(self) -> bool:
        return self.outcome in ("done", "refused")

    def skus(self) -> set[str]:
        return {sku for sku, _, _ in self.lines}


@dataclass(frozen=True, slots=True)
class Abandoned:
    """Units that an attempt held which was not decided: seen for a while by others, then gone."""

    sku: str
    location: str
    quantity: int
    name: str
    held_at: int
    """Nanoseconds of the monotonic clock before which it cannot have been."""
    held_seq: int
    gone_at: int
    gone_seq: int


@dataclass(slots=True)
class Recorded:
    """All calls of one scenario, with what the ledger says of those that were never answered."""

    calls: list[Call]
    known: set[str] = field(default_factory=set)
    """Keys that the ledger has."""
    seqs: dict[tuple[str, str], int] = field(default_factory=dict)
    """Sequence number at which each key changed each SKU."""
    abandoned: list[Abandoned] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """Keep it for a look: a line for each call."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            for call in sorted(self.calls, key=lambda call: call.start):
                file.write(json.dumps({**asdict(call), "is_known": call.key in self.known}) + "\n")

    def by_sku(self) -> dict[str, list[Operation]]:
        """Return the operations on each SKU."""
        found: dict[str, list[Operation]] = defaultdict(list)
        for call in self.calls:
            for sku, asked, hint in self._asked(call):
                found[sku].append(_operation(call, asked, self.seqs.get((call.key, sku), hint)))
        for held in self.abandoned:
            there = Asked("reserve", held.location, quantity=held.quantity, reservation=held.name)
            gone = Asked("release", reservation=held.name)
            found[held.sku].append(Operation(there, held.held_at, None, hint=held.held_seq))
            found[held.sku].append(Operation(gone, held.gone_at, None, hint=held.gone_seq))
        return dict(found)

    def by_reservation(self) -> dict[tuple[str, str], list[Operation]]:
        """Return the operations on each SKU's line of each reservation."""
        found: dict[tuple[str, str], list[Operation]] = defaultdict(list)
        for call in self.calls:
            if call.name not in ("reserve", "pick", "release", "read_reservation"):
                continue
            if call.outcome != "done" and (call.name == "reserve" or not self._may_have_happened(call)):
                continue
            name = call.answer["id"] if call.name == "reserve" else call.reservation
            shown = {line["sku"]: line for line in call.answer["lines"]} if call.outcome == "done" else {}
            for sku, _, quantity in call.lines:
                units = quantity if call.name == "reserve" else call.quantity
                turn = Turn(call.name.removesuffix("_reservation"), units, shown.get(sku))
                found[name, sku].append(_operation(call, turn, None))
        return dict(found)

    def _may_have_happened(self, call: Call) -> bool:
        """Whether a call changed something. One that was not answered did when the ledger has its key."""
        return call.outcome == "done" or (call.outcome == "unknown" and call.key in self.known)

    def _asked(self, call: Call) -> Iterator[tuple[str, Asked, float | None]]:
        """Go through what a call means for each SKU, with a guess at its place."""
        if call.outcome == "refused":
            yield from self._refused(call)
        elif call.name in ("read_bin", "read_stock"):
            if call.outcome == "done":
                shown, seq = _bins_shown(call.answer)
                yield call.lines[0][0], Asked("read", shown=shown), seq + 0.5
        elif call.name in WRITES and self._may_have_happened(call):
            answer = call.answer if call.outcome == "done" else None
            for sku, location, quantity in call.lines:
                yield sku, self._changed(call, location, quantity, answer), None

    def _changed(self, call: Call, location: str, quantity: int, answer: Any) -> Asked:
        outcome = "unknown" if answer is None else "done"
        match call.name:
            case "reserve":
                name = call.key if answer is None else answer["id"]
                return Asked("reserve", location, quantity=quantity, reservation=name, outcome=outcome)
            case "pick":
                return Asked("pick", quantity=call.quantity, reservation=call.reservation, outcome=outcome)
            case "release":
                return Asked("release", reservation=call.reservation, outcome=outcome)
        shown = None if answer is None else _shown_after(call.name, answer)
        change = answer["variance"] if call.name == "count" and answer is not None else None
        return Asked(call.name, location, call.to, quantity, outcome=outcome, shown=shown, change=change)

    def _refused(self, call: Call) -> Iterator[tuple[str, Asked, float | None]]:
        """Of several lines, the one that is named was refused."""
        if call.code == "attempt_abandoned":
            return
        lines = call.lines
        if len(lines) > 1:
            lines = tuple(line for line in lines if line[0] == call.answer["sku"])
        for sku, location, quantity in lines:
            asked = Asked(
                call.name, location, quantity=quantity, reservation=call.reservation, outcome="refused",
                code=call.code, shown=call.answer,
            )  # fmt: skip
            yield sku, asked, None


def _operation(call: Call, what: Any, hint: float | None) -> Operation:
    is_read = call.name.startswith("read") or call.outcome == "refused"
    return Operation(what, call.began, call.end, hint=hint, is_read=is_read)


def _bins_shown(answer: dict[str, Any]) -> tuple[dict[str, Any], int]:
    views = answer.get("bins", [answer])
    return {view["location"]: view for view in views}, answer["seq"]


def _shown_after(name: str, answer: dict[str, Any]) -> dict[str, Any]:
    match name:
        case "move":
            views = [answer["from"], answer["to"]]
        case "count":
            views = [answer["bin"]]
        case "take":
            views = answer["bins"]
        case _:
            views = [answer]
    return {view["location"]: view for view in views}


def backwards(calls: Iterable[Call]) -> list[str]:
    """Return where a bin's sequence number went back: a later question, asked after the answer, saw less."""
    shown: dict[tuple[str, str], list[tuple[int, int, int]]] = defaultdict(list)
    for call in calls:
        if call.name in ("read_bin", "read_stock") and call.outcome == "done":
            for location, view in _bins_shown(call.answer)[0].items():
                shown[view["sku"], location].append((call.start, call.tries[-1].end, view["seq"]))
    found = []
    for (sku, location), reads in shown.items():
        answers = sorted((end, seq) for _, end, seq in reads)
        highest, at = 0, 0
        for start, _, seq in sorted(reads):
            while at < len(answers) and answers[at][0] < start:
                highest, at = max(highest, answers[at][1]), at + 1
            if seq < highest:
                found.append(f"{sku} at {location}: {seq} was shown after {highest}")
    return found
