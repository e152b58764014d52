from bench.demand import Demand
from bench.workloads import Workload


def test_lines_are_asked_for_in_the_order_of_the_workload_each_with_a_key_of_its_own() -> None:
    workload = Workload("spread", 20, 7)
    demand = Demand(workload, 3)
    asked = [demand.of(number) for number in range(100)]
    assert [bins for _, bins in asked] == [(index,) for index in workload.sequence(3)[:100]]
    assert len({key for key, _ in asked}) == 100
    assert {len(key) for key, _ in asked} == {32}


def test_after_the_last_order_comes_the_first_with_a_new_key() -> None:
    workload = Workload("orders", 20, 7, lines_min=3, lines_max=5)
    orders = workload.orders(3)
    demand = Demand(workload, 3)
    asked = [demand.of(number) for number in range(len(orders) + 1)]
    assert [bins for _, bins in asked] == [*orders, orders[0]]
    assert asked[0][0] != asked[-1][0]
