"""systemd is told what it wants to hear, and nobody else is."""

import socket
from pathlib import Path

import pytest

from mirror.systemd import READY, tell_systemd


@pytest.mark.parametrize("abstract", [False, True])
def test_it_hears_that_the_agent_is_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, abstract: bool) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0" + path if abstract else path)
        systemd.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + path if abstract else path)
        tell_systemd(READY)
        assert systemd.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", ["", "nothing", "/not/there", "@not there"])
def test_where_nobody_listens_nothing_happens(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    tell_systemd(READY)
