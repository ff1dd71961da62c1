"""A stack that fetches by itself and keeps nothing: no member is asked, none is told, and no byte reaches a disk.

What comes passes through memory (`spool`), as where the cache has no space. Beyond as many blobs at once as may do
that, a client is told that the content is unavailable now.
"""

from collections.abc import Callable, Collection, Sequence

from ..errors import PeerError, Reason, StorageFull
from ..metrics import Metrics
from ..oci.content import Content
from ..oci.digest import Digest
from ..oci.reference import Reference
from ..routers import MemberStatus, Peer, RingSeat
from ..settings import Settings
from ..sources import Life, Role, SizedSource, Source, Witness
from ..sources.outages import Outages
from ..stores import BlobWriter, Tag
from .stack import FetchStack


class Alone:
    """Discovery of a node that knows no other.

    Args:
        me: its name.
    """

    def __init__(self, me: str) -> None:
        self._me = me

    def ready(self) -> bool:
        """It always is."""
        return True

    def look_up(self, key: bytes) -> None:
        """Nobody is asked."""

    def locate(self, key: bytes) -> Sequence[Peer]:
        """Nobody holds anything."""
        return ()

    def advertise(self, keys: Collection[bytes]) -> None:
        """Nobody is told."""

    def withdraw(self, keys: Collection[bytes]) -> None:
        """Nobody was told."""

    def members(self) -> Sequence[Peer]:
        """There is none."""
        return ()

    def seats(self) -> Sequence[RingSeat]:
        """This node alone is the home of everything."""
        return (RingSeat(Peer(self._me, "", 0)),)

    def set_serving(self, willing: bool) -> None:
        """Nobody asks."""

    def statuses(self) -> Sequence[MemberStatus]:
        """There is nothing to show."""
        return ()

    def alone(self) -> str:
        """It looks for nobody."""
        return ""


class NoMembers:
    """The members of a node that knows none; nothing of it is called but `follow`."""

    def source(self, peer: Peer) -> Source:
        """There is no such member."""
        raise _none(peer)

    def witness(self, peer: Peer) -> Witness:
        """There is no such member."""
        raise _none(peer)

    async def size(self, peer: Peer, content: Content, role: Role) -> int:
        """There is no such member."""
        raise _none(peer)

    async def tag(self, peer: Peer, reference: Reference, role: Role = Role.HOLDER, *, recheck: bool = False) -> Tag:
        """There is no such member."""
        raise _none(peer)

    async def is_alive(self, peer: Peer) -> bool:
        """There is no such member."""
        return False

    def follow(self, on_life: Callable[[Peer, Life], None]) -> None:
        """There is nothing to tell."""

    async def notify_slow(self, peer: Peer, relative_rate: float) -> None:
        """There is no such member."""

    async def notify_wrong(self, peer: Peer, content: Content, wrong: tuple[int, int]) -> None:
        """There is no such member."""


class NoCache:
    """A cache that takes no blob and remembers no tag."""

    def has_partial(self, digest: Digest) -> bool:
        """Nothing was left."""
        return False

    async def begin(self, digest: Digest, size: int, wanted_here: Callable[[], bool]) -> BlobWriter:
        """Nothing is kept."""
        raise StorageFull("its policy is off")

    def tag(self, reference: Reference) -> Tag | None:
        """Nothing is known."""
        return None

    async def put_tag(self, reference: Reference, tag: Tag) -> None:
        """Nothing is remembered."""


def alone(
    me: str, upstream: SizedSource, metrics: Metrics, settings: Settings, outages: Outages | None = None
) -> FetchStack:
    """The parts that fetch, of a node that knows no member and has no cache."""
    return FetchStack.build(
        me,
        Alone(me),
        NoCache(),
        peers=NoMembers(),
        upstream=upstream,
        metrics=metrics,
        settings=settings,
        outages=outages,
    )


def _none(peer: Peer) -> PeerError:
    return PeerError(Reason.UNREACHABLE, f"{peer.name} is not asked for what is kept nowhere")
