"""A Ray cluster of several nodes on this machine: a raylet each, as little around it as Ray allows.

It is laid out as in `docker-compose.yml`: the head offers no core, the supervisor has a raylet of its own,
and hosts live on the other nodes.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from actors.ray_head import be_patient
from binkeeper.ports import kept_port

_OBJECT_STORE_BYTES = 80 * 1024 * 1024
_TRIES = 3


class Nodes:
    """The nodes of a cluster: its head, the supervisor's, and `count` for hosts."""

    def __init__(self, count: int) -> None:
        be_patient()
        self._kept = Path(tempfile.mkdtemp(prefix="bk-gcs-"))
        os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - Ray spells it so
        os.environ["RAY_gcs_storage"] = "rocksdb"  # noqa: SIM112
        os.environ["RAY_gcs_storage_path"] = str(self._kept)  # noqa: SIM112
        from ray.cluster_utils import Cluster  # noqa: PLC0415 - the environment counts when it is imported

        self._node = {"object_store_memory": _OBJECT_STORE_BYTES}
        self._port = kept_port(self._kept / "head.port")
        self._cluster = Cluster(initialize_head=True, head_node_args=self._head_arguments())
        self.head = self._cluster.head_node
        self.supervisors = _started(lambda: self._cluster.add_node(**self._node, num_cpus=0))
        self.nodes: list[Any] = []
        """Those for hosts."""
        for _ in range(count):
            self.add()

    def _head_arguments(self) -> dict[str, Any]:
        return {
            **self._node,
            "num_cpus": 0,
            "gcs_server_port": self._port,
            "include_dashboard": False,
            "dashboard_port": None,
        }

    @property
    def address(self) -> str:
        """host:port for `BINKEEPER_RAY_ADDRESS`."""
        return str(self._cluster.address)

    def add(self) -> str:
        """Add a node for hosts; return its id."""
        self.nodes.append(_started(lambda: self._cluster.add_node(**self._node, num_cpus=1)))
        return str(self.nodes[-1].node_id)

    def node_of(self, pid: int) -> str:
        """Return the id of the node that a process runs on, "" for none."""
        family = {process.pid for process in psutil.Process(pid).parents()}
        for node in self.nodes:
            if any(info.process.pid in family for info in node.all_processes.get("raylet", [])):
                return str(node.node_id)
        return ""

    def kill(self, node_id: str) -> None:
        """End everything of a node at once, as losing its power does."""
        node = next(node for node in self.nodes if node.node_id == node_id)
        self.nodes.remove(node)
        _kill(node)

    def kill_head(self) -> list[str]:
        """End everything of the head at once: control store, raylet, and what is around them.

        Return the names of what has ended.
        """
        return _kill(self.head)

    def kill_head_and_supervisors(self) -> None:
        """End everything of the head and of the supervisor's node, and so the supervisor."""
        _kill(self.supervisors)
        _kill(self.head)

    def start_head(self) -> None:
        """Start a head where the one before was: on the same port, from what its control store kept."""
        from ray._private.node import Node  # noqa: PLC0415 - the environment counts when it is imported
        from ray._private.parameter import RayParams  # noqa: PLC0415

        self.head = _started(
            lambda: Node(RayParams(**self._head_arguments()), head=True, shutdown_at_exit=False)
        )

    def end(self) -> None:
        """End all nodes."""
        for node in (*self.nodes, self.supervisors, self.head):
            with contextlib.suppress(Exception):
                node.kill_all_processes(check_alive=False, allow_graceful=False)
        shutil.rmtree(self._kept, ignore_errors=True)


def _started(start: Callable[[], Any]) -> Any:
    """Start a node. On a busy machine a raylet gives up after 15 s, its agents being late: try again."""
    for tries_left in reversed(range(_TRIES)):
        there = {process.pid for process in psutil.Process().children()}
        try:
            return start()
        except Exception:
            if tries_left == 0:
                raise
            for process in psutil.Process().children():
                if process.pid not in there:
                    for one in (*process.children(recursive=True), process):  # A raylet has agents.
                        with contextlib.suppress(psutil.NoSuchProcess):
                            one.kill()
    raise AssertionError("unreachable")


def _kill(node: Any) -> list[str]:
    """End all processes of a node at once; return their names."""
    processes = [
        info.process for infos in node.all_processes.values() for info in infos if info.process.poll() is None
    ]
    found = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            parent = psutil.Process(process.pid)
            found += [*parent.children(recursive=True), parent]
    names = []
    for one in found:
        with contextlib.suppress(psutil.Error):
            names.append(one.name())
            one.suspend()  # So that none sees another die first.
    for one in found:
        with contextlib.suppress(psutil.Error):
            one.kill()
    return names
