"""The client of registries and Docker Hub, as far as our double of it behaves as that one does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mirror.errors import UpstreamError, UpstreamRateLimited, UpstreamUnknown
from mirror.oci.content import Content
from mirror.oci.digest import Digest
from mirror.oci.reference import DOCKER_HUB, Reference, Repository
from mirror.settings import BudgetSettings, UpstreamSettings
from mirror.sources.upstream import Upstream
from mirror.sources.upstream.budgets import Budgets
from mirror.sources.upstream.registries import Registry, with_trust
from mirror.sources.upstream.trust import Trusted
from testbed.hub import Allowance, Fault, Hub, Kind, PullLimits
from testbed.images import Image, build_image
from tests.loopback.registries import failing, fetch, on_loop

APP = Repository(DOCKER_HUB, "library/app")
TAG = Reference(APP, "1")
ACCOUNT, PASSWORD = "robot", "hunter2"


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return build_image(tmp_path, "docker.io/library/app:1", [300_000, 10])


@asynccontextmanager
async def pulling(
    hub: Hub, userinfo: str = "", budgets: Budgets | None = None, **limits: float
) -> AsyncIterator[Upstream]:
    """A client that takes a hub for docker.io."""
    named = Registry.parse(f"docker.io={hub.url.replace('//', f'//{userinfo}')}")
    trusted = [Trusted.parse(f"docker.io={site.address}") for site in (hub.auth, hub.store)]
    client = Upstream(with_trust([named], trusted), UpstreamSettings(**limits), budgets=budgets)  # type: ignore[arg-type]
    await client.start()
    try:
        yield client
    finally:
        await client.close()


def manifest(image: Image) -> Content:
    return Content(APP, "manifests", Digest.parse(image.manifest))


def blob(image: Image, number: int = 0) -> Content:
    return Content(APP, "blobs", Digest.parse(image.layers[number]))


@on_loop
async def test_an_image_costs_one_pull_one_token_and_no_authorization_leaves_the_registry(image: Image) -> None:
    budgets = Budgets(BudgetSettings())
    hub = Hub(limits=PullLimits(Allowance(10, 3600)))
    hub.hold(image, APP.path)
    with hub.running():
        async with pulling(hub, budgets=budgets) as client:
            assert str((await client.resolve(TAG)).digest) == image.manifest
            assert await fetch(client, manifest(image)) == image.read(image.manifest)
            for number in (0, 1):
                assert await fetch(client, blob(image, number)) == image.read(image.layers[number])
            assert await fetch(client, blob(image), 5, 99) == image.read(image.layers[0])[5:99]
    counts = hub.counts()
    assert {kind: counts[kind] for kind in (Kind.HEAD, Kind.MANIFEST, Kind.TOKEN, Kind.BLOB, Kind.CHALLENGE)} == {
        Kind.HEAD: 1, Kind.MANIFEST: 1, Kind.TOKEN: 1, Kind.BLOB: 2, Kind.CHALLENGE: 1,
    }  # fmt: skip
    assert counts[Kind.STORE] == 3, "the second range of a blob is asked where the first one was"
    (note,) = budgets.shown(asyncio.get_running_loop().time())
    assert (note.remaining, note.limit, note.window_s, note.source) == (9, 10, 3600, "127.0.0.1")


@on_loop
async def test_who_has_no_pull_left_may_ask_what_tags_mean_until_the_registry_says_429(image: Image) -> None:
    hub = Hub(limits=PullLimits(Allowance(0, 600)))
    hub.hold(image, APP.path)
    with hub.running():
        async with pulling(hub) as client:
            assert str((await client.resolve(TAG)).digest) == image.manifest
            error = await failing(UpstreamRateLimited, fetch(client, manifest(image)))
            assert isinstance(error, UpstreamRateLimited)
            assert 590 < error.retry_after_s <= 600
            for _ in range(3):
                await failing(UpstreamRateLimited, fetch(client, manifest(image)))
    assert (hub.counts()[Kind.MANIFEST], hub.counts()[Kind.LIMITED]) == (1, 1)


@on_loop
async def test_an_account_has_pulls_of_its_own_and_sees_what_is_private(image: Image, tmp_path: Path) -> None:
    secret = build_image(tmp_path, "docker.io/company/app:1", [10], seed=7)
    limits = PullLimits(Allowance(0), {ACCOUNT: Allowance(200, 3600)})
    hub, budgets = Hub(limits=limits, passwords={ACCOUNT: PASSWORD}), Budgets(BudgetSettings())
    hub.hold(image, APP.path)
    hub.hold(secret, "company/app", readers=[ACCOUNT])
    private = Reference(Repository(DOCKER_HUB, "company/app"), "1")
    with hub.running():
        async with pulling(hub) as stranger:
            await failing(UpstreamUnknown, stranger.resolve(private))
        async with pulling(hub, f"{ACCOUNT}:{PASSWORD}@", budgets) as client:
            assert str((await client.resolve(private)).digest) == secret.manifest
            assert await fetch(client, manifest(image)) == image.read(image.manifest)
        async with pulling(hub, f"{ACCOUNT}:wrong@") as mistaken:
            assert (await failing(UpstreamError, mistaken.resolve(TAG))).reason == "auth"
    (note,) = budgets.shown(asyncio.get_running_loop().time())
    assert (note.remaining, note.limit, note.source) == (199, 200, ACCOUNT)


@on_loop
async def test_tokens_that_end_early_and_signed_urls_that_have_expired_are_asked_for_again(image: Image) -> None:
    hub = Hub()
    hub.hold(image, APP.path)
    with hub.running():
        async with pulling(hub) as client:
            assert await fetch(client, blob(image), 0, 9) == image.read(image.layers[0])[:9]
            hub.tokens.revoke()
            hub.faults.append(Fault(Kind.STORE, 403))
            assert await fetch(client, blob(image), 9, 20) == image.read(image.layers[0])[9:20]
    assert (hub.counts()[Kind.TOKEN], hub.counts()[Kind.BLOB]) == (2, 2)


@on_loop
async def test_a_block_for_abuse_ends_questions_for_tags_and_tokens_as_well(image: Image) -> None:
    hub = Hub()
    hub.hold(image, APP.path)
    with hub.running():
        async with pulling(hub) as client:
            hub.faults.append(Fault(Kind.TOKEN, 429, headers={"Retry-After": "30"}))
            await failing(UpstreamRateLimited, client.resolve(TAG))
            await failing(UpstreamRateLimited, client.resolve(TAG))
        assert hub.counts()[Kind.LIMITED] == 1
        async with pulling(hub) as client:
            await client.resolve(TAG)
            hub.abused = True
            for content in (manifest(image), blob(image)):
                await failing(UpstreamRateLimited, fetch(client, content))
    assert hub.counts()[Kind.LIMITED] == 2


@on_loop
async def test_a_hub_that_accepts_connections_and_says_nothing_is_given_up_and_asked_again(image: Image) -> None:
    hub = Hub()
    hub.hold(image, APP.path)
    with hub.running():
        async with pulling(hub, question_s=0.2) as client:
            hub.hang()
            assert (await failing(UpstreamError, client.resolve(TAG))).reason == "timeout"
            hub.go_on()
            assert str((await client.resolve(TAG)).digest) == image.manifest
