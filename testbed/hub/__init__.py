"""A registry that behaves as Docker Hub does towards those who pull, with limits that a test can reach.

It is three sites, as the real one: the registry, a token service, and a store of blobs to which the registry redirects,
and which refuses requests with an Authorization header. Nothing is had without a token; GETs of manifests count as
pulls, by account or by address; whoever has none left is answered 429. It counts what it is asked, and fails on demand.

Sources: Docker, "Usage and limits" and "Registry authentication"; answers of registry-1.docker.io.
"""

from .counts import Counts, Kind
from .hub import NAMES, Fault, Hub
from .limits import Allowance, PullLimits
from .tokens import TokenService
from .web import Site, Sites

__all__ = ["NAMES", "Allowance", "Counts", "Fault", "Hub", "Kind", "PullLimits", "Site", "Sites", "TokenService"]
