"""Stopping and starting again on the same home."""

import psutil
import pytest

from tests.end_to_end.running import DEADLINE_S, Running, receive, stock_of

READY_S_MAX = 15.0


@pytest.mark.timeout(300)
async def test_ctrl_c_leaves_no_process_and_a_second_start_goes_on_with_the_same_stock(
    binkeeper: Running,
) -> None:
    async with binkeeper.http() as http:
        await receive(http, "restart", "LAMP", 9)
        reserved = await http.post("/reservations", json={"site": "restart", "sku": "LAMP", "quantity": 4})
        before = (await stock_of(http, "restart", "LAMP"))["bins"]
    family = binkeeper.family()
    assert len(family) > 6

    assert binkeeper.interrupt() == 0
    assert psutil.wait_procs(family, timeout=DEADLINE_S)[1] == []
    assert not (binkeeper.home / "run.json").exists()

    binkeeper.start()
    # On a machine that does other things too, the processes wait for their turn.
    load = psutil.getloadavg()[0] / (psutil.cpu_count() or 1)
    print(f"ready after {binkeeper.ready_s:.1f} s, at {load:.1f} runnable processes a core")
    assert binkeeper.ready_s < READY_S_MAX * max(1.0, 1.5 * load)
    async with binkeeper.http() as http:
        assert (await stock_of(http, "restart", "LAMP"))["bins"] == before
        path = f"/reservations/{reserved.json()['id']}"
        assert (await http.post(f"{path}/pick", json={})).json()["state"] == "picked"
    assert len(list((binkeeper.home / "ray").glob("session_2*"))) == 1
