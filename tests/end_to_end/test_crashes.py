"""`kill -9` under load: nothing acknowledged is lost, nothing is done twice, and the service is soon back."""

import asyncio
import re
import time

import httpx
import psutil
import pytest

from tests.end_to_end.listener import kept_ledger
from tests.end_to_end.running import Running, until
from tests.end_to_end.workload import SKUS, Workload

ANSWERS = 500
"""Answers before the kill, and after the service is back."""
BACK_S_MAX = 3.0


def allowed_s(seconds: float) -> float:
    """Return a time limit: on a machine that does other things too, every process waits for its turn."""
    load = psutil.getloadavg()[0] / (psutil.cpu_count() or 1)
    return seconds * max(1.0, load)


async def settled(binkeeper: Running) -> bool:
    """Whether everything that is committed is broadcast, and memory is what the ledger says."""
    async with binkeeper.http() as http:
        try:
            told = (await http.get("/status")).json()
        except httpx.TransportError:
            return False
    # A crash leaves no snapshot that is not what the ledger says: nothing has to be rebuilt.
    assert (told.get("rebuilds", 0), told.get("partitions_refused", [])) == (0, [])
    is_whole = told.get("partitions_owned") == told.get("partitions")
    return is_whole and told["courier_lag"] == 0 and told["drift"] == 0


async def audit_rounds(binkeeper: Running) -> int:
    """Return how often everything that hosts own was compared with the sum of the ledger."""
    async with binkeeper.http() as http:
        text = (await http.get(binkeeper.run["url"] + "/metrics")).text
    return sum(
        int(float(rounds))
        for rounds in re.findall(r"^binkeeper_audit_rounds_total\S* (\S+)$", text, re.MULTILINE)
    )


async def streams_have_no_gap(binkeeper: Running, site: str) -> None:
    """The stream `LEDGER` has every entry of the site that its history has, and no gap anywhere."""
    ledger = await kept_ledger(binkeeper.run["nats_url"])
    assert ledger.gaps() == []
    told = {place for place, entry in ledger.entries.items() if entry["site"] == site}
    async with binkeeper.http() as http:
        for number in range(SKUS):
            after = 0
            while after is not None:
                page = await http.get(f"/history/{site}/S{number}", params={"limit": 1000, "after": after})
                items = page.json()["items"]
                missing = {(item["partition"], item["seq"]) for item in items} - told
                assert not missing
                after = page.json()["next_cursor"]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("role", ["host", "api", "nats", "postgres"])
async def test_a_killed_process_loses_nothing_and_is_soon_back(binkeeper: Running, role: str) -> None:
    await until(lambda: settled(binkeeper), "all is quiet", 60.0)
    await until(lambda: len(binkeeper.pids("host")) > 1, "a standby is ready", 60.0)
    site = f"crash-{role}"
    work = Workload(binkeeper, site, seed=len(role))
    over = asyncio.get_running_loop().create_future()
    working = asyncio.create_task(work.run(over))
    await until(lambda: len(work.answered) > ANSWERS, "the load is on")

    killed = binkeeper.kill(role)
    killed_s = time.monotonic()
    if role != "host":
        await asyncio.to_thread(binkeeper.until_line, f"{role} is back")
    back_s = time.monotonic() if role != "host" else killed_s
    await until(lambda: any(began_s >= back_s for began_s, _ in work.answered), "it serves again", 60.0)
    served = len(work.answered)
    await until(lambda: len(work.answered) > served + ANSWERS, "the load goes on", 60.0)
    over.set_result(None)
    await working

    served_s = work.first_answer_s(back_s) - back_s
    print(
        f"{role} killed: served again {served_s:.2f} s after "
        f"{'the kill' if role == 'host' else 'it was back'} ({back_s - killed_s:.2f} s after the kill), "
        f"longest silence {work.longest_silence_s(killed_s):.2f} s, "
        f"{len(work.answered)} answers, {work.repeats} repeats"
    )
    assert served_s < allowed_s(BACK_S_MAX)
    assert killed not in binkeeper.pids(role)
    await work.verify()
    await until(lambda: settled(binkeeper), "the courier has caught up", 60.0)
    await streams_have_no_gap(binkeeper, site)
    if role == "host":
        before = await audit_rounds(binkeeper)

        async def compared() -> bool:
            return await audit_rounds(binkeeper) >= before + 2  # One of them began just now.

        await until(compared, "the new owner has compared everything", 120.0)
        assert await settled(binkeeper)


@pytest.mark.timeout(240)
async def test_when_ray_dies_everything_of_it_is_started_anew_and_nothing_is_lost(binkeeper: Running) -> None:
    await until(lambda: settled(binkeeper), "all is quiet", 60.0)
    work = Workload(binkeeper, "crash-raylet", seed=7)
    over = asyncio.get_running_loop().create_future()
    working = asyncio.create_task(work.run(over))
    await until(lambda: len(work.answered) > 100, "the load is on")
    before = binkeeper.run["ray_address"]

    binkeeper.kill("raylet")
    killed_s = time.monotonic()
    await asyncio.to_thread(binkeeper.until_line, "supervisor is back")
    back_s = time.monotonic()
    await until(lambda: any(began_s >= back_s for began_s, _ in work.answered), "it serves again", 60.0)
    over.set_result(None)
    await working

    print(f"raylet killed: longest silence {work.longest_silence_s(killed_s):.1f} s")
    assert binkeeper.run["ray_address"] != before
    await work.verify()
    await until(lambda: settled(binkeeper), "the courier has caught up", 60.0)
    await streams_have_no_gap(binkeeper, "crash-raylet")
