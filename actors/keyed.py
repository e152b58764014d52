"""Keys that the ledger is asked for: the entries that carry them, and those of which a row was changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from actors.rebuilding import Misfit, changed_row
from actors.retrying import until_available
from persistence.ports import RowsChanged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors.host import Host
    from engine.entries import Entry


class Keyed(NamedTuple):
    """What the ledger has of some keys."""

    entries: list[Entry]
    changed: dict[str, Misfit]
    """By key, where its entry is not as it was written: what was answered cannot be told any more."""


async def look_up(host: Host, keys: Sequence[str]) -> Keyed:
    """Return the entries that carry one of these keys, however often it must be asked for.

    The host stops to serve the partitions in which a row was changed.
    """
    try:
        return Keyed(await until_available(lambda: host.ledger.with_keys(keys), host.sleep), {})
    except RowsChanged as fault:
        host.ownership.refuse_changed(fault)
        if len(keys) == 1:
            number, seq = min(fault.places.items())
            return Keyed([], {keys[0]: changed_row(number, seq)})
    found = Keyed([], {})
    for key in keys:  # One by one: the others have nothing to do with it.
        entries, changed = await look_up(host, [key])
        found.entries.extend(entries)
        found.changed.update(changed)
    return found
