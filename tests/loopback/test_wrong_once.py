"""One answer of upstream that is wrong: clients get what is right, every fetch ends, and nobody is shunned for it."""

import asyncio
import math
from dataclasses import replace
from pathlib import Path

import pytest

from mirror.fetch import Phase
from mirror.oci.content import Content
from tests.loopback.lab import STEADY
from tests.loopback.nodes import Cluster, Node, cluster
from tests.loopback.servers import LARGE, MIB, Part, Request, corrupt, run

PATIENT = replace(STEADY, peers=replace(STEADY.peers, stall_s=math.inf))
"""Whoever waits for what never comes, waits for ever."""

MANIFEST = b'{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": []}'


def wrong_once(it: Cluster, at: int) -> None:
    """One byte of a body is wrong in the first answer that has it."""
    remaining = 1

    def behave(request: Request, answer: list[Part]) -> list[Part]:
        nonlocal remaining
        head, body = answer
        assert isinstance(body, bytes)
        if remaining and request.start <= at < request.start + len(body):
            remaining -= 1
            return [head, corrupt(body, at - request.start)]
        return answer

    it.origin.behave = behave


def outcomes(node: Node, content: Content) -> list[Phase]:
    return [record.outcome for record in node.fetching.fetches.records if record.digest == str(content.digest)]


def test_a_wrong_manifest_is_fetched_once_more_and_everybody_gets_the_right_one(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 3, settings=PATIENT) as it:
            content = it.origin.has(MANIFEST, "manifests")
            wrong_once(it, 10)
            _home, *others = it.ring(content)
            answers = await asyncio.gather(*(node.get(content) for node in others))
            assert [answer.body for answer in answers] == [MANIFEST] * 2
            assert len(it.origin.asked_for(content)) == 2
            assert all(set(outcomes(node, content)) <= {Phase.COMPLETE} for node in it.nodes)
            assert not any(node.fetching.health.unusable() for node in it.nodes)

    run(story())


def test_a_manifest_that_is_always_wrong_is_refused_soon(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 3, settings=PATIENT) as it:
            content = it.origin.has(MANIFEST, "manifests")
            it.origin.bodies[f"/v2/{content.path}"] = corrupt(MANIFEST, 10)
            _home, *others = it.ring(content)
            answers = await asyncio.gather(*(node.get(content) for node in others))
            assert [answer.status for answer in answers] == [503] * 2
            assert Phase.RUNNING not in [phase for node in it.nodes for phase in outcomes(node, content)]

    run(story())


@pytest.mark.parametrize("at", [0, 7 * MIB + 5, len(LARGE) - 1])
def test_a_wrong_byte_of_a_blob_makes_no_node_shun_another_for_long(tmp_path: Path, at: int) -> None:
    async def story() -> None:
        settings = replace(STEADY, cluster=replace(STEADY.cluster, corrupt_ban_s=math.inf, doubt_s=0.0))
        async with cluster(tmp_path, 3, settings=settings) as it:
            content = it.origin.has(LARGE)
            wrong_once(it, at)
            bodies = await asyncio.gather(*(node.insist(content) for node in it.nodes))
            assert set(bodies) == {LARGE}
            assert all(node.held(content) for node in it.nodes)
            assert not any(node.fetching.health.unusable() for node in it.nodes)
            assert [node.lies() for node in it.nodes] == [0] * 3

    run(story())
