"""The overview: each pin with what is held of it, as the filters of members say. No registry is asked."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from ..oci.digest import Digest
from ..settings import PinSettings
from .composition import Image, compose
from .goals import Goal, Key, digest_of, goals_of
from .inventory import Inventory
from .keeper import Keeper
from .placement import Settled
from .records import ALL, Record

_IMAGES_MAX: Final = 1024
"""Bounds the images whose parts are remembered: each takes some KB."""
_IN_A_TURN: Final = 8
"""Images that are looked at in one turn of the event loop: each takes some 0.2 ms."""


class Overview:
    """Shows pins.

    Args:
        me: this node's name.
        pins: what is pinned.
        settled: who keeps images.
        keeper: knows how far this node is.
        inventory: knows who holds what.
        settings: bounds.
    """

    def __init__(
        self,
        me: str,
        pins: Callable[[], Iterable[Record]],
        settled: Settled,
        keeper: Keeper,
        inventory: Inventory,
        settings: PinSettings,
    ) -> None:
        self._me = me
        self._pins = pins
        self._settled = settled
        self._keeper = keeper
        self._inventory = inventory
        self._settings = settings
        self._images: dict[Key, Image] = {}

    async def rows(self, names: Iterable[str] = ()) -> list[dict[str, Any]]:
        """A row for each pin, as it goes into JSON.

        Args:
            names: canonical; of these, and of what follows from them, if they are patterns; empty: of all.
        """
        chosen = set(names)
        pins = [it for it in self._pins() if not chosen or it.name in chosen or it.pattern in chosen]
        settled = self._settled.names or {self._me}
        goals = {goal.key: goal for goal in goals_of(self._pins(), settled, self._settled.everyone)}
        rows = []
        for number, record in enumerate(pins):
            if number % _IN_A_TURN == _IN_A_TURN - 1:
                await asyncio.sleep(0)
            digest = digest_of(record)
            goal = None if digest is None else goals[digest, record.platforms]
            rows.append({**_pin_row(record, digest), **(await self._held(goal) if goal else _unknown(record))})
        return rows

    async def _held(self, goal: Goal) -> dict[str, Any]:
        """What is held of an image, and what is still to be fetched."""
        image = await self._image(goal)
        lacks = {name: [0, 0] for name in goal.keepers}
        for part in image.parts:
            holders = self._inventory.told(part.content.digest)
            for name in lacks.keys() - holders:
                lacks[name][0] += 1
                lacks[name][1] += part.size
        wanted = len(goal.keepers) if goal.copies == ALL else goal.copies
        held = sum(not parts for parts, _ in lacks.values()) if image.parts and not image.unread else 0
        return {
            "parts": len(image.parts),
            "bytes": image.bytes,
            "wanted": wanted,
            "held": held,
            "missing": max(0, wanted - held),
            "bytes_to_go": sum(count for _, count in lacks.values()),
            "keepers": [
                {"member": name, "parts_missing": lacks[name][0], "bytes_missing": lacks[name][1]}
                for name in goal.keepers
            ],
            "problem": self._problem(goal, image, wanted),
        }

    async def _image(self, goal: Goal) -> Image:
        known = self._images.get(goal.key)
        if known is None or known.unread or not known.parts:
            known = await compose(
                goal.repository, goal.digest, goal.platforms, self._inventory.read, self._settings.parts_max
            )
            self._images[goal.key] = known
            while len(self._images) > _IMAGES_MAX:
                del self._images[next(iter(self._images))]
        return known

    def _problem(self, goal: Goal, image: Image, wanted: int) -> str:
        """What is in the way, in a few words; empty if nothing is."""
        progress = self._keeper.progress(goal.key)
        if not progress.fits:
            return f"{self._me}: the cache has no room for it"
        if progress.problem:
            return f"{self._me}: {progress.problem}"
        if len(goal.keepers) < wanted:
            return f"only {len(goal.keepers)} members keep images"
        return "no member holds its manifests yet" if image.unread else ""


def _pin_row(record: Record, digest: Digest | None) -> dict[str, Any]:
    return {
        "name": record.name,
        "digest": None if digest is None else str(digest),
        "copies": "all" if record.copies == ALL else record.copies,
        "platforms": list(record.platforms),
        "pattern": record.pattern or None,
        "configured_by": record.configured_by or None,
        "pinned_by": record.author,
        "age_seconds": round(max(0.0, time.time() - record.made_unix_s)),
    }


def _unknown(record: Record) -> dict[str, Any]:
    """The rest of a row of which no image is known: a pattern, or a tag without a meaning yet."""
    is_pattern = "*" in record.name or "?" in record.name
    problem = "" if is_pattern else "nobody knows yet what the tag means"
    missing = 0 if is_pattern else 1
    return {
        "parts": 0,
        "bytes": 0,
        "wanted": missing,
        "held": 0,
        "missing": missing,
        "bytes_to_go": 0,
        "keepers": [],
        "problem": problem,
    }
