"""Records: the proofs of the cache's blobs, a small file each.

A record belongs to a digest, whichever file holds the content, so it may outlive the blob: the next copy has the same.
"""

import contextlib
import logging
import os

from ...oci.digest import Digest
from ..proofs import Proof, record_bytes
from .folder import Folder

log = logging.getLogger(__name__)


class ProofRecords:
    """The `checking.Records` of one cache. The methods block.

    Args:
        folder: where the files are.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def load(self, digest: Digest, size: int) -> Proof | None:
        """The proof of a blob; None if there is no record, or it is damaged."""
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
        """Keep a proof by one rename; on a disk that does not take it, the next start hashes the blob once more."""
        path = self._folder.proof(digest.hex)
        new = path.with_suffix(".new")
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(fd, "wb") as file:
                file.write(proof.encode())
            new.replace(path)
