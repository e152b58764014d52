from bench.told import Told
from bench.workloads import Workload, key_from, keys_of


def test_a_workload_crosses_processes() -> None:
    workload = Workload("spread", 500, seed=7)
    assert Workload.read(workload.plain()) == workload


def test_the_same_seed_and_salt_give_the_same_load() -> None:
    workload = Workload("spread", 500, seed=7)
    assert list(workload.sequence(3)) == list(workload.sequence(3))
    assert list(workload.sequence(3)) != list(workload.sequence(4))
    assert list(workload.sequence(3)) != list(Workload("spread", 500, seed=8).sequence(3))
    assert key_from(keys_of(3)) == key_from(keys_of(3))


def test_a_load_reaches_every_bin_about_as_often() -> None:
    sequence = Workload("spread", 100).sequence(1)
    counts = [0] * 100
    for index in sequence:
        counts[index] += 1
    assert min(counts) > 0.8 * len(sequence) / 100
    assert max(counts) < 1.2 * len(sequence) / 100


def test_a_hot_bin_is_the_only_one() -> None:
    assert set(Workload("flash-sale", 1).sequence(1)) == {0}


def test_skus_have_one_length_so_that_requests_have() -> None:
    workload = Workload("resting", 200_000)
    assert {len(workload.sku(index)) for index in (0, 9, 10, 199_999)} == {len("SKU-0000000")}


def test_keys_are_new_in_every_load() -> None:
    keys = {key_from(source) for salt in range(50) for source in [keys_of(salt)] for _ in range(50)}
    assert len(keys) == 2_500
    assert {len(key) for key in keys} == {32}


def test_a_rate_counts_what_ended_in_the_window_and_the_audit_counts_all() -> None:
    told = Told()
    for ended_s in (0.5, 1.5, 2.0, 2.5):
        told.acknowledged[4] += 1
        told.ended_s.append(ended_s)
        told.spent_s.append(0.010 * ended_s)
    plain = told.plain(1.0, 2.0)
    assert (plain["operations"], plain["ops_s"]) == (2, 2.0)
    assert (plain["p50_ms"], plain["max_ms"]) == (15.0, 20.0)
    assert plain["acknowledged"] == {4: 4}
