"""Why something is here, asked of whole nodes: they tell it while upstream is gone, and ask no registry for it."""

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mirror.app import Find, RegistryStatus, Remembered, Why
from mirror.images.completeness import Completeness
from mirror.images.tag_policies import TagPolicies
from tests.loopback.nodes import Node, cluster


def why(node: Node) -> Why:
    """As an agent puts it together."""
    completeness = Completeness(node.manifests, node.holdings)
    find = Find(
        node.name,
        node.holdings,
        node.member_tags.known,
        node.fetching.cluster.find_holders,
        node.peers.size,
        parts=completeness.parts,
        member_parts=lambda peer, content: node.peers.source(peer).parts(content),
    )
    remembered = Remembered(
        me=node.name,
        records=lambda: node.fetching.fetches.records,
        answers=node.upstream.said_of,
        resolution=node.backend.resolutions.of,
        policy=TagPolicies().shown,
        registry=lambda name: RegistryStatus(name, [], False, None, []),
        holders=lambda key: [peer.name for peer in node.fetching.cluster.holders(key)],
        homes=lambda key: list(node.fetching.cluster.ring(key).homes(0)),
        tag_key=lambda reference: reference.key,
    )
    return Why(find, node.manifests, remembered)


def shown(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What is told of each digest; it can go into JSON."""
    return {row["digest"]: row for row in json.loads(json.dumps(answer))["content"]}


def test_each_node_tells_where_its_copy_came_from_while_upstream_is_gone(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 3) as made:
            origin, (first, second, third) = made.origin, made.nodes
            layer = origin.has(bytes(3_000_000))
            body = json.dumps(
                {"schemaVersion": 2, "config": {}, "layers": [{"digest": str(layer.digest), "size": 3_000_000}]}
            ).encode()
            image = origin.has(body, "manifests")
            origin.tag("1", body)
            assert (await first.ask("/v2/library/x/manifests/1")).status == 200
            await first.pull(layer)
            await second.pull(image)
            await second.pull(layer)
            origin.bodies.clear()
            asked = len(origin.requests)
            told = [await why(node).why("x:1", "linux/amd64") for node in made.nodes]
            assert len(origin.requests) == asked, "no registry is asked for it"
            assert not third.held(layer), "and nothing is fetched"
            by_first, by_second, by_third = map(shown, told)
            assert {row["digest"] for row in told[0]["content"]} == {str(image.digest), str(layer.digest)}
            mine = by_first[str(layer.digest)]
            assert sum(mine["origin"]["sources"].values()) == 3_000_000
            assert set(mine["origin"]["origins"]) <= {"upstream", "n1", "n2"}
            assert {it["answer"] for it in mine["fetches"][0]["asked"]} == {"sent"}
            members = {row["member"] for row in by_second[str(layer.digest)]["holders"] if row["has"]}
            assert members == {"n0", "n1"}
            assert by_second[str(layer.digest)]["here"] == "cache"
            assert told[0]["tag"]["told"]["digest"] == str(image.digest)
            assert by_third[str(image.digest)]["here"] in (None, "cache")
            statuses = {it["status"] for row in by_first.values() for it in row["upstream"]}
            assert statuses <= {200, 206}
            missing = await why(third).why("x:2", "linux/amd64")
            assert (missing["digest"], missing["content"]) == (None, [])
            assert set(missing["next"]["homes"]) == {"n0", "n1", "n2"}
            assert asdict(first.record(layer))["outcome"] == "complete"
            assert len(origin.requests) == asked

    asyncio.run(story())
