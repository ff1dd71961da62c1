"""Certificates from the cluster's key: the same authority on every node, short lives, and no key in any text."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from mirror.channels.certificates import Authority, KeyIssuer

ONE, TWO = bytes([1]) * 32, bytes([2]) * 32
NOW, DAY_S = 1.7e9, 86400.0


def public(authority: Authority) -> bytes:
    return authority.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def test_a_key_gives_the_same_authority_everywhere_and_another_key_another() -> None:
    assert public(Authority.of(ONE)) == public(Authority.of(ONE)) != public(Authority.of(TWO))
    assert Authority.of(ONE).name == Authority.of(ONE).name != Authority.of(TWO).name
    assert ONE.hex() not in Authority.of(ONE).certificate.public_bytes(Encoding.PEM).hex()


@pytest.mark.parametrize(("name", "address"), [("node_1", "10.0.0.1"), ("N2.example", "fd00::1"), ("3", "127.0.0.1")])
def test_a_certificate_names_its_node_and_says_for_how_long_it_is_good(name: str, address: str) -> None:
    identity = KeyIssuer(name, address, [TWO, ONE], 7 * DAY_S, DAY_S).issue(NOW)
    assert identity is not None
    certificate = x509.load_pem_x509_certificate(identity.chain)
    certificate.verify_directly_issued_by(Authority.of(TWO).certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [name]
    assert [str(given) for given in names.get_values_for_type(x509.IPAddress)] == [address]
    assert certificate.not_valid_before_utc.timestamp() == NOW - 7 * DAY_S
    assert certificate.not_valid_after_utc.timestamp() == NOW + 7 * DAY_S
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert load_pem_private_key(identity.key, None).public_key() == certificate.public_key()
    assert identity.issuers == frozenset((Authority.of(TWO).name, Authority.of(ONE).name))
    assert len(x509.load_pem_x509_certificates(identity.trusted.encode())) == 2
    assert "PRIVATE" not in repr(identity)


def test_a_clock_that_begins_in_1970_is_no_trouble() -> None:
    assert KeyIssuer("a", "10.0.0.1", [ONE], 7 * DAY_S, DAY_S).issue(5.0) is not None


def test_a_certificate_is_made_anew_when_it_is_old_or_the_clock_was_set_or_the_keys_changed() -> None:
    issuer = KeyIssuer("a", "10.0.0.1", [ONE], 7 * DAY_S, DAY_S)
    assert issuer.issue(NOW) is not None
    assert issuer.issue(NOW) is not None  # nobody could use the first one
    issuer.confirm()
    assert issuer.issue(NOW + DAY_S / 2) is None
    assert issuer.issue(NOW + DAY_S) is not None
    assert issuer.issue(NOW - DAY_S) is not None
    issuer.confirm()
    issuer.use([TWO])
    assert issuer.issue(NOW - DAY_S) is not None
