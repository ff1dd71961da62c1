"""How the parts that keep images are put together; the agent does it once."""

import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..cluster.view import ClusterView
from ..errors import PeerError, Reason, Refusal, StorageFailed
from ..events import Tell, nobody
from ..fetch.stack import FetchStack
from ..images.holdings import Holdings
from ..images.manifests import Manifests
from ..images.member_tags import MemberTags
from ..images.tags import Tags
from ..oci.content import Content
from ..oci.digest import Digest
from ..oci.reference import Reference
from ..routers import Discovery, Listener, Peer
from ..settings import PinSettings
from ..stores import BlobCache, Tag
from .book import Book
from .fetching import QuietFetches
from .files import PinFiles
from .following import Following, KnownTags
from .inventory import Asked, Inventory
from .keeper import Keeper, KeptCache
from .orders import Fetched, Hashed, Hashes, Prefetches
from .overview import Overview
from .pins import Pins
from .placement import Settled
from .pushed import Pushed
from .upkeep import Upkeep
from .verify import Verifier


class _Members:
    """The members with this node, as they are asked about images.

    Args:
        me: this node's name.
        cluster: knows the others.
        ask: gives one of them, to be asked.
        tags: what this node knows of a tag.
        member_tags: asks the others.
        hashes: of this node.
        prefetches: of this node.
    """

    def __init__(  # noqa: PLR0913 - who is asked for what
        self,
        me: str,
        cluster: ClusterView,
        ask: Callable[[Peer], Asked],
        tags: Callable[[Reference], Sequence[Tag]],
        member_tags: MemberTags,
        *,
        hashes: Hashes,
        prefetches: Prefetches,
    ) -> None:
        self._me = me
        self._cluster = cluster
        self._ask = ask
        self._tags = tags
        self._member_tags = member_tags
        self._hashes = hashes
        self._prefetches = prefetches

    async def known(self, reference: Reference) -> list[tuple[str, Tag]]:
        """What each of them knows of a tag."""
        own = [(self._me, tag) for tag in self._tags(reference)]
        return [*own, *((peer.name, tag) for peer, tag in await self._member_tags.known(reference))]

    async def hash_at(self, member: str, content: Content) -> Hashed:
        """Have one hash what it holds; raise PeerError if it does not answer."""
        with _answering(member):
            if member == self._me:
                return await self._hashes.hash(content.digest)
            blob = Content(content.repository, "blobs", content.digest)
            return Hashed(await self._ask(self._peer(member)).hash(blob))

    async def fetch_at(self, member: str, content: Content, platforms: tuple[str, ...]) -> Fetched:
        """Have one fetch an image; raise PeerError if it does not answer."""
        with _answering(member):
            if member == self._me:
                return self._prefetches.order(content, platforms)
            blob = Content(content.repository, "blobs", content.digest)  # members answer questions about blobs
            return Fetched.decode(await self._ask(self._peer(member)).fetch(blob, platforms))

    def _peer(self, member: str) -> Peer:
        peer = self._cluster.peer(member)
        if peer is None:
            raise PeerError(Reason.UNREACHABLE, f"{member} is gone")
        return peer


@dataclass(frozen=True, slots=True, kw_only=True)
class PinStack:
    """The parts of a node that keep images.

    Args:
        pins: what is pinned.
        settled: who keeps images.
        overview: shows pins.
        verifier: looks whether images are whole.
        hashes: hash what this node holds, by order.
        prefetches: fetch images, by order.
        listener: for the topic of pins.
        keeper: keeps what is pinned on this node.
        upkeep: looks after all of it.
        fetch_at: has a member fetch an image, this node as well, and says how far it is; raises PeerError.
        members: all others that are up.
        pushed: is told of what clients push to this node.
    """

    pins: Pins
    settled: Settled
    overview: Overview
    verifier: Verifier
    hashes: Hashes
    prefetches: Prefetches
    listener: Listener
    keeper: Keeper
    upkeep: Upkeep
    fetch_at: Callable[[str, Content, tuple[str, ...]], Awaitable[Fetched]]
    members: Callable[[], Sequence[Peer]]
    pushed: Pushed

    @classmethod
    def build(  # noqa: PLR0913 - what the agent has built before
        cls,
        me: str,
        folder: Path,
        configured: Mapping[str, int],
        platform: str,
        *,
        router: Discovery,
        tell: Callable[[bytes], None],
        cache: BlobCache,
        protection: KeptCache,
        holdings: Holdings,
        manifests: Manifests,
        fetching: FetchStack,
        tags: Tags,
        member_tags: MemberTags,
        known_tags: KnownTags,
        ask: Callable[[Peer], Asked],
        settings: PinSettings,
        on_event: Tell = nobody,
    ) -> "PinStack":
        """Put the parts together; see `Pins`, `Following` and `Keeper` for what they are given."""

        async def resolve(reference: Reference) -> Digest:
            return (await tags.resolve(reference)).tag.digest

        async def held(content: Content) -> bytes | None:
            manifest = await manifests.held(content.digest)
            return None if manifest is None else manifest.body

        async def get(content: Content) -> bytes | None:
            return (await manifests.get(content))[0].body

        files = PinFiles(folder)
        pins = Pins(Book(me, settings), files, tell, resolve, platform, settings)
        quiet = QuietFetches(
            fetching.fetches, manifests, holdings, cache, protection.holds, turns=fetching.turns, settings=settings
        )
        inventory = Inventory(me, holdings.has, router.locate, ask, held, settings=settings)
        keeper = Keeper(me, protection, held, quiet.fetch, inventory, settings=settings, on_event=on_event)
        settled = Settled(me, settings)
        hashes = Hashes(holdings.verify, lambda digest: _size(holdings, digest), settings)
        prefetches = Prefetches(get, quiet.fetch, holdings.has, settings)
        members = _Members(me, fetching.cluster, ask, holdings.tags, member_tags, hashes=hashes, prefetches=prefetches)
        following = Following(me, pins, configured, resolve, known_tags, settings)
        pushed = Pushed(me, pins, held, holdings.has)
        return cls(
            pushed=pushed,
            pins=pins,
            settled=settled,
            overview=Overview(me, pins.book.pins, settled, keeper, inventory, settings),
            verifier=Verifier(inventory.read, members.known, inventory, members.hash_at, settings),
            hashes=hashes,
            prefetches=prefetches,
            listener=Listener(pins.heard, pins.state),
            keeper=keeper,
            upkeep=Upkeep(
                me,
                router,
                pins,
                following=following,
                settled=settled,
                keeper=keeper,
                files=files,
                settings=settings,
            ),
            fetch_at=members.fetch_at,
            members=router.members,
        )

    def protects(self, digest: Digest) -> bool:
        """Whether some content must not leave this node's cache."""
        return digest.hex in self.keeper.protected

    async def close(self) -> None:
        """Give up what is under way by order."""
        await self.hashes.close()
        await self.prefetches.close()


@contextlib.contextmanager
def _answering(member: str) -> Iterator[None]:
    """Turn what is no answer of a member, or of this node, into a PeerError."""
    try:
        yield
    except Refusal as error:
        raise PeerError(Reason.BUSY, f"{member}: {error}") from error
    except ValueError as error:
        raise PeerError(Reason.BROKEN, f"{member} answered what is no answer: {error}") from error


def _size(holdings: Holdings, digest: Digest) -> int:
    """The size of what a node holds, in bytes; 0 if it holds nothing that can be opened."""
    try:
        held = holdings.open(digest)
    except StorageFailed:
        return 0
    if held is None:
        return 0
    with held:
        return held.size
