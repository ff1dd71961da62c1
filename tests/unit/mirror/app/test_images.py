"""Which images this node and the members hold: one row for each name, whoever does not answer is named."""

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any, cast

import pytest

from mirror.app.images import Images
from mirror.errors import PeerError, Reason
from mirror.fetch.record import Phase, Record
from mirror.images.inventory import HeldImage, Inventory, Survey
from mirror.oci.content import ImageSummary
from mirror.oci.digest import Digest
from mirror.pins.records import ALL
from mirror.pins.records import Record as Pin
from mirror.routers import Peer
from mirror.settings import AppSettings

APP, LAYER, OTHER = (Digest.of(text) for text in (b"app", b"layer", b"other"))
NAME = "docker.io/library/app:1"
A, B = Peer("a", "192.0.2.1", 5001), Peer("b", "192.0.2.2", 5001)


def held(reference: str, digest: Digest, *, held: int = 2, used_ago_s: float = 50.0) -> HeldImage:
    used = time.time() - used_ago_s
    return HeldImage(reference, digest, 100, held, 2, used, ("cache",), frozenset({digest, LAYER}))


def said(reference: str, digest: Digest, *, held: int = 2, unused_s: float | None = 9.0) -> ImageSummary:
    return ImageSummary(reference, str(digest), 70, held, 2, unused_s, ("cache",))


PINS = [
    Pin(name=NAME, version=1, author="a", copies=2, digest=APP),
    Pin(name=f"docker.io/library/o@{OTHER}", version=2, author="a", copies=ALL),
    Pin(name="docker.io/library/*:2", version=3, author="a", copies=1),
]


class Own:
    """What this node holds."""

    def __init__(self, *images: HeldImage) -> None:
        self._survey = Survey(images, [])

    async def survey(self, *, now: bool = False) -> Survey:
        return self._survey


def shown(
    own: Own,
    answers: dict[str, Sequence[ImageSummary] | Exception | None],
    *patterns: str,
    records: Sequence[Record] = (),
    everywhere: bool = True,
) -> dict[str, Any]:
    async def ask(peer: Peer) -> Sequence[ImageSummary]:
        answer = answers[peer.name]
        if answer is None:
            await asyncio.sleep(3600)
        if isinstance(answer, Exception):
            raise answer
        return answer or ()

    peers = [peer for peer in (A, B) if peer.name in answers]
    settings = AppSettings(images_s=0.001) if None in answers.values() else AppSettings()
    images = Images("me", cast("Inventory", own), lambda: peers, ask, lambda: records, lambda: PINS, settings)
    answer = asyncio.run(images.images(patterns, everywhere=everywhere))
    return cast("dict[str, Any]", json.loads(json.dumps(answer)))


def test_who_has_an_image_counts_whatever_it_calls_it() -> None:
    answer = shown(
        Own(held(NAME, APP), held("", OTHER)),
        {"a": [said("", APP, held=1), said("docker.io/library/o:1", OTHER)], "b": [said(NAME, APP)]},
    )
    rows = {row["reference"]: row for row in answer["images"]}
    assert list(rows) == [NAME, "docker.io/library/o:1"]
    app = rows[NAME]
    assert (app["whole"], app["partial"], app["bytes"]) == (["me", "b"], ["a"], 100)
    assert app["unused_s"] == 9.0, "by whoever used it last"
    assert (app["here"]["held"], app["here"]["named"], app["here"]["stores"]) == (2, 2, ["cache"])
    assert (rows["docker.io/library/o:1"]["whole"], answer["members"]) == (["me", "a"], 3)


def test_who_does_not_tell_is_named_with_the_reason() -> None:
    error = PeerError(Reason.UNREACHABLE, "a cannot be reached")
    answer = shown(Own(held(NAME, APP)), {"a": error, "b": None})
    assert {row["member"]: row["reason"] for row in answer["silent"]} == {
        "a": "a cannot be reached",
        "b": "it has not answered within 0.001 s",
    }
    assert [row["whole"] for row in answer["images"]] == [["me"]]


def test_this_node_alone_asks_nobody() -> None:
    answer = shown(Own(held(NAME, APP)), {"a": PeerError(Reason.BROKEN, "asked")}, everywhere=False)
    assert (answer["silent"], answer["members"]) == ([], 1)


def test_an_image_shows_who_sent_its_blobs_to_this_node() -> None:
    records = [Record(str(it), "docker.io/library/app", 1.0, outcome=Phase.COMPLETE) for it in (APP, LAYER, LAYER)]
    for record, sources in zip(records, ({"a": 1}, {"z": 50}, {"a": 3, "upstream": 4}), strict=True):
        record.sources = sources
    failed = Record(str(LAYER), "docker.io/library/app", 1.0, outcome=Phase.FAILED, sources={"b": 9})
    (row,) = shown(Own(held(NAME, APP)), {}, records=[*records, failed])["images"]
    assert row["from"] == {"a": 4, "upstream": 4}


def test_an_image_is_pinned_by_what_its_tag_meant_or_by_its_digest() -> None:
    other = "docker.io/library/app:2"
    rows = shown(Own(held(NAME, APP), held("", OTHER), held(other, LAYER)), {})["images"]
    assert {(row["reference"], row["digest"]): row["pinned"] for row in rows} == {
        (NAME, str(APP)): 2,
        ("", str(OTHER)): "all",
        (other, str(LAYER)): None,
    }
    (moved,) = shown(Own(held(NAME, LAYER)), {})["images"]
    assert moved["pinned"] is None, "it means something else now"


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        (NAME, True),
        ("app:1", True),
        ("app", True),
        ("app:*", True),
        ("library/*", True),
        ("docker.io/*", True),
        (str(APP)[:14], True),
        ("pp:1", False),
        ("other:*", False),
        ("[", False),
    ],
)
def test_patterns_fit_names_parts_of_them_and_beginnings_of_digests(pattern: str, fits: bool) -> None:
    assert bool(shown(Own(held(NAME, APP)), {}, pattern)["images"]) is fits
    assert shown(Own(held(NAME, APP)), {}, pattern, NAME)["images"], "one that fits is enough"


def test_what_only_a_runtime_has_was_used_nobody_knows_when() -> None:
    image = HeldImage(NAME, APP, 100, 2, 2, 0.0, ("containerd",), frozenset({APP}))
    (row,) = shown(Own(image), {})["images"]
    assert row["unused_s"] is None
