"""Whose word on a tag counts while upstream takes its time, and after upstream has said that there is no such tag."""

import asyncio
import math
import time
from types import SimpleNamespace
from typing import Any

import pytest

from mirror.errors import ManifestUnknown, Unavailable, UpstreamError, UpstreamOffline, UpstreamOut, UpstreamUnknown
from mirror.images.tag_policies import TagPolicies, TagPolicy
from mirror.images.tags import Tags
from mirror.oci.digest import Digest
from mirror.oci.reference import Reference
from mirror.settings import ImageSettings
from mirror.sources import Resolved, Standing
from mirror.stores import Tag

NAME = Reference.parse("nginx:new")
RIGHT, LIE = Digest.of(b"right"), Digest.of(b"lie")
SETTINGS = ImageSettings(tag_known_s=0.01, tag_denied_s=0.0)


class World:
    """Upstream, which answers when a test says so; members, and this node's stores."""

    def __init__(
        self,
        *,
        members: Tag | None = None,
        own: Tag | None = None,
        policy: TagPolicy | None = None,
        cached: Tag | None = None,
        settings: ImageSettings = SETTINGS,
    ) -> None:
        self.cached = cached
        self.stands = Standing.ASKED
        self.questions = 0
        self.answer: Resolved | UpstreamError = Resolved(RIGHT, "application/json", 1)
        self.may_answer = asyncio.Event()
        self.members, self.own = members, own
        holdings: Any = SimpleNamespace(tags=lambda reference: [] if self.own is None else [self.own])
        audit: Any = None
        policies = TagPolicies(usual=policy or TagPolicy())
        self.tags = Tags(holdings, self, self, self, audit, settings, policies=policies)  # type: ignore[arg-type]

    def standing(self, registry: str) -> Standing:
        return self.stands

    async def resolve(self, reference: Reference) -> Resolved:
        self.questions += 1
        await self.may_answer.wait()
        if isinstance(self.answer, UpstreamError):
            raise self.answer
        return self.answer

    def tag(self, reference: Reference) -> Tag | None:
        return self.cached

    async def put_tag(self, reference: Reference, tag: Tag) -> None:
        if self.cached is not None:
            self.cached = tag

    async def from_homes(self, reference: Reference) -> None:
        return None

    async def from_later_homes(self, reference: Reference) -> None:
        return None

    async def known(self, reference: Reference) -> list[tuple[str, Tag]]:
        return [] if self.members is None else [("a member", self.members)]

    async def after_a_while(self) -> Digest:
        """What a client gets if upstream answers later than a known tag waits."""
        asking = asyncio.create_task(self.tags.resolve(NAME))
        await asyncio.wait([asking], timeout=10 * SETTINGS.tag_known_s)
        self.may_answer.set()
        return (await asking).tag.digest


def said(digest: Digest, at: float | None = None) -> Tag:
    return Tag(digest, time.time() if at is None else at, "upstream")


def test_a_member_does_not_decide_what_upstream_is_about_to_say() -> None:
    async def story() -> None:
        assert await World(members=said(LIE)).after_a_while() == RIGHT

    asyncio.run(story())


def test_what_this_node_knows_itself_is_answered_before_upstream_is() -> None:
    async def story() -> None:
        world = World(own=said(LIE))
        assert (await world.tags.resolve(NAME)).tag.digest == LIE
        world.may_answer.set()

    asyncio.run(story())


def test_a_tag_that_upstream_has_denied_waits_for_its_word() -> None:
    async def story() -> None:
        world = World(own=said(LIE, 1.0))
        world.answer = UpstreamUnknown("404")
        world.may_answer.set()
        for _ in range(2):
            with pytest.raises(ManifestUnknown, match="is denied"):
                await world.tags.resolve(NAME)
            world.may_answer.clear()
            with pytest.raises(ManifestUnknown, match="is denied"):
                await world.after_a_while()

    asyncio.run(story())


def test_an_old_denial_does_not_outweigh_what_a_member_has_of_upstream_since() -> None:
    async def story() -> None:
        world = World()
        world.answer = UpstreamUnknown("404")
        world.may_answer.set()
        with pytest.raises(ManifestUnknown):
            await world.tags.resolve(NAME)
        world.answer, world.members = UpstreamOut("no sign of life", 2.0), said(RIGHT, time.time() + 1)
        assert (await world.tags.resolve(NAME)).tag.digest == RIGHT
        world.members = said(RIGHT, time.time() - 60)
        with pytest.raises(ManifestUnknown):
            await world.tags.resolve(NAME)

    asyncio.run(story())


def ago(digest: Digest, seconds: float) -> Tag:
    return said(digest, time.time() - seconds)


def test_a_pinned_tag_is_asked_of_nobody_once_it_is_known() -> None:
    async def story() -> None:
        world = World(cached=ago(LIE, 1e6), policy=TagPolicy(fresh_s=math.inf))
        answer = await world.tags.resolve(NAME)
        assert (answer.tag.digest, answer.warning, world.questions) == (LIE, None, 0)

    asyncio.run(story())


def test_an_old_tag_is_answered_at_once_while_upstream_is_asked_where_its_policy_says_so() -> None:
    async def story() -> None:
        world = World(cached=ago(LIE, 120), policy=TagPolicy(fresh_s=60, revalidate_s=3600))
        for _ in range(3):
            answer = await world.tags.resolve(NAME)
            assert answer.tag.digest == LIE
            assert "upstream is asked meanwhile" in (answer.warning or "")
        world.may_answer.set()
        while world.cached is None or world.cached.digest != RIGHT:
            await asyncio.sleep(0)
        assert (await world.tags.resolve(NAME)).warning is None
        assert world.questions == 1
        world.cached = ago(LIE, 4000)
        assert (await world.tags.resolve(NAME)).tag.digest == RIGHT

    asyncio.run(story())


def test_upstream_is_never_asked_where_its_policy_says_so() -> None:
    async def story() -> None:
        policy = TagPolicy(asks_upstream=False)
        world = World(members=ago(LIE, 1e6), policy=policy)
        for fresh in (False, True):
            assert (await world.tags.resolve(NAME, fresh=fresh)).tag.digest == LIE
        with pytest.raises(ManifestUnknown, match="never-upstream"):
            await World(policy=policy).tags.resolve(NAME)
        with pytest.raises(UpstreamOffline):
            await world.tags.check(NAME)
        assert world.questions == 0

    asyncio.run(story())


def test_what_is_too_old_is_no_answer_where_its_policy_says_so() -> None:
    async def story() -> None:
        for age_s, is_answer in ((200, True), (400, False)):
            world = World(members=ago(LIE, age_s), policy=TagPolicy(fresh_s=60, error_s=300))
            world.answer = UpstreamOut("no sign of life", 2.0)
            world.may_answer.set()
            if is_answer:
                assert (await world.tags.resolve(NAME)).tag.digest == LIE
            else:
                with pytest.raises(Unavailable):
                    await world.tags.resolve(NAME)

    asyncio.run(story())


def pushed(digest: Digest) -> Tag:
    return Tag(digest, time.time() - 1e6, "pushed")


def test_what_was_pushed_wins_and_upstream_is_not_asked() -> None:
    async def story() -> None:
        world = World(own=pushed(RIGHT), cached=said(LIE), policy=TagPolicy(error_s=1.0))
        answer = await world.tags.resolve(NAME)
        assert (answer.tag.digest, answer.warning, world.questions) == (RIGHT, None, 0)
        assert (await world.tags.resolve(NAME, fresh=True)).tag.digest == RIGHT
        assert world.tags.local(NAME) == answer.tag

    asyncio.run(story())


def test_what_was_pushed_counts_only_without_upstream_where_its_policy_says_so() -> None:
    async def story() -> None:
        world = World(own=pushed(LIE), policy=TagPolicy(upstream_wins=True, error_s=1.0))
        world.may_answer.set()
        assert (await world.tags.resolve(NAME, fresh=True)).tag.digest == RIGHT
        for failure in (UpstreamUnknown("404"), UpstreamOut("it is out", 1.0)):
            world.answer = failure
            answer = await world.tags.resolve(NAME, fresh=True)
            assert answer.tag.digest == LIE
            assert answer.warning is not None

    asyncio.run(story())


def test_what_a_member_was_given_is_an_answer_where_upstream_has_no_such_tag() -> None:
    async def story() -> None:
        world = World(members=pushed(RIGHT))
        world.answer = UpstreamUnknown("404")
        world.may_answer.set()
        assert (await world.tags.resolve(NAME)).tag.digest == RIGHT

    asyncio.run(story())


@pytest.mark.parametrize("stands", [Standing.DOUBTED, Standing.OUT])
def test_what_is_known_does_not_wait_for_a_registry_that_may_be_out(stands: Standing) -> None:
    async def story() -> None:
        world = World(own=ago(LIE, 120), cached=ago(LIE, 120), settings=ImageSettings(tag_known_s=math.inf))
        world.stands = stands
        answer = await world.tags.resolve(NAME)
        assert answer.tag.digest == LIE
        assert "docker.io does not answer" in (answer.warning or "")
        world.may_answer.set()

    asyncio.run(asyncio.wait_for(story(), 10))


def test_a_tag_has_moved_if_upstream_says_something_else_than_what_is_gone() -> None:
    async def story() -> None:
        world = World()
        world.may_answer.set()
        assert await world.tags.has_moved(NAME, LIE)
        assert not await world.tags.has_moved(NAME, RIGHT)
        assert world.questions == 1, "what upstream said a moment ago still holds"
        world = World()
        world.may_answer.set()
        world.answer = UpstreamOut("no sign of life", 2.0)
        assert not await world.tags.has_moved(NAME, LIE)
        assert not await World(policy=TagPolicy(asks_upstream=False)).tags.has_moved(NAME, LIE)

    asyncio.run(story())
