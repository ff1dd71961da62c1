"""The upstream client against a real docker-registry: open, behind a password, and behind a token service."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from mirror.errors import UpstreamError, UpstreamUnknown
from mirror.oci.content import Content
from mirror.oci.digest import Digest
from mirror.oci.manifest import OCI_MANIFEST
from mirror.oci.reference import Reference, Repository
from mirror.sources import Resolved
from mirror.sources.upstream import Upstream
from mirror.sources.upstream.registries import Registry

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


class TokenService:
    """Issues tokens as the registry's specification has them, to all for `team/app`, for the rest to nobody."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(65537, 2048)
        name, now = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "issuer")]), datetime.now(UTC)
        self.certificate = (
            x509.CertificateBuilder(name, name, self._key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .sign(self._key, hashes.SHA256())
        )
        self.issued: list[str] = []

    async def issue(self, request: web.Request) -> web.Response:
        scope = request.query["scope"]
        kind, name, actions = scope.split(":")
        access = [{"type": kind, "name": name, "actions": actions.split(",")}] if name == "team/app" else []
        now = int(time.time())
        claims: dict[str, Any] = {"iss": "issuer", "sub": "", "aud": request.query["service"], "access": access}
        claims |= {"nbf": now - 60, "iat": now - 60, "exp": now + 300, "jti": str(len(self.issued))}
        self.issued.append(scope)
        return web.json_response({"token": self._sign(claims), "expires_in": 300})

    def _sign(self, claims: dict[str, Any]) -> str:
        der = self.certificate.public_bytes(serialization.Encoding.DER)
        header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}
        signed = ".".join(_unpadded(json.dumps(part).encode()) for part in (header, claims))
        return f"{signed}.{_unpadded(self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _unpadded(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def test_a_token_is_fetched_for_each_repository(
    pushed: Pushed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = TokenService()
    (tmp_path / "issuer.pem").write_bytes(service.certificate.public_bytes(serialization.Encoding.PEM))

    async def test() -> None:
        app = web.Application()
        app.router.add_get("/token", service.issue)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.2", 0).start()
        try:
            address = f"http://127.0.0.2:{runner.addresses[0][1]}"
            for name, value in [
                ("REALM", f"{address}/token"),
                ("SERVICE", "lab"),
                ("ISSUER", "issuer"),
                ("ROOTCERTBUNDLE", str(tmp_path / "issuer.pem")),
            ]:
                monkeypatch.setenv(f"REGISTRY_AUTH_TOKEN_{name}", value)
            await asyncio.to_thread(pushed.restart)
            async with upstream(pushed.url(), f"tokens={address}") as client:
                await fetch_image(client, pushed.image)
                with pytest.raises(UpstreamUnknown):
                    await client.resolve(Reference(Repository("lab", "team/other"), "1.0"))
        finally:
            await runner.cleanup()

    asyncio.run(test())
    assert service.issued == ["repository:team/app:pull", "repository:team/other:pull"]
