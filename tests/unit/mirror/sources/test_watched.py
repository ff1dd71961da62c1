"""A registry that does not answer: who finds it out, what that costs, and when it is used again."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from mirror.errors import Reason, UpstreamError, UpstreamOffline, UpstreamOut, UpstreamUnknown
from mirror.events import Event, Kind, OutageBegan, OutageEnded
from mirror.oci.content import Content
from mirror.oci.digest import Digest
from mirror.oci.reference import Reference, Repository
from mirror.settings import OutageSettings
from mirror.sources import Page, RangeReply, RangeRequest, Resolved, Role, Sink, Standing
from mirror.sources.outages import Outages
from mirror.sources.watched import WatchedUpstream
from mirror.sources.words import Sees, Words

HUB = "docker.io"
TAG = Reference.parse("library/x:1")
BLOB = Content(Repository(HUB, "library/x"), "blobs", Digest.of(b"x"))
RESOLVED = Resolved(Digest.of(b"m"), "application/json", 1)
PROMPT = OutageSettings(silent_s=0.01, sign_of_life_s=0.05, probe_s=0.01, grace_s=0.02)


class Registries:
    """A registry that answers, lives, or neither, as a test says."""

    name = "upstream"

    def __init__(self) -> None:
        self.answering, self.living = asyncio.Event(), asyncio.Event()
        self.error: UpstreamError | None = None
        self.questions = self.signs = self.cancelled = 0
        self.asked_for_a_sign = asyncio.Event()

    async def answers(self, registry: str) -> bool:
        self.signs += 1
        self.asked_for_a_sign.set()
        await self.living.wait()
        return True

    async def resolve(self, reference: Reference) -> Resolved:
        await self._wait()
        return RESOLVED

    async def page(self, repository: Repository, what: str, query: str) -> Page:
        await self._wait()
        return Page(b"")

    async def size(self, content: Content, expected: int | None = None) -> int:
        await self._wait()
        return 1

    async def download(self, content: Content, request: RangeRequest, sink: Sink) -> None:
        """The head at once, then a byte whenever the registry is answering, until all have come."""
        await sink.begin(RangeReply(0, 3, 3))
        for position in range(request.start, request.stop or 3):
            await self._wait()
            await sink.wait_for_space(position)
            await asyncio.to_thread(sink.put, position, b"x")

    async def _wait(self) -> None:
        self.questions += 1
        if self.error is not None:
            raise self.error
        try:
            await self.answering.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


class Nowhere:
    """A sink that keeps nothing, and has space when a test says so."""

    def __init__(self) -> None:
        self.has_space = asyncio.Event()
        self.has_space.set()
        self.count = 0

    async def begin(self, reply: RangeReply) -> None:
        pass

    def begin_at_once(self, reply: RangeReply) -> bool:
        return True

    async def wait_for_space(self, position: int) -> None:
        self.count += 1
        await self.has_space.wait()

    def put(self, position: int, part: bytes | memoryview) -> None:
        pass


class World:
    def __init__(
        self, settings: OutageSettings, name: str = "me", tell: Callable[[bytes], None] = lambda word: None
    ) -> None:
        self.registries, self.outages = Registries(), Outages(settings)
        words = Words(settings, name, {HUB}, tell)
        self.told: list[Event] = []
        self.upstream = WatchedUpstream(self.registries, self.outages, settings, words=words, on_event=self.told.append)

    def is_out(self) -> bool:
        return self.outages.why(HUB, 0.0) is not None

    async def __aenter__(self) -> "World":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.upstream.close()


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 30))


def test_who_asks_a_silent_registry_learns_that_it_is_out_and_the_next_one_is_not_kept_waiting() -> None:
    async def story() -> None:
        async with World(PROMPT) as it:
            with pytest.raises(UpstreamOut, match="no sign of life"):
                await it.upstream.resolve(TAG)
            assert (it.registries.questions, it.registries.cancelled) == (1, 1)
            with pytest.raises(UpstreamOut, match="has not answered") as caught:
                await it.upstream.size(BLOB)
            assert it.registries.questions == 1
            assert it.told == [OutageBegan(HUB, "it gives no sign of life")]
            assert caught.value.retry_after_s == PROMPT.retry_after_s

    run(story())


def test_a_registry_that_is_never_asked_is_not_asked_for_a_sign_of_life_either() -> None:
    async def story() -> None:
        registries, outages = Registries(), Outages(PROMPT)
        upstream = WatchedUpstream(registries, outages, PROMPT, {HUB})
        for ask in (lambda: upstream.resolve(TAG), lambda: upstream.size(BLOB)):
            with pytest.raises(UpstreamOffline, match=f"{HUB} is never asked by this node: --offline"):
                await ask()
        assert (registries.questions, registries.signs, outages.why(HUB, 0.0)) == (0, 0, None)
        await upstream.close()

    run(story())


def test_all_who_wait_for_a_silent_registry_ask_for_one_sign_of_life() -> None:
    async def story() -> None:
        async with World(OutageSettings(silent_s=0.01, sign_of_life_s=0.2, probe_s=60.0)) as it:
            waiting = [it.upstream.resolve(TAG) for _ in range(5)]
            failures = await asyncio.gather(*waiting, return_exceptions=True)
            assert {type(failure) for failure in failures} == {UpstreamOut}
            assert it.registries.signs == 1

    run(story())


def test_a_registry_that_lives_is_waited_for() -> None:
    async def story() -> None:
        async with World(PROMPT) as it:
            it.registries.living.set()
            resolving = asyncio.create_task(it.upstream.resolve(TAG))
            while it.registries.signs < 3:
                await asyncio.sleep(0)
            it.registries.answering.set()
            assert await resolving == RESOLVED

    run(story())


def body_of(it: "World", sink: Sink) -> "asyncio.Task[None]":
    """Three bytes of a blob, of which one comes whenever the registry is answering."""
    return asyncio.create_task(it.upstream.download(BLOB, RangeRequest(0, 3, Role.UPSTREAM), sink))


def test_a_body_that_stops_ends_when_its_registry_gives_no_sign_of_life() -> None:
    async def story() -> None:
        async with World(PROMPT) as it:
            with pytest.raises(UpstreamOut, match="no sign of life"):
                await body_of(it, Nowhere())
            assert (it.registries.questions, it.registries.cancelled, it.is_out()) == (1, 1, True)

    run(story())


def test_a_body_that_stops_is_waited_for_while_its_registry_lives() -> None:
    async def story() -> None:
        async with World(PROMPT) as it:
            it.registries.living.set()
            downloading = body_of(it, Nowhere())
            while it.registries.signs < 3:
                await asyncio.sleep(0)
            it.registries.answering.set()
            await downloading

    run(story())


def test_what_comes_of_another_body_is_a_sign_of_life() -> None:
    async def story() -> None:
        settings = OutageSettings(silent_s=0.02, sign_of_life_s=10.0)
        async with World(settings) as it:
            stopped = body_of(it, Nowhere())
            for _ in range(20):
                it.outages.signed(HUB, time.monotonic())
                await asyncio.sleep(0.005)
            assert not it.registries.signs
            stopped.cancel()

    run(story())


def test_what_comes_while_a_sign_of_life_is_asked_for_is_one() -> None:
    async def story() -> None:
        async with World(OutageSettings(silent_s=0.01, sign_of_life_s=0.2, probe_s=60.0)) as it:
            stopped = body_of(it, Nowhere())
            await it.registries.asked_for_a_sign.wait()
            for _ in range(30):  # by the end it is known that the question had no answer
                it.outages.signed(HUB, time.monotonic())
                await asyncio.sleep(0.01)
            assert not it.is_out()
            stopped.cancel()

    run(story())


def test_a_sink_without_space_is_no_silence_of_the_registry() -> None:
    async def story() -> None:
        async with World(PROMPT) as it:
            sink = Nowhere()
            sink.has_space.clear()
            it.registries.answering.set()
            downloading = body_of(it, sink)
            while not sink.count:
                await asyncio.sleep(0)
            await asyncio.sleep(5 * PROMPT.silent_s)
            assert not it.registries.signs
            sink.has_space.set()
            await downloading
            assert sink.count == 3

    run(story())


def test_it_is_used_again_as_soon_as_it_is_back_also_if_nobody_asks() -> None:
    async def story() -> None:
        async with World(PROMPT) as it:
            with pytest.raises(UpstreamOut):
                await it.upstream.resolve(TAG)
            it.registries.living.set()
            it.registries.answering.set()
            while it.is_out():
                await asyncio.sleep(0.001)
            assert await it.upstream.resolve(TAG) == RESOLVED

    run(story())


def test_a_question_that_was_lost_does_not_hold_the_next_one_up() -> None:
    async def story() -> None:
        prompt = OutageSettings(sign_of_life_s=60.0, alone_silent_s=0.01, alone_sign_of_life_s=0.01, probe_s=0.01)
        async with World(prompt) as it:
            hangs = it.registries.living
            it.upstream.follow(lambda: not it.is_out())
            with pytest.raises(UpstreamOut):
                await it.upstream.resolve(TAG)
            it.registries.asked_for_a_sign.clear()
            await it.registries.asked_for_a_sign.wait()
            it.registries.living = asyncio.Event()
            it.registries.living.set()
            while it.is_out():
                await asyncio.sleep(0.001)
            assert not hangs.is_set()

    run(story())


def test_while_no_member_is_in_reach_either_it_has_less_time() -> None:
    async def story() -> None:
        patient = OutageSettings(silent_s=60.0, sign_of_life_s=60.0, alone_silent_s=0.01, alone_sign_of_life_s=0.01)
        async with World(patient) as it:
            asking, alone = asyncio.create_task(it.upstream.resolve(TAG)), asyncio.Event()
            it.upstream.follow(alone.is_set)
            while not it.registries.questions:
                await asyncio.sleep(0)
            assert not it.registries.signs
            alone.set()
            with pytest.raises(UpstreamOut):
                await asking

    run(story())


def test_a_request_asks_for_a_sign_of_life_itself_and_waits_a_moment_for_it() -> None:
    async def story() -> None:
        async with World(OutageSettings(silent_s=0.01, sign_of_life_s=0.02, probe_s=60.0, grace_s=10.0)) as it:
            with pytest.raises(UpstreamOut):
                await it.upstream.resolve(TAG)
            it.registries.living.set()
            it.registries.answering.set()
            assert await it.upstream.resolve(TAG) == RESOLVED
            assert isinstance(it.told[-1], OutageEnded)
            assert it.told[-1].answers

    run(story())


def test_nobody_asks_for_signs_of_life_when_nobody_wants_anything_any_more() -> None:
    async def story() -> None:
        async with World(OutageSettings(silent_s=0.01, sign_of_life_s=0.01, probe_s=0.01, wanted_s=0.05)) as it:
            with pytest.raises(UpstreamOut):
                await it.upstream.resolve(TAG)
            while it.is_out():  # it never answers: so this ends with the questions
                await asyncio.sleep(0.001)
            assert [event.kind for event in it.told] == [Kind.OUTAGE_BEGAN, Kind.OUTAGE_ENDED]

    run(story())


def test_what_a_registry_says_is_passed_on() -> None:
    async def story() -> None:
        async with World(PROMPT) as it:
            it.registries.error = UpstreamUnknown("no such tag")
            with pytest.raises(UpstreamUnknown):
                await it.upstream.resolve(TAG)
            assert not it.registries.signs

    run(story())


@pytest.mark.parametrize("lives", [True, False])
def test_a_request_that_reaches_nobody_says_the_registry_is_out_only_if_that_is_so(*, lives: bool) -> None:
    async def story() -> None:
        async with World(PROMPT) as it:
            if lives:
                it.registries.living.set()
            it.registries.error = UpstreamError(Reason.UNREACHABLE, "an object store cannot be reached")
            with pytest.raises(UpstreamError) as caught:
                await it.upstream.resolve(TAG)
            assert caught.value.reason is (Reason.UNREACHABLE if lives else Reason.OUTAGE)
            assert it.is_out() is not lives

    run(story())


class Pair:
    """Two members that hear each other, each of which has a line of its own to the registry."""

    def __init__(self, settings: OutageSettings = PROMPT) -> None:
        self.one = World(settings, "one", lambda word: self.other.upstream.heard(word))
        self.other = World(settings, "other", lambda word: self.one.upstream.heard(word))

    async def __aenter__(self) -> "Pair":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.one.upstream.close()
        await self.other.upstream.close()


def test_what_one_member_finds_out_costs_the_other_nothing() -> None:
    async def story() -> None:
        async with Pair() as it:
            with pytest.raises(UpstreamOut):
                await it.one.upstream.resolve(TAG)
            while not it.other.is_out():
                await asyncio.sleep(0.001)
            with pytest.raises(UpstreamOut, match="a member says so"):
                await it.other.upstream.resolve(TAG)
            assert it.other.registries.questions == 0

    run(story())


def test_a_member_that_the_registry_answers_is_not_kept_from_it_by_one_with_a_broken_line() -> None:
    async def story() -> None:
        async with Pair() as it:
            it.other.registries.living.set()
            it.other.registries.answering.set()
            with pytest.raises(UpstreamOut):
                await it.one.upstream.resolve(TAG)
            assert await it.other.upstream.resolve(TAG) == RESOLVED
            assert it.other.registries.signs <= 2, "it looks once for each word"
            assert not it.other.is_out()
            assert it.one.is_out()

    run(story())


def test_who_is_told_that_a_registry_is_back_looks_at_once() -> None:
    async def story() -> None:
        seldom = OutageSettings(silent_s=0.01, sign_of_life_s=0.05, probe_s=0.01, others_probe_s=60.0, grace_s=0.0)
        async with Pair(seldom) as it:
            with pytest.raises(UpstreamOut):
                await it.one.upstream.resolve(TAG)
            while not it.other.is_out():
                await asyncio.sleep(0.001)
            for world in (it.one, it.other):
                world.registries.living.set()
            while it.one.is_out() or it.other.is_out():
                await asyncio.sleep(0.001)

    run(story())


def test_while_it_is_found_out_what_is_known_need_not_wait() -> None:
    async def story() -> None:
        async with Pair(OutageSettings(silent_s=0.01, sign_of_life_s=0.05, probe_s=0.01)) as it:
            assert it.other.upstream.standing(HUB) is Standing.ASKED
            asking = asyncio.create_task(it.one.upstream.resolve(TAG))
            await it.one.registries.asked_for_a_sign.wait()
            assert [world.upstream.standing(HUB) for world in (it.one, it.other)] == [Standing.DOUBTED] * 2
            with pytest.raises(UpstreamOut):
                await asking
            assert it.one.upstream.standing(HUB) is Standing.OUT

    run(story())


def test_one_that_is_never_asked_is_not_asked_because_a_member_says_something() -> None:
    async def story() -> None:
        registries = Registries()
        offline = WatchedUpstream(registries, Outages(PROMPT), PROMPT, {HUB}, Words(PROMPT, "me", {HUB}))
        Words(PROMPT, "one", {HUB}, offline.heard).say(HUB, Sees.OUTAGE, time.monotonic())
        await asyncio.sleep(2 * PROMPT.probe_s)
        assert registries.signs == 0
        await offline.close()

    run(story())


def test_a_sign_that_came_before_a_question_says_nothing_of_its_silence() -> None:
    async def story() -> None:
        async with World(OutageSettings(silent_s=0.01, sign_of_life_s=60.0, probe_s=60.0)) as it:
            it.registries.answering.set()
            assert await it.upstream.resolve(TAG) == RESOLVED
            it.registries.answering.clear()
            asking = asyncio.create_task(it.upstream.resolve(TAG))
            await it.registries.asked_for_a_sign.wait()
            asking.cancel()

    run(story())
