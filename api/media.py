"""JSON and MessagePack: which one a request speaks, which one its answer shall be in, the way to and fro.

What cannot be decoded becomes a problem that names the field by its JSON pointer.
"""

import re
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from api.problems import Code, Problem, field_problem

T = TypeVar("T")


class Media(NamedTuple):
    """A content type, and how values are written in it."""

    name: str
    content_type: bytes
    problem_type: bytes
    encode: Callable[[Any], bytes]


JSON = Media("json", b"application/json", b"application/problem+json", msgspec.json.Encoder().encode)
MSGPACK = Media(
    "msgpack", b"application/msgpack", b"application/problem+msgpack", msgspec.msgpack.Encoder().encode
)

_MEDIA = {
    "application/json": JSON,
    "application/msgpack": MSGPACK,
    "application/x-msgpack": MSGPACK,
    "application/vnd.msgpack": MSGPACK,
}
_SENT: dict[bytes | None, Media] = {None: JSON, b"application/json": JSON, b"application/msgpack": MSGPACK}
"""The usual values of Content-Type, looked up without parsing."""
_WANTED: dict[bytes | None, Media | None] = {
    None: None, b"*/*": None, b"application/json": JSON, b"application/msgpack": MSGPACK,
}  # fmt: skip
"""The usual values of Accept; None leaves it to us."""


def media_sent(content_type: bytes | None, content_encoding: bytes | None = None) -> Media:
    """Return what a body is written in; JSON when it does not say. Raises Problem (415)."""
    if content_encoding is not None and content_encoding != b"identity":
        raise _unsupported(f"Content-Encoding {content_encoding.decode('latin-1')} is not spoken here.")
    media = _SENT.get(content_type)
    if media is None:
        assert content_type is not None
        name, _, parameters = content_type.decode("latin-1").partition(";")
        media = _MEDIA.get(name.strip().lower())
        if media is None:
            raise _unsupported(f"Content-Type {name.strip()!r} is not spoken here.")
        charset = re.search(r'charset\s*=\s*"?([^\s";]+)', parameters, re.IGNORECASE)
        if charset is not None and charset.group(1).lower() not in ("utf-8", "utf8"):
            raise _unsupported(f"Charset {charset.group(1)!r} is not spoken here: send UTF-8.")
    return media


def media_wanted(accept: bytes | None) -> Media | None:
    """Return what an answer shall be written in, None when it is left to us. Raises Problem (406)."""
    try:
        return _WANTED[accept]
    except KeyError:
        assert accept is not None
        return _negotiated(accept.decode("latin-1"))


def _negotiated(accept: str) -> Media | None:
    best: tuple[float, int, Media | None] | None = None
    for position, part in enumerate(accept.split(",")):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        media = _MEDIA.get(name)
        if media is None and name not in ("*/*", "application/*"):
            continue
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    weight = float(parameter[2:])
                except ValueError:
                    weight = 0.0
        if weight > 0 and (best is None or (weight, -position) > best[:2]):
            best = (weight, -position, media)
    if best is None:
        raise Problem(
            Code.NOT_ACCEPTABLE, f"Nothing in Accept {accept!r} is spoken here.",
            accepted=["application/json", "application/msgpack"],
        )  # fmt: skip
    return best[2]


def _unsupported(detail: str) -> Problem:
    return Problem(Code.UNSUPPORTED_MEDIA_TYPE, detail, supported=["application/json", "application/msgpack"])


class Decoder(Generic[T]):
    """Decodes one type of body from either media; everything wrong is a Problem."""

    __slots__ = ("_json", "_msgpack")

    def __init__(self, body: Any) -> None:  # noqa: ANN401 - a type, or a union of types
        self._json: Callable[[bytes], T] = msgspec.json.Decoder(body).decode
        self._msgpack: Callable[[bytes], T] = msgspec.msgpack.Decoder(body).decode

    def decode(self, media: Media, data: bytes) -> T:
        """Return the body. Raises Problem (400, 422)."""
        decode = self._json if media is JSON else self._msgpack
        try:
            return decode(data)
        except msgspec.ValidationError as error:
            problem = problem_of_validation(str(error))
        except _UNDECODABLE as error:
            problem = _malformed(media, error)
        if problem.code != Code.MALFORMED_BODY:
            # A wrong field is found before the rest is read: whether that can be decoded is seen here.
            # Of a large body only the structure: millions of empty maps take 60 times as much as their bytes.
            whole = Any if len(data) <= _WHOLE_BYTES_MAX else msgspec.Raw
            try:
                (msgspec.json.decode if media is JSON else msgspec.msgpack.decode)(data, type=whole)
            except _UNDECODABLE as error:
                problem = _malformed(media, error)
        raise problem


_WHOLE_BYTES_MAX = 1024 * 1024
_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def _malformed(media: Media, error: Exception) -> Problem:
    reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
    return Problem(Code.MALFORMED_BODY, f"The body is not {media.name}: {reason}.")


_AT = re.compile(r" - at (?:`key` in )?`\$(.*)`$", re.DOTALL)
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
_OWN = re.compile(r"(\w+): (.*)", re.DOTALL)
_NAMED = re.compile(r"Object (missing required|contains unknown) field `(.*)`", re.DOTALL)


def problem_of_validation(message: str) -> Problem:
    """Return the problem that a message of msgspec (or of `api.bodies.Wrong`) tells of."""
    path = ""
    if found := _AT.search(message):
        message, path = message[: found.start()], found.group(1)
    pointer = "".join(f"/{field or index}" for field, index in _STEP.findall(path))
    if own := _OWN.fullmatch(message):
        pointer += f"/{own.group(1).rstrip('_')}"
        message = own.group(2)
        if message.startswith("Object missing required field"):
            rest = message.removeprefix("Object missing required field").lstrip(": ")
            return field_problem(
                Code.MISSING_FIELD, pointer, "This field is required" + (f": {rest}." if rest else ".")
            )
        return field_problem(Code.INVALID_VALUE, pointer, message + ".")
    if named := _NAMED.fullmatch(message):
        pointer += "/" + named.group(2).replace("~", "~0").replace("/", "~1")
        if named.group(1) == "missing required":
            return field_problem(Code.MISSING_FIELD, pointer, "This field is required.")
        return field_problem(Code.UNKNOWN_FIELD, pointer, "This field is not known here.")
    if ", got `" in message or message == "Expected `str`":
        return field_problem(Code.WRONG_TYPE, pointer, message + ".")
    return field_problem(Code.INVALID_VALUE, pointer, message + ".")
