"""Where asyncpg's errors become ours, by what each lets us know.

what Postgres or asyncpg says                      what we say
-------------------------------------------------  ----------------------------------------------
a constraint is violated (class 23)                AssertionError: the engine's invariant is broken
the statement or its data is wrong (22, 42)        left as it is: an error in this program
ERROR, anything else                               Unavailable: the statement was rolled back
FATAL, PANIC, connection lost, time over           Unavailable when reading, else OutcomeUnknown
"""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from persistence.ports import Unavailable

LOST = (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""The connection is not there, or nobody answers on it."""


def is_ours(error: Exception) -> bool:
    """Whether the program is to blame, so that trying again cannot help."""
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return False
    own = (asyncpg.DataError, asyncpg.SyntaxOrAccessError, asyncpg.exceptions.UnsupportedClientFeatureError)
    return isinstance(error, own) or (
        isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError)
    )


def is_rolled_back(error: asyncpg.PostgresError) -> bool:
    """Whether the server itself said that the statement failed and the session lives on."""
    return getattr(error, "severity_en", None) == "ERROR"


@contextmanager
def repeatable() -> Iterator[None]:
    """Translate the errors of what may be done again: reads, and writes that come out the same.

    Raises Unavailable or AssertionError; see the table above.
    """
    try:
        yield
    except asyncpg.IntegrityConstraintViolationError as error:
        raise AssertionError(f"the database refused what the engine decided: {error}") from error
    except (asyncpg.PostgresError, *LOST) as error:
        if is_ours(error):
            raise
        raise Unavailable(f"Postgres: {str(error) or type(error).__name__}") from error
