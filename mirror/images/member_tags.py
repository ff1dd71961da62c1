"""What other members know of a tag, and what its home says that upstream says: words, which are to be checked."""

import asyncio
import time
from collections.abc import Callable, Container, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..cluster.health import PeerHealth
from ..cluster.homes import turned_key
from ..cluster.view import ClusterView
from ..errors import PeerError, Reason
from ..oci.reference import Reference
from ..routers import Peer
from ..settings import ImageSettings, OutageSettings
from ..sources import Role
from ..sources.outages import Outages
from ..sources.words import Words
from ..stores import Tag

_OUTAGES_MAX = 2
"""Homes that say that the registry gives them no sign of life, before no other one is asked: the line of one alone may
be broken. This node asks the registry itself meanwhile."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What one member says that upstream says of a tag."""

    peer: Peer
    tag: Tag


class AsksMember(Protocol):
    """Asks one member what a tag means; raises PeerError."""

    def __call__(
        self, peer: Peer, reference: Reference, role: Role = Role.HOLDER, *, recheck: bool = False
    ) -> Coroutine[Any, Any, Tag]:
        """In a role; with `recheck`, a home is to ask upstream now, whatever it knows."""
        ...


class MemberTags:
    """Asks members about tags.

    Args:
        cluster: who may be asked.
        health: is told of failures.
        ask: asks one member.
        distrusted: gives the names of members whose word about tags does not count now.
        settings: how many are asked, and for how long a ring stays as it is.
        outages: is told of registries that do not answer homes; what they say of these is not asked.
        words: what members say of registries: one that says that it cannot ask is passed over.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - all that decides who is asked
        self,
        cluster: ClusterView,
        health: PeerHealth,
        ask: AsksMember,
        distrusted: Callable[[], Container[str]] = frozenset,
        settings: ImageSettings | None = None,
        outages: Outages | None = None,
        words: Words | None = None,
    ) -> None:
        self._words = words or Words(OutageSettings())
        self._outages = outages or Outages(OutageSettings())
        self._cluster = cluster
        self._health = health
        self._ask = ask
        self._distrusted = distrusted
        self._settings = settings or ImageSettings()

    async def known(self, reference: Reference) -> list[tuple[Peer, Tag]]:
        """Ask the members that may know a tag what they know, all at once; those that may be gone are not waited for.

        Unless nobody else knows it: then they are asked once more, for as long as it takes.
        """
        holders = await self._cluster.find_holders(reference.key)
        peers = self._believed(holders)[: self._settings.tag_members_max]
        silent: list[Peer] = []
        answers = await asyncio.gather(*(self._ask_holder(peer, reference, silent) for peer in peers))
        if silent and not any(answers):
            peers = silent
            answers = await asyncio.gather(*(self._ask_holder(peer, reference, None) for peer in peers))
        return [(peer, tag) for peer, tag in zip(peers, answers, strict=True) if tag is not None]

    async def from_homes(self, reference: Reference) -> Claim | None:
        """Ask the tag's homes before this node, one after the other, what upstream says.

        Returns:
            The first claim, or None where this node has to ask upstream itself: it is the first home, no home answers,
            one says that upstream has no such tag, or does not answer; or two, that the registry gives no sign of life.
            That would be their word alone as well.
        """
        return await self._ask_homes(self._cluster.homes(self._ring_key(reference)), reference)

    async def from_later_homes(self, reference: Reference) -> Claim | None:
        """Ask the tag's homes after this node; otherwise as `from_homes`."""
        return await self._ask_homes(self._cluster.later_homes(self._ring_key(reference)), reference)

    async def recheck(self, peer: Peer, reference: Reference) -> Tag:
        """Have one home ask upstream anew.

        Raises:
            PeerError: it does not answer.
        """
        return await self._ask(peer, reference, Role.HOME, recheck=True)

    def _ring_key(self, reference: Reference) -> bytes:
        return turned_key(reference.key, time.time(), self._settings.tag_window_s)

    def _believed(self, peers: Sequence[Peer]) -> list[Peer]:
        distrusted = self._distrusted()
        return [peer for peer in peers if peer.name not in distrusted]

    async def _ask_homes(self, homes: Sequence[Peer], reference: Reference) -> Claim | None:
        registry, now = reference.repository.registry, time.monotonic()
        if self._outages.is_told(registry, now):
            return None
        outages, tries, out = 0, self._settings.tag_homes_max, self._words.others(registry, now)
        for peer in self._believed([peer for peer in homes if peer.name not in out]):
            if not tries:
                break
            try:
                tag = await self._health.unless_silent(peer.name, self._ask(peer, reference, Role.HOME))
            except PeerError as error:
                self._health.failed(peer.name, error)
                tries -= error.reason is not Reason.RATE_LIMITED  # which it says at once; others have other addresses
                if error.reason in (Reason.UNABLE, Reason.UNKNOWN):
                    # Upstream did not answer it, or not with a tag. This node tries once itself; to ask all homes would
                    # take too long.
                    return None
                outages += error.reason is Reason.OUTAGE
                if outages == _OUTAGES_MAX:
                    break
                continue
            if tag.authority == "upstream":
                return Claim(peer, tag)
            tries -= 1
        if outages:
            self._outages.told(registry, time.monotonic())
        return None

    async def _ask_holder(self, peer: Peer, reference: Reference, silent: list[Peer] | None) -> Tag | None:
        """What one member knows. One that may be gone is put into the list and not waited for, if there is a list."""
        asking = self._ask(peer, reference, Role.HOLDER)
        try:
            return await (asking if silent is None else self._health.unless_silent(peer.name, asking))
        except PeerError as error:
            if error.reason is Reason.SILENT and silent is not None:
                silent.append(peer)
            elif error.reason is not Reason.MISSING:
                self._health.failed(peer.name, error)
            return None
