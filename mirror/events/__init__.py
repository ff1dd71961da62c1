"""What happens on a node and in its cluster: small values, each of a kind, and the feed that keeps the last of them.

Whoever owns a fact tells it, through the callback `Tell` that it was handed. Nothing is decided by an event: they are
for people and their tools (`skvaller events`, `skvaller top`, the status page).
"""

from .feed import Batch, Entry, Feed
from .kinds import Kind, kinds_of
from .values import (
    BanBegan,
    BanEnded,
    BudgetChanged,
    CacheEvicted,
    CacheStopped,
    CacheWorks,
    Event,
    KeysChanged,
    MemberChanged,
    OutageBegan,
    OutageEnded,
    PinChanged,
    PullBegan,
    PullEnded,
    Refuted,
    Started,
    Tell,
    nobody,
)

__all__ = [
    "BanBegan",
    "BanEnded",
    "Batch",
    "BudgetChanged",
    "CacheEvicted",
    "CacheStopped",
    "CacheWorks",
    "Entry",
    "Event",
    "Feed",
    "KeysChanged",
    "Kind",
    "MemberChanged",
    "OutageBegan",
    "OutageEnded",
    "PinChanged",
    "PullBegan",
    "PullEnded",
    "Refuted",
    "Started",
    "Tell",
    "kinds_of",
    "nobody",
]
