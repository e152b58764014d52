"""Free loopback ports for embedded servers, kept from one start to the next."""

import random
import socket
from pathlib import Path

from binkeeper.errors import StartError

# Below Linux's ephemeral range (32768 and up), so that no outgoing connection takes a server's port while
# the server restarts.
_LOWEST = 20_000
_HIGHEST = 32_000
_TRIES = 200


def why_not_free(port: int, host: str = "127.0.0.1") -> str | None:
    """What keeps a server from listening on `port` of `host` now; None when nothing does."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As the servers do: a connection of the last run in TIME_WAIT does not keep the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return (error.strerror or str(error)).lower()
        return None


def kept_port(file: Path) -> int:
    """The port that `file` names if it is still free, else a new free one, which `file` names from now on.

    Raises StartError when no port is free.
    """
    if (kept := _read(file)) is not None and why_not_free(kept) is None:
        return kept
    for _ in range(_TRIES):
        port = random.randint(_LOWEST, _HIGHEST)  # noqa: S311 (guards nothing)
        if why_not_free(port) is None:
            file.write_text(f"{port}\n", encoding="ascii")
            return port
    raise StartError(f"no free port on 127.0.0.1 between {_LOWEST} and {_HIGHEST}")


def _read(file: Path) -> int | None:
    try:
        port = int(file.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return None
    return port if 0 < port < 65_536 else None
