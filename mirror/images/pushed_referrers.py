"""Manifests that were pushed to this cluster and refer to another one, as a list has them.

Source: OCI distribution-spec, "Listing Referrers"; OCI image-spec, "Content Descriptors".
"""

import logging
from dataclasses import dataclass
from typing import Final

import msgspec

from ..errors import MirrorError
from ..oci.content import Content
from ..oci.digest import Digest
from ..oci.manifest import MANIFEST_MAX_BYTES, outline_of
from ..oci.reference import Repository
from ..oci.referrers import Entry, entry
from .manifests import Manifests
from .own_tags import OwnTags

log = logging.getLogger(__name__)

_LISTED_MAX: Final = 256
"""Bounds the manifests that are read for one list: an image has a signature, an attestation and a list of its parts for
each platform."""


@dataclass(frozen=True, slots=True)
class PushedReferrers:
    """Describes what was pushed and refers to a manifest.

    Args:
        own: knows which do.
        manifests: reads them, wherever they are.
    """

    own: OwnTags
    manifests: Manifests

    async def of(self, repository: Repository, subject: Digest) -> list[Entry] | None:
        """The descriptors of those that can be read; None if nothing was ever pushed to the repository."""
        if not self.own.has_any(repository):
            return None
        found: list[Entry] = []
        left = MANIFEST_MAX_BYTES
        for digest in self.own.referrers(repository, subject)[:_LISTED_MAX]:
            try:
                manifest, _ = await self.manifests.get(Content(repository, "manifests", digest))
            except MirrorError as error:
                log.debug("%s refers to %s and cannot be read: %s", digest, subject, error)
                continue
            outline = await outline_of(manifest.body)
            if outline is not None and outline.subject == subject:  # else somebody gave a tag such a name
                described = entry(digest, len(manifest.body), outline)
                left -= len(msgspec.json.encode(described))
                if left < 0:  # no list has more, and annotations may be as long as manifests
                    log.warning("the list of what refers to %s is cut off after %d manifests", subject, len(found))
                    break
                found.append(described)
        return found
