import re
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest
from rich.console import Console

from bench import report
from bench.plots import draw
from bench.report import readme_figures, show, with_figures, write_report
from bench.report_page import page
from bench.result import Growth, Result
from bench.targets import TARGETS
from tests.unit.bench.made_up import made_up, quick


def bare() -> Result:
    return Result(date="2026-11-23T04:00:00Z", seconds=1.0, quick=True, seed=1, commit="abc1234", audits=0)


@pytest.mark.parametrize("width", [80, 140])
def test_the_table_shows_every_figure_whole(width: int) -> None:
    output = StringIO()
    show(made_up(), Console(file=output, width=width))
    text = output.getvalue()
    for expected in (
        *(target.key for target in TARGETS),
        "1,251",
        "A Processor",
        "47 audits passed",
        "Not run: TigerBeetle",
    ):
        assert expected in text
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("result", [quick(), bare()], ids=["quick", "bare"])
def test_the_table_shows_what_there_is(result: Result) -> None:
    output = StringIO()
    show(result, Console(file=output, width=80))
    assert "lanes_spread_vs_procedure" in output.getvalue()
    assert "Open loop" not in output.getvalue()


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(made_up(), tmp_path_factory.mktemp("report") / "new")


def test_the_page_links_every_picture_that_was_drawn_and_no_other(full: Path) -> None:
    path, text = full, full.read_text(encoding="utf-8")
    linked = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert sorted(linked) == sorted(found.name for found in path.parent.glob("*.svg"))
    assert len(linked) == 8
    for picture in path.parent.glob("*.svg"):
        assert ET.parse(picture).getroot().tag.endswith("svg")  # noqa: S314 - our own
    for expected in (
        "lanes / stored procedure, spread | **3.2** | 2.99 to 3.33 | at least 8 | falls short |",
        "Of 15 figures with a bound 8 hold and 6 fall short; 1 not measured.",
        "host 39, postgres 16, nats 4.2",
        "- TigerBeetle: no server",
        "git checkout abc1234",
        "coordinated omission",
        "47 audits passed",
        "commit abc1234, seed 1, begun 2026-11-23T04:00:00Z",
    ):
        assert expected in text
    assert "was not measured in this run" not in text
    assert "quick run" not in text


def test_pictures_are_the_same_bytes_twice(full: Path, tmp_path: Path) -> None:
    for name in draw(made_up(), tmp_path):
        picture = (tmp_path / f"{name}.svg").read_bytes()
        assert picture == (full.parent / f"{name}.svg").read_bytes()
        assert b"<dc:date>" not in picture


@pytest.mark.parametrize("result, pictures", [(quick(), 2), (bare(), 0)], ids=["quick", "bare"])
def test_what_was_not_measured_is_said_in_words(tmp_path: Path, result: Result, pictures: int) -> None:
    text = write_report(result, tmp_path).read_text(encoding="utf-8")
    assert len(list(tmp_path.glob("*.svg"))) == text.count("](") == pictures
    for expected in (
        "A quick run",
        "Latency under an open loop was not measured",
        "Memory by number of bins was not measured",
        "Growth by hosts was not measured",
        "Recovery by number of bins and ledger tail was not measured",
        "from commit to subscriber was not measured",
        "make bench-quick",
    ):
        assert expected in text
    assert ("Throughput was not measured" in text) == (not pictures)


def test_single_points_and_one_round_are_drawn(tmp_path: Path) -> None:
    result = made_up(rounds=1)
    result.growth = Growth(bins=result.growth.bins[:1])
    result.recovery = result.recovery[:1]
    assert len(draw(result, tmp_path)) == 8


def test_without_matplotlib_the_page_has_no_pictures_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "find_spec", lambda _: None)
    text = write_report(made_up(), tmp_path).read_text(encoding="utf-8")
    assert "There are no pictures: matplotlib is not installed." in text
    assert "](" not in text
    assert [path.name for path in tmp_path.iterdir()] == ["report.md"]


def test_a_load_that_was_not_carried_is_named() -> None:
    result = made_up()
    first = result.latency_by_load[0]
    result.latency_by_load[0] = msgspec.structs.replace(first, accepted_s=first.offered_s / 2)
    text = page(result, ())
    assert "Binkeeper, lanes accepted 50% of what it was offered at 25%" in text


def test_the_readmes_figures_are_replaced_between_the_marks() -> None:
    readme = "before\n<!-- figures:begin -->\nold\n<!-- figures:end -->\nafter\n"
    text = with_figures(readme, made_up(), "bench/results/a/report.md")
    assert text.startswith("before\n<!-- figures:begin -->\n| Figure |")
    assert text.endswith("<!-- figures:end -->\nafter\n")
    assert "\nold\n" not in text
    assert with_figures(text, made_up(), "bench/results/a/report.md") == text
    found = re.findall(r"^\| `(\w+)` \|", readme_figures(made_up(), "x"), re.MULTILINE)
    assert found == [target.key for target in TARGETS]
    assert "medians of 5 rounds, 47 audits passed" in text
    assert "(bench/results/a/report.md)" in text


def test_a_readme_without_marks_is_an_error() -> None:
    with pytest.raises(ValueError, match="figures"):
        with_figures("nothing", made_up(), "x")
