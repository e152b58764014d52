"""A host with everything around it: snapshots, courier, clock, auditor and lanes. Still without Ray."""

import asyncio
import contextlib
import os
from collections.abc import Callable
from typing import Any

import msgspec

from actors.auditor import Auditor
from actors.clockwork import Clockwork
from actors.courier import Courier
from actors.gateway import LaneGateway
from actors.handing_over import HandingOver
from actors.host import Host
from actors.intake import Control
from actors.lane_server import LaneServer
from actors.snapshotter import Snapshotter
from persistence.placement import Directory
from persistence.ports import Cursors, Streams

_ANSWER_S_MAX = 5.0
"""How long a host that stops waits for requests that wait for storage."""
_ANSWER_POLL_S = 0.005


class HandOver(msgspec.Struct):
    """What a host is told to give to another."""

    partitions: list[int]
    address: str
    """host:port of the lanes of the host that shall take them."""


class RunningHost:
    """Starts and stops a host. `stop` keeps what was promised; `os.kill` does too, a little later."""

    def __init__(
        self,
        host: Host,
        streams: Streams,
        cursors: Cursors,
        directory: Directory,
        *,
        token: str,
        partitions: int,
        node: str = "",
        on_broken: Callable[[BaseException], None] | None = None,
    ) -> None:
        self.host = host
        self.snapshotter = Snapshotter(host)
        self.directory = directory
        self.peers = LaneGateway(directory, token, partitions)
        self.courier = Courier(host, streams, cursors, self.peers)
        self.clockwork = Clockwork(host, self.peers)
        self.auditor = Auditor(host, mends=True)
        self.handing_over = HandingOver(host, self.snapshotter, self.peers)
        self.address = ""
        self.node = node
        controls: dict[str, Control] = {
            "ping": self._ping,
            "take": self._take,
            "hand_over": self._hand_over,
            "flush": self._flush,
            "describe": self._describe,
        }
        self.lanes = LaneServer(host, token, controls, partitions)
        self._flushing: asyncio.Task[None] | None = None
        if on_broken is not None:
            host.on_broken = on_broken

    async def start(self, address: str, port: int = 0, *, advertised: str | None = None) -> str:
        """Start to listen; return host:port. The host owns nothing until it is told to `take`."""
        for loop in (
            self.host.committer.run(),
            self.host.committer.reads.run(),
            self.snapshotter.run(),
            self.courier.run(),
            self.courier.overtaken.run(),
            self.clockwork.run(),
            self.auditor.run(),
            self.host.ownership.run(),
        ):
            self.host.spawn(loop)
        self.address = f"{advertised or address}:{await self.lanes.start(address, port)}"
        return self.address

    async def take(self, partitions: list[int]) -> None:
        """Claim partitions and serve them. Raises Unavailable."""
        await self.host.ownership.take(partitions, self.address)

    async def stop(self) -> None:
        """Take nothing more, answer what is in flight, write the snapshots, and end."""
        self.host.is_stopping = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ANSWER_S_MAX):
                while self.host.in_flight:
                    await self.host.sleep(_ANSWER_POLL_S)
        await self.host.committer.drained()
        await self.snapshotter.flush()
        await self.lanes.stop()
        await self.host.stop()
        await self.peers.close()

    async def _ping(self, _: Any) -> list[int]:  # noqa: ANN401 - nothing is asked
        """Return the partitions that were taken: those whose ledger is refused too."""
        return sorted(self.host.owned.keys() | self.host.refused.keys())

    async def _take(self, partitions: Any) -> int:  # noqa: ANN401 - checked here
        numbers = sorted(set(msgspec.convert(partitions, list[int])))
        if numbers and not 0 <= numbers[0] <= numbers[-1] < self.lanes.partitions:
            raise msgspec.ValidationError(f"there are partitions 0 to {self.lanes.partitions - 1} only")
        await self.take(numbers)
        return len(numbers)

    async def _hand_over(self, fields: Any) -> dict[str, Any]:  # noqa: ANN401 - checked here
        order = msgspec.convert(fields, HandOver)
        handed = await self.handing_over.hand_over(order.partitions, order.address)
        return handed._asdict()

    async def _flush(self, _: Any) -> None:  # noqa: ANN401 - nothing is asked
        """Write all snapshots; flushes that are asked for while one runs share the next one."""
        running = self._flushing
        if running is not None and not running.done():
            await asyncio.wait([running])
        if self._flushing is running:
            self._flushing = asyncio.create_task(self.snapshotter.flush())
        assert self._flushing is not None
        await asyncio.shield(self._flushing)

    async def _describe(self, _: Any) -> dict[str, Any]:  # noqa: ANN401 - nothing is asked
        host = self.host
        audited_at_ms = host.gauges.audited_at_ms
        return {
            "host": host.options.name,
            "node": self.node,
            "pid": os.getpid(),
            "address": self.address,
            "partitions": len(host.owned),
            # One that is being handed over is served all the time: its requests wait a moment.
            "ready": sum(owned.is_ready for owned in host.owned.values()) + len(self.handing_over.leaving),
            "in_flight": host.in_flight,
            "max_in_flight": host.options.max_in_flight,
            "active_stocks": sum(len(owned.state.stocks) for owned in host.owned.values()),
            "active_reservations": sum(len(owned.state.reservations) for owned in host.owned.values()),
            "known_keys": len(host.keys),
            "tail_entries": sum(owned.committed_seq - owned.snapshot_seq for owned in host.owned.values()),
            "courier_lag": self.courier.lag,
            "drift": host.gauges.drift,
            "audits": host.gauges.audits,
            "audit_rounds": host.gauges.audit_rounds,
            "audit_age_s": None if audited_at_ms is None else (host.clock() - audited_at_ms) / 1000,
            "refused": [[misfit.partition, misfit.seq, misfit.why] for misfit in host.refused.values()],
            "recovery_ms": host.gauges.recovery_ms,
            "metrics": host.gauges.plain(),
        }
