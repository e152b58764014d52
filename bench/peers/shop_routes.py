"""What the peers over HTTP have in common: what they are sent, what they answer, and how they are served."""

import ctypes
import signal
from collections.abc import Sequence
from typing import Annotated

import uvicorn
from fastapi import FastAPI, Header, HTTPException
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from bench.peers.empty_route import OPTIONS

CONNECTIONS = 32
PATH = "/v1/reservations"
_PR_SET_PDEATHSIG = 1

Key = Annotated[str, Header(alias="Idempotency-Key", min_length=1, max_length=64)]


class Line(BaseModel):
    """Units of a SKU, whose digits are the number of its bin."""

    site: str = Field(min_length=1, max_length=64)
    sku: str = Field(pattern=r"^SKU-[0-9]{1,9}$")
    quantity: int = Field(ge=1, le=2**53 - 1)

    @property
    def bin(self) -> int:
        """The number of the SKU's bin."""
        return int(self.sku[4:])


class Order(BaseModel):
    """Lines of one site, all or nothing."""

    lines: list[Line] = Field(min_length=1, max_length=256)


Wanted = Annotated[Line | Order, Field(union_mode="left_to_right")]


def site_of(lines: Sequence[Line]) -> str:
    """Return the site of all lines. Raises HTTPException."""
    site = lines[0].site
    if any(line.site != site for line in lines):
        raise HTTPException(422, "lines are of one site")
    return site


def answer(key: str, *, is_reserved: bool) -> JSONResponse:
    """Return the response to a caller."""
    if is_reserved:
        return JSONResponse({"id": key, "state": "held"}, 201)
    return JSONResponse({"code": "insufficient_stock"}, 409)


def application() -> FastAPI:
    """Return an application without anything that no caller asks for."""
    return FastAPI(
        openapi_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )


async def serve(app: FastAPI, port: int) -> None:
    """Serve in this process, as the product is served, until told to stop or until the parent is gone."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    await uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, **OPTIONS)).serve()
