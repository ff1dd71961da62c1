"""What takes part in a run, and who did what in it."""

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from testbed.counters import Flow, PortCounters
from testbed.images import Image, build_image
from testbed.network import Host, Network
from testbed.processes import Usage
from testbed.registry import Registry

from ..content import REPOSITORY
from ..report import BenchError
from .clients import Client, Crowd
from .modes import Mode


@dataclass(frozen=True, slots=True)
class Scene:
    """All that takes part in one run.

    Args:
        mode: whom the clients ask.
        upstream: the registry.
        link_bits: what the nodes' links carry, bits per second.
        clients: one per node.
        image_bytes: size of what they pull.
        counters: of the mode's control traffic.
        stack: ends what is started in the run.
        puller: makes another client on a node, not started, for an image.
        patience_s: how long one of those may take, seconds.
        watch_s: how long something is watched that may not end, or not happen, seconds.
        keys: that each node is to have, where a scenario gives them.
    """

    mode: Mode
    upstream: Registry
    link_bits: int
    clients: Sequence[Client]
    image_bytes: int
    counters: PortCounters
    stack: ExitStack
    puller: Callable[[Host, Image], Client]
    patience_s: float
    watch_s: float
    keys: int

    @property
    def network(self) -> Network:
        """Where its hosts are."""
        return self.mode.site.network

    @property
    def nodes(self) -> Sequence[Host]:
        """The hosts with a client."""
        return self.mode.site.nodes

    def control(self) -> Mapping[str, Flow]:
        """The control traffic of each host so far."""
        return self.counters.read()

    # Starting

    def launch(self, host: Host) -> None:
        """Start what is to run on a node, and return at once; only its containerd, where it has one, is waited for."""
        self._start_containerd(host)
        self.mode.launch(host, self.stack)

    def start(self, hosts: Sequence[Host]) -> None:
        """Start what is missing on some nodes, and return when they are together."""
        for host in hosts:
            self._start_containerd(host)
        self.mode.start(hosts, self.stack)

    def _start_containerd(self, host: Host) -> None:
        containerd = self.mode.site.containerds.get(host.name)
        if containerd is not None and not containerd.running:
            self.stack.callback(containerd.kill)
            containerd.start()

    # More to pull

    def image(self, tag: str, sizes: Sequence[int]) -> Image:
        """Another image of random content, which upstream has from now on.

        Args:
            tag: of its own.
            sizes: of its layers' files, bytes.
        """
        folder = self.mode.site.folder
        image = build_image(folder, f"docker.io/{REPOSITORY}:{tag}", sizes, seed=secrets.randbits(64))
        self.upstream.hold(image, REPOSITORY, tag)
        return image

    def client(self, host: Host, image: Image) -> Client:
        """Another client, which waits until it is told to pull."""
        client = self.stack.enter_context(self.puller(host, image))
        client.until_ready()
        return client

    def finish(self, clients: Sequence[Client], *, allow_errors: bool = False, more_s: float = 0.0) -> None:
        """Wait until such clients, which were told to pull, have ended.

        Args:
            clients: all of them.
            allow_errors: whether they may fail.
            more_s: how long they may take beyond what one pull may, seconds.

        Raises:
            BenchError: one has failed, and may not.
        """
        Crowd(clients, self.network, self.patience_s + more_s).until_ended(clients)
        for client in clients:
            if client.pull is not None and client.pull.errors and not allow_errors:
                raise BenchError(f"the client on {client.host.name} could not pull: {client.pull.errors[0]}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """Who did what in a scenario.

    Args:
        counted: the clients whose times and errors count.
        late: those of them that joined later.
        apart: those that are shown, and do not count.
        batches: the counted ones, by the order in which they went, where that was one batch after the other.
        gone: hosts that were away, or whose processes were: others suspect them rightly.
        lost: what each process that was killed had used, by host.
        fault_at: monotonic time of the fault, or of its end if nobody can go on before, seconds.
        figures: that only this scenario has, by name.
        times_ms: all times behind such a figure, milliseconds, by name.
    """

    counted: Sequence[Client]
    late: Sequence[Client] = ()
    apart: Sequence[Client] = ()
    batches: Sequence[Sequence[Client]] = ()
    gone: Collection[str] = ()
    lost: Mapping[str, Sequence[Usage]] = field(default_factory=dict)
    fault_at: float | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    times_ms: Mapping[str, Sequence[float]] = field(default_factory=dict)
