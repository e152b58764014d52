"""Examples of requests and answers for the OpenAPI document; tests hold each to its schema."""

from typing import Any

ID = "0198f6a1-7c00-7012-8000-00000000002a"
_LINE = {
    "line": 0,
    "site": "berlin",
    "sku": "85123A",
    "quantity": 2,
    "requested": 2,
    "picked": 0,
    "released": 0,
    "expired": 0,
    "short": 0,
    "allocations": [{"location": "A-01-2", "lot": None, "quantity": 2, "open": 2}],
}
RESERVATION: dict[str, Any] = {
    "id": ID,
    "state": "held",
    "reference": "order 1001",
    "expires_at": "2026-11-20T08:15:00.000Z",
    "lines": [_LINE],
}
BIN: dict[str, Any] = {
    "site": "berlin",
    "sku": "85123A",
    "location": "A-01-2",
    "on_hand": 12,
    "reserved": 2,
    "held": 0,
    "available": 10,
    "seq": 42,
    "lots": [{"lot": None, "on_hand": 12, "reserved": 2, "held": 0, "available": 10, "expires_on": None}],
}
STOCK: dict[str, Any] = {
    "site": "berlin",
    "sku": "85123A",
    "on_hand": 12,
    "reserved": 2,
    "held": 0,
    "available": 10,
    "seq": 42,
    "bins": [BIN],
}
_ENTRY = {
    "partition": 18,
    "seq": 42,
    "at": "2026-11-20T08:00:00.000Z",
    "kind": "stock_reserved",
    "key": "order-1001",
    "site": "berlin",
    "sku": "85123A",
    "location": "A-01-2",
    "lot": None,
    "quantity": 2,
    "on_hand": 12,
    "reserved": 2,
    "held": 0,
    "reservation": ID,
    "line": 0,
    "counterpart": None,
    "expires_on": None,
    "expires_at": "2026-11-20T08:15:00.000Z",
    "reference": "order 1001",
    "reason": None,
}
_BIN_OF = {"site": "berlin", "sku": "85123A", "location": "A-01-2"}
_RESERVE = {"site": "berlin", "sku": "85123A", "quantity": 2, "ttl_s": 900, "reference": "order 1001"}

REQUESTS: dict[str, dict[str, Any]] = {
    "reserve": {
        "one line": _RESERVE,
        "several lines, all or nothing": {
            "lines": [
                {"site": "berlin", "sku": "85123A", "quantity": 2},
                {"site": "berlin", "sku": "71053", "quantity": 6, "strategy": "closest"},
            ],
            "ttl_s": 900,
        },
    },
    "pick": {
        "all of it": {},
        "some units from another bin": {"quantity": 1, "location": "B-07-1"},
        "short": {"quantity": 1, "short_reason": "one is broken"},
    },
    "release": {"all of it": {}, "one unit": {"quantity": 1, "sku": "85123A"}},
    "extend": {"a quarter of an hour": {"ttl_s": 900}},
    "receive": {
        "plain": {**_BIN_OF, "quantity": 12, "reference": "delivery 77"},
        "a lot with a date": {**_BIN_OF, "quantity": 12, "lot": "L-2026-11", "expires_on": "2027-05-31"},
    },
    "pick_stock": {"two units": {"site": "berlin", "sku": "85123A", "quantity": 2}},
    "move": {
        "to another bin": {"site": "berlin", "sku": "85123A", "from": "A-01-2", "to": "B-07-1", "quantity": 3}
    },
    "adjust": {"one is broken": {**_BIN_OF, "delta": -1, "reason": "broken"}},
    "count": {"as seen at 42": {**_BIN_OF, "counted": 11, "seen_seq": 42}},
    "hold": {"quality": {**_BIN_OF, "quantity": 4, "reason": "quality"}},
    "unhold": {"quality": {**_BIN_OF, "quantity": 4, "reason": "quality"}},
    "batch": {
        "receive, then reserve": {
            "operations": [
                {"op": "receive", **_BIN_OF, "quantity": 12},
                {"op": "reserve", "key": "order-1001", **_RESERVE},
                {"op": "pick", "id": ID},
            ]
        }
    },
}
ANSWERS: dict[str, Any] = {
    "reserve": RESERVATION,
    "reservation": RESERVATION,
    "pick": {
        **RESERVATION,
        "state": "picked",
        "lines": [
            {
                **_LINE,
                "picked": 2,
                "allocations": [{"location": "A-01-2", "lot": None, "quantity": 2, "open": 0}],
            }
        ],
    },
    "release": {
        **RESERVATION,
        "state": "released",
        "lines": [
            {
                **_LINE,
                "released": 2,
                "allocations": [{"location": "A-01-2", "lot": None, "quantity": 2, "open": 0}],
            }
        ],
    },
    "extend": RESERVATION,
    "receive": BIN,
    "pick_stock": {
        "site": "berlin",
        "sku": "85123A",
        "quantity": 2,
        "reference": None,
        "allocations": [{"location": "A-01-2", "lot": None, "quantity": 2}],
        "bins": [BIN],
    },
    "move": {"from": BIN, "to": {**BIN, "location": "B-07-1"}},
    "adjust": BIN,
    "count": {"bin": BIN, "variance": -1},
    "hold": BIN,
    "unhold": BIN,
    "stock": STOCK,
    "bin": BIN,
    "history": {"items": [_ENTRY], "next_cursor": 42},
    "explain": {
        **STOCK,
        "explanation": "12 on hand - 2 reserved - 0 held = 10 available",
        "reservations": [
            {
                "id": ID,
                "reference": "order 1001",
                "location": "A-01-2",
                "lot": None,
                "quantity": 2,
                "expires_at": "2026-11-20T08:15:00.000Z",
                "tentative": False,
            }
        ],
        "holds": [],
        "lots": [],
    },
    "bins": {"items": [BIN], "next_cursor": "WyJiZXJsaW4iLCAiODUxMjNBIiwgIkEtMDEtMiJd"},
    "batch": {
        "results": [
            {"status": 201, **BIN},
            {"status": 201, **RESERVATION},
            {
                "type": "urn:binkeeper:problem:reservation_not_found",
                "title": "There is no such reservation",
                "status": 404,
                "detail": "There is no such reservation.",
                "code": "reservation_not_found",
            },
        ]
    },
    "status": {
        "hosts": [],
        "partitions": 256,
        "partitions_owned": 256,
        "courier_lag": 0,
        "drift": 0,
        "audit_age_s": 41.5,
        "rebuilds": 0,
        "partitions_refused": [],
    },
    "healthz": {"status": "ok"},
    "readyz": {"status": "ready", "hosts": 1, "partitions": 256},
}
