"""Every port in memory: for tests, for simulations with many hosts, and for trying things out.

Hosts that share one `MemoryDatabase` see one another as they would on one server.
"""

from persistence.memory.cursors import MemoryCursors
from persistence.memory.database import MemoryDatabase
from persistence.memory.directory import MemoryDirectory
from persistence.memory.ledger import MemoryLedger
from persistence.memory.read_model import MemoryReadModel
from persistence.memory.snapshots import MemorySnapshots
from persistence.memory.streams import MemoryStreams
from persistence.memory.survey import MemorySurvey
from persistence.memory.wishes import MemoryWishes

__all__ = [
    "MemoryCursors",
    "MemoryDatabase",
    "MemoryDirectory",
    "MemoryLedger",
    "MemoryReadModel",
    "MemorySnapshots",
    "MemoryStreams",
    "MemorySurvey",
    "MemoryWishes",
]
