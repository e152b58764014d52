"""Endpoints that change stock: one operation each, and the batch. Hot: they run without any framework."""

from collections.abc import Awaitable, Callable
from typing import Any

from actors.outcomes import Outcome
from api.batch import run_batch
from api.exchange import Answer, Edge, Endpoint, Exchange, key_of, read_sent
from api.media import Decoder
from api.operations import STATUSES, Operations
from api.problems import problem_of_refusal
from engine.refusals import Refused


class ChangeEndpoint(Endpoint):
    """One operation: decode, send, answer."""

    def __init__(
        self, edge: Edge, name: str, body: type, perform: Callable[[Any, str], Awaitable[Outcome]]
    ) -> None:
        super().__init__(edge, name)
        self._decode = Decoder[Any](body).decode
        self._perform = perform
        self._status = STATUSES.get(name, 200)

    async def answer(self, exchange: Exchange) -> Answer:
        """Return the operation's answer."""
        sent = read_sent(exchange)
        key = exchange.key = key_of(exchange.headers.get(b"idempotency-key"), self.edge)
        body = self._decode(sent, await exchange.body(self.edge))
        outcome = await self._perform(body, key)
        if isinstance(outcome, Refused):
            raise problem_of_refusal(outcome)
        return Answer(self._status, outcome.view, outcome.replayed)

    def count(self, outcome: str) -> None:
        """Count the operation."""
        self.edge.meters.count_operation(self.name, outcome)


class ReservationEndpoint(Endpoint):
    """One operation on the reservation that the path names. An empty body names nothing."""

    def __init__(self, edge: Edge, name: str, body: type, operations: Operations) -> None:
        super().__init__(edge, name)
        self._decode = Decoder[Any](body).decode
        self._empty = None if name == "extend" else body()
        self._operations = operations

    async def answer(self, exchange: Exchange) -> Answer:
        """Return the reservation after the operation."""
        sent = read_sent(exchange)
        key = exchange.key = key_of(exchange.headers.get(b"idempotency-key"), self.edge)
        data = await exchange.body(self.edge)
        body = self._empty if not data and self._empty is not None else self._decode(sent, data)
        outcome = await self._operations.on_reservation(exchange.path_text("id"), body, key)
        if isinstance(outcome, Refused):
            raise problem_of_refusal(outcome)
        return Answer(200, outcome.view, outcome.replayed)

    def count(self, outcome: str) -> None:
        """Count the operation."""
        self.edge.meters.count_operation(self.name, outcome)


class BatchEndpoint(Endpoint):
    """Many operations."""

    def __init__(self, edge: Edge, operations: Operations) -> None:
        super().__init__(edge, "batch")
        self._operations = operations

    async def answer(self, exchange: Exchange) -> Answer:
        """Return the result of each operation."""
        read_sent(exchange)
        exchange.key = key_of(exchange.headers.get(b"idempotency-key"), self.edge)
        return await run_batch(self._operations, self.edge, exchange, await exchange.body(self.edge))
