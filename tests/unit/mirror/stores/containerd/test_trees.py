"""Which content belongs to which image."""

import pytest

from mirror.oci.digest import Digest
from mirror.stores.containerd.messages import decode_blobs
from mirror.stores.containerd.trees import Trees
from tests.unit.mirror.stores.containerd.test_messages import DIGEST, field

INDEX, OTHER_INDEX, MANIFEST, CONFIG, SHARED, LAYER, ABSENT = (Digest.of(bytes([number])) for number in range(7))
REFERS_TO = {
    INDEX: (str(ABSENT), str(MANIFEST), "no digest"),
    MANIFEST: (str(CONFIG), str(SHARED), str(LAYER)),
    OTHER_INDEX: (str(SHARED),),
}
CONTENT = dict.fromkeys([INDEX, OTHER_INDEX, MANIFEST, CONFIG, SHARED, LAYER], 1)


@pytest.fixture
def trees() -> Trees:
    return Trees([str(INDEX), str(OTHER_INDEX), str(ABSENT), "no digest"], REFERS_TO, CONTENT)


def test_an_image_has_what_is_here_of_what_it_refers_to_the_nearest_first(trees: Trees) -> None:
    assert trees.of(INDEX, 10) == (INDEX, MANIFEST, CONFIG, SHARED, LAYER)
    assert trees.of(INDEX, 2) == (INDEX, MANIFEST)


@pytest.mark.parametrize(
    ("digest", "images"),
    [
        (INDEX, [INDEX]),
        (MANIFEST, [INDEX]),
        (LAYER, [INDEX]),
        (SHARED, [OTHER_INDEX, INDEX]),
        (ABSENT, []),
        (Digest.of(b"of nobody"), []),
    ],
)
def test_content_belongs_to_the_images_that_refer_to_it(trees: Trees, digest: Digest, images: list[Digest]) -> None:
    assert trees.with_content(digest, 10) == images
    assert trees.with_content(digest, 1) == images[:1]


def test_an_image_that_was_removed_has_no_name_and_its_content_belongs_to_none() -> None:
    trees = Trees([str(OTHER_INDEX)], REFERS_TO, CONTENT)
    assert (trees.has(OTHER_INDEX), trees.has(INDEX)) == (True, False)
    assert trees.with_content(LAYER, 10) == []
    assert Trees().with_content(LAYER, 10) == []


def test_labels_that_lead_in_a_circle_lead_to_each_once() -> None:
    trees = Trees([str(INDEX)], {INDEX: (str(MANIFEST),), MANIFEST: (str(INDEX), str(MANIFEST))}, CONTENT)
    assert trees.of(INDEX, 10) == (INDEX, MANIFEST)
    assert trees.with_content(MANIFEST, 10) == [INDEX]


def test_only_labels_that_name_content_lead_to_content() -> None:
    keys = ["", ".config", ".l.0", "/x"]
    named = [f"containerd.io/gc.ref.content{key}" for key in keys]
    others = ["containerd.io/gc.ref.snapshot.overlayfs", "containerd.io/gc.ref.contents", "containerd.io/uncompressed"]
    labels = b"".join(field(5, field(1, key) + field(2, key)) for key in [*named, *others])
    (blob,) = decode_blobs(field(1, field(1, DIGEST) + labels))
    assert blob.refers_to == tuple(named)
