"""A second API whose lanes lead through proxies that cut them in the middle of frames.

`python -m tests.faults.api_behind_proxy FLAG SEED`: while the file FLAG is there, lanes are cut; how often is
written to FLAG.cuts.
"""

import random
import sys
from pathlib import Path
from typing import Any

import binkeeper.http
from persistence.placement import Placement
from persistence.postgres.directory import PostgresDirectory
from tests.faults.proxy import CutFrames, Proxy

FLAG = Path(sys.argv[1])
CHANCE = random.Random(int(sys.argv[2]))
PROBABILITY = 0.02


class CountedCuts(CutFrames):
    """Tells how often it cut."""

    count = 0

    def asks(self, data: bytes) -> tuple[bytes, bool]:
        passes, is_cut = super().asks(data)
        if is_cut:
            CountedCuts.count += 1
            FLAG.with_suffix(".cuts").write_text(str(CountedCuts.count))
        return passes, is_cut

    answers = asks


class ProxiedDirectory(PostgresDirectory):
    """Where partitions are, each host behind a proxy of its own."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._proxies: dict[str, Proxy] = {}

    async def placements(self) -> list[Placement]:
        placements = await super().placements()
        for address in {placement.address for placement in placements} - self._proxies.keys():
            host, _, port = address.rpartition(":")
            proxy = Proxy(host, int(port), lambda: CountedCuts(CHANCE, PROBABILITY, FLAG.exists))
            self._proxies[address] = await proxy.open()
        return [
            placement._replace(address=f"127.0.0.1:{self._proxies[placement.address].port}")
            for placement in placements
        ]


binkeeper.http.PostgresDirectory = ProxiedDirectory  # type: ignore[misc]
sys.exit(binkeeper.http.main())
