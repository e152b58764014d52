"""Starting and ending the processes of hosts, as the supervisor asks for it."""

from typing import Protocol

from actors.places import HostProcess


class Launcher(Protocol):
    """Starts and ends the processes of hosts."""

    async def launch(self, name: str, node: str | None = None) -> HostProcess:
        """Start a host that owns nothing, on a node if one is named. Raises Unavailable."""

    async def nodes(self) -> list[str]:
        """Return the nodes that hosts can be started on. Raises Unavailable."""

    async def kill(self, process: HostProcess) -> None:
        """End a host's process, dead or alive."""

    async def stop(self, process: HostProcess) -> None:
        """Let a host finish what it promised, and end its process."""
