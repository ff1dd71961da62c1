"""Marks: names are bounded and checked, and a mark lasts as long as anything has the content."""

import pytest

from mirror.oci.digest import Digest
from mirror.oci.reference import Repository
from mirror.stores.marks import NAMES_MAX, Mark, Marks

DIGEST = Digest.of(b"layer")
APP = Mark.of(Repository("registry.example", "team/app"))
OTHER = Mark.of(Repository("docker.io", "library/other"))


def test_a_mark_is_read_as_it_was_written() -> None:
    mark = APP | OTHER | Mark(claimed=frozenset({"docker.io/evil/one"}))
    assert Mark.parse(mark.write()) == mark
    assert mark.write() == "docker.io/library/other,registry.example/team/app,?docker.io/evil/one"


@pytest.mark.parametrize("text", ["", "*", "no name", "registry.example/UPPER", "a,,b", "?"])
def test_what_is_no_name_leaves_the_content_marked(text: str) -> None:
    assert Mark.parse(text) == Mark()


def test_names_are_bounded_and_what_is_known_stays() -> None:
    many = Mark(frozenset(f"registry.example/team/r{number}" for number in range(3 * NAMES_MAX)))
    merged = APP | many
    assert len(merged.names) == NAMES_MAX
    assert merged.names > APP.names
    assert len(Mark.parse(many.write()).names) == NAMES_MAX


def test_what_is_confirmed_is_claimed_no_more() -> None:
    assert Mark(claimed=APP.names) | APP == APP


def test_a_mark_outlives_the_blob_for_memory_may_have_it() -> None:
    marks = Marks()
    marks.add(DIGEST, APP)
    assert marks.keep(DIGEST) == APP
    marks.release([DIGEST.hex])
    assert marks.of(DIGEST) == APP


def test_who_keeps_marks_learns_what_else_becomes_known() -> None:
    marks, told = Marks(), list[tuple[Digest, Mark]]()
    marks.follow(lambda digest, mark: told.append((digest, mark)), lambda digest: False)
    marks.add(DIGEST, APP)
    assert told == []
    marks.keep(DIGEST)
    marks.add(DIGEST, APP)
    marks.add(DIGEST, OTHER)
    assert told == [(DIGEST, APP | OTHER)]


def test_what_a_runtime_says_counts_as_well() -> None:
    runtime = Mark(claimed=frozenset({"docker.io/evil/one"}))
    marks = Marks([lambda digest: runtime if digest == DIGEST else None])
    assert marks.of(DIGEST) == runtime
    marks.add(DIGEST, APP)
    assert marks.of(DIGEST) == APP | runtime
    assert marks.of(Digest.of(b"other")) is None


def test_what_is_kept_without_a_mark_came_without_credentials_whatever_others_say() -> None:
    marks = Marks([lambda digest: APP])
    marks.follow(lambda digest, mark: None, lambda digest: digest == DIGEST)
    marks.add(DIGEST, APP)
    assert marks.of(DIGEST) is None


def test_one_name_that_may_be_kept_is_enough() -> None:
    marks = Marks((), lambda names: names == OTHER.names)
    marks.add(DIGEST, APP)
    assert not marks.may_be_kept(DIGEST)
    marks.add(DIGEST, OTHER)
    assert marks.may_be_kept(DIGEST)
    assert marks.may_be_kept(Digest.of(b"other"))
