"""What an operator sees of whole nodes, and deletes: why something is here, which images there are, and how they go."""

import asyncio
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.types import Message

from mirror.app import Find, Members, Operations, PeerEndpoint, RegistryStatus, Remembered
from mirror.app.signing import Orders
from mirror.app.writers import Writers
from mirror.config import Push
from mirror.images.completeness import Completeness
from mirror.images.own_tags import OwnTags
from mirror.images.tag_policies import TagPolicies
from mirror.oci.content import Content
from mirror.sources.peers.contents import delete_from, images_of
from tests.loopback.lab import STEADY
from tests.loopback.nodes import Cluster, Node, cluster

KEY = bytes(range(32))


class Operated:
    """A node with what an agent puts together for its operator."""

    def __init__(self, node: Node) -> None:
        self.node = node
        fetching, peers, cluster = node.fetching, node.peers, node.fetching.cluster
        find = Find(
            node.name,
            node.holdings,
            node.member_tags.known,
            cluster.find_holders,
            peers.size,
            parts=Completeness(node.manifests, node.holdings).parts,
            member_parts=lambda peer, content: peers.source(peer).parts(content),
        )
        remembered = Remembered(
            me=node.name,
            records=lambda: fetching.fetches.records,
            answers=node.upstream.said_of,
            resolution=node.backend.resolutions.of,
            policy=TagPolicies().shown,
            registry=lambda name: RegistryStatus(name, [], False, None, []),
            holders=lambda key: [peer.name for peer in cluster.holders(key)],
            homes=lambda key: list(cluster.ring(key).homes(0)),
            private=lambda digest: None,
            tag_key=lambda reference: reference.key,
        )
        operations = Operations.build(
            node.backend,
            find,
            [node.cache],
            node.cache.contents,
            OwnTags(None),
            remembered=remembered,
            members=Members(node.router.members, partial(images_of, peers), partial(delete_from, peers)),
            writers=Writers(Push.OFF, Orders(node.auth)),
            pins=list,
            protects=lambda digest: False,
            settings=STEADY,
        )
        node.endpoint = PeerEndpoint(
            node.backend, node.reports, node.auth, node.private.access.offers, None, [operations.for_members]
        )
        self._app = Starlette(routes=list(operations.routes))

    async def ask(self, path: str, order: dict[str, Any] | None = None, client: str = "127.0.0.1") -> tuple[int, Any]:
        """The status and the JSON of an answer of the API, to somebody on this machine."""
        name, _, query = path.partition("?")
        body = json.dumps(order).encode()
        scope: dict[str, Any] = {
            "type": "http",
            "method": "POST" if order is not None else "GET",
            "path": name,
            "headers": [],
        }
        scope |= {"query_string": query.encode(), "raw_path": name.encode(), "client": (client, 9), "server": ("x", 1)}
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        await self._app({**scope, "root_path": ""}, receive, send)
        return sent[0]["status"], json.loads(b"".join(message.get("body", b"") for message in sent))


async def with_image(made: Cluster) -> tuple[Content, Content]:
    """Give the upstream an image, which the first two nodes pull; the manifest and the layer."""
    layer = made.origin.has(bytes(3_000_000))
    named = [{"digest": str(layer.digest), "size": 3_000_000}]
    body = json.dumps({"schemaVersion": 2, "config": {}, "layers": named}).encode()
    image = made.origin.has(body, "manifests")
    made.origin.tag("1", body)
    for node in made.nodes[:2]:
        assert (await node.ask("/v2/library/x/manifests/1")).status == 200
        await node.pull(layer)
    return image, layer


def shown(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["digest"]: row for row in answer["content"]}


def test_each_node_tells_where_its_copy_came_from_while_upstream_is_gone(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 3) as made:
            image, layer = await with_image(made)
            nodes = [Operated(node) for node in made.nodes]
            made.origin.bodies.clear()
            asked = len(made.origin.requests)
            told = [(await node.ask("/api/v1/why?q=x:1"))[1] for node in nodes]
            assert len(made.origin.requests) == asked, "no registry is asked for it"
            assert not made.nodes[2].held(layer), "and nothing is fetched"
            first, second, third = map(shown, told)
            assert set(first) == {str(image.digest), str(layer.digest)}
            mine = first[str(layer.digest)]
            assert sum(mine["origin"]["sources"].values()) == 3_000_000
            assert {it["answer"] for it in mine["fetches"][0]["asked"]} == {"sent"}
            assert {row["member"] for row in second[str(layer.digest)]["holders"] if row["has"]} == {"n0", "n1"}
            assert second[str(layer.digest)]["here"] == "cache"
            assert told[0]["tag"]["told"]["digest"] == str(image.digest)
            assert third[str(image.digest)]["here"] in (None, "cache"), "it may be its home"
            assert {it["status"] for row in first.values() for it in row["upstream"]} <= {200, 206}
            _, missing = await nodes[2].ask("/api/v1/why?q=x:2")
            assert (missing["digest"], missing["content"]) == (None, [])
            assert set(missing["next"]["homes"]) == {"n0", "n1", "n2"}
            assert len(made.origin.requests) == asked
            status, refused = await nodes[0].ask("/api/v1/why?q=UPPER%20CASE")
            assert (status, "no image name" in refused["error"]) == (400, True)

    asyncio.run(story())


def names(answer: dict[str, Any]) -> dict[str, set[str]]:
    """The members that have all of each image."""
    return {row["reference"]: set(row["whole"]) for row in answer["images"]}


@pytest.mark.parametrize("keys", [(), (KEY,)])
def test_images_of_all_members_are_shown_and_deleted_by_those_who_prove_who_orders_it(
    tmp_path: Path, keys: Sequence[bytes]
) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 3, keys=keys) as made:
            image, layer = await with_image(made)
            first, second, third = (Operated(node) for node in made.nodes)
            _, seen = await third.ask("/api/v1/images?pattern=x:*")
            assert names(seen) == {"docker.io/library/x:1": {"n0", "n1"}}
            assert seen["silent"] == []
            order = {"what": "x:1", "everywhere": True}
            status, done = await third.ask("/api/v1/delete", order)
            assert status == 200
            rows = {row["member"]: row for row in done["members"]}
            if keys:
                assert {name: (row["blobs"], row["tags"]) for name, row in rows.items() if name != "n2"} == {
                    "n0": (2, ["docker.io/library/x:1"]),
                    "n1": (2, ["docker.io/library/x:1"]),
                }
                assert (await third.ask("/api/v1/images"))[1]["images"] == []
                assert not any(layer.digest.key in node.router.keys for node in made.nodes), "it is withdrawn"
            else:
                assert "403" in rows["n0"]["problem"]
                assert made.nodes[0].held(layer)
                assert (await first.ask("/api/v1/delete", {"what": "x:1"}))[0] == 200
                assert (made.nodes[0].held(layer), made.nodes[1].held(layer)) == (False, True)
            answer = await made.nodes[0].ask("/v2/library/x/manifests/1")
            assert answer.status == 200, "it comes back with the next pull"
            made.nodes[1].die()
            _, seen = await second.ask("/api/v1/images?here=1")
            assert seen["members"] == 1
            _, seen = await third.ask("/api/v1/images")
            assert [row["member"] for row in seen["silent"]] == ["n1"]
            assert image.digest.key in made.nodes[0].router.keys

    asyncio.run(story())


def test_a_prune_shows_what_goes_and_nobody_elsewhere_may_order_one(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 2) as made:
            image, layer = await with_image(made)
            node = Operated(made.nodes[0])
            for wrong in ({}, {"unused_s": -1}, {"keep_bytes": "1"}, {"unused_s": True}, {"keep_bytes": 1.5}):
                assert (await node.ask("/api/v1/prune", wrong))[0] == 400
            assert (await node.ask("/api/v1/delete", {"what": "UPPER CASE"}))[0] == 400
            assert (await node.ask("/api/v1/prune", {"keep_bytes": 0}, "192.0.2.1"))[0] == 401
            rule = {"keep_bytes": 1000}
            _, plan = await node.ask("/api/v1/prune", {**rule, "dry_run": True})
            assert ([row["reference"] for row in plan["images"]], plan["blobs"]) == (["docker.io/library/x:1"], 2)
            assert made.nodes[0].held(layer), "a dry run deletes nothing"
            _, done = await node.ask("/api/v1/prune", rule)
            assert (done["blobs"], done["bytes"]) == (plan["blobs"], plan["bytes"])
            assert made.nodes[0].cache.used_bytes == 0
            assert {image.digest.key, layer.digest.key}.isdisjoint(made.nodes[0].router.keys)
            assert made.nodes[1].held(layer)

    asyncio.run(story())


def test_a_stranger_can_have_nothing_deleted_where_there_is_a_key(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 2, keys=[KEY]) as made:
            _, layer = await with_image(made)
            first, _ = (Operated(node) for node in made.nodes)
            url = f"/v2/_skvaller/delete?q={layer.digest}"
            for path in (url, "/v2/_skvaller/images"):
                answer = await made.http.post(f"http://127.0.0.1:{first.node.peer.port}{path}")
                assert answer.status == 401
            assert made.nodes[0].held(layer)

    asyncio.run(story())
