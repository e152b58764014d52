"""The operations of a batch: the same bodies with `op`, and with `id` where a route names a reservation."""

from msgspec import Struct

from api import bodies as b


class ReserveOperation(b.ReserveBody, tag_field="op", tag="reserve", kw_only=True):
    """A reservation."""

    key: b.Key | None = None


class PickOperation(b.PickBody, tag_field="op", tag="pick", kw_only=True):
    """A pick from a reservation."""

    id: b.ReservationId
    key: b.Key | None = None


class ReleaseOperation(b.ReleaseBody, tag_field="op", tag="release", kw_only=True):
    """A release of a reservation."""

    id: b.ReservationId
    key: b.Key | None = None


class ExtendOperation(b.ExtendBody, tag_field="op", tag="extend", kw_only=True):
    """A longer life for a reservation."""

    id: b.ReservationId
    key: b.Key | None = None


class ReceiveOperation(b.ReceiveBody, tag_field="op", tag="receive", kw_only=True):
    """Units that come in."""

    key: b.Key | None = None


class PickStockOperation(b.PickStockBody, tag_field="op", tag="pick_stock", kw_only=True):
    """Units that go out without a reservation."""

    key: b.Key | None = None


class MoveOperation(b.MoveBody, tag_field="op", tag="move", kw_only=True):
    """Units that go from one bin to another."""

    key: b.Key | None = None


class AdjustOperation(b.AdjustBody, tag_field="op", tag="adjust", kw_only=True):
    """Units added or taken away."""

    key: b.Key | None = None


class CountOperation(b.CountBody, tag_field="op", tag="count", kw_only=True):
    """What a counter found."""

    key: b.Key | None = None


class HoldOperation(b.HoldBody, tag_field="op", tag="hold", kw_only=True):
    """Units that are taken off sale."""

    key: b.Key | None = None


class UnholdOperation(b.HoldBody, tag_field="op", tag="unhold", kw_only=True):
    """Units that are put back on sale."""

    key: b.Key | None = None


OnReservation = PickOperation | ReleaseOperation | ExtendOperation
OnStock = (
    ReserveOperation
    | ReceiveOperation
    | PickStockOperation
    | MoveOperation
    | AdjustOperation
    | CountOperation
    | HoldOperation
    | UnholdOperation
)
Operation = OnReservation | OnStock


def name_of(operation: Struct) -> str:
    """Return the permanent name of an operation: its `op`."""
    tag = operation.__struct_config__.tag
    assert isinstance(tag, str)
    return tag
