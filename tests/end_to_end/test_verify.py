"""`binkeeper verify` beside a running server, and a ledger that somebody changed, until it is mended."""

import json

import asyncpg
import httpx
import pytest

from engine.partitioning import partition_of
from tests.end_to_end.running import Running, receive
from tests.waiting import until

SITE = "verified"
OTHERS = [f"V-{number}" for number in range(12)]


async def execute(binkeeper: Running, statement: str, *values: object) -> None:
    """Change a table as only a person with the database's password can."""
    connection = await asyncpg.connect(binkeeper.run["postgres_url"])
    await connection.execute(statement, *values)
    await connection.close()


def verified(binkeeper: Running) -> tuple[int, dict[str, object]]:
    done = binkeeper.ask("verify", "--json")
    assert done.returncode in {0, 1}, done.stderr
    return done.returncode, json.loads(done.stdout)


async def work(http: httpx.AsyncClient) -> None:
    for sku in OTHERS:
        await receive(http, SITE, sku, 20)
    for sku in OTHERS:
        lines = [{"site": SITE, "sku": other, "quantity": 1} for other in {sku, OTHERS[0], OTHERS[5]}]
        reserved = await http.post("/reservations", json={"lines": lines, "ttl_s": 600})
        picked = await http.post(f"/reservations/{reserved.json()['id']}/pick", json={"sku": sku})
        assert picked.status_code == 200, picked.text


@pytest.mark.timeout(180)
async def test_a_changed_row_stops_its_partition_alone_until_a_person_has_mended_it(
    binkeeper: Running,
) -> None:
    async with binkeeper.http() as http:
        partitions = (await http.get("/status")).json()["partitions"]
        number = partition_of(SITE, "BROKEN", partitions)
        others = [sku for sku in OTHERS if partition_of(SITE, sku, partitions) != number]
        await receive(http, SITE, "BROKEN", 7)
        await work(http)
        code, report = verified(binkeeper)
        assert (code, report["counts"]) == (0, {})

        change = "UPDATE ledger SET on_hand = on_hand + $1 WHERE site = $2 AND sku = $3"
        await execute(binkeeper, change, 1, SITE, "BROKEN")
        binkeeper.kill("host")

        async def refused() -> httpx.Response | None:
            answer = await http.get(f"/stock/{SITE}/BROKEN")
            return answer if "is not served" in answer.text else None

        answer = await until(refused, "the changed row was refused")
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert f"Partition {number} is not served: its ledger does not hold at entry" in answer.text
        assert answer.headers["retry-after"] == "60"
        for sku in others:
            served = await http.get(f"/stock/{SITE}/{sku}")
            assert served.status_code == 200, served.text
        assert (await http.get(binkeeper.run["url"] + "/readyz")).status_code == 200

        code, report = verified(binkeeper)
        first = report["first"]
        assert isinstance(first, dict)
        assert (code, first["partition"], first["sort"]) == (1, number, "checksum")
        (told,) = json.loads(binkeeper.ask("status", "--json").stdout)["partitions_refused"]
        assert (told["partition"], told["seq"]) == (number, first["seq"])
        assert f"at entry {first['seq']}" in answer.text

        await execute(binkeeper, change, -1, SITE, "BROKEN")
        binkeeper.kill("host")

        async def serves() -> bool:
            return (await http.get(f"/stock/{SITE}/BROKEN")).status_code == 200

        await until(serves, "the mended partition is served")
        assert (await http.get(f"/stock/{SITE}/BROKEN")).json()["on_hand"] == 7
        assert verified(binkeeper)[0] == 0


@pytest.mark.timeout(180)
async def test_stock_whose_snapshots_were_deleted_is_served_with_right_numbers(binkeeper: Running) -> None:
    async with binkeeper.http() as http:
        await work(http)
        before = [(await http.get(f"/stock/{SITE}/{sku}")).json()["on_hand"] for sku in OTHERS]
        listed = await http.get("/stock", params={"site": SITE})  # Which has the snapshots written.
        assert listed.status_code == 200
        for table in ("stock_lot", "reservation_line"):  # Those of others stay whole.
            await execute(binkeeper, f"DELETE FROM {table} WHERE site = $1 AND sku = ANY($2)", SITE, OTHERS)  # noqa: S608
        binkeeper.kill("host")
        after = []
        for sku in OTHERS:

            async def read(sku: str = sku) -> httpx.Response | None:
                answer = await http.get(f"/stock/{SITE}/{sku}")
                return answer if answer.status_code == 200 else None

            after.append((await until(read, "the stock is read")).json()["on_hand"])
        assert after == before
        told = (await http.get("/status")).json()
        used = {partition_of(SITE, sku, told["partitions"]) for sku in OTHERS}
        assert told["rebuilds"] >= len(used)
        assert told["partitions_refused"] == []
