"""Fetching: what this node does not hold comes from holders, homes and upstream, once for everybody who asks.

There is one fetch for a blob. Whoever asks while it runs reads the same spool: clients of this node, and other members,
which take this node for a home. `fetches` joins readers to fetches; `fetch` is the life of one; `intake` agrees on the
size and finds a place; `download` carries the plan out; `blame` finds out who sent wrong bytes; `sizes` answers
requests for a mere head.
"""

from .demand import Audience
from .environment import Environment
from .fetches import Fetches, Relay
from .memory import MemoryBudget
from .record import Phase, Progress, Record
from .sizes import SizeQuery
from .spool import Reader

__all__ = [
    "Audience",
    "Environment",
    "Fetches",
    "MemoryBudget",
    "Phase",
    "Progress",
    "Reader",
    "Record",
    "Relay",
    "SizeQuery",
]
