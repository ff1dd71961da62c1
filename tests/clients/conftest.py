"""Real parts for tests, in folders of the test's own: containerd with ctr, docker-registry, skopeo, agents, images."""

import itertools
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from testbed.agents import Agent, Endpoints
from testbed.agents import odd as run_odd
from testbed.containerd import Containerd
from testbed.images import Image, build_image
from testbed.network import Address, free_address
from testbed.processes import missing, remove_folder
from testbed.recorder import Recorder
from testbed.registry import Registry


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what tests have measured: their property `figure`."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "figure" and report.when == "call":
                terminalreporter.line(str(value))


def need(*tools: str) -> None:
    """Skip the test, and say why, where a tool or the right to use it is missing."""
    if absent := missing(*tools):
        pytest.skip(f"not installed: {', '.join(absent)}")
    if os.geteuid() != 0:
        pytest.skip("needs root")


@pytest.fixture
def recorder() -> Recorder:
    """A listener for a store."""
    return Recorder()


@pytest.fixture
def make_image(tmp_path: Path) -> Iterator[Callable[..., Image]]:
    """`build_image` in a folder that goes at the end: `make_image(name, layer_sizes, seed=…, compress=…)`."""
    folder = tmp_path / "images"
    folder.mkdir()
    seeds = itertools.count()

    def make(name: str, layer_sizes: Sequence[int], *, seed: int | None = None, compress: bool = False) -> Image:
        return build_image(folder, name, layer_sizes, seed=next(seeds) if seed is None else seed, compress=compress)

    yield make
    shutil.rmtree(folder)


@pytest.fixture
def start_containerd(tmp_path: Path) -> Iterator[Callable[..., Containerd]]:
    """Start a containerd: `start_containerd(name="c", netns=None, parallel=3)`; stopped and removed at the end."""
    need("containerd", "ctr", "setpriv")
    with ExitStack() as stack:

        def start(name: str = "c", netns: str | None = None, parallel: int = 3) -> Containerd:
            containerd = Containerd(tmp_path / name, netns, parallel=parallel)
            stack.callback(remove_folder, containerd.folder)
            return stack.enter_context(containerd)

        yield start


@pytest.fixture
def start_registry(tmp_path: Path) -> Iterator[Callable[..., Registry]]:
    """Start a docker-registry: `start_registry(address=None, name="r", netns=None)`; stopped and removed at the end."""
    need("docker-registry", "skopeo", "setpriv")
    with ExitStack() as stack:

        def start(address: Address | None = None, name: str = "r", netns: str | None = None) -> Registry:
            registry = Registry(tmp_path / name, address or free_address(), netns=netns)
            stack.callback(remove_folder, registry.folder)
            return stack.enter_context(registry)

        yield start


@pytest.fixture
def loopback() -> Callable[[], str]:
    """Give an address of 127.0.0.0/8 that nobody else uses, with all its ports: unlike for a port, there is no race."""
    pid, count = os.getpid(), itertools.count(1)
    return lambda: f"127.{pid // 250 % 250 + 1}.{pid % 250 + 1}.{next(count)}"


@pytest.fixture
def start_agent(tmp_path: Path) -> Iterator[Callable[..., Agent]]:
    """Start an agent: `start_agent(name, host, *flags, listen=host, netns=None, odd="")`; removed at the end.

    `odd` says what is odd about it, as in testbed's `odd_agent.py`; an ordinary one has none.
    """
    if missing("setpriv"):
        pytest.skip("not installed: setpriv")
    with ExitStack() as stack:

        def start(
            name: str,
            host: str,
            *flags: str,
            listen: str | None = None,
            netns: str | None = None,
            odd: str = "",
        ) -> Agent:
            folder, endpoints = tmp_path / f"agent-{name}", Endpoints.at(host, listen)
            agent = Agent(folder, name, endpoints, flags, netns=netns, program=run_odd(odd))
            stack.callback(remove_folder, agent.folder)
            stack.callback(agent.kill)
            agent.start()
            return agent

        yield start
