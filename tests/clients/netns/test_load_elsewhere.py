"""`skvaller load` at an agent of another host: with the cluster's key it may, without it may not."""

import base64
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed.agents import Agent, skvaller
from testbed.archives import Layout, layer, tar_of
from testbed.errors import RunError
from testbed.network import Network

pytestmark = [pytest.mark.clients, pytest.mark.timeout(120)]


def test_who_has_the_key_loads_into_an_agent_of_another_host(
    network: Network, start_agent: Callable[..., Agent], tmp_path: Path
) -> None:
    here, there = network.host("here"), network.host("there")
    key = tmp_path / "key"
    key.write_bytes(base64.b64encode(os.urandom(32)))
    key.chmod(0o600)
    flags = ("--offline", "all", "--key-file", str(key), "--push", "key", "--allow-host", there.address)
    agent = start_agent("a", there.address, *flags, netns=there.netns)
    made = Layout()
    made.list(made.image([layer("x", 100_000)]), name="r.lan/app:1")
    (tmp_path / "made.tar").write_bytes(tar_of(made.files()))
    load = skvaller("load", str(tmp_path / "made.tar"), "--agent", agent.url)

    with pytest.raises(RunError, match="log in to push"):
        here.run(*load)
    here.run(*load, "--key-file", str(key))
    saved = here.run(*skvaller("save", "r.lan/app:1", "-o", str(tmp_path / "saved.tar"), "--agent", agent.url))
    assert made.entries[0]["digest"] in saved
