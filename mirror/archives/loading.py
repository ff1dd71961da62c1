"""Loading: from an archive to an agent, which offers the images to its cluster.

A tag comes last: what names an image is there before its name is.
"""

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from ..errors import AgentError, ArchiveError
from ..oci.reference import Reference, Repository
from ..settings import ArchiveSettings
from ..sources import STAGED
from .arriving import arrive, named
from .contents import Blob, Image, images_of
from .distribution import Distribution
from .naming import give_names, repository_of, shown_name
from .packing import HEAD_BYTES, Packing, Readable, Unpacked, packing_of
from .progress import Progress
from .reading import Archive, FolderExtents, PlacedArchive, StreamSource, TarExtents

if TYPE_CHECKING:
    from ..oci.digest import Digest

STAGING: Final = Repository(*STAGED.split("/"))
"""Takes the blobs of an archive from a pipe, whose names come last."""
PIPE: Final = "-"


@dataclass(frozen=True, slots=True)
class Loaded:
    """An image that the agent has now.

    Args:
        names: its names.
        digest: of its manifest or index.
        blobs: how many it has.
        sent: of these, how many the agent did not have.
        sent_bytes: that were sent.
        left_out: the manifests that its index names and the archive does not have: platform or digest.
    """

    names: tuple[str, ...]
    digest: str
    blobs: int
    sent: int
    sent_bytes: int
    left_out: tuple[str, ...]


class Loader:
    """Loads archives into one agent.

    Args:
        registry: the agent.
        settings: bounds.
        progress: is told how far it is.
    """

    def __init__(self, registry: Distribution, settings: ArchiveSettings, progress: Progress) -> None:
        self._registry = registry
        self._settings = settings
        self._progress = progress
        self._sent: dict[Digest, int] = {}
        self._placed: dict[Digest, list[Repository]] = {}
        """Where each blob is, as far as it was looked after."""

    def load(self, place: str, wanted: Repository | Reference | None) -> list[Loaded]:
        """Load an archive.

        Args:
            place: a file or folder; `-` for standard input.
            wanted: what its only image is to be called; None: what the archive says.

        Raises:
            ArchiveError: it is none, or not what it should be.
            AgentError: the agent does not answer, or does not take it.
        """
        with ExitStack() as stack:
            archive = self._open(place, wanted, stack)
            images = images_of(archive, self._settings)
            give_names(images, wanted)
            if isinstance(archive, PlacedArchive):
                sizes = {blob.digest: blob.size for image in images for blob in image.blobs.values()}
                self._progress.expect(sum(sizes.values()))
            return [self._load_image(archive, image) for image in images]

    def _open(self, place: str, wanted: Repository | Reference | None, stack: ExitStack) -> Archive:
        """Open an archive; what comes in a pipe is sent meanwhile."""
        if place != PIPE and Path(place).is_dir():
            return PlacedArchive(FolderExtents(Path(place), stack), self._settings.part_bytes)
        file = stack.enter_context(_opened(place))
        size = _regular_size(file)
        packing = packing_of(_head(file, size))
        if size is not None and packing is None:
            return PlacedArchive(TarExtents(file.fileno(), self._settings), self._settings.part_bytes)
        return self._take_stream(file, size, packing, wanted)

    def _take_stream(
        self, file: BinaryIO, size: int | None, packing: Packing | None, wanted: Repository | Reference | None
    ) -> Archive:
        """Send what comes."""
        self._progress.expect(size)
        watched = _Watched(file, self._progress)
        stream: Readable = watched if packing is None else Unpacked(watched, packing, self._settings)
        staging = wanted.repository if isinstance(wanted, Reference) else wanted or STAGING
        arrival = arrive(StreamSource(stream, self._settings.part_bytes), self._registry, staging, self._settings)
        self._sent |= arrival.sent
        self._placed |= {digest: [staging] for digest in arrival.kept}
        return arrival.archive

    def _load_image(self, archive: Archive, image: Image) -> Loaded:
        """Have the agent hold all of an image, then give it its names."""
        for repository in dict.fromkeys(map(repository_of, image.names)):
            for blob in image.blobs.values():
                self._place(archive, blob, repository)
            for manifest in image.manifests[:-1]:
                if not self._registry.has(repository, "manifests", manifest.digest):
                    what = str(manifest.digest)
                    self._registry.put_manifest(repository, what, manifest.body, manifest.media_type)
        root = image.manifests[-1]
        for name in image.names:
            what = name.tag if isinstance(name, Reference) else str(root.digest)
            self._registry.put_manifest(repository_of(name), what, root.body, root.media_type)
        sent = [self._sent[digest] for digest in image.blobs if digest in self._sent]
        return Loaded(
            tuple(map(shown_name, image.names)),
            str(image.digest),
            len(image.blobs),
            len(sent),
            sum(sent),
            tuple(dict.fromkeys(image.left_out)),
        )

    def _place(self, archive: Archive, blob: Blob, repository: Repository) -> None:
        """Have a blob in a repository: it is there, or in another one, or is sent."""
        places = self._placed.setdefault(blob.digest, [])
        if repository in places:
            return
        is_there = self._registry.has(repository, "blobs", blob.digest) or any(
            self._registry.mount(repository, blob.digest, place) for place in places[:1]
        )
        if not is_there:
            self._send(archive, blob, repository)
        elif not places and blob.member is not None and archive.placed(blob.member) is not None:
            self._progress.advance(blob.size)
        places.append(repository)

    def _send(self, archive: Archive, blob: Blob, repository: Repository) -> None:
        """Send a blob of the archive."""
        if blob.member is None:
            raise ArchiveError(f"{blob.digest}, {blob.size:,} bytes, is neither in the archive nor on the agent's node")
        extent = archive.placed(blob.member)
        if extent is None:
            raise ArchiveError(
                f"member {blob.member!r} was sent, and the agent has it no more for {repository}: its cache or disk is "
                "too small for the image; make room, or raise --cache-size of the agent"
            )
        try:
            self._registry.upload_file(repository, blob.digest, extent, self._progress.advance)
        except AgentError as error:
            raise named(error, blob.member) from None
        self._sent[blob.digest] = blob.size


class _Watched:
    """A file that says how much was read of it."""

    def __init__(self, file: BinaryIO, progress: Progress) -> None:
        self._file = file
        self._progress = progress

    def read(self, count: int = -1, /) -> bytes:
        """Some of the next bytes; none at the end."""
        content = self._file.read(count)
        self._progress.advance(len(content))
        return content


@contextmanager
def _opened(place: str) -> Iterator[BinaryIO]:
    """Open a file, or standard input, to be read."""
    if place == PIPE:
        if sys.stdin.isatty():
            raise ArchiveError("it is a terminal; give an archive by a pipe, or the name of a file")
        with open(0, "rb", closefd=False) as file:
            yield file
        return
    try:
        file = open(place, "rb")  # noqa: SIM115  # closed below
    except OSError as error:
        raise ArchiveError(f"it cannot be read: {error.strerror}") from None
    with file:
        yield file


def _regular_size(file: BinaryIO) -> int | None:
    """The bytes of a regular file; None of anything else."""
    found = os.fstat(file.fileno())
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _head(file: BinaryIO, size: int | None) -> bytes:
    """The first bytes of a file, which stay to be read."""
    if size is not None:
        return os.pread(file.fileno(), HEAD_BYTES, os.lseek(file.fileno(), 0, os.SEEK_CUR))
    return file.peek(HEAD_BYTES)[:HEAD_BYTES]  # type: ignore[attr-defined,no-any-return]  # it is buffered
