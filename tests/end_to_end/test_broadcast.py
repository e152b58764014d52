"""Every change is told on NATS, in order and without a gap."""

import asyncio
import random

import msgspec
from nats.js.api import DeliverPolicy

from tests.end_to_end.listener import Listener, kept
from tests.end_to_end.running import Running, receive, stock_of
from tests.waiting import until

SKUS = [f"B-{number}" for number in range(12)]


async def test_a_subscriber_sees_every_change_and_a_late_one_the_whole_picture(binkeeper: Running) -> None:
    chance = random.Random(3)
    listener = await Listener.connected(binkeeper.run["nats_url"])
    async with binkeeper.http() as http:
        for sku in SKUS:
            await receive(http, "air.1", sku, 100, "A 1")

        async def change() -> None:
            sku = chance.choice(SKUS)
            reserved = await http.post("/reservations", json={"site": "air.1", "sku": sku, "quantity": 2})
            end = chance.choice(("pick", "release"))
            assert (
                await http.post(f"/reservations/{reserved.json()['id']}/{end}", json={})
            ).status_code == 200

        await asyncio.gather(*(change() for _ in range(150)))

        bins = {sku: (await stock_of(http, "air.1", sku))["bins"][0] for sku in SKUS}
        subjects = {f"stock.air=2E1.{sku}.A=201": bins[sku] for sku in SKUS}
        await until(
            lambda: all(listener.stock.get(subject) == bin_ for subject, bin_ in subjects.items()),
            "each bin's last state was told",
        )
        assert listener.gaps() == []
        for sku in SKUS:
            history = (await http.get(f"/history/air.1/{sku}", params={"limit": 1000})).json()["items"]
            told = [
                (entry["seq"], entry["kind"], entry["quantity"])
                for _, entry in sorted(listener.entries.items())
                if entry["site"] == "air.1" and entry["sku"] == sku
            ]
            assert told == [(item["seq"], item["kind"], item["quantity"]) for item in history]

    late = {
        message.subject: msgspec.msgpack.decode(message.data)
        for message in await kept(listener.client, "STOCK", DeliverPolicy.LAST_PER_SUBJECT)
    }
    assert {subject: late[subject] for subject in subjects} == subjects
    await listener.client.close()
