"""Proofs: what is kept of a file whose digest was found right, so that parts of it can be checked by themselves.

A digest tells about a whole file only, and takes a second for each gigabyte. Beside it a proof has a fast checksum of
each block, so that a block that was read from a disk can be checked before it leaves. And it has the sha256 of
everything up to the end of each piece, by which other members check the pieces of this blob one by one as they come.

The checksums of blocks protect against disks, not against people: who can change a file can change its proof, too.
What a proof says of pieces is as good as the digest, and is told to other members. Pieces have a sha256 always, also
where the digest is a sha512.

Format of a record: eight bytes of magic, the size (8 bytes, big-endian), 8 bytes of xxh3_64 for each block, 32 bytes of
sha256 for each piece, and 16 bytes of xxh3_128 of all that, each big-endian as xxhash writes it.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import xxhash

from ..oci.digest import Algorithm, Digest
from ..oci.pieces import MEBIBYTE, piece_size

_MAGIC = b"skproof1"
_SIZE_BYTES, _BLOCK_SUM_BYTES, _PREFIX_BYTES, _OWN_SUM_BYTES = 8, 8, 32, 16
_HEAD_BYTES = len(_MAGIC) + _SIZE_BYTES

_BLOCK_MIN_BYTES = 256 * 1024
"""Bytes of a block: read in one go, within a core's cache, and 3 MB of checksums for a cache of 100 GB."""
_BLOCKS_MAX = 65_536
"""Bounds the blocks of one blob, and so its record, to 512 KiB beside its pieces: from 16 GiB on they are larger."""


def block_size(size: int) -> int:
    """The bytes of a block of a blob of `size` bytes; its last block may be shorter."""
    block = _BLOCK_MIN_BYTES
    while size > block * _BLOCKS_MAX:
        block *= 2
    return block


def block_count(size: int) -> int:
    """How many blocks a blob of `size` bytes has."""
    return -(-size // block_size(size))


def prefix_count(size: int) -> int:
    """How many whole pieces a blob of `size` bytes has: so many prefixes are in its proof."""
    return size // piece_size(size)


def record_bytes(size: int) -> int:
    """The length of the record of a blob of `size` bytes."""
    sums = block_count(size) * _BLOCK_SUM_BYTES + prefix_count(size) * _PREFIX_BYTES
    return _HEAD_BYTES + sums + _OWN_SUM_BYTES


@dataclass(frozen=True, slots=True)
class Proof:
    """What is kept of a file whose digest was found right.

    Args:
        size: of the file, in bytes.
        blocks: the xxh3_64 of each block, 8 bytes each, in order.
        prefixes: the sha256 of everything up to the end of each whole piece, in order; `prefix_count` of them. What
            follows the last whole piece is proven by the digest of the whole.
    """

    size: int
    blocks: bytes
    prefixes: tuple[bytes, ...]

    def block(self, number: int) -> bytes:
        """The checksum of one block."""
        return self.blocks[number * _BLOCK_SUM_BYTES : (number + 1) * _BLOCK_SUM_BYTES]

    def encode(self) -> bytes:
        """The record for a disk."""
        text = b"".join((_MAGIC, self.size.to_bytes(_SIZE_BYTES, "big"), self.blocks, *self.prefixes))
        return text + xxhash.xxh3_128_digest(text)

    @classmethod
    def read(cls, path: Path, size: int) -> "Proof | None":
        """Read the record of a blob of `size` bytes; blocks. None if it is damaged.

        Raises:
            OSError: there is none, or it cannot be read.
        """
        with path.open("rb") as file:
            return cls.decode(file.read(record_bytes(size) + 1), size)

    @classmethod
    def decode(cls, record: bytes, size: int) -> "Proof | None":
        """Read the record of a blob of `size` bytes; None if it is damaged, or belongs to another size."""
        text = record[:-_OWN_SUM_BYTES]
        head = _MAGIC + size.to_bytes(_SIZE_BYTES, "big")  # many sizes have records of one length
        is_right = len(record) == record_bytes(size) and text.startswith(head)
        if not is_right or xxhash.xxh3_128_digest(text) != record[-_OWN_SUM_BYTES:]:
            return None
        at = _HEAD_BYTES + block_count(size) * _BLOCK_SUM_BYTES
        prefixes = tuple(text[i : i + _PREFIX_BYTES] for i in range(at, len(text), _PREFIX_BYTES))
        return cls(size, text[_HEAD_BYTES:at], prefixes)


class ContentHasher:
    """Hashes content of a known size from its beginning, and makes its proof on the way.

    Args:
        size: of the whole, in bytes.
        algorithm: of its digest.
    """

    def __init__(self, size: int, algorithm: Algorithm = Algorithm.SHA256) -> None:
        self.position = 0
        """How many bytes were hashed."""
        self.prefixes: list[bytes] = []
        """The sha256 of everything up to the end of each whole piece so far."""
        self._size = size
        self._algorithm = algorithm
        self._piece = piece_size(size)
        self._block = block_size(size)
        self._sha256 = hashlib.sha256()
        self._other = None if algorithm is Algorithm.SHA256 else algorithm.begin()
        self._sum = xxhash.xxh3_64()
        self._sums = bytearray()

    def copy(self) -> "ContentHasher":
        """Another one that stands where this one stands."""
        other = ContentHasher(self._size, self._algorithm)
        other.position, other.prefixes = self.position, list(self.prefixes)
        other._sha256, other._sum, other._sums = self._sha256.copy(), self._sum.copy(), bytearray(self._sums)
        other._other = None if self._other is None else self._other.copy()
        return other

    def update(self, part: memoryview) -> None:
        """Hash the next bytes, in any cut. Other threads run meanwhile."""
        while part:
            end = min((self.position // self._block + 1) * self._block, self._size)
            piece_end = (self.position // self._piece + 1) * self._piece
            count = min(len(part), min(end, piece_end) - self.position)
            if not count:
                raise ValueError(f"more than the {self._size} bytes that were announced")
            self._sha256.update(part[:count])
            if self._other is not None:
                self._other.update(part[:count])
            self._sum.update(part[:count])
            self.position += count
            if self.position == end:
                self._sums += self._sum.digest()
                self._sum.reset()
            if self.position % self._piece == 0:
                self.prefixes.append(self._sha256.digest())
            part = part[count:]

    @property
    def sha256(self) -> bytes:
        """The sha256 of everything so far, by which pieces are compared."""
        return self._sha256.digest()

    @property
    def digest(self) -> Digest:
        """The digest of everything so far."""
        return Digest((self._sha256 if self._other is None else self._other).hexdigest())

    def proof(self) -> Proof:
        """The proof of the whole, once everything was hashed; whether its digest is right is the caller's to say."""
        if self.position != self._size:
            raise ValueError(f"{self.position} bytes of {self._size} were hashed")
        return Proof(self._size, bytes(self._sums), tuple(self.prefixes))


_STREAM_BLOCK_BYTES = _BLOCK_MIN_BYTES
_STREAM_PIECE_BYTES = MEBIBYTE
"""The smallest block and piece, in bytes: those of any size are made of whole ones."""


class StreamHasher:
    """Hashes content whose size is known at its end, and makes its proof on the way."""

    def __init__(self) -> None:
        self.position = 0
        """How many bytes were hashed."""
        self._sha256 = hashlib.sha256()
        self._sum = xxhash.xxh3_64()
        self._sums = bytearray()
        self._prefixes: list[bytes] = []
        """The sha256 of everything up to the end of each whole mebibyte."""

    def update(self, part: memoryview) -> None:
        """Hash the next bytes, in any cut. Other threads run meanwhile."""
        while part:
            count = min(len(part), _STREAM_BLOCK_BYTES - self.position % _STREAM_BLOCK_BYTES)
            self._sha256.update(part[:count])
            self._sum.update(part[:count])
            self.position += count
            if self.position % _STREAM_BLOCK_BYTES == 0:
                self._sums += self._sum.digest()
                self._sum.reset()
                if self.position % _STREAM_PIECE_BYTES == 0:
                    self._prefixes.append(self._sha256.digest())
            part = part[count:]

    @property
    def sha256(self) -> bytes:
        """The sha256 of everything so far."""
        return self._sha256.digest()

    def proof(self) -> Proof | None:
        """The proof of everything so far; whether its sha256 is right is the caller's to say.

        None of content whose blocks are larger than those that were summed: from 16 GiB on it is hashed once more.
        """
        size = self.position
        if block_size(size) != _STREAM_BLOCK_BYTES:
            return None
        last = self._sum.digest() if size % _STREAM_BLOCK_BYTES else b""
        step = piece_size(size) // _STREAM_PIECE_BYTES
        return Proof(size, bytes(self._sums) + last, tuple(self._prefixes[step - 1 :: step]))
