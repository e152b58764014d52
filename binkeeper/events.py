"""How a child tells its launcher: one JSON line on stdout for each event. `binkeeper.kept` hears them."""

import json
import sys
from typing import Any


def tell(**event: Any) -> None:  # noqa: ANN401 - whatever JSON can say
    """Tell an event; `event` is its name."""
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()
