"""Removal: what goes from this node's cache by an order of the operator. A runtime's own content is never touched."""

import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ..errors import Pinned
from ..oci.digest import Digest
from ..oci.reference import Reference
from ..stores import CacheContents, Tag
from .inventory import HeldImage, Inventory, Survey
from .pruning import Plan, Rule, delete, prune

log = logging.getLogger(__name__)

_NAMES_SHOWN = 8
"""Names of one image that an error names: more do not help to find the pin."""


class OwnTags(Protocol):
    """What the cluster's own people say that tags mean; all members know it."""

    def tag(self, reference: Reference) -> Tag | None:
        """What a tag means to them."""
        ...

    async def put(self, reference: Reference, digest: Digest | None) -> None:
        """Let a tag mean something to all from now on, or nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Removed:
    """What went.

    Args:
        tags: that are forgotten.
        own: tags of the cluster's own people that stay, for they are everybody's.
        blobs: how many.
        bytes: that are free now.
        runtime: what a runtime of this node has of it, which stays.
        shares: images that stay, and have something of it.
    """

    tags: Sequence[str]
    own: Sequence[str]
    blobs: int
    bytes: int
    runtime: bool
    shares: Sequence[str]


class Removal:
    """Deletes content of the cache.

    Args:
        inventory: what is here.
        contents: deletes blobs, and forgets what upstream said of tags.
        own: the tags of the cluster's own people.
        forget_manifest: drops a manifest from memory.
        protects: whether content is pinned.
    """

    def __init__(
        self,
        inventory: Inventory,
        contents: CacheContents,
        own: OwnTags,
        forget_manifest: Callable[[Digest], None],
        protects: Callable[[Digest], bool] = lambda digest: False,
    ) -> None:
        self._inventory = inventory
        self._contents = contents
        self._own = own
        self._forget_manifest = forget_manifest
        self._protects = protects

    async def plan(self, rule: Rule) -> Plan:
        """What would go by a rule."""
        return prune(await self._inventory.survey(now=True), rule, time.time(), self._protects)

    async def prune(self, rule: Rule) -> Plan:
        """Delete what goes by a rule, and return it."""
        plan = await self.plan(rule)
        await self._carry_out(plan)
        log.info("pruned images=%d blobs=%d bytes=%d", len(plan.images), len(plan.blobs), plan.bytes)
        return plan

    async def delete(
        self, what: Reference | Digest, meanings: Collection[Digest] = (), *, everywhere: bool = False
    ) -> Removed:
        """Delete an image, or one blob.

        Args:
            what: a tag, which is forgotten; or a digest, and then all tags that mean it are. If it is no image that is
                here, but a blob, that blob alone goes.
            meanings: what the tag means to other members: such an image goes too, if it has no tag here at all.
            everywhere: whether tags of the cluster's own people go as well, which are everybody's.

        Raises:
            Pinned: it is; nothing has gone.
            StorageFailed: such a tag cannot be deleted now; nothing else has gone.
        """
        survey = await self._inventory.survey(now=True)
        images = [image for image in survey.images if _is(image, what, meanings)]
        self._check_pins(what, images, survey)
        plan = delete(survey, images)
        if not images and isinstance(what, Digest):
            plan = Plan((), [blob for blob in survey.kept if blob.digest == what])
        plan = replace(plan, blobs=[blob for blob in plan.blobs if not self._protects(blob.digest)])
        named = [Reference.parse(image.reference) for image in images if image.reference]
        named += [what] if isinstance(what, Reference) and what not in named else []
        own = [reference for reference in named if self._own.tag(reference) is not None]
        if everywhere:
            for reference in own:
                await self._own.put(reference, None)
        gone = own if everywhere else []
        forgotten = [it for it in named if await self._contents.forget(it) is not None or it in gone]
        await self._carry_out(plan)
        log.info("deleted what=%s tags=%d blobs=%d bytes=%d", what, len(forgotten), len(plan.blobs), plan.bytes)
        in_runtime = any(store != "cache" for image in images for store in image.stores)
        stay = [] if everywhere else [str(it) for it in own]
        shares = _sharing(survey, images, what)
        return Removed([str(it) for it in forgotten], stay, len(plan.blobs), plan.bytes, in_runtime, shares)

    def _check_pins(self, what: Reference | Digest, images: Sequence[HeldImage], survey: Survey) -> None:
        digests = {image.digest for image in images} | ({what} if isinstance(what, Digest) else set())
        if any(self._protects(digest) for digest in digests):
            names = sorted(
                {it.reference for it in survey.images if it.digest in digests and it.reference} - {str(what)}
            )
            also = f"; it may be pinned by another of its names: {', '.join(names[:_NAMES_SHOWN])}" if names else ""
            raise Pinned(f"{what} is pinned, and stays: `skvaller unpin` it first{also}")

    async def _carry_out(self, plan: Plan) -> None:
        digests = [blob.digest for blob in plan.blobs]
        for digest in digests:
            self._forget_manifest(digest)
        await self._contents.delete(digests)
        self._inventory.changed()


def _is(image: HeldImage, what: Reference | Digest, meanings: Collection[Digest]) -> bool:
    if isinstance(what, Digest):
        return image.digest == what
    return image.reference == str(what) or (not image.reference and image.digest in meanings)


def _sharing(survey: Survey, images: Sequence[HeldImage], what: Reference | Digest) -> list[str]:
    """The images that stay, and have something of what goes."""
    contents = {what} if isinstance(what, Digest) and not images else {it for image in images for it in image.contents}
    others = (image for image in survey.images if image not in images and not contents.isdisjoint(image.contents))
    return [image.reference or str(image.digest) for image in others]
