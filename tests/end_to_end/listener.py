"""Subscribers to the broadcast, and what JetStream has kept of it."""

from collections import defaultdict
from typing import Any

import msgspec
import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

FETCH = 500


class Listener:
    """A program that subscribes to `stock.>` and `ledger.>` as they come."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.stock: dict[str, dict[str, Any]] = {}
        self.spans: dict[int, list[tuple[int, int]]] = defaultdict(list)
        """First and last sequence number of each message, by partition."""
        self.entries: dict[tuple[int, int], dict[str, Any]] = {}

    @classmethod
    async def connected(cls, url: str) -> "Listener":
        listener = cls(await nats.connect(url))
        await listener.client.subscribe("stock.>", cb=listener.hear_stock)
        await listener.client.subscribe("ledger.>", cb=listener.hear_ledger)
        await listener.client.flush()
        return listener

    async def hear_stock(self, message: Msg) -> None:
        self.stock[message.subject] = msgspec.msgpack.decode(message.data)

    async def hear_ledger(self, message: Msg) -> None:
        told = msgspec.msgpack.decode(message.data)
        assert message.subject == f"ledger.{told['partition']}"
        assert (message.headers or {})["Nats-Msg-Id"] == f"{told['partition']}:{told['last_seq']}"
        self.spans[told["partition"]].append((told["first_seq"], told["last_seq"]))
        for entry in told["entries"]:
            self.entries[entry["partition"], entry["seq"]] = entry

    def gaps(self) -> list[tuple[int, int, int]]:
        """Return (partition, last, next first) wherever sequence numbers are missing; repeats are no gap."""
        found = []
        for partition, spans in self.spans.items():
            last = spans[0][0] - 1
            for first, until in spans:
                if first > last + 1:
                    found.append((partition, last, first))
                last = max(last, until)
        return found


async def kept_ledger(url: str) -> Listener:
    """Return what the stream `LEDGER` holds, from its beginning."""
    listener = Listener(await nats.connect(url))
    for message in await kept(listener.client, "LEDGER", DeliverPolicy.ALL):
        await listener.hear_ledger(message)
    await listener.client.close()
    return listener


async def kept(client: Client, stream: str, policy: DeliverPolicy) -> list[Msg]:
    """Return the messages of a stream."""
    consumer = await client.jetstream().pull_subscribe(
        ">",
        stream=stream,
        config=ConsumerConfig(deliver_policy=policy, ack_policy=AckPolicy.NONE, inactive_threshold=30.0),
    )
    pending = (await consumer.consumer_info()).num_pending or 0
    messages: list[Msg] = []
    while len(messages) < pending:
        messages += await consumer.fetch(min(FETCH, pending - len(messages)), timeout=10)
    await consumer.unsubscribe()
    return messages
