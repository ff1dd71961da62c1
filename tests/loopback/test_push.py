"""Pushing to agents without any registry: one that is asked in all ways, and three that know what one was given."""

import http.client
import json
import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from testbed.agents import Agent, Endpoints
from testbed.network import Address, free_address
from testbed.processes import wait_until
from testbed.pushing import OCI_MANIFEST, Answer, Pushed, Pusher, descriptor, digest_of

MIB = 1024 * 1024
BLOB = random.Random(3).randbytes(3 * MIB + 17)
OFFLINE = ["--offline", "all", "--push", "local"]


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    with Agent(tmp_path_factory.mktemp("push"), "a", Endpoints.free(), OFFLINE) as agent:
        wait_until(agent.is_ready, "the agent to be ready")
        yield agent


@pytest.fixture
def pusher(agent: Agent) -> Pusher:
    return Pusher(agent.endpoints.client, f"lab/r{random.randrange(10**9)}")


def content(seed: str, size: int = 1000) -> bytes:
    return random.Random(seed).randbytes(size)


def is_here(pusher: Pusher, blob: bytes) -> bool:
    answer = pusher.ask("GET", f"blobs/{digest_of(blob)}")
    assert answer.status == 404 or answer.body == blob
    return answer.status == 200


def spool(agent: Agent) -> list[str]:
    return [path.name for path in (agent.folder / "cache/spool").iterdir() if path.name.startswith("upload-")]


def test_a_blob_comes_in_one_request_in_two_or_in_chunks(agent: Agent, pusher: Pusher) -> None:
    one, two, three = content("one"), content("two"), BLOB
    answer = pusher.ask("POST", f"blobs/uploads/?digest={digest_of(one)}", one)
    assert (answer.status, answer.headers["location"]) == (201, f"/v2/{pusher.repository}/blobs/{digest_of(one)}")
    assert answer.headers["docker-content-digest"] == digest_of(one)
    assert pusher.blob(two).status == 201
    location = pusher.begin()
    answer = pusher.ask("PATCH", location, iter([three[:MIB], three[MIB : MIB + 1], three[MIB + 1 :]]))
    assert (answer.status, answer.headers["range"]) == (202, f"0-{len(three) - 1}")
    assert pusher.ask("PUT", f"{answer.headers['location']}?digest={digest_of(three)}").status == 201
    assert all(is_here(pusher, blob) for blob in (one, two, three))
    assert agent.has_cached(digest_of(three))
    assert pusher.blob(b"").status == 201, "nothing is content as well"
    assert spool(agent) == []


def test_parts_come_in_order_and_what_does_not_is_told_where_to_go_on(pusher: Pusher) -> None:
    blob, location = content("parts"), pusher.begin()
    assert pusher.ask("PATCH", location, blob[500:], {"Content-Range": "500-999"}).status == 416
    assert pusher.ask("PATCH", location, blob[:500], {"Content-Range": "0-499"}).status == 202
    for wrong in ("0-499", "501-1000"):
        answer = pusher.ask("PATCH", location, blob[:500], {"Content-Range": wrong})
        assert (answer.status, answer.headers["range"], answer.code) == (416, "0-499", "BLOB_UPLOAD_INVALID")
        assert answer.headers["location"] == location
    assert pusher.ask("PATCH", location, blob[500:], {"Content-Range": "500-600"}).status == 400
    assert pusher.ask("PATCH", location, blob[500:], {"Content-Range": "half"}).status == 400
    answer = pusher.ask("GET", location)
    assert (answer.status, answer.headers["range"]) == (204, "0-499")
    last = {"Content-Range": "500-999"}
    assert pusher.ask("PUT", f"{location}?digest={digest_of(blob)}", blob[500:], last).status == 201
    assert is_here(pusher, blob)
    assert pusher.ask("GET", location).code == "BLOB_UPLOAD_UNKNOWN"


def test_an_upload_goes_on_where_its_connection_broke(pusher: Pusher) -> None:
    blob, location = BLOB[::-1], pusher.begin()
    head = f"PATCH {location} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(blob)}\r\n\r\n".encode()
    with socket.create_connection(pusher.address) as broken:
        broken.sendall(head + blob[: 2 * MIB])
    wait_until(lambda: position(pusher, location) == 2 * MIB, "what was sent to be kept")
    with socket.create_connection(pusher.address) as silent:  # its client has gone without a word
        silent.sendall(head + blob[2 * MIB : 2 * MIB + 5000])
        wait_until(lambda: position(pusher, location) >= 2 * MIB, "the upload to be there")
        start = position(pusher, location)
        rest = {"Content-Range": f"{start}-{len(blob) - 1}"}
        answer = pusher.ask("PATCH", location, blob[start:], rest)
        if answer.status == 416:  # what had come of the silent one is written when it is ended
            start = position(pusher, location)
            answer = pusher.ask("PATCH", location, blob[start:], {"Content-Range": f"{start}-{len(blob) - 1}"})
    assert answer.status == 202
    assert pusher.ask("PUT", f"{location}?digest={digest_of(blob)}").status == 201
    assert is_here(pusher, blob)


def position(pusher: Pusher, location: str) -> int:
    text = pusher.ask("GET", location).headers["range"]
    return 0 if text == "0-0" else int(text.removeprefix("0-")) + 1


def test_what_is_not_what_it_is_said_to_be_leaves_nothing(agent: Agent, pusher: Pusher) -> None:
    wrong = digest_of(b"something else")
    answers = [
        pusher.ask("POST", f"blobs/uploads/?digest={wrong}", BLOB),
        pusher.ask("PUT", f"{pusher.begin()}?digest={wrong}", BLOB),
        pusher.ask("PUT", f"{pusher.begin()}?digest=sha256:short", BLOB),
        pusher.ask("PUT", pusher.begin(), BLOB),
    ]
    assert [(answer.status, answer.code) for answer in answers] == [(400, "DIGEST_INVALID")] * 4
    location = pusher.begin()
    assert pusher.ask("DELETE", location).status == 204
    assert pusher.ask("PATCH", location, b"x").code == "BLOB_UPLOAD_UNKNOWN"
    assert not is_here(pusher, b"something else")


def test_an_upload_belongs_to_its_repository(pusher: Pusher) -> None:
    other = pusher.begin().replace(pusher.repository, "lab/other")
    assert pusher.ask("GET", other).code == "BLOB_UPLOAD_UNKNOWN"


def test_a_blob_that_is_here_is_mounted(pusher: Pusher) -> None:
    blob = content("mount")
    pusher.blob(blob)
    other = Pusher(pusher.address, "lab/mounted")
    answer = other.ask("POST", f"blobs/uploads/?mount={digest_of(blob)}&from={pusher.repository}")
    assert (answer.status, answer.headers["location"]) == (201, f"/v2/lab/mounted/blobs/{digest_of(blob)}")
    absent = other.ask("POST", f"blobs/uploads/?mount={digest_of(b'absent')}&from={pusher.repository}")
    assert absent.status == 202


def test_an_image_is_pulled_as_it_was_pushed_until_its_tag_is_deleted(pusher: Pusher) -> None:
    image = Pushed.of(content("image"))
    pusher.image(image, ["1.0", "latest"])
    answer = pusher.ask("GET", "manifests/1.0")
    assert (answer.body, answer.headers["content-type"]) == (image.manifest, OCI_MANIFEST)
    assert "warning" not in answer.headers
    assert json.loads(pusher.ask("GET", "tags/list").body)["tags"] == ["1.0", "latest"]
    assert json.loads(pusher.ask("GET", "tags/list?n=1&last=1.0").body)["tags"] == ["latest"]
    assert pusher.ask("DELETE", "manifests/1.0").status == 202
    assert pusher.ask("GET", "manifests/1.0").status == 404
    assert pusher.ask("DELETE", "manifests/1.0").code == "MANIFEST_UNKNOWN"
    assert pusher.ask("GET", "manifests/latest").status == 200
    assert pusher.ask("DELETE", f"manifests/{image.digest}").status == 202
    assert pusher.ask("GET", f"manifests/{image.digest}").status == 404
    assert pusher.ask("GET", "manifests/latest").status == 404
    assert json.loads(pusher.ask("GET", "tags/list").body)["tags"] == []
    assert pusher.ask("DELETE", f"blobs/{digest_of(image.layer)}").status == 202
    assert not is_here(pusher, image.layer)
    assert pusher.ask("DELETE", f"blobs/{digest_of(image.layer)}").code == "BLOB_UNKNOWN"


def test_a_manifest_stays_as_long_as_another_repository_has_a_tag_of_it(pusher: Pusher) -> None:
    image, other = Pushed.of(content("shared")), Pusher(pusher.address, "lab/shares")
    pusher.image(image, ["1"])
    other.image(image, ["1"])
    assert pusher.ask("DELETE", f"blobs/{image.digest}").code == "DENIED"
    assert pusher.ask("DELETE", f"manifests/{image.digest}").status == 202
    assert pusher.ask("GET", "manifests/1").status == 404
    assert other.ask("GET", "manifests/1").body == image.manifest


def test_what_refers_to_an_image_is_listed(pusher: Pusher) -> None:
    image = Pushed.of(content("signed"))
    pusher.image(image, ["1"])
    subject = descriptor(image.manifest, OCI_MANIFEST)
    signature = Pushed.of(
        content("signature"), subject=subject, artifactType="application/x.sig", annotations={"by": "me"}
    )
    pusher.image(signature, [])
    answer = pusher.manifest(signature.manifest, signature.digest)
    assert (answer.status, answer.headers["oci-subject"]) == (201, image.digest)
    listed = json.loads(pusher.ask("GET", f"referrers/{image.digest}").body)["manifests"]
    expected = {**descriptor(signature.manifest, OCI_MANIFEST), "artifactType": "application/x.sig"}
    assert listed == [{**expected, "annotations": {"by": "me"}}]
    answer = pusher.ask("GET", f"referrers/{image.digest}?artifactType=application/other")
    assert (json.loads(answer.body)["manifests"], answer.headers["oci-filters-applied"]) == ([], "artifactType")
    assert json.loads(pusher.ask("GET", "tags/list").body)["tags"] == ["1"]
    assert pusher.ask("DELETE", f"manifests/{signature.digest}").status == 202
    assert json.loads(pusher.ask("GET", f"referrers/{image.digest}").body)["manifests"] == []


@pytest.mark.parametrize(
    ("manifest", "media_type", "code"),
    [
        (b"{}", OCI_MANIFEST, "MANIFEST_INVALID"),
        (b"no json", OCI_MANIFEST, "MANIFEST_INVALID"),
        (Pushed.of(b"nobody has pushed this").manifest, OCI_MANIFEST, "MANIFEST_BLOB_UNKNOWN"),
        (Pushed.of(b"", layers=[{"digest": "md5:1", "size": 1}]).manifest, OCI_MANIFEST, "MANIFEST_INVALID"),
        (Pushed.of(b"", layers=[{"digest": digest_of(b""), "size": -1}]).manifest, OCI_MANIFEST, "MANIFEST_INVALID"),
        (Pushed.of(b"", layers=[{"digest": digest_of(b""), "size": 1}]).manifest, OCI_MANIFEST, "MANIFEST_INVALID"),
        (Pushed.of(b"", blobs=[{"digest": digest_of(b""), "size": 1}]).manifest, OCI_MANIFEST, "MANIFEST_INVALID"),
        (Pushed.of(b"").manifest, "application/vnd.oci.image.index.v1+json", "MANIFEST_INVALID"),
        (b" " * (4 * MIB + 1), OCI_MANIFEST, "MANIFEST_INVALID"),
    ],
)
def test_what_is_no_manifest_is_refused(pusher: Pusher, manifest: bytes, media_type: str, code: str) -> None:
    for blob in (b"", Pushed.of(b"").config):
        pusher.blob(blob)
    answer = pusher.manifest(manifest, "1", media_type)
    assert (answer.status in (400, 413), answer.code) == (True, code)
    assert pusher.ask("GET", "manifests/1").status == 404


def test_a_manifest_by_digest_has_that_digest_and_the_tags_that_are_asked_for(pusher: Pusher) -> None:
    image = Pushed.of(content("by digest"))
    pusher.image(image, [])
    assert pusher.manifest(image.manifest, digest_of(b"other")).code == "DIGEST_INVALID"
    answer = pusher.ask("PUT", f"manifests/{image.digest}?tag=a&tag=b", image.manifest, {"Content-Type": OCI_MANIFEST})
    assert answer.status == 201
    assert json.loads(pusher.ask("GET", "tags/list").body)["tags"] == ["a", "b"]
    assert pusher.manifest(image.manifest, "-wrong-").code == "NAME_INVALID"


def test_what_is_written_at_once_is_read_at_once_on_one_connection(pusher: Pusher) -> None:
    blob = content("kept alive", MIB)
    connection = http.client.HTTPConnection(*pusher.address, timeout=30)
    for _ in range(3):
        connection.request("POST", f"/v2/{pusher.repository}/blobs/uploads/?digest={digest_of(blob)}", blob)
        assert connection.getresponse().read() == b""
        connection.request("GET", f"/v2/{pusher.repository}/blobs/{digest_of(blob)}")
        assert connection.getresponse().read() == blob
    connection.close()


def test_nobody_pushes_where_pushing_is_off(tmp_path: Path) -> None:
    with Agent(tmp_path, "off", Endpoints.free(), ["--offline", "all"]) as agent:
        wait_until(agent.is_ready, "the agent to be ready")
        pusher = Pusher(agent.endpoints.client)
        refused = [
            pusher.ask("POST", "blobs/uploads/"),
            pusher.ask("PUT", "manifests/1", iter([b"x" * MIB] * 4)),
            pusher.ask("DELETE", "manifests/1"),
        ]
        assert [(answer.status, answer.code) for answer in refused] == [(405, "UNSUPPORTED")] * 3
        pusher.headers["Skvaller-Command"] = "load"
        pusher.image(Pushed.of(b"loaded"), ["1"])
        assert pusher.ask("GET", "manifests/1").status == 200


def test_who_asks_before_pushing_is_told_yes_or_no_though_upstream_does_not_say(tmp_path: Path) -> None:
    flags = ["--push", "local", "--upstream", f"docker.io=http://{free_address()}"]
    with Agent(tmp_path, "online", Endpoints.free(), flags) as agent:
        wait_until(agent.is_ready, "the agent to be ready")
        pusher, image = Pusher(agent.endpoints.client), Pushed.of(b"of a lab with a line")
        for path in (f"blobs/{digest_of(image.layer)}", "manifests/1.0", f"manifests/{image.digest}"):
            assert pusher.ask("HEAD", path).status == 404
            assert pusher.ask("GET", path).status == 503
        pusher.image(image, ["1.0"])
        for path in ("manifests/2.0", f"manifests/{digest_of(b'another')}", f"blobs/{digest_of(b'another')}"):
            answer = pusher.ask("GET", path)  # this repository is the cluster's own from now on
            assert (answer.status, answer.code.endswith("_UNKNOWN")) == (404, True)
            assert pusher.ask("GET", path, headers={"Skvaller-Hop": "1"}).status == 404
            assert Pusher(pusher.address, "lab/else").ask("GET", path).status == 503
        assert pusher.ask("HEAD", "manifests/1.0").headers["docker-content-digest"] == image.digest
        assert pusher.ask("HEAD", f"blobs/{digest_of(image.layer)}").status == 200


def pull(address: Address, image: Pushed, tag: str) -> bool:
    """Whether all of an image can be pulled by its tag."""
    client = Pusher(address)
    answers: list[Answer] = [client.ask("GET", f"manifests/{tag}")]
    if answers[0].body != image.manifest:
        return False
    answers += [client.ask("GET", f"blobs/{digest_of(blob)}") for blob in (image.config, image.layer)]
    return [answer.body for answer in answers] == [image.manifest, image.config, image.layer]


@pytest.mark.timeout(120)
def test_every_member_has_what_one_was_given_also_when_that_one_is_gone(tmp_path: Path) -> None:
    first, second = Pushed.of(BLOB), Pushed.of(content("second"))
    with ExitStack() as stack:
        a = stack.enter_context(Agent(tmp_path / "a", "a", Endpoints.free(), OFFLINE))
        joined = [*OFFLINE, "--join", a.gossip]
        b, c = (stack.enter_context(Agent(tmp_path / name, name, Endpoints.free(), joined)) for name in "bc")
        for agent in (a, b, c):
            wait_until(lambda agent=agent: agent.alive() == {"a", "b", "c"}, f"{agent.name} to see all")  # type: ignore[misc]
        pushers = {agent.name: Pusher(agent.endpoints.client) for agent in (a, b, c)}

        pushers["a"].image(first, ["1.0"])
        wait_until(lambda: pull(b.endpoints.client, first, "1.0"), "b to pull what was pushed to a")
        assert b.sources(digest_of(BLOB)) == {"a": len(BLOB)}

        pushers["b"].image(second, ["1.0"])  # the tag moves, at another node
        for agent in (a, c):
            wait_until(lambda agent=agent: pull(agent.endpoints.client, second, "1.0"), "the tag to move")  # type: ignore[misc]
        pushers["a"].manifest(first.manifest, "1.0")
        wait_until(lambda: pull(b.endpoints.client, first, "1.0"), "the tag to move back")

        a.kill()
        wait_until(lambda: pull(c.endpoints.client, first, "1.0"), "c to pull what is left on b")
        assert pushers["c"].ask("DELETE", "manifests/1.0").status == 202
        wait_until(lambda: pushers["b"].ask("GET", "manifests/1.0").status == 404, "b to know that the tag is gone")

        again = Agent(tmp_path / "a", "a", a.endpoints, [*OFFLINE, "--join", b.gossip])
        stack.enter_context(again)
        gone = lambda: pushers["a"].ask("GET", "manifests/1.0").status == 404  # noqa: E731
        wait_until(gone, "a to learn that its tag was deleted while it was away")
