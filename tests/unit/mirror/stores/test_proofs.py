"""Proofs: the same whatever the cut, exact about pieces and blocks, and nothing but what was written."""

import hashlib
import random

import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.oci.pieces import MEBIBYTE, piece_size
from mirror.stores.proofs import (
    ContentHasher,
    Proof,
    StreamHasher,
    block_count,
    block_size,
    prefix_count,
    record_bytes,
)

KIB = 1024
BLOB = random.Random(1).randbytes(5 * MEBIBYTE + 100)


def hashed(blob: bytes, cut: int = MEBIBYTE) -> ContentHasher:
    hasher, view = ContentHasher(len(blob)), memoryview(blob)
    for start in range(0, len(blob), cut):
        hasher.update(view[start : start + cut])
    return hasher


@pytest.mark.parametrize("size", [0, 1, 256 * KIB, 256 * KIB + 1, 4 * MEBIBYTE, len(BLOB)])
def test_a_proof_has_the_checksum_of_every_block_and_the_sha256_at_the_end_of_every_whole_piece(size: int) -> None:
    blob, unit = BLOB[:size], piece_size(size)
    proof = hashed(blob).proof()
    assert proof.blocks == b"".join(
        xxhash.xxh3_64_digest(blob[start : start + 256 * KIB]) for start in range(0, size, 256 * KIB)
    )
    ends = range(unit, size + 1, unit)
    assert list(proof.prefixes) == [hashlib.sha256(blob[:end]).digest() for end in ends]
    assert (len(proof.blocks), len(proof.prefixes)) == (8 * block_count(size), prefix_count(size))
    assert hashed(blob).sha256 == hashlib.sha256(blob).digest()


@settings(max_examples=20)
@given(st.integers(1, 3 * MEBIBYTE))
def test_the_cut_in_which_bytes_come_makes_no_difference(cut: int) -> None:
    assert hashed(BLOB, max(cut, 10_000)).proof() == hashed(BLOB, len(BLOB)).proof()


def test_a_copy_goes_on_by_itself() -> None:
    first = ContentHasher(len(BLOB))
    first.update(memoryview(BLOB)[:300_000])
    other = first.copy()
    other.update(memoryview(bytes(1_000_000)))
    first.update(memoryview(BLOB)[300_000:])
    assert first.proof() == hashed(BLOB).proof()
    assert other.position == 1_300_000


def test_what_is_not_whole_has_no_proof_and_more_than_the_whole_is_refused() -> None:
    hasher = ContentHasher(10)
    hasher.update(memoryview(b"123456789"))
    with pytest.raises(ValueError, match="9 bytes of 10"):
        hasher.proof()
    with pytest.raises(ValueError, match="more than the 10 bytes"):
        hasher.update(memoryview(b"01"))


def test_a_record_is_read_as_it_was_written_and_only_for_its_size() -> None:
    proof = hashed(BLOB).proof()
    record = proof.encode()
    assert len(record) == record_bytes(len(BLOB))
    assert Proof.decode(record, len(BLOB)) == proof
    assert Proof.decode(record, len(BLOB) + 1) is None
    assert Proof.decode(b"", 0) is None
    assert Proof.decode(hashed(b"").proof().encode(), 0) == Proof(0, b"", ())


@given(st.data())
def test_a_record_with_any_byte_changed_or_missing_is_none(data: st.DataObject) -> None:
    record = bytearray(hashed(BLOB[: 600 * KIB]).proof().encode())
    at = data.draw(st.integers(0, len(record) - 1))
    changed = bytearray(record)
    changed[at] ^= data.draw(st.integers(1, 255))
    assert Proof.decode(bytes(changed), 600 * KIB) is None
    assert Proof.decode(bytes(record[:at]), 600 * KIB) is None


@pytest.mark.parametrize("size", [16 << 30, 17 << 30, 1 << 40, 1 << 44])
def test_blocks_are_bounded_however_large_the_blob(size: int) -> None:
    assert block_count(size) <= 65_536
    assert record_bytes(size) < MEBIBYTE + 32 * prefix_count(size)
    assert block_size(size) % (256 * KIB) == 0


@pytest.mark.parametrize("size", [0, 1, 256 * KIB, 256 * KIB + 1, 4 * MEBIBYTE, 4 * MEBIBYTE + 1, len(BLOB)])
def test_who_learns_the_size_at_the_end_makes_the_same_proof(size: int) -> None:
    hasher, view = StreamHasher(), memoryview(BLOB[:size])
    for start in range(0, size, 700_001):
        hasher.update(view[start : start + 700_001])
    assert (hasher.position, hasher.sha256) == (size, hashlib.sha256(BLOB[:size]).digest())
    assert hasher.proof() == hashed(BLOB[:size]).proof()


def test_what_is_larger_than_its_blocks_were_summed_for_has_no_proof() -> None:
    hasher = StreamHasher()
    hasher.position = 16 * KIB * MEBIBYTE + 1
    assert hasher.proof() is None
