"""What both endpoints of a node answer from."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from ..fetch.stack import FetchStack
from ..images.holdings import Holdings
from ..images.listings import Listings
from ..images.manifests import Manifests
from ..images.referrers import Referrers
from ..images.resolutions import Resolutions
from ..images.tags import Tags
from ..metrics import Metrics
from ..oci.digest import Digest
from ..settings import AppSettings
from .pulls import Pulls
from .request import RegistryRequest


@dataclass(frozen=True, slots=True)
class Backend:
    """The parts of a node behind its endpoints.

    Args:
        holdings: what this node's stores hold.
        fetching: fetches what they do not hold.
        manifests: gives manifests by digest.
        tags: resolves references.
        listings: has lists of tags.
        referrers: has lists of what refers to a manifest.
        metrics: counts.
        settings: of the endpoints.
        resolutions: takes note of what clients are told that tags mean.
        pulls: follows what clients ask for.
        taking: is told, as long as the context lasts, that somebody is given some content of this node: what it belongs
            to shall stay until the rest is taken, too.
    """

    holdings: Holdings
    fetching: FetchStack
    manifests: Manifests
    tags: Tags
    listings: Listings
    referrers: Referrers
    metrics: Metrics
    settings: AppSettings = field(default_factory=AppSettings)
    resolutions: Resolutions = field(default_factory=Resolutions)
    pulls: Pulls = field(default_factory=Pulls)
    taking: Callable[[Digest], AbstractContextManager[object]] = field(default=lambda digest: nullcontext())

    def serving(self, request: RegistryRequest, digest: Digest) -> AbstractContextManager[object]:
        """A context in which somebody is given some content of this node; HEAD gives none."""
        return nullcontext() if request.is_head else self.taking(digest)

    async def close(self) -> None:
        """Give up what is under way."""
        await self.tags.close()
        await self.fetching.close()
