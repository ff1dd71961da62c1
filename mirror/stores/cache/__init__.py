"""The `cache` store: our own copies, on our own disk, bounded."""

from .store import CacheStore
from .writer import CacheWriter

__all__ = ["CacheStore", "CacheWriter"]
