"""What all parts of one simulated run share."""

from dataclasses import dataclass

from ..core.config import GossipConfig
from .clock import Clock
from .host import Addresses
from .journal import Journal
from .network import Network


@dataclass(frozen=True, slots=True)
class Simulation:
    """The surroundings of the nodes of one run.

    Args:
        config: of all nodes.
        clock: the time.
        network: carries what nodes send.
        addresses: who gets it.
        journal: is told what happens.
    """

    config: GossipConfig
    clock: Clock
    network: Network
    addresses: Addresses
    journal: Journal
