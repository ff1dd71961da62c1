"""Chains of clusters, in which one's upstream is an agent of another one; and circles of them, which end.

A request to an upstream says which nodes passed it on, each by a mark that only those who know the node can read. A
node that finds a mark of its own cluster has been asked, over other ones, what its cluster asks for: it answers from
its stores alone, or the request would go round for ever. All other requests it answers as those of any client.

The marks belong to the request that somebody made, and go with it through all that is done for it: so they are a
context variable, as tracing has them, which every task inherits that the request starts. Of requests that share one
fetch, those of the first one count. Two of them can so wait for each other in a circle; timeouts end that.
"""

import hashlib
import re
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from functools import lru_cache

from ..routers import Peer

VIA_HEADER = "Skvaller-Via"
"""Of requests to upstream and to homes: the marks of the nodes that passed the request on, with commas between."""
MARKS_MAX = 8
"""Bounds the nodes that pass a request on: real chains have two or three. A longer one is taken for a circle."""
_MARK = re.compile("[0-9a-f]{16}")

came_by: ContextVar[tuple[str, ...]] = ContextVar("came_by", default=())
"""The marks of the nodes that passed on the request that is being answered."""


def read_marks(text: str | None) -> tuple[str, ...]:
    """Read the header; of what is no mark nothing is taken, and one mark more than is allowed."""
    if text is None:
        return ()
    marks = [part.strip() for part in text.split(",", MARKS_MAX + 1)]
    return tuple(mark for mark in marks if _MARK.fullmatch(mark))[: MARKS_MAX + 1]


@lru_cache(maxsize=4096)
def mark_of(cluster: str, peer: Peer) -> str:
    """The mark of a node: the same for all who know its name, address, and cluster.

    It does not tell them, but who guesses them can see that they are right.
    """
    return hashlib.sha256(f"{cluster}\n{peer.name}\n{peer.address}".encode()).hexdigest()[:16]


class Chain:
    """This node's place in chains.

    Args:
        cluster: the name of its cluster.
        name: its own.
        nodes: this node and those that it knows in its cluster.
    """

    def __init__(self, cluster: str, name: str, nodes: Callable[[], Iterable[Peer]]) -> None:
        self._cluster = cluster
        self._name = name
        self._nodes = nodes

    def passed_on(self) -> tuple[str, ...]:
        """The marks that what is asked of upstream now has to have: of those before, and of this node."""
        own = next((peer for peer in self._nodes() if peer.name == self._name), Peer(self._name, "", 0))
        return (*came_by.get(), mark_of(self._cluster, own))

    def is_circle(self, marks: Iterable[str]) -> bool:
        """Whether a request with these marks has come through this cluster before, or through too many others."""
        marks = frozenset(marks)
        if not marks:
            return False
        return len(marks) > MARKS_MAX or any(mark_of(self._cluster, peer) in marks for peer in self._nodes())
