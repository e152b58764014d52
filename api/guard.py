"""Who may ask: bearer tokens, compared in constant time and remembered once they were right."""

import base64
import binascii
import hmac
from collections.abc import Sequence

from api.problems import Code, Problem

_ADMITTED_MAX = 1_024


class Guard:
    """Admits requests with one of the tokens; `Basic` with it as the password serves browsers at /docs."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self._tokens = [token.encode() for token in tokens if token]
        self._admitted: set[bytes | None] = set()

    def admit(self, authorization: bytes | None) -> None:
        """Return when the header's value carries a token. Raises Problem (401)."""
        if authorization not in self._admitted:
            self._verify(authorization)

    def _verify(self, authorization: bytes | None) -> None:
        challenge = b'Bearer realm="binkeeper"'
        if authorization is None:
            raise Problem(
                Code.TOKEN_MISSING,
                "Send the token as `Authorization: Bearer TOKEN`.",
                headers=_asks(challenge),
            )
        scheme, _, value = authorization.strip().partition(b" ")
        token = value.strip()
        if scheme.lower() == b"basic":
            try:
                token = base64.b64decode(token, validate=True).partition(b":")[2]
            except binascii.Error:
                token = b""
        elif scheme.lower() != b"bearer":
            raise Problem(
                Code.TOKEN_INVALID, "Authorization must be `Bearer TOKEN`.", headers=_asks(challenge)
            )
        # All are compared, so that the time taken does not tell which one came near.
        if not any([hmac.compare_digest(token, known) for known in self._tokens]):  # noqa: C419
            raise Problem(
                Code.TOKEN_INVALID, "The token is not known here.",
                headers=_asks(challenge + b', error="invalid_token"'),
            )  # fmt: skip
        if len(self._admitted) >= _ADMITTED_MAX:
            self._admitted.clear()
        self._admitted.add(authorization)


def _asks(challenge: bytes) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"www-authenticate", challenge), (b"www-authenticate", b'Basic realm="binkeeper"'))
