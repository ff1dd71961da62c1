"""What of the cache may go by hand: what nobody used for long, what is too much, or one image. Pure: told the time.

An image goes as a whole, as far as no other image here has the same blobs. What is pinned never goes, and what somebody
reads now goes another time.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import groupby

from ..oci.digest import Digest
from ..stores import Kept
from .inventory import HeldImage, Survey


@dataclass(frozen=True, slots=True)
class Rule:
    """What may go.

    Args:
        unused_s: what no client of this node has used for so long, s; None: nothing for that reason.
        keep_bytes: what is too much when the cache keeps so many bytes, what was used longest ago first; None: nothing.
    """

    unused_s: float | None = None
    keep_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What goes.

    Args:
        images: of which this node has nothing left in its cache but what other images have too.
        blobs: of the cache.
        pinned: blobs that would go, but are pinned.
        read: blobs that would go, but are being read.
    """

    images: Sequence[HeldImage]
    blobs: Sequence[Kept]
    pinned: int = 0
    read: int = 0

    @property
    def bytes(self) -> int:
        """Bytes that become free."""
        return sum(blob.size for blob in self.blobs)


def prune(survey: Survey, rule: Rule, now_unix_s: float, protects: Callable[[Digest], bool]) -> Plan:
    """Choose what goes by a rule.

    Args:
        survey: what is here.
        rule: what may go.
        now_unix_s: Unix time.
        protects: whether content is pinned.
    """
    used = _used(survey)
    oldest = sorted(survey.kept, key=lambda blob: used[blob.digest])
    before_unix_s = None if rule.unused_s is None else now_unix_s - rule.unused_s
    left = sum(blob.size for blob in survey.kept)
    going: list[Kept] = []
    pinned = read = 0
    for used_unix_s, blobs in groupby(oldest, key=lambda blob: used[blob.digest]):
        is_old = before_unix_s is not None and used_unix_s < before_unix_s
        if not is_old and (rule.keep_bytes is None or left <= rule.keep_bytes):
            break
        for blob in blobs:
            if protects(blob.digest):
                pinned += 1
            elif blob.is_read:
                read += 1
            else:
                going.append(blob)
                left -= blob.size
    gone = {blob.digest for blob in going}
    return Plan([image for image in survey.images if image.digest in gone], going, pinned, read)


def delete(survey: Survey, images: Collection[HeldImage]) -> Plan:
    """Choose what goes with some images: what no other image here has. What is being read goes as well.

    Whether they may go, for they may be pinned, was asked before.
    """
    others = [image for image in survey.images if image not in images]
    shared = frozenset[Digest]().union(*(image.contents for image in others))
    going = frozenset[Digest]().union(*(image.contents for image in images)) - shared
    return Plan(list(images), [blob for blob in survey.kept if blob.digest in going])


def _used(survey: Survey) -> dict[Digest, float]:
    """When each blob of the cache was last used, Unix time: that is when the last of its images was.

    A use of a layer alone says little, for each image above the same base uses that.
    """
    kept = {blob.digest: blob.used_unix_s for blob in survey.kept}
    used: dict[Digest, float] = {}
    for image in survey.images:
        for digest in image.contents & kept.keys():
            used[digest] = max(used.get(digest, 0.0), image.used_unix_s or kept[digest])
    return {digest: used.get(digest, own) for digest, own in kept.items()}
