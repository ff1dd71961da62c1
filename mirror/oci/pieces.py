"""Pieces: how a blob is cut into the units in which it is transferred. It follows from its size, so nodes agree."""

MEBIBYTE = 1024 * 1024


def piece_size(size: int) -> int:
    """The bytes of a piece of a blob of `size` bytes; its last piece may be shorter.

    A 256th of the blob, rounded down to a power of two, 1 to 16 MiB; a blob up to 4 MiB is one piece.
    """
    if size <= 4 * MEBIBYTE:
        return 4 * MEBIBYTE
    return min(max(1 << (size // 256).bit_length() - 1, MEBIBYTE), 16 * MEBIBYTE)
