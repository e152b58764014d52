"""Codes in addresses, keys in headers, cursors."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.exchange import Edge, key_of
from api.guard import Guard
from api.listing import make_cursor, read_cursor
from api.meters import Meters
from api.paths import checked_code, path_text
from api.problems import Problem

EDGE = Edge(Guard(["t"]), Meters(), 1000)
CODES = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=64)

PRINTABLE = CODES.filter(str.isprintable)


@given(CODES)
def test_every_code_survives_a_path(code: str) -> None:
    assert path_text(quote(code, safe=""), "sku") == code


@given(PRINTABLE, PRINTABLE, PRINTABLE)
def test_every_place_survives_a_cursor(site: str, sku: str, location: str) -> None:
    assert read_cursor(make_cursor((site, sku, location))) == (site, sku, location)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=64))
def test_every_visible_key_is_accepted_quoted(key: str) -> None:
    quoted = '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'
    assert key_of(quoted.encode(), EDGE) == key
    if not (key.startswith('"') and key.endswith('"')):
        assert key_of(key.encode(), EDGE) == key


@given(st.binary(max_size=80))
def test_whatever_a_key_header_holds_it_is_a_key_or_a_problem(header: bytes) -> None:
    try:
        key = key_of(header, EDGE)
    except Problem as problem:
        assert problem.status == 400  # noqa: PT017 - both ways are fine
    else:
        assert 1 <= len(key) <= 64
        assert key.isascii()
        assert " " not in key


@given(st.text(max_size=100))
def test_whatever_a_cursor_holds_it_is_a_place_or_a_problem(cursor: str) -> None:
    try:
        assert len(read_cursor(cursor)) == 3
    except Problem as problem:
        assert problem.status == 422  # noqa: PT017 - both ways are fine


def test_made_keys_differ_and_are_legal() -> None:
    keys = {key_of(None, EDGE) for _ in range(1000)}
    assert len(keys) == 1000
    assert all(len(key) <= 64 for key in keys)


@pytest.mark.parametrize("code", ["", "a" * 65, "a\n", "\x00", "\u2028"])
def test_what_is_no_code_is_refused(code: str) -> None:
    with pytest.raises(Problem):
        checked_code(code, "sku")
