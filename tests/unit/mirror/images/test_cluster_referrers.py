"""Referrers that are in the cluster: who is asked, what is fetched, and what is shown to whom."""

import asyncio
from collections.abc import Collection
from typing import TYPE_CHECKING, cast

from mirror.errors import BlobUnknown, PeerError, Reason
from mirror.images.cluster_referrers import ClusterReferrers
from mirror.images.referrer_index import ReferrerIndex, key_of
from mirror.oci.content import Content
from mirror.oci.digest import Digest
from mirror.oci.manifest import OCI_MANIFEST, Outline
from mirror.oci.reference import Repository
from mirror.routers import Peer

if TYPE_CHECKING:
    from mirror.images.holdings import Holdings
    from mirror.images.manifests import Manifests

APP, OTHER = Repository("lab", "app"), Repository("lab", "other")
SUBJECT, MINE, THEIRS, GONE = (Digest.of(name.encode()) for name in ("subject", "mine", "theirs", "gone"))
B, C = (Peer(name, "127.0.0.1", 1) for name in "bc")


class Cluster:
    """A node that holds one referrer, and members that hold others."""

    def __init__(self) -> None:
        self.held = {MINE}
        self.fetched: list[Digest] = []
        self.index = ReferrerIndex(cast("Holdings", self))
        self.index.note(MINE, 1, Outline(OCI_MANIFEST, (), subject=SUBJECT))
        self.private: set[Digest] = set()
        self.referrers = ClusterReferrers(self.index, cast("Manifests", self), self.holders, self.ask, self.may_name)

    def has(self, digest: Digest) -> bool:
        return digest in self.held

    def appeared(self, keys: Collection[bytes]) -> None:
        assert list(keys) == [key_of(SUBJECT)]

    async def get(self, content: Content) -> None:
        self.fetched.append(content.digest)
        if content.digest == GONE:
            raise BlobUnknown("it is gone")
        self.held.add(content.digest)
        self.index.note(content.digest, 1, Outline(OCI_MANIFEST, (), subject=SUBJECT))

    async def holders(self, key: bytes) -> list[Peer]:
        return [B, C] if key == key_of(SUBJECT) else []

    async def ask(self, peer: Peer, repository: Repository, subject: Digest) -> Collection[Digest]:
        assert (repository, subject) == (APP, SUBJECT)
        if peer == C:
            raise PeerError(Reason.STALLED, "c is silent")
        return [MINE, THEIRS, THEIRS, GONE]

    def may_name(self, repository: Repository, digest: Digest) -> bool:
        return repository == APP or digest not in self.private

    def shown(self, repository: Repository) -> list[str]:
        return [row["digest"] for row in self.referrers.shown(repository, SUBJECT)]


def test_what_members_hold_is_fetched_once_and_what_cannot_be_had_is_left_out() -> None:
    cluster = Cluster()
    for _ in range(2):
        found = asyncio.run(cluster.referrers.of(APP, SUBJECT))
        assert [row["digest"] for row in found] == [str(MINE), str(THEIRS)]
    assert cluster.fetched == [THEIRS, GONE, GONE]


def test_what_is_private_elsewhere_is_named_to_members_and_to_no_client_of_another_repository() -> None:
    cluster = Cluster()
    cluster.private.add(MINE)
    assert cluster.shown(APP) == [str(MINE)]
    assert cluster.shown(OTHER) == []
    assert [row["digest"] for row in cluster.referrers.held(SUBJECT)] == [str(MINE)]


def test_the_subject_is_here_or_on_a_member_or_nowhere() -> None:
    cluster = Cluster()
    assert asyncio.run(cluster.referrers.has(MINE))
    assert not asyncio.run(cluster.referrers.has(GONE))
