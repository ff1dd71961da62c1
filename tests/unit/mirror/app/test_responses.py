"""Answers about blobs: whole, a range, or not at all, as the request wants it."""

import pytest

from mirror.app.request import RegistryRequest
from mirror.app.responses import Body, blob_response, encoded, warning
from mirror.errors import RangeUnsatisfiable
from mirror.oci.digest import Digest
from mirror.oci.ranges import IntRange, RequestedRange, SeveralRanges, SuffixRange
from mirror.oci.reference import Repository
from mirror.settings import AppSettings

DIGEST = Digest.of(b"content")
SIZE = 100
SEVERAL = SeveralRanges((IntRange(20, 30), IntRange(0, 10), IntRange(200), SuffixRange(5)))


def asking(part: RequestedRange | None = None, if_none_match: str | None = None) -> RegistryRequest:
    return RegistryRequest("blobs", Repository("docker.io", "x/y"), DIGEST, range=part, if_none_match=if_none_match)


def answered(request: RegistryRequest) -> tuple[int, list[tuple[int, int]], dict[bytes, bytes]]:
    """The status, the ranges that are sent, and the headers."""
    sent: list[tuple[int, int]] = []

    def extents(start: int, stop: int) -> list[tuple[int, int, int]]:
        sent.append((start, stop))
        return [(-1, start, stop - start)]

    response = blob_response(request, Body(DIGEST, SIZE, extents), AppSettings())
    return response.status, sent, dict(response.headers)


@pytest.mark.parametrize(
    ("part", "status", "sent"),
    [
        (None, 200, (0, 100)),
        (IntRange(0), 206, (0, 100)),
        (IntRange(5, 10), 206, (5, 10)),
        (IntRange(5, 1000), 206, (5, 100)),
        (SuffixRange(7), 206, (93, 100)),
    ],
)
def test_what_is_asked_for_is_sent(part: RequestedRange | None, status: int, sent: tuple[int, int]) -> None:
    got, ranges, headers = answered(asking(part))
    assert (got, ranges) == (status, [sent])
    assert headers[b"content-length"] == b"%d" % (sent[1] - sent[0])
    assert (b"content-range" in headers) is (status == 206)
    assert headers[b"docker-distribution-api-version"] == b"registry/2.0"


@pytest.mark.parametrize("part", [None, IntRange(5, 10), IntRange(1000), SEVERAL])
def test_who_has_it_gets_nothing_whatever_the_range(part: RequestedRange | None) -> None:
    status, ranges, headers = answered(asking(part, f'"{DIGEST}"'))
    assert (status, ranges) == (304, [])
    assert headers[b"etag"] == f'"{DIGEST}"'.encode()
    assert b"content-length" not in headers


@pytest.mark.parametrize(
    ("part", "error"),
    [(IntRange(100), RangeUnsatisfiable), (SuffixRange(0), RangeUnsatisfiable)],
)
def test_a_range_that_cannot_be_is_refused(part: RequestedRange, error: type[Exception]) -> None:
    with pytest.raises(error):
        answered(asking(part, '"another"'))


def test_headers_are_encoded_with_lower_case_names() -> None:
    assert encoded({"Skvaller-Origin": "n1"}) == [(b"skvaller-origin", b"n1")]


def test_a_warning_is_one_line_of_printable_text() -> None:
    name, value = warning('one\r\n"two"\\ thrée')
    assert (name, value) == (b"warning", b'299 - "one   two   thr e"')
    assert len(warning("x" * 5000)[1]) < 1100
