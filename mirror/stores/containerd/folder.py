"""containerd's content directory, as far as this process may read it.

A blob is a file named by its digest. containerd's metadata and the file may differ: a file is removed a moment after
its entry, and a power failure can leave a file too short. So a file counts only if it opens and has the size that
containerd says.

Source: containerd, plugins/content/local/store.go (blobs/<algorithm>/<hex>).
"""

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ContentFolder:
    """Where containerd keeps content.

    Args:
        root: the content store's own root, e.g. `/var/lib/containerd/io.containerd.content.v1.content`.
    """

    root: Path

    def open(self, key: bytes, size: int) -> int:
        """Open a blob's file for reading.

        Args:
            key: the 32 bytes of its sha256.
            size: in bytes, as containerd says.

        Returns:
            A file descriptor, which the caller closes.

        Raises:
            OSError: the file is gone, may not be read, or has another size (EIO).
        """
        path = self._blobs / key.hex()
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        found = os.fstat(fd).st_size
        if found != size:
            os.close(fd)
            raise OSError(errno.EIO, f"has {found} bytes where containerd says {size}", str(path))
        return fd

    def openable(self, sizes: Mapping[bytes, int]) -> tuple[dict[bytes, int], OSError | None]:
        """Find out which blobs can be opened, by opening them. Call it in a thread: there may be thousands.

        Returns:
            Those that can, with their sizes; and the error of the first that cannot.
        """
        opened: dict[bytes, int] = {}
        first_error: OSError | None = None
        for key, size in sizes.items():
            try:
                os.close(self.open(key, size))
            except OSError as error:
                first_error = first_error or error
            else:
                opened[key] = size
        return opened, first_error

    def is_unreadable(self, error: OSError) -> bool:
        """Whether an error means that this process cannot read the folder at all, and not just this file."""
        return isinstance(error, PermissionError) or not os.path.isdir(self._blobs)

    @property
    def _blobs(self) -> Path:
        return self.root / "blobs" / "sha256"
