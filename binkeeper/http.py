"""The API as a process of its own: `python -m binkeeper.http`, with its settings in BINKEEPER_* variables.

It waits for Postgres and for the hosts, with back-off and not for ever, serves until SIGTERM or SIGINT, and
tells `ready` or `failed` as one JSON line on stdout, as every child of the launcher does. Logs go to stderr.
"""

import asyncio
import logging
import sys
import time

import uvloop

from actors.gateway import LaneGateway
from actors.reservations import SpanningReservations
from api.app import ApiOptions, create_app
from api.health import partitions_owned
from api.server import Server, ServerOptions
from binkeeper.errors import StartError
from binkeeper.events import tell
from binkeeper.settings import Settings
from persistence.ports import Unavailable
from persistence.postgres.directory import PostgresDirectory
from persistence.postgres.ledger import PostgresLedger
from persistence.postgres.read_model import PostgresReadModel
from persistence.postgres.sessions import Sessions

_POSTGRES_S_MAX = 60.0
_HOSTS_S_MAX = 60.0
_BACK_OFF_S = (0.05, 1.0)
"""The first and the longest pause between two tries."""
_SESSIONS = 8
_ROUTING_SESSIONS = 2
"""For finding owners and for /readyz alone: reads that are slow hold up neither."""
_LOGGER = logging.getLogger("binkeeper.http")


def main() -> int:
    """Serve until told to stop; the exit code."""
    try:
        settings = Settings.read().with_tokens()
        logging.basicConfig(
            level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s"
        )
        uvloop.run(_serve(settings))
    except (StartError, OSError, Unavailable) as error:
        tell(event="failed", text=str(error).strip().splitlines()[0] if str(error).strip() else repr(error))
        return 1
    return 0


async def _serve(settings: Settings) -> None:
    if settings.postgres_url is None:
        raise StartError("BINKEEPER_POSTGRES_URL is not set: the API needs the database that the hosts use")
    assert settings.lane_token is not None
    assert settings.admin_token is not None
    url = settings.postgres_url.get_secret_value()
    sessions = Sessions(url, "api", size=_SESSIONS)
    routing = Sessions(url, "api-routing", size=_ROUTING_SESSIONS)
    try:
        directory = PostgresDirectory(routing)
        partitions = await _partitions(directory)
        gateway = LaneGateway(directory, settings.lane_token.get_secret_value(), partitions, heeds_hosts=True)
        try:
            await _hosts(gateway)
            front = create_app(
                gateway,
                SpanningReservations(gateway, tentative_ttl_s=settings.tentative_ttl_s),
                PostgresLedger(sessions),
                PostgresReadModel(sessions),
                ApiOptions(
                    tokens=(settings.admin_token.get_secret_value(),), body_bytes_max=settings.max_body_bytes
                ),
                probe=PostgresLedger(routing),
                room=gateway.room,
            )
            options = ServerOptions(
                host=settings.http_host, port=settings.http_port, grace_s=settings.shutdown_grace_s * 0.8
            )
            await Server(front, options, lambda: tell(event="ready")).listen()
        finally:
            await gateway.close()
    finally:
        await sessions.close()
        await routing.close()


async def _partitions(directory: PostgresDirectory) -> int:
    """Wait for a migrated database and return how many partitions it has. Raises StartError."""
    deadline_s = time.monotonic() + _POSTGRES_S_MAX
    pause_s = _BACK_OFF_S[0]
    while True:
        try:
            return await directory.partitions()
        except Unavailable as error:
            if time.monotonic() > deadline_s:
                raise StartError(f"{error}, for {_POSTGRES_S_MAX:g} s") from None
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, _BACK_OFF_S[1])


async def _hosts(gateway: LaneGateway) -> None:
    """Wait until every partition has an owner that is ready; after a while serve all the same."""
    deadline_s = time.monotonic() + _HOSTS_S_MAX
    pause_s = _BACK_OFF_S[0]
    while time.monotonic() < deadline_s:
        try:
            if partitions_owned(await gateway.hosts()) >= gateway.partitions:
                return
        except Unavailable as error:
            _LOGGER.warning("the hosts cannot be asked: %s", error)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, _BACK_OFF_S[1])
    _LOGGER.warning("not every partition has an owner after %g s: serving all the same", _HOSTS_S_MAX)


if __name__ == "__main__":
    sys.exit(main())
