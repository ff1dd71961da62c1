"""What upstream says of tags, and for how long it is remembered that there is no such tag."""

import asyncio

import pytest

from mirror.errors import UpstreamError, UpstreamOut, UpstreamUnknown
from mirror.images.tag_checks import TagChecks
from mirror.oci.digest import Digest
from mirror.oci.reference import Reference
from mirror.settings import ImageSettings
from mirror.sources import Resolved, Standing
from mirror.stores import Tag

SIGNATURE = Reference.parse("nginx:sha256-0.sig")
FOUND = Resolved(Digest.of(b"1"), "application/json", 1)
UNKNOWN, OUT = UpstreamUnknown("404"), UpstreamOut("no sign of life", 2.0)


class World:
    """Upstream, which answers as a test says, and a cache that keeps nothing."""

    def __init__(self, settings: ImageSettings) -> None:
        self.answer: Resolved | UpstreamError = UNKNOWN
        self.asked = 0
        self.checks = TagChecks(self, self, settings)

    def standing(self, registry: str) -> Standing:
        return Standing.ASKED

    async def resolve(self, reference: Reference) -> Resolved:
        self.asked += 1
        if isinstance(self.answer, UpstreamError):
            raise self.answer
        return self.answer

    def tag(self, reference: Reference) -> Tag | None:
        return None

    async def put_tag(self, reference: Reference, tag: Tag) -> None:
        pass


def test_that_there_is_no_such_tag_is_remembered_for_a_moment() -> None:
    async def story() -> None:
        world = World(ImageSettings())
        for _ in range(3):
            with pytest.raises(UpstreamUnknown):
                await world.checks.check(SIGNATURE)
        assert world.asked == 1
        world.answer = FOUND
        assert (await world.checks.ask(SIGNATURE)).digest == FOUND.digest, "who asks for what is new asks upstream"
        assert (await world.checks.check(SIGNATURE)).digest == FOUND.digest

    asyncio.run(story())


def test_what_is_pushed_later_is_found() -> None:
    async def story() -> None:
        world = World(ImageSettings(tag_denied_s=0.0))
        with pytest.raises(UpstreamUnknown):
            await world.checks.check(SIGNATURE)
        world.answer = FOUND
        assert (await world.checks.check(SIGNATURE)).digest == FOUND.digest

    asyncio.run(story())


def test_while_upstream_gives_no_sign_of_life_its_last_word_counts_for_longer() -> None:
    async def story() -> None:
        world = World(ImageSettings(tag_denied_s=0.0))
        with pytest.raises(UpstreamUnknown):
            await world.checks.check(SIGNATURE)
        world.answer = OUT
        with pytest.raises(UpstreamUnknown, match="404, 0 s ago; now no sign of life"):
            await world.checks.check(SIGNATURE)
        with pytest.raises(UpstreamOut):
            await world.checks.check(Reference.parse("nginx:never-asked"))

    asyncio.run(story())


def test_what_upstream_does_not_have_is_remembered_up_to_a_bound() -> None:
    async def story() -> None:
        world = World(ImageSettings(tag_denied_max=2))
        for name in ("a", "b", "c", "a"):
            with pytest.raises(UpstreamUnknown):
                await world.checks.check(Reference.parse(f"nginx:{name}"))
        assert world.asked == 4

    asyncio.run(story())
