"""What comes back from a host: an answer, a refusal (`engine.refusals.Refused`) or a fault.

Fault
|-- Unavailable      nothing happened; try again
|   |-- Overloaded   nothing happened; try again after `retry_after_ms`
|   `-- LedgerRefused nothing happened, and nothing will until a person has mended the ledger
`-- OutcomeUnknown   it may have happened: send the same key again
"""

from typing import Any, NamedTuple

from engine.refusals import Refused
from persistence.ports import Fault, OutcomeUnknown, Unavailable

__all__ = ["Answered", "Fault", "LedgerRefused", "Outcome", "OutcomeUnknown", "Overloaded", "Unavailable"]


class Answered(NamedTuple):
    """The command's effect is durable; `view` is in the shape of the public contract."""

    view: dict[str, Any]
    replayed: bool = False
    """Whether this is the first answer to the same key, given again."""


class Overloaded(Unavailable):
    """The host's queue is full. Nothing happened; try again after `retry_after_ms`."""

    def __init__(self, retry_after_ms: int) -> None:
        super().__init__(f"overloaded: try again in {retry_after_ms} ms")
        self.retry_after_ms = retry_after_ms


class LedgerRefused(Unavailable):
    """The ledger of the stock's partition does not hold, and nobody serves it. Nothing happened.

    The message names the partition and the entry. Trying again helps only once a person has mended it.
    """


Outcome = Answered | Refused
