"""What a member is told that asks about a copy of this node which is damaged, or cannot be read."""

import asyncio
import os
from typing import TYPE_CHECKING, Any, cast

import pytest

from mirror.app import testimony
from mirror.app.request import RegistryRequest, parse
from mirror.errors import BlobUnknown, Corrupt, MirrorError, OciError, Reason, Refusal, StorageFailed
from mirror.oci.content import Content, Parts
from mirror.oci.digest import Digest
from mirror.oci.reference import Repository
from mirror.settings import AppSettings
from mirror.sources.peers.protocol import Want
from mirror.stores import Held

if TYPE_CHECKING:
    from mirror.images.holdings import Holdings

CONTENT = Content(Repository.parse("docker.io/library/x"), "blobs", Digest.of(b"x"))


class Damaged:
    """Checks of a file that all end in one way."""

    def __init__(self, error: MirrorError | OSError) -> None:
        self._error = error

    async def ready(self, fd: int, start: int, stop: int) -> int:
        raise self._error

    async def prefixes(self, fd: int) -> tuple[bytes, ...] | None:
        raise self._error

    async def verify(self, fd: int) -> None:
        raise NotImplementedError

    def note_use(self, fd: int) -> None:
        raise NotImplementedError


class Copy:
    """Holdings with one copy, which is damaged, or cannot be opened."""

    def __init__(self, error: MirrorError | OSError, *, opens: bool = True) -> None:
        self._error = error
        self._opens = opens

    def open(self, digest: Digest) -> Held:
        if not self._opens:
            raise self._error
        return Held(os.open("/dev/null", os.O_RDONLY), 100, "cache", Damaged(self._error))


def request() -> RegistryRequest:
    path = f"/v2/{CONTENT.path}"
    asked = parse(
        {"method": "GET", "path": path, "query_string": b"ns=docker.io", "headers": [(b"range", b"bytes=0-9")]}
    )
    assert isinstance(asked, RegistryRequest)
    return asked


async def nothing(digest: Digest) -> Parts:
    return Parts(0, 0)


def refusal(copy: Copy, want: Want) -> OciError:
    async def send(_: Any) -> None:
        raise AssertionError("nothing is sent")

    async def ask() -> None:
        await testimony.Testimony(cast("Holdings", copy), nothing, AppSettings()).answer(send, request(), CONTENT, want)

    with pytest.raises(OciError) as caught:
        asyncio.run(ask())
    return caught.value


@pytest.mark.parametrize("want", [Want.PREFIXES, Want.SHA256])
def test_a_copy_that_turns_out_to_be_damaged_is_not_here(want: Want) -> None:
    assert isinstance(refusal(Copy(Corrupt("bit rot")), want), BlobUnknown)


@pytest.mark.parametrize("want", [Want.PREFIXES, Want.SHA256])
@pytest.mark.parametrize("error", [StorageFailed("the disk failed"), OSError(5, "Input/output error")])
def test_a_copy_that_cannot_be_read_sends_the_member_elsewhere_for_now(
    want: Want, error: MirrorError | OSError
) -> None:
    for copy in (Copy(error), Copy(error, opens=False)):
        found = refusal(copy, want)
        assert isinstance(found, Refusal)
        assert (found.reason, found.status) == (Reason.BUSY, 503)
