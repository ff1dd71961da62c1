"""Which requests make one pull, and what its line says."""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest

from mirror.app.pulls import Pulls
from mirror.app.request import RegistryRequest
from mirror.app.zerocopy import EXTENSION
from mirror.errors import ManifestUnknown, MirrorError, Unavailable
from mirror.events import Event, PullBegan, PullEnded
from mirror.fetch.record import Asked, Phase, Record
from mirror.oci.digest import Digest
from mirror.oci.reference import Reference, Repository
from mirror.settings import AppSettings
from mirror.sources import Role

NGINX = Repository.parse("docker.io/library/nginx")
BLOB = Digest.of(b"x")
TAG = RegistryRequest("manifests", NGINX, Reference.parse("nginx:1.27"), is_head=True)
LAYER = RegistryRequest("blobs", NGINX, BLOB)
SECOND = Digest.of(b"y")
MORE = RegistryRequest("blobs", NGINX, SECOND)
OTHER = RegistryRequest("blobs", Repository.parse("ghcr.io/a/b"), BLOB)
HERE = ("127.0.0.1", 1)


async def nobody(message: Any) -> None:
    """Take a message."""


async def ask(
    pulls: Pulls,
    request: RegistryRequest,
    client: tuple[str, int] | None = HERE,
    error: MirrorError | None = None,
    count: int = 0,
    record: Record | None = None,
) -> None:
    with suppress(MirrorError), pulls.following({"client": client}, request, nobody) as following:
        if error is not None:
            raise error
        if record is None:
            following.held("cache")
        else:
            following.pull.fetched(record)
        await following.send({"type": "http.response.start", "status": 200})
        if count:
            await following.send({"type": EXTENSION, "count": count})
        await following.send({"type": "http.response.body", "body": b"12345"})


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The image and the fields from the bytes on of each line, without how long it took."""
    lines = [record.getMessage() for record in caplog.records if record.name == "mirror.app.pulls"]
    return [
        " ".join([line.partition("image=")[2].split()[0], *line.partition(" bytes=")[1:]]).replace("  ", " ")
        for line in lines
    ]


def came(digest: Digest, sources: dict[str, int], asked: Sequence[Asked] = ()) -> Record:
    """A fetch, of which each source had its part itself."""
    roles = {(it.source, it.role): it for it in asked}
    return Record(
        str(digest), "x", time.time() + 1.0, sources=sources, origins=sources, asked=roles, outcome=Phase.COMPLETE
    )


@pytest.fixture(autouse=True)
def _listen(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mirror.app.pulls")


def test_all_that_a_client_asks_for_under_one_name_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        pulls = Pulls(AppSettings())
        await ask(pulls, TAG)
        await ask(pulls, LAYER, count=1000)
        await ask(pulls, OTHER)
        await ask(pulls, LAYER, error=Unavailable("a moment"))
        await ask(pulls, LAYER, client=None)
        assert told(caplog) == []
        pulls.close()

    asyncio.run(story())
    nothing = "upstream_bytes=0 home_bytes=0 why_upstream= client="
    here = f"{nothing}127.0.0.1"
    assert sorted(told(caplog)) == [
        f"docker.io/library/nginx bytes= 5 sources=cache:5 {nothing}unix requests=1 failed=0 error=",
        f"docker.io/library/nginx:1.27 bytes= 1005 sources=cache:1005 {here} requests=3 failed=1 error=a moment",
        f"ghcr.io/a/b bytes= 5 sources=cache:5 {here} requests=1 failed=0 error=",
    ]


def test_the_line_of_a_pull_says_who_sent_what_and_why_upstream_was_asked(caplog: pytest.LogCaptureFixture) -> None:
    events: list[Event] = []

    async def story() -> None:
        pulls = Pulls(AppSettings(), events.append)
        await ask(pulls, TAG)
        lost = [Asked("n3", Role.HOLDER.value, times=1, failed=1, answer="timeout")]
        await ask(pulls, LAYER, count=1000, record=came(BLOB, {"upstream": 700, "n2": 300}))
        await ask(pulls, MORE, count=50, record=came(SECOND, {"upstream": 50}, lost))
        pulls.close()

    asyncio.run(story())
    why = "no member had it; n3 was to send it and did not: timeout"
    sources = {"upstream": 750, "n2": 300}
    (line,) = told(caplog)
    assert "sources=upstream:750,n2:300 upstream_bytes=750 home_bytes=0 why_upstream=" + why in line
    began, ended = events
    assert began == PullBegan("docker.io/library/nginx:1.27", "127.0.0.1")
    assert isinstance(ended, PullEnded)
    assert (dict(ended.sources), ended.why_upstream, ended.requests, ended.error) == (sources, why, 3, "")


def test_what_homes_fetched_for_the_pull_is_told_apart_from_what_upstream_sent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    homes = [Asked("n2", Role.HOME.value, times=2, bytes=600, answer="sent"), Asked("n2", "upstream", bytes=1)]

    async def story() -> None:
        pulls = Pulls(AppSettings())
        await ask(pulls, LAYER, record=came(BLOB, {"n2": 600, "n3": 400}, homes))
        pulls.close()

    asyncio.run(story())
    (line,) = told(caplog)
    assert "sources=n2:600,n3:400 upstream_bytes=0 home_bytes=600 why_upstream=no member had it " in line


def test_what_a_fetch_had_brought_before_the_pull_was_here(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        pulls = Pulls(AppSettings())
        for_members = came(BLOB, {"upstream": 700, "n2": 100})
        for_members.started_unix_s -= 1000.0
        await ask(pulls, LAYER, record=for_members)
        for_members.sources = {"upstream": 700, "n2": 250}
        pulls.close()

    asyncio.run(story())
    (line,) = told(caplog)
    assert "sources=cache:800,n2:150 upstream_bytes=0 home_bytes=0 why_upstream= " in line


def test_what_left_before_a_client_went_counts(caplog: pytest.LogCaptureFixture) -> None:
    async def gone(message: Any) -> None:
        message["sent"] = 30
        raise asyncio.CancelledError

    async def story() -> None:
        pulls = Pulls(AppSettings())
        with suppress(asyncio.CancelledError), pulls.following({"client": HERE}, LAYER, gone) as following:
            await following.send({"type": EXTENSION, "count": 100})
        pulls.close()

    asyncio.run(story())
    assert " bytes= 30 " in told(caplog)[0]


def test_what_a_client_got_with_a_later_try_is_no_failure_and_a_fault_of_ours_is_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story() -> None:
        for failures in ([LAYER], [LAYER, MORE], [TAG]):
            pulls = Pulls(AppSettings())
            for request in failures:
                await ask(pulls, request, error=ManifestUnknown("no") if request is TAG else Unavailable("later"))
            await ask(pulls, LAYER)
            pulls.close()

    asyncio.run(story())
    lines = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert [(level, text.partition(" image=")[0], text.partition("error=")[2]) for level, text in lines] == [
        ("INFO", "a client pulled", ""),
        ("WARNING", "a client did not get all; `skvaller why` says more", "later"),
        ("INFO", "a client did not get all; `skvaller why` says more", "no"),
    ]


def test_a_pull_names_the_sources_that_sent_most_and_sums_up_the_others() -> None:
    async def story() -> None:
        pulls = Pulls(AppSettings())
        record = came(BLOB, {f"n{number}": 100 - number for number in range(20)})
        with pulls.following({"client": HERE}, LAYER, nobody) as following:
            following.pull.fetched(record)
            (pull,) = pulls.going_on
            assert list(pull.sources.items())[:2] == [("n0", 100), ("n1", 99)]
            assert sum(pull.sources.values()) == sum(record.sources.values())
            assert len(pull.sources) == 17
        pulls.close()

    asyncio.run(story())


def test_a_pull_ends_when_nothing_is_asked_for_a_while_and_not_before(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        pulls = Pulls(AppSettings(pull_quiet_s=0.0))
        with pulls.following({"client": HERE}, LAYER, nobody) as following:
            for _ in range(5):
                await asyncio.sleep(0)
            assert told(caplog) == [], "it is under way"
            await following.send({"type": "http.response.start", "status": 200})
        while not told(caplog):
            await asyncio.sleep(0)
        await ask(pulls, OTHER)
        while len(told(caplog)) < 2:
            await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(story(), 20))
    assert [line.partition(" ")[0] for line in told(caplog)] == ["docker.io/library/nginx", "ghcr.io/a/b"]


def test_few_are_followed_and_the_quiet_ones_give_way(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        pulls = Pulls(AppSettings(pulls_max=2))
        await ask(pulls, LAYER)
        await ask(pulls, OTHER)
        with pulls.following({"client": ("10.0.0.1", 1)}, LAYER, nobody):
            assert [line.partition(" ")[0] for line in told(caplog)] == ["docker.io/library/nginx"]
            with pulls.following({"client": ("10.0.0.2", 1)}, LAYER, nobody):
                assert len(told(caplog)) == 2
                await ask(pulls, LAYER, client=("10.0.0.3", 1))
        pulls.close()

    asyncio.run(story())
    clients = [line.partition("client=")[2].split()[0] for line in told(caplog)]
    assert sorted(clients) == ["10.0.0.1", "10.0.0.2", "127.0.0.1", "127.0.0.1"]
