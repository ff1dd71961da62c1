"""What public registries, and those that companies run, do each in its own way: a pull from a double of each of them.

The forms of their challenges, tokens, redirects and refusals are those that the real ones answered.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from mirror.errors import UpstreamUnknown
from mirror.oci.digest import Digest
from mirror.oci.manifest import OCI_MANIFEST
from mirror.oci.reference import Reference, Repository
from mirror.sources.upstream.registries import known_registries
from tests.loopback.registries import (
    A_BLOB,
    A_MANIFEST,
    BLOB,
    MANIFEST,
    TAG,
    failing,
    fetch,
    on_loop,
    ranged,
    serving,
    upstream,
)

OURS = "repository:team/app:pull"
GONE = Reference(Repository("lab", "team/gone"), "1.0")


@dataclass(frozen=True)
class Profile:
    """What a registry does.

    Args:
        path: of the URL that the operator gives.
        prefix: what stands before repositories in requests.
        challenge: of its 401, where `{realm}` is its token service; None: it wants no token.
        scope: that its token service is asked for.
        token: what that answers, beside the token.
        says: the field of that answer that has the token.
        leads: where it sends a request by its kind: to a `store`, another `registry`, or another `path`.
        status: of redirects.
        gone: status of what is not there, when it has let the client in.
        denies: status of the token service for what is not there.
    """

    path: str = ""
    prefix: str = "/v2/"
    challenge: str | None = None
    scope: str = OURS
    token: Mapping[str, object] = field(default_factory=dict)
    says: str = "token"
    leads: Mapping[str, str] = field(default_factory=dict)
    status: int = 307
    gone: int = 404
    denies: int | None = None


PROFILES = {
    "quay.io": Profile(
        challenge=f'Bearer realm="{{realm}}",service="quay.io",scope="{OURS}"', leads={"blobs": "store"}, status=302,
        gone=401,
    ),
    "ghcr.io": Profile(
        challenge=f'Bearer realm="{{realm}}",service="ghcr.io",scope="{OURS}"', leads={"blobs": "store"}, denies=403
    ),
    "registry.k8s.io": Profile(leads={"manifests": "registry", "blobs": "store"}),
    "gcr.io": Profile(leads={"blobs": "path"}, status=302, gone=403),
    "us-docker.pkg.dev": Profile(
        challenge=f'Bearer realm="{{realm}}",service="us-docker.pkg.dev",scope="{OURS}"', leads={"blobs": "path"},
        status=302, token={"expires_in": 43200, "issued_at": "2026-11-29T08:00:00Z"}, gone=403,
    ),
    "public.ecr.aws": Profile(
        challenge='Bearer realm="{realm}",service="public.ecr.aws",scope="aws"', scope="aws", leads={"blobs": "store"}
    ),
    "mcr.microsoft.com": Profile(leads={"blobs": "store"}),
    "Azure": Profile(
        challenge=f'Bearer realm="{{realm}}",service="lab.azurecr.io",scope="{OURS}"', says="access_token",
        leads={"blobs": "store"}, gone=401,
    ),
    "Harbor, a proxy project": Profile(
        path="/v2/hub-cache", prefix="/v2/hub-cache/",
        challenge='Bearer realm="{realm}",service="harbor-registry",scope="repository:hub-cache/team/app:pull"',
        scope="repository:hub-cache/team/app:pull", token={"access_token": "", "expires_in": 1800}, gone=404,
    ),
    "Nexus, by path": Profile(
        path="/repository/hub", prefix="/repository/hub/v2/", challenge='Bearer realm="{realm}",service="{realm}"'
    ),
    "Quay, an organisation": Profile(
        path="/v2/hub", prefix="/v2/hub/", scope="repository:hub/team/app:pull",
        challenge='Bearer realm="{realm}",service="quay.corp.example",scope="repository:hub/team/app:pull"',
    ),
    "zot": Profile(),
}  # fmt: skip


class Double:
    """A registry of a profile, with its token service, its store, and a registry to which it may lead."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.urls: dict[str, str] = {}
        self.scopes: list[str] = []
        self.asked: list[str] = []

    async def registry(self, request: web.Request) -> web.StreamResponse:
        profile, path = self.profile, request.path
        if path.startswith("/downloads/"):
            return await ranged(request)
        assert path.startswith(profile.prefix), path
        name = path.removeprefix(profile.prefix)
        repository, kind, which = name.rsplit("/", 2)
        if profile.challenge is not None and request.headers.get("Authorization") != "Bearer secret":
            self.asked.append("challenged")
            realm = f"{self.urls['tokens']}/token"
            challenge = profile.challenge.format(realm=realm).replace("team/app", repository)
            return web.Response(status=401, headers={"WWW-Authenticate": challenge})
        self.asked.append(f"{request.method} {kind}")
        if repository == "team/gone":
            return web.Response(status=profile.gone, text='{"errors":[{"code":"NAME_UNKNOWN"}]}')
        lead = profile.leads.get(kind)
        if lead == "path":
            return web.Response(status=profile.status, headers={"Location": f"/downloads/{which}?x=1"})
        if lead is not None:
            return web.Response(status=profile.status, headers={"Location": f"{self.urls[lead]}{path}?signed=1"})
        return await self.content(request)

    async def content(self, request: web.Request) -> web.StreamResponse:
        if "/blobs/" in request.path:
            return await ranged(request)
        digest = str(Digest.of(MANIFEST))
        return web.Response(body=MANIFEST, content_type=OCI_MANIFEST, headers={"Docker-Content-Digest": digest})

    async def store(self, request: web.Request) -> web.StreamResponse:
        if "Authorization" in request.headers:
            return web.Response(status=400, text="<Error><Code>InvalidArgument</Code></Error>")
        assert request.query["signed"] == "1"
        return await ranged(request)

    async def tokens(self, request: web.Request) -> web.StreamResponse:
        self.scopes += request.query.getall("scope", [])
        if self.profile.denies is not None and "gone" in request.query.get("scope", ""):
            return web.Response(status=self.profile.denies, text='{"errors":[{"code":"DENIED"}]}')
        return web.json_response({**self.profile.token, self.profile.says: "secret"})


@pytest.mark.parametrize("name", PROFILES)
@on_loop
async def test_it_just_works(name: str) -> None:
    double = Double(profile := PROFILES[name])
    async with (
        serving(double.registry) as registry,
        serving(double.tokens, "127.0.0.2") as tokens,
        serving(double.store, "127.0.0.3") as store,
        serving(double.content, "127.0.0.4") as other,
    ):
        double.urls = {"tokens": tokens.url, "store": store.url, "registry": other.url}
        trust = [url.partition("//")[2] for url in double.urls.values()]
        async with upstream(f"{registry.url}{profile.path}", trust=trust) as client:
            resolved = await client.resolve(TAG)
            assert (resolved.digest, resolved.media_type, resolved.size) == (
                Digest.of(MANIFEST),
                OCI_MANIFEST,
                len(MANIFEST),
            )
            assert await fetch(client, A_MANIFEST) == MANIFEST
            assert await fetch(client, A_BLOB) == BLOB
            assert await fetch(client, A_BLOB, 100, 200) == BLOB[100:200]
            assert double.scopes == ([profile.scope] if profile.challenge else []), "one token is enough"
            assert double.asked.count("GET manifests") == 1, "a pull"
            await failing(UpstreamUnknown, client.resolve(GONE))
    assert {request.headers.get("Authorization") for request in [*store.requests, *other.requests]} <= {None}


@pytest.mark.parametrize(
    "name",
    [
        *("docker.io", "quay.io", "ghcr.io", "registry.k8s.io", "gcr.io", "public.ecr.aws", "mcr.microsoft.com"),
        *("us-docker.pkg.dev", "europe-docker.pkg.dev", "europe-west1-docker.pkg.dev", "us-central1-docker.pkg.dev"),
    ],
)
def test_it_needs_no_setting(name: str) -> None:
    (registry,) = known_registries(())[name]
    assert registry.url == f"https://{'registry-1.docker.io' if name == 'docker.io' else name}"


@pytest.mark.parametrize("name", ["pkg.dev", "docker.pkg.dev", "evil-docker.pkg.dev", "us-docker.pkg.dev.example"])
def test_names_that_only_look_like_one_are_not_asked(name: str) -> None:
    assert name not in known_registries(())
