"""Manifests that clients push: checked, kept, and named.

Source: OCI distribution-spec, "Pushing Manifests"; OCI image-spec, manifest.md and image-index.md.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

import msgspec

from ...errors import DigestInvalid, ManifestInvalid, NameInvalid, OciError, PartUnknown, StorageFailed
from ...images.holdings import Holdings
from ...images.own_tags import OwnTags
from ...oci.content import Content
from ...oci.descriptors import DESCRIPTORS_MAX, is_undistributed
from ...oci.digest import Digest
from ...oci.manifest import outline_of
from ...oci.reference import Reference, Repository
from ...oci.strict import Descriptor, Document
from ...pins.pushed import Pushed
from ...settings import PushSettings
from .uploads import Uploads, storage_errors

log = logging.getLogger(__name__)

_decoder = msgspec.json.Decoder(Document)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A manifest that was taken.

    Args:
        digest: of it.
        subject: the manifest that it refers to, if it does.
        tags: those that mean it from now on.
    """

    digest: Digest
    subject: Digest | None
    tags: Sequence[Reference]


class PushedManifests:
    """Takes manifests.

    Args:
        uploads: keeps them as it does blobs.
        holdings: what this node's stores hold.
        find_size: finds out how large some content is that is elsewhere; raises OciError if nobody has it.
        own: keeps their tags.
        pushed: pins them.
        settings: bounds.
    """

    def __init__(
        self,
        uploads: Uploads,
        holdings: Holdings,
        find_size: Callable[[Content], Awaitable[int]],
        own: OwnTags,
        pushed: Pushed,
        settings: PushSettings | None = None,
    ) -> None:
        self._uploads = uploads
        self._holdings = holdings
        self._find_size = find_size
        self._own = own
        self._pushed = pushed
        self._settings = settings or PushSettings()

    async def put(
        self,
        repository: Repository,
        what: Digest | Reference,
        tags: Sequence[str],
        body: bytes,
        content_type: str | None,
    ) -> Accepted:
        """Take a manifest.

        Args:
            repository: to which it is pushed.
            what: its tag, or the digest that it must have.
            tags: further tags.
            body: bytes.
            content_type: its media type, as the client says.

        Raises:
            OciError: it is none, or not the one that it is said to be, or cannot be kept.
        """
        if len(tags) > self._settings.tags_at_once_max:
            raise NameInvalid(f"one request sets at most {self._settings.tags_at_once_max} tags")
        references = [Reference.of(repository, tag) for tag in tags]
        if isinstance(what, Reference):
            references.insert(0, what)
            digest = Digest.of(body)
        else:
            digest = what
            if not digest.matches(body):
                raise DigestInvalid(f"what was sent is not {digest}, but {Digest.of(body, digest.algorithm)}")
        pushed = await self._checked(repository, body, content_type)
        await self._keep(repository, digest, body)
        subject = None if pushed.subject is None else pushed.subject.named
        with storage_errors():
            for reference in references:
                await self._own.put(reference, digest)
            if subject is not None:
                await self._own.refer(repository, subject, digest)
        await self._pushed.take(repository, digest, references)
        log.info("pushed image=%s digest=%s", references[0] if references else repository, digest)
        return Accepted(digest, subject, references)

    async def _checked(self, repository: Repository, body: bytes, content_type: str | None) -> Document:
        """What a manifest says, if it is one and all that it names is somewhere."""
        outline = await outline_of(body)
        try:
            pushed = _decoder.decode(body)
        except (ValueError, RecursionError) as error:
            raise ManifestInvalid(f"what was sent is no manifest: {error}") from None
        if outline is None:
            raise ManifestInvalid("what was sent is no manifest: it has neither a mediaType nor the form of one")
        stated = (content_type or "").partition(";")[0].strip()
        if stated and stated != outline.media_type and stated != "application/octet-stream":
            raise ManifestInvalid(f"Content-Type is {stated[:200]!r}, and the manifest is {outline.media_type!r}")
        named = [*pushed.content, *(pushed.manifests or ())]
        if len(named) > DESCRIPTORS_MAX:
            raise ManifestInvalid(f"a manifest names at most {DESCRIPTORS_MAX} parts")
        for it in (*named, *([pushed.subject] if pushed.subject else ())):
            _expect_descriptor(it)
        if not outline.is_index:
            await self._expect_parts(repository, [it for it in named if not is_undistributed(it.mediaType)])
        return pushed

    async def _expect_parts(self, repository: Repository, named: Iterable[Descriptor]) -> None:
        """Raise PartUnknown if this node, the members and upstream lack something that a manifest names.

        An index may name images of platforms that nobody has pushed, as archives of one platform do.
        """
        at_once = asyncio.Semaphore(self._settings.check_at_once)

        async def expect(it: Descriptor) -> None:
            async with at_once:
                size = await self._size(Content(repository, "blobs", it.named))
            if size != it.size:
                raise ManifestInvalid(f"the manifest says that {it.digest} has {it.size} bytes, and it has {size}")

        for result in await asyncio.gather(*map(expect, named), return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    async def _size(self, content: Content) -> int:
        """How large some content is, in bytes, here or elsewhere; raise PartUnknown if nobody has it."""
        with contextlib.suppress(StorageFailed):
            held = self._holdings.open(content.digest)
            if held is not None:
                with held:
                    return held.size
        try:
            return await self._find_size(content)
        except OciError as error:
            raise PartUnknown(f"the manifest names {content.digest}, which nobody has: {error}") from None

    async def _keep(self, repository: Repository, digest: Digest, body: bytes) -> None:
        """Let a manifest be content of this node."""
        upload = await self._uploads.begin(repository, "", len(body))
        try:
            with storage_errors():
                await self._uploads.write(upload, body)
        except BaseException:
            self._uploads.discard(upload)
            raise
        await self._uploads.finish(upload, digest)


def _expect_descriptor(it: Descriptor) -> None:
    try:
        _ = it.named
    except DigestInvalid as error:
        raise ManifestInvalid(f"the manifest names a part by a digest that is none: {error}") from None
