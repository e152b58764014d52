"""The migrations as a process of their own: Alembic's 0.65 s of imports are not the launcher's to keep.

`python -m binkeeper.migrations` brings the database of BINKEEPER_POSTGRES_URL up to date and ends.
"""

import sys

from binkeeper.events import tell
from binkeeper.settings import Settings


def main() -> int:
    """Migrates; tells `ready`, or `failed` with one line, as every child of the launcher does."""
    try:
        from persistence.migrate import migrate  # noqa: PLC0415 (0.7 s; told as an event when it fails)

        settings = Settings.read()
        assert settings.postgres_url is not None, "the launcher resolves it"
        # A database that exists keeps its number of partitions; only a number that was asked for is checked.
        asked = settings.partitions if "partitions" in settings.model_fields_set else None
        migrate(settings.postgres_url.get_secret_value(), asked)
    except Exception as error:  # noqa: BLE001 (whatever it is, the person gets one line; the log has the rest)
        text = str(error).strip().splitlines() or [type(error).__name__]
        tell(event="failed", text=f"cannot migrate the database: {text[0]}")
        return 1
    tell(event="ready")
    return 0


if __name__ == "__main__":
    sys.exit(main())
