"""Requests between members: whose are accepted, and that a signature is good for its own request alone."""

import pytest
from starlette.datastructures import Headers

from mirror.sources.peers.auth import PeerAuth
from mirror.sources.peers.protocol import AUTH_HEADER

OLD, NEW, FOREIGN = (bytes([number]) * 32 for number in (1, 2, 3))
TARGET = "/v2/library/nginx/manifests/1.27?ns=docker.io"


def test_without_a_key_nothing_is_signed_and_everything_accepted() -> None:
    auth = PeerAuth()
    assert auth.sign("GET", TARGET) == {}
    assert auth.accepts("GET", TARGET, {})


def test_a_member_accepts_what_a_member_signed() -> None:
    auth = PeerAuth([NEW])
    assert auth.accepts("GET", TARGET, Headers(auth.sign("GET", TARGET)))


def test_while_keys_change_both_are_accepted_and_the_first_signs() -> None:
    changing = PeerAuth([NEW, OLD])
    assert changing.accepts("GET", TARGET, PeerAuth([OLD]).sign("GET", TARGET))
    assert PeerAuth([NEW]).accepts("GET", TARGET, changing.sign("GET", TARGET))
    assert not PeerAuth([OLD]).accepts("GET", TARGET, changing.sign("GET", TARGET))


@pytest.mark.parametrize(("method", "target"), [("HEAD", TARGET), ("GET", TARGET + "x"), ("GET", TARGET[:-1])])
def test_a_signature_is_good_for_its_own_request_alone(method: str, target: str) -> None:
    auth = PeerAuth([NEW])
    assert not auth.accepts(method, target, auth.sign("GET", TARGET))


@pytest.mark.parametrize("given", [None, b"", b"junk", b"0" * 64, b"\xff" * 64])
def test_a_request_without_a_right_signature_is_not_accepted(given: bytes | None) -> None:
    headers = Headers(raw=[] if given is None else [(AUTH_HEADER.lower().encode(), given)])
    assert not PeerAuth([NEW]).accepts("GET", TARGET, headers)


def test_another_cluster_is_not_accepted_and_no_signature_shows_the_key() -> None:
    signed = PeerAuth([FOREIGN]).sign("GET", TARGET)
    assert not PeerAuth([NEW, OLD]).accepts("GET", TARGET, signed)
    assert FOREIGN.hex() not in signed[AUTH_HEADER]


def test_an_order_is_signed_with_its_body_and_a_member_alone_can() -> None:
    order = ("POST", "/api/v1/keys/use")
    signed = PeerAuth([OLD]).sign(*order, b'{"id": "1"}')
    auth = PeerAuth([NEW, OLD], required=False)
    assert auth.proves(*order, signed, b'{"id": "1"}')
    assert not auth.proves(*order, signed, b'{"id": "2"}')
    assert not auth.proves(*order, signed)
    assert not auth.proves(*order, {}, b'{"id": "1"}')
    assert not PeerAuth().proves(*order, signed, b'{"id": "1"}')


def test_keys_that_change_are_followed() -> None:
    auth, member = PeerAuth([OLD]), PeerAuth([OLD])
    auth.use([NEW, OLD])
    assert auth.accepts("GET", TARGET, member.sign("GET", TARGET))
    auth.use([NEW])
    assert not auth.accepts("GET", TARGET, member.sign("GET", TARGET))


def test_on_the_way_to_keys_unsigned_requests_are_taken_and_wrong_ones_are_not() -> None:
    auth = PeerAuth([NEW], required=False)
    assert auth.accepts("GET", TARGET, {})
    assert not auth.accepts("GET", TARGET, PeerAuth([FOREIGN]).sign("GET", TARGET))
    assert auth.sign("GET", TARGET)
