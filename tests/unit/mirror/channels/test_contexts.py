"""Contexts for TLS: who is reached how, who is believed, and what happens when a certificate cannot be renewed."""

import logging
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


def certificate(name: str, by: str) -> dict[str, Any]:
    return {"subjectAltName": (("DNS", name), ("IP Address", "1.2.3.4")), "issuer": ((("commonName", by),),)}


def test_who_is_believed_follows_the_keys_and_the_operator() -> None:
    first = issuer().issue(1e9)
    assert first is not None
    assert first.issuers is not None
    (by,) = first.issuers
    channels = Channels(PeerTls.ON, issuer(ONE), denied=["Gone"])
    assert channels.proven(certificate("B", by)) == {"b"}
    assert channels.proven(certificate("gone", by)) == frozenset()
    assert channels.proven(certificate("b", "somebody")) == frozenset()
    assert channels.proven(None) == frozenset()
    assert channels.is_denied("GONE")
    channels.use([TWO, ONE])
    assert channels.proven(certificate("b", by)) == {"b"}
    channels.use([TWO])
    assert channels.proven(certificate("b", by)) == frozenset()


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

    def use(self, keys: Sequence[bytes]) -> None:
        raise NotImplementedError

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


def test_a_key_that_is_not_the_certificates_is_refused() -> None:
    class Odd(Failing):
        def issue(self, now_unix_s: float) -> Identity | None:
            one, two = issuer().issue(now_unix_s), issuer().issue(now_unix_s)
            assert one is not None
            assert two is not None
            return Identity(one.chain, two.key, one.trusted)

    with pytest.raises(ChannelError, match="cannot be used"):
        Channels(PeerTls.ON, Odd())


def test_names_are_dns_names_alone() -> None:
    assert names_in(certificate("A.example", "x")) == {"a.example"}
    assert names_in({}) == names_in(None) == frozenset()
