"""Codes as tokens of subjects."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persistence.nats.subjects import (
    escaped,
    ledger_subject,
    stock_subject,
    subject_matches,
    unescaped,
)


@pytest.mark.parametrize(
    "code,token",
    [
        ("SKU-1_a", "SKU-1_a"),
        ("a.b", "a=2Eb"),
        ("*", "=2A"),
        (">", "=3E"),
        ("a b", "a=20b"),
        ("=", "=3D"),
        ("/#", "=2F=23"),
        ("Ä", "=C3=84"),
        ("日", "=E6=97=A5"),
    ],
)
def test_every_other_byte_is_escaped(code: str, token: str) -> None:
    assert escaped(code) == token
    assert unescaped(token) == code


@given(st.text(min_size=1, max_size=64).filter(lambda code: code.isprintable()))
def test_every_code_makes_one_safe_token_and_comes_back(code: str) -> None:
    token = escaped(code)
    assert re.fullmatch(r"[A-Za-z0-9_=-]+", token)
    assert unescaped(token) == code


@given(st.text(min_size=1), st.text(min_size=1))
def test_different_codes_make_different_tokens(one: str, other: str) -> None:
    if one != other:
        assert escaped(one) != escaped(other)


@pytest.mark.parametrize("token", ["a.b", "=2e", "=4", "a=", "=41", "=FF", "Ä"])
def test_what_is_no_escaped_code_is_refused(token: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - also its subclasses for undecodable bytes
        unescaped(token)


def test_subjects_are_those_of_the_contract() -> None:
    assert stock_subject("LDN", "a.b", "A 1") == "stock.LDN.a=2Eb.A=201"
    assert ledger_subject(17) == "ledger.17"


@pytest.mark.parametrize(
    "pattern,subject,matches",
    [
        ("stock.>", "stock.a.b.c", True),
        ("stock.>", "stock", False),
        ("stock.*.b.c", "stock.a.b.c", True),
        ("stock.*.b", "stock.a.b.c", False),
        ("ledger.*", "ledger.1", True),
        ("ledger.2", "ledger.1", False),
        (">", "ledger.1", True),
    ],
)
def test_patterns_match_as_those_of_the_server(pattern: str, subject: str, matches: bool) -> None:
    assert subject_matches(pattern, subject) is matches
