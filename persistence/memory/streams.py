"""The broadcast in memory: what each stream would hold, and who listens."""

from collections.abc import Callable, Sequence

from persistence.nats.subjects import ledger_subject, subject_matches
from persistence.ports import Message


class MemoryStreams:
    """Streams `STOCK` (last message per subject) and `LEDGER`, shared by whoever holds this object."""

    def __init__(self) -> None:
        self.stock: dict[str, Message] = {}
        """The last message by subject."""
        self.ledger: list[Message] = []
        self.tails: dict[str, int] = {}
        """The last sequence number by subject of `LEDGER`."""
        self._message_ids: set[str] = set()
        self._listeners: list[tuple[str, Callable[[Message], None]]] = []

    def listen(self, pattern: str, listener: Callable[[Message], None]) -> None:
        """Call `listener` with every message from now on whose subject matches (`*`, `>`)."""
        self._listeners.append((pattern, listener))

    async def publish(self, messages: Sequence[Message]) -> None:
        """See `Streams.publish`."""
        for message in messages:
            if message.message_id is not None:
                if message.message_id in self._message_ids:
                    continue
                self._message_ids.add(message.message_id)
            self._store(message)
            for pattern, listener in self._listeners:
                if subject_matches(pattern, message.subject):
                    listener(message)

    def _store(self, message: Message) -> None:
        root = message.subject.split(".", 1)[0]
        if root == "stock":
            self.stock[message.subject] = message
            return
        assert root == "ledger", f"no stream takes {message.subject}"
        assert message.message_id is not None, "what goes to LEDGER says up to where it reaches"
        self.ledger.append(message)
        self.tails[message.subject] = int(message.message_id.rpartition(":")[2])

    def start_over(self) -> None:
        """See `Streams.start_over`: nothing is ever lost here."""

    async def ledger_tails(self, partitions: Sequence[int]) -> dict[int, int]:
        """See `Streams.ledger_tails`."""
        return {number: self.tails.get(ledger_subject(number), 0) for number in partitions}
