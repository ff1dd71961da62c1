"""Composition: what an image consists of, as its manifests say.

That is its manifest, the config and the layers. Of an index, it is the images for the platforms that are wanted, or all
of them, with their attestations, if none is named; an index that has nothing for these platforms counts as a whole, for
then it is something else than an image of several platforms. What refers to an image (signatures, reports) is content
of its own, which can be pinned by its digest or tag. Layers that no registry may distribute are left out.

Source: OCI image-spec, manifest.md and image-index.md.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from ..errors import DigestInvalid, MirrorError
from ..oci.content import Content
from ..oci.digest import Digest
from ..oci.reference import Repository

_READ_AT_ONCE_BYTES: Final = 64 * 1024
"""Size up to which a manifest is read on the event loop, in bytes; see `oci.manifest`."""
_UNDISTRIBUTED: Final = ("nondistributable", "foreign")
"""In the media types of layers that are not on the registry."""

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


class _Document(msgspec.Struct):
    config: msgspec.Raw = msgspec.Raw()
    manifests: msgspec.Raw = msgspec.Raw()
    layers: msgspec.Raw = msgspec.Raw()
    blobs: msgspec.Raw = msgspec.Raw()


class _Platform(msgspec.Struct):
    os: Any = ""
    architecture: Any = ""
    variant: Any = ""


class _Descriptor(msgspec.Struct):
    digest: Any = None
    size: Any = None
    mediaType: Any = ""
    platform: msgspec.Raw = msgspec.Raw()


_document = msgspec.json.Decoder(_Document)
_one = msgspec.json.Decoder(_Descriptor)
_several = msgspec.json.Decoder(list[_Descriptor])
_platform = msgspec.json.Decoder(_Platform)
_WRONG: Final = (ValueError, RecursionError)


@dataclass(frozen=True, slots=True)
class _Named:
    """What a manifest names: `(digest, size)` each, of an index the manifests."""

    manifests: Sequence[tuple[Digest, int]]
    blobs: Sequence[tuple[Digest, int]]


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
        named = await _read_in_turn(body, platforms)
        waiting += [entry for entry in named.manifests if entry[0] not in seen]
        seen.update(entry[0] for entry in named.manifests)
        for blob, blob_size in named.blobs[:parts_max]:
            parts.setdefault(blob, Part(Content(repository, "blobs", blob), blob_size))
    return Image(tuple(parts.values())[:parts_max], tuple(unread), problem or ("it is not here" if unread else ""))


async def _read_in_turn(body: bytes, platforms: Collection[str]) -> _Named:
    if len(body) <= _READ_AT_ONCE_BYTES:
        return _named(body, platforms)
    return await asyncio.to_thread(_named, body, platforms)


def _named(body: bytes, platforms: Collection[str]) -> _Named:
    """What a manifest names; what is not in order is left out."""
    try:
        document = _document.decode(body)
    except _WRONG:
        return _Named((), ())
    entries = _wanted(_listed(document.manifests), platforms)
    blobs = [*_single(document.config), *_listed(document.layers), *_listed(document.blobs)]
    blobs += [it for it in entries if not _is_manifest(it)]
    kept = [it for it in blobs if not any(word in str(it.mediaType) for word in _UNDISTRIBUTED)]
    return _Named(list(_read(it for it in entries if _is_manifest(it))), list(_read(iter(kept))))


def _listed(text: msgspec.Raw) -> list[_Descriptor]:
    with contextlib.suppress(*_WRONG):
        return _several.decode(text)
    return []


def _single(text: msgspec.Raw) -> list[_Descriptor]:
    with contextlib.suppress(*_WRONG):
        return [_one.decode(text)]
    return []


def _read(descriptors: Iterator[_Descriptor]) -> Iterator[tuple[Digest, int]]:
    for it in descriptors:
        if type(it.size) is int and it.size >= 0 and isinstance(it.digest, str):
            with contextlib.suppress(DigestInvalid):
                yield Digest.parse(it.digest), it.size


def _is_manifest(descriptor: _Descriptor) -> bool:
    """Whether an entry of an index is a manifest; an index may list other content as well."""
    kind = str(descriptor.mediaType or "manifest")
    return "manifest" in kind or "index" in kind


def _wanted(entries: list[_Descriptor], platforms: Collection[str]) -> list[_Descriptor]:
    """Those entries of an index that are for these platforms, or for none; all if there is nothing for them."""
    if not platforms:
        return entries
    by_platform = [(it, _platform_of(it)) for it in entries]
    if not any(_matches(platform, platforms) for _, platform in by_platform if platform):
        return entries
    return [it for it, platform in by_platform if not platform or _matches(platform, platforms)]


def _platform_of(descriptor: _Descriptor) -> tuple[str, ...]:
    """Operating system, architecture and, where it has one, variant of an entry; empty if it does not say."""
    try:
        it = _platform.decode(descriptor.platform)
    except _WRONG:
        return ()
    said = (str(it.os), str(it.architecture), str(it.variant))
    return tuple(filter(None, said)) if it.os and it.architecture else ()


def _matches(platform: tuple[str, ...], wanted: Collection[str]) -> bool:
    """Whether a platform is one of those wanted; one that names no variant stands for all of them."""
    return "/".join(platform) in wanted or "/".join(platform[:2]) in wanted


def named_by(body: bytes) -> list[Digest]:
    """The manifests that an index names; none of other manifests."""
    return [digest for digest, _ in _named(body, ()).manifests]


def platforms_here(body: bytes, holds: Callable[[Digest], bool]) -> tuple[str, ...]:
    """Of an index some images of which somebody does not hold, the platforms of those that it holds; else none."""
    try:
        entries = _listed(_document.decode(body).manifests)
    except _WRONG:
        return ()
    named = [(digest, _platform_of(entry)) for entry in entries for digest, _ in _read(iter([entry]))]
    here = {"/".join(platform) for digest, platform in named if platform and holds(digest)}
    return () if all(holds(digest) for digest, _ in named) else tuple(sorted(here - {"unknown/unknown"}))
