"""Records: the proofs of the cache's blobs, a small file each.

A record belongs to a digest, whichever file holds the content. It is written, and deleted with its blob, in turn: so
none is left of a blob that is gone.
"""

import contextlib
import logging
import os
from collections.abc import Callable

from ...oci.digest import Digest
from ..proofs import Proof, record_bytes
from .folder import Folder

log = logging.getLogger(__name__)


class ProofRecords:
    """The `checking.Records` of one cache.

    Args:
        folder: where the files are.
        is_here: whether the cache has a blob, by the hex of its digest.
    """

    def __init__(self, folder: Folder, is_here: Callable[[str], bool]) -> None:
        self._folder = folder
        self._is_here = is_here

    def load(self, digest: Digest, size: int) -> Proof | None:
        """The proof of a blob; None if there is no record, or it is damaged. Blocks."""
        path = self._folder.proof(digest.hex)
        try:
            with path.open("rb") as file:
                record = file.read(record_bytes(size) + 1)
        except OSError:
            return None
        proof = Proof.decode(record, size)
        if proof is None:
            log.warning("%s is no proof of a blob of %d bytes: the blob is hashed once more", path, size)
        return proof

    def save(self, digest: Digest, proof: Proof) -> None:
        """Keep the proof of a blob that is here, in a thread; called on the event loop."""
        if self._is_here(digest.hex):
            self._folder.in_turn(lambda: self._write(digest, proof))

    def _write(self, digest: Digest, proof: Proof) -> None:
        """Write a record by one rename; on a disk that does not take it, the next start hashes the blob once more."""
        path = self._folder.proof(digest.hex)
        new = path.with_suffix(".new")
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(fd, "wb") as file:
                file.write(proof.encode())
            new.replace(path)
