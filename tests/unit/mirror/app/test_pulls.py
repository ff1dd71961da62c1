"""Which requests make one pull, and what its line says."""

import asyncio
import logging
from typing import Any

import pytest

from mirror.app.pulls import Pulls
from mirror.app.request import RegistryRequest
from mirror.app.zerocopy import EXTENSION
from mirror.oci.digest import Digest
from mirror.oci.reference import Reference, Repository
from mirror.settings import AppSettings

NGINX = Repository.parse("docker.io/library/nginx")
BLOB = Digest.of(b"x")
TAG = RegistryRequest("manifests", NGINX, Reference.parse("nginx:1.27"), is_head=True)
LAYER = RegistryRequest("blobs", NGINX, BLOB)
OTHER = RegistryRequest("blobs", Repository.parse("ghcr.io/a/b"), BLOB)
HERE = ("127.0.0.1", 1)


async def nobody(message: Any) -> None:
    """Take a message."""


async def ask(
    pulls: Pulls, request: RegistryRequest, client: tuple[str, int] | None = HERE, status: int = 200, count: int = 0
) -> None:
    with pulls.following({"client": client}, request, nobody) as send:
        await send({"type": "http.response.start", "status": status})
        if count:
            await send({"type": EXTENSION, "count": count})
        await send({"type": "http.response.body", "body": b"12345"})


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines, without how long it took."""
    lines = [record.getMessage() for record in caplog.records if record.name == "mirror.app.pulls"]
    return [line.partition("image=")[2].partition(" seconds=")[0] for line in lines]


@pytest.fixture(autouse=True)
def _listen(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mirror.app.pulls")


def test_all_that_a_client_asks_for_under_one_name_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        pulls = Pulls(AppSettings())
        await ask(pulls, TAG)
        await ask(pulls, LAYER, count=1000)
        await ask(pulls, OTHER)
        await ask(pulls, LAYER, status=503)
        await ask(pulls, LAYER, client=None)
        assert told(caplog) == []
        pulls.close()

    asyncio.run(story())
    assert sorted(told(caplog)) == [
        "docker.io/library/nginx client=unix requests=1 failed=0 bytes=5",
        "docker.io/library/nginx:1.27 client=127.0.0.1 requests=3 failed=1 bytes=1010",
        "ghcr.io/a/b client=127.0.0.1 requests=1 failed=0 bytes=5",
    ]


def test_a_pull_ends_when_nothing_is_asked_for_a_while_and_not_before(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        pulls = Pulls(AppSettings(pull_quiet_s=0.0))
        with pulls.following({"client": HERE}, LAYER, nobody) as send:
            for _ in range(5):
                await asyncio.sleep(0)
            assert told(caplog) == [], "it is under way"
            await send({"type": "http.response.start", "status": 200})
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
            assert told(caplog) == ["docker.io/library/nginx client=127.0.0.1 requests=1 failed=0 bytes=5"]
            with pulls.following({"client": ("10.0.0.2", 1)}, LAYER, nobody):
                assert len(told(caplog)) == 2
                await ask(pulls, LAYER, client=("10.0.0.3", 1))
        pulls.close()

    asyncio.run(story())
    assert sorted(line.split()[1] for line in told(caplog)) == [
        "client=10.0.0.1",
        "client=10.0.0.2",
        "client=127.0.0.1",
        "client=127.0.0.1",
    ]
