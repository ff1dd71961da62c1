"""What members say of the images that they hold, and have them delete: written by one end, and checked by the other."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from ...errors import DigestInvalid, NameInvalid, PeerError, Reason
from ...oci.content import ImageSummary
from ...oci.digest import Digest
from ...oci.reference import Reference
from ...routers import Peer
from .client import PeerClient
from .protocol import DELETE_PATH, DELETED_MAX_BYTES, IMAGES_PAGE_MAX, IMAGES_PATH, SIGNED_BODY_MAX_BYTES

_PAGES_MAX: Final = 16
"""Bounds the pages that are asked of one member: more images than a node holds."""
_PROBLEM_MAX: Final = 300
"""Bounds what is shown of a member's sentence, in characters."""
_COUNT_MAX: Final = 1 << 62
_STORES: Final = ("cache", "containerd")
"""The stores that a member can have; what it says of others is not shown."""


@dataclass(frozen=True, slots=True)
class ImagesPage:
    """A page of images.

    Args:
        images: in the order of the list.
        following: the number of the first image on the next page; None on the last one.
    """

    images: Sequence[ImageSummary]
    following: int | None = None


def page(images: Sequence[ImageSummary], start: int) -> bytes:
    """The page that begins with an image of that number, as it travels."""
    stop = start + IMAGES_PAGE_MAX
    return msgspec.json.encode(ImagesPage(images[start:stop], stop if stop < len(images) else None))


async def images_of(client: PeerClient, peer: Peer) -> list[ImageSummary]:
    """Ask a member which images it holds. What cannot be so is left out.

    Raises:
        PeerError: it gave no valid answer.
    """
    images: list[ImageSummary] = []
    start: int | None = 0
    for _ in range(_PAGES_MAX):
        body = await client.read(peer, f"{IMAGES_PATH}?start={start}", SIGNED_BODY_MAX_BYTES)
        try:
            said = msgspec.json.decode(body, type=ImagesPage)
        except (ValueError, RecursionError):
            raise PeerError(Reason.BROKEN, f"{peer.name} answered with no list of images") from None
        images += filter(_can_be, said.images[:IMAGES_PAGE_MAX])
        start = said.following
        if start is None:
            break
    return images


async def delete_from(client: PeerClient, peer: Peer, what: str, meanings: Collection[str] = ()) -> dict[str, Any]:
    """Have a member delete an image or a blob from its cache.

    Args:
        client: asks it.
        peer: the member.
        what: a tag or a digest.
        meanings: the digests that members say the tag means: those images go as well that have no tag there.

    Returns:
        What it says of that, as far as it can be so: `tags`, `own`, `blobs`, `bytes`, `runtime`, `shares`; or the
        `problem`.

    Raises:
        PeerError: it gave no valid answer.
    """
    query = urlencode([("q", what), *(("digest", digest) for digest in meanings)])
    body = await client.read(peer, f"{DELETE_PATH}?{query}", DELETED_MAX_BYTES, "POST")
    try:
        said = msgspec.json.decode(body, type=_Deleted)
    except (ValueError, RecursionError):
        raise PeerError(Reason.BROKEN, f"{peer.name} did not say what it has deleted") from None
    row: dict[str, Any] = msgspec.to_builtins(said)
    names = {key: [name for name in row[key] if _is_name(name)] for key in ("tags", "own", "shares")}
    return row | names | {"problem": None if said.problem is None else _printable(said.problem)}


class _Deleted(msgspec.Struct, frozen=True):
    tags: list[str] = []
    own: list[str] = []
    blobs: int = 0
    bytes: int = 0
    runtime: bool = False
    shares: list[str] = []
    problem: str | None = None


def _can_be(image: ImageSummary) -> bool:
    """Whether what a member says of an image can be so: people and their terminals see it."""
    if (image.reference and not _is_tag(image.reference)) or not _is_digest(image.digest):
        return False
    numbers = (image.bytes, image.held, image.named)
    is_time = image.unused_s is None or (math.isfinite(image.unused_s) and image.unused_s >= 0)
    return is_time and all(0 <= it < _COUNT_MAX for it in numbers) and set(image.stores) <= set(_STORES)


def _is_name(text: str) -> bool:
    """Whether a text is the canonical name of a tag, or a digest."""
    return _is_tag(text) or _is_digest(text)


def _is_tag(text: str) -> bool:
    try:
        return str(Reference.parse(text)) == text
    except NameInvalid:
        return False


def _is_digest(text: str) -> bool:
    try:
        Digest.parse(text)
    except DigestInvalid:
        return False
    return True


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text[:_PROBLEM_MAX])
