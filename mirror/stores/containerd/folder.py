"""containerd's content directory, as far as this process may read it.

A blob is a file named by its digest. containerd's metadata and the file may differ: a file is removed a moment after
its entry, and a power failure can leave a file too short, or empty. So a file counts only if it opens and has the size
that containerd says.

Source: containerd, plugins/content/local/store.go (blobs/<algorithm>/<hex>).
"""

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...oci.digest import Digest
from ..checking import Identity


@dataclass(frozen=True, slots=True)
class ContentFolder:
    """Where containerd keeps content.

    Args:
        root: the content store's own root, e.g. `/var/lib/containerd/io.containerd.content.v1.content`.
    """

    root: Path

    def open(self, digest: Digest, size: int) -> int:
        """Open a blob's file for reading.

        Args:
            digest: of the blob.
            size: in bytes, as containerd says.

        Returns:
            A file descriptor, which the caller closes.

        Raises:
            OSError: the file is gone, may not be read, or has another size (EIO).
        """
        path = self._blobs / digest.algorithm / digest.hex
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        found = os.fstat(fd).st_size
        if found == size and (size or digest.is_of_nothing):
            return fd
        os.close(fd)
        raise OSError(errno.EIO, f"has {found} bytes where containerd says {size}", str(path))

    def openable(
        self, sizes: Mapping[Digest, int], broken: Mapping[Digest, Identity]
    ) -> tuple[dict[Digest, int], dict[Digest, OSError]]:
        """Find out which blobs can be opened, by opening them. Call it in a thread: there may be thousands.

        Args:
            sizes: of the blobs.
            broken: files that were found damaged, as they were then; one that has not changed since is left out.

        Returns:
            Those that can, with their sizes; and why others cannot.
        """
        opened: dict[Digest, int] = {}
        errors: dict[Digest, OSError] = {}
        for digest, size in sizes.items():
            try:
                fd = self.open(digest, size)
                try:
                    is_broken = digest in broken and Identity.of(fd) == broken[digest]
                finally:
                    os.close(fd)
            except OSError as error:
                errors[digest] = error
            else:
                if not is_broken:
                    opened[digest] = size
        return opened, errors

    def is_unreadable(self, error: OSError) -> bool:
        """Whether an error means that this process cannot read the folder at all, and not just this file."""
        return isinstance(error, PermissionError) or not os.path.isdir(self._blobs)

    @property
    def _blobs(self) -> Path:
        return self.root / "blobs"
