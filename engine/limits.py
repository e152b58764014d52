"""Limits on everything that a command may carry. The edge refuses more with a clear error."""

QUANTITY_MAX = 2**53 - 1
"""Largest quantity of one lot and of one line, in units: the largest integer that every JSON reader keeps."""

CODE_LENGTH_MAX = 64
"""Longest site, SKU, location or lot code, in characters."""

TEXT_LENGTH_MAX = 200
"""Longest reference or reason, in characters."""

KEY_LENGTH_MAX = 64
"""Longest idempotency key that a caller may send, in visible ASCII characters."""

TTL_S_MAX = 366 * 24 * 3600
"""Longest life of a soft reservation, in seconds."""

LINES_MAX = 10_000
"""Most lines of one reservation."""

BATCH_OPERATIONS_MAX = 10_000
"""Most operations of one batch."""

PARTITIONS_MAX = 65_536
"""Most partitions: a reservation's id has 16 bits for its partition."""
