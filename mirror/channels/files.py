"""Certificates of an operator's own authority: one file a node, so that a member is who it says it is."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ..fileio import read_small
from . import ChannelError, Identity

_FILE_MAX_BYTES: Final = 1024 * 1024
"""Bounds a file of certificates or a key, in bytes: a bundle of a hundred authorities has 200 KiB."""

Stamp = tuple[int, int, int]
"""What tells whether a file has changed: inode, size, time of the last change, ns."""


class FileIssuer:
    """Reads this node's certificate, its key and the authorities, and again when a file has changed.

    Args:
        certificate: file with the node's certificate, and those between it and its authority, in PEM.
        key: file with the certificate's key, in PEM, which only its owner can read.
        authorities: file with the certificates of those whom this node believes, in PEM.
        name: of this node; the certificate must have it as a DNS name.
    """

    def __init__(self, certificate: Path, key: Path, authorities: Path, name: str) -> None:
        self._certificate = certificate
        self._key = key
        self._authorities = authorities
        self._name = name
        self._stamps: Sequence[Stamp] = ()
        self._used: Sequence[Stamp] = ()
        """Of the files that were read last, and of those that are in use."""
        self._end_unix_s = 0.0
        """Until when the certificate that was read last is valid."""

    def use(self, keys: Sequence[bytes]) -> None:
        """The cluster's keys have changed: nothing here comes from them."""

    def issue(self, now_unix_s: float) -> Identity | None:
        """What the files have; None if that has not changed.

        Raises:
            ChannelError: a file cannot be read, others than its owner can read the key, or the certificate is not valid
                or has expired.
        """
        files = (self._certificate, self._key, self._authorities)
        stamps = [_stamp(file) for file in files]
        if stamps == self._used:
            if now_unix_s > self._end_unix_s:
                raise ChannelError(self._expired())
            return None
        chain, trusted = _read(self._certificate), _read(self._authorities)
        shown = _certificates(self._certificate, chain)
        self._check(shown[0], now_unix_s)
        authorities = _certificates(self._authorities, trusted)
        key = _read(self._key, guarded=True)
        self._stamps = stamps
        # Without what stands between them: files have comments, in any language.
        return Identity(_pem(shown), key, _pem(authorities).decode(), self._name)

    def confirm(self) -> None:
        """What was read last is in use."""
        self._used = self._stamps

    def _check(self, certificate: x509.Certificate, now_unix_s: float) -> None:
        """Whether the certificate is this node's, and of now; a handshake would not say so plainly what is wrong."""
        try:
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            given = names.get_values_for_type(x509.DNSName)
        except x509.ExtensionNotFound:
            given = []
        except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
            raise ChannelError(f"{self._certificate} has extensions that cannot be read: {error}") from error
        if self._name.lower() not in (name.lower() for name in given):
            shown = ", ".join(given) or "no DNS name"
            raise ChannelError(f"{self._certificate} is for {shown}; it must have this node's name, {self._name}")
        begin = certificate.not_valid_before_utc.timestamp()
        self._end_unix_s = certificate.not_valid_after_utc.timestamp()
        if now_unix_s > self._end_unix_s:
            raise ChannelError(self._expired())
        if now_unix_s < begin:
            raise ChannelError(
                f"{self._certificate} is valid only from {_time(begin)} on, and it is {_time(now_unix_s)}"
            )

    def _expired(self) -> str:
        return f"{self._certificate} has expired at {_time(self._end_unix_s)}"


def _read(file: Path, *, guarded: bool = False) -> bytes:
    """What a file has; `guarded`: only its owner may be able to read it."""
    try:
        content, is_open_to_others = read_small(file, _FILE_MAX_BYTES)
    except OSError as error:
        raise ChannelError(f"cannot read {file}: {error.strerror}") from error
    except ValueError as error:
        raise ChannelError(str(error)) from None
    if guarded and is_open_to_others:
        raise ChannelError(f"{file} can be read by others: run chmod 600 {file}")
    return content


def _stamp(file: Path) -> Stamp:
    try:
        status = file.stat()
    except OSError as error:
        raise ChannelError(f"cannot read {file}: {error.strerror}") from error
    return status.st_ino, status.st_size, status.st_mtime_ns


def _certificates(file: Path, content: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise ChannelError(f"{file} has no certificates in PEM: {error}") from error


def _pem(certificates: Sequence[x509.Certificate]) -> bytes:
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def _time(unix_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(unix_s))
