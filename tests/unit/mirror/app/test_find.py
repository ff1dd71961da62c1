"""Who has an image or a digest: what this node and the members answer."""

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from mirror.app import Find
from mirror.errors import DigestInvalid, NameInvalid, PeerError, Reason
from mirror.oci.content import Content, Parts
from mirror.oci.digest import Digest
from mirror.oci.reference import Reference
from mirror.routers import Peer
from mirror.stores import Held, Tag
from tests.unchecked import Unchecked

if TYPE_CHECKING:
    from mirror.images.holdings import Holdings

NGINX = Reference.parse("nginx:1.27")
DIGEST, OLDER = Digest.of(b"new"), Digest.of(b"old")
A, B = Peer("a", "192.0.2.1", 5001), Peer("b", "192.0.2.2", 5001)


class Shelf:
    """Stands for `Holdings`: one file, and perhaps one tag."""

    def __init__(self, path: Path, tag: Tag | None) -> None:
        self._path, self._tag = path, tag

    def open(self, digest: Digest) -> Held | None:
        return Held(os.open(self._path, os.O_RDONLY), 3, "shelf", Unchecked()) if digest == DIGEST else None

    def tags(self, reference: Reference) -> list[Tag]:
        return [self._tag] if self._tag is not None else []


class Members:
    """What the members know of a tag."""

    def __init__(self, *answers: tuple[Peer, Tag]) -> None:
        self._answers = answers

    async def members(self, reference: Reference) -> Sequence[tuple[Peer, Tag]]:
        return self._answers if reference == NGINX else ()


async def size(peer: Peer, content: Content) -> int:
    if peer == B:
        raise PeerError(Reason.MISSING, "b does not have it")
    return len(content.digest.hex)


def find(
    query: str,
    folder: Path,
    tag: Tag | None = None,
    *answers: tuple[Peer, Tag],
    parts: Mapping[str, Parts] | None = None,
) -> dict[str, Any]:
    async def parts_of(member: str) -> Parts:
        if parts is None:
            return Parts(0, 0)
        if member not in parts:
            raise PeerError(Reason.LENGTH, "an old agent")
        return parts[member]

    async def holders(key: bytes) -> list[Peer]:
        return [A, B]

    (folder / "blob").write_bytes(b"new")
    holdings = cast("Holdings", Shelf(folder / "blob", tag))
    looking = Find(
        "me",
        holdings,
        Members(*answers).members,
        holders,
        size,
        parts=lambda _: parts_of("me"),
        member_parts=lambda peer, _: parts_of(peer.name),
    )
    return asyncio.run(looking.find(query))


def test_holders_are_this_node_and_the_members_that_say_so(tmp_path: Path) -> None:
    answer = find(str(DIGEST), tmp_path)
    assert answer == {
        "node": "me",
        "asked": str(DIGEST),
        "holders": {
            str(DIGEST): [
                {"member": "me", "has": True, "bytes": 3, "store": "shelf"},
                {"member": "a", "has": True, "bytes": 64},
                {"member": "b", "has": False, "reason": "missing"},
            ]
        },
    }


def test_of_a_tag_each_answer_is_shown_newest_first_and_the_holders_of_each_digest(tmp_path: Path) -> None:
    now = time.time()
    mine, theirs = Tag(OLDER, now - 100, "upstream"), Tag(DIGEST, now - 10, "runtime")
    answer = find("nginx:1.27", tmp_path, mine, (A, theirs))
    assert answer["reference"] == "docker.io/library/nginx:1.27"
    shown = [(row["member"], row["digest"], row["authority"]) for row in answer["tags"]]
    assert shown == [("a", str(DIGEST), "runtime"), ("me", str(OLDER), "upstream")]
    assert [row["age_seconds"] >= age for row, age in zip(answer["tags"], (10, 100), strict=True)] == [True, True]
    assert {digest: [row["member"] for row in rows] for digest, rows in answer["holders"].items()} == {
        str(DIGEST): ["me", "a", "b"],
        str(OLDER): ["a", "b"],
    }


def test_who_has_the_manifest_and_not_all_that_it_names_does_not_have_the_image(tmp_path: Path) -> None:
    answer = find(str(DIGEST), tmp_path, parts={"me": Parts(2, 3), "a": Parts(3, 3)})
    assert answer["holders"][str(DIGEST)][:2] == [
        {
            "member": "me",
            "has": False,
            "bytes": 3,
            "blobs": 3,
            "held": 2,
            "reason": "incomplete",
            "store": "shelf",
        },
        {"member": "a", "has": True, "bytes": 64, "blobs": 3, "held": 3},
    ]
    unknown = find(str(DIGEST), tmp_path, parts={"me": Parts(0, 0)})
    assert unknown["holders"][str(DIGEST)][1] == {"member": "a", "has": True, "bytes": 64}


def test_an_image_by_digest_is_looked_for_under_its_digest(tmp_path: Path) -> None:
    assert list(find(f"ghcr.io/org/app@{OLDER}", tmp_path)["holders"]) == [str(OLDER)]


@pytest.mark.parametrize(("query", "error"), [("sha256:xyz", DigestInvalid), ("UPPER CASE", NameInvalid)])
def test_what_is_neither_image_nor_digest_is_refused(query: str, error: type[Exception], tmp_path: Path) -> None:
    with pytest.raises(error):
        find(query, tmp_path)
