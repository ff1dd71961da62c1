"""Private content among whole nodes: who may have what by digest and by name, and what members tell each other."""

import base64
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mirror.access import PrivatePolicies, PrivatePolicy, Sharing
from mirror.oci.content import Content
from mirror.oci.digest import Digest
from mirror.oci.reference import Repository
from mirror.sources import STAGED
from mirror.stores.marks import Mark
from tests.loopback.nodes import Cluster, Node, cluster
from tests.loopback.servers import Part, Request, run

BODY, PUBLIC_BODY = b"secret layer" * 5000, b"layer of all" * 5000
APP, PUBLIC, OTHER = "team/app", "library/x", "team/other"


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


OURS, ALICE, MALLORY = basic("operator", "own"), basic("alice", "right"), basic("mallory", "guess")
LOGIN = b'HTTP/1.1 401 No\r\nContent-Length: 0\r\nWWW-Authenticate: Basic realm="hub"\r\n\r\n'


class Rights:
    """Who may read which repository of the registry; what is not listed, everybody may."""

    def __init__(self, it: Cluster) -> None:
        self.readers = {APP: [OURS, ALICE], OTHER: [OURS, MALLORY]}
        self.is_down = False
        it.origin.behave = lambda request, answer: answer
        answer = it.origin.answer

        async def guarded(request: Request) -> Sequence[Part]:
            if self.is_down:
                it.origin.requests.append(request)
                return [b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"]
            repository = request.path.removeprefix("/v2/").rpartition("/")[0].rpartition("/")[0]
            readers = self.readers.get(repository)
            given = request.headers.get("authorization")
            if readers is not None and given not in [reader["Authorization"] for reader in readers]:
                it.origin.requests.append(request)
                return [LOGIN]
            return await answer(request)

        it.origin.answer = guarded  # type: ignore[method-assign]


def policy(sharing: Sharing) -> PrivatePolicies:
    return PrivatePolicies((("docker.io/*", PrivatePolicy(sharing, 600.0)),))


@asynccontextmanager
async def private(folder: Path, sharing: Sharing, count: int = 2) -> AsyncIterator[tuple[Cluster, Rights, Content]]:
    """Nodes with a password, a registry that wants one, and a blob of a private repository in it."""
    async with cluster(folder, 0) as it:
        it.private, it.login = policy(sharing), ("operator", "own")
        for _ in range(count):
            await it.join()
        yield it, Rights(it), it.origin.has(BODY, repository=APP)


def files_in(folder: Path) -> list[bytes]:
    return [file.read_bytes() for file in folder.rglob("*") if file.is_file()]


def under(name: str, content: Content) -> str:
    return f"/v2/{name}/{content.kind}/{content.digest}"


async def status(node: Node, path: str, who: dict[str, str] | None = None, method: str = "GET") -> int:
    return (await node.ask(path, headers=who, method=method)).status


def outcomes(node: Node, outcome: str) -> float:
    return node.metrics.registry.get_sample_value("skvaller_private_requests_total", {"outcome": outcome}) or 0.0


def test_a_client_needs_credentials_that_the_registry_accepts_on_every_node(tmp_path: Path) -> None:
    async def story() -> None:
        async with private(tmp_path, Sharing.CHECKED) as (it, _, blob):
            one, two = it.nodes
            for node in (one, two):
                refused = await node.get(blob)
                assert refused.status == 401
                assert refused.headers["WWW-Authenticate"] == 'Basic realm="docker.io"'
                assert json.loads(refused.body)["errors"][0]["code"] == "UNAUTHORIZED"
                assert await status(node, under(APP, blob), basic("", "")) == 401
                assert await status(node, under(APP, blob), {"Skvaller-Hop": "1"}) == 401
                denied = await node.get(blob, headers=MALLORY)
                assert (denied.status, json.loads(denied.body)["errors"][0]["code"]) == (403, "DENIED")
                answer = await node.get(blob, headers=ALICE)
                assert (answer.status, answer.body) == (200, BODY)
            assert it.origin.bytes_of(blob) <= len(BODY) + 4, "the second node has it from the first, with its mark"
            assert two.marks.of(blob.digest) == Mark(frozenset({f"docker.io/{APP}"}))
            assert outcomes(two, "login") == 3
            assert outcomes(two, "denied") == 1

    run(story())


def test_who_was_accepted_is_not_asked_about_for_a_while_and_that_is_all_that_counts_without_upstream(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        async with private(tmp_path, Sharing.CHECKED, 1) as (it, rights, blob):
            (node,) = it.nodes
            assert await status(node, under(APP, blob), ALICE) == 200
            asked = len(it.origin.requests)
            assert await status(node, under(APP, blob), ALICE) == 200
            assert len(it.origin.requests) == asked
            rights.is_down = True
            assert await status(node, under(APP, blob), ALICE) == 200
            refused = await node.get(blob, headers=OURS)
            assert refused.status == 503
            assert b"cannot be checked now" in refused.body
            assert outcomes(node, "unchecked") == 1

    run(story())


def test_the_digest_of_a_private_layer_opens_nothing_under_another_name(tmp_path: Path) -> None:
    async def story() -> None:
        async with private(tmp_path, Sharing.CHECKED) as (it, _, blob):
            one, two = it.nodes
            public = it.origin.has(PUBLIC_BODY, repository=PUBLIC)
            assert await status(one, under(APP, blob), ALICE) == 200
            for node in (one, two):  # one holds it, the other is given it by that one
                assert await status(node, under(PUBLIC, blob)) == 404, "nobody has been shown anything of it yet"
                assert await status(node, under(PUBLIC, public)) == 200
                for method in ("GET", "HEAD"):
                    assert await status(node, under(PUBLIC, blob), method=method) == 404
                    assert await status(node, under(OTHER, blob), MALLORY, method) in (403, 404)
            assert outcomes(two, "withheld") > 0

    run(story())


def test_what_is_also_in_a_public_repository_is_free(tmp_path: Path) -> None:
    async def story() -> None:
        async with private(tmp_path, Sharing.CHECKED, 1) as (it, rights, blob):
            (node,) = it.nodes
            it.origin.has(BODY, repository=PUBLIC)
            assert await status(node, under(APP, blob), ALICE) == 200
            assert await status(node, under(PUBLIC, blob)) == 200
            rights.is_down = True
            assert await status(node, under(PUBLIC, blob)) == 200
            assert await status(node, under(APP, blob)) == 401, "its name is private all the same"

    run(story())


def test_public_images_need_no_credentials_though_the_node_has_some(tmp_path: Path) -> None:
    async def story() -> None:
        async with private(tmp_path, Sharing.CHECKED, 1) as (it, rights, _):
            (node,) = it.nodes
            blob = it.origin.has(PUBLIC_BODY, repository=PUBLIC)
            assert await status(node, under(PUBLIC, blob)) == 200
            probes = [it for it in it.origin.requests if "authorization" not in it.headers]
            assert len(probes) == 2, "one question as anybody, and one for the content"
            rights.is_down = True
            assert await status(node, under(PUBLIC, blob)) == 200
            await node.stop()
            await node.start()
            assert await status(node, under(PUBLIC, blob)) == 200, "what was public stays so after a restart"

    run(story())


def test_a_restart_changes_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with private(tmp_path, Sharing.CHECKED, 1) as (it, _, blob):
            (node,) = it.nodes
            assert await status(node, under(APP, blob), ALICE) == 200
            await node.stop()
            await node.start()
            assert node.held(blob)
            assert await status(node, under(PUBLIC, blob)) == 404
            assert await status(node, under(APP, blob)) == 401
            assert await status(node, under(APP, blob), ALICE) == 200

    run(story())


def test_by_default_everybody_is_served_but_what_needed_credentials_is_marked(tmp_path: Path) -> None:
    async def story() -> None:
        async with private(tmp_path, Sharing.SHARED) as (it, _, blob):
            one, two = it.nodes
            assert await status(one, under(APP, blob)) == 200
            assert await status(two, under(PUBLIC, blob)) == 200, "as without policies, whatever the name"
            assert two.marks.of(blob.digest) == Mark(frozenset({f"docker.io/{APP}"}))

    run(story())


def test_off_passes_through_and_leaves_no_trace_here_or_anywhere(tmp_path: Path) -> None:
    async def story() -> None:
        async with private(tmp_path, Sharing.OFF) as (it, _, blob):
            one, two = it.nodes
            for _ in range(2):
                answer = await one.get(blob)
                assert (answer.status, answer.body) == (200, BODY)
            assert it.origin.bytes_of(blob) >= 2 * len(BODY)
            assert not one.held(blob)
            assert not one.router.keys
            assert not any(BODY[:100] in file for file in files_in(tmp_path))
            home = await one.ask(under(APP, blob), headers={"Skvaller-Role": "home", "Skvaller-Marks": "1"}, peer=True)
            assert home.status == 503
            assert await status(two, under(APP, blob)) == 200
            assert two.served() == one.served() == 0

    run(story())


def test_off_resolves_tags_without_keeping_them_and_public_images_are_kept_as_ever(tmp_path: Path) -> None:
    async def story() -> None:
        async with private(tmp_path, Sharing.OFF, 1) as (it, _, _blob):
            (node,) = it.nodes
            body = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json"}).encode()
            it.origin.bodies[f"/v2/{APP}/manifests/1.0"] = body
            it.origin.has(body, "manifests", repository=APP)
            assert (await node.ask(f"/v2/{APP}/manifests/1.0")).body == body
            assert not node.router.keys
            blob = it.origin.has(PUBLIC_BODY, repository=PUBLIC)
            assert await status(node, under(PUBLIC, blob)) == 200
            assert node.held(blob)

    run(story())


def test_a_member_that_keeps_no_marks_is_given_nothing_private(tmp_path: Path) -> None:
    async def story() -> None:
        async with private(tmp_path, Sharing.CHECKED, 1) as (it, _, blob):
            (node,) = it.nodes
            assert await status(node, under(APP, blob), ALICE) == 200
            for role in ("holder", "home"):
                old = await node.ask(under(APP, blob), headers={"Skvaller-Role": role}, peer=True)
                assert old.status in (404, 503)
                other = await node.ask(under(PUBLIC, blob), headers={"Skvaller-Role": role}, peer=True)
                assert other.status in (404, 503)
            new = await node.ask(under(APP, blob), headers={"Skvaller-Marks": "1"}, peer=True)
            assert (new.status, new.headers["Skvaller-Private"]) == (200, f"docker.io/{APP}")

    run(story())


def test_no_password_of_a_client_reaches_disk_log_or_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        async with private(tmp_path, Sharing.CHECKED, 1) as (it, rights, blob):
            (node,) = it.nodes
            bodies = [(await node.get(blob, headers=who)).body for who in (ALICE, MALLORY)]
            rights.is_down = True
            bodies.append((await node.get(blob, headers=OURS)).body)
            secrets = [who["Authorization"].removeprefix("Basic ").encode() for who in (ALICE, MALLORY, OURS)]
            written = files_in(tmp_path)
            logged = caplog.text.encode()
            for secret in (*secrets, b"guess", b"right", b":own"):
                assert not any(secret in text for text in (*bodies[1:], *written, logged))

    run(story())


def test_the_ping_tells_clients_beforehand_only_where_it_matters(tmp_path: Path) -> None:
    async def story() -> None:
        async with private(tmp_path, Sharing.CHECKED, 1) as (it, _, _blob):
            answer = await it.nodes[0].ask("/v2/")
            assert (answer.status, answer.headers["WWW-Authenticate"]) == (200, 'Basic realm="private"')
        async with private(tmp_path / "other", Sharing.OFF, 1) as (it, _, _blob):
            assert "WWW-Authenticate" not in (await it.nodes[0].ask("/v2/")).headers

    run(story())


def test_lists_of_a_private_repository_are_for_those_who_may_pull(tmp_path: Path) -> None:
    async def story() -> None:
        async with private(tmp_path, Sharing.CHECKED, 1) as (it, _, blob):
            (node,) = it.nodes
            it.origin.bodies[f"/v2/{APP}/tags/list"] = json.dumps({"name": APP, "tags": ["1.0"]}).encode()
            for path in (f"/v2/{APP}/tags/list", f"/v2/{APP}/referrers/{blob.digest}"):
                assert await status(node, path) == 401
                assert await status(node, path, MALLORY) == 403
            assert json.loads((await node.ask(f"/v2/{APP}/tags/list", headers=ALICE)).body)["tags"] == ["1.0"]

    run(story())


def test_who_pushed_private_content_may_have_it_where_it_was_pushed(tmp_path: Path) -> None:
    async def story() -> None:
        async with private(tmp_path, Sharing.CHECKED, 1) as (it, rights, blob):
            (node,) = it.nodes
            rights.readers["lab/own"] = [OURS, MALLORY]
            it.origin.has(PUBLIC_BODY, repository="lab/own")
            assert await status(node, under(APP, blob), ALICE) == 200
            assert await status(node, under("lab/own", it.origin.has(PUBLIC_BODY)), MALLORY) == 200
            assert await status(node, under("lab/own", blob), MALLORY) == 404
            node.private.published(Repository("docker.io", "lab/own"), blob.digest)
            node.private.published(Repository("docker.io", "lab/own"), Digest.of(PUBLIC_BODY))
            assert await status(node, under("lab/own", blob), MALLORY) == 200
            assert await status(node, under(PUBLIC, blob)) == 404

    run(story())


def test_private_content_that_was_loaded_from_a_pipe_is_given_under_no_other_name(tmp_path: Path) -> None:
    async def story() -> None:
        async with private(tmp_path, Sharing.CHECKED, 1) as (it, _, blob):
            (node,) = it.nodes
            assert await status(node, under(APP, blob), ALICE) == 200
            assert await status(node, under(PUBLIC, it.origin.has(PUBLIC_BODY, repository=PUBLIC))) == 200
            node.private.published(Repository(*STAGED.split("/")), blob.digest)
            assert await status(node, under(PUBLIC, blob)) == 404
            assert await status(node, under(APP, blob)) == 401
            assert await status(node, under(APP, blob), ALICE) == 200

    run(story())
