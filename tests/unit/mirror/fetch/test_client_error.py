"""What a client is told when nobody delivered."""

import pytest

from mirror.errors import (
    BlobUnknown,
    Denied,
    ManifestUnknown,
    OciError,
    PeerError,
    Reason,
    SourceError,
    Unavailable,
    UpstreamError,
    UpstreamOffline,
    UpstreamRefused,
    UpstreamUnknown,
)
from mirror.fetch.client_error import client_error
from mirror.oci.content import Content
from mirror.oci.digest import Digest
from mirror.oci.reference import Repository

BLOB = Content(Repository("docker.io", "a/a"), "blobs", Digest.of(b""))
MANIFEST = Content(Repository("docker.io", "a/a"), "manifests", Digest.of(b""))
PEER = PeerError(Reason.STALLED, "a member is silent")


@pytest.mark.parametrize(
    ("content", "failures", "error"),
    [
        (BLOB, [], Unavailable),
        (BLOB, [PEER], Unavailable),
        (BLOB, [UpstreamUnknown("404"), PEER], BlobUnknown),
        (MANIFEST, [UpstreamUnknown("404")], ManifestUnknown),
        (BLOB, [PEER, UpstreamOffline("never asked")], BlobUnknown),
        (BLOB, [UpstreamRefused("not configured"), PEER], Denied),
        (BLOB, [UpstreamError(Reason.AUTH, "wrong password"), PEER], Denied),
        (BLOB, [UpstreamUnknown("404"), UpstreamError(Reason.STATUS, "500")], Unavailable),
    ],
)
def test_what_upstream_said_last_counts_most(
    content: Content, failures: list[SourceError], error: type[OciError]
) -> None:
    assert type(client_error(content, failures)) is error


def test_the_cause_is_kept_so_that_a_home_can_say_that_it_is_rate_limited() -> None:
    last = UpstreamError(Reason.RATE_LIMITED, "429")
    assert client_error(BLOB, [PEER, last]).__cause__ is last
    assert client_error(BLOB, [PEER]).__cause__ is PEER
