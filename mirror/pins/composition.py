"""Composition: what an image consists of, as its manifests say.

That is its manifest, the config and the layers. Of an index, it is the images for the platforms that are wanted, or all
of them, with their attestations, if none is named; an index that has nothing for these platforms counts as a whole, for
then it is something else than an image of several platforms. What refers to an image (signatures, reports) is content
of its own, which can be pinned by its digest or tag. Layers that no registry may distribute are left out.

Source: OCI image-spec, manifest.md and image-index.md.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass

from ..errors import MirrorError
from ..oci.content import Content
from ..oci.descriptors import Named, in_turn, is_undistributed, named_by
from ..oci.digest import Digest
from ..oci.reference import Repository

Read = Callable[[Content], Awaitable[bytes | None]]
"""Gives the bytes of a manifest, which are right, or None where it is not to be had; raises MirrorError as well."""


@dataclass(frozen=True, slots=True)
class Part:
    """A manifest or blob of an image.

    Args:
        content: which.
        size: in bytes, as the manifest before it states, or as it is.
    """

    content: Content
    size: int


@dataclass(frozen=True, slots=True)
class Image:
    """What an image consists of, as far as its manifests could be read.

    Args:
        parts: the manifest comes first; each digest once.
        unread: manifests of it that were not to be had; each is a part as well.
        problem: why the first of them was not; empty if none lacks.
    """

    parts: tuple[Part, ...]
    unread: tuple[Content, ...] = ()
    problem: str = ""

    @property
    def bytes(self) -> int:
        """Of all parts."""
        return sum(part.size for part in self.parts)


async def compose(
    repository: Repository, digest: Digest, platforms: Collection[str], read: Read, parts_max: int
) -> Image:
    """Find out what an image consists of.

    Args:
        repository: under whose name it is asked for.
        digest: of its manifest or index.
        platforms: of an index, which are wanted; empty: all.
        read: gives its manifests.
        parts_max: bounds the parts that are counted.
    """
    parts: dict[Digest, Part] = {}
    unread: list[Content] = []
    problem = ""
    waiting = [(digest, 0)]
    seen = {digest}
    while waiting and len(parts) < parts_max:
        wanted, size = waiting.pop(0)
        content = Content(repository, "manifests", wanted)
        body = None
        try:
            body = await read(content)
        except MirrorError as error:
            problem = problem or str(error)
        parts[wanted] = Part(content, size if body is None else len(body))
        if body is None:
            unread.append(content)
            continue
        for it in _wanted(await in_turn(named_by, body), platforms):
            if not it.is_manifest:
                parts.setdefault(it.digest, Part(Content(repository, "blobs", it.digest), it.size))
            elif it.digest not in seen:
                seen.add(it.digest)
                waiting.append((it.digest, it.size))
    return Image(tuple(parts.values())[:parts_max], tuple(unread), problem or ("it is not here" if unread else ""))


def _wanted(named: Sequence[Named], platforms: Collection[str]) -> list[Named]:
    """Of an index the entries for these platforms, or for none; all if there is nothing for them. Of others all."""
    on_registry = [it for it in named if it.is_manifest or not is_undistributed(it.media_type)]
    wanted = {it.platform for it in named if it.place == "manifest" and any(map(it.is_for, platforms))}
    if not wanted:
        return on_registry
    return [it for it in on_registry if it.place != "manifest" or not it.platform or it.platform in wanted]


def platforms_here(named: Sequence[Named], holds: Callable[[Digest], bool]) -> tuple[str, ...]:
    """Of an index some images of which somebody does not hold, the platforms of those that it holds; else none."""
    entries = [it for it in named if it.place == "manifest"]
    here = {it.platform for it in entries if it.platform and holds(it.digest)}
    return () if all(holds(it.digest) for it in entries) else tuple(sorted(here - {"unknown/unknown"}))
