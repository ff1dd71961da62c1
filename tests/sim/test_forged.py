"""What somebody forged who has no key, and what becomes of it in a cluster."""

import pytest

from gossip.core.config import lan
from gossip.sim.agreement import converged
from gossip.sim.cluster import Cluster
from gossip.sim.steps import formed, within

KEY = b"k" * 32


@pytest.mark.parametrize("seed", range(4))
def test_invented_version_of_a_filter_does_not_stay(seed: int) -> None:
    """One node has taken it for true, and would not find its owner any more; nor would their views ever be equal."""
    cluster = Cluster(seed, lan(label="sim"), checked=False)
    formed(cluster, 3)
    cluster.advertise("n1", [KEY])
    within(cluster, lambda: converged(cluster), 10.0, "the key is everywhere")
    deceived = cluster.hosts["n0"].node
    assert deceived is not None
    epoch = deceived.view.member("n1").epoch  # type: ignore[union-attr]
    assert deceived.dissemination.directory.note_version("n1", (epoch, 10**9, 10**6))
    deceived.dissemination.note_member(None, deceived.view.member("n1"), cluster.clock.now)
    assert not deceived.view.holders(KEY)
    within(cluster, lambda: converged(cluster) and bool(deceived.view.holders(KEY)), 60.0, "its owner is found again")
