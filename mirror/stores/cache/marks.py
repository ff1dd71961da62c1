"""Marks on disk: a small file beside each blob that needed credentials where it came from.

A mark is forced to the disk before the first byte of its blob is written, and deleted after the blob. So whatever
happens, no blob outlives its mark. A mark that is damaged says nothing, so its blob goes at the next start.
"""

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

import xxhash

from ...errors import StorageFull
from ...fileio import read_small, replace, sync_folder
from ...oci.digest import Digest
from ..marks import Mark, Marks
from .folder import Folder, marks_in

log = logging.getLogger(__name__)

_FILE_MAX_BYTES = 64 * 1024
"""Bounds a mark's file, in bytes: 32 names with at most 512 characters each."""


class MarkFiles:
    """Keeps the marks of one cache.

    Args:
        folder: where the files are.
        marks: all marks of the node.
    """

    def __init__(self, folder: Folder, marks: Marks) -> None:
        self._folder = folder
        self._marks = marks

    def start(self) -> list[str]:
        """Read all marks; return the names of the blobs whose marks are damaged. Blocks, before anything is served."""
        damaged = []
        for path in marks_in(self._folder.private):
            mark = _read(path)
            if mark is None:
                log.warning("%s is damaged: whoever may have its blob is not known, so that goes", path)
                damaged.append(path.name)
            else:
                self._marks.restore(path.name, mark)
        return damaged

    def follow(self, has: Callable[[Digest], bool]) -> None:
        """Write from now on what becomes known of the marks of blobs that are kept; `has`: whether one is complete."""
        self._marks.follow(self._changed, has)

    def admit(self, digest: Digest) -> None:
        """Raise StorageFull for content that is to be kept nowhere."""
        if not self._marks.may_be_kept(digest):
            raise StorageFull("it is private, and its policy is off")

    def of(self, digest: Digest) -> Mark | None:
        """The mark of a blob that is about to be written, if it has one; `write` is to keep it."""
        return self._marks.keep(digest)

    def write(self, digest: Digest, mark: Mark) -> None:
        """Have a mark on the disk before the first byte of its blob, whose file is there. Blocks.

        Raises:
            OSError: the disk does not take it; then the blob must not be kept.
        """
        _write(self._folder.mark(digest.hex), mark)

    def _changed(self, digest: Digest, mark: Mark) -> None:
        """More is known than before: what is on the disk is as strict at least until this is there."""
        self._folder.in_turn(lambda: self._rewrite(digest.hex, mark))

    def _rewrite(self, name: str, mark: Mark) -> None:
        path = self._folder.mark(name)
        with contextlib.suppress(OSError):
            if path.exists() or self._folder.partial(name).exists() or self._folder.blob(name).exists():
                _write(path, mark)


def _read(path: Path) -> Mark | None:
    """What a file says; None if it is damaged, or cannot be read."""
    try:
        content, _ = read_small(path, _FILE_MAX_BYTES)
        checksum, _, text = content.decode("ascii").partition(" ")
    except (OSError, ValueError):
        return None
    return Mark.parse(text) if checksum == xxhash.xxh3_64_hexdigest(text.encode()) else None


def _write(path: Path, mark: Mark) -> None:
    """Write a mark, and return when that and its folder are on the disk."""
    text = mark.write()
    path.parent.mkdir(exist_ok=True)
    replace(path, f"{xxhash.xxh3_64_hexdigest(text.encode())} {text}".encode(), durably=True)
    sync_folder(path.parent.parent)
