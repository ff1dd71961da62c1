"""What is wrong with a node, or between two, is named by doctor with the command that mends it: with real agents."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mirror.cli.doctor import doctor
from testbed.agents import MODULE, Agent, Endpoints
from testbed.clock import Clock, clocks_move
from testbed.network import Host, Network, inside
from testbed.processes import remove_folder, run, wait_until

pytestmark = [pytest.mark.clients, pytest.mark.timeout(180)]

Findings = dict[str, list[dict[str, str]]]
UDP = "add table inet lost; add chain inet lost input { type filter hook input priority 0; }; add rule inet lost input "


class Site:
    """Agents on hosts of one network, and doctor on any of them."""

    def __init__(self, stack: ExitStack, folder: Path, network: Network) -> None:
        self._stack = stack
        self._folder = folder
        self.network = network
        (folder / "root").mkdir()

    def key(self, number: int) -> str:
        """The file of a cluster's key."""
        file = self._folder / f"key{number}"
        if not file.exists():
            file.touch(0o600)
            file.write_text(f"{number:064x}\n")
        return str(file)

    def launch(self, host: Host, *flags: str, name: str = "", key: int = 1, clock: Clock | None = None) -> Agent:
        """Start an agent, which may take a while to be ready."""
        name = name or host.name
        folder = self._folder / f"{host.name}-{len(list(self._folder.iterdir()))}"
        flags = ("--key-file", self.key(key), "--gossip-profile", "fast", "--offline", "all", *flags)
        program = clock.command(MODULE) if clock is not None else MODULE
        endpoints = Endpoints.at(host.address, "127.0.0.1")
        agent = Agent(folder, name, endpoints, flags, netns=host.netns, program=program)
        self._stack.callback(remove_folder, folder)
        self._stack.callback(agent.kill)
        agent.launch()
        return agent

    def start(self, host: Host, *flags: str, key: int = 1) -> Agent:
        """Start an agent, and wait until it is ready."""
        agent = self.launch(host, *flags, key=key)
        wait_until(agent.is_ready, f"{agent.name} to be ready")
        return agent

    def doctor(self, host: Host, *flags: str) -> tuple[int, Findings]:
        """The exit status of doctor on a host, and its findings by check; of an empty root, so that no runtime is."""
        command = ["--json", "--root", str(self._folder / "root"), *flags]
        # In this process, whose libraries are loaded: a command of its own takes a second for that.
        done = inside(host.netns, lambda: CliRunner().invoke(doctor, command))
        assert isinstance(done.exception, SystemExit), done.output
        found: Findings = {}
        for row in json.loads(done.stdout)["findings"]:
            found.setdefault(row["check"], []).append(row)
        return done.exit_code, found


@pytest.fixture
def site(tmp_path: Path, network: Network) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(stack, tmp_path, network)


def wrong(found: Findings, check: str) -> dict[str, str]:
    """The one finding of a check that is not well."""
    (finding,) = [row for row in found[check] if row["verdict"] in ("warning", "error")]
    return finding


def verdicts(found: Findings) -> set[str]:
    return {row["verdict"] for rows in found.values() for row in rows}


def test_what_lies_between_nodes_is_told_apart_by_direction_size_and_time(site: Site, tmp_path: Path) -> None:
    if not clocks_move():
        pytest.skip("not installed: cc")
    hosts = [site.network.host(name) for name in ("n1", "n2", "n3")]
    clock = Clock(tmp_path)
    clock.be_wrong_by(3600)
    first = site.start(hosts[0])
    site.launch(hosts[2], "--join", hosts[0].address, clock=clock)
    second = site.start(hosts[1], "--join", hosts[0].address)
    wait_until(lambda: len(second.alive()) == len(first.alive()) == 3, "all to know each other")

    status, found = site.doctor(hosts[1])
    late = wrong(found, "clock")
    assert "n3's clock is 60 min ahead of this node's" in late["says"]
    assert "timedatectl" in late["command"]
    assert status == 2
    del found["clock"]
    assert verdicts(found) <= {"ok", "skipped"}, "nothing else is wrong"
    assert len(found["tcp"]) == len(found["udp"]) == len(found["mtu"]) == 2

    hosts[1].run("nft", f"{UDP} udp dport 7946 drop")
    _, there = site.doctor(hosts[1])
    _, here = site.doctor(hosts[0])
    hosts[1].run("nft", "delete table inet lost")
    assert all("this node gets no datagram of n" in row["says"] for row in there["udp"]), (there["udp"], there["tcp"])
    assert all(row["command"].startswith("nft insert rule") or "7946" in row["command"] for row in there["udp"])
    lost = wrong(here, "udp")  # of one member alone
    assert "n2 gets no datagram of this node" in lost["says"]
    assert lost["command"].startswith("on n2: ")

    run(["ip", "-n", hosts[1].switch, "link", "set", hosts[1].port, "mtu", "1300"])
    _, found = site.doctor(hosts[0])
    large = wrong(found, "mtu")
    assert "large ones are lost from here to n2 and from n2 to here" in large["says"]
    assert "mtu 1280" in large["command"]


@contextmanager
def full_disk(folder: Path) -> Iterator[Path]:
    """A file system of 1 MiB, which is full."""
    folder.mkdir()
    run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)])
    try:
        (folder / "filling").write_bytes(bytes(1_020_000))
        yield folder
    finally:
        run(["umount", "-l", str(folder)])


def test_a_node_that_is_set_up_wrongly_is_told_each_fault_with_what_mends_it(site: Site, tmp_path: Path) -> None:
    one, two = (site.network.host(name) for name in ("n1", "n2"))
    first = site.start(one)
    join = ["--join", one.address]

    def node_facts(agent: Agent) -> dict[str, Any]:
        facts: dict[str, Any] = agent.ask("/api/v1/doctor/node")
        return facts

    stranger = site.start(two, *join, key=2)
    wait_until(lambda: "another key" in node_facts(stranger)["alone"], "the key to be refused")
    status, found = site.doctor(two)
    assert status == 2
    assert "its certificate is of another key" in wrong(found, "keys")["says"]
    assert wrong(found, "keys")["command"].startswith(f"scp root@{one.address}:{site.key(2)} {site.key(2)}, then ")
    stranger.kill()

    with full_disk(tmp_path / "full") as disk:
        flags = ["--join", "10.78.0.99", "--containerd", "/run/none/c.sock", "--data-dir", str(disk / "data")]
        lost = site.start(two, *flags)
        wait_until(lambda: "No route" in node_facts(lost)["alone"], "the seed to be looked for in vain")
        status, found = site.doctor(two)
        lost.kill()
    assert status == 2
    assert "10.78.0.99:7946" in wrong(found, "cluster")["says"]
    assert "systemctl start containerd" in wrong(found, "containerd")["command"]
    assert "du -x" in wrong(found, "disk")["command"]

    given = ["--", "--key-file", site.key(1), "--peer", f"{two.address}:5001", "--gossip", f"{two.address}:7946"]
    listener = (
        "import socket, time; s = socket.create_server(('0.0.0.0', 5001)); print('x', flush=True); time.sleep(99)"
    )
    with subprocess.Popen(
        ["ip", "netns", "exec", two.netns, "python3", "-c", listener], stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        status, found = site.doctor(two, *given, "--data-dir", str(tmp_path / "new"))
        other.send_signal(signal.SIGKILL)
    assert status == 2
    assert f"peer: {two.address}:5001 (TCP) is taken by process {other.pid}" in wrong(found, "ports")["says"]
    assert wrong(found, "ports")["command"].startswith(f"kill {other.pid}")

    namesake = site.launch(two, *join, name="n1")
    assert namesake.wait() == 2
    status, found = site.doctor(two, *given, "--name", "n1", "--data-dir", str(namesake.folder))
    assert status == 2
    assert f"n1 is also the name of the node at {one.address}:7946" in wrong(found, "name")["says"]
    _, found = site.doctor(one)
    assert f"the node at {two.address}:7946 is called n1 as well" in wrong(found, "name")["says"]
    assert first.running
