"""Secrets that Binkeeper makes for itself: one file each, readable by its owner only."""

import contextlib
import os
import secrets
from pathlib import Path

from binkeeper.errors import StartError

_BYTES = 24


def kept_secret(file: Path) -> str:
    """The secret in `file`; made on the first call, the same ever after. Raises StartError."""
    try:
        with contextlib.suppress(FileNotFoundError):
            if secret := file.read_text(encoding="ascii").strip():
                return secret
        secret = secrets.token_urlsafe(_BYTES)
        write_private(file, secret + "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(
            f"cannot keep a secret in {file}: {getattr(error, 'strerror', None) or error}"
        ) from error
    return secret


def write_private(file: Path, text: str) -> None:
    """Writes `text` to `file` with mode 0600, whole or not at all. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(file)
