"""Inventory: which members hold the parts of an image.

What their filters say is known at once, and may be wrong now and then. What a member answers when it is asked is so.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from ..errors import PeerError
from ..oci.content import Content
from ..oci.digest import Digest
from ..routers import Peer
from ..settings import PinSettings
from .composition import Part, Read

Holders = Mapping[Digest, frozenset[str]]
"""By digest: the names of the members that hold it."""


class Asked(Protocol):
    """A member, as far as it is asked about images. Every question may raise PeerError."""

    async def size(self, content: Content) -> int:
        """The size of some content that it holds, in bytes."""
        ...

    async def manifest(self, content: Content) -> bytes:
        """A manifest that it holds, which may be wrong."""
        ...

    async def hash(self, content: Content) -> bytes:
        """What became of the order to hash its copy, as `orders.Hashed` has it."""
        ...

    async def fetch(self, content: Content, platforms: tuple[str, ...]) -> bytes:
        """How far it is with the order to fetch an image, as `orders.Fetched` has it."""
        ...


class Inventory:
    """Finds holders.

    Args:
        me: this node's name.
        holds: whether this node holds some content.
        locate: members that may hold what has a key, by their filters.
        ask: gives a member, to be asked.
        held: gives a manifest that this node holds.
        settings: bounds.
    """

    def __init__(
        self,
        me: str,
        holds: Callable[[Digest], bool],
        locate: Callable[[bytes], Sequence[Peer]],
        ask: Callable[[Peer], Asked],
        held: Read,
        *,
        settings: PinSettings,
    ) -> None:
        self._me = me
        self._holds = holds
        self._locate = locate
        self._ask = ask
        self._held = held
        self._settings = settings
        self._asking = asyncio.Semaphore(settings.ask_at_once)

    def told(self, digest: Digest) -> frozenset[str]:
        """Who holds some content, as the filters of members say. No packet is sent."""
        others = (peer.name for peer in self._locate(digest.key))
        return frozenset({*others, self._me} if self._holds(digest) else others)

    async def read(self, content: Content) -> bytes | None:
        """A manifest that this node or some member holds; None if none does. No registry is asked."""
        body = await self._held(content)
        if body is not None:
            return body
        for peer in self._locate(content.digest.key):
            with contextlib.suppress(PeerError, TimeoutError):
                async with self._asking, asyncio.timeout(self._settings.ask_s):
                    body = await self._ask(peer).manifest(content)
                algorithm = str(content.digest).partition(":")[0]
                if hashlib.new(algorithm, body).hexdigest() == content.digest.hex:
                    return body
        return None

    async def asked(self, parts: Iterable[Part], among: frozenset[str] | None = None) -> Holders:
        """Who holds each part, as those answer whose filters say so.

        Args:
            parts: of an image.
            among: the members that are asked; None: all.
        """
        parts = list(parts)
        found = await asyncio.gather(*(self._holders(part, among) for part in parts))
        return {part.content.digest: holders for part, holders in zip(parts, found, strict=True)}

    async def _holders(self, part: Part, among: frozenset[str] | None) -> frozenset[str]:
        digest = part.content.digest
        peers = [peer for peer in self._locate(digest.key) if among is None or peer.name in among]
        answers = await asyncio.gather(*(self._has(peer, part) for peer in peers))
        names = {peer.name for peer, has in zip(peers, answers, strict=True) if has}
        return frozenset({*names, self._me} if self._holds(digest) else names)

    async def _has(self, peer: Peer, part: Part) -> bool:
        """Whether a member has a part of the right size; who does not answer has not."""
        async with self._asking:
            try:
                async with asyncio.timeout(self._settings.ask_s):
                    return await self._ask(peer).size(part.content) == part.size
            except (PeerError, TimeoutError):
                return False
