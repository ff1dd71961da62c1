"""A Unix socket: its mode, what a process that was killed left, and what is not ours."""

import os
import socket
import stat
from pathlib import Path

import pytest

from mirror.addresses import Address, UnixAddress
from mirror.app.binding import Bound
from mirror.errors import ConfigError


def bound(path: Path, mode: int = 0o600) -> Bound:
    return Bound(UnixAddress(str(path), mode), "listen", 5)


def connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
        return True


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
@pytest.mark.parametrize("umask", [0o022, 0o077, 0])
def test_it_has_the_mode_that_the_operator_says(tmp_path: Path, mode: int, umask: int) -> None:
    before = os.umask(umask)
    try:
        made = bound(tmp_path / "a.sock", mode)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.sock").stat().st_mode) == mode
    made.close()


def test_it_goes_with_its_listener(tmp_path: Path) -> None:
    made = bound(tmp_path / "a.sock")
    assert connects(tmp_path / "a.sock")
    made.close()
    assert list(tmp_path.iterdir()) == []
    made.close()


def test_what_a_killed_process_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
        left.listen()
    assert path.exists()
    assert not connects(path)
    made = bound(path)
    assert connects(path)
    made.close()


def test_a_socket_in_use_is_left_to_its_owner(tmp_path: Path) -> None:
    first = bound(tmp_path / "a.sock")
    with pytest.raises(ConfigError, match=r"listen: cannot listen on unix:.*a\.sock: Address already in use"):
        bound(tmp_path / "a.sock")
    assert connects(tmp_path / "a.sock")
    first.close()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("content")
    with pytest.raises(ConfigError, match="is no socket"):
        bound(path)
    assert path.read_text() == "content"
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(ConfigError, match="is no socket"):
        bound(link)


def test_a_successors_socket_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    first = bound(path)
    path.rename(tmp_path / "moved")
    second = bound(path)
    first.close()
    assert connects(path)
    second.close()


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory"):
        bound(tmp_path / "none" / "a.sock")


def test_a_port_in_use_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"peer: cannot listen on 127.0.0.1:{port}"):
            Bound(Address("127.0.0.1", port), "peer", 5)
