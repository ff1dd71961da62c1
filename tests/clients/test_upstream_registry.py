"""The upstream client against a real docker-registry: open, behind a password, and behind a token service."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mirror.errors import UpstreamError, UpstreamUnknown
from mirror.oci.content import Content
from mirror.oci.digest import Digest
from mirror.oci.manifest import OCI_MANIFEST
from mirror.oci.reference import Reference, Repository
from mirror.sources import Resolved
from mirror.sources.upstream import Upstream
from mirror.sources.upstream.registries import Registry
from testbed.hub import Site, Sites, TokenService
from testbed.hub.tokens import ISSUER

pytestmark = pytest.mark.clients

REPOSITORY = Repository("lab", "team/app")
TAG = Reference(REPOSITORY, "1.0")
USER = "user:hunter2@"
HTPASSWD = "user:$2b$04$Go7wKXOVQM5EZ5lkH18oOOGCj9cqgB1IvIxardgtYtqDvft8KzDGq\n"


@dataclass(frozen=True)
class Pushed:
    """A registry with an image in it, whose server can be stopped and started."""

    registry: Any
    image: Any

    def url(self, userinfo: str = "") -> str:
        return f"lab=http://{userinfo}{self.registry.address}"

    def restart(self) -> None:
        self.registry.stop()
        self.registry.start()


@pytest.fixture
def pushed(start_registry: Callable[..., Any], make_image: Callable[..., Any]) -> Pushed:
    registry, image = start_registry(), make_image("docker.io/library/app:1.0", [3_000_000, 10])
    registry.push(image, "team/app", "1.0")
    registry.forget_accesses()
    return Pushed(registry, image)


@asynccontextmanager
async def upstream(*configured: str) -> AsyncIterator[Upstream]:
    client = Upstream([Registry.parse(entry) for entry in configured])
    await client.start()
    try:
        yield client
    finally:
        await client.close()


async def fetch(client: Upstream, content: Content, start: int = 0, stop: int | None = None) -> bytes:
    async with client.open(content, start, stop) as delivery:
        return b"".join([chunk async for chunk in delivery.chunks])


async def fetch_image(client: Upstream, image: Any) -> None:
    """Resolve the tag and fetch all of the image, and compare with what was pushed."""
    manifest = image.read(image.manifest)
    assert await client.resolve(TAG) == Resolved(Digest.parse(image.manifest), OCI_MANIFEST, len(manifest))
    assert await fetch(client, Content(REPOSITORY, "manifests", Digest.parse(image.manifest))) == manifest
    for digest in (image.config, *image.layers):
        assert await fetch(client, Content(REPOSITORY, "blobs", Digest.parse(digest))) == image.read(digest)


def test_an_image_comes_whole_in_ranges_and_with_one_manifest_get(pushed: Pushed) -> None:
    async def test() -> None:
        async with upstream(pushed.url()) as client:
            await fetch_image(client, pushed.image)
            layer = pushed.image.layers[0]
            content, body = Content(REPOSITORY, "blobs", Digest.parse(layer)), pushed.image.read(layer)
            assert await client.size(content) == len(body)
            assert await fetch(client, content, 0, 1 << 20) == body[: 1 << 20]
            assert await fetch(client, content, 1 << 20, 10**12) == body[1 << 20 :]
            assert await fetch(client, content, len(body) - 1) == body[-1:]
            with pytest.raises(UpstreamError, match="no bytes from") as beyond:
                await fetch(client, content, len(body), None)
            assert beyond.value.reason == "range"

    asyncio.run(test())
    assert len(pushed.registry.accesses("GET", "/manifests/")) == 1


def test_what_the_registry_does_not_have_is_unknown(pushed: Pushed) -> None:
    async def test() -> None:
        async with upstream(pushed.url()) as client:
            for name in ("team/app:2.0", "team/other:1.0"):
                with pytest.raises(UpstreamUnknown):
                    await client.resolve(
                        Reference.of(Repository("lab", name.partition(":")[0]), name.partition(":")[2])
                    )
            with pytest.raises(UpstreamUnknown):
                await client.size(Content(REPOSITORY, "blobs", Digest.of(b"nothing")))

    asyncio.run(test())


def test_a_password_is_asked_for(pushed: Pushed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "htpasswd").write_text(HTPASSWD)
    monkeypatch.setenv("REGISTRY_AUTH_HTPASSWD_REALM", "lab")
    monkeypatch.setenv("REGISTRY_AUTH_HTPASSWD_PATH", str(tmp_path / "htpasswd"))
    pushed.restart()

    async def test() -> None:
        async with upstream(pushed.url(USER)) as client:
            await fetch_image(client, pushed.image)
        for userinfo in ("", "user:hunter3@"):
            async with upstream(pushed.url(userinfo)) as client:
                with pytest.raises(UpstreamError) as refusal:
                    await client.resolve(TAG)
                assert refusal.value.reason == "auth"

    asyncio.run(test())


def test_a_token_is_fetched_for_each_repository(
    pushed: Pushed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = TokenService("lab", lambda account, repository: repository == "team/app")
    (tmp_path / "issuer.pem").write_bytes(service.certificate)
    site = Site(service.answer, "127.0.0.2")

    async def test() -> None:
        async with upstream(pushed.url(), f"tokens={site.url}") as client:
            await fetch_image(client, pushed.image)
            with pytest.raises(UpstreamUnknown):
                await client.resolve(Reference(Repository("lab", "team/other"), "1.0"))

    with Sites([site]).running():
        for name, value in [
            ("REALM", f"{site.url}/token"),
            ("SERVICE", "lab"),
            ("ISSUER", ISSUER),
            ("ROOTCERTBUNDLE", str(tmp_path / "issuer.pem")),
        ]:
            monkeypatch.setenv(f"REGISTRY_AUTH_TOKEN_{name}", value)
        pushed.restart()
        asyncio.run(test())
    assert service.asked == ["repository:team/app:pull", "repository:team/other:pull"]
