"""Judges what is broadcast at the moment at which it is, and what the streams hold in the end.

Each message of a bin is a state that was committed. It may be older than the one before, for a moment, in
four cases and no other:

- it was under way when its connection broke (a late message),
- another host has taken the partition since it was read (a deposed host),
- a host says again what it may have overwritten, and asks again until that stands (who says it again),
- the owner says it, and somebody else has said again what was newer (an overtaken owner).

So who leaves out what is older than what it knows sees each bin go forth only, and hears the last of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from simulation.model import partition_of
from simulation.shown import bin_shown

if TYPE_CHECKING:
    from persistence.ports import Message
    from simulation.broadcast import Speaker
    from simulation.model import LedgerModel, Place
    from simulation.world import World

_SET_BACK_S_MAX = 4.0
"""Virtual seconds in which nothing goes wrong, for which the last message of a bin may be an older one."""
_SET_BACK_BY_THE_DEAD_S_MAX = 12.0
"""The same for a message whose host was killed before it said it again, or knew of it."""


class Listening:
    """A subscriber to everything; `blame` takes a promise and what broke it."""

    def __init__(
        self, world: World, models: Sequence[LedgerModel], blame: Callable[[str, str], None]
    ) -> None:
        self._world = world
        self._broadcast = world.broadcast
        self._models = models
        self._blame = blame
        self._told: dict[str, int] = {}
        """The newest entry by subject; of bins, the newest that an owner told of itself and in time."""
        self.newest: dict[str, dict[str, Any]] = {}
        """What a subscriber knows of each bin that leaves out what is older than what it knows."""
        self._said: dict[tuple[str, int], int] = {}
        """The newest state of each bin that each connection told in order, by subject and connection."""
        self.set_back: dict[str, tuple[float, str]] = {}
        """Bins whose last message is not the newest: the quiet seconds by then, and by which host."""
        self._quiet_s = self._looked_s = 0.0
        self._judged: dict[bytes, tuple[int, int]] = {}
        """(first, last) entry of each message of the ledger."""

    def published(self, message: Message, speaker: Speaker) -> None:
        """Judge a message that the streams take."""
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
        self._judge_order(message.subject, place, body, speaker)

    def _judge_order(self, subject: str, place: Place, body: dict[str, Any], speaker: Speaker) -> None:
        """Judge when a bin's state comes behind a newer one: `STOCK` keeps the last message."""
        seq = body["seq"]
        model = self._models[partition_of(place[0], place[1], len(self._models))]
        if not speaker.is_mending and not model.was_seen_by(speaker.host, place, seq):
            self._blame("P8", f"{speaker.host} broadcasts {subject} at {seq}, when it did not own it")
        newest = self.newest.setdefault(subject, body)
        if seq < newest["seq"]:
            why = self._why_back(subject, place, seq, speaker)
            if why is None:
                self._blame("P8", f"{subject} goes back to {seq} from {newest['seq']} by {speaker}")
            self._broadcast.loop.effects[f"bin set back by {why}"] += 1
            self.set_back.setdefault(subject, (self._quiet_s, speaker.host))
        else:
            self.newest[subject] = body
            self.set_back.pop(subject, None)
        if not speaker.is_mending and not speaker.is_late:
            own = (subject, speaker.connection)
            self._said[own] = max(seq, self._said.get(own, 0))
            self._told[subject] = max(seq, self._told.get(subject, 0))

    def _why_back(self, subject: str, place: Place, seq: int, speaker: Speaker) -> str | None:
        """Return why a message may be older than one before it, or None if it may not.

        What one connection says by itself follows each other; so does what owners say, each in its time.
        """
        if speaker.is_late:
            return "a late message"
        if speaker.is_mending:
            return "who says it again"
        if seq < self._said.get((subject, speaker.connection), 0):
            return None
        model = self._models[partition_of(place[0], place[1], len(self._models))]
        if model.owner != speaker.host or seq < model.bin_at(place, model.claims[-1][0]).seq:
            return "a deposed host"
        return "an overtaken owner" if seq >= self._told.get(subject, 0) else None

    def judge_time(self, *, is_quiet: bool) -> None:
        """Judge for how long the last message of a bin is not the newest, while nothing else goes wrong."""
        before_s, self._looked_s = self._looked_s, self._broadcast.loop.time()
        if is_quiet:
            self._quiet_s += self._looked_s - before_s
        alive = {host.name for host in self._world.hosts}
        for subject, (since_s, host) in self.set_back.items():
            most_s = _SET_BACK_S_MAX if host in alive else _SET_BACK_BY_THE_DEAD_S_MAX
            if self._quiet_s - since_s > most_s:
                newest = self.newest[subject]["seq"]
                self._blame("P8", f"{subject} is set back from {newest} for {self._quiet_s - since_s:.1f} s")

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
                if self.newest.get(_subject(place)) != known:
                    self._blame("P8", f"who leaves out older states never heard the last of {place}")
                if body != known:
                    self._blame("P8", f"the last broadcast of {place} is {body}, the ledger says {known}")


def _subject(place: Place) -> str:
    return ".".join(("stock", *place))
