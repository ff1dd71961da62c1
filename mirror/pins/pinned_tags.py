"""What pinned tags mean, for when no registry says it: every member knows all pins, so no death makes a tag unknown.

It counts as the word of somebody who was there when the tag was pinned, and never as fresh.
"""

from collections.abc import Callable, Collection, Iterable

from ..oci.digest import Digest
from ..oci.reference import Reference, Repository
from ..stores import Held, Listener, Tag
from .records import Record


class PinnedTags:
    """For this node's holdings it is a store that has tags alone. It offers nothing to others: they know it as well."""

    name = "pins"

    def __init__(self) -> None:
        self._record: Callable[[str], Record | None] = lambda name: None

    def follow(self, record: Callable[[str], Record | None]) -> None:
        """Answer from these records, by name, from now on."""
        self._record = record

    async def start(self, listener: Listener) -> None:
        """Report nothing."""

    async def close(self) -> None:
        """Do nothing."""

    def open(self, digest: Digest) -> Held | None:
        """Nothing: it has tags alone."""
        return None

    def tag(self, reference: Reference) -> Tag | None:
        """What a tag meant when it was pinned, if it is."""
        record = self._record(str(reference))
        if record is None or record.is_removed or record.digest is None:
            return None
        return Tag(record.digest, record.made_unix_s, "pinned")

    def references(self) -> Iterable[Reference]:
        """None: what is pinned and not here is no image of this node."""
        return ()

    def tags_of(self, repository: Repository) -> list[str]:
        """None, as for `references`."""
        return []

    def mark_redundant(self, keys: Collection[bytes]) -> None:
        """Do nothing."""
