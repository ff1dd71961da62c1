"""Verify: whether the cluster has every byte of some images, on how many members, and whose loss would hurt.

Nothing is asked of registries: what counts is what the cluster would answer if every line out of it were cut. Members
are asked for each part, and have to answer its size. A deep look has each of them hash what lies on its disk.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from ..errors import PeerError, Reason
from ..oci.content import Content
from ..oci.digest import Digest
from ..oci.names import ImageName
from ..oci.reference import Reference
from ..settings import PinSettings
from ..stores import Tag
from .composition import Image, Part, Read, compose
from .inventory import Holders, Inventory
from .orders import Hashed

_KNOWN_TO_ALL: Final = ("pushed", "pinned")
"""Authorities of tags that every member knows: nobody's loss takes such a tag along, though few advertise it."""
_BUSY_TRIES: Final = 60
"""Bounds how often a member is asked again that has too much to hash."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """An image that shall be whole.

    Args:
        name: of the image.
        copies: on how many members.
        platforms: of an index, which are wanted; empty: all.
        pinned: what it is pinned to; None if it is not pinned.
    """

    name: ImageName
    copies: int
    platforms: tuple[str, ...] = ()
    pinned: Digest | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of an image.

    Args:
        name: of it, canonical.
        digest: of its manifest; None if no member knows the tag.
        copies: that are wanted.
        image: what it consists of.
        members: those that hold every part.
        lacking: parts that no member holds.
        needed: members whose loss would leave it incomplete.
        problems: what else is in the way, for people.
    """

    name: str
    digest: Digest | None
    copies: int
    image: Image = field(default_factory=lambda: Image(()))
    members: tuple[str, ...] = ()
    lacking: tuple[Part, ...] = ()
    needed: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether every byte is in the cluster."""
        return self.digest is not None and not self.lacking and not self.image.unread

    @property
    def is_enough(self) -> bool:
        """Whether the copies that are wanted are there, and nothing else is in the way."""
        return self.is_whole and len(self.members) >= self.copies and not self.problems


@dataclass(frozen=True, slots=True)
class Hashing:
    """How far a deep look is, in bytes of all members together."""

    done_bytes: int
    bytes: int


class Hashes(Protocol):
    """Has a member hash what it holds."""

    async def __call__(self, member: str, content: Content) -> Hashed:
        """What became of it; raise PeerError if it does not say."""
        ...


def found(wanted: Wanted, digest: Digest, image: Image, holders: Holders) -> Finding:
    """What follows from who holds which part. Pure.

    Args:
        wanted: the image.
        digest: of its manifest.
        image: what it consists of.
        holders: of each part.
    """
    lacking = tuple(part for part in image.parts if not holders.get(part.content.digest))
    sets = [holders.get(part.content.digest, frozenset()) for part in image.parts]
    members = frozenset.intersection(*sets) if sets else frozenset()
    needed = {name for names in sets if len(names) == 1 for name in names}
    return Finding(
        wanted.name.text, digest, wanted.copies, image, tuple(sorted(members)), lacking, tuple(sorted(needed))
    )


@dataclass(slots=True)
class _Work:
    """What a deep look has to do, and has done."""

    bytes: int = 0
    done_bytes: int = 0
    wrong: dict[tuple[str, Digest], Hashed] = field(default_factory=dict)


class Verifier:
    """Looks for images.

    Args:
        read: gives a manifest that this node or some member holds.
        tags: what this node and the members know of a tag: names, and what they say.
        inventory: finds holders.
        hash_at: has a member hash what it holds.
        settings: bounds.
    """

    def __init__(
        self,
        read: Read,
        tags: Callable[[Reference], Awaitable[Sequence[tuple[str, Tag]]]],
        inventory: Inventory,
        hash_at: Hashes,
        settings: PinSettings,
    ) -> None:
        self._read = read
        self._tags = tags
        self._inventory = inventory
        self._hash_at = hash_at
        self._settings = settings

    async def look(self, wanted: Wanted) -> tuple[Finding, Holders]:
        """What the members hold of an image, as they answer."""
        digest, tellers, problems = await self._meaning(wanted)
        if digest is None:
            return Finding(wanted.name.text, None, wanted.copies, problems=tuple(problems)), {}
        image = await compose(
            wanted.name.repository, digest, wanted.platforms, self._read, self._settings.parts_max
        )  # fmt: skip
        holders = await self._inventory.asked(image.parts)
        finding = found(wanted, digest, image, holders)
        needed = sorted({*finding.needed, *(tellers if len(tellers) == 1 else ())})
        return replace(finding, needed=tuple(needed), problems=tuple(problems)), holders

    async def hash(
        self, looked: Sequence[tuple[Wanted, Finding, Holders]]
    ) -> AsyncIterator[Hashing | Mapping[tuple[str, Digest], Hashed]]:
        """Have every holder hash its copies; each member one after the other, all members at once.

        Yields:
            How far it is, now and then; at last what was not right, by member and digest.
        """
        by_member: dict[str, dict[Digest, Part]] = {}
        for _, finding, holders in looked:
            for part in finding.image.parts:
                for member in holders.get(part.content.digest, ()):
                    by_member.setdefault(member, {})[part.content.digest] = part
        work = _Work(bytes=sum(part.size for parts in by_member.values() for part in parts.values()))
        tasks = [
            asyncio.create_task(self._hash_all(member, list(parts.values()), work))
            for member, parts in by_member.items()
        ]
        try:
            while tasks:
                done, _ = await asyncio.wait(tasks, timeout=self._settings.progress_s)
                tasks = [task for task in tasks if task not in done]
                for task in done:
                    task.result()
                yield Hashing(work.done_bytes, work.bytes)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        yield work.wrong

    async def _hash_all(self, member: str, parts: Sequence[Part], work: _Work) -> None:
        for part in parts:
            outcome = await self._hash_one(member, part.content)
            if outcome is not Hashed.RIGHT:
                work.wrong[member, part.content.digest] = outcome
            work.done_bytes += part.size

    async def _hash_one(self, member: str, content: Content) -> Hashed:
        """What a member finds; it says after a while that it goes on, and is asked again."""
        questions = math.ceil(self._settings.fetch_max_s / self._settings.answer_s)
        busy = 0
        for _ in range(questions):
            try:
                outcome = await self._hash_at(member, content)
            except PeerError as error:
                busy += 1
                if error.reason is not Reason.BUSY or busy > _BUSY_TRIES:
                    break
                await asyncio.sleep(self._settings.progress_s)
                continue
            if outcome is not Hashed.WAIT:
                return outcome
        return Hashed.UNREADABLE

    async def _meaning(self, wanted: Wanted) -> tuple[Digest | None, Collection[str], list[str]]:
        """The digest, the members that know the tag (none: that does not matter), and what is in the way."""
        name = wanted.name
        if name.reference is None:
            return name.digest, (), []
        said = await self._tags(name.reference)
        newest = max(said, key=lambda it: (it[1].checked_unix_s, it[1].digest.hex), default=None)
        if wanted.pinned is not None:
            if newest is None or newest[1].digest == wanted.pinned:
                return wanted.pinned, (), []
            return wanted.pinned, (), [
                f"{newest[0]} knows that the tag means {newest[1].digest} by now: pin it again to keep that"
            ]  # fmt: skip
        if newest is None:
            return None, (), ["no member knows this tag"]
        if newest[1].authority in _KNOWN_TO_ALL:
            return newest[1].digest, (), []
        return newest[1].digest, {member for member, tag in said if tag.digest == newest[1].digest}, []


def without_wrong(
    wanted: Wanted, finding: Finding, holders: Holders, wrong: Mapping[tuple[str, Digest], Hashed]
) -> Finding:
    """A finding without the copies that a deep look did not find right."""
    if finding.digest is None:
        return finding
    right = {
        digest: frozenset(name for name in names if (name, digest) not in wrong) for digest, names in holders.items()
    }
    again = found(wanted, finding.digest, finding.image, right)
    return replace(again, needed=tuple(sorted({*again.needed, *finding.needed})), problems=finding.problems)
