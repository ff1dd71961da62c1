"""Archives as they are found: a tar file or a folder, of which any part can be read at any time, or a pipe."""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..errors import ArchiveError
from ..oci.digest import Digest
from ..oci.manifest import MANIFEST_MAX_BYTES
from ..settings import ArchiveSettings
from .packing import HEAD_BYTES, Readable
from .tarball import Kind, clean_name, members


@dataclass(frozen=True, slots=True)
class Extent:
    """Where bytes are.

    Args:
        fd: the file.
        start: where they begin in it.
        size: how many.
    """

    fd: int
    start: int
    size: int


class Archive(Protocol):
    """An archive, all of whose members are known. Names are inside it, as `tarball.clean_name` gives them.

    All raise ArchiveError if there is no such member, or if it is not what it should be.
    """

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        ...

    def size(self, name: str) -> int:
        """Its length, bytes."""
        ...

    def head(self, name: str) -> bytes:
        """Its first `HEAD_BYTES` bytes."""
        ...

    def document(self, name: str) -> bytes:
        """The whole of a manifest or configuration."""
        ...

    def digest(self, name: str) -> Digest:
        """Its sha256, from its bytes."""
        ...

    def digest_if(self, name: str, stated: Digest) -> Digest:
        """The digest that somebody states of it, where it is checked later; else that of its bytes."""
        ...

    def placed(self, name: str) -> Extent | None:
        """Where its bytes are; None where the agent has been sent them already."""
        ...


def absent(name: str) -> ArchiveError:
    """There is no such member."""
    return ArchiveError(f"{name!r} is missing: the archive is not whole")


def too_large(name: str, size: int) -> ArchiveError:
    """A document is larger than any is."""
    return ArchiveError(
        f"member {name!r} has {size:,} bytes; a manifest or configuration has at most {MANIFEST_MAX_BYTES:,}"
    )


class PlacedArchive:
    """An archive of which any part can be read.

    Args:
        extents: finds the bytes of a file by its name; None if there is no such file.
        part_bytes: that are hashed at once.
    """

    def __init__(self, extents: "Extents", part_bytes: int) -> None:
        self._extents = extents
        self._part_bytes = part_bytes

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return self._extents.find(name) is not None

    def size(self, name: str) -> int:
        """Its length, bytes."""
        return self.placed(name).size

    def head(self, name: str) -> bytes:
        """Its first bytes."""
        extent = self.placed(name)
        return os.pread(extent.fd, min(HEAD_BYTES, extent.size), extent.start)

    def document(self, name: str) -> bytes:
        """The whole of a manifest or configuration."""
        extent = self.placed(name)
        if extent.size > MANIFEST_MAX_BYTES:
            raise too_large(name, extent.size)
        return os.pread(extent.fd, extent.size, extent.start)

    def digest(self, name: str) -> Digest:
        """Its sha256, from its bytes."""
        extent, sha256 = self.placed(name), hashlib.sha256()
        at, end = extent.start, extent.start + extent.size
        while at < end:
            part = os.pread(extent.fd, min(self._part_bytes, end - at), at)
            if not part:
                raise ArchiveError(f"member {name!r} ends early: does somebody change the archive?")
            sha256.update(part)
            at += len(part)
        return Digest(sha256.hexdigest())

    def digest_if(self, name: str, stated: Digest) -> Digest:
        """What is stated: the agent checks it, when it gets the bytes."""
        return stated

    def placed(self, name: str) -> Extent:
        """Where its bytes are."""
        extent = self._extents.find(name)
        if extent is None:
            raise absent(name)
        return extent


class Extents(Protocol):
    """Finds the bytes of files by their names."""

    def find(self, name: str) -> Extent | None:
        """Where they are; None if there is no such file. Raises ArchiveError if it leads out of the archive."""
        ...


class TarExtents:
    """The files in a tar file, whose heads were read.

    Args:
        fd: the tar file, at its start.
        settings: bounds.

    Raises:
        ArchiveError: it is no image archive.
    """

    def __init__(self, fd: int, settings: ArchiveSettings) -> None:
        self._links = Links(settings.links_max)
        self._files: dict[str, Extent] = {}
        source = FileSource(fd)
        for member in members(source, settings):
            if member.kind is Kind.FILE:
                self._files[member.name] = Extent(fd, source.position, member.size)
            elif member.kind is Kind.LINK:
                self._links.add(member.name, member.target)

    def find(self, name: str) -> Extent | None:
        """Where a file's bytes are."""
        return self._files.get(self._links.end(name))


class Links:
    """Names that lead to other names of the same archive.

    Args:
        depth_max: how many may lead from one to the next.
    """

    def __init__(self, depth_max: int) -> None:
        self._depth_max = depth_max
        self._targets: dict[str, str] = {}

    def add(self, name: str, target: str) -> None:
        """Take note of a link."""
        self._targets[name] = target

    def end(self, name: str) -> str:
        """The name to which links lead from a name; raise ArchiveError if they lead too far, or in a circle."""
        at = name
        for _ in range(self._depth_max + 1):
            if at not in self._targets:
                return at
            at = self._targets[at]
        raise ArchiveError(f"member {name!r} is a link by way of more than {self._depth_max} others; that many may be")


class FolderExtents:
    """The files in a folder, of which one at a time is open.

    Args:
        folder: an unpacked archive.
        stack: closes the last one.
    """

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder.resolve()
        self._open: tuple[str, Extent] | None = None
        stack.callback(self._close)

    def find(self, name: str) -> Extent | None:
        """Where a file's bytes are; the file stays open until the next one is asked for."""
        if self._open is not None and self._open[0] == name:
            return self._open[1]
        path = Path(os.path.realpath(self._folder / clean_name(name, name)))
        if not path.is_relative_to(self._folder):
            raise ArchiveError(f"{name!r} is a link to {str(path)!r}, out of the folder; links inside it are allowed")
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise ArchiveError(f"cannot read {str(path)!r}: {error.strerror}") from None
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            os.close(fd)
            if stat.S_ISDIR(found.st_mode):
                return None
            raise ArchiveError(f"{name!r} is neither a file nor a folder; an image archive has nothing else")
        self._close()
        self._open = name, Extent(fd, 0, found.st_size)
        return self._open[1]

    def _close(self) -> None:
        if self._open is not None:
            os.close(self._open[1].fd)
            self._open = None


class FileSource:
    """The bytes of a regular file, from where it stands, read in order.

    Args:
        fd: the file.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._size = os.fstat(fd).st_size
        self.position = os.lseek(fd, 0, os.SEEK_CUR)

    def read(self, count: int) -> bytes:
        """The next bytes; fewer only at the end."""
        content = os.pread(self._fd, count, self.position)
        self.position += len(content)
        return content

    def skip(self, count: int) -> None:
        """Pass over some bytes."""
        if count and self.position + count > self._size:
            raise _cut_off(self._size)
        self.position += count


class StreamSource:
    """The bytes of a pipe, or of what is unpacked, read in order.

    Args:
        stream: gives them.
        part_bytes: that are passed over at once.
    """

    def __init__(self, stream: Readable, part_bytes: int) -> None:
        self._stream = stream
        self._part_bytes = part_bytes
        self.position = 0

    def read(self, count: int) -> bytes:
        """The next bytes; fewer only at the end."""
        content = self._stream.read(count)
        if 0 < len(content) < count:
            parts = [content]
            while (left := count - sum(map(len, parts))) and (part := self._stream.read(left)):
                parts.append(part)
            content = b"".join(parts)
        self.position += len(content)
        return content

    def skip(self, count: int) -> None:
        """Pass over some bytes."""
        for _ in self.parts(count):
            pass

    def parts(self, count: int) -> Iterator[bytes]:
        """The next `count` bytes in parts; raise ArchiveError if there are fewer."""
        end = self.position + count
        while self.position < end:
            part = self._stream.read(min(self._part_bytes, end - self.position))
            if not part:
                raise _cut_off(self.position)
            self.position += len(part)
            yield part

    def drain(self) -> None:
        """Read what follows the end of the archive, so that who writes it can end; raise ArchiveError if it is much."""
        if len(self.read(self._part_bytes)) == self._part_bytes:
            raise ArchiveError(f"goes on after its end, for {self._part_bytes:,} bytes and more; one archive is read")


def _cut_off(position: int) -> ArchiveError:
    return ArchiveError(f"cut off after {position:,} bytes, in the middle of a member")
