"""Following: the pins that nobody orders. They come from this node's settings and from patterns, or get their meaning.

What stands in the settings of a node it pins again whatever is heard, and no more once it stands there no more. A tag
that nobody could resolve when it was pinned is resolved later, by the first settled member of the tag's ring. Of a
pattern each member pins the tags that it knows itself, now and later; a tag that was unpinned by its own name stays so
until the pattern is pinned again.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ..errors import MirrorError
from ..oci.names import Pattern, parse_name
from ..oci.reference import Reference
from ..settings import PinSettings
from ..stores import Tag
from .book import PinRefused
from .pins import Pins, Resolve
from .placement import keepers
from .records import Record

log = logging.getLogger(__name__)

_TAGS_AT_ONCE: Final = 200
"""Tags that are compared with patterns in one turn of the event loop."""


@dataclass(frozen=True, slots=True)
class KnownTags:
    """The tags that this node knows itself.

    Args:
        names: gives all of them.
        said: gives what the node's stores say that one means.
    """

    names: Callable[[], Iterable[Reference]]
    said: Callable[[Reference], Sequence[Tag]]

    def newest(self, reference: Reference) -> Tag | None:
        """What is newest of what the stores say."""
        return max(self.said(reference), key=lambda tag: tag.checked_unix_s, default=None)


@dataclass(slots=True)
class _Retry:
    at: float = 0.0
    wait_s: float = 0.0


@dataclass(slots=True)
class _Seen:
    """Tags that were compared with some patterns, by the names and versions of these."""

    patterns: tuple[tuple[str, int], ...] = ()
    tags: set[Reference] = field(default_factory=set)


class Following:
    """Keeps pins as settings, registries and patterns say.

    Args:
        me: this node's name.
        pins: what is pinned.
        configured: what this node's settings pin, by canonical name: the copies.
        resolve: finds out what a tag means.
        known_tags: what this node knows of tags.
        settings: times.
    """

    def __init__(
        self,
        me: str,
        pins: Pins,
        configured: Mapping[str, int],
        resolve: Resolve,
        known_tags: KnownTags,
        settings: PinSettings,
    ) -> None:
        self._me = me
        self._pins = pins
        self._configured = configured
        self._resolve = resolve
        self._known_tags = known_tags
        self._settings = settings
        self._retries: dict[str, _Retry] = {}
        self._seen = _Seen()

    async def look(self, settled: Collection[str]) -> None:
        """Pin what is to be pinned by now.

        Args:
            settled: names of the members that keep images.
        """
        self._hold_to_settings()
        await self._resolve_some(settled)
        await self._follow_patterns()

    def _hold_to_settings(self) -> None:
        book = self._pins.book
        for name, copies in self._configured.items():
            known = book.record(name)
            is_live = known is not None and not known.is_removed
            if known is None or not is_live or not known.configured_by or known.copies != copies:
                digest = known.digest if known is not None and is_live else None
                platforms = () if isinstance(parse_name(name), Pattern) else (self._pins.platform,)
                self._pin(name, copies, digest=digest, platforms=platforms, configured_by=self._me)
        for record in book.pins():
            if record.configured_by == self._me and record.name not in self._configured:
                self._pins.tell_of([book.remove(record)])

    async def _resolve_some(self, settled: Collection[str]) -> None:
        for record in self._pins.book.pins():
            name = parse_name(record.name)
            if isinstance(name, Pattern) or name.reference is None or record.digest is not None:
                continue
            retry = self._retries.setdefault(record.name, _Retry(wait_s=self._settings.retry_s))
            key = hashlib.sha256(record.name.encode()).digest()
            if keepers(key, settled or [self._me], 1) != (self._me,) or time.monotonic() < retry.at:
                continue
            try:
                digest = await self._resolve(name.reference)
            except MirrorError as error:
                log.warning("a pinned tag has no meaning yet tag=%s: %s", record.name, error)
                retry.at = time.monotonic() + retry.wait_s
                retry.wait_s = min(2 * retry.wait_s, self._settings.retry_max_s)
                continue
            del self._retries[record.name]
            if self._pins.book.record(record.name) == record:
                self._pin(
                    record.name, record.copies, digest=digest, platforms=record.platforms, pattern=record.pattern
                )  # fmt: skip

    async def _follow_patterns(self) -> None:
        found = [record for record in self._pins.book.pins() if isinstance(parse_name(record.name), Pattern)]
        patterns = tuple((record.name, record.version) for record in found)
        if patterns != self._seen.patterns:
            self._seen = _Seen(patterns)
        if not found:
            return
        known = set(self._known_tags.names())
        self._seen.tags &= known
        for number, reference in enumerate(sorted(known - self._seen.tags, key=str)):
            if number % _TAGS_AT_ONCE == _TAGS_AT_ONCE - 1:
                await asyncio.sleep(0)
            self._seen.tags.add(reference)
            self._follow(reference, found)

    def _follow(self, reference: Reference, patterns: Iterable[Record]) -> None:
        """Pin a tag that one of the patterns covers, unless somebody has said something of the tag itself."""
        known = self._pins.book.record(str(reference))
        for pattern in patterns:
            is_free = known is None or (known.is_removed and known.version < pattern.version)
            if is_free and Pattern(pattern.name).matches(reference):
                if (newest := self._known_tags.newest(reference)) is not None:
                    self._pin(
                        str(reference),
                        pattern.copies,
                        digest=newest.digest,
                        platforms=pattern.platforms,
                        pattern=pattern.name,
                    )
                return

    def _pin(self, name: str, copies: int, **what: Any) -> None:
        try:
            self._pins.tell_of([self._pins.book.pin(name, copies, **what)])
        except PinRefused as error:
            log.warning("%s is not pinned: %s", name, error)
