"""Certificates from the cluster's key, made in memory: there is no authority to run, and no file to guard.

Each key of the cluster gives an authority: the same one on every node that has the key. A node signs its certificate
with the authority of the first key, and believes those of all keys. So whoever has a key is a member, and can take any
name: where a member is to be who it says it is, the operator's own authority issues certificates (see `files`).

Source: RFC 5869 (HKDF), RFC 5280 (certificates), RFC 5480 (P-256).
"""

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from . import Identity

_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""The number of points of P-256. Source: FIPS 186-4, D.1.2.3."""
_SCALAR_BYTES: Final = 48
"""Bytes that become a private key: 16 more than it has, so that no key is likelier than others (FIPS 186-4, B.4.1)."""
_FIRST_DAY: Final = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
_LAST_DAY: Final = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)
"""An authority is valid as long as its key is in the keyring: that ends it, not a date."""


@dataclass(frozen=True, slots=True)
class Authority:
    """What signs certificates, on every node that has one key of the cluster.

    Args:
        certificate: its own.
        key: signs.
    """

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def of(cls, cluster_key: bytes) -> "Authority":
        """The authority of one key of the cluster, 32 bytes."""
        scalar = HKDF(hashes.SHA256(), _SCALAR_BYTES, salt=None, info=b"skvaller tls authority").derive(cluster_key)
        key = ec.derive_private_key(int.from_bytes(scalar) % (_ORDER - 1) + 1, ec.SECP256R1())
        identity = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        name = _name(f"skvaller cluster key {identity.digest.hex()[:16]}")
        certificate = (
            _certificate(name, name, key.public_key(), _FIRST_DAY, _LAST_DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(identity, critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    @property
    def name(self) -> str:
        """Its name, which no authority of another key has."""
        return str(self.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)

    def issue(self, name: str, address: str, life: tuple[float, float]) -> tuple[bytes, bytes]:
        """A certificate for a node, and its new key, both in PEM.

        Args:
            name: of the node.
            address: its IP address.
            life: from when to when it is valid, Unix times, s.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        begin, end = (datetime.datetime.fromtimestamp(at, datetime.UTC) for at in life)
        addresses = {address, name} if _is_address(name) else {address}
        shown = [x509.IPAddress(ipaddress.ip_address(text)) for text in sorted(addresses)]
        names = x509.SubjectAlternativeName([x509.DNSName(name), *shown])
        purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        certificate = (
            _certificate(_name(name), self.certificate.subject, key.public_key(), begin, end)
            .add_extension(names, critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(purposes, critical=False)
            .add_extension(issuer, critical=False)
            .sign(self.key, hashes.SHA256())
        )
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return certificate.public_bytes(Encoding.PEM), secret


class KeyIssuer:
    """Makes this node's certificates from the cluster's keys.

    Args:
        name: of this node.
        address: IP address under which others reach it.
        keys: of the cluster, 32 bytes each, the first one signs; at least one.
        life_s: for how long a certificate is valid, before and after now, s.
        renewal_s: age from which one is made anew, s.
    """

    def __init__(self, name: str, address: str, keys: Sequence[bytes], life_s: float, renewal_s: float) -> None:
        self._name = name
        self._address = address
        self._life_s = life_s
        self._renewal_s = renewal_s
        self._issued_unix_s: float | None = None
        self._used_unix_s: float | None = None
        """When the last certificate was made, and the one that is in use."""
        self.use(keys)

    def use(self, keys: Sequence[bytes]) -> None:
        """Replace the keys."""
        self._authorities = [Authority.of(key) for key in keys]
        self._issued_unix_s = self._used_unix_s = None

    def issue(self, now_unix_s: float) -> Identity | None:
        """A new certificate, and the authorities to believe; None while that in use is young and the keys the same.

        A clock that was set makes that one old as well: it would not be valid for others.
        """
        used = self._used_unix_s
        if used is not None and abs(now_unix_s - used) < self._renewal_s:
            return None
        self._issued_unix_s = now_unix_s
        life = (max(0.0, now_unix_s - self._life_s), now_unix_s + self._life_s)
        chain, key = self._authorities[0].issue(self._name, self._address, life)
        trusted = b"".join(authority.certificate.public_bytes(Encoding.PEM) for authority in self._authorities)
        issuers = frozenset(authority.name for authority in self._authorities)
        return Identity(chain, key, trusted.decode(), self._name, issuers)

    def confirm(self) -> None:
        """The certificate that was issued last is in use."""
        self._used_unix_s = self._issued_unix_s


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    begin: datetime.datetime,
    end: datetime.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )


def _is_address(name: str) -> bool:
    """Whether a node's name is an IP address: then TLS looks for it among the addresses."""
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return False


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
