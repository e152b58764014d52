"""A host that is stopped, replaced, and wakes up: it must neither acknowledge nor commit anything."""

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import msgspec
import psutil

from actors.gateway import LaneGateway
from actors.lane_client import Lane
from actors.queries import ReadStock
from actors.requests import Status
from engine.commands import ReceiveStock
from engine.partitioning import partition_of
from persistence.postgres import PostgresDirectory, Sessions
from tests.faults.ledger import read_ledger
from tests.faults.stage import Stage
from tests.waiting import until

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

    def receive(self, _lane: Lane, request_id: int, status: int, _: msgspec.Raw) -> None:
        self.replies[request_id] = status

    def lost(self, _: Lane) -> None:
        self.is_cut = True


def _hosts(stage: Stage) -> list[tuple[int, str]]:
    """Return pid and address of every host, the one that serves first."""
    told = json.loads((stage.binkeeper.home / "processes.json").read_text())
    return [(entry["pid"], str(entry["address"])) for entry in told["processes"] if entry["role"] == "host"]


async def paused(stage: Stage) -> None:
    """Stop the host that serves, let the supervisor replace it, wake it, and hear what it says."""
    await _woken(stage, _hosts(stage)[0], lambda: asyncio.sleep(0))


async def deposed(stage: Stage) -> None:
    """The same while the supervisor is stopped, so that nobody ends the host: its standby just takes over."""
    supervisor = stage.binkeeper.pids("supervisor")[0]
    serving, standby = _hosts(stage)[:2]

    async def take(address: str) -> None:
        sessions = Sessions(stage.binkeeper.run["postgres_url"], "taker", size=1)
        token = (stage.binkeeper.home / "lane.token").read_text().strip()
        gateway = LaneGateway(PostgresDirectory(sessions), token, PARTITIONS)
        try:
            await gateway.control(address, "take", list(range(PARTITIONS)))
        finally:
            await gateway.close()
            await sessions.close()

    os.kill(supervisor, signal.SIGSTOP)
    try:
        replies = await _woken(stage, serving, lambda: take(standby[1]))
        # The supervisor knows nothing of this: it must find its places as it left them.
        await take(serving[1])
    finally:
        os.kill(supervisor, signal.SIGCONT)
    assert len(replies) == 2 * _COUNT, "the woken host was to say something"


async def _woken(
    stage: Stage, host: tuple[int, str], replace: Callable[[], Awaitable[None]]
) -> dict[int, int]:
    """Return what a host replied to what it was asked in its sleep, woken when somebody else served."""
    site = stage.callers.site
    pid, address = host
    token = (stage.binkeeper.home / "lane.token").read_text().strip()
    loyal = Loyal()
    lane = await Lane.connect(address, token, loyal.receive, loyal.lost)
    stage.fault()
    os.kill(pid, signal.SIGSTOP)
    try:
        for number in range(_COUNT):
            # Nobody writes to the idle ones: no commit collides, and even "not found" would be a lie.
            sku = stage.callers.skus[number % len(stage.callers.skus)] if number % 2 else f"IDLE-{number}"
            partition = partition_of(site, sku, PARTITIONS)
            if number % 2:
                receive = ReceiveStock(site, sku, "A-01", 1)
                lane.send(2 * number, partition, "receive", f"paused-{site}-{number}", receive)
            else:
                lane.send(2 * number, partition, "read_stock", None, ReadStock(site, sku))
            lane.send(2 * number + 1, partition, "read_stock", None, ReadStock(site, sku))
        await replace()
        # Somebody else serves: what was asked after the fault is answered.
        await until(lambda: stage.served_s() is not None, "another host serves", 90.0)
    finally:
        if psutil.pid_exists(pid):
            os.kill(pid, signal.SIGCONT)

    def is_over() -> bool:
        return loyal.is_cut or len(loyal.replies) == 2 * _COUNT

    await until(is_over, "the woken host has answered, or is gone", _WOKEN_S_MAX)
    lane.close()
    told = {Status(status).name for status in loyal.replies.values()}
    stage.notes.append(f"woken, it said {sorted(told) or 'nothing, and ended'}")
    assert all(status in _HARMLESS for status in loyal.replies.values()), f"a deposed host said {told}"
    ledger = await read_ledger(stage.binkeeper.run["postgres_url"], site)
    assert not [row for row in ledger.rows if row.key and row.key.startswith("paused-")]
    return loyal.replies
