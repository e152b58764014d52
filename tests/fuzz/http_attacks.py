"""Requests that harm, or are none: heads and bodies that are wrong, huge, slow, or lie about themselves."""

import contextlib
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

import msgspec

from tests.fuzz.hostile_bytes import damaged, deep, hostile_value, plain_value
from tests.fuzz.target import MIB

_BODY = {"site": "fuzz", "sku": "attacked", "location": "A", "quantity": 1}
_ROUTES = {
    "/v1/stock/receive": _BODY,
    "/v1/reservations": {"site": "fuzz", "sku": "attacked", "quantity": 1},
    "/v1/stock/move": {**{k: _BODY[k] for k in ("site", "sku", "quantity")}, "from": "A", "to": "B"},
    "/v1/stock/count": {"site": "fuzz", "sku": "attacked", "location": "A", "counted": 5},
    "/v1/batch": {"operations": [{"op": "receive", **_BODY}, {"op": "extend", "id": "x", "ttl_s": 1}]},
    "/v1/reservations/x/pick": {"quantity": 1},
}
_METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "PRI", "x")


class Attack(NamedTuple):
    """What is sent on one connection."""

    chunks: list[bytes]
    pause_s: float = 0.0
    may_succeed: bool = False
    """Whether the request may be a right one, by accident."""
    has_end: bool = True
    """Whether the peer says that it sends nothing more, when it has sent all."""
    never: tuple[str, ...] = ()
    """SKUs of which nothing may be received, unless the first answer is a success, or there is none."""
    is_cut_in_the_end: bool = False
    """Whether it is not enough that an answer comes: the connection must end."""


def _head(token: str, path: str, *headers: str, method: str = "POST") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {token}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")


def _sent(token: str, path: str, body: bytes, kind: str = "json", *headers: str) -> bytes:
    """Return a whole request."""
    length = f"Content-Length: {len(body)}"
    return _head(token, path, f"Content-Type: application/{kind}", length, *headers) + body


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value)


def _bad_json(rng: Random, path: str) -> bytes:
    body = _json(_ROUTES[path])
    return rng.choice(
        [
            lambda: body.replace(b'"fuzz"', b'"\xff\xfe"'),
            lambda: body.replace(b"1", b"1" * rng.choice((20, 400, 5_000))),
            lambda: body.replace(
                b"1", rng.choice((b"NaN", b"1e999", b"-0", b"1.5", b"0x1", b"1_0", b"\xef\xbc\x91"))
            ),
            lambda: body[:-1] + b"," + body[1:],
            lambda: body[: rng.randrange(len(body))],
            lambda: body + rng.choice((b"x", b"{}", b"\0")),
            lambda: rng.choice((b"[", b'{"a":', b'{"site":[')) * rng.choice((100, 10_000, 500_000)),
            lambda: b'{"operations":[' + b"0," * rng.choice((10_001, 1_000_000)) + b"0]}",
            lambda: b'{"lines":[' + b"{}," * 100_000 + b"{}]}",
            lambda: b'{"site":"' + b"x" * rng.choice((65, 100_000, 7_000_000)) + b'"}',
            lambda: b'{"' + b"\\ud800" * 100 + b'":1}',
            lambda: _json({**_ROUTES[path], rng.choice(list(_ROUTES[path])): _plain(rng)}),
            lambda: damaged(rng, body),
        ]
    )()


def _plain(rng: Random) -> Any:
    """Return a hostile value that JSON can carry."""
    while True:
        with contextlib.suppress(TypeError, ValueError, msgspec.MsgspecError):
            value = plain_value(rng)
            _json(value)
            return value


def _bad_msgpack(rng: Random, path: str) -> bytes:
    body = _ROUTES[path]
    encode = msgspec.msgpack.encode
    return rng.choice(
        [
            lambda: encode({**body, rng.choice(list(body)): hostile_value(rng)}),
            lambda: damaged(rng, encode(body)),
            lambda: deep(rng),
            lambda: b"\x81\xaaoperations" + deep(rng),
            lambda: b"\x81\xaaoperations\xdd\xff\xff\xff\xff" + b"\x00" * 100,
            lambda: b"\x81\xaaoperations\xdd" + (7_000_000).to_bytes(4, "big") + b"\x00" * 7_000_000,
            lambda: b"\x81\xa5lines\xdd" + (7_000_000).to_bytes(4, "big") + b"\x80" * 7_000_000,
            lambda: encode(hostile_value(rng)),
            lambda: rng.randbytes(rng.randrange(2_000)),
        ]
    )()


def _body_attack(rng: Random, token: str) -> Attack:
    path = rng.choice(list(_ROUTES))
    if rng.random() < 0.5:
        return Attack([_sent(token, path, _bad_json(rng, path))], may_succeed=True)
    return Attack([_sent(token, path, _bad_msgpack(rng, path), "msgpack")], may_succeed=True)


def _bad_chunks(rng: Random, token: str) -> Attack:
    head = _head(token, "/v1/stock/receive", "Transfer-Encoding: chunked")
    body = _json({**_BODY, "sku": "in chunks"})
    size = b"%x\r\n" % len(body)
    wrong = rng.choice(
        [
            b"zz\r\n" + body + b"\r\n0\r\n\r\n",
            b"-1\r\n" + body + b"\r\n0\r\n\r\n",
            b"ffffffffffffffffff\r\n" + body,
            b"%x\r\n" % (len(body) + 5) + body + b"\r\n0\r\n\r\n",
            b"%x\r\n" % (len(body) - 5) + body + b"\r\n0\r\n\r\n",
            size + body + b"0\r\n\r\n",
            size + body + b"\r\n" + rng.randbytes(20),
            b"1;" + b"x" * 200_000 + b"\r\n{",
            size + body + b"\r\n0\r\nTrailer" + b"x" * 200_000,
        ]
    )
    return Attack([head + wrong], never=("in chunks",))


def _lying_length(rng: Random, token: str) -> Attack:
    body = _json({**_BODY, "sku": "lied about"})
    lengths = [
        ["0"],
        ["-1"],
        ["x"],
        ["9" * 30],
        ["5", "50"],
        [str(len(body)), str(len(body) + 1)],
        [""],
        ["1e3"],
    ]
    lengths += [[str(len(body) + rng.randrange(1, 100))], [str(rng.randrange(len(body)))], ["+5"], ["0x10"]]
    heads = [f"Content-Length: {length}" for length in rng.choice(lengths)]
    if rng.random() < 0.2:
        heads.append("Transfer-Encoding: chunked")
    return Attack([_head(token, "/v1/stock/receive", *heads) + body], has_end=False, never=("lied about",))


def _garbage_behind(rng: Random, token: str) -> Attack:
    """A right request with garbage behind it: it may happen, and then nobody may say that it did not."""
    body = _json({**_BODY, "sku": "with garbage behind"})
    right = _sent(token, "/v1/stock/receive", body)
    return Attack([right + rng.randbytes(30)], may_succeed=True, never=("with garbage behind",))


def _huge_head(rng: Random, token: str) -> Attack:
    many = rng.choice((70_000, 1_000_000, 10_000_000))
    head = rng.choice(
        [
            lambda: _head(token, "/v1/stock", "X: " + "x" * many, method="GET"),
            lambda: _head(token, "/v1/stock", "x" * many + ": x", method="GET"),
            lambda: _head(token, "/v1/stock?sku=" + "x" * many, method="GET"),
            lambda: _head(token, "/v1/stock", *[f"X-{n}: x" for n in range(many // 8)], method="GET"),
            lambda: _head(token, "/v1/stock", method="x" * many),
            lambda: _head(token, "/v1/stock", "X: " + "x" * many, method="GET")[:-4],
        ]
    )()
    chunks = [head[place : place + 50_000] for place in range(0, len(head), 50_000)]
    return Attack(chunks, has_end=False, may_succeed=many == 70_000)


def _bad_head(rng: Random, token: str) -> Attack:
    head = _head(token, "/v1/stock", method=rng.choice(_METHODS))
    wrong = rng.choice(
        [
            lambda: damaged(rng, head),
            lambda: rng.randbytes(rng.randrange(1, 3_000)),
            lambda: head.replace(
                b"HTTP/1.1", rng.choice((b"HTTP/9.9", b"HTTP/2", b"http/1.1", b"HTTP/1.1 x"))
            ),
            lambda: head.replace(
                b"Host: x", rng.choice((b"Ho st: x", b"\0: x", b"Host : x", b" Host: x", b":"))
            ),
            lambda: head.replace(
                b"/v1/stock", rng.choice((b"//", b"http://[", b"*", b"/%zz", b"/\xff", b"/%00"))
            ),
            lambda: head.replace(b"\r\n", rng.choice((b"\n", b"\r", b"\r\r\n", b"\n\n"))),
            lambda: b"\r\n" * 1_000 + head,
            lambda: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        ]
    )()
    return Attack([wrong], may_succeed=True)


def _odd_headers(rng: Random, token: str) -> Attack:
    odd = ["Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings", "Expect: 100-continue", "Expect: x"]
    odd += ["Upgrade: websocket\r\nConnection: Upgrade", "Content-Encoding: gzip", "Accept: \xff, */*;q=x"]
    odd += ['Idempotency-Key: "\\', "Idempotency-Key: " + "x" * 65, "Accept: " + "a/b;q=0.1," * 5_000 + "*/*"]
    odd += ['Content-Type: application/json; charset="utf-7"', "Range: bytes=0-", "X-Request-Id: \x80\x81"]
    odd += ["Authorization: Basic !!!!", "Authorization: Bearer " + "x" * 30_000, "Connection: close, close"]
    body = _json({**_BODY, "quantity": 0})
    path = rng.choice(
        ("/v1/stock/receive", "/v1/batch", "/v1/reservations/%ff/pick", "/v1/stock/receive?x=1")
    )
    return Attack([_sent(token, path, body, "json", rng.choice(odd))], may_succeed=True)


def _slow(rng: Random, token: str) -> Attack:
    body = _json({**_BODY, "sku": "slow"})
    whole = _sent(token, "/v1/stock/receive", body)
    place = rng.choice((0, 1, 40, len(whole) - len(body), len(whole) - 5))
    if rng.random() < 0.5:
        return Attack([whole[:place]], has_end=False, never=("slow",))
    drip = [whole[n : n + 1] for n in range(place, len(whole))]
    return Attack([whole[:place], *drip], pause_s=0.2, has_end=False, may_succeed=True, never=("slow",))


def _after_the_answer(_: Random, token: str) -> Attack:
    """A body that goes on for ever behind an answer that came early."""
    head = _head(token + "x", "/v1/stock/receive", "Content-Length: 8000000")
    return Attack([head, *[b"x"] * 4_000], pause_s=0.05, has_end=False, is_cut_in_the_end=True)


def _many_at_once(rng: Random, token: str) -> Attack:
    path = rng.choice(("/healthz", "/v1/stock", "/nowhere"))
    return Attack([_head(token, path, method="GET") * rng.choice((10, 1_000))], may_succeed=True)


KINDS: dict[str, Callable[[Random, str], Attack]] = {
    "wrong body": _body_attack,
    "wrong chunks": _bad_chunks,
    "length that lies": _lying_length,
    "garbage behind a right request": _garbage_behind,
    "huge head": _huge_head,
    "wrong head": _bad_head,
    "odd headers": _odd_headers,
    "slow": _slow,
    "body without end behind an answer": _after_the_answer,
    "many requests at once": _many_at_once,
    "silence": lambda _, __: Attack([], has_end=False),
    "10,001 operations": lambda _, token: Attack(
        [_sent(token, "/v1/batch", _json({"operations": [{"op": "receive", **_BODY}] * 10_001}))]
    ),
    "body too large": lambda _, token: Attack([_sent(token, "/v1/batch", b" " * 9 * MIB)]),
}
NEVER = ("in chunks", "lied about", "with garbage behind", "slow")
"""SKUs of attacks that count what they received."""
