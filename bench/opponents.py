"""Opponents: the peers beside Binkeeper, each with the same bins in a database or server of its own."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

from bench.contenders import Contender, Peer, PeerStore
from bench.load_process import LoadProcess
from bench.peers.actor_per_bin import ActorPerBin
from bench.peers.procedure import PgbenchLoad, Procedure, ProcedureStore
from bench.peers.redis_server import RedisServer
from bench.peers.shop import Shop
from bench.peers.shop_service import ShopService
from bench.peers.tigerbeetle_server import TigerBeetleServer, missing
from bench.ring import Ring
from bench.samples import rounded
from bench.workloads import Workload

_PIPELINES = 4
"""Connections over which Redis is pipelined: with more or fewer it does less."""
_ACTORS_IN_FLIGHT = 64


async def start_opponents(ring: Ring, workloads: Sequence[Workload], stack: AsyncExitStack) -> None:
    """Start everybody but the Ray actors; `stack` ends them. Raises LoadFailed."""
    await _start_shops(ring, workloads, stack)
    await _start_redis(ring, workloads, stack)
    why = missing()
    if why is not None:
        ring.not_run.append({"contender": "TigerBeetle", "why": why})
        return
    ring.say("starting TigerBeetle")
    server = await stack.enter_async_context(TigerBeetleServer.started(ring.product.folder))
    await server.create(*workloads)
    load = await ring.load(stack, "tigerbeetle", **server.connection)
    _add(ring, "tigerbeetle", "TigerBeetle", PeerStore("TigerBeetle", server), load, ring.plan.in_flight)


async def _start_shops(ring: Ring, workloads: Sequence[Workload], stack: AsyncExitStack) -> None:
    plan = ring.plan
    ring.say("making the stock of the peers on Postgres")
    procedure = Procedure(await ring.database("pgbench"), ring.product.folder)
    await procedure.create(*workloads)
    ring.peers["pgbench"] = Contender(
        "pgbench",
        "Stored procedure, pgbench",
        ProcedureStore(procedure),
        PgbenchLoad(procedure),
        plan.clients,
    )
    for key, label in (("procedure", "Stored procedure, asyncpg"), ("batched", "Batched SQL function")):
        shop = Shop(await ring.database(key))
        await shop.create(*workloads)
        load = await ring.load(stack, key, postgres_url=shop.url)
        _add(ring, key, label, PeerStore(label, shop), load, plan.in_flight)
    for key, label in (("expert", "FastAPI, asyncpg, procedure"), ("orm", "FastAPI, SQLAlchemy, FOR UPDATE")):
        service = ShopService(await ring.database(key), f"bench.peers.{key}_service")
        await service.create(*workloads)
        await stack.enter_async_context(service.started())
        load = await ring.load(stack, "http", **service.http)
        _add(ring, key, label, PeerStore(label, service), load, plan.connections)


async def _start_redis(ring: Ring, workloads: Sequence[Workload], stack: AsyncExitStack) -> None:
    plan = ring.plan
    ring.say("starting Redis")
    server = await stack.enter_async_context(RedisServer.started(ring.product.folder))
    await server.create(*workloads)
    store = PeerStore("Redis Lua", server)
    each = await ring.load(stack, "redis", **server.connection, connections=None)
    piped = await ring.load(stack, "redis", **server.connection, connections=_PIPELINES)
    for count in (plan.clients, plan.in_flight):
        _add(ring, f"redis_{count}", f"Redis Lua, {count} clients", store, each, count)
    _add(ring, "redis_pipelined", "Redis Lua, pipelined", store, piped, plan.in_flight)


def _add(ring: Ring, key: str, label: str, store: PeerStore, load: LoadProcess, in_flight: int) -> None:
    ring.peers[key] = Contender(key, label, store, load, in_flight)


async def measure_actors(ring: Ring) -> dict[str, Any]:
    """Start one Ray actor for each of some bins, reserve from them, and end them; return flat figures.

    Raises LoadFailed or AuditFailed.
    """
    plan = ring.plan
    ring.say(f"{plan.actors} Ray actors, one a bin: starting them")
    workload = Workload("actors", plan.actors, plan.seed)
    async with AsyncExitStack() as stack:
        url = await ring.database("actors")
        load = await ring.load(stack, "ray-actors", postgres_url=url, folder=str(ring.product.folder / "ray"))
        actors = ActorPerBin(url, load)
        peer: Peer = actors
        await actors.create(workload)
        started = await actors.start(workload)
        ring.say(f"{plan.actors} Ray actors: reserving")
        store = PeerStore("one Ray actor per bin", peer)
        told = await load.ask(
            "closed",
            workload,
            ring.next_salt(),
            in_flight=_ACTORS_IN_FLIGHT,
            warm_s=plan.warm_s,
            seconds=plan.growth_s,
        )
        store.count(workload, told)
        await store.audit(workload)
    return {
        "actor_per_bin": rounded(told["ops_s"]),
        "actor_per_bin_bins": plan.actors,
        "actor_per_bin_p50_ms": rounded(told.get("p50_ms", 0.0)),
        "actor_per_bin_bytes": rounded(started["bytes_per_bin"]),
        "actor_per_bin_start_s": rounded(started["start_s_per_bin"]),
    }
