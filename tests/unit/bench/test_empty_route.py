from unittest.mock import Mock

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.server import Server, ServerOptions
from bench.peers.empty_route import OPTIONS, empty


def test_the_empty_route_is_served_with_the_options_of_the_product() -> None:
    product = Server(Mock(), ServerOptions()).config
    shared = {name: value for name, value in OPTIONS.items() if name != "http"}
    assert {name: getattr(product, name) for name in shared} == shared
    # The product's connections are httptools' too, but refuse early what does not fit.
    assert OPTIONS["http"] == "httptools"
    assert issubclass(product.http, HttpToolsProtocol)  # type: ignore[arg-type]


async def test_the_empty_route_answers_at_once() -> None:
    sent = []

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    await empty({"type": "http"}, None, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[0]["status"] == 201
