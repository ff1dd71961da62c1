"""What the client endpoint answers from where nothing is to be kept or shared: upstream alone."""

from dataclasses import replace
from typing import Protocol

from ..fetch.apart import Alone, NoCache, NoMembers, alone
from ..images.cluster_referrers import ClusterReferrers
from ..images.holdings import Holdings
from ..images.listings import Listings
from ..images.manifests import Manifests
from ..images.member_tags import MemberTags
from ..images.referrer_index import ReferrerIndex
from ..images.referrers import Referrers
from ..images.tag_policies import TagPolicies
from ..images.tag_trust import TagTrust
from ..images.tags import Tags
from ..metrics import Metrics
from ..oci.digest import Digest
from ..oci.reference import Repository
from ..routers import Peer
from ..settings import Settings
from ..sources import ListSource, SizedSource, TagSource
from ..sources.outages import Outages
from .backend import Backend


class Registries(SizedSource, TagSource, ListSource, Protocol):
    """What is asked of upstream."""


def backend_apart(
    me: str,
    upstream: Registries,
    metrics: Metrics,
    settings: Settings,
    *,
    outages: Outages,
    policies: TagPolicies | None = None,
) -> Backend:
    """The parts of a node that knows no member, and has no cache and no memory of manifests and tags."""
    router = Alone(me)
    holdings, fetching = Holdings([], router), alone(me, upstream, metrics, settings, outages)
    forgetful = replace(settings.images, manifest_memory_bytes=0)
    trust = TagTrust(metrics, settings.images)
    members = MemberTags(fetching.cluster, fetching.health, NoMembers().tag, trust.distrusted, settings.images, outages)
    tags = Tags(holdings, NoCache(), members, upstream, trust, settings.images, how="verify", policies=policies)
    manifests = Manifests(holdings, fetching.fetches, fetching.note, forgetful)
    listings = Listings(upstream, holdings, router.members, _nobody_knows)
    nobody = ClusterReferrers(ReferrerIndex(holdings), manifests, fetching.cluster.find_holders, _nobody_refers)
    referrers = Referrers(upstream, nobody, manifests, tags)
    return Backend(holdings, fetching, manifests, tags, listings, referrers, metrics, settings.app)


async def _nobody_knows(peer: Peer, repository: Repository) -> tuple[str, ...]:
    """The tags that a member knows: there is none."""
    return ()


async def _nobody_refers(peer: Peer, repository: Repository, subject: Digest) -> tuple[Digest, ...]:
    """The referrers that a member knows: there is none."""
    return ()
