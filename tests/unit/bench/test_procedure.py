import os

import pytest

from bench.load_process import LoadFailed
from bench.peers.procedure import pgbench_program, read_report

REPORT = """\
transaction type: spread.sql
number of clients: 32
number of transactions actually processed: 15162
number of failed transactions: 0 (0.000%)
latency average = 6.326 ms
initial connection time = 41.026 ms
tps = 5058.371521 (without initial connection time)
"""


def test_a_report_is_read() -> None:
    assert read_report(REPORT) == {"operations": 15162, "ops_s": 5058.371521, "mean_ms": 6.326}


@pytest.mark.parametrize(
    "report", ["", REPORT.replace("tps =", "tps:"), REPORT.replace("transactions: 0", "transactions: 3")]
)
def test_a_report_that_tells_of_failures_is_no_figure(report: str) -> None:
    with pytest.raises(LoadFailed):
        read_report(report)


def test_the_embedded_postgres_brings_pgbench() -> None:
    assert os.access(pgbench_program(), os.X_OK)
