"""What members may ask about all that is here, and have deleted: only by proof, and never more than was named."""

import asyncio
import json
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest
from starlette.types import Message

from mirror.app.asked import AskedBy
from mirror.app.member_contents import MemberContents
from mirror.errors import Denied, DigestInvalid, NotFound, OciError, Pinned, Unsupported
from mirror.images.removal import Removal, Removed
from mirror.oci.content import ImageSummary
from mirror.oci.digest import Digest
from mirror.oci.reference import Reference

if TYPE_CHECKING:
    from mirror.app.images import Images

APP = Digest.of(b"app")
IMAGE = ImageSummary("docker.io/library/app:1", str(APP), 7, 2, 3, None, ("cache",))


@dataclass
class Node:
    """Has one image; remembers what it was to delete."""

    is_pinned: bool = False
    deleted: list[tuple[Reference | Digest, Collection[Digest]]] = field(default_factory=list)

    async def held(self) -> list[ImageSummary]:
        return [IMAGE]

    async def delete(self, what: Reference | Digest, meanings: Collection[Digest] = ()) -> Removed:
        if self.is_pinned:
            raise Pinned(f"{what} is pinned")
        self.deleted.append((what, meanings))
        return Removed([str(what)], [], 3, 100, False, [])

    def asked(self, path: str, query: str = "", method: str = "GET", *, is_proven: bool = True) -> Any:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        contents = MemberContents(cast("Images", self), cast("Removal", self))
        scope = {"type": "http", "method": method, "path": path, "query_string": query.encode()}
        if not asyncio.run(contents.answer(scope, send, AskedBy("n2", is_proven))):
            return None
        assert sent[0]["status"] == 200
        return json.loads(sent[1]["body"]) if sent[1]["body"] else ""


IMAGES, DELETE = "/v2/_skvaller/images", "/v2/_skvaller/delete"


def test_images_are_told_page_by_page_and_other_paths_are_left_to_others() -> None:
    node = Node()
    assert node.asked(IMAGES)["images"][0]["reference"] == IMAGE.reference
    assert node.asked(IMAGES, "start=1") == {"images": [], "following": None}
    assert node.asked(IMAGES, is_proven=False)["following"] is None, "as tags, without a key to anybody"
    assert node.asked(IMAGES, method="HEAD") == ""
    for path in ("/v2/", "/v2/library/x/manifests/1", "/v2/_skvaller", "/v2/_skvaller/other"):
        assert node.asked(path) is None


def test_who_proves_to_be_a_member_has_deleted_what_it_names() -> None:
    node = Node()
    told = node.asked(DELETE, f"q=app%3A1&digest={APP}", "POST")
    assert node.deleted == [(Reference.parse("app:1"), {APP})]
    assert (told["blobs"], told["bytes"]) == (3, 100)
    assert node.asked(DELETE, f"q={APP}", "POST")["blobs"] == 3
    node.is_pinned = True
    assert "pinned" in node.asked(DELETE, f"q={APP}", "POST")["problem"]


@pytest.mark.parametrize(
    ("path", "query", "method", "is_proven", "error"),
    [
        (DELETE, f"q={APP}", "POST", False, Denied),
        (DELETE, f"q={APP}", "GET", True, Unsupported),
        (IMAGES, "", "POST", True, Unsupported),
        (IMAGES, "start=-1", "GET", True, NotFound),
        (IMAGES, "start=" + "9" * 5000, "GET", True, NotFound),
        (DELETE, "", "POST", True, DigestInvalid),
        (DELETE, "q=UPPER+CASE", "POST", True, DigestInvalid),
        (DELETE, f"q={APP}&digest=junk", "POST", True, DigestInvalid),
    ],
)
def test_what_is_not_in_order_or_not_proven_deletes_nothing(
    path: str, query: str, method: str, is_proven: bool, error: type[OciError]
) -> None:
    node = Node()
    with pytest.raises(error):
        node.asked(path, query, method, is_proven=is_proven)
    assert node.deleted == []
