"""Contexts for TLS: who is reached how, who is believed, and what happens when a certificate cannot be renewed."""

import contextlib
import errno
import logging
import os
import ssl
from collections.abc import Sequence
from typing import Any

import pytest

from mirror.channels import ChannelError, Identity, PeerTls, names_in
from mirror.channels.certificates import KeyIssuer
from mirror.channels.contexts import Channels

ONE, TWO = bytes([1]) * 32, bytes([2]) * 32
DAY_S = 86400.0


def issuer(*keys: bytes) -> KeyIssuer:
    return KeyIssuer("a", "10.0.0.1", keys or [ONE], 7 * DAY_S, DAY_S)


@pytest.mark.parametrize(
    ("step", "speaks", "by_tls"),
    [
        (PeerTls.OFF, True, False),
        (PeerTls.PREFER, True, True),
        (PeerTls.PREFER, False, False),
        (PeerTls.ON, False, True),
        (PeerTls.ON, True, True),
    ],
)
def test_who_is_reached_by_tls(step: PeerTls, speaks: bool, by_tls: bool) -> None:
    channel = Channels(step, issuer()).to("b", speaks_tls=speaks)
    assert (channel is not None) == by_tls
    if channel is not None:
        assert channel.name == "b"
        assert channel.context.minimum_version is ssl.TLSVersion.TLSv1_3
        assert channel.context.check_hostname
        assert channel.context.verify_mode is ssl.CERT_REQUIRED


def test_both_ends_must_show_a_certificate_and_no_ticket_outlives_a_key() -> None:
    server = Channels(PeerTls.ON, issuer()).server
    assert server is not None
    assert server.verify_mode is ssl.CERT_REQUIRED
    assert server.num_tickets == 0


def certificate(*names: str, by: str, until: str = "9999") -> dict[str, Any]:
    return {
        "subjectAltName": (*(("DNS", name) for name in names), ("IP Address", "1.2.3.4")),
        "issuer": ((("commonName", by),),),
        "notAfter": f"Jan  1 00:00:00 {until} GMT",
    }


def test_who_is_believed_follows_the_keys_and_the_operator() -> None:
    first = issuer().issue(1e9)
    assert first is not None
    assert first.issuers is not None
    (by,) = first.issuers
    channels = Channels(PeerTls.ON, issuer(ONE), denied=["Gone"])
    assert channels.proven(certificate("B", by=by)) == {"b"}
    assert channels.proven(certificate("gone", by=by)) == frozenset()
    assert channels.proven(certificate("b", by="somebody")) == frozenset()
    assert channels.proven(certificate("b", by=by, until="2020")) == frozenset()
    assert channels.proven(certificate("B", "c", by=by)) == {"b", "c"}
    assert channels.proven(certificate("b", "Gone", by=by)) == frozenset()
    assert channels.proven(None) == frozenset()
    assert channels.is_denied("GONE")
    channels.use([TWO, ONE])
    assert channels.proven(certificate("b", by=by)) == {"b"}
    channels.use([TWO])
    assert channels.proven(certificate("b", by=by)) == frozenset()


def shake_hands(client: ssl.SSLContext | None, server: ssl.SSLContext | None) -> None:
    """A handshake with a member of the name a, in memory."""
    assert client is not None
    assert server is not None
    asked, answered = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = client.wrap_bio(answered, asked, server_hostname="a"), server.wrap_bio(asked, answered, server_side=True)
    for end in (*ends, *ends):
        with contextlib.suppress(ssl.SSLWantReadError):
            end.do_handshake()


def test_a_member_that_is_denied_is_not_asked_under_another_name_either() -> None:
    server = Channels(PeerTls.ON, issuer()).server
    shake_hands(Channels(PeerTls.ON, issuer()).client, server)
    denying = Channels(PeerTls.ON, issuer(), denied=["A"])
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(denying.client, server)


def test_keys_that_change_give_new_contexts() -> None:
    channels = Channels(PeerTls.ON, issuer())
    before = channels.server, channels.client, channels.dialling
    channels.renew()
    assert before == (channels.server, channels.client, channels.dialling)
    channels.use([TWO])
    assert not set(before) & {channels.server, channels.client, channels.dialling}


class Failing:
    """Gives one certificate, and then reasons why there is none."""

    def __init__(self) -> None:
        self.reason = ""
        self.confirmed = 0

    def use(self, keys: Sequence[bytes]) -> None:
        raise NotImplementedError

    def confirm(self) -> None:
        self.confirmed += 1

    def issue(self, now_unix_s: float) -> Identity | None:
        if self.reason:
            raise ChannelError(self.reason)
        return issuer().issue(now_unix_s)


def test_a_certificate_that_is_not_renewed_is_kept_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    failing = Failing()
    channels = Channels(PeerTls.ON, failing)
    before = channels.server
    for failing.reason in ("expired", "expired", "unreadable"):
        channels.renew()
    assert channels.server is before
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert told == ["the certificate is not renewed: expired", "the certificate is not renewed: unreadable"]


@pytest.mark.parametrize(
    ("why", "told"), [(OSError(errno.EMFILE, "too many"), "too many"), (RuntimeError("odd"), "not expected")]
)
def test_contexts_that_cannot_be_made_are_tried_again(
    why: Exception, told: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    channels = Channels(PeerTls.ON, issuer(ONE))
    before = channels.server

    def fail(_: str) -> int:
        raise why

    with monkeypatch.context() as patched:
        patched.setattr(os, "memfd_create", fail)
        channels.use([TWO])
        channels.renew()
    assert channels.server is before
    (record,) = (record for record in caplog.records if record.levelno >= logging.WARNING)
    assert told in record.getMessage()
    channels.renew()
    assert channels.server is not before


def test_what_was_issued_is_confirmed_once_it_is_in_use() -> None:
    failing = Failing()
    channels = Channels(PeerTls.ON, failing)
    assert failing.confirmed == 1
    failing.reason = "expired"
    channels.renew()
    assert failing.confirmed == 1


@pytest.mark.parametrize("name", ["a..b", "010.0.0.1", "x" * 64])
def test_a_name_that_tls_cannot_reach_is_refused(name: str) -> None:
    with pytest.raises(ChannelError, match="TLS cannot reach a node of the name"):
        Channels(PeerTls.ON, KeyIssuer(name, "10.0.0.9", [ONE], 7 * DAY_S, DAY_S))


def test_a_key_that_is_not_the_certificates_is_refused() -> None:
    class Odd(Failing):
        def issue(self, now_unix_s: float) -> Identity | None:
            one, two = issuer().issue(now_unix_s), issuer().issue(now_unix_s)
            assert one is not None
            assert two is not None
            return Identity(one.chain, two.key, one.trusted, "a")

    with pytest.raises(ChannelError, match="cannot be used"):
        Channels(PeerTls.ON, Odd())


def test_names_are_dns_names_alone() -> None:
    assert names_in(certificate("A.example", by="x")) == {"a.example"}
    assert names_in({}) == names_in(None) == frozenset()
