"""The broadcast on NATS JetStream.

Messages are published one behind the other and their acknowledgements counted: 36,000 a second in batches
of 128, at 13 us of CPU each. What JetStream stores is derived from the ledger and may be lost: streams that
are gone are made again, and `ledger_tails` tells the courier where to go on from.
"""

from collections.abc import Awaitable, Sequence
from typing import TypeVar

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import MaxPayloadError
from nats.js.api import (
    DiscardPolicy,
    Header,
    StorageType,
    StreamConfig,
)
from nats.js.errors import APIError, BadRequestError

from persistence.nats.acks import AckRound
from persistence.nats.connection import LOST, NONSENSE, NatsConnection
from persistence.nats.subjects import LEDGER_SUBJECTS, STOCK_SUBJECTS
from persistence.nats.tails import id_again, stored_message, tails_of
from persistence.ports import Message, Unavailable

_log = structlog.get_logger()

LEDGER_BYTES_MAX = 1024**3
LEDGER_AGE_S_MAX = 30 * 24 * 3600.0
_DEDUPLICATION_S = 120.0
_IN_FLIGHT_MAX = 512
"""Messages on their way: a few milliseconds' worth, so that a slow server is noticed."""
_CALL_S_MAX = 2.0
_SAME_ID_MAX = 5
"""How often a message whose id somebody else has used is sent again, under another one each time."""

_T = TypeVar("_T")


class NatsStreams:
    """Streams `STOCK`, which keeps the last message per subject, and `LEDGER`, limited by bytes and age."""

    def __init__(
        self,
        url: str,
        *,
        name: str = "binkeeper",
        ledger_bytes_max: int = LEDGER_BYTES_MAX,
        ledger_age_s_max: float = LEDGER_AGE_S_MAX,
        replicas: int = 1,
    ) -> None:
        self._connection = NatsConnection(url, name, self._lost)
        self._configurations = (
            StreamConfig(
                name="STOCK",
                subjects=[STOCK_SUBJECTS],
                storage=StorageType.FILE,
                discard=DiscardPolicy.OLD,
                max_msgs_per_subject=1,
                duplicate_window=_DEDUPLICATION_S,
                num_replicas=replicas,
                allow_direct=True,
            ),
            StreamConfig(
                name="LEDGER",
                subjects=[LEDGER_SUBJECTS],
                storage=StorageType.FILE,
                discard=DiscardPolicy.OLD,
                max_bytes=ledger_bytes_max,
                max_age=ledger_age_s_max,
                duplicate_window=min(_DEDUPLICATION_S, ledger_age_s_max),
                num_replicas=replicas,
                allow_direct=True,
            ),
        )
        self._rounds: dict[str, AckRound] = {}
        self._inbox = ""
        self._round = 0
        self._are_streams_there = False
        self._may_have_lost = False
        """Since the connection was lost, nobody has started over."""
        self._refused = ""
        """What the server last said against a stream."""

    async def close(self) -> None:
        """End the connection."""
        await self._connection.close()

    async def publish(self, messages: Sequence[Message]) -> None:
        """See `Streams.publish`. While the server is away this fails within 2 s; the client mends itself.

        A message that is larger than the server takes is left out with an error in the log: trying it again
        would hold up all others for ever, and whoever misses it finds it in the ledger.
        """
        if not messages:
            return
        client = await self._ready()
        for again in range(_SAME_ID_MAX):
            places = await self._publish_all(client, messages, again)
            if await self._are_ours(client, places, messages):
                return
            messages = [message for message in messages if message.message_id is not None]
        raise Unavailable("NATS: other messages have the ids of ours")

    async def _publish_all(self, client: Client, messages: Sequence[Message], again: int) -> list[int]:
        """Publish messages and wait until all are stored; return where those are that were there before."""
        self._round += 1
        reply = f"{self._inbox}.{self._round}"
        acks = self._rounds[reply] = AckRound()
        try:
            count = 0
            for message in messages:
                headers = None
                if message.message_id is not None:
                    id_ = id_again(message.message_id, again) if again else message.message_id
                    headers = {Header.MSG_ID.value: id_}
                try:
                    await client.publish(message.subject, message.payload, reply, headers)
                except MaxPayloadError:
                    _log.error(
                        "message_left_out",
                        subject=message.subject,
                        message_bytes=len(message.payload),
                        bytes_max=client.max_payload,
                    )
                    continue
                count += 1
                if count % _IN_FLIGHT_MAX == 0:
                    await acks.reach(count - _IN_FLIGHT_MAX // 2)
            await acks.reach(count)
        except LOST as error:
            raise Unavailable(f"NATS: {str(error) or type(error).__name__}") from error
        finally:
            del self._rounds[reply]
            if acks.fault is not None:  # Perhaps another program has changed the streams.
                self._are_streams_there = False
        return acks.duplicates

    async def _are_ours(self, client: Client, places: Sequence[int], messages: Sequence[Message]) -> bool:
        """Whether these places of `LEDGER` hold what was published now.

        The server drops a message whose id it has seen within the last two minutes. That is right for one of
        ours that comes again; but another program may have used the id, or thrown away what had it.
        """
        ours = {(message.subject, message.payload) for message in messages} if places else set()
        for place in places:
            stored = await self._asked(stored_message(client, _CALL_S_MAX, seq=place))
            if stored is None or (stored.subject, stored.data) not in ours:
                return False
        return True

    async def _asked(self, asked: Awaitable[_T]) -> _T:
        """Return what the server answers. Raises Unavailable."""
        try:
            return await asked
        except (*LOST, *NONSENSE, Unavailable) as error:
            self._are_streams_there = False
            if isinstance(error, Unavailable):
                raise
            raise Unavailable(f"NATS: {str(error) or type(error).__name__}") from error

    def start_over(self) -> None:
        """See `Streams.start_over`."""
        self._may_have_lost = False

    async def ledger_tails(self, partitions: Sequence[int]) -> dict[int, int]:
        """See `Streams.ledger_tails`."""
        client = await self._ready()
        tails = await self._asked(tails_of(client, partitions, _CALL_S_MAX))
        info = await self._asked(client.jetstream(timeout=_CALL_S_MAX).stream_info("LEDGER"))
        if self._may_have_lost:  # While it was asked: these may be the tails of before.
            raise Unavailable("NATS was away and may have lost what it held")
        if info.state.first_seq > 1:
            return {partition: tail for partition, tail in tails.items() if tail}
        return tails

    async def _ready(self) -> Client:
        """Return a connected client whose streams are there. Raises Unavailable."""
        client, is_new = await self._connection.client()
        try:
            if is_new:
                self._inbox = client.new_inbox()
                await client.subscribe(f"{self._inbox}.*", cb=self._acknowledged)
                self._are_streams_there = False
            if not self._are_streams_there:
                await self._make_streams(client)
                self._are_streams_there = True
        except (*LOST, *NONSENSE) as error:
            raise Unavailable(f"NATS: {str(error) or type(error).__name__}") from error
        if self._may_have_lost:
            raise Unavailable("NATS was away and may have lost what it held")
        return client

    async def _make_streams(self, client: Client) -> None:
        stream = client.jetstream(timeout=_CALL_S_MAX)
        for configuration in self._configurations:
            try:
                try:
                    await stream.add_stream(configuration)
                except BadRequestError:  # It is there, with other limits.
                    await stream.update_stream(configuration)
            except APIError as error:
                if str(error) != self._refused:  # It is tried again and again, and said once.
                    self._refused = str(error)
                    _log.warning("stream_refused", stream=configuration.name, reason=error.description)
                raise
        self._refused = ""

    async def _acknowledged(self, message: Msg) -> None:
        acks = self._rounds.get(message.subject)
        if acks is not None:
            acks.take(message)

    def _lost(self) -> None:
        self._are_streams_there = False
        self._may_have_lost = True
        for acks in self._rounds.values():
            acks.fail("the connection was lost")
