"""Why something is here or is not: what one node remembers, put together; no registry is asked for it."""

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any, cast

import pytest

from mirror.app import Find, RegistryStatus, Remembered, Why
from mirror.errors import DigestInvalid, NameInvalid
from mirror.fetch.record import Phase, Record
from mirror.images.manifests import Manifest, Manifests
from mirror.images.resolutions import Resolution
from mirror.images.tags import Answer
from mirror.oci.digest import Digest
from mirror.oci.manifest import OCI_INDEX, OCI_MANIFEST
from mirror.oci.reference import Reference
from mirror.settings import AppSettings
from mirror.sources import RegistryAnswer
from mirror.stores import Tag

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

APP = "docker.io/library/app:1"
LAYER = Digest.of(b"layer")


PRIVATE = {"names": ["docker.io/library/app"], "policies": ["checked"]}


def manifest(*layers: Digest) -> Manifest:
    named = [{"digest": str(digest), "size": 5} for digest in layers]
    body = json.dumps({"schemaVersion": 2, "layers": named}).encode()
    return Manifest(Digest.of(body), OCI_MANIFEST, body)


def index(**manifests: Manifest) -> Manifest:
    named = [
        {
            "digest": str(it.digest),
            "size": len(it.body),
            "platform": {"os": "linux", "architecture": architecture},
        }
        for architecture, it in manifests.items()
    ]
    body = json.dumps({"schemaVersion": 2, "manifests": named}).encode()
    return Manifest(Digest.of(body), OCI_INDEX, body)


AMD, ARM = manifest(LAYER), manifest(Digest.of(b"other layer"))
INDEX = index(amd64=AMD, arm64=ARM)


class Node:
    """What a node has and remembers; everything that a test does not set is empty."""

    def __init__(self, *manifests: Manifest) -> None:
        self.manifests = {it.digest: it for it in manifests}
        self.says: list[dict[str, Any]] = []
        self.has: Mapping[Digest, Sequence[dict[str, Any]]] = {}
        self.records: list[Record] = []
        self.answered: dict[str, list[RegistryAnswer]] = {}
        self.told: Resolution | None = None
        self.registry = RegistryStatus("docker.io", ["https://registry.test"], False, None, [])
        self.never_upstream = False
        self.late = False

    async def tags(self, reference: Reference) -> list[dict[str, Any]]:
        return self.says

    async def holders(self, digest: Digest) -> list[dict[str, Any]]:
        if self.late:
            await asyncio.sleep(3600)
        return list(self.has.get(digest, ()))

    async def held(self, digest: Digest) -> Manifest | None:
        return self.manifests.get(digest)

    def why(self, query: str, platform: str = "linux/amd64", *, everything: bool = False) -> dict[str, Any]:
        remembered = Remembered(
            me="me",
            records=lambda: iter(self.records),
            answers=lambda what, name: self.answered.get(what, []),
            resolution=lambda reference: self.told,
            policy=lambda reference: {"pattern": None, "asks_upstream": not self.never_upstream},
            registry=lambda name: self.registry,
            holders=lambda key: ["b"],
            homes=lambda key: ["c", "me"],
            private=lambda digest: PRIVATE if digest == LAYER else None,
            tag_key=lambda reference: reference.key,
        )
        settings = AppSettings(holders_asked_s=0.001 if self.late else 10.0)
        looking = Why(cast("Find", self), cast("Manifests", self), remembered, list, settings)
        answer = asyncio.run(looking.why(query, platform, everything=everything))
        return cast("dict[str, Any]", json.loads(json.dumps(answer)))


def tag(digest: Digest, member: str = "me") -> dict[str, Any]:
    return {"member": member, "digest": str(digest), "authority": "upstream", "age_seconds": 3.0}


def record(digest: Digest, outcome: Phase, **sources: int) -> Record:
    made = Record(str(digest), "docker.io/library/app", time.time(), outcome=outcome)
    made.sources, made.origins = sources, sources
    return made


def test_an_image_is_told_with_each_blob_where_it_came_from_and_what_was_asked() -> None:
    node = Node(AMD)
    node.says = [tag(AMD.digest)]
    node.has = {
        AMD.digest: [{"member": "me", "has": True, "bytes": 9, "store": "cache"}],
        LAYER: [{"member": "me", "has": True, "bytes": 5, "store": "cache"}, {"member": "b", "has": True, "bytes": 5}],
    }
    node.records = [record(LAYER, Phase.COMPLETE, b=3, upstream=2)]
    node.records[0].landed("b", "home", 3, 0.5, None)
    said = RegistryAnswer("GET", "docker.io/library/app", str(LAYER), "https://registry.test", time.time(), 0.25, 206)
    node.answered = {str(LAYER): [said]}
    answer = node.why(APP)
    assert (answer["reference"], answer["digest"], answer["repository"]) == (
        APP,
        str(AMD.digest),
        "docker.io/library/app",
    )
    whole, layer = answer["content"]
    assert [whole["private"], layer["private"]] == [None, PRIVATE]
    assert (whole["kind"], whole["origin"]["how"]) == ("manifest", "cache"), "no fetch of it is remembered"
    assert (layer["kind"], layer["bytes"], layer["here"], layer["absent"]) == ("layer", 5, "cache", None)
    assert layer["origin"] == {"how": "fetched", "sources": {"b": 3, "upstream": 2}, "origins": {"b": 3, "upstream": 2}}
    assert [(it["source"], it["role"], it["seconds"]) for it in layer["fetches"][0]["asked"]] == [("b", "home", 0.5)]
    assert [(it["status"], it["seconds"]) for it in layer["upstream"]] == [(206, 0.25)]


def test_of_an_index_the_image_of_the_platform_is_told_or_all() -> None:
    node = Node(INDEX, AMD, ARM)
    node.says = [tag(INDEX.digest)]
    assert [row["digest"] for row in node.why(APP)["content"]] == [str(it) for it in (INDEX.digest, AMD.digest, LAYER)]
    assert str(ARM.digest) in {row["digest"] for row in node.why(APP, "linux/arm64")["content"]}
    assert len(node.why(APP, everything=True)["content"]) == 5
    riscv = node.why(APP, "linux/riscv64")
    assert [row["kind"] for row in riscv["content"]] == ["index"]
    assert "no image for linux/riscv64, but for linux/amd64, linux/arm64" in riscv["notes"][0]


def test_a_manifest_of_an_index_that_is_elsewhere_is_told_without_its_blobs() -> None:
    node = Node(INDEX)
    node.says = [tag(INDEX.digest)]
    answer = node.why(APP)
    assert [row["kind"] for row in answer["content"]] == ["index", "manifest"]
    assert str(AMD.digest) in answer["notes"][0]


def test_what_nobody_knows_is_told_with_who_would_be_asked() -> None:
    node = Node()
    answer = node.why(APP)
    assert (answer["digest"], answer["content"]) == (None, [])
    assert answer["next"] == {
        "holders": ["b"],
        "homes": ["c", "me"],
        "urls": ["https://registry.test"],
        "refusal": None,
    }
    bare = node.why(str(LAYER))
    assert (bare["registry"], bare["next"]["urls"]) == (None, [])
    assert "repository" in bare["next"]["refusal"]
    assert "nobody has asked this node" in bare["content"][0]["absent"]


@pytest.mark.parametrize(
    ("registry", "refusal"),
    [
        (RegistryStatus("docker.io", ["https://r.test"], True, None, []), "--offline"),
        (RegistryStatus("r.test", [], False, None, []), "add --upstream r.test=URL"),
        (RegistryStatus("docker.io", ["https://r.test"], False, "it has not answered for 3 s", []), "for 3 s"),
        (RegistryStatus("docker.io", ["https://r.test"], False, None, [{"wait_s": 61.2}]), "another 61 s"),
        (RegistryStatus("docker.io", ["https://r.test"], False, None, [{"wait_s": 0.0}]), None),
    ],
)
def test_why_a_registry_would_not_be_asked_is_told(registry: RegistryStatus, refusal: str | None) -> None:
    node = Node()
    node.registry = registry
    following = node.why(APP)["next"]
    assert (refusal or "") in (following["refusal"] or "")
    assert bool(following["urls"]) is (refusal is None)
    node.never_upstream = True
    assert node.why(APP)["next"]["urls"] == []


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Phase.COMPLETE, "has left the cache"),
        (Phase.RELAYED, "only other members"),
        (Phase.ABANDONED, "went away"),
        (Phase.RUNNING, "on its way"),
        (Phase.FAILED, "the last fetch failed: b sent wrong bytes"),
    ],
)
def test_why_something_is_not_here_any_more_is_told(outcome: Phase, reason: str) -> None:
    node = Node()
    node.records = [record(LAYER, Phase.COMPLETE), record(LAYER, outcome)]
    node.records[1].failures.append("b sent wrong bytes")
    answer = node.why(str(LAYER))
    assert reason in answer["content"][0]["absent"]
    assert answer["repository"] == "docker.io/library/app", "it was fetched under that name"


def test_what_a_client_was_told_of_a_tag_is_told_with_who_said_it() -> None:
    node = Node()
    node.told = Resolution(time.time() - 5, 0.5, Answer(Tag(LAYER, 0.0, "upstream"), "what member b says", "b"))
    told = node.why(APP)["tag"]["told"]
    assert (told["digest"], told["member"], told["failure"], told["seconds"]) == (str(LAYER), "b", None, 0.5)
    node.told = Resolution(time.time(), 0.5, "no member knows it")
    told = node.why(APP)["tag"]["told"]
    assert (told["digest"], told["failure"]) == (None, "no member knows it")


def test_who_does_not_answer_in_time_is_shown_as_not_asked() -> None:
    node = Node()
    node.late = True
    assert node.why(str(LAYER))["content"][0]["holders"] == [{"member": "b", "has": False, "reason": "not asked"}]


@pytest.mark.parametrize(("query", "error"), [("sha256:xyz", DigestInvalid), ("UPPER CASE", NameInvalid)])
def test_what_is_neither_image_nor_digest_is_refused(query: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        Node().why(query)
