"""Agents before a registry that counts pulls as Docker Hub does: what they cost, and what they do when none is left."""

import base64
import http.client
import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from testbed.agents import Agent
from testbed.hub import NAMES, Allowance, Hub, Kind, PullLimits
from testbed.hub.authority import Authority
from testbed.images import Image
from testbed.internet import PUBLIC, Internet
from testbed.network import Network, inside
from testbed.processes import wait_until
from tests.clients.pulling import Client, at_once

pytestmark = [pytest.mark.clients, pytest.mark.timeout(120)]

IMAGES = 4
NODES = "abc"
USER, PASSWORD = "robot", "hunter2"
BLOCKED = 'skvaller_upstream_blocked_seconds{registry="docker.io"}'


class Site:
    """Agents on hosts of a network, and a hub."""

    def __init__(self, network: Network, hub: Hub, start_agent: Callable[..., Agent]) -> None:
        self.network = network
        self.hub = hub
        self.agents: dict[str, Agent] = {}
        self._start_agent = start_agent

    def start(self, name: str, internet: Internet | None = None, *more: str) -> Agent:
        """Start an agent on a host of its own, which joins the first."""
        host = self.network.host(name)
        if internet is not None:
            internet.connect(host)
        joined = [word for other in list(self.agents.values())[:1] for word in ("--join", other.gossip)]
        flags = [*(self.hub.flags if internet is None else ()), *joined, *more]
        self.agents[name] = self._start_agent(name, host.address, *flags, listen="127.0.0.1", netns=host.netns)
        return self.agents[name]

    def until_together(self) -> None:
        for agent in self.agents.values():
            wait_until(lambda each=agent: each.alive() == set(self.agents), "all to see each other")  # type: ignore[misc]


@pytest.fixture
def images(make_image: Callable[..., Image]) -> dict[str, Image]:
    names = [f"library/app{number}" for number in range(IMAGES)]
    return {name: make_image(f"docker.io/{name}:1", [60_000, 10]) for name in names}


def status(agent: Agent, path: str) -> tuple[int, http.client.HTTPMessage]:
    def ask() -> tuple[int, http.client.HTTPMessage]:
        connection = http.client.HTTPConnection(*agent.address, timeout=20)
        try:
            connection.request("GET", f"{path}?ns=docker.io")
            answer = connection.getresponse()
            answer.read()
            return answer.status, answer.headers
        finally:
            connection.close()

    return inside(agent.netns, ask)


def test_a_cluster_behind_one_address_pays_once_for_each_image_and_lives_on_what_it_has(
    network: Network,
    start_agent: Callable[..., Agent],
    make_image: Callable[..., Image],
    images: dict[str, Image],
    tmp_path: Path,
) -> None:
    with ExitStack() as stack:
        authority, internet = Authority(tmp_path), Internet(network, stack, NAMES)
        stack.enter_context(authority.believed())
        limits, netns = PullLimits(Allowance(IMAGES, 3600), {USER: Allowance(200, 3600)}), internet.host.netns
        hub = Hub(internet.addresses, netns=netns, limits=limits, tls=authority.server, passwords={USER: PASSWORD})
        for repository, image in images.items():
            hub.hold(image, repository, "1", "2")
        stack.enter_context(hub.running())
        site = Site(network, hub, start_agent)
        for name in NODES:
            site.start(name, internet)
        site.until_together()
        agents = list(site.agents.values())

        def pull_all(tag: str) -> None:
            wanted = [partial(Client(agent).pull, f"{repository}:{tag}") for agent in agents for repository in images]
            assert set(at_once(*wanted)) == {image.manifest for image in images.values()}

        for tag in ("1", "1", "2"):
            pull_all(tag)
        assert (hub.counts()[Kind.MANIFEST], hub.counts()[Kind.LIMITED]) == (IMAGES, 0)

        hub.hold(make_image("docker.io/library/other:1", [10]), "library/other")
        unknown = partial(status, path="/v2/library/other/manifests/1")
        assert unknown(agents[0])[0] == 503
        wait_until(lambda: all(agent.metrics()[BLOCKED] > 0 for agent in agents), "all to know that the hub said no")
        told = hub.counts()[Kind.LIMITED]
        for agent in agents:
            said, headers = unknown(agent)
            assert (said, int(headers["Retry-After"]) > 0) == (503, True)
        pull_all("1")
        assert hub.counts()[Kind.LIMITED] == told, "nobody asks again before its time"
        assert all(PUBLIC in agent.get("/api/v1/members").decode() for agent in agents), "whose budget it is"

        auth = tmp_path / "config.json"
        auth.touch(0o600)
        encoded = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        auth.write_text(json.dumps({"auths": {"https://index.docker.io/v1/": {"auth": encoded}}}))
        rich = site.start("rich", internet, "--upstream-auth", str(auth))
        site.until_together()
        for agent in (rich, *agents):
            assert unknown(agent)[0] == 200, "an account has pulls of its own, and what it has got is there for all"
        assert hub.counts()[Kind.LIMITED] == told
        assert PASSWORD not in rich.output


def test_an_address_that_has_pulls_left_is_asked_where_others_have_none(
    network: Network, start_agent: Callable[..., Agent], images: dict[str, Image]
) -> None:
    host = network.host("hub")
    more = [host.address.rpartition(".")[0] + f".{number}" for number in (251, 252)]
    for address in more:
        host.run("ip", "address", "add", f"{address}/24", "dev", "eth0")
    limits = PullLimits(Allowance(IMAGES, 3600))
    hub = Hub([host.address, *more], netns=host.netns, limits=limits, port=5000)
    for repository, image in images.items():
        hub.hold(image, repository)
    with hub.running():
        site = Site(network, hub, start_agent)
        for name in NODES:
            site.start(name)
        site.until_together()
        for name in NODES[:-1]:
            for _ in range(IMAGES):
                limits.pull("", network.hosts[name].address, time.monotonic())
        for repository, image in images.items():
            assert Client(site.agents["a"]).pull(f"{repository}:1") == image.manifest
        assert hub.counts()[Kind.LIMITED] <= len(NODES) - 1
