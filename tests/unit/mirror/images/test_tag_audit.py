"""Which claims about tags are checked, and what has to happen before a member has contradicted upstream."""

import asyncio
from random import Random
from typing import TYPE_CHECKING, cast

import pytest

from mirror.errors import PeerError, Reason, UpstreamError
from mirror.images.member_tags import Claim, MemberTags
from mirror.images.tag_audit import TagAudit
from mirror.images.tag_trust import TagTrust
from mirror.metrics import Metrics
from mirror.oci.digest import Digest
from mirror.oci.reference import Reference
from mirror.routers import Peer
from mirror.settings import ImageSettings
from mirror.stores import Tag

if TYPE_CHECKING:
    from mirror.images.tag_checks import TagChecks

NGINX = Reference.parse("nginx:1")
MEMBER = Peer("m", "127.0.0.1", 1)


def tag(meaning: str) -> Tag:
    return Tag(Digest.of(meaning.encode()), 1.0, "upstream")


class Says:
    """Upstream to this node, and the member when it is asked again: each meaning in turn, `!` for an error."""

    def __init__(self, upstream: str, member: str) -> None:
        self._upstream, self._member = list(upstream), list(member)
        self.asked = 0

    async def check(self, reference: Reference) -> Tag:
        self.asked += 1
        meaning = self._upstream.pop(0)
        if meaning == "!":
            raise UpstreamError(Reason.STATUS, "no")
        return tag(meaning)

    ask = check

    async def recheck(self, peer: Peer, reference: Reference) -> Tag:
        meaning = self._member.pop(0)
        if meaning == "!":
            raise PeerError(Reason.UNABLE, "no")
        return tag(meaning)


def audit(says: Says, **settings: float) -> tuple[TagAudit, TagTrust]:
    images = ImageSettings(tag_recheck_s=0.0, **settings)  # type: ignore[arg-type]
    trust = TagTrust(Metrics(), images)
    return TagAudit(cast("MemberTags", says), cast("TagChecks", says), trust, images, Random(1)), trust


async def claimed(meaning: str | None) -> Claim | None:
    return None if meaning is None else Claim(MEMBER, tag(meaning))


@pytest.mark.parametrize(
    ("claim", "said", "upstream", "member", "blamed"),
    [
        ("A", "A", "", "", False),
        ("E", "A", "A", "E", True),  # it keeps to its word
        ("E", "A", "A", "F", True),  # another lie
        ("A", "B", "B", "B", False),  # moved since it was asked
        ("E", "A", "A", "A", False),  # takes it back
        ("A", "B", "C", "B", False),  # moves all the time
        ("A", "B", "C", "C", False),
        ("A", "B", "C", "A", False),
        ("E", "A", "!", "E", False),
        ("E", "A", "A", "!", False),
        (None, "A", "", "", False),
        ("E", None, "AA", "E", True),  # a sample
        ("A", None, "A", "", False),
        ("A", None, "BB", "B", False),
        ("E", None, "!", "", False),
    ],
)
def test_who_contradicts_upstream(
    claim: str | None, said: str | None, upstream: str, member: str, *, blamed: bool
) -> None:
    async def story() -> None:
        it, trust = audit(Says(upstream, member))
        it.begin(NGINX, asyncio.create_task(claimed(claim)), None if said is None else tag(said))
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0)
        assert (set(trust.distrusted()) == {"m"}) is blamed
        await it.close()

    asyncio.run(story())


def test_of_what_is_only_repeated_a_sample_is_checked() -> None:
    async def story() -> None:
        says = Says("A" * 1000, "")
        it, _ = audit(says, tag_sample=16)
        for _ in range(1000):
            it.sample(NGINX, asyncio.create_task(claimed("A")))
            while len(asyncio.all_tasks()) > 1:
                await asyncio.sleep(0)
            await asyncio.sleep(0)  # what is done when a task has ended
        assert 40 <= says.asked < 90

    asyncio.run(story())


def test_distrust_ends_and_the_names_have_a_bound() -> None:
    trust = TagTrust(Metrics(), ImageSettings(tag_distrust_s=0.0))
    trust.contradicted("m", NGINX, tag("E").digest, tag("A").digest)
    assert trust.distrusted() == {}
    trust = TagTrust(Metrics())
    for number in range(2000):
        trust.contradicted(f"m{number}", NGINX, tag("E").digest, tag("A").digest)
    assert len(trust.distrusted()) == 1024
