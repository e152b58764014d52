"""A local Ray for one machine: control store and raylet, and none of the processes that only a cluster needs.

The control store (GCS) keeps what it knows on disk: killed and started again, it finds its cluster, and the
hosts never notice. Without it nothing can be placed; stock operations need none of Ray.

`ray.init()` would start an autoscaler's monitor, a log monitor and a dashboard's server beside them: three
more Python processes, and seconds of two cores at every start. The parts of Ray that leave them out are not
public, and Ray is pinned: this file is where to look when it is raised.
"""

import contextlib
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
from ray._private import ray_constants, services
from ray._private.node import Node
from ray._private.parameter import RayParams

from actors.ray_host import NAMESPACE

_PATIENCE_S = 86_400
"""How long raylets, hosts and drivers live without a control store; Ray's default is 60 s."""
_OBJECT_STORE_BYTES = 100 * 1024 * 1024
"""The least that Ray works well with; no stock travels through it."""
_ALIVE = 0
"""What Ray calls `GcsNodeState.ALIVE`."""
_FOLDER_LENGTH_MAX = 50
"""Ray's sockets lie some 50 characters below its folder, and the path of a socket ends at 107."""


class _HeadNode(Node):
    """A head node without a dashboard's server, which `include_dashboard=False` would start all the same."""

    def start_api_server(self, *, include_dashboard: bool | None, raise_on_failure: bool) -> None:
        """Start nothing."""

    def start_control_store_again(self) -> None:
        """Start the control store where it was, on the same port and from what it kept."""
        self._gcs_address = self._gcs_client = None
        self.all_processes.pop(ray_constants.PROCESS_TYPE_GCS_SERVER, None)
        self.start_gcs_server()  # type: ignore[no-untyped-call]


class LocalRay:
    """Ray on this machine. Its processes die with the one that started it, however that ends."""

    def __init__(self, folder: Path) -> None:
        # Hosts are no background work; Ray's default is 15.
        os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - Ray spells it so
        kept = folder / "control-store"
        shutil.rmtree(kept, ignore_errors=True)  # Of a cluster that is gone.
        kept.mkdir(parents=True)
        os.environ["RAY_gcs_storage"] = "rocksdb"  # noqa: SIM112
        os.environ["RAY_gcs_storage_path"] = str(kept)  # noqa: SIM112
        be_patient()
        self._node = _HeadNode(
            RayParams(
                num_cpus=os.cpu_count(),
                gcs_server_port=_free_port(),  # A port of Ray's own choice would not be the same again.
                include_dashboard=False,
                include_log_monitor=False,  # type: ignore[arg-type]  # Ray's annotation is wrong
                no_monitor=True,
                object_store_memory=_OBJECT_STORE_BYTES,
                temp_dir=str(folder) if len(str(folder)) <= _FOLDER_LENGTH_MAX else None,
            ),
            head=True,
            shutdown_at_exit=False,
            spawn_reaper=True,
            ray_init_cluster=True,
        )

    @property
    def address(self) -> str:
        """Return host:port, for other Ray programs."""
        return str(self._node.address)

    def mend(self) -> None:
        """Start the control store again after it has died."""
        self._node.start_control_store_again()

    def stop(self) -> None:
        """End all processes."""
        self._node.kill_all_processes(check_alive=False, allow_graceful=True)


def be_patient() -> None:
    """Have this process, and what it starts, live on while Ray's control store is away."""
    os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", str(_PATIENCE_S))


def join_ray(address: str) -> str:
    """Connect this process to a cluster by a raylet of this machine; return its node. Raises ConnectionError.

    When that raylet is lost, Ray ends all hosts that this process has started. So it takes another than the
    head's where there is one, and one that has no core to offer before one that hosts may be lost with.
    """
    be_patient()
    with _apart_from_the_head():
        ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, configure_logging=False)
    # Ray's thread that prints what other nodes say takes a core for itself while the control store is away.
    ray._private.worker.global_worker.threads_stopped.set()  # noqa: SLF001
    node: str = ray.get_runtime_context().get_node_id()
    return node


@contextlib.contextmanager
def _apart_from_the_head() -> Iterator[None]:
    """Have Ray connect to the raylet that serves a driver best; by itself it takes the head's."""
    choose = services.get_node_to_connect_for_driver

    def chosen(gcs_client: Any, **given: Any) -> Any:  # noqa: ANN401 - Ray's own types are not public
        ids = set(services.find_node_ids())  # type: ignore[no-untyped-call]
        nodes = [node for node in gcs_client.get_all_node_info().values() if _is_here(node, ids)]
        others = sorted(
            (node for node in nodes if not node.is_head_node),
            key=lambda node: (node.resources_total.get("CPU", 0.0), node.node_id),
        )
        return others[0] if others else choose(gcs_client, **given)

    services.get_node_to_connect_for_driver = chosen  # type: ignore[assignment]
    try:
        yield
    finally:
        services.get_node_to_connect_for_driver = choose


def _is_here(node: Any, ids: set[str]) -> bool:  # noqa: ANN401 - Ray's own types are not public
    """Whether a node lives, and its raylet runs on this machine."""
    return node.state == _ALIVE and node.node_id.hex() in ids


def leave_ray() -> None:
    """Disconnect this process, if it is connected."""
    ray.shutdown()


def _free_port() -> int:
    """Return a port that nobody listens on now."""
    with contextlib.closing(socket.create_server(("", 0))) as taken:
        return int(taken.getsockname()[1])
