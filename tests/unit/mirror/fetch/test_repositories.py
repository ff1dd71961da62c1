"""By which names upstream is asked."""

from typing import Literal

from mirror.fetch.repositories import Repositories
from mirror.oci.content import Content
from mirror.oci.digest import Digest
from mirror.oci.reference import Repository


def named(name: str, kind: Literal["manifests", "blobs"] = "blobs") -> Content:
    return Content(Repository("docker.io", name), kind, Digest.of(b""))


def test_names_are_asked_one_after_the_other_and_no_name_twice() -> None:
    repositories = Repositories(named("a/a"), 8)
    repositories.add(named("a/b"))
    repositories.add(named("a/a"))
    assert repositories.current == named("a/a")
    assert repositories.turn_to_next()
    assert repositories.current == named("a/b")
    assert not repositories.turn_to_next()
    assert repositories.current == named("a/b")
    repositories.add(named("a/c"))
    assert repositories.turn_to_next()


def test_names_are_bounded_and_of_one_kind() -> None:
    repositories = Repositories(named("a/a"), 2)
    repositories.add(named("a/b", "manifests"))
    assert len(repositories) == 1
    repositories.add(named("a/b"))
    repositories.add(named("a/c"))
    assert len(repositories) == 2
