"""A crowd that wants one new tag: what it costs a registry that behaves as Docker Hub does."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Literal

import pytest

from mirror.oci.reference import DOCKER_HUB
from mirror.sources.upstream.registries import Registry
from mirror.sources.upstream.trust import Trusted
from testbed.hub import Allowance, Hub, Kind, PullLimits
from testbed.images import build_image
from tests.loopback.nodes import Answer, Cluster, cluster
from tests.loopback.servers import run
from tests.loopback.test_rate_limits import CALM

NODES = 5


def named(hub: Hub) -> Registry:
    """A hub as docker.io, with all its sites."""
    trusted = tuple(Trusted.parse(f"{DOCKER_HUB}={site.address}") for site in (hub.auth, hub.store))
    return Registry(DOCKER_HUB, hub.url, trusted=trusted)


async def crowd(it: Cluster) -> list[Answer]:
    return await asyncio.gather(*(node.ask("/v2/library/app/manifests/1") for node in it.nodes * (100 // NODES)))


@pytest.mark.parametrize(("how", "heads", "tokens"), [("sample", NODES, NODES), ("trust", 1, 2)])
def test_a_hundred_first_requests_for_a_tag_cost_one_pull(
    tmp_path: Path, how: Literal["sample", "trust"], heads: int, tokens: int
) -> None:
    image = build_image(tmp_path, "docker.io/library/app:1", [10])
    hub = Hub(limits=PullLimits(Allowance(1, 3600)))
    hub.hold(image, "library/app")

    async def story() -> None:
        async with cluster(tmp_path, 0, settings=CALM) as it:
            it.registry, it.how_tags = named(hub), how
            for _ in range(NODES):
                await it.join()
            answers = await crowd(it)
            assert Counter((answer.status, answer.body) for answer in answers) == {
                (200, image.read(image.manifest)): 100
            }
            counts = hub.counts()
            assert (counts[Kind.MANIFEST], counts[Kind.HEAD], counts[Kind.LIMITED]) == (1, heads, 0)
            assert counts[Kind.TOKEN] <= tokens

    with hub.running():
        run(story())
