"""Upstream: the registries that references name, asked when nobody in the cluster has what is wanted."""

from .client import Resolved, Upstream
from .transport import Settings

__all__ = ["Resolved", "Settings", "Upstream"]
