"""Manifests that were pushed to this cluster and refer to another one, as a list has them.

Source: OCI distribution-spec, "Listing Referrers"; OCI image-spec, "Content Descriptors".
"""

import logging
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from ..errors import MirrorError
from ..oci.content import Content
from ..oci.digest import Digest
from ..oci.reference import Repository
from .manifests import Manifest, Manifests
from .own_tags import OwnTags

log = logging.getLogger(__name__)

_LISTED_MAX: Final = 256
"""Bounds the manifests that are read for one list: an image has a signature, an attestation and a list of its parts for
each platform."""


class _Config(msgspec.Struct):
    mediaType: Any = None


class _Referrer(msgspec.Struct):
    """What is read of a manifest that refers to another one."""

    artifactType: Any = None
    annotations: Any = None
    config: _Config | None = None


_referrer = msgspec.json.Decoder(_Referrer)


@dataclass(frozen=True, slots=True)
class Referrers:
    """Describes what was pushed and refers to a manifest.

    Args:
        own: knows which do.
        manifests: reads them, wherever they are.
    """

    own: OwnTags
    manifests: Manifests

    async def of(self, repository: Repository, subject: Digest) -> list[dict[str, Any]] | None:
        """The descriptors of those that can be read; None if nothing was ever pushed to the repository."""
        if not self.own.has_any(repository):
            return None
        found = []
        for digest in self.own.referrers(repository, subject)[:_LISTED_MAX]:
            try:
                manifest, _ = await self.manifests.get(Content(repository, "manifests", digest))
            except MirrorError as error:
                log.info("%s refers to %s and cannot be read: %s", digest, subject, error)
                continue
            found.append(_descriptor(manifest))
        return found


def _descriptor(manifest: Manifest) -> dict[str, Any]:
    try:
        parsed = _referrer.decode(manifest.body)
    except msgspec.MsgspecError:
        parsed = _Referrer()
    described: dict[str, Any] = {
        "mediaType": manifest.media_type,
        "digest": str(manifest.digest),
        "size": len(manifest.body),
    }
    kind = parsed.artifactType or (parsed.config and parsed.config.mediaType)
    if isinstance(kind, str) and kind:
        described["artifactType"] = kind
    if isinstance(parsed.annotations, dict):
        described["annotations"] = parsed.annotations
    return described
