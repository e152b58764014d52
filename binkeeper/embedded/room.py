"""Where the embedded Postgres keeps its files, and whom it runs as.

Postgres refuses to run as root. A person who is root gets a server that runs as `nobody`, who must be
able to reach the data and to run the program: below a folder of mode 0700 that is not so, and both go to a
folder that `nobody` can reach. The home remembers which.
"""

import os
import pwd
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from binkeeper.child import Account
from binkeeper.errors import StartError

_ELSEWHERE = (Path("/var/lib/binkeeper"), Path("/var/tmp/binkeeper"))  # noqa: S108 (survives a reboot)


@dataclass(frozen=True, slots=True)
class Room:
    """`folder` holds `data` and maybe a copy of the program; `account` is None unless we are root."""

    folder: Path
    account: Account | None

    @property
    def data(self) -> Path:
        """The database cluster."""
        return self.folder / "data"


def room_for(home: Path) -> Room:
    """The room of `home`, made on the first call.

    Raises StartError when the data is there but cannot be reached, rather than begin with an empty one.
    """
    usual = home / "postgres"
    usual.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        data = usual / "data"
        if data.exists() and data.stat().st_uid != os.geteuid():
            owner = _name_of(data.stat().st_uid)
            raise StartError(f"{data} belongs to {owner}: start Binkeeper as the user who made it")
        return Room(usual, None)

    pointer = usual / "location"
    folder = Path(pointer.read_text(encoding="utf-8").strip()) if pointer.exists() else usual
    if pointer.exists() and not folder.is_dir():
        raise StartError(f"the data of {home} was kept in {folder}, which is gone (see {pointer})")
    account = _owner_or_nobody(folder / "data")
    if can_reach(folder, account):
        return Room(folder, account)
    if (folder / "data").exists():
        raise StartError(
            f"{folder} cannot be reached by user {account.name}: open the folders above it (o+x)"
        )
    folder = _made_elsewhere(home, account)
    pointer.write_text(f"{folder}\n", encoding="utf-8")
    return Room(folder, account)


def can_reach(path: Path, account: Account) -> bool:
    """Whether `account` may enter `path`."""
    return runs_as(account, "/bin/sh", "-c", 'cd "$0"', str(path))


def runs_as(account: Account, *command: str) -> bool:
    """Whether `command` succeeds when `account` runs it; False too when we may not change the user."""
    try:
        done = subprocess.run(
            command,
            user=account.uid,
            group=account.gid,
            extra_groups=[],
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def copied_program(source: Path, libraries: Path | None, folder: Path) -> Path:
    """A copy of the Postgres installation `source` below `folder`, made once per version; 24 MB.

    `libraries` is the folder of shared libraries that the program looks for beside its package.
    """
    package = source.parent.name
    target = folder / "program" / package / source.name
    if target.exists():
        return target
    making = folder / f"program.{os.getpid()}"
    shutil.rmtree(making, ignore_errors=True)
    try:
        shutil.copytree(
            source,
            making / package / source.name,
            symlinks=True,
            ignore=shutil.ignore_patterns("include", "*.a", "pkgconfig", "doc", "man"),
        )
        if libraries is not None:
            shutil.copytree(libraries, making / libraries.name, symlinks=True)
        for path in (making, *making.rglob("*")):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
        shutil.rmtree(folder / "program", ignore_errors=True)
        making.rename(folder / "program")
    except OSError as error:
        shutil.rmtree(making, ignore_errors=True)
        raise StartError(f"cannot copy Postgres to {folder}: {error.strerror}") from error
    return target


def _made_elsewhere(home: Path, account: Account) -> Path:
    # A new folder each time: whoever removes a home to begin anew must not meet its old data again.
    name = f"{home.name.lstrip('.')}-{secrets.token_hex(8)}"
    for parent in _ELSEWHERE:
        folder = parent / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            parent.chmod(0o711)
            folder.chmod(0o711)
        except OSError:
            continue
        if can_reach(folder, account):
            return folder
    raise StartError(
        f"Postgres cannot run as {account.name}, who reaches neither {home} nor {_ELSEWHERE[0]}: "
        "choose another --home, or do not start as root"
    )


def _owner_or_nobody(data: Path) -> Account:
    if data.exists() and (uid := data.stat().st_uid) != 0:
        return Account(_name_of(uid), uid, data.stat().st_gid)
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError as error:
        raise StartError(
            "Postgres does not run as root and there is no user nobody: use another user"
        ) from error
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
