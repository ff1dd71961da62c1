"""The content that clients ask for: all of it is known, so that each byte of each answer can be checked."""

import random
import threading
import time
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from testbed.images import build_image
from testbed.registry import Registry

MOVING: Final = "library/moving"
PULLED: Final = "library/pulled"
_SIZES: Final = {
    "library/wide:1": [20_000_000, 8_000_000],
    "library/large:1": [32_000_000, 700_000],
    "library/small:1": [3_000_000, 900_000, 40_000, 3_000],
    "library/small:2": [1_500_000, 4_096],
    "library/shared:1": [6_000_000, 2_500_000],
    f"{PULLED}:1": [5_000_000, 300_000],
    f"{MOVING}:a": [1_200_000, 2_000],
    f"{MOVING}:b": [900_000, 2_000],
    f"{MOVING}:c": [600_000, 2_000],
    f"{MOVING}:evil": [500_000, 2_000],
}
"""Bytes in the layers of each image: 80 MB in all, of which a tight cache holds most, but not everything."""


@dataclass(frozen=True, slots=True)
class Content:
    """A manifest or blob.

    Args:
        repository: where it is found.
        kind: `blobs` or `manifests`, as in the API's paths.
        digest: of the bytes.
        body: the bytes.
    """

    repository: str
    kind: str
    digest: str
    body: bytes

    @property
    def hex(self) -> str:
        """Its sha256."""
        return self.digest.removeprefix("sha256:")


class Meanings:
    """What a tag means, and has meant.

    Args:
        possible: the digests that it may mean, in turn; it starts with the first.
    """

    def __init__(self, possible: Sequence[str]) -> None:
        self.possible = possible
        self._lock = threading.Lock()
        self._times, self._digests = [time.monotonic()], [possible[0]]

    def move(self, digest: str) -> None:
        """Let it mean something else from now on."""
        with self._lock:
            self._times.append(time.monotonic())
            self._digests.append(digest)

    def within(self, since: float, until: float) -> set[str]:
        """What it meant at any moment of a time, on the monotonic clock."""
        with self._lock:
            first = max(0, bisect_right(self._times, since) - 1)
            return set(self._digests[first : bisect_right(self._times, until)])

    @property
    def ever(self) -> set[str]:
        """All that it has meant so far."""
        with self._lock:
            return set(self._digests)


class Library:
    """All images, in memory and as files.

    Args:
        folder: for the files.
        seed: of their content.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        chance = random.Random(f"{seed}/library")
        self.images = {
            name: build_image(folder, f"docker.io/{name}", sizes, seed=chance.getrandbits(64))
            for name, sizes in _SIZES.items()
        }
        self.contents = [
            Content(name.rpartition(":")[0], kind, digest, image.read(digest))
            for name, image in self.images.items()
            for kind, digests in (("manifests", (image.manifest,)), ("blobs", (image.config, *image.layers)))
            for digest in digests
        ]
        self.by_digest = {content.digest: content for content in self.contents}
        self.tags = {name: Meanings([image.manifest]) for name, image in self.images.items()}
        possible = [self.images[f"{MOVING}:{version}"].manifest for version in "abc"]
        self.moving = self.tags[f"{MOVING}:latest"] = Meanings(possible)
        self.shared = self.images["library/shared:1"]
        self.evil = self.images[f"{MOVING}:evil"]

    @property
    def total(self) -> int:
        """Bytes of all content."""
        return sum(len(content.body) for content in self.contents)

    def fill(self, registry: Registry) -> None:
        """Put everything into a registry that does not run yet."""
        for name, image in self.images.items():
            registry.hold(image, *name.split(":"))
        registry.move(MOVING, "latest", self.moving.possible[0])
