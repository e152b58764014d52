"""The faults that `make faults` plays longer and more often: nothing is lost, nothing happens twice.

Every history has a legal order for each bin, the streams have no gap, and the service is soon back.
"""

from functools import partial

import pytest

from tests.end_to_end.running import Running
from tests.faults import scenarios
from tests.faults.audits import at_rest
from tests.faults.grounds import behind_proxy, second_api
from tests.faults.paused import deposed, paused
from tests.faults.scenarios import (
    Scenario,
    commits_cut,
    decided_and_lost,
    host_killed,
    killed,
    lanes_cut,
    nats_wiped,
    postgres_read_only,
    ray_killed,
    sessions_exhausted,
)
from tests.faults.stage import Report, play

BACK_S_MAX = 10.0
"""So long a gateway keeps a request: what takes longer, callers are told of. Mostly it is a fraction of a
second, but the machine may do other things too; `make faults`, which has it alone, wants 3 s."""
ANSWERS = 300


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenarios, "AWAY_S", 1.0)


async def played(binkeeper: Running, scenario: Scenario, url: str | None = None) -> Report:
    """Play a scenario: nothing may be found."""
    site = scenario.name.replace(" ", "-")
    report = await play(
        binkeeper, scenario.name, scenario.fault, site=site, seed=len(site), answers=ANSWERS,
        via=scenario.via, url=url, back_s_max=scenario.back_s_max,
    )  # fmt: skip
    print(
        f"{report.scenario}: back after {report.back_s:.2f} s, away {report.away_s:.2f} s, "
        f"{report.operations} operations, {report.unknown} unknown answers, {report.notes}"
    )
    assert report.found() == []
    return report


@pytest.mark.timeout(240)
@pytest.mark.parametrize("role", ["host", "api", "nats", "postgres"])
async def test_a_killed_process_loses_nothing_and_is_soon_back(binkeeper: Running, role: str) -> None:
    before = binkeeper.pids(role)[0]
    fault = host_killed if role == "host" else killed(role)
    via = "http" if role == "api" else None
    await played(binkeeper, Scenario(f"{role} killed", fault, via, BACK_S_MAX))
    assert before not in binkeeper.pids(role)
    if role == "host":
        assert await at_rest(binkeeper) == []


@pytest.mark.timeout(240)
async def test_a_killed_supervisor_is_started_again_and_its_hosts_with_it(binkeeper: Running) -> None:
    before = binkeeper.pids("supervisor")
    await played(binkeeper, Scenario("supervisor killed", killed("supervisor"), None, BACK_S_MAX))
    assert binkeeper.pids("supervisor") != before


@pytest.mark.timeout(240)
async def test_a_host_that_slept_until_it_was_replaced_acknowledges_nothing(binkeeper: Running) -> None:
    before = binkeeper.pids("host")[0]
    report = await played(binkeeper, Scenario("host paused", paused))
    assert before not in binkeeper.pids("host")
    assert report.notes in (["woken, it said nothing, and ended"], ["woken, it said ['MOVED']"])


@pytest.mark.timeout(240)
async def test_a_host_that_was_deposed_while_it_slept_acknowledges_nothing(binkeeper: Running) -> None:
    report = await played(binkeeper, Scenario("host deposed", deposed))
    assert report.notes == ["woken, it said ['MOVED']"]


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "scenario",
    [
        Scenario("Postgres read-only", postgres_read_only, None, BACK_S_MAX),
        Scenario("all killed on a read-only Postgres", decided_and_lost, None, BACK_S_MAX),
        Scenario("Postgres without sessions", sessions_exhausted, None, BACK_S_MAX),
        Scenario("NATS wiped", nats_wiped, None, BACK_S_MAX),
    ],
    ids=lambda scenario: scenario.name,
)
async def test_what_servers_refuse_or_forget_is_made_up_for(binkeeper: Running, scenario: Scenario) -> None:
    await played(binkeeper, scenario)


@pytest.mark.timeout(240)
async def test_lanes_that_break_in_the_middle_of_frames_lose_nothing(binkeeper: Running) -> None:
    with second_api(binkeeper, seed=5) as (url, flag):
        await played(binkeeper, Scenario("lanes cut", lanes_cut(flag), via="http"), url)


@pytest.mark.timeout(240)
async def test_when_ray_dies_everything_of_it_is_started_anew_and_nothing_is_lost(binkeeper: Running) -> None:
    before = binkeeper.run["ray_address"]
    await played(binkeeper, Scenario("raylet killed", partial(ray_killed, role="raylet")))
    assert binkeeper.run["ray_address"] != before


@pytest.mark.timeout(240)
async def test_a_commit_without_an_answer_has_happened_or_not_as_its_callers_are_told() -> None:
    with behind_proxy(seed=7) as (binkeeper, proxy):
        for rule in ("before", "after"):
            report = await played(binkeeper, Scenario(f"cut {rule} commits", commits_cut(proxy, rule)))
            assert proxy.cuts >= 10, report.notes
