"""Members that send wrong bytes: all get what is right in the end, and the liar is named, nobody else."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from mirror.errors import MirrorError
from mirror.fetch import Relay
from mirror.oci.content import Content
from mirror.sources.peers.protocol import AVOID_HEADER, ORIGIN_HEADER, ROLE_HEADER
from tests.loopback.lab import before_me, lab
from tests.loopback.nodes import Cluster, Node, Serve, cluster, honestly
from tests.loopback.servers import (
    LARGE,
    MIB,
    NOT_FOUND,
    Part,
    always,
    content_of,
    corrupt,
    honest,
    inverted,
    part,
    run,
)


def lying(liar: Node, wrong: Callable[[bytes], bytes] = inverted) -> Serve:
    """One node sends other bytes than it has."""

    async def serve(node: Node, scope: Any, receive: Any, send: Any) -> None:
        if node is not liar or "/blobs/" not in scope["path"]:
            await honestly(node, scope, receive, send)
            return

        async def twist(message: Any) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": wrong(message["body"])}
            await send(message)

        await honestly(node, {**scope, "extensions": {}}, receive, twist)

    return serve


def named(node: Node, content: Content) -> set[str]:
    """Whom a node names for lying about some content."""
    records = [record for record in node.fetching.fetches.records if record.digest == str(content.digest)]
    said = [failure for record in records for failure in record.failures if failure.endswith("sent wrong bytes")]
    return {failure.split(" ")[0] for failure in said}


async def all_pull(it: Cluster, content: Content, nodes: list[Node]) -> None:
    """Pull as clients do that begin anew when they are cut short."""
    bodies = await asyncio.gather(*(node.insist(content) for node in nodes))
    assert set(bodies) == {LARGE}
    assert all(node.held(content) for node in nodes)


@pytest.mark.parametrize("place", range(4))
def test_a_lying_home_is_named_by_all_and_costs_upstream_little(tmp_path: Path, place: int) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 4) as it:
            content = it.origin.has(LARGE)
            liar = it.ring(content)[place]
            it.serve_peer = lying(liar)
            victims = [node for node in it.nodes if node is not liar]
            await all_pull(it, content, victims)
            for node in victims:
                assert named(node, content) == {liar.name}
                assert liar.name in node.fetching.health.unusable()
                assert node.lies() == 0, "a home may have had them from upstream: that is no proof"
            pieces = len([piece for piece in range(13) if piece % 4 == place])
            again = pieces + 2 * len(it.nodes)  # its pieces, one of each member, and what was being passed on meanwhile
            assert it.origin.bytes_of(content) <= len(LARGE) + again * MIB

    run(story())


def test_a_lying_home_that_pulls_itself_gets_what_is_right(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 4) as it:
            content = it.origin.has(LARGE)
            liar = it.ring(content)[1]
            it.serve_peer = lying(liar)
            await all_pull(it, content, it.nodes)
            assert named(liar, content) == set()

    run(story())


@pytest.mark.parametrize("at", [0, 6 * MIB + 9, len(LARGE) - 1])
def test_one_wrong_byte_is_enough(tmp_path: Path, at: int) -> None:
    async def story() -> None:
        async with lab(tmp_path, honest(LARGE)) as it:
            content = content_of(LARGE)
            (home,) = before_me(content, 1)
            await it.home(home, honest(corrupt(LARGE, at)))
            await it.whole(content)
            assert it.held(content)
            assert [failure for failure in it.record.failures if "wrong" in failure] == [f"{home} sent wrong bytes"]

    run(story())


def test_a_lying_holder_is_named_and_not_the_homes_that_passed_its_word_on(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 4) as it:
            content = it.origin.has(LARGE)
            holder, *pullers = it.nodes
            await it.give(holder, LARGE)
            it.serve_peer = lying(holder)
            await all_pull(it, content, pullers)
            for node in pullers:
                assert named(node, content) <= {holder.name}
            assert holder.name in set.union(*(named(node, content) for node in pullers))

    run(story())


def test_a_home_that_is_told_to_avoid_a_holder_does_not_take_it_from_there(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 2) as it:
            content = it.origin.has(LARGE)
            home, holder = it.nodes
            await it.give(holder, LARGE)
            it.serve_peer = lying(holder)
            asked = {ROLE_HEADER: "home", "Range": f"bytes={3 * MIB}-{4 * MIB - 1}"}
            wrong = await home.ask(f"/v2/{content.path}", peer=True, headers=asked)
            assert (wrong.headers[ORIGIN_HEADER], wrong.body == LARGE[3 * MIB : 4 * MIB]) == (holder.name, False)
            for start in (3, 4):  # one that is here already, and one that is not
                asked = {
                    ROLE_HEADER: "home",
                    AVOID_HEADER: holder.name,
                    "Range": f"bytes={start * MIB}-{(start + 1) * MIB - 1}",
                }
                right = await home.ask(f"/v2/{content.path}", peer=True, headers=asked)
                assert right.body == LARGE[start * MIB : (start + 1) * MIB]
                assert right.headers[ORIGIN_HEADER] == "upstream"

    run(story())


def test_only_members_can_be_avoided_and_not_all_there_are(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 20) as it:
            content, home = it.origin.has(LARGE), it.nodes[0]
            avoided: list[set[str]] = []

            async def distrust(self: Relay, names: Iterable[str], start: int, stop: int) -> None:
                avoided.append(set(names))

            home.router.down.add("n3")
            others = [node.name for node in it.nodes[1:]]
            for said in ("upstream,n0,n1,nobody,,n1,n3", ",".join(others)):
                asked = {ROLE_HEADER: "home", AVOID_HEADER: said, "Range": "bytes=0-99"}
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(Relay, "distrust", distrust)
                    assert (await home.ask(f"/v2/{content.path}", peer=True, headers=asked)).status == 206
            assert avoided == [{"n1", "n3"}, set(others[:16])]

    run(story())


@pytest.mark.parametrize("seed", range(3))
def test_one_liar_among_several_holders_is_found_whoever_contradicts_it(tmp_path: Path, seed: int) -> None:
    async def story() -> None:
        async with lab(tmp_path, always(NOT_FOUND)) as it:
            content = content_of(LARGE)
            for number in range(4):
                await it.holder(honest(inverted(LARGE) if number == seed else LARGE))
            await it.whole(content)
            assert it.held(content)
            liar = f"m{seed + 1}"
            assert {failure for failure in it.record.failures if "wrong" in failure} == {f"{liar} sent wrong bytes"}
            assert it.fetching.health.unusable() == {liar}

    run(story())


@pytest.mark.parametrize("origin", ["the other home", "a name of nobody", "upstream"])
@pytest.mark.parametrize("lies", [2, 1000])
def test_a_home_that_lies_about_whose_word_it_is_answers_for_that_itself(
    tmp_path: Path, origin: str, lies: int
) -> None:
    async def story() -> None:
        async with lab(tmp_path, honest(LARGE)) as it:
            content = content_of(LARGE)
            liar, other = before_me(content, 2)
            said = {ORIGIN_HEADER: {"the other home": other}.get(origin, origin.replace(" ", "-"))}
            asked = 0

            async def script(start: int, stop: int | None) -> Sequence[Part]:
                nonlocal asked
                asked += 1
                return part(inverted(LARGE) if asked <= lies else LARGE, start, stop, headers=said)

            await it.home(liar, script)
            await it.home(other, honest(LARGE))
            await it.whole(content)
            assert it.held(content)
            assert it.fetching.health.unusable() == {liar}

    run(story())


def test_two_homes_that_lie_alike_are_both_found_by_asking_upstream_for_everything(tmp_path: Path) -> None:
    async def story() -> None:
        async with lab(tmp_path, honest(LARGE)) as it:
            content = content_of(LARGE)
            liars = before_me(content, 2)
            for name in liars:
                await it.home(name, honest(inverted(LARGE)))
            await it.whole(content)
            assert it.held(content)
            assert it.fetching.health.unusable() == set(liars)

    run(story())


def test_upstream_that_sends_wrong_bytes_shames_no_member(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 3) as it:
            content = it.origin.has(LARGE)
            it.origin.bodies[f"/v2/{content.path}"] = corrupt(LARGE, 7 * MIB)
            answers = await asyncio.gather(*(node.get(content) for node in it.nodes))
            assert not any(answer.complete for answer in answers)
            assert not any(node.held(content) for node in it.nodes)
            assert not any(node.fetching.health.unusable() for node in it.nodes)

    run(story())


@pytest.mark.parametrize("size", [2**40, 60 * MIB])
def test_a_size_that_upstream_contradicts_costs_one_try_at_most(tmp_path: Path, size: int) -> None:
    """A holder says that something small is huge, and sends next to nothing of it; upstream has no bytes so far on."""

    async def story() -> None:
        small = LARGE[:300_000]

        async def upstream(start: int, stop: int | None) -> Sequence[Part]:
            if start >= len(small):
                return [b"HTTP/1.1 416 No\r\nContent-Range: bytes */300000\r\nContent-Length: 0\r\n\r\n"]
            return part(small, start, stop)

        async def liar(start: int, stop: int | None) -> Sequence[Part]:
            end = min(start + MIB, size)
            said = f"bytes {start}-{end - 1}/{size}"
            return [*part(b"", start, stop, content_range=said, length=end - start, sent=bytes(1000)), asyncio.Event()]

        async with lab(tmp_path, upstream, capacity=64 * MIB) as it:
            content = content_of(small)
            await it.holder(liar)
            with contextlib.suppress(MirrorError):
                await it.whole(content)
            if not it.held(content):
                await it.whole(content)
            assert it.held(content)

    run(story())
