"""Subjects, and codes as tokens of them.

A code may hold anything printable; a token only `A-Z a-z 0-9 _ -`. Every other byte of the code's UTF-8
travels as `=HH`, in upper-case hexadecimal.
"""

import re
from functools import lru_cache

_UNSAFE = re.compile(rb"[^A-Za-z0-9_-]")
_ESCAPED = re.compile(rb"=([0-9A-F]{2})")

STOCK_SUBJECTS = "stock.>"
LEDGER_SUBJECTS = "ledger.>"


@lru_cache(maxsize=10_000)
def escaped(code: str) -> str:
    """Return a code as one token."""
    return _UNSAFE.sub(lambda found: b"=%02X" % ord(found[0]), code.encode()).decode("ascii")


def unescaped(token: str) -> str:
    """Return the code of a token. Raises ValueError when it is none of ours."""
    raw = token.encode("ascii", "strict")
    code = _ESCAPED.sub(lambda found: bytes.fromhex(found[1].decode()), raw).decode()
    if escaped(code) != token:
        raise ValueError(f"not an escaped code: {token!r}")
    return code


def stock_subject(site: str, sku: str, location: str) -> str:
    """Return where a bin's state is published."""
    return f"stock.{escaped(site)}.{escaped(sku)}.{escaped(location)}"


def ledger_subject(partition: int) -> str:
    """Return where a partition's entries are published."""
    return f"ledger.{partition}"


def subject_matches(pattern: str, subject: str) -> bool:
    """Whether a subject matches a pattern, in which `*` is any one token and a last `>` one or more."""
    wanted, tokens = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted.pop()
        if len(tokens) <= len(wanted):
            return False
        tokens = tokens[: len(wanted)]
    return len(wanted) == len(tokens) and all(
        one in ("*", token) for one, token in zip(wanted, tokens, strict=True)
    )
