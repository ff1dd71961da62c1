"""Content digests, as the OCI image specification defines them.

A `Digest` cannot be built malformed, so a path made from one can never leave its folder. Only sha256 is supported:
registries and runtimes use it, and its 32 bytes are also the key under which the cluster knows the content.

Source: OCI image-spec, descriptor.md, "Digests".
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from ..errors import DigestInvalid

_DIGEST = re.compile(r"sha256:([a-f0-9]{64})")


@dataclass(frozen=True, slots=True)
class Digest:
    """The sha256 of some content.

    Args:
        hex: 64 lower-case hexadecimal digits. Use `parse` for text from outside.
    """

    hex: str

    @classmethod
    def parse(cls, text: str) -> "Digest":
        """Read `sha256:<64 hex digits>`; raise DigestInvalid for anything else."""
        match = _DIGEST.fullmatch(text)
        if match is None:
            raise DigestInvalid(f"digest {text[:100]!r} is not sha256: and 64 lower-case hexadecimal digits")
        return cls(match[1])

    @classmethod
    def of(cls, content: bytes) -> "Digest":
        """Compute the digest of some content."""
        return cls(hashlib.sha256(content).hexdigest())

    @property
    def key(self) -> bytes:
        """The 32 bytes under which the cluster's directory knows this content."""
        return bytes.fromhex(self.hex)

    def __str__(self) -> str:
        return f"sha256:{self.hex}"


EMPTY: Final = Digest.of(b"")
"""The only content that has no bytes, whatever anybody says of another."""
