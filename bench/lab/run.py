"""`python -m bench lab`: a cluster on limited links, run after run, the modes taking turns."""

import secrets
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from rich.console import Console

from testbed.containerd import Containerd
from testbed.counters import PortCounters
from testbed.images import Image, build_image
from testbed.network import Host, Network, remove_orphans

from ..content import REPOSITORY
from ..machine import need, need_root, workplace
from ..report import BenchError, Report
from ..rounds import turned
from . import tables
from .clients import Client, Crowd, CtrClient, HttpClient, Order
from .measure import Sampler, play
from .modes import PROXY, ApartError, Site
from .modes.table import MODES, Kind
from .programs import Programs, find
from .progress import Progress
from .results import Found
from .scenarios import SCENARIOS, Needs, Scenario
from .scene import Scene
from .servers import UPSTREAM, keep_logs, registry_on
from .settings import Settings

_SLOWNESS: Final = 3.0
"""A client is given up after `patience` seconds and so many times what all would take one after the other."""

_TINY_BYTES: Final = 64 * 1024
"""Size of the image in a scenario in which nobody pulls it."""

_COPIES_PER_NODE: Final = {"http": 1, "ctr": 3}
"""How many copies of the image a host has at most: in its agent's cache, and in containerd packed and unpacked."""


def measure(console: Console, settings: Settings) -> Report:
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
        progress = Progress(settings.repeats * len(settings.modes))

        def say(what: str) -> None:
            status.update(f"{progress}: {what}")

        lab = Lab(settings, programs, Network(stack, settings.congestion), place, say)
        for repeat in range(settings.repeats):
            for mode in turned(settings.modes, repeat):
                found.append(lab.run(scenario, mode, repeat))
                progress.ended()
                if not console.is_terminal:
                    console.print(f"{settings.scenario}, {mode}: ended; {progress}", highlight=False)
    report = tables.report(found, settings, programs.versions)
    return replace(report, draw=partial(_draw, found, settings)) if scenario.pulls else report


def _draw(found: Sequence[Found], settings: Settings, target: Path) -> None:
    """Matplotlib, which not every machine has, is loaded when something is drawn."""
    from .plots import draw

    draw(found, settings, target)


class Lab:
    """The hosts of the lab, and the runs on them, one after the other.

    Args:
        settings: what is to be run.
        programs: of others, that it needs.
        network: without hosts so far.
        place: folder for the runs' own folders.
        show: is told what happens.
    """

    def __init__(
        self, settings: Settings, programs: Programs, network: Network, place: Path, show: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._programs = programs
        self._network = network
        self._place = place
        self._show = show
        self._upstream = network.host(UPSTREAM, settings.upstream)
        proxied = any(MODES[mode].proxied for mode in settings.modes)
        self._proxy = network.host(PROXY, settings.link) if proxied else None
        self._nodes = [network.host(f"node{number}", settings.link) for number in range(1, settings.nodes + 1)]
        if settings.loss:
            network.lose(settings.loss)

    def run(self, scenario: Scenario, mode: str, repeat: int) -> Found:
        """One run, which is begun again once if the processes do not find each other."""
        return or_again(partial(self._in_folder, scenario, mode, repeat), f"{mode}-{repeat + 1}")

    def _in_folder(self, scenario: Scenario, mode: str, repeat: int, name: str) -> Found:
        """One run: everything new, and everything gone afterwards."""
        folder = self._place / name
        folder.mkdir()
        try:
            with ExitStack() as stack:
                return self._run(scenario, mode, repeat, folder, stack)
        finally:
            if self._settings.keep_logs is not None:
                keep_logs(folder, self._settings.keep_logs / folder.name)
            shutil.rmtree(folder)

    def _run(self, scenario: Scenario, mode: str, repeat: int, folder: Path, stack: ExitStack) -> Found:
        self._say(mode, "making an image")
        image = self._image(folder, f"run{repeat + 1}", pulled=scenario.pulls)
        scene = self._scene(mode, image, folder, stack)
        patience_s = self._settings.patience_s + _SLOWNESS * self._settings.ideal_s * len(scene.clients)
        crowd = Crowd(scene.clients, scene.network, patience_s)
        if not scenario.starts:
            self._say(mode, "starting")
            on_its_own = scenario.first is not None and MODES[mode].homes
            self._start(scene, 1 if on_its_own else len(self._nodes))
        if scenario.first is not None:
            self._say(mode, "letting the first node pull")
            scenario.first(scene, crowd, image)
            self._start(scene, len(self._nodes))
        if scenario.prepare is not None:
            scenario.prepare(scene, image)
        self._say(mode, "settling")
        time.sleep(self._settings.settle)
        self._say(mode, scenario.what)
        sampler = Sampler(scene)
        with sampler if scenario.pulls else nullcontext():  # idle nodes are left in peace
            figures, times_ms = play(scene, partial(scenario.play, scene, crowd), self._settings.ideal_s)
        pulls = {client.host.name: client.pull for client in scene.clients if client.pull is not None}
        return Found(mode, repeat, figures, pulls, sampler.samples, times_ms)

    def _image(self, folder: Path, tag: str, *, pulled: bool) -> Image:
        """A new image of random content."""
        size = self._settings.image if pulled else _TINY_BYTES
        sizes = [size // self._settings.layers] * self._settings.layers
        return build_image(folder, f"docker.io/{REPOSITORY}:{tag}", sizes, seed=secrets.randbits(64))

    def _scene(self, mode: str, image: Image, folder: Path, stack: ExitStack) -> Scene:
        """The servers, started, and all that the nodes are to have, not started yet."""
        upstream = stack.enter_context(registry_on(self._upstream, folder / UPSTREAM, image))
        containerds = {}
        if (programs := self._programs.containerd) is not None:
            parallel = self._settings.parallel
            containerds = {
                node.name: Containerd(folder / node.name / "c", node.netns, programs, parallel) for node in self._nodes
            }
        spegel = self._programs.spegel
        site = Site(self._network, self._nodes, self._upstream, self._proxy, folder, containerds, spegel)
        asked = MODES[mode].make(site)
        hosts_dirs = {node.name: asked.hosts_dir(node) for node in self._nodes} if containerds else {}

        def client(node: Host, pulled: Image) -> Client:
            """One in a folder of its own, which is named after the image's tag."""
            order = Order(pulled, asked.asked(node), self._settings.parallel, self._settings.patience_s)
            place = site.place(node) / order.tag
            if not containerds:
                return HttpClient(node, place, order)
            return CtrClient(node, place, order, containerds[node.name], hosts_dirs[node.name])

        for node in self._nodes:
            node.limit_sent(self._settings.link)
        self._upstream.limit_sent(self._settings.upstream * (1 if MODES[mode].shares_upstream else len(self._nodes)))
        ports = [asked.control_port] if asked.control_port is not None else []
        return Scene(
            asked,
            upstream,
            self._settings.link,
            clients=[client(node, image) for node in self._nodes],
            image_bytes=image.total,
            counters=stack.enter_context(PortCounters(list(self._network.hosts.values()), ports)),
            stack=stack,
            puller=client,
            patience_s=self._settings.patience_s,
            watch_s=self._settings.watch_s,
            keys=self._settings.keys,
        )

    def _start(self, scene: Scene, count: int) -> None:
        """Start what is missing on the first `count` nodes; then their clients only wait to be told to pull."""
        scene.start(self._nodes[:count])
        for client in scene.clients[:count]:
            if not client.started:
                scene.stack.enter_context(client)
        for client in scene.clients[:count]:
            client.until_ready()

    def _say(self, mode: str, what: str) -> None:
        self._show(f"{self._settings.scenario}, {self._settings.nodes} nodes, {mode}: {what}")


def or_again(run: Callable[[str], Found], name: str) -> Found:
    """What a run of some name has found; or, if its processes were not together, another one, whose figures say so.

    Raises:
        ApartError: the processes of both have not found each other.
    """
    try:
        return run(name)
    except ApartError:
        found = run(f"{name}-again")
        return replace(found, figures={**found.figures, "begun_again": 1})


def _check(settings: Settings) -> Programs:
    """Refuse at once what would fail later; return what was found."""
    need_root("lab")
    need(tc="iproute2", nft="nftables", setpriv="util-linux", docker_registry="docker-registry")
    if settings.client == "ctr" and settings.spegel_containerd is None:
        need(containerd="containerd", ctr="containerd")
    scenario = SCENARIOS[settings.scenario]
    if settings.nodes < scenario.nodes_least:
        raise BenchError(f"the scenario {scenario.name} needs --nodes {scenario.nodes_least} or more")
    fitting = [kind.name for kind in MODES.values() if fits(kind, scenario.needs)]
    for mode in settings.modes:
        if mode not in fitting:
            raise BenchError(f"the scenario {scenario.name} makes no sense with --mode {mode}: {' or '.join(fitting)}")
    for mode in settings.modes:
        if MODES[mode].dht and find_spec("libp2p") is None:
            raise BenchError(f"--mode {mode} needs libp2p: pip install '.[dht]'")
    with_spegel = any(MODES[mode].spegel for mode in settings.modes)
    if with_spegel and settings.client != "ctr":
        raise BenchError(
            f"--mode spegel makes no sense with --client {settings.client}: Spegel serves what a containerd has, so "
            "add --client ctr"
        )
    return find(
        containerd=settings.spegel_containerd, spegel=settings.spegel, client=settings.client, with_spegel=with_spegel
    )


def fits(kind: Kind, needs: Needs) -> bool:
    """Whether a scenario makes sense in a mode."""
    return {Needs.NOTHING: True, Needs.MIRROR: kind.mirrors, Needs.DISCOVERY: kind.discovers}[needs]
