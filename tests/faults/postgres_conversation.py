"""Just enough of Postgres's protocol to know when a client asks for a commit, and when it is told of one.

A COPY into the ledger outside a transaction commits when its data ends; an INSERT when it is executed; both
are told by the tag of the command. Cut off before the first, nothing has happened; before the second,
everything.
"""

from collections.abc import Callable, Iterator

_LENGTH = 4
_TLS_CODES = (80_877_103, 80_877_104)
"""Requests for TLS or GSS encryption, which are answered by a single byte."""
_CANCEL_CODE = 80_877_102
_COMMITTED = (b"COPY", b"INSERT", b"COMMIT")


class PostgresConversation:
    """One connection. `wanted` says of each commit whether to cut `before` it, `after` it, or not at all."""

    def __init__(self, wanted: Callable[[], str]) -> None:
        self._wanted = wanted
        self._asked = b""
        self._answered = b""
        self._is_greeted = False
        self._single_bytes = 0
        self._is_copying = False
        self._inserts: set[bytes] = set()
        self._is_insert_bound = False
        self._is_to_be_cut = False

    def asks(self, data: bytes) -> tuple[bytes, bool]:
        passes = b""
        for kind, message in self._messages(data):
            if self._commits(kind, message[1 + _LENGTH :]):
                wanted = self._wanted()
                if wanted == "before":
                    return passes, True
                self._is_to_be_cut = wanted == "after"
            passes += message
        return passes, False

    def answers(self, data: bytes) -> tuple[bytes, bool]:
        passes = b""
        self._answered += data
        while self._single_bytes and self._answered:
            self._single_bytes -= 1
            passes, self._answered = passes + self._answered[:1], self._answered[1:]
        while len(self._answered) > _LENGTH:
            end = 1 + int.from_bytes(self._answered[1 : 1 + _LENGTH], "big")
            if len(self._answered) < end:
                break
            message, self._answered = self._answered[:end], self._answered[end:]
            is_done = message[:1] == b"C" and message[1 + _LENGTH :].startswith(_COMMITTED)
            if is_done and self._is_to_be_cut:
                return passes, True
            passes += message
        return passes, False

    def _messages(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Go through the client's messages that are complete; greetings have no kind."""
        self._asked += data
        while True:
            before = 1 if self._is_greeted else 0
            if len(self._asked) < before + _LENGTH:
                return
            end = before + int.from_bytes(self._asked[before : before + _LENGTH], "big")
            if len(self._asked) < end:
                return
            message, self._asked = self._asked[:end], self._asked[end:]
            if self._is_greeted:
                yield message[:1], message
                continue
            code = int.from_bytes(message[_LENGTH : 2 * _LENGTH], "big")
            if code in _TLS_CODES:
                self._single_bytes += 1
            elif code != _CANCEL_CODE:
                self._is_greeted = True
            yield b"", message

    def _commits(self, kind: bytes, body: bytes) -> bool:
        """Whether this message makes the server commit."""
        match kind:
            case b"Q":
                self._is_copying = body.startswith(b"COPY") and b"ledger" in body
                return body.rstrip(b"\0; ").upper() == b"COMMIT"
            case b"c":
                was_copying, self._is_copying = self._is_copying, False
                return was_copying
            case b"P":
                name, _, query = body.partition(b"\0")
                if query.startswith(b"INSERT INTO ledger"):
                    self._inserts.add(name)
            case b"B":
                self._is_insert_bound = body.split(b"\0", 2)[1] in self._inserts
            case b"E":
                return self._is_insert_bound
        return False
