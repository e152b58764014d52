"""The supervisor's process: starts Ray (or joins a cluster), places the bin hosts and replaces what dies.

`python -m binkeeper.supervisor`, a child of the launcher or a service of its own. Its local Ray dies with it.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, NamedTuple

import psutil
import structlog

from binkeeper.events import tell
from binkeeper.settings import Settings

_log = structlog.get_logger()

_DATABASE_TIMEOUT_S = 60.0
_WATCH_S = 0.5


class Ray(NamedTuple):
    """The Ray that hosts are placed on."""

    address: str
    mend: Callable[[], None] | None
    """Starts the control store of a Ray of our own again; None for a cluster that others run."""
    raylet: psutil.Process | None
    """By which this process belongs to a cluster that others run; None when it cannot be seen."""


@contextlib.contextmanager
def ray_of(settings: Settings) -> Iterator[Ray]:
    """Start Ray on this machine, or join the cluster that the settings name."""
    from actors.ray_head import LocalRay, join_ray, leave_ray  # noqa: PLC0415 - 0.6 s for Ray

    local = None
    address = settings.ray_address
    if address is None:
        for session in (settings.home / "ray").glob(
            "session_2*"
        ):  # Of starts that are over: the home is ours.
            shutil.rmtree(session, ignore_errors=True)
        local = LocalRay(settings.home / "ray")
        address = local.address
    try:
        node = join_ray(address)
        yield Ray(address, None, _raylet_of(node)) if local is None else Ray(address, local.mend, None)
    finally:
        leave_ray()
        if local is not None:
            local.stop()


def _raylet_of(node: str) -> psutil.Process | None:
    """Return the raylet of a node, if it runs where this process sees it."""
    for process in psutil.process_iter(["name", "cmdline"]):
        if process.info["name"] == "raylet" and any(node in word for word in process.info["cmdline"] or ()):
            return process
    return None


def ray_processes() -> list[dict[str, Any]]:
    """Return Ray's own processes on this machine: the control store and the raylet."""
    roles = {"gcs_server": "gcs", "raylet": "raylet"}
    found = []
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            role = roles.get(process.name())
            if role is not None and process.status() != psutil.STATUS_ZOMBIE:
                found.append({"role": role, "pid": process.pid})
    return found


def host_settings(settings: Settings, token: str, partitions: int) -> dict[str, Any]:
    """Return what a host is built from: see `binkeeper.host.build_host`."""
    assert settings.postgres_url is not None and settings.nats_url is not None  # noqa: PT018 - resolved above
    return {
        "postgres_url": settings.postgres_url.get_secret_value(),
        "nats_url": settings.nats_url.get_secret_value(),
        "lane_host": settings.lane_host,
        "lane_token": token,
        "partitions": partitions,
        "max_in_flight": settings.max_in_flight,
        "key_window": settings.key_window,
        "snapshot_interval_s": settings.snapshot_interval_s,
        "log_level": settings.log_level,
    }


async def run(settings: Settings, ray: Ray) -> None:
    """Serve until SIGTERM. Raises Fault or OSError when the start fails."""
    from actors.gateway import LaneGateway  # noqa: PLC0415 - after Ray was started
    from actors.newcomers import Newcomers  # noqa: PLC0415
    from actors.places import first_places  # noqa: PLC0415
    from actors.placing import Placing  # noqa: PLC0415
    from actors.ray_launcher import RayLauncher, node_lost_s_max  # noqa: PLC0415
    from actors.supervisor import HostProcess, Supervisor  # noqa: PLC0415
    from binkeeper.host import build_host  # noqa: PLC0415
    from engine.partitioning import partition_of  # noqa: PLC0415
    from persistence.postgres import PostgresDirectory, PostgresWishes, Sessions  # noqa: PLC0415

    assert settings.postgres_url is not None and settings.nats_url is not None  # noqa: PT018 - resolved above
    assert settings.lane_token is not None
    token = settings.lane_token.get_secret_value()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)

    sessions = Sessions(settings.postgres_url.get_secret_value(), "supervisor", size=2)
    directory = PostgresDirectory(sessions)
    partitions = await _partitions(directory, stopping)
    if partitions is None:
        return
    gateway = LaneGateway(directory, token, partitions)
    launcher = RayLauncher(host_settings(settings, token, partitions), build_host, settings.shutdown_grace_s)

    def changed(processes: Sequence[HostProcess]) -> None:
        hosts = [{"role": "host", "pid": p.pid, "name": p.name, "address": p.address} for p in processes]
        tell(event="processes", processes=(ray_processes() if ray.mend is not None else []) + hosts)

    changed([])
    tell(event="ray", address=ray.address)
    supervisor = Supervisor(
        launcher,
        gateway.control,
        token,
        partitions=partitions,
        hosts=settings.hosts,
        standbys=settings.standbys,
        changed=changed,
    )
    wishes = PostgresWishes(sessions)
    isolated = {partition_of(*stock, partitions) for stock in (await wishes.wished()).isolated}
    supervisor.doubt_nodes_for(node_lost_s_max())
    supervisor.arrange(first_places(partitions, settings.hosts, isolated))
    newcomers = Newcomers(loop.time) if settings.share_new_nodes else None
    placing = Placing(supervisor, wishes, partitions=partitions, hosts=settings.hosts, newcomers=newcomers)
    tell(event="progress", text=f"starting {settings.hosts} host(s) for {partitions} partitions")
    await supervisor.start()
    granting = asyncio.create_task(_grant(supervisor, placing))
    while not stopping.is_set():
        if ray.mend is not None and await _mended(ray.mend):
            changed(supervisor.processes())
        if ray.raylet is not None:
            await _connected(ray.raylet, launcher.nodes)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_WATCH_S):
                await stopping.wait()
    granting.cancel()
    await asyncio.gather(granting, return_exceptions=True)
    await supervisor.stop()
    await gateway.close()
    await sessions.close()


async def _mended(mend: Callable[[], None]) -> bool:
    """See whether our own Ray lives; start its control store again, if that alone has died."""
    roles = {entry["role"] for entry in ray_processes()}
    if "raylet" not in roles:
        tell(event="failed", text="Ray's raylet died")
        os._exit(1)  # Hosts have died with it, what is left of Ray dies with us, and all is started anew.
    if "gcs" in roles:
        return False
    try:
        await asyncio.to_thread(mend)
    except Exception as fault:  # noqa: BLE001 - Ray raises anything; stock operations go on without it
        _log.warning("ray_waits", fault=str(fault))
        return False
    _log.warning("ray_mended")
    return True


async def _connected(raylet: psutil.Process, nodes: Callable[[], Awaitable[object]]) -> None:
    """End this process when its raylet is gone, as soon as Ray answers: only a new one can place hosts.

    Ray ends our hosts then, too. While it is away they go on, and standbys still take over.
    """
    with contextlib.suppress(psutil.NoSuchProcess):
        if raylet.is_running() and raylet.status() != psutil.STATUS_ZOMBIE:
            return
    with contextlib.suppress(Exception):  # Unavailable, which is imported late
        await nodes()
        tell(event="failed", text="the raylet of the supervisor died")
        os._exit(1)


async def _grant(supervisor: Any, placing: Any) -> None:  # noqa: ANN401 - imported late
    """Tell when every place is served, and carry out what is wished from then on."""
    await supervisor.serving()
    tell(event="ready")
    await placing.run()


async def _partitions(directory: Any, stopping: asyncio.Event) -> int | None:  # noqa: ANN401 - imported late
    """Wait for the migrated database; return how many partitions it has, or None when told to stop."""
    from persistence.ports import Unavailable  # noqa: PLC0415 - imported late

    deadline_s = asyncio.get_running_loop().time() + _DATABASE_TIMEOUT_S
    while not stopping.is_set():
        try:
            return int(await directory.partitions())
        except Unavailable:
            if asyncio.get_running_loop().time() > deadline_s:
                raise
            await asyncio.sleep(0.1)
    return None


def main() -> int:
    """Run the supervisor; one line tells why it could not."""
    settings = Settings.read()
    try:
        with ray_of(settings) as ray:
            asyncio.run(run(settings, ray))
    except Exception as fault:
        text = str(fault).splitlines()[0] if str(fault) else type(fault).__name__
        tell(event="failed", text=f"supervisor: {text}")
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
