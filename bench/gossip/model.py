"""A small model of dissemination and detection, for clusters of which no machine holds all tables.

It uses the product's own numbers and its own suspicion timer, and leaves out: the wire and its packet sizes, other
traffic and its queues, rumours that ride on probes, repair by comparison of fingerprints, direct telling in small
clusters, acknowledgements and their loss, awareness. Spread is thus slower than the product's, and exact in neither.
"""

import heapq
import math
import random

from gossip.core.config import GossipConfig
from gossip.core.rumours import retransmit_limit
from gossip.core.suspicion import suspect

_LINK_S = 0.0007  # mean of a link and the processing of a packet, as in the simulated network


def spread(config: GossipConfig, size: int, rng: random.Random) -> list[float]:
    """When each of the other members first hears a rumour that one of `size` members starts at 0, s.

    Every node tells it at once to `gossip_fanout` others, and then so many each `gossip_interval_s`, until it has told
    it as often as `retransmit_limit` says. Those whom it never reaches are left out: repair is not part of the model.
    """
    limit = retransmit_limit(config.retransmit_mult, size)
    heard = {0: 0.0}
    turns = [(0.0, 0, limit)]
    while turns:
        at, node, left = heapq.heappop(turns)
        copies = min(left, config.gossip_fanout)
        for _ in range(copies):
            other = rng.randrange(size)
            arrives = at + rng.expovariate(1 / _LINK_S)
            if other not in heard or arrives < heard[other]:
                if other not in heard:
                    heapq.heappush(turns, (arrives, other, limit))
                heard[other] = arrives
        if left > copies:
            heapq.heappush(turns, (at + config.gossip_interval_s, node, left - copies))
    del heard[0]
    return list(heard.values())


def detect(config: GossipConfig, size: int, rng: random.Random) -> float:
    """How long after its death all others know that a member is dead, s.

    Each of the others reaches it in its own shuffled round, at a time that is even over the round; a probe fails at the
    end of its interval, and counts as a confirmation everywhere as soon as a rumour is through.
    """
    others = size - 1
    interval = config.probe_interval_s
    probes = sorted(rng.random() * others * interval + interval for _ in range(others))
    through_s = _LINK_S * 2 + math.log(max(2, size)) / math.log(config.gossip_fanout + 1) * _LINK_S * 2
    suspicion = suspect(config, size, "0", probes[0])
    for number, failed_at in enumerate(probes[1:], start=1):
        if failed_at + through_s >= suspicion.deadline:
            break
        suspicion.confirm(str(number))
    return suspicion.deadline + through_s
