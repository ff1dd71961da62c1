"""What may be had in another repository by its name alone."""

from types import SimpleNamespace
from typing import Any

import pytest

from mirror.app.private import PrivateContent
from mirror.oci.digest import Digest
from mirror.sources import STAGED
from mirror.stores.marks import Mark

DIGEST = Digest.of(b"x")


@pytest.mark.parametrize(
    ("mark", "must_be_sent"),
    [
        (None, False),
        (Mark(), True),
        (Mark(frozenset({"docker.io/acme/secret"})), True),
        (Mark(frozenset({"docker.io/acme/secret", STAGED})), False),
        (Mark(claimed=frozenset({STAGED})), True),
    ],
)
def test_what_needed_credentials_is_not_mounted_unless_it_was_loaded(mark: Mark | None, must_be_sent: bool) -> None:
    marks: Any = SimpleNamespace(of=lambda digest: mark)
    nothing: Any = None
    assert PrivateContent(nothing, nothing, marks).must_be_sent(DIGEST) is must_be_sent
