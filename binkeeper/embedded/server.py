"""What the embedded servers share: the steps of a start, a stop, and a throwaway one for tests."""

import contextlib
import importlib.metadata
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Self

from binkeeper.child import Child, ChildSpec, last_complaint
from binkeeper.errors import StartError


class EmbeddedServer(ABC):
    """A server of one home. `start` and `stop` are all that most callers need.

    `prepare`, `launch` and `wait_until_ready` are its steps, for a launcher that does other things meanwhile.
    """

    role: ClassVar[str]

    def __init__(self, home: Path, log_file: Path | None = None) -> None:
        self._home = home.absolute()
        self._log_file = log_file or self._home / "logs" / f"{self.role}.log"
        self._log_start = 0
        self.child: Child | None = None

    @classmethod
    @contextlib.contextmanager
    def temporary(cls) -> Iterator[Self]:
        """A running server on a folder of its own, removed afterwards; for tests and measurements."""
        home = Path(tempfile.mkdtemp(prefix=f"binkeeper-{cls.role}-"))
        home.chmod(0o711)  # Under root, the server's user must be able to pass through.
        server = cls(home)
        try:
            server.start()
            yield server
        finally:
            server.stop()
            shutil.rmtree(home, ignore_errors=True)

    @property
    @abstractmethod
    def url(self) -> str:
        """Where it is reached, with user and password; known once prepared."""

    @property
    @abstractmethod
    def data(self) -> Path:
        """The folder it works and stores in; known once prepared."""

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
        """Ends the server cleanly: clients are cut off, everything that it took is on disk."""
        if self.child is not None:
            self.child.stop()
            self.child = None

    @abstractmethod
    def prepare(self) -> None:
        """Settles folders, port and password, and ends what an earlier run left; slow the first time."""

    def launch(self) -> Child:
        """Starts the prepared server's process; it must be the main thread that does (see `child`)."""
        self._log_start = self._log_file.stat().st_size if self._log_file.exists() else 0
        self.child = Child.start(self._spec())
        return self.child

    @abstractmethod
    def wait_until_ready(self) -> None:
        """Waits until it serves a client; raises StartError when it ends instead, or takes too long."""

    def ailment(self) -> str | None:
        """Why it must be started anew although it runs, if it must; asked now and then."""
        return None

    @abstractmethod
    def _spec(self) -> ChildSpec:
        """How its process is started."""

    def _reason(self, what: str) -> str:
        """`what` happened, and the last thing that the server said about it."""
        complaint = last_complaint(self._log_file, start=self._log_start)
        return f"{what}: {complaint or 'it said nothing'} (log: {self._log_file})"


def program_in(distribution: str, program: str, setting: str) -> Path:
    """The newest `program` (as `folder/name` or `name`) that the installed `distribution` holds.

    Raises StartError when there is none; `setting` then names an existing server instead.
    """
    try:
        files = importlib.metadata.files(distribution) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise StartError(f"{distribution} is missing: install it, or set {setting}") from error
    programs = [path for file in files if file.match(program) and (path := Path(str(file.locate()))).exists()]
    if not programs:
        raise StartError(f"{distribution} holds no {program} here: reinstall it, or set {setting}")
    return max(programs).resolve()
