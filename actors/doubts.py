"""Refusals that may be repeats: the ledger is asked first for a key that the window does not know.

A repeat that is older than the window is decided like a new command. One that is accepted meets the ledger's
unique index; one that is refused would not, though its first time was answered: a pick of what is picked
already, a reservation of what is sold out by now. Refusals are looked up together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from actors.keyed import look_up
from actors.owned import OwnedPartition
from actors.requests import Request, Status
from engine.refusals import Refused

if TYPE_CHECKING:
    from actors.host import Host


class _Doubt(NamedTuple):
    """A refusal, and every request of its key until it is settled."""

    owned: OwnedPartition
    refusal: Refused
    requests: list[Request]


class Doubts:
    """Refusals that are not certain yet, by key."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._open: dict[str, _Doubt] = {}
        self._asked: dict[str, _Doubt] = {}
        self._is_running = False

    def take(self, owned: OwnedPartition, request: Request) -> bool:
        """Take a request whose key is in doubt already; False when it is not."""
        assert request.key is not None
        doubt = self._open.get(request.key) or self._asked.get(request.key)
        if doubt is None or doubt.owned is not owned:
            return False
        doubt.requests.append(request)
        return True

    def open(self, owned: OwnedPartition, request: Request, refusal: Refused) -> None:
        """Look whether the key of a request that would be refused is in the ledger."""
        assert request.key is not None
        doubt = self._open.get(request.key)
        if doubt is not None:  # Of an owner before a rewind, or of another partition: settled in turn.
            doubt.requests.append(request)
            return
        self._open[request.key] = _Doubt(owned, refusal, [request])
        if not self._is_running:
            self._is_running = True
            self._host.spawn(self._run())

    async def _run(self) -> None:
        host = self._host
        while self._open:
            self._asked, self._open = self._open, {}
            entries, changed = await look_up(host, list(self._asked))
            for entry in entries:
                assert entry.key is not None
                if host.keys.get(entry.key) is None:
                    host.keys.remember(entry.key, entry.fingerprint, Status.ANSWERED, None, entry)
            asked, self._asked = self._asked, {}
            for key, doubt in asked.items():
                if key in changed:
                    host.ownership.tell_refused(doubt.requests, changed[key])
                else:
                    self._settle(key, doubt)
            host.committer.kick()
        self._is_running = False

    def _settle(self, key: str, doubt: _Doubt) -> None:
        host = self._host
        owned = doubt.owned
        is_ours = owned.is_ready and host.owned.get(owned.state.number) is owned
        is_valid = is_ours and host.keys.get(key) is None
        if is_valid:
            host.refuse(doubt.requests.pop(0), doubt.refusal)
        # The rest are repeats now; what was decided before a rewind or a new owner is decided again.
        for request in doubt.requests:
            request.looked_up = None  # What was loaded for it may have been set to rest meanwhile.
        host.in_flight -= len(doubt.requests)
        host.receive(doubt.requests, is_internal=True)
