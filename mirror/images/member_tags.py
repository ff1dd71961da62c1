"""What other members know of a tag, and what upstream says of it to its home."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from ..cluster.health import PeerHealth
from ..cluster.view import ClusterView
from ..errors import PeerError, Reason, UpstreamUnknown
from ..oci.reference import Reference
from ..routers import Peer
from ..settings import ImageSettings
from ..sources import Role
from ..stores import Tag


class MemberTags:
    """Asks members about tags.

    Args:
        cluster: who may be asked.
        health: is told of failures.
        ask: asks one member, in a role, what a tag means; raises PeerError.
        settings: how many are asked.
    """

    def __init__(
        self,
        cluster: ClusterView,
        health: PeerHealth,
        ask: Callable[[Peer, Reference, Role], Awaitable[Tag]],
        settings: ImageSettings | None = None,
    ) -> None:
        self._cluster = cluster
        self._health = health
        self._ask = ask
        self._settings = settings or ImageSettings()

    async def known(self, reference: Reference) -> list[tuple[Peer, Tag]]:
        """Ask the members that may know a tag what they know, all at once."""
        peers = self._cluster.holders(reference.key)[: self._settings.tag_members_max]
        answers = await asyncio.gather(*(self._ask_holder(peer, reference) for peer in peers))
        return [(peer, tag) for peer, tag in zip(peers, answers, strict=True) if tag is not None]

    async def from_homes(self, reference: Reference, *, trusted: bool) -> Tag | None:
        """Ask the tag's homes before this node, one after the other, what upstream says.

        Args:
            reference: the tag.
            trusted: whether it counts for this node, too, when a home says that upstream has no such tag.

        Returns:
            What upstream says, or None where this node has to ask upstream itself.

        Raises:
            UpstreamUnknown: a home says that upstream has no such tag.
        """
        return await self._ask_homes(self._cluster.homes(reference.key), reference, trusted=trusted)

    async def from_later_homes(self, reference: Reference, *, trusted: bool) -> Tag | None:
        """Ask the tag's homes after this node; otherwise as `from_homes`."""
        return await self._ask_homes(self._cluster.later_homes(reference.key), reference, trusted=trusted)

    async def _ask_homes(self, homes: Sequence[Peer], reference: Reference, *, trusted: bool) -> Tag | None:
        for peer in homes[: self._settings.tag_homes_max]:
            try:
                tag = await self._ask(peer, reference, Role.HOME)
            except PeerError as error:
                self._health.failed(peer.name, error)
                if error.reason is Reason.UNKNOWN and trusted:
                    registry = reference.repository.registry
                    raise UpstreamUnknown(f"{registry} has no such tag, says {peer.name}") from error
                if error.reason is Reason.UNABLE:
                    # Upstream did not answer it. This node tries once itself; to ask all homes would take too long.
                    return None
                continue
            if tag.authority == "upstream":
                return tag
        return None

    async def _ask_holder(self, peer: Peer, reference: Reference) -> Tag | None:
        try:
            return await self._ask(peer, reference, Role.HOLDER)
        except PeerError as error:
            if error.reason is not Reason.MISSING:
                self._health.failed(peer.name, error)
            return None
