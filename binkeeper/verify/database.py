"""Which database is verified: a server's, the one of what runs in a home, or that of a home at rest."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from binkeeper.embedded.postgres import EmbeddedPostgres
from binkeeper.errors import StartError
from binkeeper.home import Home
from binkeeper.orphans import end_leftovers, listed_process
from binkeeper.settings import Settings


class Database(NamedTuple):
    """Where it answers, and whether it may have owners at work."""

    url: str
    is_running: bool
    told: str
    """In words, without a password."""


@contextlib.contextmanager
def database_of(settings: Settings) -> Iterator[Database]:
    """Give the database of a home; an embedded one that does not run is started, and stopped afterwards.

    Raises StartError when there is none, or when it cannot be started. Nothing is made.
    """
    home = Home(settings.home)
    if settings.postgres_url is not None:
        yield Database(
            settings.postgres_url.get_secret_value(), is_running=True, told="BINKEEPER_POSTGRES_URL"
        )
        return
    if (url := _url_of_what_runs(home)) is not None:
        yield Database(url, is_running=True, told=f"{home.folder}, which runs")
        return
    if not _has_data(home.folder):
        raise StartError(f"there is no database in {home.folder}: `binkeeper up` makes it")
    home.claim()
    try:
        end_leftovers(home.read_processes(others=True))
        server = EmbeddedPostgres(home.folder)
        try:
            yield Database(server.start(), is_running=False, told=f"{home.folder}, which is at rest")
        finally:
            server.stop()
    finally:
        home.release()


def _url_of_what_runs(home: Home) -> str | None:
    """Return the URL that a running `up` has written; None when none runs, or it has not come so far."""
    if not any(listed_process(entry) is not None for entry in home.read_processes()):
        return None
    url = home.read_run().get("postgres_url")
    return url if isinstance(url, str) else None


def _has_data(folder: Path) -> bool:
    own = folder / "postgres"
    pointer = own / "location"
    try:
        place = Path(pointer.read_text(encoding="utf-8").strip()) if pointer.exists() else own
        return (place / "data").is_dir()
    except OSError as error:
        raise StartError(f"cannot read {own}: {error.strerror}") from error
