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
from pathlib import Path

import ray
from ray._private import ray_constants
from ray._private.node import Node
from ray._private.parameter import RayParams

from actors.ray_host import NAMESPACE

_PATIENCE_S = 86_400
"""How long raylets, hosts and drivers live without a control store; Ray's default is 60 s."""
_OBJECT_STORE_BYTES = 100 * 1024 * 1024
"""The least that Ray works well with; no stock travels through it."""
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


def join_ray(address: str) -> None:
    """Connect this process to a cluster. Raises ConnectionError."""
    be_patient()
    ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, configure_logging=False)
    # Ray's thread that prints what other nodes say takes a core for itself while the control store is away.
    ray._private.worker.global_worker.threads_stopped.set()  # noqa: SLF001


def leave_ray() -> None:
    """Disconnect this process, if it is connected."""
    ray.shutdown()


def _free_port() -> int:
    """Return a port that nobody listens on now."""
    with contextlib.closing(socket.create_server(("", 0))) as taken:
        return int(taken.getsockname()[1])
