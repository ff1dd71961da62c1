"""Saving: from the whole cluster, by way of one agent, to an archive that is the same bytes wherever it is made.

It is an OCI layout in a tar file, with docker's list of images beside it, so docker, containerd, podman and skopeo load
it. What it has follows from the names and what these mean: members are sorted, and have neither times nor owners.

Source: OCI image-spec, image-layout.md.
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from ..errors import AgentError
from ..oci.digest import Digest
from ..oci.reference import Repository
from ..settings import ArchiveSettings
from .distribution import Distribution
from .documents import blob_name
from .layout import layout
from .progress import Progress
from .tarball import END, head_of, padding
from .trees import Tree
from .written import Written, write_all

if TYPE_CHECKING:
    import hashlib

_BUFFERS: Final = 3
"""Parts that are under way: one comes, one is hashed, one is written."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A member of the archive: bytes that are known, a blob that comes from the cluster, or a folder without any."""

    name: str
    size: int
    body: bytes = b""
    blob: tuple[Repository, Digest] | None = None


class Saver:
    """Saves images from one agent.

    Args:
        registry: the agent.
        settings: bounds.
        progress: is told how far it is.
    """

    def __init__(self, registry: Distribution, settings: ArchiveSettings, progress: Progress) -> None:
        self._registry = registry
        self._settings = settings
        self._progress = progress

    def save(self, trees: Sequence[Tree], out: BinaryIO) -> int:
        """Write an archive of some images, or the rest of one; return the bytes of all of it.

        Raises:
            AgentError: the agent does not answer, or gives other bytes than it should.
            OSError: they cannot be written.
        """
        parts = _parts(trees)
        self._progress.expect(sum(part.size for part in parts))
        earlier, written = Written(out, self._settings.part_bytes), 0
        with ThreadPoolExecutor(1, "hash") as hashing:
            copy = _Copy(self._registry, self._settings, self._progress, out, hashing)
            for part in parts:
                head, end = head_of(part.name, part.size), padding(part.size)
                written += len(head) + part.size + len(end)
                if earlier.has(head, part.body if part.blob is None else part.blob[1], part.size, end):
                    self._progress.advance(part.size)
                    continue
                write_all(out, head)
                if part.blob is not None:
                    copy.blob(*part.blob, part.size)
                else:
                    write_all(out, part.body)
                    self._progress.advance(part.size)
                write_all(out, end)
        earlier.finish()
        write_all(out, END)
        return written + len(END)


class _Copy:
    """Copies blobs from an agent into a file, and hashes them beside that."""

    def __init__(
        self,
        registry: Distribution,
        settings: ArchiveSettings,
        progress: Progress,
        out: BinaryIO,
        hashing: ThreadPoolExecutor,
    ) -> None:
        self._registry = registry
        self._settings = settings
        self._progress = progress
        self._out = out
        self._hashing = hashing
        self._buffers = [memoryview(bytearray(settings.part_bytes)) for _ in range(_BUFFERS)]

    def blob(self, repository: Repository, digest: Digest, size: int) -> None:
        """Copy a blob. If it breaks off, it is asked for again from there on.

        Raises:
            AgentError: it comes not whole, or its digest is wrong.
        """
        hashed, done = digest.algorithm.begin(), 0
        for left in reversed(range(self._settings.tries)):
            try:
                done = self._from(repository, digest, size, hashed, done)
            except AgentError as error:
                if error.status is not None or not left:
                    raise
            if done == size:
                break
        if done < size:
            raise AgentError(f"{repository}@{digest} broke off after {done:,} of {size:,} bytes, again and again", 200)
        found = Digest(hashed.hexdigest())
        if found != digest:
            raise AgentError(f"{repository}@{digest}: what came has the digest {found}", 200)

    def _from(self, repository: Repository, digest: Digest, size: int, whole: "hashlib._Hash", done: int) -> int:
        """Copy what comes of a blob from some byte on; return how far it is."""
        hashed: list[Future[None]] = []
        with self._registry.blob(repository, digest, done) as body:
            while done < size:
                number = len(hashed)
                if number >= _BUFFERS:
                    hashed[number - _BUFFERS].result()
                buffer = self._buffers[number % _BUFFERS]
                try:
                    count = body.readinto(buffer[: size - done])
                except OSError:
                    count = 0
                if not count:
                    break
                hashed.append(self._hashing.submit(whole.update, buffer[:count]))
                write_all(self._out, buffer[:count])
                done += count
                self._progress.advance(count)
            for future in hashed[-_BUFFERS:]:
                future.result()
        return done


def _parts(trees: Sequence[Tree]) -> list[_Part]:
    """The members of an archive, in order."""
    manifests = {digest: manifest for tree in trees for digest, manifest in tree.manifests.items()}
    blobs = {digest: (size, tree.repository) for tree in trees for digest, size in tree.blobs.items()}
    algorithms = sorted({blob_name(digest).rpartition("/")[0] for digest in (*manifests, *blobs)})
    return [
        *(_Part(name, len(body), body) for name, body in layout(trees)),
        *(_Part(f"{folder}/", 0) for folder in ("blobs", *algorithms)),
        *(
            _Part(blob_name(digest), len(manifests[digest].body), manifests[digest].body)
            for digest in sorted(manifests, key=str)
        ),
        *(
            _Part(blob_name(digest), blobs[digest][0], blob=(blobs[digest][1], digest))
            for digest in sorted(blobs, key=str)
            if digest not in manifests
        ),
    ]
