"""Tar files, read one member after the other within bounds, and the heads that are written.

The standard library parses the heads. What follows from them is decided here: its reader takes as much memory as a head
says, and an archive comes from anywhere.

Source: POSIX pax, "ustar Interchange Format" and "pax Header Block"; GNU tar, "Basic Tar Format".
"""

import enum
import posixpath
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from ..errors import ArchiveError
from ..settings import ArchiveSettings

BLOCK: Final = tarfile.BLOCKSIZE
END: Final = bytes(2 * BLOCK)
"""What a tar file ends with."""
FOLDER_MODE, FILE_MODE = 0o755, 0o644

_LONG: Final = {tarfile.GNUTYPE_LONGNAME: "path", tarfile.GNUTYPE_LONGLINK: "linkpath"}
_PAX: Final = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.XGLTYPE)
_FILES: Final = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_KINDS: Final = {
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a named pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}


class ByteSource(Protocol):
    """Bytes that are read in order."""

    @property
    def position(self) -> int:
        """How many bytes were read or passed over."""
        ...

    def read(self, count: int) -> bytes:
        """The next bytes: `count` of them, fewer only at the end."""
        ...

    def skip(self, count: int) -> None:
        """Pass over some bytes; raise ArchiveError if the source ends before."""
        ...


class Kind(enum.Enum):
    """What a member is."""

    FILE = "a file"
    FOLDER = "a folder"
    LINK = "a link"


@dataclass(frozen=True, slots=True)
class Member:
    """A member of an archive.

    Args:
        name: inside the archive, without `.` and `..`; empty for the top folder.
        kind: what it is.
        size: of a file, bytes.
        target: the name inside the archive that a link leads to.
    """

    name: str
    kind: Kind
    size: int = 0
    target: str = ""


def members(source: ByteSource, settings: ArchiveSettings) -> Iterator[Member]:
    """Go through a tar file. Of each file, as much as is wanted may be read before the next member is asked for.

    Raises:
        ArchiveError: it is no tar file, is cut off, or has what no image archive has.
    """
    seen: set[str] = set()
    while (member := _next_member(source, settings)) is not None:
        if member.kind is not Kind.FOLDER:
            if member.name in seen:
                raise ArchiveError(f"member {member.name!r} is there twice; an archive has each file once")
            seen.add(member.name)
            if len(seen) > settings.members_max:
                raise ArchiveError(f"more than {settings.members_max:,} members; image archives have some thousand")
        end = source.position + member.size
        yield member
        source.skip(end - source.position)
        source.skip(-member.size % BLOCK)


def _next_member(source: ByteSource, settings: ArchiveSettings) -> Member | None:
    """The next member, with what heads of its own kind say of it before; None at the end."""
    stated: dict[str, str] = {}
    for _ in range(settings.heads_max):
        block = source.read(BLOCK)
        if not block or block == bytes(BLOCK):
            return None
        head = _head(block, source.position)
        if head.type in _LONG:
            stated[_LONG[head.type]] = _extension(source, head, settings).rstrip(b"\0").decode(errors="surrogateescape")
        elif head.type in _PAX:
            records = _pax_records(_extension(source, head, settings), head.name)
            stated |= {} if head.type == tarfile.XGLTYPE else records
        else:
            return _member(head, stated)
    raise ArchiveError(f"more than {settings.heads_max} heads in a row, without a member")


def _head(block: bytes, position: int) -> tarfile.TarInfo:
    try:
        head = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        at = position - len(block)
        raise ArchiveError(f"no tar archive, or cut off: there is no head at byte {at:,} ({error})") from None
    if head.size < 0:
        raise ArchiveError(f"member {head.name!r} states a size of {head.size} bytes")
    return head


def _extension(source: ByteSource, head: tarfile.TarInfo, settings: ArchiveSettings) -> bytes:
    """What a head of a name or of attributes has behind it."""
    most = settings.extension_max_bytes
    if head.size > most:
        raise ArchiveError(f"member {head.name!r} has attributes of {head.size:,} bytes; {most:,} are allowed")
    text = source.read(head.size)
    source.skip(head.size - len(text) + -head.size % BLOCK)
    return text


def _pax_records(text: bytes, name: str) -> dict[str, str]:
    """The attributes that are stated of the next member: lines of their own length, a key and a value each."""
    records: dict[str, str] = {}
    while text.strip(b"\0"):
        digits, _, _ = text.partition(b" ")
        length = int(digits) if len(digits) < 8 and digits.isdigit() else 0
        line, text = text[len(digits) + 1 : length], text[length:]
        key, equals, value = line.partition(b"=")
        if not equals or not line.endswith(b"\n"):
            raise ArchiveError(f"member {name!r} has attributes that are none: {line[:60]!r}")
        records[key.decode(errors="replace")] = value[:-1].decode(errors="surrogateescape")
    return records


def _member(head: tarfile.TarInfo, stated: dict[str, str]) -> Member:
    """What a head says, and what was stated before it."""
    said = stated.get("path", head.name)
    if head.type in _KINDS or any(key.startswith("GNU.sparse.") for key in stated):
        kind = _KINDS.get(head.type, "a sparse file")
        raise ArchiveError(f"member {said!r} is {kind}; an image archive has files, folders and links inside it")
    name = clean_name(said, said)
    if head.type == tarfile.DIRTYPE:
        return Member(name, Kind.FOLDER)
    if head.type in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        link = stated.get("linkpath", head.linkname)
        start = posixpath.dirname(name) if head.type == tarfile.SYMTYPE else ""
        return Member(name, Kind.LINK, target=link_target(start, link, name))
    if head.type not in _FILES:
        raise ArchiveError(f"member {said!r} is of type {head.type!r}; an image archive has files, folders and links")
    size = stated.get("size", str(head.size))
    if not (size.isascii() and size.isdigit() and len(size) < 19):
        raise ArchiveError(f"member {said!r} states a size of {size[:40]!r} bytes")
    return Member(name, Kind.FILE, int(size))


def clean_name(text: str, member: str) -> str:
    """A name inside the archive without `.`; raise ArchiveError, which names the member, if it leads out."""
    if text.startswith("/") or "\0" in text:
        raise ArchiveError(f"member {member!r}: {text!r} is not allowed; names are relative, and stay in the archive")
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ArchiveError(f"member {member!r}: {text!r} leads out of the archive; names without '..' are allowed")
    return "/".join(parts)


def link_target(folder: str, link: str, member: str) -> str:
    """Where a link in a folder leads to inside the archive; raise ArchiveError, which names it, if it leads out."""
    target = posixpath.normpath(posixpath.join(folder, link))
    if target.startswith(("/", "../")) or target in ("..", ".") or "\0" in target:
        raise ArchiveError(f"member {member!r} is a link to {link!r}, out of the archive; links inside it are allowed")
    return target


def head_of(name: str, size: int) -> bytes:
    """The head of a member as it is written, the same for all users, machines and times; a folder ends with a slash."""
    is_folder = name.endswith("/")
    head = tarfile.TarInfo(name)
    head.size, head.mode = size, FOLDER_MODE if is_folder else FILE_MODE
    head.type = tarfile.DIRTYPE if is_folder else tarfile.REGTYPE
    return head.tobuf(tarfile.GNU_FORMAT)


def padding(size: int) -> bytes:
    """What follows a member's bytes."""
    return bytes(-size % BLOCK)
