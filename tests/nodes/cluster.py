"""A Ray cluster of several nodes on this machine: a raylet each, as little around it as Ray allows."""

import contextlib
import os
from typing import Any

import psutil

from actors.ray_head import be_patient

_OBJECT_STORE_BYTES = 80 * 1024 * 1024


class Nodes:
    """The nodes of a cluster; the first is its head."""

    def __init__(self, count: int) -> None:
        be_patient()
        os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112 - Ray spells it so
        from ray.cluster_utils import Cluster  # noqa: PLC0415 - the environment counts when it is imported

        node = {"num_cpus": 1, "object_store_memory": _OBJECT_STORE_BYTES}
        self._node = node
        self._cluster = Cluster(
            initialize_head=True, head_node_args={**node, "include_dashboard": False, "dashboard_port": None}
        )
        self.nodes: list[Any] = [self._cluster.head_node]
        for _ in range(count - 1):
            self.add()

    @property
    def address(self) -> str:
        """host:port for `BINKEEPER_RAY_ADDRESS`."""
        return str(self._cluster.address)

    def add(self) -> str:
        """Add a node; return its id."""
        self.nodes.append(self._cluster.add_node(**self._node))
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
        processes = [
            info.process
            for infos in node.all_processes.values()
            for info in infos
            if info.process.poll() is None
        ]
        found = []
        for process in processes:
            with contextlib.suppress(psutil.Error):
                parent = psutil.Process(process.pid)
                found += [*parent.children(recursive=True), parent]
        for one in found:
            with contextlib.suppress(psutil.Error):
                one.suspend()  # So that none sees another die first.
        for one in found:
            with contextlib.suppress(psutil.Error):
                one.kill()

    def kill_control_store(self) -> None:
        """End the head's control store, for good."""
        for info in self._cluster.head_node.all_processes["gcs_server"]:
            info.process.kill()

    def end(self) -> None:
        """End all nodes."""
        for node in self.nodes:
            with contextlib.suppress(Exception):
                node.kill_all_processes(check_alive=False, allow_graceful=False)
