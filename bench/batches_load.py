"""Load through HTTP in batches: a request carries many reserves, each with its own key and outcome."""

from bench.driving import ACCEPTED, Drive
from bench.http_load import HttpLoad, Requests
from bench.workloads import Workload, key_from, keys_of

_DONE = b'"status":201'


class BatchesLoad(HttpLoad):
    """Batches of `operations` reserves. A request's draws are the bins of its operations."""

    def __init__(self, host: str, port: int, token: str, operations: int) -> None:
        super().__init__(host, port, token, "/v1/batch")
        self._operations = operations

    def requests(self, workload: Workload, salt: int, drive: Drive) -> Requests:
        """See `HttpLoad.requests`."""
        one = f'{{"op":"reserve","key":"%b","site":"{workload.name}","sku":"%b","quantity":1}}'
        body = '{"operations":[' + ",".join([one] * self._operations) + "]}"
        filled = self._operations * (len(key_from(keys_of(0))) + len(workload.sku(0)))
        return _Batches(self.template(body, filled), self._operations, workload, salt, drive)


class _Batches(Requests):
    """Makes batches."""

    def __init__(self, template: bytes, operations: int, workload: Workload, salt: int, drive: Drive) -> None:
        super().__init__({}, workload, salt, drive)
        self._template = template
        self._operations = operations
        self._keys = keys_of(-salt)
        bins = workload.sequence(salt)
        whole = max(1, len(bins) // operations)
        self.draws = [
            tuple(bins[(first * operations + at) % len(bins)] for at in range(operations))
            for first in range(whole)
        ]

    def next(self, number: int) -> bytes:
        """See `Requests.next`."""
        parts = [key_from(self._keys).encode()]
        for index in self.draws[number % len(self.draws)]:
            parts += key_from(self._keys).encode(), self.skus[index]
        return self._template % tuple(parts)

    def outcome(self, response: bytes) -> int | None:
        """See `Requests.outcome`: a batch counts when all of it is done."""
        if response[9:12] == b"200":
            return ACCEPTED if response.count(_DONE) == self._operations else None
        return super().outcome(response)
