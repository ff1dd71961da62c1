"""What members say of the images that they hold, page by page; what cannot be so is left out."""

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest

from mirror.errors import PeerError
from mirror.oci.content import ImageSummary
from mirror.oci.digest import Digest
from mirror.routers import Peer
from mirror.sources.peers.contents import delete_from, images_of, page
from mirror.sources.peers.protocol import IMAGES_PAGE_MAX, SIGNED_BODY_MAX_BYTES

if TYPE_CHECKING:
    from mirror.sources.peers.client import PeerClient

PEER = Peer("a", "192.0.2.1", 5001)
IMAGE = ImageSummary("docker.io/library/app:1", str(Digest.of(b"x")), 7, 2, 3, 1.5, ("cache", "containerd"))


class Member:
    """A member that answers each path with a body, and remembers what it was asked."""

    def __init__(self, *bodies: bytes) -> None:
        self._bodies = list(bodies)
        self.asked: list[tuple[str, str]] = []

    async def read(self, peer: Peer, path: str, max_bytes: int, method: str = "GET") -> bytes:
        self.asked.append((method, path))
        return self._bodies.pop(0) if len(self._bodies) > 1 else self._bodies[0]


def images(member: Member) -> list[ImageSummary]:
    return asyncio.run(images_of(cast("PeerClient", member), PEER))


def delete(member: Member) -> dict[str, Any]:
    return asyncio.run(delete_from(cast("PeerClient", member), PEER, "app:1"))


def test_what_one_end_writes_the_other_end_reads_page_by_page() -> None:
    many = [replace(IMAGE, reference=f"docker.io/library/app:{it}") for it in range(2 * IMAGES_PAGE_MAX + 1)]
    member = Member(*(page(many, start) for start in (0, IMAGES_PAGE_MAX, 2 * IMAGES_PAGE_MAX)))
    assert images(member) == many
    starts = [path.rpartition("=")[2] for _, path in member.asked]
    assert starts == ["0", str(IMAGES_PAGE_MAX), str(2 * IMAGES_PAGE_MAX)]


def test_a_full_page_of_long_names_can_be_signed_as_a_whole() -> None:
    long = replace(IMAGE, reference=f"{'r' * 63}.example:5000/{'p' * 255}:{'t' * 128}", bytes=1 << 61, unused_s=1e9 / 7)
    assert len(page([long] * IMAGES_PAGE_MAX, 0)) < SIGNED_BODY_MAX_BYTES


def test_a_member_cannot_have_this_node_ask_for_ever() -> None:
    member = Member(json.dumps({"images": [], "following": 1}).encode())
    assert images(member) == []
    assert len(member.asked) == 16


@pytest.mark.parametrize(
    "wrong",
    [
        {"digest": "sha256:short"},
        {"reference": "UPPER"},
        {"reference": "app:1"},
        {"reference": "docker.io/library/app:1\u001b[2J"},
        {"bytes": -1},
        {"held": 1 << 70},
        {"unused_s": -1.0},
        {"stores": ["elsewhere\n"]},
    ],
)
def test_what_cannot_be_so_is_left_out(wrong: dict[str, Any]) -> None:
    row = json.loads(page([IMAGE], 0))["images"][0]
    body = json.dumps({"images": [row | wrong, row], "following": None}).encode()
    assert images(Member(body)) == [IMAGE]


@pytest.mark.parametrize("body", [b"", b"[]", b'{"images": "3"}', b"\xff", b"[" * 100_000])
def test_what_is_no_list_is_the_members_fault(body: bytes) -> None:
    with pytest.raises(PeerError):
        images(Member(body))
    with pytest.raises(PeerError):
        delete(Member(body.replace(b"images", b"blobs")))


def test_a_member_is_told_what_to_delete_and_says_what_went() -> None:
    member = Member(b'{"tags": ["docker.io/library/app:1"], "blobs": 3, "bytes": 100, "other": 1}')
    told = delete(member)
    assert (told["tags"], told["blobs"], told["problem"]) == (["docker.io/library/app:1"], 3, None)
    assert member.asked == [("POST", "/v2/_skvaller/delete?q=app%3A1")]


def test_what_a_member_says_of_its_deletion_is_fit_to_be_shown() -> None:
    names = ["docker.io/library/app:1", str(Digest.of(b"x")), "\u001b[2J", "UPPER"]
    member = Member(json.dumps({"tags": names, "shares": names, "problem": "no\u001b[2J" + "x" * 1000}).encode())
    told = delete(member)
    assert told["tags"] == told["shares"] == names[:2]
    assert told["problem"].startswith("no?[2Jx")
    assert len(told["problem"]) == 300
