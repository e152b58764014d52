"""The parent's end of a peer over HTTP: a service in a process of its own before a shop's database."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any, Self

from bench.child_process import running
from bench.peers.empty_route import until_it_answers
from bench.peers.shop import Shop
from bench.product import free_port


class ShopService(Shop):
    """A service that `module` is, such as `bench.peers.expert_service`; started once its tables are there."""

    def __init__(self, url: str, module: str) -> None:
        super().__init__(url)
        self._module = module
        self._port = 0
        self._pid = 0

    @contextlib.asynccontextmanager
    async def started(self) -> AsyncIterator[Self]:
        """Itself, while its process runs. Raises LoadFailed."""
        port = free_port()
        async with running("-m", self._module, self.url, str(port)) as process:
            await until_it_answers(process, port)
            self._port, self._pid = port, process.pid
            try:
                yield self
            finally:
                self._port = self._pid = 0

    @property
    def http(self) -> dict[str, Any]:
        """How the load of kind `http` connects; known once started. Nobody checks the token."""
        assert self._port, "it is not started"
        return {"host": "127.0.0.1", "port": self._port, "token": "", "path": "/v1/reservations"}

    def pids(self) -> dict[str, list[int]]:
        """Return the pids of the processes by role: the service's, and all of Postgres's."""
        assert self._pid, "it is not started"
        return {"api": [self._pid], **super().pids()}
