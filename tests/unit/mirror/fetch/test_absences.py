"""What nobody has is remembered for a moment, under the name by which it was asked for."""

import gc
import weakref
from collections.abc import Callable

import pytest

from mirror.errors import BlobUnknown, ManifestUnknown, MirrorError, Unavailable
from mirror.fetch.absences import Absences
from mirror.oci.content import Content
from mirror.oci.digest import Digest
from mirror.oci.reference import Repository
from mirror.settings import FetchSettings


def content(name: str, number: int = 0) -> Content:
    return Content(Repository("docker.io", name), "blobs", Digest.of(b"%d" % number))


@pytest.mark.parametrize("unknown", [BlobUnknown, ManifestUnknown])
def test_it_is_said_again_for_a_moment_and_not_of_another_repository(unknown: Callable[[str], MirrorError]) -> None:
    absences = Absences(FetchSettings())
    absences.note(content("a/a"), unknown("nobody has it"))
    with pytest.raises((BlobUnknown, ManifestUnknown), match="nobody has it"):
        absences.check(content("a/a"))
    absences.check(content("b/b"))
    absences.check(content("a/a", 1))


def test_it_is_forgotten_after_a_while() -> None:
    absences = Absences(FetchSettings(absent_s=0.0))
    absences.note(content("a/a"), BlobUnknown("nobody has it"))
    absences.check(content("a/a"))


def test_no_other_failure_is_taken_for_absence() -> None:
    absences = Absences(FetchSettings())
    absences.note(content("a/a"), Unavailable("upstream is down"))
    absences.check(content("a/a"))


def test_a_stranger_with_many_digests_fills_a_bounded_table() -> None:
    absences = Absences(FetchSettings(absent_max=3))
    for number in range(10):
        absences.note(content("a/a", number), BlobUnknown("nobody has it"))
    assert len(absences) == 3
    absences.check(content("a/a", 0))
    with pytest.raises(BlobUnknown):
        absences.check(content("a/a", 9))


def test_whatever_failed_with_the_error_is_not_kept_for_it() -> None:
    class Failed:
        """A fetch, say."""

        def run(self) -> None:
            raise BlobUnknown("nobody has it")

    absences, failed = Absences(FetchSettings()), Failed()
    try:
        failed.run()
    except BlobUnknown as error:
        absences.note(content("a/a"), error)
    left = weakref.ref(failed)
    del failed
    gc.collect()
    assert left() is None
    with pytest.raises(BlobUnknown, match="nobody has it"):
        absences.check(content("a/a"))
