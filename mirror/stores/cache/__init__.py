"""The `cache` store: our own copies, on our own disk, bounded."""

from .store import CacheStore

__all__ = ["CacheStore"]
