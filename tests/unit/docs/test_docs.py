"""Documentation that cannot rot: every name in the code is documented, and nothing is that is gone."""

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic_core import PydanticUndefined

from api.exposition import API_METRICS, HOST_METRICS, exposition
from api.meters import Meters
from api.problems import MEANINGS, TYPE_PREFIX, Code
from api.routes import ROUTES
from bench.report import with_figures
from bench.result import read
from binkeeper.cli import app
from binkeeper.settings import PREFIX, Settings
from engine.entries import EFFECTS, Kind
from engine.refusals import Refusal
from persistence.models import Model
from persistence.nats.streams import NatsStreams
from persistence.nats.subjects import ledger_subject
from simulation.mutants import MUTANTS
from tests.unit.docs.pages import ROOT, anchors, links, named, pages, rows, section, table, text_of

OPERATIONS = "docs/operations.md"
ARCHITECTURE = "docs/architecture.md"
README = "README.md"
READING_LINES_MAX = 900


def test_every_setting_is_documented_with_its_default_and_none_that_is_gone() -> None:
    documented = table(OPERATIONS, "Settings")
    fields = {PREFIX + name.upper(): field for name, field in Settings.model_fields.items()}
    assert list(documented) == list(fields)
    for name, field in fields.items():
        default = field.default
        if default in (None, PydanticUndefined):
            continue
        told = f"{default:g}" if isinstance(default, float) else str(default)
        told = told.lower() if isinstance(default, bool) else told
        assert named(documented[name][0]) == [told], name


def test_the_limits_of_every_setting_are_documented() -> None:
    documented = table(OPERATIONS, "Settings")
    for name, field in Settings.model_fields.items():
        limits = documented[PREFIX + name.upper()][1]
        for constraint in field.metadata:
            for bound in ("ge", "gt", "le"):
                value = getattr(constraint, bound, None)
                if value is not None:
                    assert str(value) in re.split(r"[ ,]", limits), f"{name}: {bound} {value}"


def test_every_metric_is_documented_with_its_type_and_none_that_is_gone() -> None:
    histogram = {"bounds": [1.0], "counts": [1, 0], "sum": 1.0}
    values: dict[str, Any] = dict.fromkeys(HOST_METRICS, 1)
    values |= {"operations": [["reserve", "ok", 1]], "commit_entries": histogram, "commit_seconds": histogram}
    text, _ = exposition(Meters(), [{"host": "host-1", **values}], "text/plain")
    types = dict(re.findall(r"^# TYPE (\w+?)(?:_total)? (\w+)$", text.decode(), re.MULTILINE))
    assert set(types) == {*API_METRICS, *(name for name, _ in HOST_METRICS.values())}
    assert {name: cells[0] for name, cells in table(OPERATIONS, "Metrics").items()} == types


def test_every_problem_is_documented_with_its_status_and_none_that_is_gone() -> None:
    documented = table(OPERATIONS, "Problems: wrong with the request, or with the server")
    assert {code: int(cells[0]) for code, cells in documented.items()} == {
        str(code): MEANINGS[code].status for code in Code
    }
    assert all(meaning and advice for _, meaning, advice in documented.values())
    assert TYPE_PREFIX in section(OPERATIONS, "Problems and refusals")


def test_every_refusal_is_documented_in_order_of_precedence() -> None:
    documented = table(OPERATIONS, "Refusals: the engine said no")
    assert list(documented) == [str(refusal) for refusal in Refusal]
    for refusal in Refusal:
        status, transient, meaning, advice = documented[refusal]
        assert int(status) == MEANINGS[refusal].status, refusal
        assert transient == ("yes" if refusal.is_transient else "no"), refusal
        assert meaning, refusal
        assert advice, refusal


def test_every_route_is_documented_and_none_that_is_gone() -> None:
    assert list(table(OPERATIONS, "HTTP routes")) == [f"{route.method} {route.path}" for route in ROUTES]


def test_every_command_and_option_is_documented_and_none_that_is_gone() -> None:
    group = typer.main.get_command(app)
    commands = group.commands  # type: ignore[attr-defined]
    documented = table(OPERATIONS, "Commands")
    assert {name for name in documented if name.startswith("binkeeper ")} == {
        f"binkeeper {name}" for name in commands
    }
    text = section(OPERATIONS, "Commands")
    options = {
        option
        for command in commands.values()
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
        if option.startswith("--") and option != "--help"
    }
    missing = {option for option in options if not re.search(rf"{option}\b", text)}
    assert not missing


def test_every_target_of_make_is_documented_and_none_that_is_gone() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", text_of("Makefile"), re.MULTILINE)) - {"help"}
    documented = {name for name in table(OPERATIONS, "Commands") if name.startswith("make ")}
    assert documented == {f"make {target}" for target in targets}


def test_every_entry_is_documented_with_its_effects_and_none_that_is_gone() -> None:
    documented = table(OPERATIONS, "Ledger entries")
    assert list(documented) == [str(kind) for kind in Kind]
    for kind, effects in EFFECTS.items():
        assert tuple(int(cell or 0) for cell in documented[kind][:3]) == effects, kind


def test_every_stream_and_subject_is_documented_and_none_that_is_gone() -> None:
    streams = {stream.name: stream for stream in NatsStreams("nats://nobody")._configurations}
    documented = table(OPERATIONS, "Streams and subjects")
    assert set(documented) == set(streams)
    for name, stream in streams.items():
        assert named(documented[str(name)][0]) == stream.subjects
    assert "`stock.<site>.<sku>.<location>`" in documented["STOCK"][1]
    assert ledger_subject(7).replace("7", "<partition>") in documented["LEDGER"][1]


def test_every_table_is_documented_and_none_that_is_gone() -> None:
    assert set(table(OPERATIONS, "Tables")) == {*Model.metadata.tables, "bin"}


def test_every_event_of_the_logs_is_documented_and_none_that_is_gone() -> None:
    logged = re.compile(r"_log\.\w+\(\s*\"(\w+)\"")
    sources = [
        path for folder in ("actors", "persistence", "binkeeper") for path in (ROOT / folder).rglob("*.py")
    ]
    events = {event for path in sources for event in logged.findall(path.read_text(encoding="utf-8"))}
    assert set(table(OPERATIONS, "Logs")) == events


def test_every_package_and_module_of_the_core_is_on_the_map() -> None:
    documented = table(ARCHITECTURE, "Where things are")
    for folder in ("engine", "actors"):
        modules = {f"{folder}/{path.name}" for path in (ROOT / folder).glob("*.py")}
        assert modules - {f"{folder}/__init__.py"} <= set(documented), folder
    gone = [name for name in documented if not (ROOT / name).exists()]
    assert not gone


def test_the_reading_order_is_five_files_and_short() -> None:
    listed = re.findall(r"^\d\. \[`([^`]+)`\]", section(README, "Read the code"), re.MULTILINE)
    assert len(listed) == 5
    lines = {name: len(text_of(name).splitlines()) for name in listed}
    assert sum(lines.values()) < READING_LINES_MAX, lines


def test_every_promise_names_tests_that_exist() -> None:
    promises = rows(README, "What it promises")
    assert [cells[0] for cells in promises] == [f"P{number}" for number in range(1, 11)]
    for number, _, tests, state in promises:
        files = [name for name in named(tests) if name.endswith(".py")]
        assert files or "in part" in state, number
        for name in files:
            assert (ROOT / name).is_file(), f"{number}: {name} is gone"


def test_the_readmes_figures_are_those_of_the_result_that_it_links() -> None:
    text = section(README, "What was measured")
    (report,) = set(re.findall(r"\((bench/results/[^)]+/report\.md)\)", text))
    assert with_figures(text, read((ROOT / report).parent), report) == text


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        if link.startswith(("https://", "http://")):
            continue
        target, _, fragment = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), link
        if fragment:
            assert fragment in anchors(path), link


def test_every_record_has_its_parts_and_a_place_in_the_list() -> None:
    records = sorted((ROOT / "docs/adr").glob("[0-9]*.md"))
    numbers = [record.name[:4] for record in records]
    assert len(set(numbers)) == len(numbers)
    listed = set(links(ROOT / "docs/adr/README.md"))
    for record in records:
        assert record.name in listed, record.name
        text = record.read_text(encoding="utf-8")
        for part in (r"Context|Question", "Decision", "Consequences"):
            assert re.search(rf"^## ({part})$", text, re.MULTILINE), f"{record.name} has no {part}"


def test_the_changelog_begins_with_what_is_not_released() -> None:
    assert re.search(r"^## \[Unreleased\]", text_of("CHANGELOG.md"), re.MULTILINE)


def test_modules_that_the_documentation_names_exist() -> None:
    """`python -m ...` in a page can be run."""
    for page in pages():
        for module in re.findall(
            r"python -m ((?:binkeeper|api|bench)[\w.]*)", page.read_text(encoding="utf-8")
        ):
            assert import_module(module)


def test_the_readme_tells_how_many_bugs_are_seeded() -> None:
    (told,) = [often for what, often, _ in rows(README, "What was tried to break it") if "mutants`" in what]
    assert told == f"{len(MUTANTS)} bugs"
