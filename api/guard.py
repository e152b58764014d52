"""Who may ask: bearer tokens, compared in constant time and remembered once they were right."""

import base64
import binascii
import hmac
from collections.abc import Sequence

from api.problems import Code, Headers, Problem

_ADMITTED_MAX = 1_024


class Guard:
    """Admits requests with one of the tokens; `Basic` with it as the password only browsers at /docs."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self._tokens = [token.encode() for token in tokens if token]
        self._admitted: set[bytes | None] = set()
        """Values that were right, all of them `Bearer`."""

    def admit(self, authorization: bytes | None, *, by_browser: bool = False) -> None:
        """Return when the header's value carries a token. Raises Problem (401)."""
        if authorization not in self._admitted:
            self._verify(authorization, by_browser=by_browser)

    def _verify(self, authorization: bytes | None, *, by_browser: bool) -> None:
        challenge = b'Bearer realm="binkeeper"'
        if authorization is None:
            raise Problem(
                Code.TOKEN_MISSING,
                "Send the token as `Authorization: Bearer TOKEN`.",
                headers=_asks(challenge, by_browser=by_browser),
            )
        scheme, _, value = authorization.strip().partition(b" ")
        token = value.strip()
        is_basic = by_browser and scheme.lower() == b"basic"
        if is_basic:
            try:
                token = base64.b64decode(token, validate=True).partition(b":")[2]
            except binascii.Error:
                token = b""
        elif scheme.lower() != b"bearer":
            raise Problem(
                Code.TOKEN_INVALID,
                "Authorization must be `Bearer TOKEN`.",
                headers=_asks(challenge, by_browser=by_browser),
            )
        # All are compared, so that the time taken does not tell which one came near.
        if not any([hmac.compare_digest(token, known) for known in self._tokens]):  # noqa: C419
            raise Problem(
                Code.TOKEN_INVALID, "The token is not known here.",
                headers=_asks(challenge + b', error="invalid_token"', by_browser=by_browser),
            )  # fmt: skip
        if is_basic:
            return
        if len(self._admitted) >= _ADMITTED_MAX:
            self._admitted.clear()
        self._admitted.add(authorization)


def _asks(challenge: bytes, *, by_browser: bool) -> Headers:
    """Return what asks for a token. `Basic` makes a browser show its login, and is for pages only."""
    bearer = (b"www-authenticate", challenge)
    return (bearer, (b"www-authenticate", b'Basic realm="binkeeper"')) if by_browser else (bearer,)
