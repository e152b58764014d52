"""A host that is stopped, replaced, and wakes up: it must neither acknowledge nor commit anything."""

import asyncio
import json
import os
import signal
from dataclasses import dataclass, field

import msgspec
import psutil

from actors.lane_client import Lane
from actors.queries import ReadStock
from actors.requests import Status
from engine.commands import ReceiveStock
from engine.partitioning import partition_of
from tests.end_to_end.running import until
from tests.faults.ledger import read_ledger
from tests.faults.stage import Stage

PARTITIONS = 256
_COUNT = 40
_WOKEN_S_MAX = 20.0
_HARMLESS = frozenset({Status.MOVED, Status.UNAVAILABLE})


@dataclass(slots=True)
class Loyal:
    """A caller who speaks to one host only, and sends nothing anywhere else."""

    replies: dict[int, int] = field(default_factory=dict)
    """Status by request."""
    is_cut: bool = False

    def receive(self, request_id: int, status: int, _: msgspec.Raw) -> None:
        self.replies[request_id] = status

    def lost(self, _: Lane) -> None:
        self.is_cut = True


def _address_of(stage: Stage, pid: int) -> str:
    told = json.loads((stage.binkeeper.home / "processes.json").read_text())
    return next(str(entry["address"]) for entry in told["processes"] if entry["pid"] == pid)


async def paused(stage: Stage) -> None:
    """Stop the host that serves, let it be replaced, wake it, and hear what it says."""
    site = stage.callers.site
    pid = stage.binkeeper.pids("host")[0]
    token = (stage.binkeeper.home / "lane.token").read_text().strip()
    loyal = Loyal()
    lane = await Lane.connect(_address_of(stage, pid), token, loyal.receive, loyal.lost)
    stage.fault()
    os.kill(pid, signal.SIGSTOP)
    try:
        for number in range(_COUNT):
            sku = stage.callers.skus[number % len(stage.callers.skus)]
            partition = partition_of(site, sku, PARTITIONS)
            receive = ReceiveStock(site, sku, "A-01", 1)
            lane.send(2 * number, partition, "receive", f"paused-{site}-{number}", receive)
            lane.send(2 * number + 1, partition, "read_stock", None, ReadStock(site, sku))
        # Somebody else serves: what was asked after the fault is answered.
        await until(lambda: stage.served_s() is not None, "another host serves", 90.0)
    finally:
        if psutil.pid_exists(pid):
            os.kill(pid, signal.SIGCONT)

    def is_over() -> bool:
        return loyal.is_cut or len(loyal.replies) == 2 * _COUNT

    await until(is_over, "the woken host has answered, or is gone", _WOKEN_S_MAX)
    await asyncio.sleep(0)
    lane.close()
    told = {Status(status).name for status in loyal.replies.values()}
    stage.notes.append(f"woken: {sorted(told) or 'it said nothing'}, {'ended' if loyal.is_cut else 'alive'}")
    assert all(status in _HARMLESS for status in loyal.replies.values()), f"a deposed host said {told}"
    ledger = await read_ledger(stage.binkeeper.run["postgres_url"], site)
    assert not [row for row in ledger.rows if row.key and row.key.startswith("paused-")]
