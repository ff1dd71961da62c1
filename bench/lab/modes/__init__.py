"""The contract of a mode: what stands between the clients and upstream in a run, and what it can tell of itself.

A mode is made anew for each run, and runs one process on each host, or on one host, or none. Scenarios, tables and
counters know modes by this contract alone; `table.py` names them all.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from testbed.containerd import Containerd, write_hosts
from testbed.errors import RunError
from testbed.images import Image
from testbed.network import Host, Network, Traffic
from testbed.processes import Process, Usage

from ..asking import TIMEOUT_S, Asker
from ..finding import Finder, MirrorFinder
from ..servers import REGISTRY_PORT, UPSTREAM

MEMBERS: Final = "members"
"""In the samples: all hosts with a client together, as a source."""

PROXY: Final = "proxy"
"""Name of the host with the pull-through cache, which is a source too."""

_TOGETHER_S: Final = 60.0
"""How long processes may take to find each other, seconds: a hundred that start on two cores need half of it."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where a run takes place.

    Args:
        network: where its hosts are.
        nodes: the hosts with a client.
        upstream: the registry's host.
        proxy: the host for a pull-through cache, if there is one.
        folder: for all files of the run; a host's are in the one of its name.
        containerds: by host; none where the clients do without.
        spegel: command or path, if a mode runs it.
        hub_url: where upstream is, if it is docker.io itself, so that nobody has to be told.
        agent_flags: what all agents are told, whatever the mode.
    """

    network: Network
    nodes: Sequence[Host]
    upstream: Host
    proxy: Host | None
    folder: Path
    containerds: Mapping[str, Containerd] = field(default_factory=dict)
    spegel: str | None = None
    hub_url: str | None = None
    agent_flags: Sequence[str] = ()

    @property
    def upstream_address(self) -> str:
        """HOST:PORT of the registry."""
        return f"{self.upstream.address}:{REGISTRY_PORT}"

    @property
    def url(self) -> str:
        """Of the registry."""
        return self.hub_url or f"http://{self.upstream_address}"

    def place(self, host: Host) -> Path:
        """The folder of a host; made if it is not there."""
        place = self.folder / host.name
        place.mkdir(exist_ok=True)
        return place


class ApartError(RunError):
    """What was started on some hosts has not found each other in time."""


class Mode(ABC):
    """Whom the clients ask, in one run.

    Args:
        name: on the command line, and in the tables.
        site: where it runs.
    """

    control_port: int | None = None
    """TCP and UDP port of the hosts by which processes tell each other who is there and who has what; None without."""

    knows_others: bool = False
    """Whether a process knows those on the other hosts, so that `known_by` tells something."""

    asks_upstream: bool = True
    """Whether what the clients ask asks upstream for what nobody has; otherwise they have to, after its answer."""

    tells_sources: bool = False
    """Whether `sources` says where the bytes came from; otherwise `by_interfaces` does."""

    found_within_s: float = 15.0
    """How long all may take to learn what one holds, or a cache to store an image, seconds."""

    def __init__(self, name: str, site: Site) -> None:
        self.name = name
        self.site = site

    # What runs

    @property
    @abstractmethod
    def processes(self) -> Mapping[str, Process]:
        """By host: what is measured, killed and restarted; the same in the whole run, started or not."""

    def launch(self, host: Host, stack: ExitStack) -> None:
        """Start what runs on a host with a client, or start it again, and return at once.

        Args:
            host: nothing of this mode runs on it now.
            stack: ends the process when it closes.
        """
        process = self.processes.get(host.name)
        if process is not None:
            stack.callback(process.kill)  # nothing that it keeps outlives the run
            process.launch()

    def is_ready(self, host: Host) -> bool:
        """Whether what runs on a host says that it is ready to be asked."""
        return True

    def known_by(self, host: Host) -> set[str]:
        """The hosts whose processes the one on a host knows, its own included; empty while it does not answer."""
        return {node.name for node in self.site.nodes}

    def start(self, hosts: Sequence[Host], stack: ExitStack) -> None:
        """Start what is missing on some hosts, and return when all of them are ready and know each other.

        Raises:
            ApartError: they are not together in time.
            RunError: one has ended.
        """
        mine = [(host, process) for host in hosts if (process := self.processes.get(host.name)) is not None]
        for host, process in mine:
            if not process.running:
                self.launch(host, stack)
        names = {host.name for host, _ in mine}
        for host, process in mine:
            try:
                process.until(partial(self._is_together, host, names), "together with all others", _TOGETHER_S)
            except RunError as error:
                if not process.running:
                    raise
                raise ApartError(str(error)) from None

    def _is_together(self, host: Host, names: Collection[str]) -> bool:
        """Whether a host's process knows those of these hosts, and is ready; alone, some never say so."""
        return self.known_by(host).issuperset(names) and (len(names) == 1 or self.is_ready(host))

    def kill(self, name: str) -> Usage:
        """Kill the process on a host, as a crash would; return what it had used."""
        process = self.processes[name]
        lost = process.usage()
        process.kill()
        return lost

    # What the clients do

    @abstractmethod
    def asked(self, host: Host) -> str:
        """HOST:PORT that the client on a host asks."""

    def hosts_dir(self, host: Host) -> Path:
        """The folder that tells a host's `ctr` whom to ask: first as `asked` says, and then upstream itself."""
        folder = self.site.place(host) / "hosts"
        return write_hosts(folder, f"http://{self.asked(host)}", self.site.url)

    # What it knows

    @abstractmethod
    def until_found(self, holder: Host, image: Image) -> None:
        """Wait until whatever runs finds all of an image that the client of a host has pulled.

        Raises:
            RunError: it does not find it in time.
        """

    def busiest(self) -> str | None:
        """The host whose process has moved most bytes since the run began; None where there is none to kill."""
        return None

    def sources(self) -> Mapping[str, Mapping[str, int]]:
        """Bytes that the processes that answer have received, by host and source: another host, or `UPSTREAM`."""
        return {}

    def by_interfaces(self, carried: Mapping[str, Traffic]) -> Mapping[str, Sequence[float]]:
        """What the interfaces' counters say of sources, headers included.

        Args:
            carried: by every host, since the beginning.

        Returns:
            Bytes by kind of source, one number per host with a client; or one for all, divided by their number.
        """
        return {UPSTREAM: [carried[node.name].received for node in self.site.nodes]}

    def finder(self, host: Host, timeout_s: float = TIMEOUT_S) -> Finder:
        """Asks what runs on a host for content; by asking for the content itself, unless the mode knows better.

        Args:
            host: with a client.
            timeout_s: how long an answer may take, seconds.
        """
        return MirrorFinder(Asker(host, self.asked(host), timeout_s))

    def key_count(self, host: Host) -> int | None:
        """How many keys what runs on a host tells the others of; None if it does not say."""
        return None

    def counters(self) -> Mapping[str, float]:
        """Counters of its own, by host: what they count is the mode's."""
        return {}

    def figures(
        self, before: Mapping[str, float], after: Mapping[str, float], gone: Collection[str]
    ) -> Mapping[str, float]:
        """Figures that only this mode has, from its counters before and after.

        Args:
            before: what `counters` said.
            after: the same afterwards.
            gone: hosts that were away meanwhile, or whose processes were.
        """
        return {}
