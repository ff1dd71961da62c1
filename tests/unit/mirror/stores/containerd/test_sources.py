"""Under which names containerd pulled its content: one name is believed, of several none."""

from mirror.oci.digest import Digest
from mirror.stores.containerd.messages import Blob, decode_blobs
from mirror.stores.containerd.sources import Sources
from mirror.stores.marks import Mark

DIGEST = Digest.of(b"x")
APP, EVIL = "registry.example:5000/team/app", "docker.io/library/evil"


def read(sources: Sources, *labels: tuple[str, str]) -> bool:
    with sources.listing() as takes:
        return takes(DIGEST, Blob(str(DIGEST), 1, labels))


def field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2, len(content)]) + content


def test_labels_are_read_from_the_wire() -> None:
    label = field(1, b"containerd.io/distribution.source.docker.io") + field(2, b"library/a,library/b")
    other = field(1, b"containerd.io/gc.ref.content") + field(2, b"x")
    (blob,) = decode_blobs(field(1, field(1, b"sha256:1") + field(5, label) + field(5, other)))
    assert blob.sources == (("docker.io", "library/a,library/b"),)


def test_one_name_is_that_of_the_pull_that_brought_the_content() -> None:
    sources = Sources()
    assert read(sources, ("registry.example:5000", "team/app"))
    assert sources.of(DIGEST) == Mark(frozenset({APP}))


def test_of_several_names_none_is_believed() -> None:
    sources = Sources()
    read(sources, ("registry.example:5000", "team/app"), ("docker.io", "library/evil"))
    assert sources.of(DIGEST) == Mark(claimed=frozenset({APP, EVIL}))


def test_what_was_imported_has_no_mark_and_what_has_no_valid_name_an_empty_one() -> None:
    sources = Sources()
    assert read(sources)
    assert sources.of(DIGEST) is None
    read(sources, ("registry.example", "NO NAME"))
    assert sources.of(DIGEST) == Mark()


def test_what_is_not_offered_is_left_out_and_a_listing_forgets_what_is_gone() -> None:
    sources = Sources(lambda names: EVIL not in names)
    assert not read(sources, ("docker.io", "library/evil"))
    assert read(sources, ("registry.example:5000", "team/app"))
    with sources.listing():
        pass
    assert sources.of(DIGEST) is None
