"""The figures that must hold, and whether they do."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from bench.peers_at_load import slower_than_a_peer
from bench.result import Result
from bench.samples import Spread

State = Literal["holds", "falls short", "shown", "not measured"]


class Target(NamedTuple):
    """A figure and its bound; a figure without one is shown."""

    key: str
    says: str
    bound: float | None = None
    is_most: bool = False
    """Whether the bound is the most that the figure may be; otherwise it is the least."""

    @property
    def must_be(self) -> str:
        """The bound in words."""
        if self.bound is None:
            return "shown"
        return f"at {'most' if self.is_most else 'least'} {self.bound:,g}"

    def is_met(self, value: float) -> bool:
        """Return whether a value is as good as it must be; without a bound every one is."""
        if self.bound is None:
            return True
        return value <= self.bound if self.is_most else value >= self.bound


TARGETS = (
    Target("lanes_spread_vs_procedure", "lanes / stored procedure, spread", 8),
    Target("lanes_hot_vs_procedure", "lanes / stored procedure, one hot bin", 50),
    Target("lanes_vs_redis_32", "lanes / Redis Lua, 32 in flight each", 1.5),
    Target("lanes_vs_redis_256", "lanes / Redis Lua, 256 in flight each", 1.5),
    Target("lanes_vs_copy", "reserves by lane / rows of bare COPYs", 0.45),
    Target("http_spread_vs_orm", "HTTP / FastAPI and an ORM, spread", 15),
    Target("http_hot_vs_orm", "HTTP / FastAPI and an ORM, one hot bin", 25),
    Target("http_spread_vs_expert", "HTTP / the expert's service, spread", 4),
    Target("http_hot_vs_expert", "HTTP / the expert's service, one hot bin", 5),
    Target("orders_vs_expert", "orders of 5 lines / the expert's service", 3),
    Target("lanes_p99_ms_at_75", "p99 in ms at 75 % load, open loop", 20, is_most=True),
    Target("alone_vs_commit", "one in flight / a bare commit, p50", 1.5, is_most=True),
    Target("throughput_1m_vs_1k", "throughput at 1,000,000 bins / at 1,000", 0.9),
    Target("bytes_per_bin_1m", "bytes of a resting bin among 1,000,000", 1_024, is_most=True),
    Target("broadcast_p99_ms_at_50", "commit to subscriber, p99 in ms at 50 % load", 25, is_most=True),
    Target("cpu_s_per_million", "CPU seconds of a million reserves by lane"),
    Target("actor_per_bin", "one Ray actor per bin, operations a second"),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target with what was measured."""

    target: Target
    spread: Spread | None
    """Over the rounds; None if it was not measured."""
    state: State
    remark: str = ""


def judge(result: Result) -> list[Verdict]:
    """Return each target's verdict. The p99 at 75 % load must also be below that of every peer."""
    found = []
    for target in TARGETS:
        spread = result.spread_of(target.key)
        remark = ""
        state: State = "shown"
        if spread is None:
            state = "not measured"
        elif target.bound is not None:
            state = "holds" if target.is_met(spread.median) else "falls short"
            if target.key == "lanes_p99_ms_at_75" and (peers := slower_than_a_peer(result)):
                state, remark = "falls short", f"lower at the same load: {', '.join(peers)}"
        found.append(Verdict(target, spread, state, remark))
    return found


def told(verdicts: list[Verdict]) -> str:
    """Return how many hold, in a sentence."""
    bound = [verdict for verdict in verdicts if verdict.target.bound is not None]
    count: Mapping[State, int] = {
        state: sum(verdict.state == state for verdict in bound)
        for state in ("holds", "falls short", "not measured")
    }
    said = f"Of {len(bound)} figures with a bound {count['holds']} hold and {count['falls short']} fall short"
    return f"{said}; {count['not measured']} not measured." if count["not measured"] else f"{said}."
