"""Codes in addresses: segments are split while still percent-encoded, so that a code may hold a slash."""

from urllib.parse import unquote_to_bytes

from api.problems import parameter_problem
from engine.limits import CODE_LENGTH_MAX


def path_text(segment: str, name: str) -> str:
    """Return a segment of a path, decoded. Raises Problem (422) when it is not UTF-8."""
    if "%" not in segment and segment.isascii():
        return segment
    try:
        return unquote_to_bytes(segment.encode("latin-1")).decode()
    except UnicodeError:
        raise parameter_problem(name, "Expected percent-encoded UTF-8.") from None


def checked_code(text: str, name: str) -> str:
    """Return a code if it is one. Raises Problem (422)."""
    if not 1 <= len(text) <= CODE_LENGTH_MAX:
        raise parameter_problem(name, f"Expected 1 to {CODE_LENGTH_MAX} characters.")
    if not text.isprintable():
        raise parameter_problem(name, "Expected printable characters only.")
    return text
