"""Content digests, as the OCI image specification defines them.

A `Digest` cannot be built malformed, so a path made from one can never leave its folder. The two algorithms that the
specification registers and that registries and runtimes know are supported; their digests differ in length, so the
hexadecimal digits alone name the content.

Source: OCI image-spec, descriptor.md, "Digests" and "Registered algorithms".
"""

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum

from ..errors import DigestInvalid

_DIGEST = re.compile(r"sha256:([a-f0-9]{64})|sha512:([a-f0-9]{128})")
_KEY_DIGITS = 64


class Algorithm(StrEnum):
    """What a digest is computed by."""

    SHA256 = "sha256"
    SHA512 = "sha512"

    @property
    def digits(self) -> int:
        """How many hexadecimal digits its digests have."""
        return 64 if self is Algorithm.SHA256 else 128

    def begin(self) -> "hashlib._Hash":
        """A hash of nothing yet."""
        return hashlib.sha256() if self is Algorithm.SHA256 else hashlib.sha512()


_OF_DIGITS = {algorithm.digits: algorithm for algorithm in Algorithm}
_PREFIXES = {algorithm.digits: f"{algorithm}:" for algorithm in Algorithm}


@dataclass(frozen=True, slots=True)
class Digest:
    """The digest of some content.

    Args:
        hex: lower-case hexadecimal digits: 64 of sha256, or 128 of sha512. Use `parse` for text from outside.
    """

    hex: str

    @classmethod
    def parse(cls, text: str) -> "Digest":
        """Read `sha256:<64 hex digits>` or `sha512:<128 hex digits>`; raise DigestInvalid for anything else."""
        match = _DIGEST.fullmatch(text)
        if match is None:
            raise DigestInvalid(
                f"digest {text[:100]!r} is neither sha256: and 64 nor sha512: and 128 lower-case hexadecimal digits"
            )
        return cls(match[1] or match[2])

    @classmethod
    def of(cls, content: bytes, algorithm: Algorithm = Algorithm.SHA256) -> "Digest":
        """Compute the digest of some content."""
        hashed = algorithm.begin()
        hashed.update(content)
        return cls(hashed.hexdigest())

    def matches(self, content: bytes) -> bool:
        """Whether it is the digest of some content."""
        return Digest.of(content, self.algorithm) == self

    @property
    def algorithm(self) -> Algorithm:
        """What it was computed by."""
        return _OF_DIGITS[len(self.hex)]

    @property
    def is_of_nothing(self) -> bool:
        """Whether it is that of the only content that has no bytes, whatever anybody says of another."""
        return self.hex in _OF_NOTHING

    @property
    def key(self) -> bytes:
        """The 32 bytes under which the cluster's directory knows this content: of a sha512 the first half.

        As many bytes of sha512 are as hard to forge as a sha256, and no shorter text means the same content.
        """
        return bytes.fromhex(self.hex[:_KEY_DIGITS])

    def __str__(self) -> str:
        return _PREFIXES[len(self.hex)] + self.hex


_OF_NOTHING = {Digest.of(b"", algorithm).hex for algorithm in Algorithm}
