"""A result that nobody measured, in the sizes of one that somebody did."""

import random
from typing import Any

from bench.latency import Latencies
from bench.result import Result

RATES = {
    "lanes_spread": 31_000.0,
    "lanes_hot": 43_000.0,
    "http_spread": 4_800.0,
    "http_hot": 5_100.0,
    "http_orders": 2_400.0,
    "procedure_spread": 9_800.0,
    "procedure_hot": 1_900.0,
    "redis_32": 15_100.0,
    "redis_256": 21_300.0,
    "orm_spread": 320.0,
    "orm_hot": 160.0,
    "expert_spread": 1_250.0,
    "expert_hot": 960.0,
    "expert_orders": 410.0,
}
RATIOS = {
    "lanes_spread_vs_procedure": ("lanes_spread_ops_s", "procedure_spread_ops_s"),
    "lanes_hot_vs_procedure": ("lanes_hot_ops_s", "procedure_hot_ops_s"),
    "lanes_vs_redis_256": ("lanes_spread_ops_s", "redis_256_ops_s"),
    "lanes_vs_copy": ("lanes_spread_ops_s", "copy_rows_s"),
    "http_spread_vs_orm": ("http_spread_ops_s", "orm_spread_ops_s"),
    "http_hot_vs_orm": ("http_hot_ops_s", "orm_hot_ops_s"),
    "http_spread_vs_expert": ("http_spread_ops_s", "expert_spread_ops_s"),
    "http_hot_vs_expert": ("http_hot_ops_s", "expert_hot_ops_s"),
    "orders_vs_expert": ("http_orders_ops_s", "expert_orders_ops_s"),
    "alone_vs_commit": ("alone_p50_ms", "commit_p50_ms"),
}
_CONTENDERS = (
    ("Binkeeper, lanes", "spread", 256, "lanes_spread"),
    ("Binkeeper, lanes", "flash-sale", 256, "lanes_hot"),
    ("Binkeeper, HTTP", "spread", 128, "http_spread"),
    ("Binkeeper, HTTP", "flash-sale", 128, "http_hot"),
    ("Binkeeper, HTTP", "orders-of-5", 128, "http_orders"),
    ("Stored procedure, pgbench", "spread", 32, "procedure_spread"),
    ("Stored procedure, pgbench", "flash-sale", 32, "procedure_hot"),
    ("Redis Lua, appendfsync always", "spread", 32, "redis_32"),
    ("Redis Lua, appendfsync always", "spread", 256, "redis_256"),
    ("FastAPI, SQLAlchemy, FOR UPDATE", "spread", 128, "orm_spread"),
    ("FastAPI, SQLAlchemy, FOR UPDATE", "flash-sale", 128, "orm_hot"),
    ("FastAPI, asyncpg, procedure", "spread", 128, "expert_spread"),
    ("FastAPI, asyncpg, procedure", "flash-sale", 128, "expert_hot"),
    ("FastAPI, asyncpg, procedure", "orders-of-5", 128, "expert_orders"),
)
_LOADED = (
    "Binkeeper, lanes",
    "Binkeeper, HTTP",
    "Redis Lua, appendfsync always",
    "FastAPI, asyncpg, procedure",
)


def made_up(*, seed: int = 1, rounds: int = 5, noise: float = 0.05, ours: float = 1.0) -> Result:
    """Return a full result; ours are faster by a factor, and each round differs by noise."""
    chance = random.Random(seed)

    def by_round(value: float) -> list[float]:
        return [round(value * chance.lognormvariate(0, noise), 4) for _ in range(rounds)]

    values = {
        f"{name}_ops_s": by_round(rate * (ours if name.startswith(("lanes", "http")) else 1))
        for name, rate in RATES.items()
    }
    values |= {
        "copy_rows_s": by_round(118_000.0),
        "empty_ops_s": by_round(11_400.0),
        "alone_p50_ms": by_round(0.83 / ours),
        "commit_p50_ms": by_round(0.51),
    }
    loaded = [_loaded(chance, name, load) for name in _LOADED for load in (0.25, 0.5, 0.75, 0.9)]
    return Result.of(
        {
            "date": "2026-11-23T04:00:00Z",
            "seconds": 812.0,
            "quick": False,
            "seed": seed,
            "commit": "abc1234",
            "audits": 47,
            "plan": {"rounds": rounds, "seconds": 2.5, "bins": 10_000, "in_flight": 256},
            "machine": _MACHINE,
            "figures": {
                "lanes_p99_ms_at_75": loaded[2]["p99_ms"],
                "throughput_1m_vs_1k": 0.93,
                "bytes_per_bin_1m": 1_251,
                "broadcast_p99_ms_at_50": 31.0,
                "cpu_s_per_million": 67.0,
                "actor_per_bin": 940.0,
                "actor_per_bin_memory_mb": 41.5,
                "actor_per_bin_start_s": 0.81,
                "fsync_p50_ms": 0.31,
                "refused": 0,
            },
            "rounds": values,
            "ratios": RATIOS,
            "throughput": [
                {
                    "contender": contender,
                    "workload": workload,
                    "in_flight": in_flight,
                    "rounds": values[f"{name}_ops_s"],
                    "latencies": _percentiles(chance, in_flight / RATES[name])[0],
                    "cpu_s_per_million": _cpu(contender, RATES[name]),
                }
                for contender, workload, in_flight, name in _CONTENDERS
            ],
            "latency_by_load": loaded,
            "growth": {
                "bins": [
                    {"at": at, "ops_s": rate}
                    for at, rate in (
                        (1_000, 31_400),
                        (10_000, 31_000),
                        (100_000, 30_200),
                        (1_000_000, 29_100),
                    )
                ],
                "in_flight": [
                    {"at": at, "ops_s": 34_000 * at / (at + 25)} for at in (1, 8, 32, 128, 256, 1_024)
                ],
                "lines": [
                    {"at": at, "ops_s": 31_000 / at**0.8, "lines_s": 31_000 * at**0.2}
                    for at in (1, 2, 5, 10, 20)
                ],
                "hosts": [{"at": 1, "ops_s": 31_000}, {"at": 2, "ops_s": 39_500}],
            },
            "memory": [
                {"bins": bins, "bytes_per_bin": size}
                for bins, size in ((1_000, 2_900.0), (100_000, 1_310.0), (1_000_000, 1_251.0))
            ],
            "recovery": [
                {"bins": bins, "tail": tail, "seconds": 0.2 + bins / 1.2e6 + tail / 2e5}
                for tail in (0, 50_000)
                for bins in (1_000, 100_000, 1_000_000)
            ],
            "broadcast": {
                "load": 0.5,
                "offered_s": 15_500.0,
                **_percentiles(chance, 0.009)[0],
                "histogram": _percentiles(chance, 0.009)[1],
            },
            "not_run": [{"contender": "TigerBeetle", "why": "no server: set BINKEEPER_TIGERBEETLE"}],
        }
    )


def quick() -> Result:
    """Return what a quick run leaves: two rounds, and no series but throughput."""
    full = made_up(rounds=2)
    return Result(
        date=full.date,
        seconds=110.0,
        quick=True,
        seed=full.seed,
        commit=full.commit,
        audits=11,
        plan=full.plan,
        machine=full.machine,
        figures=full.figures,
        rounds=full.rounds,
        ratios=full.ratios,
        throughput=full.throughput,
        not_run=full.not_run,
    )


_MACHINE: dict[str, Any] = {
    "cpu": "A Processor @ 2.20GHz",
    "cores": 2,
    "load_before": 0.4,
    "memory_gb": 7.8,
    "filesystem": "ext4",
    "kernel": "6.1.0",
    "python": "3.11.2",
    "commit": "abc1234",
    "postgres_server_version": "18.0",
    "postgres_fsync": "on",
    "postgres_synchronous_commit": "on",
    "ray": "2.60.0",
}


def _percentiles(chance: random.Random, median_s: float) -> tuple[dict[str, float], str]:
    latencies = Latencies.of([median_s * chance.lognormvariate(0, 0.45) for _ in range(1_500)])
    return latencies.figures(), latencies.text()


def _loaded(chance: random.Random, contender: str, load: float) -> dict[str, Any]:
    name = {row[0]: row[3] for row in reversed(_CONTENDERS) if row[1] == "spread"}[contender]
    name = "redis_256" if name == "redis_32" else name
    offered_s = RATES[name] * load
    figures, text = _percentiles(chance, 0.0007 + 20 / RATES[name] / (1 - load))
    return {
        "contender": contender,
        "workload": "spread",
        "load": load,
        "offered_s": offered_s,
        "accepted_s": offered_s * 0.999,
        "histogram": text,
        **figures,
    }


def _cpu(contender: str, rate: float) -> dict[str, float]:
    if contender.startswith("Binkeeper, lanes"):
        return {"host": 39.0, "postgres": 16.0, "nats": 4.2}
    if contender.startswith("Binkeeper"):
        return {"host": 44.0, "postgres": 18.0, "nats": 4.5, "api": 155.0}
    if contender.startswith("Redis"):
        return {"redis": 41.0}
    if contender.startswith("FastAPI"):
        return {"api": 0.7e6 / rate, "postgres": 0.6e6 / rate}
    return {"postgres": 1.6e6 / rate, "pgbench": 0.1e6 / rate}
