"""Upstream: the registries that references name. They are asked when nobody in the cluster has what is wanted.

client (Upstream, the source) ──> requests ──> transport ──> addresses ──> names, trust
├──> authorizer ──> challenge, encodings, tokens
└──> body, heads, lengths, ratelimit, redirects, registries
"""

from .client import Upstream

__all__ = ["Upstream"]
