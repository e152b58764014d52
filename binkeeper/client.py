"""The public HTTP API as our own commands use it: what may be tried again is tried again, under the same key.

A request without a lasting answer (429, 503, 504, no connection) is repeated until the server has been away
for `patience_s`; because of the key it happens once, whatever became of the tries before.
"""

import asyncio
import random
import time
from types import TracebackType
from typing import Any, Self

import httpx

from binkeeper.errors import StartError
from binkeeper.home import Home
from binkeeper.settings import Settings

PATIENCE_S = 60.0
_TIMEOUT_S = 30.0
_CONNECTIONS = 64
_PAUSE_S = (0.05, 2.0)
"""The first and the longest pause between two tries."""
_TRANSIENT = frozenset({429, 502, 503, 504})
_OPERATIONS_ROUNDS_MAX = 60


class Stopped(Exception):
    """The work ended before it was done. What was done stays done; a repetition does the rest."""


class Client:
    """One server, many requests in flight. Use it as an asynchronous context manager."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        patience_s: float = PATIENCE_S,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = url
        self._patience_s = patience_s
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=_TIMEOUT_S,
            limits=httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS),
            transport=transport,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def get(self, path: str, **parameters: str | int) -> httpx.Response:
        """Return the answer, also one of 4xx. Raises Stopped."""
        return await self._lasting("GET", path, params=parameters)

    async def post(self, path: str, body: dict[str, Any], key: str) -> httpx.Response:
        """Return the lasting answer to a change, also one of 4xx. Raises Stopped."""
        return await self._lasting("POST", path, json=body, headers={"Idempotency-Key": key})

    async def batch(self, operations: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the lasting result of each operation, all of which carry keys. Raises Stopped.

        The batch itself has none: what is sent again is what has no lasting result yet, another batch.
        """
        results: list[dict[str, Any]] = [{}] * len(operations)
        open_ = list(range(len(operations)))
        for _ in range(_OPERATIONS_ROUNDS_MAX):
            body = {"operations": [operations[index] for index in open_]}
            answer = await self._lasting("POST", "/v1/batch", json=body)
            told = answer.json().get("results") if answer.status_code == httpx.codes.OK else None
            if told is None or len(told) != len(open_):
                raise Stopped(f"the batch was refused: {complaint(answer)}")
            for index, result in zip(open_, told, strict=True):
                results[index] = result
            open_ = [index for index in open_ if results[index]["status"] in _TRANSIENT]
            if not open_:
                return results
            await asyncio.sleep(_PAUSE_S[1] / 2)
        raise Stopped(f"{len(open_)} operations have no lasting answer: {results[open_[0]].get('detail')}")

    async def _lasting(self, method: str, path: str, **request: Any) -> httpx.Response:  # noqa: ANN401
        give_up_s = time.monotonic() + self._patience_s
        pause_s = _PAUSE_S[0]
        while True:
            wanted_s = 0.0
            try:
                answer = await self._http.request(method, path, **request)
            except httpx.TransportError as error:
                why = f"{self.url} does not answer ({str(error) or type(error).__name__})"
            else:
                if answer.status_code in {401, 403}:
                    raise Stopped(f"{self.url} refused the token: {complaint(answer)}")
                if answer.status_code not in _TRANSIENT:
                    return answer
                why = f"{self.url}: {complaint(answer)}"
                wanted_s = _retry_after_s(answer)
            pause_s = min(max(pause_s * 2, wanted_s), _PAUSE_S[1])
            if time.monotonic() + pause_s > give_up_s:
                raise Stopped(f"{why}, for {self._patience_s:.0f} s")
            # Callers that were turned away together do not come back together.
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - nothing secret


def running_server(settings: Settings, url: str | None = None, token: str | None = None) -> tuple[str, str]:
    """Return the address and token given, else those of what runs in the home. Raises StartError."""
    home = Home(settings.home)
    run = home.read_run() if url is None or token is None else {}
    address = url or run.get("url")
    secret = token or run.get("token")
    if not isinstance(address, str) or not isinstance(secret, str):
        raise StartError(
            f"nothing runs in {home.folder}: start it by `binkeeper up`, or give --url and --token"
        )
    return address, secret


def complaint(answer: httpx.Response) -> str:
    """Return what an answer that is not a success says, in one line."""
    try:
        problem = answer.json()
        return f"{answer.status_code} {problem['code']}: {problem['detail']}"
    except (ValueError, KeyError, TypeError):
        return f"status {answer.status_code}"


def _retry_after_s(answer: httpx.Response) -> float:
    told = answer.headers.get("Retry-After", "")
    return float(told) if told.isdecimal() else 0.0
