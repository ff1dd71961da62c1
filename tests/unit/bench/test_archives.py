"""Archives: the disk holds the cache of one round at a time."""

import io
from pathlib import Path
from typing import Self

import pytest
from rich.console import Console

from bench import archives
from testbed.network import Address
from testbed.processes import Usage


class Agent:
    """Stands in for an agent, whose cache is a file."""

    url = "http://127.0.0.1:1"
    address = Address("127.0.0.1", 1)
    beside: list[list[str]]
    """The other agents' folders that each found when it was started."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Self:
        self.beside.append([path.name for path in self._folder.parent.glob("agent-*")])
        self._folder.mkdir()
        (self._folder / "cache").write_bytes(bytes(1000))
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def usage(self) -> Usage:
        return Usage(0.1, 1, 1)


def test_each_round_leaves_no_cache_to_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    skopeo = tools / "skopeo"
    skopeo.write_text('#!/bin/sh\nfor word; do :; done\nword="${word#oci-archive:}"\n: > "${word%:bench:1}"\n')
    skopeo.chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    monkeypatch.setattr(archives, "LoneAgent", Agent)
    monkeypatch.setattr(
        archives, "skvaller", lambda *words: ["sh", "-c", f": > '{words[3] if words[0] == 'save' else '/dev/null'}'"]
    )
    Agent.beside = []
    archives.measure(Console(file=io.StringIO()), 1024, tmp_path, quick=True)
    assert len(Agent.beside) > 1
    assert not any(Agent.beside)
