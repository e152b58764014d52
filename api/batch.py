"""Many operations in one request, decided in order, each with an outcome of its own.

Operations on stock are sent one after the other without waiting: a partition decides them in that order.
What goes through the reservations may touch several partitions, so everything sent before is waited for
first; picks, releases and extensions of different reservations that take only what is theirs run together.

A caller's key is taken for the whole batch before its first operation: no other is carried out under it.
"""

import asyncio
import hashlib
from collections import deque
from collections.abc import Awaitable
from typing import Any

import msgspec

from actors.outcomes import Outcome
from api import batch_bodies as bb
from api.bodies import BatchBody
from api.exchange import Answer, Edge, Exchange, problem_of
from api.media import JSON, Decoder, Media
from api.operations import STATUSES, Operations
from api.problems import Code, Problem, problem_of_refusal
from engine.limits import BATCH_OPERATIONS_MAX
from engine.partitioning import reservation_address
from engine.refusals import Refused

IN_FLIGHT_MAX = 256
"""Most operations of one batch that wait for their outcome at once: no batch fills a host's queue alone."""

_DECODED_MAX = 200
"""Operations that are decoded before others get a turn of the loop: 3 ms when all of them are wrong."""

_BODY: Decoder[BatchBody] = Decoder(BatchBody)
_OPERATION: Decoder[bb.Operation] = Decoder(bb.Operation)
_ENCODER = msgspec.msgpack.Encoder()


class Batch:
    """One batch in the course of being carried out."""

    def __init__(self, operations: Operations, edge: Edge, key: str) -> None:
        self._operations = operations
        self._edge = edge
        self._key = key
        self._results: list[dict[str, Any]] = []
        self._sent: deque[tuple[int, str, Awaitable[Outcome]]] = deque()
        self._together: dict[object, tuple[int, str, Awaitable[Outcome]]] = {}
        """Operations on different reservations, by reservation."""
        self._keys_together: set[str] = set()
        """Their keys: two of one key are told apart by which of them came first."""
        self.is_replayed = True

    async def run(self, operations: list[bb.Operation | Problem]) -> list[dict[str, Any]]:
        """Carry out the operations and return their results in order."""
        self._results = [{}] * len(operations)
        for index, operation in enumerate(operations):
            if isinstance(operation, Problem):
                self._refuse(index, "invalid", operation)
                continue
            # A caller's key has no space in it, so that a derived one meets no other.
            key = operation.key or f"{self._key} {index}"
            name = bb.name_of(operation)
            try:
                await self._send(index, name, operation, key)
            except Exception as error:  # noqa: BLE001 - the outcome of this operation alone
                self._refuse(index, name, problem_of(error))
        await self._settle()
        return self._results

    async def _send(self, index: int, name: str, operation: bb.Operation, key: str) -> None:
        if isinstance(operation, bb.PickOperation | bb.ReleaseOperation | bb.ExtendOperation):
            await self._send_on_reservation(index, name, operation, key)
            return
        if self._together:
            await self._settle_together()
        if isinstance(operation, bb.ReserveOperation):
            outcome = self._operations.reserve_at_once(operation, key)
            if outcome is None:
                await self._settle()
                await self._finish(index, name, self._operations.reserve(operation, key))
                return
        else:
            outcome = self._operations.on_stock(name, operation, key)
        self._sent.append((index, name, outcome))
        if len(self._sent) >= IN_FLIGHT_MAX:
            await self._finish(*self._sent.popleft())

    async def _send_on_reservation(
        self, index: int, name: str, operation: bb.OnReservation, key: str
    ) -> None:
        if self._sent:
            await self._settle_sent()
        takes_others = isinstance(operation, bb.PickOperation) and (
            operation.location is not None or operation.lot is not None
        )
        same = reservation_address(operation.id) or operation.id
        is_met = same in self._together or key in self._keys_together
        if takes_others or is_met or len(self._together) >= IN_FLIGHT_MAX:
            await self._settle_together()
        outcome = self._operations.on_reservation(operation.id, operation, key)
        if takes_others:
            await self._finish(index, name, outcome)
        else:
            self._together[same] = (index, name, outcome)
            self._keys_together.add(key)

    async def _settle(self) -> None:
        await self._settle_sent()
        await self._settle_together()

    async def _settle_sent(self) -> None:
        while self._sent:
            await self._finish(*self._sent.popleft())

    async def _settle_together(self) -> None:
        if self._together:
            together, self._together = self._together, {}
            self._keys_together.clear()
            await asyncio.gather(*(self._finish(*sent) for sent in together.values()))

    async def _finish(self, index: int, name: str, awaited: Awaitable[Outcome]) -> None:
        try:
            outcome = await awaited
        except Exception as error:  # noqa: BLE001 - the outcome of this operation alone
            self._refuse(index, name, problem_of(error))
            return
        if isinstance(outcome, Refused):
            self._refuse(index, name, problem_of_refusal(outcome))
            return
        result = {"status": STATUSES.get(name, 200), **outcome.view}
        if outcome.replayed:
            result["replayed"] = True
        else:
            self.is_replayed = False
        self._results[index] = result
        self._edge.meters.count_operation(name, "replayed" if outcome.replayed else "done")

    def _refuse(self, index: int, name: str, problem: Problem) -> None:
        result = problem.body()
        if problem.replayed:
            result["replayed"] = True
        else:
            self.is_replayed = False
        self._results[index] = result
        self._edge.meters.count_operation(name, problem.code)


async def decoded(media: Media, raws: list[msgspec.Raw]) -> list[bb.Operation | Problem]:
    """Return each operation, or what is wrong with it."""
    operations: list[bb.Operation | Problem] = []
    for index, raw in enumerate(raws):
        if index % _DECODED_MAX == 0:
            await asyncio.sleep(0)
        try:
            operations.append(_OPERATION.decode(media, raw))
        except Problem as problem:
            place_in_batch(problem, index)
            operations.append(problem)
    return operations


def fingerprint_of(operations: list[bb.Operation | Problem], raws: list[msgspec.Raw]) -> int:
    """Return a 63-bit hash of a batch, the same in JSON and MessagePack and in any order of fields.

    An operation that cannot be decoded counts as it was sent, between bytes that begin no MessagePack.
    """
    digest = hashlib.blake2b(digest_size=8, key=b"batch")
    for operation, raw in zip(operations, raws, strict=True):
        if isinstance(operation, Problem):
            digest.update(b"\xc1%d\xc1" % memoryview(raw).nbytes)
            digest.update(raw)
        else:
            digest.update(_ENCODER.encode(operation))
    return int.from_bytes(digest.digest(), "big") >> 1


def place_in_batch(problem: Problem, index: int) -> None:
    """Let the pointers of a problem with one operation point into the batch."""
    for error in problem.fields.get("errors", ()):
        error["pointer"] = f"/operations/{index}{error['pointer']}"
        problem.detail = f"{error['pointer']}: {error['detail']}"


def _operations_in(media: Media, data: bytes) -> list[msgspec.Raw]:
    """Return the operations of a batch, not decoded. Raises Problem.

    Too many are told by the number that MessagePack begins with, before a list of them is made.
    """
    try:
        return _BODY.decode(media, data).operations
    except Problem as problem:
        for error in problem.fields.get("errors", ()):
            if error["pointer"] == "/operations" and "of length" in error["detail"]:
                raise Problem(
                    Code.BATCH_TOO_LARGE, f"More than {BATCH_OPERATIONS_MAX} operations.",
                    limit=BATCH_OPERATIONS_MAX,
                ) from None  # fmt: skip
        raise


async def run_batch(operations: Operations, edge: Edge, exchange: Exchange, data: bytes) -> Answer:
    """Answer a batch. Raises Problem when it is malformed, or its key another batch's: nothing was done then.

    Raises Fault when its key cannot be taken: then nothing of it was done either.
    """
    assert exchange.key is not None
    media = exchange.sent or JSON
    raws = _operations_in(media, data)
    asked = await decoded(media, raws)
    is_known = False
    if b"idempotency-key" in exchange.headers:  # One that we made cannot have been used before.
        noted = await operations.note(fingerprint_of(asked, raws), exchange.key)
        if isinstance(noted, Refused):
            raise problem_of_refusal(noted)
        is_known = noted.replayed
    batch = Batch(operations, edge, exchange.key)
    results = await batch.run(asked)
    return Answer(200, {"results": results}, replayed=batch.is_replayed and (bool(results) or is_known))
