"""The OpenAPI document as a page that needs nothing from anywhere else, and the document itself."""

import html
import json
from typing import Any

from api.exchange import Answer, Edge, Endpoint, Exchange

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
h2 { margin-top: 2.5rem; text-transform: capitalize }
code, pre { font: 13px/1.45 ui-monospace, monospace }
details { border: 1px solid #d6dbe1; border-radius: 6px; margin: .5rem 0; padding: .4rem .8rem }
summary { cursor: pointer } summary b { display: inline-block; min-width: 3.6rem; color: #0a5fb4 }
pre { background: #f4f6f8; padding: .7rem; overflow-x: auto; border-radius: 4px }
table { border-collapse: collapse } td { padding: .15rem .9rem .15rem 0; vertical-align: top }
"""


class PageEndpoint(Endpoint):
    """A page that does not change while the process runs."""

    checks_accept = False
    is_for_browsers = True

    def __init__(self, edge: Edge, name: str, page: bytes, content_type: bytes) -> None:
        super().__init__(edge, name)
        self._page = page
        self._content_type = content_type

    async def answer(self, exchange: Exchange) -> Answer:  # noqa: ARG002 - nothing is asked
        """Return the page."""
        return Answer(200, self._page, content_type=self._content_type)


def docs_page(document: dict[str, Any]) -> bytes:
    """Return the document as HTML."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>Binkeeper: HTTP</title>",
        "<meta name=viewport content='width=device-width'>",
        f"<style>{_STYLE}</style><h1>Binkeeper: HTTP</h1><p>{_escaped(document['info']['description'])}</p>",
        "<p>The same for programs: <a href=/openapi.json>/openapi.json</a>.</p>",
    ]
    for tag in document["tags"]:
        parts.append(f"<h2>{_escaped(tag['name'])}</h2>")
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if tag["name"] in operation["tags"]:
                    parts.append(_operation(path, method, operation))
    parts.append("<h2>schemas</h2>")
    for name, schema in sorted(document["components"]["schemas"].items()):
        parts.append(
            f"<details id='{_escaped(name)}'><summary><code>{_escaped(name)}</code></summary>"
            f"{_shown(schema)}</details>"
        )
    return "".join(parts).encode()


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    parts = [
        f"<details><summary><b>{method.upper()}</b> <code>{_escaped(path)}</code> ",
        f"{_escaped(operation['summary'])}</summary>",
    ]
    if operation["parameters"]:
        rows = (
            f"<tr><td><code>{_escaped(parameter['name'])}</code><td>{parameter['in']}"
            f"<td>{_escaped(parameter.get('description', ''))}"
            for parameter in operation["parameters"]
        )
        parts.append(f"<table>{''.join(rows)}</table>")
    if "requestBody" in operation:
        parts.append("<p>Body" + _examples(operation["requestBody"]["content"]))
    for status, response in operation["responses"].items():
        parts.append(f"<p><b>{status}</b> {_escaped(response['description'])}")
        if status.startswith("2"):
            parts.append(_examples(response["content"]))
    return "".join(parts) + "</details>"


def _examples(content: dict[str, Any]) -> str:
    media = content.get("application/json", {})
    reference = media.get("schema", {}).get("$ref", "").rpartition("/")[2]
    link = f": <a href='#{_escaped(reference)}'>{_escaped(reference)}</a>" if reference else ""
    return link + "".join(
        f"<p>{_escaped(name)}{_shown(example['value'])}"
        for name, example in media.get("examples", {}).items()
    )


def _shown(value: object) -> str:
    return f"<pre>{_escaped(json.dumps(value, indent=2, ensure_ascii=False))}</pre>"


def _escaped(text: str) -> str:
    return html.escape(text, quote=True)
