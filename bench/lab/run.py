"""`python -m bench lab`: a cluster on limited links, run after run, the modes taking turns."""

import secrets
import shutil
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.status import Status

from testbed.containerd import Containerd
from testbed.images import Image, build_image
from testbed.network import Host, Network, remove_orphans

from ..content import REPOSITORY
from ..machine import need, need_root, workplace
from ..report import BenchError, Report
from ..rounds import turned
from . import tables
from .clients import Client, Crowd, CtrClient, HttpClient, Order
from .measure import Sampler, play
from .modes import PROXY, Mode, Site
from .modes.table import MODES
from .programs import Programs, find
from .results import Found
from .scenarios import SCENARIOS, Scenario
from .scene import Scene
from .servers import UPSTREAM, keep_logs, registry_on
from .settings import Settings

_GRACE_S: Final = 60.0
_PATIENCE: Final = 3.0
"""A client is given up after `_GRACE_S` seconds and `_PATIENCE` times what all would take one after the other."""

_COPIES_PER_NODE: Final = {"http": 1, "ctr": 3}
"""How many copies of the image a host has at most: in its agent's cache, and in containerd packed and unpacked."""


def measure(console: Console, settings: Settings, plot: Path | None) -> Report:
    """Run it all."""
    programs = _check(settings)
    scenario = SCENARIOS[settings.scenario]
    found: list[Found] = []
    remove_orphans()
    needed_bytes = settings.image * (2 + settings.nodes * _COPIES_PER_NODE[settings.client])
    with (
        workplace(settings.folder, needed_bytes) as place,
        ExitStack() as stack,
        console.status("making the network") as status,
    ):
        lab = Lab(settings, programs, Network(stack), place, status)
        for repeat in range(settings.repeats):
            found += [lab.run(scenario, mode, repeat) for mode in turned(settings.modes, repeat)]
    if plot is not None:
        from .plots import draw

        draw(found, settings, plot)
    return tables.report(found, settings, programs.versions)


class Lab:
    """The hosts of the lab, and the runs on them, one after the other.

    Args:
        settings: what is to be run.
        programs: of others, that it needs.
        network: without hosts so far.
        place: folder for the runs' own folders.
        status: shows the progress.
    """

    def __init__(self, settings: Settings, programs: Programs, network: Network, place: Path, status: Status) -> None:
        self._settings = settings
        self._programs = programs
        self._network = network
        self._place = place
        self._status = status
        self._upstream = network.host(UPSTREAM, settings.upstream)
        proxied = any(MODES[mode].proxied for mode in settings.modes)
        self._proxy = network.host(PROXY, settings.link) if proxied else None
        self._nodes = [network.host(f"node{number}", settings.link) for number in range(1, settings.nodes + 1)]
        if settings.loss:
            network.lose(settings.loss)

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
        image = self._image(folder, f"run{repeat + 1}")
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

    def _image(self, folder: Path, tag: str) -> Image:
        """A new image of random content."""
        sizes = [self._settings.image // self._settings.layers] * self._settings.layers
        return build_image(folder, f"docker.io/{REPOSITORY}:{tag}", sizes, seed=secrets.randbits(64))

    def _scene(self, mode: str, image: Image, folder: Path, stack: ExitStack) -> Scene:
        """The servers, started, and all that the nodes are to have, not started yet."""
        upstream = stack.enter_context(registry_on(self._upstream, folder / UPSTREAM, image))
        containerds = {}
        if (programs := self._programs.containerd) is not None:
            containerds = {
                node.name: Containerd(folder / node.name / "c", node.netns, programs) for node in self._nodes
            }
        spegel = self._programs.spegel
        site = Site(self._network, self._nodes, self._upstream, self._proxy, folder, containerds, spegel)
        asked = MODES[mode].make(site)
        clients = [self._client(asked, node, image) for node in self._nodes]
        for node in self._nodes:
            node.limit_sent(self._settings.link)
        return Scene(asked, upstream, self._settings.link, clients, image.total)

    def _client(self, mode: Mode, node: Host, image: Image) -> Client:
        order = Order(image, mode.asked(node), self._settings.parallel)
        containerd = mode.site.containerds.get(node.name)
        if containerd is None:
            return HttpClient(node, mode.site.place(node), order)
        return CtrClient(node, mode.site.place(node), order, containerd, mode.hosts_dir(node))

    def _start(self, scene: Scene, count: int, stack: ExitStack) -> None:
        """Start what is missing on the first `count` nodes; then their clients only wait to be told to pull."""
        for node in self._nodes[:count]:
            containerd = scene.mode.site.containerds.get(node.name)
            if containerd is not None and not containerd.running:
                stack.callback(containerd.kill)
                containerd.start()
        scene.mode.start(self._nodes[:count], stack)
        for client in scene.clients[:count]:
            if not client.started:
                stack.enter_context(client)
        for client in scene.clients[:count]:
            client.until_ready()

    def _say(self, mode: str, repeat: int, what: str) -> None:
        title = f"{self._settings.scenario}, {self._settings.nodes} nodes, {mode}"
        self._status.update(f"{title}, {repeat + 1} of {self._settings.repeats}: {what}")


def _check(settings: Settings) -> Programs:
    """Refuse at once what would fail later; return what was found."""
    need_root("lab")
    need(tc="iproute2", nft="nftables", setpriv="util-linux", docker_registry="docker-registry")
    if settings.client == "ctr" and settings.spegel_containerd is None:
        need(containerd="containerd", ctr="containerd")
    if SCENARIOS[settings.scenario].needs_mirror:
        mirrors = [kind.name for kind in MODES.values() if kind.mirrors]
        for mode in settings.modes:
            if mode not in mirrors:
                raise BenchError(
                    f"the scenario {settings.scenario} makes no sense with --mode {mode}: {' or '.join(mirrors)}"
                )
    with_spegel = any(MODES[mode].spegel for mode in settings.modes)
    if with_spegel and settings.client != "ctr":
        raise BenchError(
            f"--mode spegel makes no sense with --client {settings.client}: Spegel serves what a containerd has, so "
            "add --client ctr"
        )
    return find(
        containerd=settings.spegel_containerd, spegel=settings.spegel, client=settings.client, with_spegel=with_spegel
    )
