"""An archive from a pipe, or from a compressed file: its parts come once, in any order, and no copy of them is kept.

What an image consists of, and what it is called, may come last. So blobs go to the agent as they come, into a
repository of their own, and manifests and configurations are held in memory, within a bound, until all is there.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from ..errors import AgentError, ArchiveError, DigestInvalid
from ..oci.digest import Digest
from ..oci.manifest import MANIFEST_MAX_BYTES, MEDIA_TYPES
from ..oci.reference import Repository
from ..oci.strict import Document
from ..settings import ArchiveSettings
from .distribution import Distribution
from .documents import DOCKER_IMAGES, INDEX, LAYOUT, Config
from .packing import HEAD_BYTES
from .reading import Extent, Links, StreamSource, absent
from .tarball import Kind, Member, members

_LISTS: Final = (INDEX, LAYOUT, DOCKER_IMAGES)
_OLD: Final = ("VERSION", "json", "repositories")
"""Files for docker before version 1.10, which nobody needs."""


@dataclass(frozen=True, slots=True)
class _Arrived:
    """A member that has come.

    Args:
        digest: from its bytes; where the agent had it already, or has checked it, that of its name.
        size: bytes.
        head: its first bytes.
    """

    digest: Digest
    size: int
    head: bytes


class ArrivedArchive:
    """An archive whose blobs the agent was sent."""

    def __init__(self, settings: ArchiveSettings) -> None:
        self._settings = settings
        self._links = Links(settings.links_max)
        self._arrived: dict[str, _Arrived] = {}
        self._documents: dict[str, bytes] = {}
        self._held_bytes = 0

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return self._links.end(name) in self._arrived

    def size(self, name: str) -> int:
        """Its length, bytes."""
        return self._find(name).size

    def head(self, name: str) -> bytes:
        """Its first bytes."""
        return self._find(name).head

    def document(self, name: str) -> bytes:
        """The whole of a manifest or configuration."""
        self._find(name)
        body = self._documents.get(self._links.end(name))
        if body is None:
            raise ArchiveError(f"member {name!r} is neither a manifest nor a configuration, as it has to be")
        return body

    def digest(self, name: str) -> Digest:
        """Its sha256, from its bytes."""
        return self._find(name).digest

    def digest_if(self, name: str, stated: Digest) -> Digest:
        """Its sha256, from its bytes."""
        return self._find(name).digest

    def placed(self, name: str) -> Extent | None:
        """Nowhere: its bytes have gone."""
        return None

    def _find(self, name: str) -> _Arrived:
        arrived = self._arrived.get(self._links.end(name))
        if arrived is None:
            raise absent(name)
        return arrived

    def link(self, member: Member) -> None:
        """Take note of a link."""
        self._links.add(member.name, member.target)

    def add(self, member: Member, digest: Digest, head: bytes) -> None:
        """Take note of a file that has come."""
        self._arrived[member.name] = _Arrived(digest, member.size, head)

    def hold(self, member: Member, body: bytes) -> None:
        """Keep a document until all is there; raise ArchiveError if there are too many of them."""
        self._held_bytes += len(body)
        most = self._settings.documents_max_bytes
        if self._held_bytes > most:
            raise ArchiveError(
                f"more than {most:,} bytes of manifests and configurations, with member {member.name!r}; from a pipe, "
                "that many are held: load the archive from an unpacked file"
            )
        self._documents[member.name] = body


def arrive(source: StreamSource, registry: Distribution, staging: Repository, settings: ArchiveSettings) -> "Arrival":
    """Send the blobs of an archive to an agent as they come.

    Args:
        source: the archive.
        registry: the agent.
        staging: the repository that takes them.
        settings: bounds.

    Raises:
        ArchiveError: it is no archive, or not what it says.
        AgentError: the agent does not take them.
    """
    arrival = Arrival(source, registry, staging, settings)
    for member in members(source, settings):
        if member.kind is Kind.LINK:
            arrival.archive.link(member)
        elif member.kind is Kind.FILE and member.name.rpartition("/")[2] not in _OLD:
            arrival.take(member)
    source.drain()
    return arrival


class Arrival:
    """Takes the members of an archive, one after the other. Made by `arrive`, which says what its arguments are."""

    def __init__(
        self, source: StreamSource, registry: Distribution, staging: Repository, settings: ArchiveSettings
    ) -> None:
        self.archive = ArrivedArchive(settings)
        self.sent: dict[Digest, int] = {}
        """What the agent was sent, with its bytes."""
        self.kept: set[Digest] = set()
        """What the agent had already, or has now."""
        self._source = source
        self._registry = registry
        self._staging = staging

    def take(self, member: Member) -> None:
        """Take the bytes of a file."""
        stated = _stated(member.name)
        if member.size <= MANIFEST_MAX_BYTES:
            self._take_small(member, stated)
        elif stated is None:
            self._take_unknown(member)
        else:
            self._take_stated(member, stated)

    def _take_small(self, member: Member, stated: Digest | None) -> None:
        """Take a file that may be a document."""
        body = b"".join(self._source.parts(member.size))
        if stated is not None and not stated.matches(body):
            raise ArchiveError(f"member {member.name!r} does not have the digest that is its name")
        digest = stated or Digest.of(body)
        self.archive.add(member, digest, body[:HEAD_BYTES])
        is_list = member.name in _LISTS
        is_manifest, is_config = (False, False) if is_list else _nature(body)
        if is_list or is_manifest or is_config:
            self.archive.hold(member, body)
        if not (is_list or is_manifest) and not self._is_there(digest):
            self._registry.upload_bytes(self._staging, digest, body)
            self._note(digest, member.size)

    def _take_stated(self, member: Member, stated: Digest) -> None:
        """Take a blob whose name is its digest, unless it is there; the agent checks it."""
        head = b""
        if not self._is_there(stated):
            head = self._source.read(HEAD_BYTES)
            parts = _after(head, self._source.parts(member.size - len(head)))
            try:
                self._registry.upload_stated(self._staging, stated, member.size, parts)
            except AgentError as error:
                raise named(error, member.name) from None
            self._note(stated, member.size)
        self.archive.add(member, stated, head)

    def _take_unknown(self, member: Member) -> None:
        """Take a layer of `docker save`, whose digest may come later: it is sent in any case."""
        sha256 = hashlib.sha256()
        head = self._source.read(HEAD_BYTES)

        def hashed() -> Iterator[bytes]:
            for part in _after(head, self._source.parts(member.size - len(head))):
                sha256.update(part)
                yield part

        place = self._registry.upload_parts(self._staging, member.size, hashed())
        digest = Digest(sha256.hexdigest())
        self._registry.end(place, digest)
        self._note(digest, member.size)
        self.archive.add(member, digest, head)

    def _is_there(self, digest: Digest) -> bool:
        if digest not in self.kept and self._registry.has(self._staging, "blobs", digest):
            self.kept.add(digest)
        return digest in self.kept

    def _note(self, digest: Digest, size: int) -> None:
        self.kept.add(digest)
        self.sent[digest] = size


def named(error: AgentError, member: str) -> AgentError | ArchiveError:
    """What an agent says of the bytes of a member, with its name, if the member is to blame."""
    if error.status == 400:  # DIGEST_INVALID, SIZE_INVALID
        return ArchiveError(f"member {member!r} is not what its digest says: {error}")
    return error


def _after(head: bytes, parts: Iterable[bytes]) -> Iterator[bytes]:
    yield head
    yield from parts


def _stated(name: str) -> Digest | None:
    """The digest that the name of a member is."""
    folder, _, rest = name.partition("/")
    try:
        return Digest.parse(rest.replace("/", ":")) if folder == "blobs" else None
    except DigestInvalid:
        return None


def _nature(body: bytes) -> tuple[bool, bool]:
    """Whether some bytes are a manifest, and whether they are the configuration of an image."""
    if body.lstrip()[:1] != b"{":
        return False, False
    try:
        document = msgspec.json.decode(body, type=Document)
        is_manifest = document.mediaType in MEDIA_TYPES or (
            document.schemaVersion == 2 and (document.config is not None or document.manifests is not None)
        )
    except (ValueError, RecursionError):
        is_manifest = False
    try:
        is_config = msgspec.json.decode(body, type=Config).rootfs is not None
    except (ValueError, RecursionError):
        is_config = False
    return is_manifest, is_config
