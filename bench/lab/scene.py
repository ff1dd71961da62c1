"""What takes part in a run, and who did what in it."""

from collections.abc import Sequence
from dataclasses import dataclass

from testbed.network import Host, Network
from testbed.processes import Usage
from testbed.registry import Registry

from .clients import Client
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
    """

    mode: Mode
    upstream: Registry
    link_bits: int
    clients: Sequence[Client]
    image_bytes: int

    @property
    def network(self) -> Network:
        """Where its hosts are."""
        return self.mode.site.network

    @property
    def nodes(self) -> Sequence[Host]:
        """The hosts with a client."""
        return self.mode.site.nodes


@dataclass(frozen=True, slots=True)
class Outcome:
    """Who did what in a scenario.

    Args:
        counted: the clients whose times and errors count.
        late: those of them that joined later.
        apart: those that are shown, and do not count.
        batches: the counted ones, by the order in which they went, where that was one batch after the other.
        killed: host whose process was killed.
        lost: what that one had used.
    """

    counted: Sequence[Client]
    late: Sequence[Client] = ()
    apart: Sequence[Client] = ()
    batches: Sequence[Sequence[Client]] = ()
    killed: str | None = None
    lost: Usage | None = None
