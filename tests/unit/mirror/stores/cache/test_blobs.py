"""Complete blobs: which of them go first, for whom, and what is counted."""

from mirror.oci.digest import Algorithm, Digest
from mirror.stores.cache.blobs import Blobs, Withheld

A, B, C = "abc"


class Clock:
    """Unix time that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def made() -> tuple[Blobs, Clock]:
    clock = Clock()
    return Blobs(100.0, clock), clock


def order(blobs: Blobs) -> list[str]:
    return list(blobs)


def test_the_least_recently_used_goes_first_and_what_is_spare_before_it() -> None:
    blobs, _ = made()
    for name in (A, B):
        blobs.add(name, 10, 1000.0)
    blobs.add(C, 5, None)
    assert (blobs.bytes, blobs.spare_bytes, order(blobs)) == (25, 5, [C, A, B])
    blobs.use(A)
    assert order(blobs) == [C, B, A]
    blobs.spare(A)
    assert order(blobs) == [A, C, B], "it goes before what is spare already"
    assert blobs.spare_bytes == 15
    blobs.use_here(C)
    assert (order(blobs), blobs.spare_bytes) == ([A, B, C], 10)
    blobs.remove(A)
    blobs.remove("unknown")
    assert (blobs.bytes, blobs.spare_bytes, len(blobs), A in blobs) == (15, 0, 2, False)


def test_blobs_are_found_by_the_keys_of_the_cluster_whatever_their_digests() -> None:
    blobs, _ = made()
    short, long, gone = (Digest.of(b"1"), Digest.of(b"2", Algorithm.SHA512), Digest.of(b"3", Algorithm.SHA512))
    for digest in (short, long, gone):
        blobs.add(digest.hex, 10, 1000.0)
    blobs.remove(gone.hex)
    keys = [short.key, long.key, gone.key, bytes(32)]
    assert list(blobs.named(keys)) == [short.hex, long.hex]


def test_for_others_only_what_is_spare_or_was_not_used_lately_goes() -> None:
    blobs, clock = made()
    blobs.add(A, 10, 1000.0)
    assert blobs.first_to_go(for_others=True) is None
    assert blobs.first_to_go(for_others=False) == A
    clock.now += 101
    assert blobs.first_to_go(for_others=True) == A
    assert blobs.first_to_go(for_others=True, spare_only=True) is None
    blobs.use_here(A)
    assert blobs.first_to_go(for_others=True) is None
    blobs.add(B, 1, None)
    assert blobs.first_to_go(for_others=True, spare_only=True) == B


def test_what_is_withheld_counts_and_is_not_served() -> None:
    blobs, _ = made()
    blobs.add(A, 10, 1000.0, Withheld.UNPROVEN)
    assert (blobs.size(A), blobs.size_on_disk(A), blobs.bytes) == (None, 10, 10)
    assert blobs.withheld == {"unproven": 1, "unreadable": 0}
    blobs.release(A)
    assert blobs.size(A) == 10
    blobs.withhold(A, Withheld.UNREADABLE)
    assert (blobs.size(A), blobs.why_withheld(A)) == (None, "unreadable")
    blobs.add(A, 12, 1000.0)
    assert (blobs.size(A), blobs.bytes) == (12, 12), "a new copy is served"
    assert blobs.withheld == {"unproven": 0, "unreadable": 0}
