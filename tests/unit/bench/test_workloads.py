import json

from bench.workloads import Workload, key_from, keys_of, orders, retail


def test_a_workload_crosses_processes() -> None:
    for workload in (Workload("spread", 500, seed=7), orders(50, seed=3), retail(90)):
        assert Workload.read(json.loads(json.dumps(workload.plain()))) == workload


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


def test_of_a_shop_s_bins_the_first_is_asked_for_twice_as_often_as_the_second() -> None:
    sequence = retail(1_000).sequence(1)
    counts = [sum(index == rank for index in sequence) for rank in range(3)]
    assert 1.9 < counts[0] / counts[1] < 2.1
    assert 2.8 < counts[0] / counts[2] < 3.2
    assert max(sequence) > 900


def test_orders_have_lines_of_different_bins_in_order() -> None:
    found = orders(20, seed=5).orders(2)
    assert found == orders(20, seed=5).orders(2) != orders(20, seed=5).orders(3)
    assert {len(bins) for bins in found} == {3, 4, 5, 6, 7, 8}
    assert all(list(bins) == sorted(set(bins)) for bins in found)
    assert {len(bins) for bins in orders(20, lines_min=5, lines_max=5).orders(1)} == {5}
