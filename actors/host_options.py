"""Limits of a host. What an operator can set of them is in `binkeeper.settings`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HostOptions:
    """Limits of a host."""

    name: str
    max_in_flight: int = 10_000
    """Requests taken and not yet answered; more are refused at once."""
    key_window: int = 50_000
    """Newest command keys kept with their answers."""
    key_window_bytes: int = 64 * 1024 * 1024
    """Of the answers that are kept; beyond it the oldest keys leave as well."""
    recovered_keys: int = 20_000
    """Newest command keys that a new owner starts with: those whose callers may still repeat them."""
    snapshot_interval_s: float = 5.0
    snapshot_entries: int = 100_000
    """Entries behind which a snapshot is never left, however busy the host is."""
    tentative_sweep_s: float = 1.0
    active_stocks_max: int = 1_000_000
    """Stocks kept active; beyond it those without open reservations are set to rest."""
