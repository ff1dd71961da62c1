"""A network with an upstream registry, agents and attackers; all of it goes at the end of a module."""

import base64
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from testbed.agents import Agent, Endpoints
from testbed.agents import odd as run_odd
from testbed.images import Image, build_image
from testbed.network import Address, Host, Network, remove_orphans
from testbed.processes import remove_folder
from testbed.registry import Registry
from tests.clients.attacks.attackers import Stranger
from tests.clients.conftest import need

KEY = bytes(range(32))


class Site:
    """Where an attack takes place.

    Args:
        folder: for everything on disk.
        stack: what is started ends with it.
    """

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.stack = stack
        self.network = Network(stack)
        host = self.network.host("upstream")
        self.upstream = stack.enter_context(
            Registry(folder / "registry", Address(host.address, 5000), netns=host.netns)
        )
        self._images = 0

    def host(self, name: str) -> Host:
        """A host of that name, made at the first call."""
        return self.network.hosts.get(name) or self.network.host(name)

    def stranger(self, name: str = "stranger") -> Stranger:
        """Somebody on a host of his own."""
        return Stranger(self.host(name))

    def image(self, tag: str, *sizes: int, repository: str = "library/app") -> Image:
        """An image that upstream has."""
        image = self.unpublished(tag, *sizes)
        self.upstream.push(image, repository, tag)
        return image

    def unpublished(self, tag: str, *sizes: int) -> Image:
        """An image that upstream has not."""
        self._images += 1
        folder = self.folder / "images"
        folder.mkdir(exist_ok=True)
        return build_image(folder, f"docker.io/library/app:{tag}", sizes, seed=1000 + self._images)

    def key_file(self, name: str, *keys: bytes) -> Path:
        """A file with cluster keys."""
        file = self.folder / f"{name}.key"
        file.touch(0o600)
        file.write_bytes(b"".join(base64.b64encode(key) + b"\n" for key in keys))
        return file

    def agent(
        self,
        name: str,
        *flags: str,
        join: Sequence[Agent] = (),
        odd: str = "",
        upstream: str = "",
        before: Sequence[str] = (),
    ) -> Agent:
        """Start an agent on a host of its own, which has joined the others then.

        Args:
            name: of agent and host.
            flags: more flags.
            join: agents that see it alive at the end.
            odd: what is odd about it, as in testbed's `odd_agent.py`.
            upstream: URL that stands for docker.io instead of the registry.
            before: a program that runs the agent, such as `prlimit`.
        """
        host = self.host(name)
        program = [*before, *run_odd(odd)]
        more = [*flags, "--upstream", f"docker.io={upstream or f'http://{self.upstream.address}'}"]
        for other in join:
            more += ["--join", other.gossip]
        folder, endpoints = self.folder / f"agent-{name}", Endpoints.at(host.address, "127.0.0.1")
        agent = Agent(folder, name, endpoints, more, netns=host.netns, program=program)
        self.stack.callback(remove_folder, folder)
        self.stack.callback(agent.kill)
        agent.start()
        for other in join:
            agent.until_state(other.name, "alive")
            other.until_state(name, "alive")
        return agent


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The site of a module's attacks."""
    need("ip", "tc", "nft", "docker-registry", "skopeo", "setpriv", "prlimit")
    remove_orphans()
    with ExitStack() as stack:
        yield Site(tmp_path_factory.mktemp("site"), stack)
