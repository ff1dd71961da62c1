"""Who refers to whom, of what is held: what is told to the cluster, and what is forgotten with the content."""

from collections.abc import Collection
from typing import TYPE_CHECKING, cast

from mirror.images.referrer_index import ReferrerIndex, key_of
from mirror.oci.digest import Digest
from mirror.oci.manifest import OCI_MANIFEST, Outline

if TYPE_CHECKING:
    from mirror.images.holdings import Holdings

SUBJECT = Digest.of(b"subject")
ONE, TWO = Digest.of(b"1"), Digest.of(b"2")


class Shelf:
    """What a test says is held, and what the index tells."""

    def __init__(self, *held: Digest) -> None:
        self.held = set(held)
        self.told: set[bytes] = set()

    def has(self, digest: Digest) -> bool:
        return digest in self.held

    def appeared(self, keys: Collection[bytes]) -> None:
        assert self.told.isdisjoint(keys)
        self.told.update(keys)

    def vanished(self, keys: Collection[bytes]) -> None:
        assert self.told.issuperset(keys)
        self.told.difference_update(keys)


def made(*held: Digest) -> tuple[ReferrerIndex, Shelf]:
    shelf = Shelf(*held)
    return ReferrerIndex(cast("Holdings", shelf)), shelf


def named(index: ReferrerIndex, subject: Digest = SUBJECT) -> list[str]:
    return [row["digest"] for row in index.of(subject)]


def test_what_is_held_is_known_as_long_as_it_is_held_and_the_cluster_is_told_once() -> None:
    index, shelf = made(ONE, TWO)
    for digest in (ONE, TWO, ONE):
        index.note(digest, 1, Outline(OCI_MANIFEST, (), subject=SUBJECT))
    assert named(index) == [str(TWO), str(ONE)]
    assert shelf.told == {key_of(SUBJECT)}
    shelf.held.remove(ONE)
    assert named(index) == [str(TWO)]
    shelf.held.clear()
    assert named(index) == []
    assert shelf.told == set()


def test_what_is_not_held_or_refers_to_nothing_is_not_noted() -> None:
    index, shelf = made(ONE)
    index.note(TWO, 1, Outline(OCI_MANIFEST, (), subject=SUBJECT))
    index.note(ONE, 1, Outline(OCI_MANIFEST, ()))
    assert named(index) == []
    assert shelf.told == set()


def test_subjects_and_referrers_are_bounded_and_the_oldest_go() -> None:
    many = [Digest.of(str(number).encode()) for number in range(300)]
    index, _ = made(*many)
    for digest in many:
        index.note(digest, 1, Outline(OCI_MANIFEST, (), subject=SUBJECT))
    assert named(index) == [str(digest) for digest in many[44:]]
