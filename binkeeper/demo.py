"""A small warehouse to try things on: ten products in two sites, received once."""

from typing import NamedTuple

import httpx

_TIMEOUT_S = 30.0


class _Receipt(NamedTuple):
    site: str
    sku: str
    location: str
    quantity: int
    lot: str | None = None
    expires_on: str | None = None


_RECEIPTS = (
    _Receipt("berlin", "MUG-BLUE", "A-01-1", 240),
    _Receipt("berlin", "MUG-BLUE", "B-07-3", 60),
    _Receipt("berlin", "MUG-WHITE", "A-01-2", 180),
    _Receipt("berlin", "TEA-EARL-GREY", "C-02-1", 96, "TEG-0426", "2031-04-30"),
    _Receipt("berlin", "TEA-EARL-GREY", "C-02-2", 144, "TEG-0926", "2031-09-30"),
    _Receipt("berlin", "TEAPOT-GLASS", "A-03-1", 35),
    _Receipt("berlin", "HONEY-250G", "C-04-1", 72, "HON-11", "2032-01-31"),
    _Receipt("berlin", "CANDLE-PINE", "B-02-4", 410),
    _Receipt("rotterdam", "MUG-BLUE", "R1-04", 900),
    _Receipt("rotterdam", "TRAY-OAK", "R1-09", 120),
    _Receipt("rotterdam", "NAPKIN-LINEN", "R2-01", 1500),
    _Receipt("rotterdam", "HONEY-250G", "R3-02", 288, "HON-12", "2032-03-31"),
    _Receipt("rotterdam", "BISCUIT-GINGER", "R3-05", 320, "BG-77", "2031-06-15"),
    _Receipt("rotterdam", "LANTERN-BRASS", "R2-08", 44),
)


def load_demo(url: str, token: str, *, transport: httpx.BaseTransport | None = None) -> int:
    """Receives the demo warehouse through the API at `url`; how many receipts it booked.

    Nothing is done when there is any stock already. Each receipt has a fixed key, so that a load which was
    interrupted can be run again. Raises httpx.HTTPError when the API refuses.
    """
    with httpx.Client(
        base_url=url,
        headers={"Authorization": f"Bearer {token}"},
        timeout=_TIMEOUT_S,
        transport=transport,
        trust_env=False,
    ) as client:
        stock = client.get("/v1/stock", params={"limit": 1})
        stock.raise_for_status()
        if stock.json()["items"]:
            return 0
        booked = 0
        for receipt in _RECEIPTS:
            body = {name: value for name, value in receipt._asdict().items() if value is not None}
            answer = client.post(
                "/v1/stock/receive",
                json={**body, "reference": "demo", "reason": "opening stock"},
                headers={"Idempotency-Key": f"demo-{receipt.site}-{receipt.sku}-{receipt.location}"},
            )
            answer.raise_for_status()
            booked += "Idempotent-Replayed" not in answer.headers
        return booked
