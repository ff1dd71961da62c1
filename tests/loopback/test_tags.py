"""What members say of tags: how far it counts, what asking costs upstream, and what becomes of one that lies."""

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from mirror.oci.digest import Digest
from mirror.oci.reference import Reference
from mirror.settings import ImageSettings, Settings
from mirror.sources.peers.protocol import TAG_AGE_HEADER, TAG_AUTHORITY_HEADER
from mirror.stores import Tag
from tests.loopback.lab import STEADY
from tests.loopback.nodes import Answer, Cluster, Node, cluster, honestly
from tests.loopback.servers import run

TAG = "/v2/library/x/manifests/1.27"
OTHER_TAG = "/v2/library/x/manifests/1.28"
NAME = "library/x:1.27"
FOREVER_S = 1e12
UNAVAILABLE = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"


def manifest(number: int) -> bytes:
    document = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "number": number}
    return json.dumps(document).encode()


EVIL = manifest(666)


def images(**changes: Any) -> Settings:
    """Settings under which no ring turns, and all that homes repeat is checked at once."""
    given = {"tag_window_s": FOREVER_S, "tag_recheck_s": 0.0, "tag_sample": 1}
    return replace(STEADY, images=ImageSettings(**{**given, **changes}))


def means(it: Cluster, number: int, path: str = TAG) -> bytes:
    """Let a tag mean something upstream from now on."""
    body = manifest(number)
    it.origin.tag(path.rpartition("/")[2], body)
    it.origin.has(body, "manifests")
    return body


def heads(it: Cluster, path: str = TAG) -> int:
    return sum((request.method, request.path) == ("HEAD", path) for request in it.origin.requests)


Liar = Callable[[str], bytes | None]
"""Given the path of a tag, the manifest that a member says it means; None: it says the truth."""


async def lies(it: Cluster, liar: Node, lie: Liar) -> list[str]:
    """Let a node, which holds the manifest, lie about tags; gives the list of what it is asked about them."""
    asked: list[str] = []
    it.origin.has(EVIL, "manifests")  # so that nodes which believe it get it

    async def serve(node: Node, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        if node is not liar or "/manifests/" not in path or ":" in path:
            await honestly(node, scope, receive, send)
            return
        asked.append(path)
        said = lie(path)
        if said is None:
            await honestly(node, scope, receive, send)
            return
        headers = {
            "docker-content-digest": str(Digest.of(said)), TAG_AGE_HEADER: "0", TAG_AUTHORITY_HEADER: "upstream",
        }  # fmt: skip
        raw = [(key.lower().encode(), value.encode()) for key, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": raw})
        await send({"type": "http.response.body", "body": b""})

    it.serve_peer = serve
    return asked


async def pull(nodes: list[Node], path: str = TAG) -> list[Answer]:
    return await asyncio.gather(*(node.ask(path) for node in nodes))


async def until(holds: Callable[[], bool]) -> None:
    """Wait for what happens behind clients' backs; the story's own bound ends it."""
    while not holds():
        await asyncio.sleep(0.005)


def contradictions(node: Node) -> float:
    return node.metrics.registry.get_sample_value("skvaller_tag_contradictions_total") or 0.0


class Clock:
    """The wall clock, which a test can move on."""

    def __init__(self) -> None:
        self._real = time.time
        self._ahead_s = 0.0

    def advance(self, seconds: float) -> None:
        self._ahead_s += seconds

    def time(self) -> float:
        return self._real() + self._ahead_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    moved = Clock()
    monkeypatch.setattr("time.time", moved.time)
    return moved


def heads_by(it: Cluster) -> Counter[str]:
    """How often each node asked upstream what a tag means."""
    return Counter(it.origin.asker(request) for request in it.origin.requests if request.method == "HEAD")


def play(
    folder: Path,
    count: int,
    settings: Settings,
    story: Callable[[Cluster], Awaitable[None]],
    how: Literal["sample", "verify", "trust"] = "sample",
) -> None:
    async def whole() -> None:
        async with cluster(folder, 0, settings=settings) as it:
            it.how_tags = how
            for _ in range(count):
                await it.join()
            await story(it)

    run(whole())


def test_a_new_tag_is_asked_of_upstream_once_by_each_node_and_not_again_while_it_is_fresh(tmp_path: Path) -> None:
    async def story(it: Cluster) -> None:
        body = means(it, 1)
        for _ in range(3):
            answers = await pull(it.nodes * 4)
            assert {(answer.status, answer.body) for answer in answers} == {(200, body)}
            assert {answer.headers.get("Warning") for answer in answers} == {None}
        assert heads(it) == len(it.nodes)
        assert sum(request.method == "GET" for request in it.origin.requests) == 1

    play(tmp_path, 5, images(), story)


def test_a_thousand_pulls_of_an_unchanged_tag_ask_upstream_by_its_home_and_a_sample(
    tmp_path: Path, clock: Clock
) -> None:
    async def story(it: Cluster) -> None:
        body = means(it, 1)
        home, node = it.ring_of_tag(NAME)
        await pull([home, node])
        before = heads_by(it)
        for _ in range(1000):
            clock.advance(61.0)  # so that no answer is fresh any more
            (answer,) = await pull([node])
            assert (answer.body, answer.headers.get("Warning")) == (body, None)
        asked = heads_by(it) - before
        assert asked[home.name] == 1000
        assert 20 < asked[node.name] < 120  # 62 are expected

    play(tmp_path, 2, images(tag_sample=16), story)


def test_a_liar_that_is_first_at_every_tag_gives_no_client_anything_and_is_found(tmp_path: Path) -> None:
    async def story(it: Cluster) -> None:
        body, other = means(it, 1), means(it, 2, OTHER_TAG)
        liar = it.ring_of_tag(NAME)[0]
        victims = [node for node in it.nodes if node is not liar]
        asked = await lies(it, liar, lambda path: EVIL)
        for path, right in ((TAG, body), (OTHER_TAG, other)):
            answers = await pull(victims, path)
            assert {(answer.status, answer.body) for answer in answers} == {(200, right)}
        for node in victims:
            await until(lambda node=node: contradictions(node) > 0)  # type: ignore[misc]
            (said,) = node.trust.distrusted().items()
            assert said[0] == liar.name
            assert said[1].said == Digest.of(EVIL)
        asked.clear()
        body = means(it, 3)
        assert {answer.body for answer in await pull(victims)} <= {body, manifest(1)}
        assert asked == []

    play(tmp_path, 4, images(), story)


def test_a_liar_about_one_tag_is_asked_about_none_any_more_but_still_for_bytes(tmp_path: Path) -> None:
    async def story(it: Cluster) -> None:
        body, other = means(it, 1), means(it, 2, OTHER_TAG)
        liar, node = it.ring_of_tag(NAME)
        asked = await lies(it, liar, lambda path: EVIL if path == TAG else None)
        assert (await pull([node], OTHER_TAG))[0].body == other
        assert (await pull([node]))[0].body == body
        await until(lambda: contradictions(node) > 0)
        asked.clear()
        assert (await pull([node], OTHER_TAG))[0].body == other
        assert asked == []
        content = await it.give(liar, b"bytes have a digest")
        assert (await node.get(content)).body == b"bytes have a digest"

    play(tmp_path, 2, images(), story)


def test_a_liar_that_makes_a_change_up_is_overruled_before_the_client_has_an_answer(
    tmp_path: Path, clock: Clock
) -> None:
    async def story(it: Cluster) -> None:
        body = means(it, 1)
        liar, node = it.ring_of_tag(NAME)
        assert (await pull([node]))[0].body == body
        await lies(it, liar, lambda path: EVIL)
        clock.advance(61.0)
        assert (await pull([node]))[0].body == body
        await until(lambda: contradictions(node) > 0)

    play(tmp_path, 2, images(tag_sample=1 << 60), story)


def test_a_liar_that_keeps_a_change_back_is_found_by_the_sample(tmp_path: Path, clock: Clock) -> None:
    async def story(it: Cluster) -> None:
        old = means(it, 1)
        liar, node = it.ring_of_tag(NAME)
        assert (await pull([node]))[0].body == old
        new = means(it, 2)
        await lies(it, liar, lambda path: old)
        clock.advance(61.0)
        assert (await pull([node]))[0].body == old  # until the first sample, here the first answer
        await until(lambda: contradictions(node) > 0)
        assert (await pull([node]))[0].body == new

    play(tmp_path, 2, images(), story)


def test_nobody_is_blamed_for_a_tag_that_moves_while_it_is_asked_for(tmp_path: Path, clock: Clock) -> None:
    async def story(it: Cluster) -> None:
        numbers = itertools.count()
        path = means(it, next(numbers)) and TAG
        behave = it.origin.answer

        async def moving(request: Any) -> Any:
            if request.path == path and request.method == "HEAD":
                means(it, next(numbers))
            return await behave(request)

        it.origin.answer = moving  # type: ignore[method-assign]
        for _ in range(30):
            answers = await pull(it.nodes)
            assert {answer.status for answer in answers} == {200}
            clock.advance(61.0)
        it.origin.answer = behave  # type: ignore[method-assign]
        settled = means(it, next(numbers))
        for _ in range(3):
            clock.advance(61.0)
            answers = await pull(it.nodes)
        assert {answer.body for answer in answers} == {settled}
        assert [contradictions(node) for node in it.nodes] == [0.0] * 4

    play(tmp_path, 4, images(), story)


def test_a_home_that_repeats_a_moment_ago_what_has_moved_since_is_not_blamed(tmp_path: Path) -> None:
    async def story(it: Cluster) -> None:
        means(it, 1)
        home, node = it.ring_of_tag(NAME)
        await pull([home])
        new = means(it, 2)
        assert (await pull([node]))[0].body == new
        await until(lambda: heads_by(it)[home.name] == 2)  # it was told to ask anew
        await until(lambda: heads_by(it)[node.name] == 2)
        assert contradictions(node) == 0.0

    play(tmp_path, 2, images(), story)


def test_what_upstream_cannot_confirm_is_answered_with_a_warning_and_not_believed_later(tmp_path: Path) -> None:
    async def story(it: Cluster) -> None:
        body = means(it, 1)
        home, node = it.ring_of_tag(NAME)
        it.origin.refusals[node.name] = UNAVAILABLE
        (answer,) = await pull([node])
        assert (answer.status, answer.body) == (200, body)
        assert f"what member {home.name} says; upstream did not confirm it" in answer.headers["Warning"]
        del it.origin.refusals[node.name]
        body = means(it, 2)
        (answer,) = await pull([node])
        assert (answer.body, answer.headers.get("Warning")) == (body, None)

    play(tmp_path, 2, images(), story)


def test_a_client_does_not_wait_for_an_upstream_that_is_silent_to_this_node(tmp_path: Path) -> None:
    async def story(it: Cluster) -> None:
        body = means(it, 1)
        home, node = it.ring_of_tag(NAME)
        behave, silent = it.origin.answer, asyncio.Event()

        async def answer(request: Any) -> Any:
            if it.origin.asker(request) == node.name and request.method == "HEAD":
                await silent.wait()
            return await behave(request)

        it.origin.answer = answer  # type: ignore[method-assign]
        (said,) = await pull([node])
        assert (said.status, said.body) == (200, body)
        assert f"what member {home.name} says; upstream has not confirmed it" in said.headers["Warning"]
        silent.set()

    play(tmp_path, 2, images(tag_check_s=0.05), story)


def test_to_verify_means_that_no_member_is_asked_what_upstream_says(tmp_path: Path, clock: Clock) -> None:
    async def story(it: Cluster) -> None:
        body = means(it, 1)
        liar, node = it.ring_of_tag(NAME)
        asked = await lies(it, liar, lambda path: EVIL)
        for count in range(1, 4):
            assert (await pull([node]))[0].body == body
            assert heads(it) == count
            clock.advance(61.0)
        assert asked == []

    play(tmp_path, 2, images(), story, "verify")


async def tag_by_hand(it: Cluster, node: Node) -> None:
    """Let the node's runtime know both tags as something else, of this moment, and let the node hold that."""
    said = Tag(Digest.of(EVIL), time.time(), "runtime")
    node.tags.local = lambda reference: said  # type: ignore[method-assign]
    node.router.advertise([Reference.parse(name).key for name in (NAME, "library/x:1.28")])
    await it.give(node, EVIL)


@pytest.mark.parametrize("how", ["sample", "verify"])
def test_what_a_members_runtime_says_of_a_tag_that_upstream_does_not_have_counts_only_in_a_sample(
    tmp_path: Path, how: Literal["sample", "verify"]
) -> None:
    async def story(it: Cluster) -> None:
        member, node = it.ring_of_tag(NAME)
        await tag_by_hand(it, member)
        (answer,) = await pull([node])
        if how == "sample":
            assert (answer.status, answer.body) == (200, EVIL)
            assert "old answer of a member" in answer.headers["Warning"]
        else:
            assert answer.status == 404
            assert b"this node does not know" in answer.body

    play(tmp_path, 2, images(), story, how)


@pytest.mark.parametrize("how", ["sample", "verify"])
def test_while_upstream_is_away_who_verifies_has_only_its_own_answer(
    tmp_path: Path, clock: Clock, how: Literal["sample", "verify"]
) -> None:
    async def story(it: Cluster) -> None:
        body, _ = means(it, 1), means(it, 2, OTHER_TAG)
        member, node = it.ring_of_tag(NAME)
        assert (await pull([node]))[0].body == body
        clock.advance(61.0)
        it.origin.refusals = dict.fromkeys((member.name, node.name), UNAVAILABLE)
        await tag_by_hand(it, member)
        old, unknown = await node.ask(TAG), await node.ask(OTHER_TAG)
        if how == "sample":
            assert (old.body, unknown.body) == (EVIL, EVIL)
        else:
            assert (old.body, unknown.status) == (body, 503)
            assert "1 minute old answer of this node" in old.headers["Warning"]

    play(tmp_path, 2, images(), story, how)


def test_a_late_answer_of_a_home_does_not_replace_what_upstream_has_said_meanwhile(
    tmp_path: Path, clock: Clock
) -> None:
    async def story(it: Cluster) -> None:
        old = means(it, 1)
        home, node = it.ring_of_tag(NAME)
        assert (await pull([node]))[0].body == old
        asked, late = asyncio.Event(), asyncio.Event()

        async def serve(of: Node, scope: Any, receive: Any, send: Any) -> None:
            if of is home and scope["path"] == TAG:
                asked.set()
                await late.wait()
            await honestly(of, scope, receive, send)

        clock.advance(61.0)
        await home.ask(TAG)  # it knows the old meaning, of a moment ago
        it.serve_peer = serve
        pulling = asyncio.create_task(pull([node]))
        await asked.wait()
        new = means(it, 2)
        await node.tags.check(Reference.parse(NAME))  # for another member
        late.set()
        assert (await pulling)[0].body == new
        assert (await pull([node]))[0].body == new

    play(tmp_path, 2, images(tag_sample=1 << 60), story)


def test_where_homes_are_trusted_a_crowd_costs_one_head_and_one_get_whatever_the_number_of_nodes(
    tmp_path: Path, clock: Clock
) -> None:
    async def story(it: Cluster) -> None:
        body = means(it, 1)
        answers = await pull(it.nodes * 20)
        assert {(answer.status, answer.body, answer.headers.get("Warning")) for answer in answers} == {
            (200, body, None)
        }
        assert Counter(request.method for request in it.origin.requests) == {"HEAD": 1, "GET": 1}
        for number in range(2, 5):
            body = means(it, number)
            clock.advance(61.0)
            assert {answer.body for answer in await pull(it.nodes * 3)} == {body}
            assert heads(it) == number

    play(tmp_path, 5, images(tag_known_s=30.0), story, "trust")


def test_a_tag_that_moves_is_seen_by_all_within_its_time_by_one_head_a_period(tmp_path: Path, clock: Clock) -> None:
    async def story(it: Cluster) -> None:
        means(it, 1)
        await pull(it.nodes)
        for number in range(2, 6):
            old, before = manifest(number - 1), heads_by(it)
            for _ in range(3):  # within the period in which the tag moves
                clock.advance(15.0)
                assert {answer.body for answer in await pull(it.nodes)} == {old}
            body = means(it, number)
            clock.advance(16.0)
            assert {answer.body for answer in await pull(it.nodes)} == {body}
            asked = heads_by(it) - before
            assert asked == dict.fromkeys((node.name for node in it.nodes), 1), "each confirms what is new to it"
        before = heads_by(it)
        for _ in range(4):
            clock.advance(61.0)
            assert {answer.body for answer in await pull(it.nodes)} == {body}
        assert (heads_by(it) - before).total() == 4, "of what does not move, one asks for all"

    play(tmp_path, 4, images(tag_sample=1 << 60), story)


def test_the_answer_checked_last_outlives_a_restart_of_every_node_one_by_one(tmp_path: Path, clock: Clock) -> None:
    async def story(it: Cluster) -> None:
        means(it, 1)
        await pull(it.nodes)
        clock.advance(61.0)
        newest = means(it, 2)
        knows = it.ring_of_tag(NAME)[1]
        assert (await pull([knows]))[0].body == newest  # and its home, which it asked
        it.origin.refusals = {node.name: UNAVAILABLE for node in it.nodes}
        clock.advance(61.0)
        for node in it.nodes:
            await node.stop()
            await node.start()
            for other in it.nodes:
                answer = await other.ask(TAG)
                assert (answer.status, answer.body) == (200, newest)
                assert "old answer of a member" in answer.headers["Warning"]

    play(tmp_path, 4, images(), story)


def test_a_tag_whose_manifest_is_nowhere_to_be_had_is_no_answer(tmp_path: Path) -> None:
    async def story(it: Cluster) -> None:
        old = means(it, 1)
        (node,) = it.nodes
        assert (await node.tags.resolve(Reference.parse(NAME))).tag.digest == Digest.of(old)
        del it.origin.bodies[f"/v2/library/x/manifests/{Digest.of(old)}"]
        answer = await node.ask(TAG)
        assert (answer.status, answer.headers["Content-Type"]) == (404, "application/json")
        assert b"which is nowhere to be had: no member has" in answer.body
        new = means(it, 2)  # and what it meant before was deleted with that
        answer = await node.ask(TAG)
        assert (answer.status, answer.body) == (200, new)

    play(tmp_path, 1, images(), story)


def test_while_upstream_is_away_such_a_tag_is_no_answer_either(tmp_path: Path) -> None:
    async def story(it: Cluster) -> None:
        means(it, 1)
        node, other = it.nodes
        await node.tags.resolve(Reference.parse(NAME))
        it.origin.refusals = dict.fromkeys((node.name, other.name), UNAVAILABLE)
        for asked in (node, other):
            answer = await asked.ask(TAG)
            assert answer.status == 503
            assert b"cannot be fetched now" in answer.body

    play(tmp_path, 2, images(), story)
