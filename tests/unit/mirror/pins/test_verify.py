"""Whose loss would leave an image incomplete."""

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

import pytest

from mirror.oci.content import Content
from mirror.oci.digest import Digest
from mirror.oci.names import parse_one
from mirror.oci.reference import Reference
from mirror.pins.composition import Part
from mirror.pins.orders import Hashed
from mirror.pins.verify import Verifier, Wanted
from mirror.settings import PinSettings
from mirror.stores import Authority, Tag

from .test_composition import AMD

if TYPE_CHECKING:
    from mirror.pins.inventory import Inventory


class EverywhereTwice:
    """Two members have everything."""

    async def asked(self, parts: Iterable[Part]) -> dict[Digest, frozenset[str]]:
        return {part.content.digest: frozenset({"n1", "n2"}) for part in parts}


@pytest.mark.parametrize(("authority", "needed"), [("upstream", ("n1",)), ("pushed", ()), ("pinned", ())])
def test_who_alone_tells_what_a_tag_means_is_needed_unless_all_know_it(
    authority: Authority, needed: tuple[str, ...]
) -> None:
    async def read(content: Content) -> bytes | None:
        return AMD

    async def tags(reference: Reference) -> list[tuple[str, Tag]]:
        return [("n1", Tag(Digest.of(AMD), 1.0, authority))]

    async def hash_at(member: str, content: Content) -> Hashed:
        raise AssertionError("nothing is hashed")

    async def look() -> tuple[str, ...]:
        verifier = Verifier(read, tags, cast("Inventory", EverywhereTwice()), hash_at, PinSettings())
        finding, _ = await verifier.look(Wanted(parse_one("a:1"), 1))
        assert finding.is_whole
        return finding.needed

    assert asyncio.run(look()) == needed
