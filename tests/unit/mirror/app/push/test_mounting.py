"""What may be had in another repository by its name alone."""

from typing import Any

import pytest

from mirror.app.private import PrivateContent
from mirror.oci.digest import Digest
from mirror.oci.reference import Repository
from mirror.sources import STAGED
from mirror.stores.marks import Mark, Marks

DIGEST = Digest.of(b"x")
NOTHING: Any = None


@pytest.mark.parametrize(
    ("mark", "must_be_sent"),
    [
        (None, False),
        (Mark(), True),
        (Mark(frozenset({"docker.io/acme/secret"})), True),
        (Mark(claimed=frozenset({STAGED})), True),
        (Mark(frozenset({STAGED})), True),  # by the word of a member
    ],
)
def test_what_needed_credentials_is_not_mounted(mark: Mark | None, must_be_sent: bool) -> None:
    marks = Marks()
    if mark is not None:
        marks.add(DIGEST, mark)
    assert PrivateContent(NOTHING, NOTHING, marks).must_be_sent(DIGEST) is must_be_sent


def test_what_was_loaded_from_a_pipe_is_mounted_and_is_nobodys_meanwhile() -> None:
    marks, secret = Marks(), Mark(frozenset({"docker.io/acme/secret"}))
    marks.add(DIGEST, secret)
    content = PrivateContent(NOTHING, NOTHING, marks)
    content.published(Repository(*STAGED.split("/")), DIGEST)
    assert not content.must_be_sent(DIGEST)
    assert marks.of(DIGEST) == secret
