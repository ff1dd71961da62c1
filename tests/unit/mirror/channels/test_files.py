"""Certificates of an operator's own authority: what is refused, with its reason, and that a new file is noticed."""

import os
from pathlib import Path

import pytest

from mirror.channels import ChannelError
from mirror.channels.certificates import Authority
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
