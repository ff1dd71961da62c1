"""Sites without a line: an agent that is offline sends nothing to anybody but members, not even to a name server."""

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence

import pytest

from testbed.agents import Agent, skvaller
from testbed.counters import counts_of
from testbed.images import Image
from testbed.network import Host, inside
from testbed.nodes import Node
from testbed.processes import WAIT_S, in_namespace

pytestmark = [pytest.mark.clients, pytest.mark.timeout(120)]

TAG = "docker.io/library/app:1"
OUTSIDE = "203.0.113.1"
"""A gateway to everywhere else (RFC 5737). Nobody answers there, but what is meant for others is sent."""


def count_what_leaves(host: Host, *members: str) -> None:
    """From now on, count what a host sends to anybody but these members and itself."""
    for command in (f"address add {OUTSIDE[:-1]}2/24 dev eth0", f"route add default via {OUTSIDE}"):
        host.run("ip", *command.split())
    host.run("ip", "neighbour", "add", OUTSIDE, "lladdr", "02:00:00:00:00:01", "dev", "eth0")
    known = ", ".join([*members, host.address, "127.0.0.0/8"])
    rules = ["ip daddr != { " + known + " }", "meta l4proto { tcp, udp } th dport { 53, 853 }", "ip6 daddr 2000::/3"]
    commands = ["add table inet outside", "add counter inet outside sent"]
    commands.append("add chain inet outside output { type filter hook output priority 0; }")
    commands += [f"add rule inet outside output {rule} counter name sent" for rule in rules]
    host.run("nft", "; ".join(commands))


def left(host: Host) -> int:
    """How many packets were counted."""
    return counts_of(host.run("nft", "-j", "list", "counters", "table", "inet", "outside"))["sent"].packets


def status(host: Host, path: str, method: str = "GET") -> int:
    """The status of an answer of the agent of a host."""

    def ask() -> int:
        try:
            request = urllib.request.Request(f"http://127.0.0.1:5000/v2/{path}?ns=docker.io", method=method)
            with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    return inside(host.netns, ask)


def says(node: Node, *words: str) -> str:
    """What a command prints about the agent of a node, errors too."""
    command = in_namespace(node.host.netns, skvaller(*words, "--agent", node.agent.url))
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)
    return done.stdout + done.stderr


def test_not_a_packet_leaves_for_anybody_but_members(
    start_node: Callable[..., Node],
    start_member: Callable[..., tuple[Host, Agent]],
    make_image: Callable[..., Image],
) -> None:
    image = make_image(TAG, [300_000, 2_000_000])
    flags: Sequence[str] = ("--offline", "all")
    a = start_node("a", flags=flags)
    a.import_image(image)
    count_what_leaves(a.host, "10.78.0.3")
    b = start_node("b", a, flags=flags)
    count_what_leaves(b.host, a.host.address)
    a.agent.until_found(TAG, "a")
    b.agent.until_found(TAG, "a")

    b.pull(TAG)

    assert b.has(image)
    for path in (
        "library/none/manifests/1",
        f"library/none/blobs/sha256:{'ab' * 32}",
        f"library/app/referrers/sha256:{'ab' * 32}",
    ):
        for method in ("GET", "HEAD"):
            assert status(b.host, path, method) in (200, 404), path
    assert status(b.host, "library/app/tags/list") == 200
    assert "offline" in says(b, "refresh", TAG)
    says(b, "find", "docker.io/library/none:2")
    assert json.loads(says(b, "members", "--json"))["members"]
    assert (left(a.host), left(b.host)) == (0, 0)

    # That the counters count is shown by one that is not offline.
    host, online = start_member("online", a.agent)
    count_what_leaves(host, a.host.address, b.host.address)
    online.until_state("b", "alive")
    assert status(host, "library/none/manifests/1") == 404
    assert left(host) > 0
