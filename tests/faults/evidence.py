"""What must be true after every fault, whatever it was: found out from outside, from what was recorded."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec
from nats.js.api import DeliverPolicy

from tests.end_to_end.listener import Listener, kept, kept_ledger
from tests.end_to_end.running import Running
from tests.faults import bins, promises
from tests.faults.audits import drift
from tests.faults.history import Call, Recorded, backwards
from tests.faults.ledger import Told, read_entries, read_ledger
from tests.faults.linearizable import Undecided, Verdict, linearize
from tests.waiting import InVain, until

SETTLED_S_MAX = 60.0
STREAMS_S_MAX = 15.0


@dataclass(slots=True)
class Findings:
    """What was found; everything but the counts must be empty."""

    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    invented: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """Histories without a legal order, gaps, drift, and anything else."""

    def all(self) -> list[str]:
        return [
            f"{name} {found}"
            for name in ("lost", "twice", "invented", "wrong")
            for found in getattr(self, name)
        ]


async def settled(binkeeper: Running) -> bool:
    """Whether everything that is committed is broadcast, and memory is what the ledger says."""
    async with binkeeper.http() as http:
        try:
            told = (await http.get("/status")).json()
        except httpx.TransportError:
            return False
    is_whole = not told.get("partitions_refused") and told.get("partitions_owned") == told.get("partitions")
    return is_whole and told["courier_lag"] == 0 and told["drift"] == 0


async def nothing_is_tentative(http: httpx.AsyncClient, site: str, skus: Sequence[str]) -> bool:
    """Whether every attempt is decided or given back."""
    for sku in skus:
        answer = await http.get(f"/explain/{site}/{sku}")
        if not answer.is_success or any(held["tentative"] for held in answer.json()["reservations"]):
            return False
    return True


async def examine(
    binkeeper: Running, site: str, skus: Sequence[str], calls: list[Call], wall_to_monotonic_ns: int
) -> Findings:
    """Look at everything. The callers are done, and nothing is tentative any more.

    Drift is what is known of it now; `audits.at_rest` waits until every owner has compared everything.
    """
    try:
        await until(lambda: settled(binkeeper), "the broadcast has caught up, without drift", SETTLED_S_MAX)
    except InVain:
        raise AssertionError(f"not settled: {binkeeper.ask('status', '--json').stdout}") from None
    told = await read_ledger(binkeeper.run["postgres_url"], site)
    found = Findings(lost=told.lost(calls), twice=told.twice(calls), invented=told.invented(calls))
    found.wrong += [f"gap in the ledger: {gap}" for gap in told.gaps()]
    found.wrong += [
        f"{call.name} {call.key} was answered internal_error"
        for call in calls
        if any(sent.code == "internal_error" for sent in call.tries)
    ]
    found.wrong += unexpected(calls)
    found.wrong += backwards(calls)
    history = Recorded(calls, set(told.keys), told.seqs(), told.abandoned(wall_to_monotonic_ns))
    found.wrong += await asyncio.to_thread(disorder, history)
    found.wrong += await _bins_differ(binkeeper, site, skus, told)
    found.wrong += await _streams_differ_at_last(binkeeper, site, skus)
    found.wrong += await drift(binkeeper)
    if found.all():
        history.write(binkeeper.home.parent / f"faults-{site}.jsonl")
    return found


_EXPECTED = frozenset({"insufficient_stock", "below_committed", "attempt_abandoned"})


def unexpected(calls: list[Call]) -> list[str]:
    """Return refusals for which the workload gives no reason, and repeats that were answered otherwise."""
    refused = [
        f"{call.name} {call.key} was refused {call.code}: {call.answer}"
        for call in calls
        if call.outcome == "refused" and call.code not in _EXPECTED
    ]
    return refused + [
        f"{call.name} {call.key} was answered {call.answer}, and its repeat {call.repeated}"
        for call in calls
        if call.repeated is not None and call.repeated != call.answer
    ]


def disorder(history: Recorded) -> list[str]:
    """Return the SKUs and reservations whose history no legal order explains."""
    found = []
    for sku, operations in sorted(history.by_sku().items()):
        try:
            verdict = linearize(operations, bins.EMPTY, bins.step)
        except Undecided as fault:
            found.append(f"{sku}: {fault}")
            continue
        if not verdict.is_legal:
            found.append(f"{sku}: {_told(verdict, len(operations))}")
    for (reservation, sku), operations in sorted(history.by_reservation().items()):
        verdict = linearize(operations, promises.EMPTY, promises.step)
        if not verdict.is_legal:
            found.append(f"reservation {reservation}, {sku}: {_told(verdict, len(operations))}")
    return found


def _told(verdict: Verdict, count: int) -> str:
    state: Any = bins.EMPTY
    for operation in verdict.order:
        state = bins.step(state, operation.what) if isinstance(operation.what, bins.Asked) else state
    stuck = "; ".join(str(operation.what) for operation in verdict.stuck[:8])
    return f"no legal order beyond {len(verdict.order)} of {count} operations, at {state}: {stuck}"


async def _bins_differ(binkeeper: Running, site: str, skus: Sequence[str], told: Told) -> list[str]:
    """Memory, and the list that is read from snapshots, against our own sum of the ledger."""
    sums = told.sums()
    found = []
    async with binkeeper.http() as http:
        for sku in skus:
            views = (await http.get(f"/stock/{site}/{sku}")).json()["bins"]
            listed = (await http.get("/stock", params={"site": site, "sku": sku})).json()["items"]
            for name, shown in (("memory", views), ("snapshot", listed)):
                there = {view["location"]: (view["on_hand"], view["reserved"]) for view in shown}
                summed = {place: units for (of, place), units in sums.items() if of == sku}
                if there != summed:
                    found.append(f"{sku}: {name} has {there}, the ledger sums to {summed}")
    return found


async def _streams_differ_at_last(binkeeper: Running, site: str, skus: Sequence[str]) -> list[str]:
    """Look again while owners still change: their claims are entries too."""
    found = ["the streams were never read to the end"]

    async def is_whole() -> bool:
        found[:] = await _streams_differ(binkeeper, site, skus)
        return not found

    with contextlib.suppress(InVain):
        await until(is_whole, "the streams hold everything", STREAMS_S_MAX)
    return found


async def _streams_differ(binkeeper: Running, site: str, skus: Sequence[str]) -> list[str]:
    """`LEDGER` has every entry, without a gap; `STOCK`'s last messages are the bins."""
    url = binkeeper.run["nats_url"]
    ledger = await kept_ledger(url)
    entries = await read_entries(binkeeper.run["postgres_url"])
    found = [f"gap in LEDGER: {gap}" for gap in ledger.gaps()]
    told = {place: (entry["kind"], entry["quantity"]) for place, entry in ledger.entries.items()}
    if missing := entries.keys() - told.keys():
        found.append(f"LEDGER lacks {len(missing)} of {len(entries)} entries, such as {min(missing)}")
    found += [f"LEDGER tells of {place}, which never was" for place in told.keys() - entries.keys()]
    found += [
        f"LEDGER differs at {place}"
        for place in told.keys() & entries.keys()
        if told[place] != entries[place]
    ]
    listener = await Listener.connected(url)
    try:
        last = {
            message.subject: msgspec.msgpack.decode(message.data)
            for message in await kept(listener.client, "STOCK", DeliverPolicy.LAST_PER_SUBJECT)
        }
    finally:
        await listener.client.close()
    async with binkeeper.http() as http:
        for sku in skus:
            for view in (await http.get(f"/stock/{site}/{sku}")).json()["bins"]:
                subject = f"stock.{site}.{sku}.{view['location']}"
                if last.get(subject) != view:
                    found.append(f"STOCK has {last.get(subject)} where the bin is {view}")
    return found
