"""Content types, and messages about wrong fields."""

import pytest

from api.media import JSON, MSGPACK, Media, media_sent, media_wanted, problem_of_validation
from api.problems import Code, Problem


@pytest.mark.parametrize(
    "accept, wanted",
    [
        (None, None),
        (b"*/*", None),
        (b"application/*;q=0.1", None),
        (b"application/json", JSON),
        (b"Application/MsgPack", MSGPACK),
        (b"text/html, application/vnd.msgpack;q=0.4, application/json;q=0.5", JSON),
        (b"application/json;q=0, application/msgpack", MSGPACK),
        (b"application/msgpack;q=x, application/json;q=0.1", JSON),
        (b"application/json, application/msgpack", JSON),
    ],
)
def test_the_best_content_type_is_chosen(accept: bytes | None, wanted: Media | None) -> None:
    assert media_wanted(accept) is wanted


@pytest.mark.parametrize("accept", [b"", b"text/html", b"application/json;q=0", b"image/*;q=1", b"\xff"])
def test_an_answer_that_cannot_be_accepted_is_a_problem(accept: bytes) -> None:
    with pytest.raises(Problem) as caught:
        media_wanted(accept)
    assert caught.value.code == Code.NOT_ACCEPTABLE


@pytest.mark.parametrize(
    "content_type, sent",
    [
        (None, JSON),
        (b"application/json", JSON),
        (b'application/json ; charset="UTF-8"', JSON),
        (b"APPLICATION/X-MSGPACK", MSGPACK),
    ],
)
def test_a_body_says_what_it_is_written_in(content_type: bytes | None, sent: Media) -> None:
    assert media_sent(content_type) is sent
    assert media_sent(content_type, b"identity") is sent
    with pytest.raises(Problem):
        media_sent(content_type, b"gzip")


@pytest.mark.parametrize(
    "message, code, pointer, detail",
    [
        (
            "Expected `int` >= 1 - at `$.lines[3].quantity`", Code.INVALID_VALUE, "/lines/3/quantity",
            "Expected `int` >= 1.",
        ),
        ("Expected `int`, got `str` - at `$.ttl_s`", Code.WRONG_TYPE, "/ttl_s", "Expected `int`, got `str`."),
        ("Object missing required field `sku`", Code.MISSING_FIELD, "/sku", "This field is required."),
        (
            "Object contains unknown field `a/b~` - at `$.lines[0]`", Code.UNKNOWN_FIELD, "/lines/0/a~1b~0",
            "This field is not known here.",
        ),
        (
            "sku: Expected printable characters only - at `$.lines[0]`", Code.INVALID_VALUE, "/lines/0/sku",
            "Expected printable characters only.",
        ),
        ("from_: Expected x", Code.INVALID_VALUE, "/from", "Expected x."),
        ("site: Object missing required field", Code.MISSING_FIELD, "/site", "This field is required."),
        ("Expected `object`, got `array`", Code.WRONG_TYPE, "", "Expected `object`, got `array`."),
        ("Expected `str`, got `int` - at `key` in `$`", Code.WRONG_TYPE, "", "Expected `str`, got `int`."),
    ],
)  # fmt: skip
def test_a_message_becomes_a_pointer_and_a_code(message: str, code: Code, pointer: str, detail: str) -> None:
    problem = problem_of_validation(message)
    assert problem.code == code
    assert problem.fields["errors"] == [{"pointer": pointer, "detail": detail}]
