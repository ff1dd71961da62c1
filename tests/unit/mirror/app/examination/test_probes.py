"""Probes are recognised, answered without asking anybody, and remembered; nothing else is touched."""

import asyncio
import json
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from mirror.app.examination.probes import Probes
from mirror.settings import DoctorSettings


class Client:
    """Asks a client endpoint behind which another application answers 418."""

    def __init__(self, probes: Probes, registry: str | None = None) -> None:
        async def other(scope: Scope, receive: Receive, send: Send) -> None:
            await send({"type": "http.response.start", "status": 418, "headers": []})

        self._app = probes.endpoint(other, registry)

    def ask(self, method: str, path: str, query: str = "") -> tuple[int, dict[bytes, bytes], bytes]:
        said: list[Message] = []

        async def send(message: Message) -> None:
            said.append(message)

        async def receive() -> Message:
            raise AssertionError("no body is read")

        headers = [(b"host", b"127.0.0.1"), (b"user-agent", b"containerd/2.1")]
        scope: dict[str, Any] = {
            "type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": headers,
            "client": ("127.0.0.1", 9),
        }  # fmt: skip

        async def asked() -> None:
            await self._app(scope, receive, send)

        asyncio.run(asked())
        body = b"".join(message.get("body", b"") for message in said)
        return said[0]["status"], dict(said[0]["headers"]), body


@pytest.mark.parametrize(
    ("path", "query", "registry", "named"),
    [
        ("/v2/{name}/manifests/probe", "ns=docker.io", None, "docker.io"),
        ("/v2/docker.io/{name}/manifests/probe", "", None, "docker.io"),
        ("/v2/{name}/manifests/probe", "", None, ""),
        ("/v2/{name}/manifests/probe", "", "docker.io", ""),
    ],
)
def test_a_runtime_is_recognised_however_it_names_the_registry(
    path: str, query: str, registry: str | None, named: str
) -> None:
    probes = Probes(DoctorSettings())
    name = probes.announce()
    status, _, _ = Client(probes, registry).ask("HEAD", path.format(name=name), query)
    assert status == 300, "containerd goes on to the registry after 4xx and 5xx, and gives up here"
    (seen,) = probes.sightings(name) or []
    assert (seen.method, seen.registry, seen.agent) == ("HEAD", named, "containerd/2.1")


def test_what_is_read_is_an_artifact_that_nobody_runs() -> None:
    probes = Probes(DoctorSettings())
    name = probes.announce()
    status, headers, body = Client(probes).ask("GET", f"/v2/docker.io/{name}/manifests/probe")
    assert (status, int(headers[b"content-length"])) == (200, len(body))
    manifest = json.loads(body)
    assert manifest["mediaType"] == headers[b"content-type"].decode()
    assert manifest["layers"] == []
    assert "skvaller" in manifest["config"]["mediaType"]
    digest = manifest["config"]["digest"]
    assert Client(probes).ask("GET", f"/v2/docker.io/{name}/blobs/{digest}")[0] == 404


def test_all_else_goes_on() -> None:
    probes = Probes(DoctorSettings())
    name = probes.announce()
    client = Client(probes)
    for path in ("/v2/", "/v2/library/nginx/manifests/1", f"/v2/{name}x/manifests/probe", f"/v2/{name}/tags/list"):
        assert client.ask("GET", path)[0] == 418
    assert client.ask("PUT", f"/v2/{name}/manifests/probe")[0] == 418
    assert probes.sightings(name) == []


def test_a_probe_is_forgotten_after_a_while_and_there_are_few() -> None:
    now = [0.0]
    probes = Probes(DoctorSettings(probe_s=60.0, probes_max=2), lambda: now[0])
    first, second, third = (probes.announce() for _ in range(3))
    assert probes.sightings(first) is None
    assert probes.sightings(second) == probes.sightings(third) == []
    now[0] = 61.0
    assert probes.sightings(third) is None
    assert Client(probes).ask("HEAD", f"/v2/{third}/manifests/probe")[0] == 418


def test_few_requests_for_one_probe_are_remembered() -> None:
    probes = Probes(DoctorSettings(sightings_max=3))
    name = probes.announce()
    client = Client(probes)
    for _ in range(5):
        client.ask("HEAD", f"/v2/{name}/manifests/probe")
    assert len(probes.sightings(name) or []) == 3
