"""Registries that count pulls: what that costs a cluster, what clients see of it, and who still asks."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mirror.settings import AppSettings
from tests.loopback.lab import STEADY
from tests.loopback.nodes import Answer, Cluster, Node, cluster
from tests.loopback.servers import Part, Request, run
from tests.loopback.test_tags import manifest

HOUR_S = 3600
CALM = replace(STEADY, peers=replace(STEADY.peers, silent_s=30.0, silent_max_s=30.0, head_s=30.0))
"""No member that a busy machine makes slow is taken for silent: then nobody would be left who may ask."""


class Limit:
    """The origin of a cluster, which counts GETs of manifests by the address of who asks, as Docker Hub does.

    Args:
        it: the cluster.
        pulls: that each address has within a window.
        window_s: its length, s; a new one begins with the first 429 after that time.
        addresses: the public address of each node, by name; all others have one.
    """

    def __init__(
        self, it: Cluster, pulls: int, window_s: int = HOUR_S, addresses: Mapping[str, str] | None = None
    ) -> None:
        self.pulls, self.window_s = pulls, window_s
        self.used: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        """Answers 429, by node."""
        self.uncounted: set[str] = set()
        """Paths of which pulls are not counted, and with which nothing is said of limits."""
        self._began_at = time.monotonic()
        self._addresses = addresses or {}
        self._origin = it.origin
        self._answer, it.origin.answer = it.origin.answer, self.answer  # type: ignore[method-assign]

    async def answer(self, request: Request) -> Sequence[Part]:
        node = self._origin.asker(request)
        address = self._addresses.get(node, "192.0.2.1")
        if request.path.partition("/manifests/")[0] in self.uncounted:
            return await self._answer(request)
        is_pull = request.method == "GET" and "/manifests/" in request.path
        if (left_s := self._began_at + self.window_s - time.monotonic()) <= 0:
            self._began_at, left_s = time.monotonic(), self.window_s
            self.used.clear()
        if is_pull and self.used[address] == self.pulls:
            self.refused[node] += 1
            self._origin.requests.append(request)
            no = f"HTTP/1.1 429 No\r\n{self._said(address)}Retry-After: {int(left_s) + 1}\r\n"
            return [f"{no}Content-Length: 0\r\n\r\n".encode()]
        self.used[address] += is_pull
        head, *rest = await self._answer(request)
        assert isinstance(head, bytes)
        return [head.replace(b"\r\n", b"\r\n" + self._said(address).encode(), 1), *rest]

    def _said(self, address: str) -> str:
        left, window = self.pulls - self.used[address], f"w={self.window_s}"
        return (
            f"RateLimit-Limit: {self.pulls};{window}\r\nRateLimit-Remaining: {left};{window}\r\n"
            f"Docker-RateLimit-Source: {address}\r\n"
        )


def images(it: Cluster, count: int, tags: str = "v") -> list[str]:
    """The paths of the tags of so many images."""
    paths = []
    for number in range(count):
        it.origin.has(body := manifest(number), "manifests")
        paths.append(it.origin.tag(f"{tags}{number}", body))
    return paths


async def all_pull(nodes: Sequence[Node], paths: Sequence[str]) -> list[Answer]:
    return await asyncio.gather(*(node.ask(path) for node in nodes for path in paths))


def pulled(it: Cluster) -> int:
    return sum(request.method == "GET" for request in it.origin.requests)


def test_a_cluster_pulls_as_many_images_as_an_address_may_and_no_client_sees_an_error(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 5, settings=CALM) as it:
            limit = Limit(it, 10)
            paths = images(it, 10)
            for named in (paths, paths, images(it, 10, "other")):
                assert {answer.status for answer in await all_pull(it.nodes, named)} == {200}
            assert (pulled(it), limit.refused) == (10, {})

    run(story())


def test_what_is_left_is_spent_by_one_member_and_the_rest_is_told_until_when(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 5, settings=CALM) as it:
            limit = Limit(it, 4)
            paths = images(it, 9)
            await it.nodes[0].ask(paths[0])
            answers = await all_pull(it.nodes, paths)
            assert Counter(answer.status for answer in answers) == {200: 4 * 5, 503: 5 * 5}
            refused = [answer for answer in answers if answer.status == 503]
            assert all(b"no pull left" in answer.body and b"UTC" in answer.body for answer in refused)
            assert all(int(answer.headers["Retry-After"]) > 60 for answer in refused)
            assert (pulled(it), limit.refused) == (4, {})

    run(story())


def test_after_a_429_nobody_pulls_and_what_is_known_is_served(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 4, settings=CALM) as it:
            limit = Limit(it, 1)
            limit.used["192.0.2.1"] = 1
            known, *unknown = images(it, 4)
            await it.give(it.nodes[0], manifest(0))
            for _ in range(2):
                assert {answer.status for answer in await all_pull(it.nodes, [known])} == {200}
                assert {answer.status for answer in await all_pull(it.nodes, unknown)} == {503}
            assert limit.refused.total() == pulled(it) <= 1

    run(story())


def test_a_client_waits_for_a_short_time_and_never_sees_a_429(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 3, settings=CALM) as it:
            limit = Limit(it, 2, window_s=1)
            answers = await all_pull(it.nodes, images(it, 4))
            assert {answer.status for answer in answers} == {200}
            assert limit.refused.total() <= 1
            assert pulled(it) - limit.refused.total() == 4

    run(story())


def test_where_clients_have_no_patience_they_are_told_at_once(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 1, settings=replace(CALM, app=AppSettings(patience_s=0.0))) as it:
            Limit(it, 1, window_s=30)
            answers = await all_pull(it.nodes, images(it, 2))
            assert sorted(answer.status for answer in answers) == [200, 503]

    run(story())


def test_a_member_behind_another_address_asks_for_those_that_may_not(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 6, settings=CALM) as it:
            *here, there = it.nodes
            limit = Limit(it, 20, addresses={there.name: "198.51.100.7"})
            paths = images(it, 8)
            await all_pull(it.nodes, paths[:1])  # so that each has been told whose budget is its own
            await all_pull([there], [images(it, 1, "one-more")[0]])
            limit.used["192.0.2.1"] = 20
            it.nodes[0].budgets.limited(it.nodes[0].url, {"Docker-RateLimit-Source": "192.0.2.1"}, HOUR_S, now())
            it.origin.requests.clear()
            answers = await all_pull(here, paths[1:])
            assert {answer.status for answer in answers} == {200}
            assert {it.origin.asker(request) for request in it.origin.requests} == {there.name}
            assert (pulled(it), limit.refused) == (7, {})

    run(story())


def test_what_a_registry_does_not_count_is_pulled_when_nothing_else_can_be(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 4, settings=CALM) as it:
            limit = Limit(it, 1)
            counted, other = images(it, 2)
            limit.uncounted.add("/v2/library/free")
            it.origin.bodies["/v2/library/free/manifests/1"] = body = manifest(7)
            free = it.origin.has(body, "manifests", "library/free")
            assert {answer.status for answer in await all_pull(it.nodes, [counted])} == {200}
            assert {answer.status for answer in await all_pull(it.nodes, [other])} == {503}
            answers = await all_pull(it.nodes, ["/v2/library/free/manifests/1"])
            assert {(answer.status, answer.body) for answer in answers} == {(200, body)}
            assert len(it.origin.asked_for(free)) == 1
            assert {answer.status for answer in await all_pull(it.nodes, [other])} == {503}
            assert limit.refused.total() == 0

    run(story())


def now() -> float:
    return asyncio.get_running_loop().time()
