from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.result import NotAResult, Result, read, write
from tests.unit.bench.made_up import made_up, quick


@pytest.mark.parametrize("result", [made_up(), quick()], ids=["full", "quick"])
def test_what_was_written_is_read_again(tmp_path: Path, result: Result) -> None:
    path = write(result, tmp_path / "a" / "b")
    assert path.name == "result.json"
    assert read(path) == read(path.parent) == result


def test_the_file_is_what_the_run_found(tmp_path: Path) -> None:
    plain = msgspec.json.decode(write(made_up(), tmp_path).read_bytes())
    assert plain["format"] == 1
    assert plain["ratios"]["lanes_vs_copy"] == ["lanes_spread_ops_s", "copy_rows_s"]
    assert set(plain["latency_by_load"][0]) == {
        *("contender", "workload", "load", "offered_s", "accepted_s", "histogram"),
        *("p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms"),
    }


def test_a_ratio_is_computed_round_by_round() -> None:
    result = made_up(rounds=2)
    result.rounds = {**result.rounds, "lanes_spread_ops_s": [8.0, 9.0], "copy_rows_s": [4.0, 3.0]}
    assert result.rounds_of("lanes_vs_copy") == [2.0, 3.0]
    assert result.number("lanes_vs_copy") == 2.5
    assert result.rounds_of("copy_rows_s") == [4.0, 3.0]
    assert result.number("refused") == 0
    assert result.number("nothing") is None


@pytest.mark.parametrize(
    "content, said",
    [
        (b"", "no result of the benchmark"),
        (b"\xff\xfe", "no result of the benchmark"),
        (b"[1]", "does not say its format"),
        (b'{"format": "1"}', "does not say its format"),
        (b'{"format": true}', "does not say its format"),
        (b'{"format": 2}', "in format 2, and this version reads format 1"),
        (b'{"format": 1}', "no result of the benchmark: .*`date`"),
    ],
)
def test_a_file_that_is_none_is_named_with_the_reason(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "some.json"
    path.write_bytes(content)
    with pytest.raises(NotAResult, match=said) as failed:
        read(path)
    assert str(path) in str(failed.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotAResult, match="there is no such file"):
        read(tmp_path / "gone.json")
    with pytest.raises(NotAResult, match="there is no such file") as failed:
        read(tmp_path)
    assert str(tmp_path / "result.json") in str(failed.value)


@pytest.mark.parametrize(
    "change, said",
    [
        ({"ratios": {"a": ["x", "copy_rows_s"]}}, "a is made of x, not in rounds"),
        ({"rounds": {"x": [1.0], "y": [1.0, 2.0]}, "ratios": {"a": ["x", "y"]}}, "a is of 1 and 2 rounds"),
        ({"rounds": {"x": [], "y": []}, "ratios": {"a": ["x", "y"]}}, "a is of 0 and 0 rounds"),
        ({"rounds": {"x": [1.0], "y": [0.0]}, "ratios": {"a": ["x", "y"]}}, "over a round of 0"),
        (
            {"throughput": [{"contender": "A", "workload": "spread", "in_flight": 1, "rounds": []}]},
            "A, spread: no rounds",
        ),
        ({"audits": "many"}, r"\$\.audits"),
        ({"figures": {"a": [1]}}, r"\$\.figures"),
        ({"misspelt": 1}, "misspelt"),
    ],
)
def test_parts_that_do_not_fit_are_an_error(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    plain = {**msgspec.to_builtins(made_up(rounds=1)), **change}
    (tmp_path / "result.json").write_bytes(msgspec.json.encode(plain))
    with pytest.raises(NotAResult, match=said):
        read(tmp_path)
