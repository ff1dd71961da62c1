"""`/api/v1/images`: which images this node and the others hold. Members are asked at the moment, all at once."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

from ..errors import PeerError
from ..fetch.record import Phase, Record
from ..images.inventory import HeldImage, Inventory
from ..oci.content import ImageSummary
from ..pins.records import Record as Pin
from ..routers import Peer
from ..settings import AppSettings
from .pinned import PinnedImages

_ROWS_MAX: Final = 20_000
"""Bounds the images in one answer."""


class Images:
    """Tells which images there are.

    Args:
        me: the name of this node.
        inventory: what it holds itself.
        members: those that are up.
        ask: asks one of them which images it holds; raises PeerError.
        records: the last fetches, the oldest first.
        pins: what is pinned.
        settings: for how long members are waited for.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - who is asked, and how
        self,
        me: str,
        inventory: Inventory,
        members: Callable[[], Sequence[Peer]],
        ask: Callable[[Peer], Awaitable[Sequence[ImageSummary]]],
        records: Callable[[], Iterable[Record]],
        pins: Callable[[], Iterable[Pin]],
        settings: AppSettings | None = None,
    ) -> None:
        self._me = me
        self._inventory = inventory
        self._members = members
        self._ask = ask
        self._records = records
        self._pins = pins
        self._settings = settings or AppSettings()

    async def held(self) -> list[ImageSummary]:
        """The images that this node holds, in a lasting order: a member asks for one page after the other."""
        now = time.time()
        survey = await self._inventory.survey()
        return sorted((_summary(it, now) for it in survey.images), key=lambda it: (it.reference, it.digest))

    async def images(self, patterns: Sequence[str], *, everywhere: bool) -> dict[str, Any]:
        """The images of this node, and of all members.

        Args:
            patterns: of names, in which `*` stands for any characters, or beginnings of digests; none: all images.
            everywhere: whether members are asked.

        Returns:
            The answer as it goes into JSON; docs/operations.md lists its keys.
        """
        peers = list(self._members()) if everywhere else []
        others = await asyncio.gather(*(self._within_time(peer) for peer in peers))
        said: dict[str, Sequence[ImageSummary]] = {self._me: await self.held()}
        silent = []
        for peer, answer in zip(peers, others, strict=True):
            if isinstance(answer, str):
                silent.append({"member": peer.name, "reason": answer})
            else:
                said[peer.name] = answer
        shown = [row for row in self._rows(said) if _fits(row["reference"], row["digest"], patterns)][:_ROWS_MAX]
        survey = await self._inventory.survey()
        contents = {str(it.digest): it.contents for it in survey.images}
        origins, pinned = self._origins(), PinnedImages(self._pins())
        for row in shown:
            row["pinned"] = pinned.copies(row["reference"], row["digest"])
            row["from"] = _sum(origins.get(str(it), {}) for it in contents.get(row["digest"], ()))
        return {
            "node": self._me,
            "members": 1 + len(peers),
            "silent": silent,
            "images": shown,
        }

    async def _within_time(self, peer: Peer) -> Sequence[ImageSummary] | str:
        """The images of a member, or why it does not tell."""
        try:
            async with asyncio.timeout(self._settings.images_s):
                return await self._ask(peer)
        except TimeoutError:
            return f"it has not answered within {self._settings.images_s:g} s"
        except PeerError as error:
            return str(error)

    def _rows(self, said: Mapping[str, Sequence[ImageSummary]]) -> list[dict[str, Any]]:
        """A row for each name of an image: who has that image counts, whatever it calls it."""
        named: dict[str, set[str]] = {}
        for image in (image for images in said.values() for image in images if image.reference):
            named.setdefault(image.digest, set()).add(image.reference)
        rows: dict[tuple[str, str], dict[str, Any]] = {}
        for member, images in said.items():
            for image in images:
                for reference in named.get(image.digest) or {""}:
                    self._add(rows.setdefault((reference, image.digest), _row(reference, image.digest)), member, image)
        return [rows[key] for key in sorted(rows)]

    def _add(self, row: dict[str, Any], member: str, image: ImageSummary) -> None:
        """Put one member's word into the row of its image."""
        has = row["whole" if image.is_whole else "partial"]
        if member in has:
            return
        has.append(member)
        row["bytes"] = max(row["bytes"], image.bytes)
        times = [it for it in (row["unused_s"], image.unused_s) if it is not None]
        row["unused_s"] = min(times, default=None)
        if member == self._me:
            row["here"] = {
                "bytes": image.bytes,
                "held": image.held,
                "named": image.named,
                "unused_s": image.unused_s,
                "stores": list(image.stores),
            }

    def _origins(self) -> dict[str, dict[str, int]]:
        """Who sent each blob to this node, by the newest fetch that brought it whole."""
        return {it.digest: it.sources for it in self._records() if it.outcome is Phase.COMPLETE}


def _summary(image: HeldImage, now_unix_s: float) -> ImageSummary:
    unused_s = max(0.0, now_unix_s - image.used_unix_s) if image.used_unix_s else None
    return ImageSummary(
        image.reference, str(image.digest), image.bytes, image.held, image.named, unused_s, image.stores
    )


def _row(reference: str, digest: str) -> dict[str, Any]:
    """The row of an image of which nobody has said anything yet."""
    return {
        "reference": reference,
        "digest": digest,
        "bytes": 0,
        "whole": [],
        "partial": [],
        "unused_s": None,
        "here": None,
    }


def _fits(reference: str, digest: str, patterns: Sequence[str]) -> bool:
    """Whether an image is asked for: by its name, a part of that behind a slash, without its tag, or by its digest."""
    if not patterns:
        return True
    whole = [reference, reference.rpartition(":")[0]]
    short = [text[at + 1 :] for text in whole for at, character in enumerate(text) if character == "/"]
    return any(
        digest.startswith(pattern) or any(fnmatchcase(text, pattern) for text in (*whole, *short))
        for pattern in patterns
    )


def _sum(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in counts:
        for name, count in each.items():
            total[name] = total.get(name, 0) + count
    return total
