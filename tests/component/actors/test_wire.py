"""What travels on lanes: whoever changes it must change the version too."""

import hashlib

from actors.frames import LANE_VERSION
from actors.queries import QUERIES
from actors.requests import Status
from engine.commands import OPERATIONS, ReserveLine


def test_the_lane_version_stands_for_operations_and_their_fields() -> None:
    form = {name: type_._fields for name, type_ in {**OPERATIONS, **QUERIES, "line": ReserveLine}.items()}
    statuses = {status.name: status.value for status in Status}
    digest = hashlib.sha256(repr((sorted(form.items()), sorted(statuses.items()))).encode()).hexdigest()[:16]
    assert (LANE_VERSION, digest) == (5, "621f870ab7a8bae6")
