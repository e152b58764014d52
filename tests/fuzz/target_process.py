"""The product in one process, for fuzzers: a real host, lanes, gateway and HTTP server, on memory adapters.

Prints one line of JSON when it serves, and ends when its stdin does. Peers that are late are cut after
`PATIENCE_S`, so that many cases fit into a short time. A host that breaks ends the process, as in production.
"""

import asyncio
import faulthandler
import json
import os
import signal
import sys
import time

import uvloop

from actors import lane_server
from api import protocol
from api.app import ApiOptions, create_app
from api.server import Server, ServerOptions, listening_socket
from binkeeper.garbage import tune_process
from persistence.memory import MemoryLedger, MemoryReadModel
from tests.component.actors import world

PATIENCE_S = 1.0
API_TOKEN = "api-token"
BROKEN_EXIT = 70


class LivingWorld(world.World):
    """A world whose time goes on."""

    @property
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    @now_ms.setter
    def now_ms(self, _: int) -> None:
        """The world's fixed time is not taken."""


async def _serve() -> None:
    living = LivingWorld()
    living.faults = _Ending()
    host = await living.host("first")
    front = create_app(
        living.gateway,
        living.reservations,
        MemoryLedger(living.database),
        MemoryReadModel(living.database),
        ApiOptions(tokens=(API_TOKEN,), body_s_max=PATIENCE_S),
    )
    with listening_socket("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    ready = {"url": f"http://127.0.0.1:{port}", "token": API_TOKEN, "lanes": host.address}
    server = Server(front, ServerOptions(port=port), lambda: print(json.dumps(ready), flush=True))
    asyncio.get_running_loop().run_in_executor(None, _end_with_stdin)
    await server.listen()


class _Ending(list[BaseException]):
    """Where the world notes what broke a host: the process ends."""

    def append(self, fault: BaseException) -> None:
        sys.stderr.write(f"broken: {fault!r}\n")
        os._exit(BROKEN_EXIT)


def _end_with_stdin() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    lane_server._HELLO_S_MAX = lane_server._FRAME_S_MAX = PATIENCE_S
    protocol.HEAD_S_MAX = PATIENCE_S
    faulthandler.register(signal.SIGUSR1)
    tune_process()
    uvloop.run(_serve())
