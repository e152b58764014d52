"""Time as text and back: integer milliseconds UTC inside, RFC 3339 and dates outside."""

import datetime as dt
from functools import lru_cache

_DAY_MS = 86_400_000
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def rfc3339(at_ms: int) -> str:
    """Return an instant as RFC 3339 text in UTC, to the millisecond."""
    second, millisecond = divmod(at_ms, 1000)
    return f"{_second(second)}.{millisecond:03d}Z"


@lru_cache(maxsize=4_096)
def _second(at_s: int) -> str:
    """Return an instant without its fraction. Instants that are shown together lie close together."""
    return (_EPOCH + dt.timedelta(seconds=at_s)).isoformat()[:19]


def end_of_day_ms(date: dt.date) -> int:
    """Return the first instant after a date in UTC: a lot is good through its expiry date."""
    return ((date - _EPOCH.date()).days + 1) * _DAY_MS


def date_of_expiry(expires_at_ms: int) -> str:
    """Return the last date on which a lot is good, as YYYY-MM-DD: the inverse of `end_of_day_ms`."""
    return (_EPOCH.date() + dt.timedelta(days=expires_at_ms // _DAY_MS - 1)).isoformat()
