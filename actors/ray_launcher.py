"""Starts and ends hosts as Ray actors. All calls of Ray's placement are made here."""

import asyncio
from dataclasses import dataclass
from typing import Any

import ray
import structlog
from ray._raylet import Config  # type: ignore[attr-defined]
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.outcomes import Unavailable
from actors.ray_host import ACTOR_PREFIX, NAMESPACE, BuildHost, RemoteBinHost
from actors.supervisor import HostProcess

_log = structlog.get_logger()

_START_TIMEOUT_S = 60.0
_ASK_TIMEOUT_S = 5.0


@dataclass(slots=True)
class RayHostProcess:
    """A host that runs in a Ray actor."""

    name: str
    address: str
    pid: int
    node: str
    actor: Any


class RayLauncher:
    """Launches hosts on the cluster that this process is connected to."""

    def __init__(self, settings: dict[str, Any], build: BuildHost, stop_timeout_s: float = 10.0) -> None:
        self._settings = settings
        self._build = build
        self._stop_timeout_s = stop_timeout_s
        self._asking: asyncio.Future[list[dict[str, Any]]] | None = None
        """Ray is being asked for its nodes: it does not answer while its control store is away."""

    async def nodes(self) -> list[str]:
        """Return the ids of the nodes that are alive; of those with a core, if there are any.

        Raises Unavailable.
        """
        if self._asking is None or self._asking.done():
            self._asking = asyncio.ensure_future(asyncio.to_thread(ray.nodes))
        try:
            async with asyncio.timeout(_ASK_TIMEOUT_S):
                found = await asyncio.shield(self._asking)
        except (RayError, TimeoutError, RuntimeError, ConnectionError) as fault:
            message = f"Ray does not say which nodes there are: {str(fault) or type(fault).__name__}"
            raise Unavailable(message) from fault
        alive = [node for node in found if node["Alive"]]
        able = [node for node in alive if node["Resources"].get("CPU", 0) > 0]
        return sorted(node["NodeID"] for node in able or alive)

    async def launch(self, name: str, node: str | None = None) -> RayHostProcess:
        """Start a host that owns nothing, on a node if one is named. Raises Unavailable."""
        # To make a named actor blocks until Ray's control store answers: a thread waits for it.
        making = asyncio.ensure_future(asyncio.to_thread(self._actor, name, node))
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                actor: Any = await asyncio.shield(making)
                started = await actor.start.remote()
        except asyncio.CancelledError:
            making.add_done_callback(_discard)
            raise
        except (RayError, TimeoutError, ValueError) as fault:
            making.add_done_callback(_discard)  # It may still be made, or started: nobody wants it any more.
            reason = str(fault).splitlines()[0] if str(fault) else type(fault).__name__
            message = f"host {name} did not start: {reason}"
            raise Unavailable(message) from fault
        return RayHostProcess(name, started["address"], started["pid"], started["node"], actor)

    def _actor(self, name: str, node: str | None) -> Any:  # noqa: ANN401 - an actor's handle
        strategy = NodeAffinitySchedulingStrategy(node, soft=False) if node is not None else "SPREAD"
        return RemoteBinHost.options(
            name=f"{ACTOR_PREFIX}{name}",
            namespace=NAMESPACE,
            scheduling_strategy=strategy,
            max_concurrency=16,
        ).remote(name, self._settings, self._build)

    async def kill(self, process: HostProcess) -> None:
        """End a host's process, dead or alive."""
        assert isinstance(process, RayHostProcess)
        try:
            async with asyncio.timeout(_ASK_TIMEOUT_S):
                await asyncio.to_thread(ray.kill, process.actor, no_restart=True)
        except (RayError, TimeoutError) as fault:
            _log.info("kill_failed", host=process.name, fault=str(fault))

    async def stop(self, process: HostProcess) -> None:
        """Let a host finish what it promised, and end its process."""
        assert isinstance(process, RayHostProcess)
        try:
            async with asyncio.timeout(self._stop_timeout_s):
                await process.actor.stop.remote()
        except (RayError, TimeoutError) as fault:
            _log.warning("stop_failed", host=process.name, fault=str(fault))
        await self.kill(process)


def node_lost_s_max() -> float:
    """Return after how many seconds Ray knows of a lost node at the latest, by its health check's settings.

    Those are this process's: where the head has others, set the same here.
    """
    each_ms = Config.health_check_period_ms() + Config.health_check_timeout_ms()
    tries = Config.health_check_failure_threshold()
    return float(Config.health_check_initial_delay_ms() + each_ms * tries) / 1000


def _discard(making: "asyncio.Future[Any]") -> None:
    """Have an actor ended that came too late."""
    if making.cancelled() or making.exception() is not None:
        return
    making.get_loop().run_in_executor(None, _end, making.result())  # Ray may keep us waiting.


def _end(actor: Any) -> None:  # noqa: ANN401 - an actor's handle
    try:
        ray.kill(actor, no_restart=True)
    except (RayError, ValueError, RuntimeError) as fault:
        _log.info("kill_failed", host="", fault=str(fault))
