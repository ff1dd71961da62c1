"""Which images are pinned, by the names under which they are shown."""

from collections.abc import Iterable

from ..oci.digest import Digest
from ..pins.records import ALL, Record


class PinnedImages:
    """What is pinned at one moment.

    Args:
        pins: the records.
    """

    def __init__(self, pins: Iterable[Record]) -> None:
        self._by_tag: dict[str, tuple[str, int]] = {}
        self._by_digest: dict[str, int] = {}
        for record in pins:
            if record.digest is not None:
                self._by_tag[record.name] = str(record.digest), record.copies
            else:  # a digest, alone or behind a repository; a pattern is in no image's name
                self._by_digest[record.name.rpartition("@")[2]] = record.copies

    def copies(self, reference: str | None, digest: str | Digest) -> int | str | None:
        """On how many members an image is to be kept, or on `all`; None if it is not pinned."""
        text = str(digest)
        meaning, copies = self._by_tag.get(reference or "", ("", 0))
        wanted = copies if meaning == text else self._by_digest.get(text)
        return "all" if wanted == ALL else wanted
