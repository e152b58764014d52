"""Recovery: how long a killed host is away, against bins, and against entries that no snapshot holds yet."""

import random
from typing import TYPE_CHECKING

from bench.samples import rounded
from bench.workloads import Workload

if TYPE_CHECKING:
    from bench.ring import Ring

_PROBED_BINS = 64


async def recover(ring: "Ring", workload: Workload, *, load_s: float) -> dict[str, float]:
    """Kill the hosts that own all bins, after `load_s` seconds of load without a pause for snapshots.

    Returns how many bins there are, how many entries of the ledger had to be applied again, and the seconds
    until reserves that were sent right then are answered. Raises LoadFailed or AuditFailed.
    """
    hosts = len(ring.product.host_pids())
    if load_s:
        told = await ring.lanes.load.ask(
            "closed", workload, ring.next_salt(), in_flight=ring.plan.in_flight, warm_s=0.0, seconds=load_s
        )
        ring.product_store.count(workload, told)
    tail = sum(int(host["tail_entries"]) for host in await ring.probe.hosts())
    bins = random.Random(ring.plan.seed).sample(range(workload.bins), min(_PROBED_BINS, workload.bins))
    seconds = await ring.probe.kill_and_reserve(workload, bins, ring.next_salt())
    ring.product_store.count(workload, {"acknowledged": {str(bin_): 1 for bin_ in bins}, "unknown": {}})
    await ring.probe.standbys_back(hosts)
    await ring.product_store.rest()
    await ring.product_store.audit(workload)
    return {"bins": workload.bins, "tail": tail, "seconds": rounded(seconds)}
