"""What a client of a node gets of what members sent, and when: only what others vouch for, and never a wrong byte."""

import asyncio
import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mirror.errors import Unavailable
from mirror.oci.content import Content
from mirror.oci.digest import Algorithm
from mirror.settings import EvidenceSettings, SpoolSettings
from mirror.sources.peers.protocol import ORIGIN_HEADER, WANT_HEADER, Want
from tests.loopback import servers
from tests.loopback.lab import STEADY, Lab, before_me, collect, lab, running
from tests.loopback.nodes import cluster
from tests.loopback.servers import (
    LARGE,
    MIB,
    NOT_FOUND,
    Part,
    Request,
    Script,
    Server,
    always,
    content_of,
    corrupt,
    honest,
    inverted,
    part,
    run,
)

CONTENT = content_of(LARGE)
LONG = LARGE + LARGE[::-1]


def gated(body: bytes, gate: int, opened: asyncio.Event) -> Script:
    """Sends what is before a place, and the rest once an event is set."""

    async def script(start: int, stop: int | None) -> Sequence[Part]:
        if (stop or len(body)) > gate:
            await opened.wait()
        return part(body, start, stop)

    return script


async def got(it: Lab, count: int, start: int = 0, stop: int = len(LARGE), content: Content = CONTENT) -> bool:
    """Read until so much has come, then go; return whether all that came is right."""
    into = bytearray()
    with it.fetching.fetches.read(content) as reader:
        reading = asyncio.create_task(collect(reader, start, stop, into))
        while len(into) < count and not reading.done():
            await asyncio.sleep(0.01)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    return len(into) >= count and into == LARGE[start : start + len(into)]


@pytest.mark.parametrize("algorithm", Algorithm)
def test_two_holders_that_agree_let_a_client_have_each_piece_as_soon_as_it_is_hashed(
    tmp_path: Path, algorithm: Algorithm
) -> None:
    content = content_of(LARGE, algorithm=algorithm)

    async def story() -> None:
        opened = asyncio.Event()
        async with lab(tmp_path, always(NOT_FOUND)) as it:
            for _ in range(2):
                await it.holder(gated(LARGE, 12 * MIB, opened), vouches_for=LARGE)
            assert await got(it, 8 * MIB, content=content)
            opened.set()
            await it.whole(content)
            assert it.held(content)

    run(story())


def test_a_holder_vouches_for_what_a_home_sent(tmp_path: Path) -> None:
    async def story() -> None:
        opened = asyncio.Event()
        async with lab(tmp_path, gated(LARGE, 12 * MIB, opened)) as it:
            (home,) = before_me(CONTENT, 1)
            await it.home(home, gated(LARGE, 12 * MIB, opened))
            await it.holder(always(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"), vouches_for=LARGE)
            assert await got(it, 8 * MIB)
            (record,) = it.fetching.fetches.records
            assert {"home", "witness"} <= {role for _, role in record.asked}, "people see who was asked, and as what"

    run(story())


@pytest.mark.parametrize("vouches_for", [None, LARGE], ids=["without a word", "with its own word"])
def test_a_lone_holder_is_not_believed_before_the_digest_is_right(tmp_path: Path, vouches_for: bytes | None) -> None:
    async def story() -> None:
        opened = asyncio.Event()
        async with lab(tmp_path, always(NOT_FOUND)) as it:
            await it.holder(gated(LARGE, 12 * MIB, opened), vouches_for)
            it.fetching.stated.note([(CONTENT.digest.hex, len(LARGE))])  # the size is not what is waited for
            into = bytearray()
            with it.fetching.fetches.read(CONTENT) as reader:
                reading = asyncio.create_task(collect(reader, 0, await reader.size(), into))
                fetch = it.fetching.fetches.current(CONTENT)
                assert fetch is not None
                while not fetch.spool.present.covers(0, 12 * MIB):
                    await asyncio.sleep(0.01)
                assert not into
                opened.set()
                await reading
            assert into == LARGE

    run(story())


@pytest.mark.parametrize("origin", [None, "m1"])
def test_a_home_that_passes_on_what_the_voucher_sent_needs_another_one(tmp_path: Path, origin: str | None) -> None:
    """A liar with two hats: it sends by way of a home, which says so, and vouches for that itself."""

    async def story() -> None:
        wrong = corrupt(LARGE, 5)
        async with lab(tmp_path, honest(LARGE)) as it:
            (home,) = before_me(CONTENT, 1)
            said = {} if origin is None else {ORIGIN_HEADER: origin}
            await it.home(home, honest(wrong, headers=said))
            busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
            await it.holder(always(busy), vouches_for=wrong if origin else None)
            assert await it.read(CONTENT) == LARGE

    run(story())


def test_pieces_that_two_holders_contradict_come_from_others_before_the_whole_is_here(tmp_path: Path) -> None:
    async def story() -> None:
        opened = asyncio.Event()
        async with lab(tmp_path, always(NOT_FOUND)) as it:
            liar = await it.holder(gated(inverted(LARGE), 12 * MIB, opened))
            for _ in range(2):
                await it.holder(gated(LARGE, 12 * MIB, opened), vouches_for=LARGE)
            assert await got(it, 8 * MIB)
            assert liar.asked
            opened.set()
            await it.whole(CONTENT)
            assert it.held(CONTENT)
            assert it.fetching.health.unusable() == {"m1"}
            while not liar.told:
                await asyncio.sleep(0.01)

    run(story())


@pytest.mark.parametrize("lists", [[inverted(LARGE)], [inverted(LARGE), LARGE], [LARGE[::-1], inverted(LARGE)]])
def test_a_lying_list_costs_time_alone(tmp_path: Path, lists: list[bytes]) -> None:
    async def story() -> None:
        async with lab(tmp_path, honest(LARGE)) as it:
            for said in lists:
                await it.holder(honest(LARGE), vouches_for=said)
            assert await it.read(CONTENT) == LARGE
            assert it.fetching.health.unusable() == set()

    run(story())


# Ranges by themselves.


def ranged(start: int) -> tuple[int, int]:
    return start, start + 100_000


def test_a_small_range_waits_for_a_holder_that_did_not_send_it_and_not_for_the_front(tmp_path: Path) -> None:
    async def story() -> None:
        opened = asyncio.Event()

        async def only_there(start: int, stop: int | None) -> Sequence[Part]:
            if MIB <= start < 6 * MIB or start >= 8 * MIB:
                await opened.wait()
            return part(LARGE, start, stop)

        async with lab(tmp_path, always(NOT_FOUND)) as it:
            servers = [await it.holder(only_there, vouches_for=LARGE) for _ in range(2)]
            start, stop = ranged(7 * MIB + 5)
            assert await it.read_range(CONTENT, start, stop) == LARGE[start:stop]
            assert "sha256" in [want for server in servers for want in server.vouched]
            opened.set()

    run(story())


def test_without_such_a_holder_upstream_sends_the_range_itself(tmp_path: Path) -> None:
    async def story() -> None:
        async with lab(tmp_path, honest(LARGE)) as it:
            opened = asyncio.Event()

            async def only_there(start: int, stop: int | None) -> Sequence[Part]:
                if MIB <= start < 6 * MIB or start >= 8 * MIB:
                    await opened.wait()
                return part(inverted(LARGE), start, stop)

            await it.holder(only_there, vouches_for=inverted(LARGE))
            start, stop = ranged(7 * MIB + 5)
            assert await it.read_range(CONTENT, start, stop) == LARGE[start:stop]
            assert (start, stop) in it.registry.asked
            opened.set()

    run(story())


def test_a_node_does_not_fetch_a_layer_twice_that_a_client_reads_in_small_ranges(tmp_path: Path) -> None:
    """What a member has sent for somebody who wants the whole waits for its digest, but for a few ranges."""

    async def story() -> None:
        settings = replace(STEADY, evidence=EvidenceSettings(upstream_bytes_max=300_000))
        opened = asyncio.Event()
        async with lab(tmp_path, honest(LARGE), settings=settings) as it:
            await it.holder(gated(LARGE, 12 * MIB, opened))
            with it.fetching.fetches.read(CONTENT) as reader:
                await reader.size()
                while not (spool := running(it.fetching, CONTENT).spool).present.covers(0, 11 * MIB):
                    await asyncio.sleep(0.01)
                ranges = [ranged(number * MIB // 2) for number in range(20)]
                bodies = [asyncio.create_task(it.read_range(CONTENT, *wanted)) for wanted in ranges]
                while spool.vouching.free.byte_count < 300_000:
                    await asyncio.sleep(0.01)
                opened.set()
                assert await asyncio.gather(*bodies) == [LARGE[start:stop] for start, stop in ranges]
            assert sum((stop or 0) - start for start, stop in it.registry.asked) <= 300_000

    run(story())


# Samples.


def test_a_client_that_waits_for_long_gets_a_little_from_upstream_now_and_then(tmp_path: Path) -> None:
    async def story() -> None:
        settings = replace(STEADY, evidence=EvidenceSettings(sample_after_s=0.3, sample_bytes=1000))
        opened = asyncio.Event()
        async with lab(tmp_path, honest(LARGE), settings=settings) as it:
            await it.holder(gated(LARGE, 12 * MIB, opened))
            assert await got(it, 3000)
            assert it.registry.asked[:3] == [(0, 1000), (1000, 2000), (2000, 3000)]
            opened.set()

    run(story())


def test_a_sample_that_differs_makes_the_node_turn_to_others(tmp_path: Path) -> None:
    async def story() -> None:
        settings = replace(STEADY, evidence=EvidenceSettings(sample_after_s=0.3, sample_bytes=1000))
        opened = asyncio.Event()
        async with lab(tmp_path, honest(LARGE), settings=settings) as it:
            await it.holder(gated(inverted(LARGE), 12 * MIB, opened))
            assert await it.read(CONTENT, 0, MIB) == LARGE[:MIB]
            assert await it.read(CONTENT) == LARGE

    run(story())


# In memory.

WINDOW = replace(STEADY, spool=SpoolSettings(window_bytes=8 * MIB))


def test_what_fits_in_memory_is_given_when_its_digest_is_right(tmp_path: Path) -> None:
    async def story() -> None:
        async with lab(tmp_path, honest(LARGE), 0, replace(STEADY, spool=SpoolSettings(window_bytes=16 * MIB))) as it:
            await it.holder(honest(corrupt(LARGE, 5)))
            assert await it.read(CONTENT) == LARGE

    run(story())


def test_what_does_not_fit_comes_from_upstream_and_members_lie_in_vain(tmp_path: Path) -> None:
    async def story() -> None:
        async with lab(tmp_path, honest(LONG), 0, WINDOW) as it:
            await it.holder(honest(inverted(LONG)))
            assert await it.read(content_of(LONG)) == LONG

    run(story())


def test_without_upstream_it_comes_from_members_for_which_two_vouch(tmp_path: Path) -> None:
    async def story() -> None:
        async with lab(tmp_path, always(NOT_FOUND), 0, WINDOW) as it:
            for _ in range(2):
                await it.holder(honest(LONG), vouches_for=LONG)
            assert await it.read(content_of(LONG)) == LONG

    run(story())


def test_doubts_about_bytes_that_a_client_has_meanwhile_do_not_count(tmp_path: Path) -> None:
    async def story() -> None:
        said = asyncio.Event()

        class DoubtsLate(Server):
            """Says right prefixes, and of single ranges that they are others, but only once it is time."""

            async def answer(self, request: Request) -> Sequence[Part]:
                if request.headers.get(WANT_HEADER.lower()) == Want.SHA256.value:
                    self.vouched.append(Want.SHA256.value)
                    return [said, servers.testimony(inverted(LONG), request)]
                return await super().answer(request)

        async with lab(tmp_path, always(NOT_FOUND), 0, WINDOW) as it:
            holders = [await it.holder(honest(LONG), LONG, DoubtsLate) for _ in range(2)]
            for _ in range(4):  # it waits where the hash is not yet, and goes on soon
                into = bytearray()
                with it.fetching.fetches.read(content_of(LONG)) as reader:
                    reading = asyncio.create_task(collect(reader, 0, len(LONG), into))
                    while len(into) < 18 * MIB and not reading.done():
                        await asyncio.sleep(0.001)
                    said.set()
                    await reading
                said.clear()
                assert into == LONG
            assert any(Want.SHA256.value in holder.vouched for holder in holders)

    run(story())


def test_two_that_vouch_late_are_waited_for_where_upstream_does_not_have_it(tmp_path: Path) -> None:
    async def story() -> None:
        said = asyncio.Event()

        class VouchesLate(Server):
            """Says its prefixes only once it is time."""

            async def answer(self, request: Request) -> Sequence[Part]:
                parts = await super().answer(request)
                return [said, *parts] if request.headers.get(WANT_HEADER.lower()) == Want.PREFIXES.value else parts

        async with lab(tmp_path, always(NOT_FOUND), 0, WINDOW) as it:
            for _ in range(2):
                await it.holder(honest(LONG), LONG, VouchesLate)
            into = bytearray()
            with it.fetching.fetches.read(content_of(LONG)) as reader:
                reading = asyncio.create_task(collect(reader, 0, len(LONG), into))
                fetch = running(it.fetching, content_of(LONG))
                while not (fetch.record.failures and fetch.spool.present.covers(0, MIB)):
                    await asyncio.sleep(0.01)
                for _ in range(20):  # nobody is asked any more
                    await asyncio.sleep(0)
                said.set()
                await reading
            assert into == LONG

    run(story())


def test_without_upstream_and_without_two_that_vouch_it_is_unavailable(tmp_path: Path) -> None:
    async def story() -> None:
        async with lab(tmp_path, always(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"), 0, WINDOW) as it:
            await it.holder(honest(LONG), vouches_for=LONG)
            with pytest.raises(Unavailable):
                await it.read(content_of(LONG))

    run(story())


# Whole nodes.


def test_a_node_that_finishes_lets_the_clients_of_others_go_on(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 3) as it:
            content = it.origin.has(LARGE)
            first, second, third = it.nodes
            await it.give(first, LARGE)
            await it.give(second, LARGE)
            assert await third.pull(content) == LARGE
            assert it.origin.bytes_of(content) == 0

    run(story())


def test_a_holder_that_is_told_of_wrong_bytes_verifies_its_copy(tmp_path: Path) -> None:
    async def story() -> None:
        settings = replace(STEADY, cluster=replace(STEADY.cluster, corrupt_ban_s=math.inf))
        async with cluster(tmp_path, 2, settings=settings) as it:
            content = it.origin.has(LARGE)
            holder, other = it.nodes
            await it.give(holder, LARGE)
            verified = asyncio.Event()
            verify = holder.holdings.verify

            async def noted(digest: object) -> bool:
                assert digest == content.digest
                verified.set()
                return await verify(content.digest)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(holder.holdings, "verify", noted)
                other.fetching.health.tell(holder.name, content, (5, 10))
                await verified.wait()
                verified.clear()
                other.fetching.health.tell(holder.name, content, (5, 10))
                other.fetching.health.sent_corrupt(holder.name, content.digest)
            assert not verified.is_set(), "once a minute"
            assert holder.held(content)

    run(story())


def test_a_holder_says_what_it_found_when_it_verified_its_copy(tmp_path: Path) -> None:
    async def story() -> None:
        async with cluster(tmp_path, 1) as it:
            (holder,) = it.nodes
            content = it.origin.has(LARGE)
            path = f"/v2/{content.path}"
            assert (await holder.ask(path, peer=True, headers={WANT_HEADER: "prefixes"})).status == 404
            await holder.pull(content)
            said = await holder.ask(path, peer=True, headers={WANT_HEADER: "prefixes"})
            ends = range(MIB, len(LARGE) + 1, MIB)
            assert said.body == b"".join(hashlib.sha256(LARGE[:end]).digest() for end in ends)
            said = await holder.ask(path, peer=True, headers={WANT_HEADER: "sha256", "Range": "bytes=5-1000"})
            assert (said.status, said.body) == (200, hashlib.sha256(LARGE[5:1001]).digest())
            for wanted, status in (("bytes=0-", 503), (f"bytes={len(LARGE)}-", 416)):
                said = await holder.ask(path, peer=True, headers={WANT_HEADER: "sha256", "Range": wanted})
                assert said.status == status

    run(story())
