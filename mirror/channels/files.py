"""Certificates of an operator's own authority: one file a node, so that a member is who it says it is."""

import os
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography import x509

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

    def use(self, keys: Sequence[bytes]) -> None:
        """The cluster's keys have changed: nothing here comes from them."""

    def issue(self, now_unix_s: float) -> Identity | None:
        """What the files have; None if that has not changed.

        Raises:
            ChannelError: a file cannot be read, others than its owner can read the key, or a certificate is not valid.
        """
        files = (self._certificate, self._key, self._authorities)
        stamps = [_stamp(file) for file in files]
        if stamps == self._stamps:
            return None
        chain, key, trusted = map(_read, files)
        _check_mode(self._key)
        self._check(_certificates(self._certificate, chain)[0], now_unix_s)
        _certificates(self._authorities, trusted)
        self._stamps = stamps
        return Identity(chain, key, trusted.decode("latin-1"))

    def _check(self, certificate: x509.Certificate, now_unix_s: float) -> None:
        """Whether others will believe the certificate; they would refuse this node without a word here."""
        try:
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            given = names.get_values_for_type(x509.DNSName)
        except x509.ExtensionNotFound:
            given = []
        if self._name.lower() not in (name.lower() for name in given):
            shown = ", ".join(given) or "no DNS name"
            raise ChannelError(f"{self._certificate} is for {shown}; it must have this node's name, {self._name}")
        begin = certificate.not_valid_before_utc.timestamp()
        end = certificate.not_valid_after_utc.timestamp()
        if not begin <= now_unix_s <= end:
            wrong = f"has expired at {_time(end)}" if now_unix_s > end else f"is valid only from {_time(begin)} on"
            raise ChannelError(f"{self._certificate} {wrong}, and it is {_time(now_unix_s)}")


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            content = opened.read(_FILE_MAX_BYTES + 1)
    except OSError as error:
        raise ChannelError(f"cannot read {file}: {error.strerror}") from error
    if len(content) > _FILE_MAX_BYTES:
        raise ChannelError(f"{file} must have at most {_FILE_MAX_BYTES} bytes")
    return content


def _stamp(file: Path) -> Stamp:
    try:
        status = file.stat()
    except OSError as error:
        raise ChannelError(f"cannot read {file}: {error.strerror}") from error
    return status.st_ino, status.st_size, status.st_mtime_ns


def _check_mode(file: Path) -> None:
    if stat.S_IMODE(os.stat(file).st_mode) & 0o077:
        raise ChannelError(f"{file} can be read by others: run chmod 600 {file}")


def _certificates(file: Path, content: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise ChannelError(f"{file} has no certificates in PEM: {error}") from error


def _time(unix_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(unix_s))
