"""Certificates of an operator's own authority: what is refused, with its reason, and that a new file is noticed."""

import datetime
import os
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from mirror.channels import ChannelError, PeerTls
from mirror.channels.certificates import Authority
from mirror.channels.contexts import Channels
from mirror.channels.files import FileIssuer

NOW, DAY_S = 1.7e9, 86400.0
AUTHORITY = Authority.of(bytes(32))


def issuer(folder: Path, name: str = "a", *, begin: float = NOW - DAY_S, end: float = NOW + DAY_S) -> FileIssuer:
    """One whose files are in order, but for what a test does to them."""
    certificate, key = AUTHORITY.issue("a", "10.0.0.1", (begin, end))
    shown, secret, trusted = folder / "node.crt", folder / "node.key", folder / "ca.crt"
    shown.write_bytes(certificate)
    secret.touch(0o600)
    secret.write_bytes(key)
    trusted.write_bytes(certificate)
    return FileIssuer(shown, secret, trusted, name)


def test_files_are_read_once_until_one_changes(tmp_path: Path) -> None:
    files = issuer(tmp_path)
    identity = files.issue(NOW)
    assert identity is not None
    assert identity.issuers is None
    assert files.issue(NOW) is not None  # nobody could use the first one
    files.confirm()
    assert files.issue(NOW) is None
    os.utime(tmp_path / "node.crt", ns=(1, 1))
    assert files.issue(NOW) is not None


def test_a_name_is_the_same_in_capitals(tmp_path: Path) -> None:
    assert issuer(tmp_path, "A").issue(NOW) is not None


@pytest.mark.parametrize("file", ["node.crt", "node.key", "ca.crt"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, file: str) -> None:
    files = issuer(tmp_path)
    (tmp_path / file).unlink()
    with pytest.raises(ChannelError, match=f"cannot read .*{file}: No such file"):
        files.issue(NOW)


@pytest.mark.parametrize("file", ["node.crt", "ca.crt"])
def test_a_file_without_a_certificate_is_named(tmp_path: Path, file: str) -> None:
    files = issuer(tmp_path)
    (tmp_path / file).write_bytes(b"\xff junk")
    with pytest.raises(ChannelError, match=f"{file} has no certificates"):
        files.issue(NOW)


def test_a_file_without_an_end_is_refused(tmp_path: Path) -> None:
    files = issuer(tmp_path)
    (tmp_path / "ca.crt").write_bytes(bytes(2_000_000))
    with pytest.raises(ChannelError, match="at most"):
        files.issue(NOW)


def test_a_certificate_for_another_node_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ChannelError, match="is for a; it must have this node's name, b"):
        issuer(tmp_path, "b").issue(NOW)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    files = issuer(tmp_path)
    (tmp_path / "node.key").chmod(0o640)
    with pytest.raises(ChannelError, match="chmod 600"):
        files.issue(NOW)


@pytest.mark.parametrize(
    ("begin", "end", "why"),
    [(NOW - 2 * DAY_S, NOW - DAY_S, "has expired at 20"), (NOW + DAY_S, NOW + 2 * DAY_S, "valid only from 20")],
)
def test_a_certificate_whose_time_is_not_now_is_refused(tmp_path: Path, begin: float, end: float, why: str) -> None:
    with pytest.raises(ChannelError, match=why):
        issuer(tmp_path, begin=begin, end=end).issue(NOW)


def test_a_certificate_that_expires_while_it_is_in_use_is_told(tmp_path: Path) -> None:
    files = issuer(tmp_path)
    assert files.issue(NOW) is not None
    files.confirm()
    with pytest.raises(ChannelError, match="has expired at 20"):
        files.issue(NOW + 2 * DAY_S)


def test_comments_in_any_language_are_left_out(tmp_path: Path) -> None:
    files = issuer(tmp_path)
    for file in (tmp_path / "ca.crt", tmp_path / "node.crt"):
        file.write_bytes("# Prüfstelle\n".encode() + file.read_bytes())
    identity = files.issue(NOW)
    assert identity is not None
    assert identity.trusted.startswith("-----BEGIN")
    assert identity.chain.isascii()


def authority() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """One of an operator."""
    own = Authority.of(b"o" * 32)
    return own.certificate, own.key


def issued(*extensions: x509.ExtensionType) -> tuple[bytes, bytes]:
    """A certificate of that authority with some extensions, valid now, and its key."""
    shown, signs = authority()
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(shown.subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(1))
        .not_valid_after(now + datetime.timedelta(1))
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return builder.sign(signs, hashes.SHA256()).public_bytes(Encoding.PEM), secret


SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


@pytest.mark.parametrize(
    ("purposes", "own", "why"),
    [
        ([SERVER, CLIENT], True, ""),
        ([], True, ""),
        ([SERVER], True, "both serverAuth and clientAuth"),
        ([CLIENT], True, "both serverAuth and clientAuth"),
        ([SERVER, CLIENT], False, "will not believe this node's certificate: unable to get local issuer"),
    ],
)
def test_a_certificate_that_others_will_not_believe_is_refused(
    tmp_path: Path, purposes: list[x509.ObjectIdentifier], own: bool, why: str
) -> None:
    files = issuer(tmp_path)
    extensions = [
        x509.SubjectAlternativeName([x509.DNSName("a")]),
        *([x509.ExtendedKeyUsage(purposes)] * bool(purposes)),
    ]
    chain, key = issued(*extensions)
    trusted = (authority()[0] if own else AUTHORITY.certificate).public_bytes(Encoding.PEM)
    for name, content in (("node.crt", chain), ("node.key", key), ("ca.crt", trusted)):
        (tmp_path / name).write_bytes(content)
    if not why:
        assert Channels(PeerTls.ON, files).server is not None
        return
    with pytest.raises(ChannelError, match=why):
        Channels(PeerTls.ON, files)


def test_alternative_names_that_cannot_be_read_are_no_surprise(tmp_path: Path) -> None:
    files = issuer(tmp_path)
    chain, key = issued(x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30\x03\x01"))
    (tmp_path / "node.crt").write_bytes(chain)
    (tmp_path / "node.key").write_bytes(key)
    with pytest.raises(ChannelError, match="extensions that cannot be read"):
        files.issue(time.time())
