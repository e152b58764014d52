"""What may be asked of a host beside commands: reads, which wait for what they saw to be durable."""

from typing import NamedTuple


class ReadStock(NamedTuple):
    """All bins of a SKU -> `engine.views.stock_view`; refused `stock_not_found`."""

    site: str
    sku: str


class ReadBin(NamedTuple):
    """One bin -> `engine.views.bin_view`; refused `stock_not_found` or `bin_not_found`."""

    site: str
    sku: str
    location: str


class ReadReservation(NamedTuple):
    """One reservation or share -> `engine.views.reservation_view`; refused `reservation_not_found`."""

    number: int
    opened_at_ms: int


class RecallReservation(NamedTuple):
    """One reservation or share as it was when it was made; refused `reservation_not_found`."""

    number: int
    opened_at_ms: int


class ExplainStock(NamedTuple):
    """Why a SKU's available quantity is what it is -> `engine.views.explain_view`."""

    site: str
    sku: str


Query = ReadStock | ReadBin | ReadReservation | RecallReservation | ExplainStock

QUERIES: dict[str, type[Query]] = {
    "read_stock": ReadStock,
    "read_bin": ReadBin,
    "read_reservation": ReadReservation,
    "recall_reservation": RecallReservation,
    "explain": ExplainStock,
}
QUERY_NAMES: dict[type[Query], str] = {query: name for name, query in QUERIES.items()}
