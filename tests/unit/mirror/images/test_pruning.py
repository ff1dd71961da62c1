"""What goes when an operator prunes: whole images, what was used longest ago first; never what is pinned or read."""

from collections.abc import Collection, Iterable

import pytest

from mirror.images.inventory import HeldImage, Survey
from mirror.images.pruning import Plan, Rule, delete, prune
from mirror.oci.digest import Digest
from mirror.stores import Kept

NOW = 1_000_000.0
BASE, OLD, OLD_LAYER, NEW, NEW_LAYER, LONE = (Digest.of(bytes([it])) for it in range(6))


def kept(*digests: Digest, used_unix_s: float = NOW, read: Collection[Digest] = ()) -> list[Kept]:
    return [Kept(digest, 10, used_unix_s, digest in read) for digest in digests]


def image(reference: str, *contents: Digest, used_unix_s: float = NOW, store: str = "cache") -> HeldImage:
    return HeldImage(reference, contents[0], 0, 1, 1, used_unix_s, (store,), frozenset(contents))


OLD_IMAGE = image("docker.io/a:1", OLD, OLD_LAYER, BASE, used_unix_s=NOW - 1000)
NEW_IMAGE = image("docker.io/b:1", NEW, NEW_LAYER, BASE, used_unix_s=NOW - 10)
BOTH = Survey([OLD_IMAGE, NEW_IMAGE], kept(BASE, OLD, OLD_LAYER, NEW, NEW_LAYER))


def gone(plan: Plan) -> set[Digest]:
    return {blob.digest for blob in plan.blobs}


def pruned(survey: Survey, rule: Rule, pinned: Iterable[Digest] = ()) -> Plan:
    return prune(survey, rule, NOW, set(pinned).__contains__)


def test_an_image_that_nobody_used_for_long_goes_but_what_another_one_has_too_stays() -> None:
    plan = pruned(BOTH, Rule(unused_s=100))
    assert (gone(plan), plan.images, plan.bytes) == ({OLD, OLD_LAYER}, [OLD_IMAGE], 20)


@pytest.mark.parametrize(
    ("keep", "expected"), [(50, set()), (49, {OLD, OLD_LAYER}), (29, {OLD, OLD_LAYER, NEW, NEW_LAYER, BASE})]
)
def test_of_what_is_too_much_whole_images_go_the_oldest_first(keep: int, expected: set[Digest]) -> None:
    assert gone(pruned(BOTH, Rule(keep_bytes=keep))) == expected


def test_a_layer_that_was_read_a_moment_ago_does_not_keep_an_old_image() -> None:
    survey = Survey([OLD_IMAGE], [*kept(OLD, OLD_LAYER, used_unix_s=NOW - 1000), *kept(BASE)])
    assert gone(pruned(survey, Rule(unused_s=100))) == {OLD, OLD_LAYER, BASE}


def test_what_belongs_to_no_image_goes_by_its_own_last_use() -> None:
    survey = Survey([], [*kept(LONE, used_unix_s=NOW - 1000), *kept(BASE)])
    assert gone(pruned(survey, Rule(unused_s=100))) == {LONE}


def test_copies_of_what_a_runtime_has_go_by_their_own_last_use() -> None:
    runtimes = image("docker.io/a:1", OLD, BASE, used_unix_s=0.0, store="containerd")
    assert gone(pruned(Survey([runtimes], kept(OLD, BASE)), Rule(unused_s=100))) == set()


def test_what_is_pinned_or_read_never_goes_and_is_counted() -> None:
    survey = Survey([OLD_IMAGE], kept(BASE, OLD, OLD_LAYER, read={OLD_LAYER}))
    plan = pruned(survey, Rule(unused_s=100, keep_bytes=0), pinned={OLD})
    assert (gone(plan), plan.pinned, plan.read, plan.images) == ({BASE}, 1, 1, [])


def test_without_a_reason_nothing_goes() -> None:
    assert gone(pruned(BOTH, Rule())) == set()


def test_with_an_image_goes_what_no_other_one_has() -> None:
    assert gone(delete(BOTH, [NEW_IMAGE])) == {NEW, NEW_LAYER}
    assert gone(delete(BOTH, [NEW_IMAGE, OLD_IMAGE])) == {NEW, NEW_LAYER, OLD, OLD_LAYER, BASE}
    again = image("docker.io/b:2", NEW, NEW_LAYER, BASE)
    assert gone(delete(Survey([*BOTH.images, again], BOTH.kept), [NEW_IMAGE])) == set(), "another tag means it as well"
