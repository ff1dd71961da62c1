"""How the parts are put together with which an operator looks at content and deletes it; the agent does it once."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.routing import Route

from ..images.inventory import Inventory
from ..images.own_tags import OwnTags
from ..images.removal import Removal
from ..oci.content import ImageSummary
from ..oci.digest import Digest
from ..oci.reference import Reference
from ..pins.records import Record
from ..routers import Peer
from ..settings import Settings
from ..stores import CacheContents, Store
from .backend import Backend
from .contents import ContentsEndpoint
from .find import Find
from .images import Images
from .member_contents import MemberContents
from .removal import RemovalEndpoint
from .why import Remembered, Why
from .writers import Writers


@dataclass(frozen=True, slots=True)
class Members:
    """The other members, as far as they are asked about all their content.

    Args:
        up: those that are up.
        images: asks one which images it holds; raises PeerError.
        delete: has one delete what the text names, and images without a tag that have these digests; raises PeerError.
            None where the cluster has no key.
    """

    up: Callable[[], Sequence[Peer]]
    images: Callable[[Peer], Awaitable[Sequence[ImageSummary]]]
    delete: Callable[[Peer, str, Collection[str]], Awaitable[dict[str, Any]]] | None


@dataclass(frozen=True, slots=True)
class Operations:
    """What is served.

    Args:
        for_members: answers what members ask.
        routes: those of the API.
    """

    for_members: MemberContents
    routes: Sequence[Route]

    @classmethod
    def build(  # noqa: PLR0913 - what the agent has built before
        cls,
        backend: Backend,
        find: Find,
        stores: Sequence[Store],
        contents: CacheContents,
        own: OwnTags,
        *,
        remembered: Remembered,
        members: Members,
        writers: Writers,
        pins: Callable[[], Iterable[Record]],
        protects: Callable[[Digest], bool],
        settings: Settings,
    ) -> "Operations":
        """Put the parts together.

        Args:
            backend: what the node serves from.
            find: asks members about tags and content.
            stores: that know tags.
            contents: what one of them, the cache, shows and deletes.
            own: another one: the tags of the cluster's own people.
            remembered: what this node knows without asking.
            members: the others.
            writers: decides who may delete.
            pins: what is pinned.
            protects: whether this node keeps some content for a pin.
            settings: bounds.
        """
        inventory = Inventory(stores, contents, backend.holdings, settings.images)
        removal = Removal(inventory, contents, own, backend.manifests.forget, protects)
        images = Images(remembered.me, inventory, members.up, members.images, remembered.records, pins, settings.app)
        why = Why(find, backend.manifests, remembered, pins, settings.app)

        async def meanings(reference: Reference) -> set[str]:
            return {str(row["digest"]) for row in await find.tags(reference)}

        deleting = RemovalEndpoint(
            remembered.me, removal, members.up, members.delete, meanings, writers, settings.app
        )  # fmt: skip
        routes = [*ContentsEndpoint(why, images).routes(), *deleting.routes()]
        return cls(MemberContents(images, removal), routes)
