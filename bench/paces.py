"""Open loop: latency at shares of the capacity, and how peers bear the same offered load."""

from typing import TYPE_CHECKING, Any

from bench.contenders import Contender
from bench.latency import Latencies
from bench.samples import rounded
from bench.workloads import Workload

if TYPE_CHECKING:
    from bench.ring import Ring


class Paces:
    """Loads that were offered, and how long their requests took."""

    def __init__(self, ring: "Ring") -> None:
        self._ring = ring
        self.rows: list[dict[str, Any]] = []

    async def offer(
        self, contender: Contender, workload: Workload, *, load: float, rate: float
    ) -> dict[str, Any]:
        """Offer `rate` requests a second, `load` of a capacity. Raises LoadFailed or AuditFailed."""
        ring = self._ring
        ring.say(f"open loop: {contender.label}, {workload.name}, {rate:,.0f}/s offered ({load:.0%})")
        told = await contender.load.ask(
            "paced",
            workload,
            ring.next_salt(),
            rate=rate,
            width=contender.in_flight,
            warm_s=ring.plan.warm_s,
            seconds=ring.plan.paced_s,
        )
        contender.store.count(workload, told)
        latencies = Latencies.read(told["histogram"])
        row = {
            "contender": contender.label,
            "workload": workload.name,
            "load": load,
            "offered_s": rounded(told["offered"] / ring.plan.paced_s),
            "accepted_s": rounded(told["ops_s"]),
            "histogram": told["histogram"],
            **{name: rounded(value) for name, value in latencies.figures().items()},
        }
        self.rows.append(row)
        await contender.store.rest()
        await contender.store.audit(workload)
        return row

    async def heard(self, workload: Workload, *, load: float, rate: float) -> dict[str, Any]:
        """Reserve at a pace and hear it on NATS; return how long after the answer. Raises as `offer` does."""
        ring = self._ring
        ring.say(f"broadcast: {rate:,.0f}/s offered ({load:.0%})")
        told = await ring.hearing.ask(
            "heard",
            workload,
            ring.next_salt(),
            nats_url=ring.product.nats_url,
            rate=rate,
            warm_s=ring.plan.warm_s,
            seconds=ring.plan.paced_s,
        )
        ring.product_store.count(workload, told)
        late = Latencies.read(told["broadcast"])
        await ring.product_store.rest()
        await ring.product_store.audit(workload)
        return {
            "load": load,
            "offered_s": rounded(told["offered"] / ring.plan.paced_s),
            "unheard": told["unheard"],
            "histogram": told["broadcast"],
            **{name: rounded(value) for name, value in late.figures().items()},
        }
