"""Time as text and back: integer milliseconds UTC inside, RFC 3339 and dates outside."""

import datetime as dt

_DAY_MS = 86_400_000
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def rfc3339(at_ms: int) -> str:
    """Return an instant as RFC 3339 text in UTC, to the millisecond."""
    return (_EPOCH + dt.timedelta(milliseconds=at_ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def end_of_day_ms(date: dt.date) -> int:
    """Return the first instant after a date in UTC: a lot is good through its expiry date."""
    return ((date - _EPOCH.date()).days + 1) * _DAY_MS


def date_of_expiry(expires_at_ms: int) -> str:
    """Return the last date on which a lot is good, as YYYY-MM-DD: the inverse of `end_of_day_ms`."""
    return (_EPOCH.date() + dt.timedelta(days=expires_at_ms // _DAY_MS - 1)).isoformat()
