from io import StringIO
from pathlib import Path

import msgspec
import pytest
from rich.console import Console
from typer.testing import CliRunner

from bench.agreement import agreements, latencies_ms
from bench.basis import Basis, Cost, TooLittle, basis_of, entry_bytes_of, from_plain, newest, plain
from bench.cli import app
from bench.result import Growth, Latency, NotAResult, Percentiles, Point, Result, Throughput, write
from bench.scale import COMMIT, HOST, LOG, MOVES, NATS, POSTGRES, Site, carry, changes, resources, zipf_shares
from bench.scale_table import as_plain, carried, kept_in, page_with, show

PAGE = Path(__file__).parents[3] / "docs/scale.md"
EMPTY = "# A page\n\n<!-- scale:begin -->\n<!-- scale:end -->\n\nIts end.\n"


def row(
    in_flight: int, rate: float, cpu: dict[str, float], contender: str = "Binkeeper, lanes"
) -> Throughput:
    return Throughput(
        contender=contender,
        workload="spread",
        in_flight=in_flight,
        rounds=[rate * 0.9, rate, rate * 1.1],
        latencies=Percentiles(p50_ms=3.0, p99_ms=9.0),
        cpu_s_per_million=cpu,
    )


def measured() -> Result:
    """Costs of 30 + 600 / batch us of a host, 15 + 300 / batch of Postgres, 1 + 100 / batch of NATS."""
    return Result(
        date="2026-11-23T04:00:00Z",
        seconds=1.0,
        quick=True,
        seed=1,
        commit="abc1234",
        audits=1,
        machine={"cpu": "A Processor", "cores": 2},
        rounds={"copy_rows_s": [80_000.0, 80_000.0], "commit_p50_ms": [0.4, 0.4]},
        throughput=[
            row(1, 900.0, {"host": 630.0, "postgres": 315.0, "nats": 101.0, "client": 110.0}),
            row(32, 12_000.0, {"host": 67.5, "postgres": 33.75, "nats": 7.25, "client": 16.25}),
            row(200, 20_000.0, {"host": 36.0, "postgres": 18.0, "nats": 2.0, "client": 11.0}),
            row(128, 4_500.0, {"api": 130.0, "host": 100.0}, "Binkeeper, HTTP"),
        ],
        latency_by_load=[
            Latency(
                contender="Binkeeper, lanes",
                workload="spread",
                load=load,
                offered_s=load * 20_000,
                accepted_s=load * 20_000,
                **msgspec.structs.asdict(Percentiles(p50_ms=2.0, p99_ms=6.0)),
            )
            for load in (0.5, 0.75)
        ],
        growth=Growth(in_flight=[Point(at=8, ops_s=5_000.0)], hosts=[Point(at=2, ops_s=18_000.0)]),
    )


@pytest.fixture(scope="module")
def basis() -> Basis:
    return Basis.of(measured())


def test_costs_are_told_apart_by_few_and_many_requests_in_flight(basis: Basis) -> None:
    assert basis.cpu_us["host"].operation_us == pytest.approx(30, rel=0.01)
    assert basis.cpu_us["host"].commit_us == pytest.approx(600, rel=0.01)
    assert basis.cpu_us["postgres"].us(16) == pytest.approx(33.75, rel=0.01)
    assert basis.api_us == 130.0
    assert basis.commit_ms + 1_999 * basis.entry_us / 1e3 == pytest.approx(25.0, rel=0.01)
    assert [(found.in_flight, found.hosts) for found in basis.closed] == [
        (1, 1),
        (8, 1),
        (32, 1),
        (200, 1),
        (200, 2),
    ]


def test_a_basis_is_kept_as_text_and_read_again(basis: Basis) -> None:
    assert from_plain(plain(basis)) == basis
    with pytest.raises(NotAResult):
        from_plain("{}")


def test_a_result_without_what_the_model_needs_is_refused() -> None:
    result = measured()
    result.throughput = result.throughput[1:]
    with pytest.raises(TooLittle, match="one request in flight"):
        Basis.of(result)
    result = measured()
    del result.rounds["copy_rows_s"]
    with pytest.raises(TooLittle, match="copy_rows_s"):
        Basis.of(result)


def test_one_host_is_bound_by_its_core(basis: Basis) -> None:
    found = carry(basis, 1, 1)
    assert found.bottleneck == HOST
    assert found.rate_s == pytest.approx((1 - 600e-6 / 10e-3) / 30e-6, rel=0.01)
    assert found.uneven_s == found.rate_s
    assert found.api_cores == pytest.approx(found.rate_s * 130e-6)
    assert found.next_bottleneck == COMMIT
    assert found.next_rate_s > found.rate_s


def test_hosts_carry_more_until_their_server_is_full_and_then_less(basis: Basis) -> None:
    rates = [carry(basis, hosts, 1) for hosts in (1, 2, 10, 100, 1_000)]
    assert rates[1].rate_s == pytest.approx(2 * rates[0].rate_s)
    assert [found.bottleneck for found in rates] == [HOST, HOST, HOST, POSTGRES, POSTGRES]
    assert rates[2].rate_s > rates[4].rate_s
    assert rates[4].batch == pytest.approx(1.0)
    assert rates[4].cycle_ms > 10


def test_as_many_servers_carry_as_many_times_as_much(basis: Basis) -> None:
    assert carry(basis, 1_000, 100).rate_s == pytest.approx(100 * carry(basis, 10, 1).rate_s)
    assert carry(basis, 2, 10) == carry(basis, 2, 2)


@pytest.mark.parametrize("hosts, servers", [(1, 1), (10, 2), (100, 1), (1_000, 10)])
def test_what_is_carried_fits_into_a_cycle_of_each_resource(basis: Basis, hosts: int, servers: int) -> None:
    found = carry(basis, hosts, servers)
    needed = {
        need.name: need.fixed_s + found.batch * need.each_s
        for need in resources(basis, Site(), hosts, servers)
    }
    assert max(needed.values()) == pytest.approx(found.cycle_ms / 1e3)
    assert needed[found.bottleneck] == max(needed.values())


def test_what_is_slow_becomes_the_bottleneck(basis: Basis) -> None:
    assert carry(basis, 10, 1, Site(log_bytes_s=1e7)).bottleneck == LOG
    assert carry(basis, 1_000, 100, Site(nats_servers=1)).bottleneck == NATS
    dear = basis.with_cost("postgres", Cost(500.0, 300.0))
    assert carry(dear, 10, 1).bottleneck == POSTGRES
    assert {found.bottleneck for found in carried(basis, Site())} <= MOVES.keys()


def test_a_change_of_the_bottleneck_alone_brings_something(basis: Basis) -> None:
    def brings(hosts: int, servers: int) -> set[str]:
        before = carry(basis, hosts, servers).rate_s
        return {
            name
            for name, (made, site) in changes(Site(), basis).items()
            if carry(made, hosts, servers, site).rate_s > before * 1.01
        }

    assert brings(1, 1) == {"half a host's cost"}
    assert brings(100, 1) == {"no SKU index", "twice the cores"}


def test_uneven_demand_stops_growing_at_the_share_of_one_sku(basis: Basis) -> None:
    top = 1 / sum(1 / rank for rank in range(1, 100_001))
    assert zipf_shares(1) == (1.0,)
    assert max(zipf_shares(1_000)) >= top
    assert carry(basis, 1_000, 100).uneven_s <= carry(basis, 1, 1).rate_s / top


def test_the_model_and_the_simulation_agree_on_what_a_host_carries(basis: Basis) -> None:
    found = carry(basis, 1, 1)
    half, most = (latencies_ms(basis, Site(), found, load) for load in (0.5, 0.95))
    assert half[0] < most[0] <= most[1] < 2.5 * found.cycle_ms


def test_everything_that_was_measured_is_simulated(basis: Basis) -> None:
    found = agreements(basis)
    assert len(found) == len(basis.closed) + 2 * 3 + 2 * len(basis.open)
    by_what = {one.what: one for one in found}
    assert abs(by_what["200 in flight"].error_pct) < 30
    assert by_what["200 in flight"]._replace(simulated=10_000.0).error_pct == pytest.approx(-50)


def test_a_page_keeps_what_its_tables_were_made_from(basis: Basis) -> None:
    page = page_with(EMPTY, basis)
    assert page.startswith("# A page")
    assert page.endswith("Its end.\n")
    assert kept_in(page) == basis
    assert page_with(page, kept_in(page)) == page
    for wrong in ("no markers", EMPTY):
        with pytest.raises(NotAResult):
            kept_in(wrong)


def test_the_table_fits_into_a_narrow_terminal(basis: Basis) -> None:
    output = StringIO()
    show(basis, Site(), Console(file=output, width=80))
    assert max(map(len, output.getvalue().splitlines())) <= 80
    assert "…" not in output.getvalue()
    assert len(as_plain(basis, Site())["carried"]) == len(carried(basis, Site()))


class Database:
    """A database in which an entry takes so much."""

    entry_bytes: float | None = 401.26

    async def fetchval(self, query: str) -> float | None:
        assert "pg_total_relation_size('ledger')" in query
        return self.entry_bytes

    async def close(self) -> None:
        pass


async def test_a_database_tells_what_an_entry_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(url: str) -> Database:
        if url != "postgres://there":
            raise OSError("nobody listens")
        return Database()

    monkeypatch.setattr("asyncpg.connect", connect)
    assert await entry_bytes_of("postgres://there") == 401.3
    with pytest.raises(NotAResult, match="nobody listens"):
        await entry_bytes_of("postgres://away")
    monkeypatch.setattr(Database, "entry_bytes", None)
    with pytest.raises(NotAResult, match="empty"):
        await entry_bytes_of("postgres://there")


def test_the_newest_result_is_taken(tmp_path: Path) -> None:
    with pytest.raises(NotAResult, match="no result"):
        newest(tmp_path)
    for name in ("2026-11-22T0900", "2026-11-23T0400"):
        write(measured(), tmp_path / name)
    assert newest(tmp_path).name == "2026-11-23T0400"
    assert basis_of(newest(tmp_path), entry_bytes=400.0).entry_bytes == 400.0


def test_the_command_prints_json_and_writes_page_and_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    folder, page, picture = write(measured(), tmp_path / "r").parent, tmp_path / "page.md", tmp_path / "p.svg"
    page.write_text(EMPTY, encoding="utf-8")
    done = CliRunner().invoke(
        app, ["scale", str(folder), "--json", "--page", str(page), "--picture", str(picture)]
    )
    assert done.exit_code == 0, done.output
    assert msgspec.json.decode(done.stdout)["result"]["commit"] == "abc1234"
    assert kept_in(page.read_text(encoding="utf-8")) == Basis.of(measured())
    assert picture.read_text(encoding="utf-8").count("<svg") == 1


def test_the_command_says_what_is_missing(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["scale", str(tmp_path)])
    assert done.exit_code == 1
    assert "there is no such file" in done.output
    done = CliRunner().invoke(app, ["scale", "--page", str(PAGE), "--postgres-cores", "4"])
    assert done.exit_code == 2


def test_the_documents_tables_are_those_of_the_costs_that_it_names() -> None:
    """`binkeeper bench scale RESULT --page docs/scale.md --picture docs/pictures/scale.svg` mends it."""
    page = PAGE.read_text(encoding="utf-8")
    assert page_with(page, kept_in(page)) == page


def test_what_the_document_says_of_its_tables_holds() -> None:
    basis = kept_in(PAGE.read_text(encoding="utf-8"))
    one, ten, hundred, thousand = (carry(basis, hosts, 1) for hosts in (1, 10, 100, 1_000))
    assert one.bottleneck == HOST
    assert ten.rate_s == pytest.approx(10 * one.rate_s)
    assert hundred.bottleneck == thousand.bottleneck == POSTGRES
    assert thousand.rate_s < hundred.rate_s
    assert carry(basis, 1_000, 100).uneven_s < 12.5 * one.rate_s
    assert one.api_cores is not None
    assert one.api_cores > 1
    for found in agreements(basis):
        if found.unit != "ms" and "hosts" not in found.what:
            assert abs(found.error_pct) < 50, found
