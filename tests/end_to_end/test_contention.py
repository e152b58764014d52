"""Many callers want the same units."""

import asyncio

import httpx

from tests.end_to_end.running import Running, receive, stock_of

UNITS = 500
CALLERS = 2_000


async def reserve(http: httpx.AsyncClient, sku: str, key: str) -> httpx.Response:
    return await http.post(
        "/reservations",
        json={"site": "rush", "sku": sku, "quantity": 1, "reference": key},
        headers={"Idempotency-Key": key},
    )


async def test_of_2000_callers_for_500_units_exactly_500_get_one(binkeeper: Running) -> None:
    pools = [
        binkeeper.http(connections=8) for _ in range(16)
    ]  # One pool's queue would be slower than the server.
    await receive(pools[0], "rush", "LAST-ONES", UNITS)
    sent = (reserve(pools[n % len(pools)], "LAST-ONES", f"rush-{n}") for n in range(CALLERS))
    codes = [answer.status_code for answer in await asyncio.gather(*sent)]
    assert (codes.count(201), codes.count(409)) == (UNITS, CALLERS - UNITS)
    stock = await stock_of(pools[0], "rush", "LAST-ONES")
    assert (stock["on_hand"], stock["reserved"], stock["available"]) == (UNITS, UNITS, 0)
    for pool in pools:
        await pool.aclose()


async def test_through_4_connections_with_every_request_sent_twice_exactly_500_get_one(
    binkeeper: Running,
) -> None:
    connections = [binkeeper.http(connections=1) for _ in range(4)]
    await receive(connections[0], "rush", "TWICE", UNITS)
    answers: dict[str, list[httpx.Response]] = {f"twice-{n}": [] for n in range(CALLERS)}

    async def send(number: int, http: httpx.AsyncClient) -> None:
        # The second time a key is sent, it goes through the next connection, at about the same time.
        for n, key in enumerate(answers):
            if number in (n % 4, (n + 1) % 4):
                answers[key].append(await reserve(http, "TWICE", key))

    await asyncio.gather(*(send(number, http) for number, http in enumerate(connections)))
    for one, other in answers.values():
        assert one.status_code == other.status_code
        assert one.json().get("id") == other.json().get("id")
    reserved = [one.json()["id"] for one, _ in answers.values() if one.status_code == 201]
    assert len(reserved) == len(set(reserved)) == UNITS
    stock = await stock_of(connections[0], "rush", "TWICE")
    assert (stock["reserved"], stock["available"]) == (UNITS, 0)
    for connection in connections:
        await connection.aclose()
