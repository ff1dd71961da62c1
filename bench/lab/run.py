"""`python -m bench lab`: a cluster on limited links, run after run, the modes taking turns."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.status import Status

from ..processes import need
from ..report import MIB, BenchError, Report
from . import tables
from .clients import Client, Crowd, CtrClient, HttpClient, Order
from .hosts import CLIENT_PORT, REGISTRY_PORT, UPSTREAM, Agent, Registry, keep_logs
from .image import Image, make_image
from .measure import PROXY, Found, Sampler, Scene, play
from .network import HEADERS, PREFIX, Network, orphaned, remove_orphans
from .scenarios import SCENARIOS, Scenario

CLIENTS: Final[Mapping[str, type[Client]]] = {"http": HttpClient, "ctr": CtrClient}

_TOGETHER_S: Final = 60.0
_GRACE_S: Final = 60.0
_PATIENCE: Final = 3.0
_COPIES_PER_NODE: Final = {"http": 1, "ctr": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is to be run.

    Args:
        scenario: its name.
        modes: who is asked, in each repeat.
        nodes: hosts with a client.
        image: bytes.
        layers: of the image, equally large.
        link: of each host, bits per second either way.
        upstream: the registry's link, bits per second either way.
        repeats: of each mode.
        client: http or ctr.
        parallel: blobs that a client asks for at a time.
        settle: seconds between the agents' having met and the pull.
        folder: for all files; None for the machine's temporary one.
        keep_logs: where logs are kept.
    """

    scenario: str
    modes: Sequence[str]
    nodes: int
    image: int
    layers: int
    link: int
    upstream: int
    repeats: int
    client: str
    parallel: int
    settle: float
    folder: Path | None
    keep_logs: Path | None

    @property
    def ideal_s(self) -> float:
        """How long one download takes over the narrowest link on its way."""
        narrowest = min(self.link, self.upstream) if SCENARIOS[self.scenario].upstream_counts else self.link
        return self.image * 8 * HEADERS / narrowest

    def details(self) -> Mapping[str, Any]:
        """For the JSON."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}


def measure(console: Console, settings: Settings, plot: Path | None) -> Report:
    """Run it all."""
    _check(settings)
    scenario = SCENARIOS[settings.scenario]
    found: list[Found] = []
    with _workplace(settings) as place, ExitStack() as stack, console.status("making the network") as status:
        lab = Lab(settings, Network(stack), place, status)
        for repeat in range(settings.repeats):
            found += [lab.run(scenario, mode, repeat) for mode in _turned(settings.modes, repeat)]
    if plot is not None:
        from .plots import draw

        draw(found, settings, plot)
    return tables.report(found, settings)


class Lab:
    """The hosts, on which one run follows the other.

    Args:
        settings: what is to be run.
        network: without hosts so far.
        place: folder for the runs' own folders.
        status: says how far it is.
    """

    def __init__(self, settings: Settings, network: Network, place: Path, status: Status) -> None:
        self._settings = settings
        self._network = network
        self._place = place
        self._status = status
        self._upstream = network.host(UPSTREAM, settings.upstream)
        self._proxy = network.host(PROXY, settings.link) if "pullthrough" in settings.modes else None
        self._nodes = [network.host(f"node{number}", settings.link) for number in range(1, settings.nodes + 1)]

    def run(self, scenario: Scenario, mode: str, repeat: int) -> Found:
        """One run: everything new, and everything gone afterwards."""
        folder = self._place / f"{mode}-{repeat + 1}"
        folder.mkdir()
        try:
            with ExitStack() as stack:
                return self._run(scenario, mode, repeat, folder, stack)
        finally:
            if self._settings.keep_logs is not None:
                keep_logs(folder, self._settings.keep_logs / folder.name)
            shutil.rmtree(folder)

    def _run(self, scenario: Scenario, mode: str, repeat: int, folder: Path, stack: ExitStack) -> Found:
        self._say(mode, repeat, "making an image")
        image = make_image(folder / "image", f"run{repeat + 1}", self._settings.image, self._settings.layers)
        scene = self._scene(mode, image, folder, stack)
        crowd = Crowd(scene.clients, _GRACE_S + _PATIENCE * self._settings.ideal_s * len(scene.clients))
        self._say(mode, repeat, "starting")
        first = 1 if scenario.alone is not None else len(self._nodes)
        self._start(scene, first, stack)
        if scenario.alone is not None:
            self._say(mode, repeat, "letting the first node pull")
            scenario.alone(scene, crowd, image)
            self._start(scene, len(self._nodes), stack)
        if scenario.prepare is not None:
            scenario.prepare(scene, image)
        self._say(mode, repeat, "settling")
        time.sleep(self._settings.settle)
        self._say(mode, repeat, "pulling")
        with Sampler(scene) as sampler:
            figures = play(scene, partial(scenario.play, scene, crowd), self._settings.ideal_s)
        pulls = {client.host.name: client.pull for client in scene.clients if client.pull is not None}
        return Found(mode, repeat, figures, pulls, sampler.samples)

    def _scene(self, mode: str, image: Image, folder: Path, stack: ExitStack) -> Scene:
        """The servers, started, and all that the nodes are to have, not started yet."""
        upstream = stack.enter_context(Registry(self._upstream, folder / UPSTREAM, image))
        proxy = None
        if mode == "pullthrough" and self._proxy is not None:
            proxy = stack.enter_context(Registry(self._proxy, folder / PROXY, upstream=self._upstream))
        agents: dict[str, Agent] = {}
        if mode == "skvaller":
            agents = {
                node.name: Agent(node, folder / node.name, self._nodes[0], self._upstream) for node in self._nodes
            }
        asked = {"skvaller": f"127.0.0.1:{CLIENT_PORT}", "direct": f"{self._upstream.address}:{REGISTRY_PORT}"}
        if proxy is not None:
            asked["pullthrough"] = f"{proxy.host.address}:{REGISTRY_PORT}"
        order = Order(image, asked[mode], self._settings.parallel)
        kind = CLIENTS[self._settings.client]
        clients = [kind(node, folder / node.name, order) for node in self._nodes]
        for node in self._nodes:
            self._network.limit_sent(node, self._settings.link)
        return Scene(
            mode, self._network, self._settings.link, self._nodes, upstream, agents, proxy, clients, image.size
        )

    def _start(self, scene: Scene, count: int, stack: ExitStack) -> None:
        """Start what is missing on so many nodes; when this returns, their clients lack nothing but the word."""
        agents = list(scene.agents.values())[:count]
        for agent in agents:
            if not agent.running:
                stack.enter_context(agent)
        names = {agent.host.name for agent in agents}
        for agent in agents:
            agent.until(partial(_sees_all, agent, names), "together with all others", _TOGETHER_S)
        for client in scene.clients[:count]:
            if not client.started:
                stack.enter_context(client)
        for client in scene.clients[:count]:
            client.until_ready()

    def _say(self, mode: str, repeat: int, what: str) -> None:
        title = f"{self._settings.scenario}, {self._settings.nodes} nodes, {mode}"
        self._status.update(f"{title}, {repeat + 1} of {self._settings.repeats}: {what}")


def _check(settings: Settings) -> None:
    """Say at once what would fail later."""
    if os.geteuid() != 0:
        raise BenchError("this bench makes network namespaces and needs root: sudo python -m bench lab")
    need(tc="iproute2", setpriv="util-linux", docker_registry="docker-registry")
    if settings.client == "ctr":
        need(ctr="containerd")
    modes = SCENARIOS[settings.scenario].modes
    for mode in settings.modes:
        if mode not in modes:
            raise BenchError(
                f"the scenario {settings.scenario} makes no sense with --mode {mode}: {' or '.join(modes)}"
            )


@contextmanager
def _workplace(settings: Settings) -> Iterator[Path]:
    """A folder with enough room, gone afterwards; what labs left whose process was killed goes at once."""
    parent = settings.folder or Path(tempfile.gettempdir())
    remove_orphans()
    for path in parent.glob(f"{PREFIX}*"):
        if orphaned(path.name):
            shutil.rmtree(path, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-", dir=parent, ignore_cleanup_errors=True) as name:
        free = shutil.disk_usage(name).free
        needed = settings.image * (2 + settings.nodes * _COPIES_PER_NODE[settings.client])
        if free < needed:
            raise BenchError(f"{parent} has {free / MIB:.0f} MiB free, but {needed / MIB:.0f} are needed: use --folder")
        yield Path(name)


def _sees_all(agent: Agent, names: set[str]) -> bool:
    return agent.sees() == names


def _turned(modes: Sequence[str], repeat: int) -> list[str]:
    """The modes, with another one first in each round, so that none profits from its place."""
    first = repeat % len(modes)
    return [*modes[first:], *modes[:first]]
