"""By which names upstream is asked."""

from typing import Literal

from mirror.fetch.repositories import Repositories
from mirror.oci.content import Content
from mirror.oci.digest import Digest
from mirror.oci.reference import Repository


def named(name: str, kind: Literal["manifests", "blobs"] = "blobs", registry: str = "docker.io") -> Content:
    return Content(Repository(registry, name), kind, Digest.of(b""))


def test_names_are_asked_one_after_the_other_and_no_name_twice() -> None:
    repositories = Repositories(named("a/a"), 8)
    repositories.add(named("a/b"))
    repositories.add(named("a/a"))
    assert repositories.current == named("a/a")
    assert repositories.turn_to_next(elsewhere=False)
    assert repositories.current == named("a/b")
    assert not repositories.turn_to_next(elsewhere=False)
    assert repositories.current == named("a/b")
    repositories.add(named("a/c"))
    assert repositories.turn_to_next(elsewhere=False)


def test_while_a_registry_is_out_only_one_of_another_registry_is_turned_to() -> None:
    """What a repository has is found out when its registry is back; another one of it may not have the blob at all."""
    repositories = Repositories(named("a/a"), 8)
    repositories.add(named("a/b"))
    assert not repositories.turn_to_next(elsewhere=True)
    assert repositories.current == named("a/a")
    assert repositories.turn_to_next(elsewhere=False)
    repositories.add(named("a/b", registry="quay.io"))
    assert repositories.turn_to_next(elsewhere=True)
    assert repositories.current == named("a/b", registry="quay.io")


def test_names_are_bounded_and_of_one_kind() -> None:
    repositories = Repositories(named("a/a"), 2)
    repositories.add(named("a/b", "manifests"))
    assert len(repositories) == 1
    repositories.add(named("a/b"))
    repositories.add(named("a/c"))
    assert len(repositories) == 2
