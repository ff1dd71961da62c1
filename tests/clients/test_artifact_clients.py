"""Artifacts that are no images: signatures, charts and what else registries keep, by the programs that pull them.

oras, helm and cosign run where they are found (`artifact-programs` builds them); the first test asks what they ask, in
their order, and needs none of them. The registry has no lists of referrers, and is stopped in the middle: then another
node has all from the first.
"""

import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mirror.oci.digest import Digest
from mirror.oci.manifest import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from testbed.agents import Agent
from testbed.images import Image
from testbed.network import Address, free_address
from testbed.registry import Registry
from tests.clients.conftest import need
from tests.clients.halves import halves

pytestmark = [pytest.mark.clients, pytest.mark.timeout(120)]

_WITHIN_S = 60
_ACCEPT = ", ".join(
    (DOCKER_MANIFEST, DOCKER_LIST, OCI_MANIFEST, OCI_INDEX, "application/vnd.oci.artifact.manifest.v1+json")
)
_NOTHING = {
    "mediaType": "application/vnd.oci.empty.v1+json",
    "digest": str(Digest.of(b"{}")),
    "size": 2,
    "data": "e30=",
}


def found(program: str) -> pytest.MarkDecorator:
    """Leave a test out, before anything is started for it, where its program is not installed."""
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"not installed: {program}")


@dataclass(frozen=True)
class Site:
    """A registry, and two nodes in front of it.

    Args:
        first: where clients reach the node that pulls while the registry is there.
        second: where they reach the one that pulls afterwards.
    """

    registry: Registry
    first: Address
    second: Address
    agents: tuple[Agent, Agent]
    folder: Path

    def lose_registry(self) -> None:
        """Stop the registry, once the second node knows what the first one got last."""
        first, second = self.agents
        last = first.ask("/api/v1/fetches")["fetches"][-1]["digest"]

        def is_known() -> bool:
            rows = second.ask(f"/api/v1/find?q={last}")["holders"].get(last, [])
            return "a" in {row["member"] for row in rows}

        second.until(is_known, f"b knows that a has {last}")
        self.registry.stop()

    def run(self, *command: str, **environment: str) -> str:
        """Run a program in the site's folder; its output, both streams."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=os.environ | {"HOME": str(self.folder), "COSIGN_PASSWORD": ""} | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_WITHIN_S,
            check=False,
        )
        output = done.stdout.decode()
        assert done.returncode == 0, output[-4000:]
        return output


@pytest.fixture
def site(
    tmp_path: Path,
    loopback: Callable[[], str],
    start_registry: Callable[..., Registry],
    start_agent: Callable[..., Agent],
) -> Site:
    need("docker-registry", "skopeo")
    registry, listens = start_registry(), (free_address(), free_address())
    upstream = ("--upstream", f"docker.io=http://{registry.address}")
    first = start_agent("a", loopback(), *upstream, "--listen", str(listens[0]))
    second = start_agent("b", loopback(), *upstream, "--listen", str(listens[1]), "--join", first.gossip)
    second.until(lambda: second.alive() == {"a", "b"}, "both see each other")
    folder = tmp_path / "client"
    folder.mkdir()
    return Site(registry, *listens, (first, second), folder)


def ask(url: str, method: str = "GET", body: bytes | None = None, **headers: str) -> tuple[int, Any, bytes]:
    """Status, headers and body of an answer."""
    request = urllib.request.Request(url, body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=_WITHIN_S) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def put(registry: str, repository: str, body: bytes, name: str | None = None, media_type: str = OCI_MANIFEST) -> str:
    """Put a blob into a registry, or a manifest under a name; its digest."""
    digest = str(Digest.of(body))
    if name is not None:
        url = f"{registry}/v2/{repository}/manifests/{name}"
        status, _, answer = ask(url, "PUT", body, **{"Content-Type": media_type})
    else:
        _, headers, _ = ask(f"{registry}/v2/{repository}/blobs/uploads/", "POST", b"")
        place = headers["Location"].removeprefix(registry)
        url = f"{registry}{place}{'&' if '?' in place else '?'}digest={digest}"
        status, _, answer = ask(url, "PUT", body, **{"Content-Type": "application/octet-stream"})
    assert status == 201, answer
    return digest


def test_what_artifact_clients_ask_is_answered_with_the_registry_and_without(site: Site) -> None:
    repository = "library/art"
    with halves(site.registry.address, site.first) as url:
        put(url, repository, b"{}")
        layer = {"mediaType": "text/plain", "digest": put(url, repository, b"hello"), "size": 5}
        document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "a/art", "config": _NOTHING}
        art = json.dumps(document | {"layers": [layer]}).encode()
        digest = put(url, repository, art, "v1")
        subject = {"mediaType": OCI_MANIFEST, "digest": digest, "size": len(art)}
        bill = json.dumps(document | {"artifactType": "a/bill", "layers": [layer], "subject": subject}).encode()
        bill_digest = put(url, repository, bill, str(Digest.of(bill)))

    for address in (site.first, site.second):
        if address == site.second:
            site.lose_registry()
        base = f"http://{address}/v2/{repository}"
        status, headers, _ = ask(f"{base}/manifests/v1", "HEAD", Accept=_ACCEPT)
        assert (status, headers["Docker-Content-Digest"], headers["Content-Type"]) == (200, digest, OCI_MANIFEST)
        assert ask(f"{base}/manifests/{digest}", Accept=_ACCEPT)[2] == art
        for found in ("", "?artifactType=a%2Fbill"):
            status, headers, body = ask(f"{base}/referrers/{digest}{found}", Accept=OCI_INDEX)
            assert (status, headers["Content-Type"]) == (200, OCI_INDEX)
            (row,) = json.loads(body)["manifests"]
            assert (row["digest"], row["artifactType"], row["size"]) == (bill_digest, "a/bill", len(bill))
        assert json.loads(ask(f"{base}/referrers/{digest}?artifactType=a%2Fb")[2])["manifests"] == []
        assert json.loads(ask(f"{base}/referrers/{bill_digest}")[2])["manifests"] == []
        assert ask(f"{base}/manifests/{bill_digest}", Accept=_ACCEPT)[2] == bill
        for content in (b"{}", b"hello"):
            assert ask(f"{base}/blobs/{Digest.of(content)}")[2] == content


@found("oras")
def test_oras_pulls_an_artifact_and_discovers_what_refers_to_it(site: Site) -> None:
    (site.folder / "hello.txt").write_text("hello")
    (site.folder / "bill.txt").write_text("bill")
    art, plain = f"{site.registry.address}/library/art:v1", "--plain-http"
    site.run("oras", "push", plain, art, "--artifact-type", "a/art", "hello.txt:text/plain")
    site.run("oras", "attach", plain, "--artifact-type", "a/bill", art, "bill.txt")
    for address in (site.first, site.second):
        art = f"{address}/library/art:v1"
        site.run("oras", "pull", plain, art, "-o", f"out-{address.port}")
        assert (site.folder / f"out-{address.port}/hello.txt").read_text() == "hello"
        assert "a/bill" in site.run("oras", "discover", plain, art)
        if address == site.first:
            by_tag = ("--distribution-spec", "v1.1-referrers-tag")
            assert "a/bill" in site.run("oras", "discover", plain, *by_tag, art)
            bill = json.loads(site.run("oras", "discover", plain, "--format", "json", art))["referrers"][0]["digest"]
            site.run("oras", "pull", plain, f"{address}/library/art@{bill}", "-o", "bill")
            site.lose_registry()


@found("helm")
def test_helm_pulls_a_chart(site: Site) -> None:
    site.run("helm", "create", "chart")
    site.run("helm", "package", "chart")
    site.run("helm", "push", "--plain-http", "chart-0.1.0.tgz", f"oci://{site.registry.address}/library/charts")
    for address in (site.first, site.second):
        chart = f"oci://{address}/library/charts/chart"
        (site.folder / str(address.port)).mkdir()
        site.run("helm", "pull", "--plain-http", chart, "--version", "0.1.0", "-d", str(address.port))
        packed = site.folder / str(address.port) / "chart-0.1.0.tgz"
        assert packed.read_bytes() == (site.folder / "chart-0.1.0.tgz").read_bytes()
        assert "kind: Deployment" in site.run("helm", "template", "--plain-http", "x", chart, "--version", "~0.1")
        if address == site.first:
            site.lose_registry()


@found("cosign")
@pytest.mark.parametrize(
    ("sign", "verify"),
    [((), ()), (("--registry-referrers-mode=oci-1-1",), ("--experimental-oci11",))],
    ids=["by the tag", "by the list of referrers"],
)
def test_cosign_verifies_an_image(
    site: Site, make_image: Callable[..., Image], sign: tuple[str, ...], verify: tuple[str, ...]
) -> None:
    image = make_image("docker.io/library/app:v1", [1000])
    site.registry.push(image, "library/app", "v1")
    site.run("cosign", "generate-key-pair")
    signed = f"{site.registry.address}/library/app@{image.manifest}"
    said_by_key = ("--key", "cosign.key", "--tlog-upload=false", "--yes")
    site.run("cosign", "sign", *said_by_key, *sign, signed, COSIGN_EXPERIMENTAL="1")
    for address in (site.first, site.second):
        command = ("cosign", "verify", "--insecure-ignore-tlog", "--key", "cosign.pub", *verify)
        said = site.run(*command, f"{address}/library/app:v1", COSIGN_EXPERIMENTAL="1")
        assert image.manifest in said
        if address == site.first:
            site.lose_registry()
