"""The keeper: has this node hold what it is to keep, and not let go of it.

It looks again and again: what is pinned, who has settled, what of it lies in this node's own cache. What a container
runtime holds does not count, for that lets go of it when it likes. What lacks is fetched, part by part, in the order of
the pins. What this node is to keep is protected in the cache. What it holds of an image that others are to keep is
protected as well, until all of them have answered that they have every part.

Pins may want more than the cache can hold. Then the oldest that fit are kept, nothing of the others is fetched or
protected, and the log says so once: a cache that throws out one pinned image for another would never come to rest.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Protocol

from ..errors import MirrorError
from ..events import Kind, PinChanged, Tell, nobody
from ..oci.digest import Digest
from ..settings import PinSettings
from .composition import Image, Part, Read, compose
from .goals import Goal, Key
from .inventory import Inventory

log = logging.getLogger(__name__)


class KeptCache(Protocol):
    """The cache, as a keeper uses it."""

    @property
    def capacity_bytes(self) -> int:
        """What it may hold."""
        ...

    @property
    def protected(self) -> Set[str]:
        """What never leaves to make room, by hexadecimal digest."""
        ...

    def holds(self, digest: Digest) -> bool:
        """Whether a complete blob is here and may be served."""
        ...

    def protect(self, names: Set[str]) -> None:
        """Let these blobs, by hexadecimal digest, never leave to make room, and all others again."""
        ...


@dataclass(slots=True)
class _Kept:
    """What is known of a goal.

    Args:
        image: what it consists of, as of the last look.
        fits: whether the cache has room for it.
        problem: why the last fetch failed; empty if it did not.
        failures: in a row.
        retry_at: when it is tried again, monotonic seconds.
        confirmed: the keepers that have answered that they have all of it.
        confirmed_at: when, monotonic seconds.
    """

    image: Image = field(default_factory=lambda: Image(()))
    fits: bool = True
    problem: str = ""
    failures: int = 0
    retry_at: float = 0.0
    confirmed: frozenset[str] = frozenset()
    confirmed_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far this node is with an image that it keeps.

    Args:
        fits: whether its cache has room for the image.
        problem: why the last fetch failed; empty if it did not, or a later one brought it.
    """

    fits: bool
    problem: str


class Keeper:
    """Keeps the images of goals.

    Args:
        me: this node's name.
        cache: holds them.
        held: gives a manifest that this node holds.
        fetch: fetches a part into the cache.
        inventory: asks whether others have them.
        settings: bounds and times.
        now: monotonic seconds.
        on_event: told of images that are not whole here, and of those that become so.
    """

    def __init__(  # noqa: PLR0913 - whom it asks for what
        self,
        me: str,
        cache: KeptCache,
        held: Read,
        fetch: Callable[[Part], Awaitable[None]],
        inventory: Inventory,
        *,
        settings: PinSettings,
        now: Callable[[], float] = time.monotonic,
        on_event: Tell = nobody,
    ) -> None:
        self._on_event = on_event
        self._me = me
        self._cache = cache
        self._held = held
        self._fetch = fetch
        self._inventory = inventory
        self._settings = settings
        self._now = now
        self._kept: dict[Key, _Kept] = {}
        self._mine: list[Key] = []
        """Of the goals, those that this node keeps, as of the last look."""
        self._under_way: dict[Digest, asyncio.Task[None]] = {}
        self._confirming: asyncio.Task[None] | None = None
        self._too_much: frozenset[Key] = frozenset()
        self._lacking: frozenset[Key] = frozenset()
        """Of the images of this node, those that were not whole at the last look."""
        self.protected: Set[str] = cache.protected
        """Hexadecimal digests of what does not leave the cache."""
        self.moved = asyncio.Event()
        """Set when a fetch has ended, or somebody has answered: then it is worth a look."""

    async def close(self) -> None:
        """Give up what is under way."""
        tasks = [*self._under_way.values(), *([self._confirming] if self._confirming else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def progress(self, key: Key) -> Progress:
        """How far this node is with an image."""
        kept = self._kept.get(key)
        return Progress(True, "") if kept is None else Progress(kept.fits, kept.problem)

    @property
    def counts(self) -> Mapping[str, int]:
        """The images that this node is to keep, by how it is with them."""
        states = Counter({"whole": 0, "incomplete": 0, "no_room": 0})
        for key in self._mine:
            kept = self._kept[key]
            states["no_room" if not kept.fits else "whole" if self._is_whole(kept) else "incomplete"] += 1
        return states

    def _is_whole(self, kept: _Kept) -> bool:
        image = kept.image
        return bool(image.parts) and not image.unread and not missing(image, self._cache.holds)

    async def look(self, goals: Iterable[Goal], *, is_calm: bool) -> None:
        """See what lacks, protect what is here, and begin to fetch.

        Args:
            goals: what is to be kept, in the order of the pins.
            is_calm: whether it is clear who keeps what: else nothing is fetched, and nothing is let go.
        """
        goals = list(goals)
        self._mine = []
        self._kept = {goal.key: self._kept.get(goal.key) or _Kept() for goal in goals}
        for number, goal in enumerate(goals):
            await self._compose(goal)
            if number % 16 == 15:
                await asyncio.sleep(0)
        mine = [goal for goal in goals if self._me in goal.keepers]
        self._mine = [goal.key for goal in mine]
        others = [goal for goal in goals if self._me not in goal.keepers]
        protected = self._protect(mine, others)
        if not is_calm:
            protected |= self.protected  # who keeps what may be about to change back
        if protected != self.protected:
            self.protected = protected
            self._cache.protect(protected)
        if is_calm:
            self._tell(mine)
            self._begin_fetches(mine)
            self._begin_to_confirm(others)

    def _tell(self, mine: Iterable[Goal]) -> None:
        """Tell which images of this node are not whole any more, or are so at last."""
        lacking = set()
        for goal in mine:
            kept, image = self._kept[goal.key], f"{goal.repository}@{goal.digest}"
            if self._is_whole(kept):
                if goal.key in self._lacking:
                    self._on_event(PinChanged(Kind.PIN_WHOLE, image))
                continue
            lacking.add(goal.key)
            if goal.key not in self._lacking:
                why = kept.problem or ("a part of it is not here" if kept.fits else "the cache has no room for it")
                self._on_event(PinChanged(Kind.PIN_LACKING, image, why))
        self._lacking = frozenset(lacking)

    async def _compose(self, goal: Goal) -> None:
        kept = self._kept[goal.key]
        if not kept.image.parts or kept.image.unread or not self._cache.holds(goal.digest):
            kept.image = await compose(
                goal.repository, goal.digest, goal.platforms, self._held, self._settings.parts_max
            )

    def _protect(self, mine: Iterable[Goal], others: Iterable[Goal]) -> frozenset[str]:
        """What is protected: of images that are kept here all parts, as far as there is room; and what others lack."""
        room = int(self._cache.capacity_bytes * self._settings.cache_part)
        protected: dict[str, int] = {}
        too_much = set()
        for goal in mine:
            kept = self._kept[goal.key]
            new = {it.content.digest.hex: it.size for it in kept.image.parts}
            new = {name: size for name, size in new.items() if name not in protected}
            kept.fits = sum(new.values()) <= room
            if kept.fits:
                protected |= new
                room -= sum(new.values())
            else:
                too_much.add(goal.key)
        self._complain(frozenset(too_much))
        for goal in others:
            if self._is_confirmed(goal):
                continue
            for part in self._kept[goal.key].image.parts:
                name = part.content.digest.hex
                if name not in protected and part.size <= room and self._cache.holds(part.content.digest):
                    protected[name] = part.size
                    room -= part.size
        return frozenset(protected)

    def _complain(self, too_much: frozenset[Key]) -> None:
        if too_much - self._too_much:
            log.warning(
                "the cache has no room for all pinned images that this node is to keep; those that were pinned last "
                "are not kept here: raise cache-size, or unpin some images=%d",
                len(too_much),
            )
        elif self._too_much and not too_much:
            log.info("the cache has room for all pinned images again")
        self._too_much = too_much

    def _begin_fetches(self, mine: Iterable[Goal]) -> None:
        now = self._now()
        for goal in mine:
            kept = self._kept[goal.key]
            if not kept.fits or now < kept.retry_at:
                continue
            # manifests come first: they say what else there is
            wanted = sorted(kept.image.parts, key=lambda part: part.content.kind != "manifests")
            for part in wanted:
                if len(self._under_way) >= self._settings.fetches_max:
                    return
                if part.content.digest not in self._under_way and not self._cache.holds(part.content.digest):
                    self._under_way[part.content.digest] = asyncio.create_task(self._bring(kept, part))

    async def _bring(self, kept: _Kept, part: Part) -> None:
        """Fetch a part, and take note of how that went."""
        try:
            await self._fetch(part)
            kept.failures, kept.problem = 0, ""
        except MirrorError as error:
            self._failed(kept, str(error))
        except Exception:  # the root of a task: a bug here must not go unseen
            log.exception("a part of a pinned image was not fetched digest=%s", part.content.digest)
            self._failed(kept, "an error of this agent: see its log")
        finally:
            del self._under_way[part.content.digest]
            self.moved.set()

    def _failed(self, kept: _Kept, why: str) -> None:
        if why != kept.problem:
            log.warning("a pinned image is not whole here: %s", why)
        wait_s = min(self._settings.retry_s * 2**kept.failures, self._settings.retry_max_s)
        kept.problem, kept.failures, kept.retry_at = why, min(kept.failures + 1, 16), self._now() + wait_s

    def _is_confirmed(self, goal: Goal) -> bool:
        kept = self._kept[goal.key]
        is_fresh = kept.confirmed_at + self._settings.confirmed_s > self._now()
        return is_fresh and bool(goal.keepers) and kept.confirmed.issuperset(goal.keepers)

    def _begin_to_confirm(self, others: Iterable[Goal]) -> None:
        """Ask the keepers of one image of which something is here, and of which nobody knows whether they have it."""
        if self._confirming is not None and not self._confirming.done():
            return
        for goal in others:
            kept = self._kept[goal.key]
            parts = kept.image.parts
            if self._is_confirmed(goal) or self._now() < kept.retry_at:
                continue
            if any(self._cache.holds(part.content.digest) for part in parts):
                self._confirming = asyncio.create_task(self._confirm(goal, kept))
                return

    async def _confirm(self, goal: Goal, kept: _Kept) -> None:
        if not kept.image.unread:
            among = frozenset(goal.keepers)
            told = all(self._inventory.told(part.content.digest) >= among for part in kept.image.parts)
            holders = await self._inventory.asked(kept.image.parts, among) if told else {}
            if told and all(names >= among for names in holders.values()):
                kept.confirmed, kept.confirmed_at = among, self._now()
                self.moved.set()
                return
        kept.retry_at = self._now() + self._settings.retry_s


def missing(image: Image, holds: Callable[[Digest], bool]) -> list[Part]:
    """The parts of an image that somebody does not hold."""
    return [part for part in image.parts if not holds(part.content.digest)]
