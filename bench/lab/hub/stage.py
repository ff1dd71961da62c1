"""The hosts, and what runs on them in a mode's run: the hub, containerds, and whatever the clients ask."""

import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from testbed.containerd import Containerd
from testbed.hub import NAMES, Allowance, Hub, PullLimits
from testbed.hub.authority import Authority
from testbed.images import Image, build_image
from testbed.internet import Internet
from testbed.network import Host, Network
from testbed.processes import remove_folder

from ..modes import PROXY, Mode, Site
from ..modes.table import MODES
from ..programs import Programs
from .settings import FRESH_S, POLITENESS, WINDOW_S, Settings

WATCHED: Final = "library/watched"
"""Of repositories whose names begin so, agents believe for `FRESH_S` what upstream says of a tag."""

TAG: Final = "1"

_POLICY: Final = f'[[tag]]\npattern = "docker.io/{WATCHED}*"\nfresh-for = "{FRESH_S}s"\n'


@dataclass(frozen=True, slots=True)
class Stage:
    """All that takes part in a mode's run, and runs.

    Args:
        mode: whom the clients ask.
        hub: what counts.
        nodes: hosts with clients.
        line: the line of all of them to the hub, which can be cut.
        images: by the repository that has them; each has the tag `TAG`.
        containerds: by host; none where nobody pulls with one.
        folder: for more images.
    """

    mode: Mode
    hub: Hub
    nodes: Sequence[Host]
    line: Host
    images: Mapping[str, Image]
    containerds: Mapping[str, Containerd]
    folder: Path

    def image(self, repository: str, size: int) -> Image:
        """One more image, which the hub has from now on."""
        image = _image(self.folder, repository, size)
        self.hub.hold(image, repository, TAG)
        return image


class Ground:
    """Hosts behind one address, on which the modes run one after the other.

    Args:
        settings: what is to be run.
        programs: of others.
        authority: which programs believe.
        stack: ends everything.
    """

    def __init__(self, settings: Settings, programs: Programs, authority: Authority, stack: ExitStack) -> None:
        self._settings = settings
        self._programs = programs
        self._network = Network(stack)
        self._nodes = [self._network.host(f"node{number}") for number in range(1, settings.nodes + 1)]
        self._proxy = self._network.host(PROXY)
        self._internet = Internet(self._network, stack, NAMES)
        self._authority = authority
        for host in (*self._nodes, self._proxy):
            self._internet.connect(host)

    def stage(
        self,
        mode: str,
        folder: Path,
        stack: ExitStack,
        *,
        nodes: int | None = None,
        pulls: bool = True,
        flags: Sequence[str] = (),
    ) -> Stage:
        """Everything new, and running.

        Args:
            mode: its name.
            folder: for all files.
            stack: ends it all.
            nodes: how many of the nodes take part; None: all.
            pulls: whether clients pull with the containerds of their nodes; if not, the hub limits nobody.
            flags: that agents are given.
        """
        hosts = self._nodes[:nodes]
        hub = self._hub(self._settings.limit if pulls else None, stack)
        images = {}
        for number in range(self._settings.images):
            repository = f"library/app{number}"
            images[repository] = image = _image(folder, repository, self._settings.image)
            hub.hold(image, repository, TAG)
        containerds = self._containerds(hosts, folder, stack) if pulls else {}
        (folder / "agents.toml").write_text(_POLICY)
        flags = ["--config", str(folder / "agents.toml"), *flags]
        outside, spegel = self._internet.host, self._programs.spegel
        site = Site(
            self._network, hosts, outside, self._proxy, folder, containerds, spegel, hub_url=hub.url, agent_flags=flags
        )
        asked = MODES[mode].make(site)
        asked.start(hosts, stack)
        return Stage(asked, hub, hosts, outside, images, containerds, folder)

    def _hub(self, limit: int | None, stack: ExitStack) -> Hub:
        limits, netns = PullLimits(Allowance(limit, WINDOW_S)), self._internet.host.netns
        hub = Hub(self._internet.addresses, netns=netns, limits=limits, tls=self._authority.server)
        return stack.enter_context(hub.running())

    def _containerds(self, hosts: Sequence[Host], folder: Path, stack: ExitStack) -> Mapping[str, Containerd]:
        programs = self._programs.containerd
        assert programs is not None, "the clients are ctr"
        made = {host.name: Containerd(folder / host.name / "c", host.netns, programs) for host in hosts}
        for containerd in made.values():
            stack.callback(remove_folder, containerd.folder)
            stack.callback(containerd.kill)
            containerd.launch()
            os.setpriority(os.PRIO_PROCESS, containerd.pid, POLITENESS)
        for containerd in made.values():
            containerd.until(containerd.is_ready, "ready")
        return made


def _image(folder: Path, repository: str, size: int) -> Image:
    return build_image(folder, f"docker.io/{repository}:{TAG}", [size], seed=secrets.randbits(64))
