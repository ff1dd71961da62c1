"""What the agents of each mode are told of each other, and where their control traffic goes."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from bench.lab.modes import Mode, Site
from bench.lab.modes.table import MODES
from testbed.network import Host, Network

if TYPE_CHECKING:
    from testbed.processes import Process


def site(folder: Path) -> Site:
    hosts = [Host(f"node{number}", f"ns{number}", f"10.0.0.{number}", "s", "p") for number in (1, 2, 3)]
    upstream = Host("upstream", "ns9", "10.0.0.9", "s", "p")
    return Site(cast("Network", None), hosts, upstream, None, folder)


def words(mode: Mode, host: str) -> str:
    """The command line of what runs on a host."""
    process: Process = mode.processes[host]
    return " ".join(process.command)


@pytest.mark.parametrize("name", ["skvaller", "exact"])
def test_agents_that_gossip_join_the_first(tmp_path: Path, name: str) -> None:
    mode = MODES[name].make(site(tmp_path))
    assert mode.control_port == 7946
    assert "--join" not in words(mode, "node1")
    assert words(mode, "node3").endswith("--join 10.0.0.1")
    assert ("--router exact" in words(mode, "node1")) == (name == "exact")


@pytest.mark.parametrize(("name", "patience"), [("dht", "20ms"), ("dht-5s", "5s")])
def test_agents_with_a_dht_are_told_of_all_others(tmp_path: Path, name: str, patience: str) -> None:
    mode = MODES[name].make(site(tmp_path))
    assert mode.control_port == 4001
    told = words(mode, "node2")
    assert f"--router dht --dht 0.0.0.0:4001 --resolve-timeout {patience}" in told
    assert told.endswith("--bootstrap 10.0.0.1:4001 --bootstrap 10.0.0.3:4001")
    assert "--join" not in told


def test_clients_ask_their_own_agent_or_upstream(tmp_path: Path) -> None:
    ground = site(tmp_path)
    first = ground.nodes[0]
    assert MODES["skvaller"].make(ground).asked(first) == "127.0.0.1:5000"
    direct = MODES["direct"].make(ground)
    assert direct.asked(first) == "10.0.0.9:5000"
    assert not direct.processes
