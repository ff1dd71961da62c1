"""Records: what members tell each other of pins. A record is small, has a version, and says all of one pin.

Of two records of one name the later one counts: that with the larger version, then with the larger author, then with
the larger bytes. So all members that know the same records know the same pins, in whatever order they heard them. A
version is one more than the largest that its author knew: no clock is asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from ..errors import DigestInvalid
from ..oci.digest import Digest
from ..oci.names import COPIES_MAX, is_name
from ..oci.platforms import are_platforms
from ..routers import is_member_name, read_note

ALL: Final = 0
"""Stands for a copy on every member."""
VERSION_MAX: Final = 2**53 - 1
"""Bounds a version. Members come nowhere near it; one that lies can, and then pins that are made later have it too."""


class _Wire(msgspec.Struct, frozen=True, array_like=True):
    """A record as members exchange it, and as it lies on disk."""

    name: str
    version: int
    author: str
    copies: int
    is_removed: bool = False
    digest: str = ""
    platforms: tuple[str, ...] = ()
    pattern: str = ""
    configured_by: str = ""
    made_unix_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is to be kept, or no more.

    Args:
        name: canonical: a tag, a digest or a pattern; see `oci.names`.
        version: larger than any that its author knew.
        author: the member that wrote it.
        copies: on how many members; `ALL`: on every one.
        is_removed: whether it says that the pin is gone.
        digest: what the tag meant when it was pinned; None if nobody knows yet, and of other names.
        platforms: of an index, the images of these alone are kept, such as `linux/amd64`; empty: all of them.
        pattern: the name of the pattern's pin that this one follows from; empty if somebody named it.
        configured_by: a member in whose settings it stands; empty if somebody ordered it.
        made_unix_s: when, by the clock of its author, Unix time. It is shown, and is the age of what the tag means.
    """

    name: str
    version: int
    author: str
    copies: int
    is_removed: bool = False
    digest: Digest | None = None
    platforms: tuple[str, ...] = ()
    pattern: str = ""
    configured_by: str = ""
    made_unix_s: float = 0.0

    def replaces(self, other: "Record") -> bool:
        """Whether of two records of one name this one counts; of two equal ones neither replaces the other."""
        return self._rank() > other._rank()

    def _rank(self) -> tuple[int, str, bytes]:
        return self.version, self.author, encode([self])


def encode(records: Sequence[Record]) -> bytes:
    """Records as members exchange them."""
    return msgspec.msgpack.encode([_wire(record) for record in records])


def decode(payload: bytes, records_max: int) -> list[Record]:
    """Read what another member says, up to a number of records; what is none is dropped."""
    return [record for wire in read_note(payload, _Wire, records_max) if (record := _record(wire)) is not None]


def _wire(it: Record) -> _Wire:
    digest = "" if it.digest is None else str(it.digest)
    return _Wire(
        it.name, it.version, it.author, it.copies, it.is_removed, digest, it.platforms, it.pattern, it.configured_by,
        it.made_unix_s,
    )  # fmt: skip


def _record(wire: _Wire) -> Record | None:
    """What a member said, if it can be so."""
    try:
        digest = Digest.parse(wire.digest) if wire.digest else None
    except DigestInvalid:
        return None
    is_right = (
        0 < wire.version <= VERSION_MAX
        and is_member_name(wire.author)
        and (not wire.configured_by or is_member_name(wire.configured_by))
        and 0 <= wire.copies <= COPIES_MAX
        and are_platforms(wire.platforms)
        and 0 <= wire.made_unix_s < float("inf")
        and is_name(wire.name)
        and (not wire.pattern or is_name(wire.pattern))
    )
    if not is_right:
        return None
    return Record(
        name=wire.name,
        version=wire.version,
        author=wire.author,
        copies=wire.copies,
        is_removed=wire.is_removed,
        digest=digest,
        platforms=wire.platforms,
        pattern=wire.pattern,
        configured_by=wire.configured_by,
        made_unix_s=wire.made_unix_s,
    )
