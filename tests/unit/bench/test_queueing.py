from dataclasses import replace
from statistics import fmean

import pytest

from bench.queueing import World, closed, open_loop
from bench.scale import zipf_shares

ONE_BY_ONE = World(log_s=1e-3, batch_max=1)
"""A server that does one request after another, and takes as long for each."""
GROUPED = World(postgres_once_s=0.4e-3, postgres_each_s=10e-6, log_s=0.6e-3)


@pytest.mark.parametrize("load", [0.3, 0.5, 0.8])
def test_one_by_one_people_wait_as_long_as_in_front_of_any_such_server(load: float) -> None:
    """M/D/1, after Pollaczek and Khinchine: the mean wait is load / (2 (1 - load)) services."""
    seen = [
        open_loop(ONE_BY_ONE, load * 1e3, seconds=10_000 / (load * 1e3), warm_s=0.5, seed=seed).mean_s
        for seed in range(4)
    ]
    assert fmean(seen) == pytest.approx(1e-3 * (1 + load / (2 * (1 - load))), rel=0.05)


def test_shared_commits_let_wait_one_commit_and_a_half() -> None:
    """With many requests a commit: half of one until the next begins, and the next."""
    rate_s = 50_000.0
    commit_s = 1e-3 / (1 - rate_s * 10e-6)
    seen = open_loop(GROUPED, rate_s, seconds=0.5, warm_s=0.1)
    assert seen.mean_s == pytest.approx(1.5 * commit_s, rel=0.05)
    assert seen.batch == pytest.approx(rate_s * commit_s, rel=0.05)
    assert seen.at_ms(0.99) < 2.1 * commit_s * 1e3


def test_shared_commits_carry_what_an_entry_more_costs_in_the_limit() -> None:
    rates = [closed(GROUPED, count, seconds=0.3, warm_s=0.2).rate_s for count in (2, 200, 10_000)]
    assert rates == sorted(rates)
    assert rates[0] < 3_000
    assert rates[-1] == pytest.approx(1 / 10e-6, rel=0.05)


@pytest.mark.parametrize("in_flight", [1, 7, 100])
def test_no_request_is_lost_and_none_is_made_up(in_flight: int) -> None:
    world = replace(GROUPED, hosts=3, shared_cores=2, host_each_s=20e-6, caller_each_s=10e-6)
    seen = closed(world, in_flight, seconds=0.2)
    assert seen.under_way == in_flight
    assert seen.answered == len(seen.latencies_s) == sum(seen.by_host)
    # Little's law: requests under way are rate times latency.
    assert seen.rate_s * seen.mean_s == pytest.approx(in_flight, rel=0.05)


def test_a_seed_makes_the_same_again_and_another_does_not() -> None:
    world = replace(GROUPED, hosts=2, host_each_s=20e-6)
    first, again, other = (open_loop(world, 5_000, seconds=0.2, seed=seed).latencies_s for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_host_is_bound_by_its_core() -> None:
    world = replace(GROUPED, host_each_s=40e-6, host_once_s=400e-6)
    carried = open_loop(world, 22_500, seconds=0.5, warm_s=0.2)
    assert carried.rate_s == pytest.approx(22_500, rel=0.05)
    assert 0.9 < carried.host_use[0] < 1
    assert carried.host_use[0] == pytest.approx(22_500 * (40e-6 + 400e-6 / carried.batch), rel=0.05)
    too_much = open_loop(world, 27_500, seconds=0.5, warm_s=0.2)
    assert too_much.host_use[0] == pytest.approx(1.0, abs=0.01)
    assert too_much.under_way > 10 * carried.under_way


def test_cores_that_are_shared_carry_the_sum_of_all_costs_at_most() -> None:
    world = World(shared_cores=2, host_each_s=20e-6, caller_each_s=20e-6, postgres_each_s=20e-6)
    seen = closed(replace(world, log_s=1e-4), 500, seconds=0.3, warm_s=0.1)
    assert 0.85 * 2 / 60e-6 < seen.rate_s <= 2 / 60e-6 * 1.01


def test_hosts_on_one_server_write_its_log_together() -> None:
    world = World(postgres_each_s=1e-6, log_s=1e-3, postgres_cores=8)
    one = closed(world, 1, seconds=0.5).rate_s
    eight = closed(replace(world, hosts=8), 64, seconds=0.5)
    assert one == pytest.approx(1_000, rel=0.02)
    assert eight.commits / 0.5 > 3 * one


def test_under_uneven_demand_the_busiest_host_has_most_to_do_and_waits_longest() -> None:
    shares = zipf_shares(10)
    assert sum(shares) == pytest.approx(1.0)
    host_s = 36e-6
    world = replace(GROUPED, hosts=10, shares=shares, host_each_s=host_s)
    busiest = shares.index(max(shares))
    rate_s = 1.1 / host_s / max(shares)
    seen = open_loop(world, rate_s, seconds=0.15, warm_s=0.05)
    assert seen.host_use.index(max(seen.host_use)) == busiest
    assert seen.host_use[busiest] == pytest.approx(1.0, abs=0.01)
    assert sorted(seen.host_use)[-2] < 0.95
    even = open_loop(replace(world, shares=()), rate_s, seconds=0.15, warm_s=0.05)
    assert max(even.host_use) < 0.95
    assert seen.at_ms(0.99) > 2 * even.at_ms(0.99)
