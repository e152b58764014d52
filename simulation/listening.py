"""Judges what is broadcast at the moment at which it is, and what the streams hold in the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from simulation.model import partition_of
from simulation.shown import bin_shown

if TYPE_CHECKING:
    from persistence.ports import Message
    from simulation.model import LedgerModel, Place
    from simulation.world import World


class Listening:
    """A subscriber to everything; `blame` takes a promise and what broke it."""

    def __init__(
        self, world: World, models: Sequence[LedgerModel], blame: Callable[[str, str], None]
    ) -> None:
        self._broadcast, self._hosts = world.broadcast, world.hosts
        self._models = models
        self._blame = blame
        self._told: dict[str, int] = {}
        """The newest entry by subject."""
        self._shown: dict[tuple[str, int], int] = {}
        """The newest state of each bin that each connection broadcast, by subject and connection."""
        self._judged: dict[bytes, tuple[int, int]] = {}
        """(first, last) entry of each message of the ledger."""

    def published(self, message: Message, connection: int) -> None:
        """Judge a message that a connection sends."""
        if message.subject.startswith("ledger."):
            first, last = self._judge_entries(message)
            told = self._told.get(message.subject, 0)
            if first > told + 1 and not self._broadcast.epoch:
                self._blame("P8", f"{message.subject} goes on at {first} after {told}")
            self._told[message.subject] = max(told, last)
            return
        body = msgspec.msgpack.decode(message.payload)
        place = (body["site"], body["sku"], body["location"])
        if message.subject != _subject(place):
            self._blame("P8", f"{place} is broadcast as {message.subject}")
        model = self._models[partition_of(place[0], place[1], len(self._models))]
        known = bin_shown(place, model.bin_at(place, body["seq"]))
        if known != body:
            self._blame("P5", f"{place} is broadcast as {body}, the ledger says {known}")
        # One host's states of a bin follow each other. One that was deposed may speak late: others mend that.
        # So does who mends: what another host says of a bin may come behind what it says itself meanwhile,
        # and it asks again until what it said stands.
        own = (message.subject, connection)
        is_mending = any(len(host.running.courier.overtaken) for host in self._hosts)
        if body["seq"] < self._shown.get(own, 0) and not is_mending:
            self._blame("P8", f"{message.subject} goes back to {body['seq']} after {self._shown[own]}")
        self._shown[own] = body["seq"]

    def _judge_entries(self, message: Message) -> tuple[int, int]:
        """Compare a message with the ledger's rows; return its first and last number."""
        body = msgspec.msgpack.decode(message.payload)
        first, last = body["first_seq"], body["last_seq"]
        model = self._models[body["partition"]]
        if message.subject != f"ledger.{model.partition}":
            self._blame("P8", f"entries of {model.partition} are broadcast as {message.subject}")
        if last > model.seq:
            self._blame("P5", f"entry {last} of {model.partition} is broadcast before its commit")
            return first, last
        if [row["seq"] for row in body["entries"]] != list(range(first, last + 1)):
            self._blame("P8", f"{message.subject} is not of all entries from {first} to {last}")
        for row in body["entries"]:
            if tuple(row.values()) != tuple(model.rows[row["seq"] - 1]):
                self._blame("P8", f"{message.subject}: entry {row['seq']} is not the ledger's")
        self._judged[message.payload] = first, last
        return first, last

    def judge_end(self) -> None:
        """Judge what the streams hold: all entries in order, and the last state of each bin."""
        for model in self._models:
            told = 0
            for message in self._broadcast.ledger.get(f"ledger.{model.partition}", []):
                first, last = self._judged.get(message.payload) or self._judge_entries(message)
                if first > told + 1:
                    self._blame("P8", f"{message.subject} has a gap between {told} and {first}")
                told = max(told, last)
            if told != model.seq:
                self._blame("P8", f"partition {model.partition} is broadcast up to {told} of {model.seq}")
            for place, history in model.places():
                payload = self._broadcast.stock.get(_subject(place))
                body: Any = msgspec.msgpack.decode(payload) if payload is not None else None
                known = bin_shown(place, history[-1])
                if body != known:
                    self._blame("P8", f"the last broadcast of {place} is {body}, the ledger says {known}")


def _subject(place: Place) -> str:
    return ".".join(("stock", *place))
