"""Referrers: manifests that name another one as their subject, such as signatures and lists of what is in an image.

A list of them is an image index, whose entries say what a client chooses by: the artifact's type and its annotations.
Registries that have no such lists have a tag for each subject instead, which means the same index.

Source: OCI distribution-spec, "Listing Referrers" and "Referrers Tag Schema".
"""

import contextlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias
from urllib.parse import parse_qs

from ..errors import DigestInvalid
from .digest import Digest
from .manifest import MANIFEST_MAX_BYTES, OCI_INDEX, Outline

Entry: TypeAlias = Mapping[str, Any]
"""A descriptor of a list: `mediaType`, `digest`, `size`, and `artifactType` and `annotations` where there are any."""

TYPE_FILTER = "artifactType"
"""The one filter of these lists: in the query with the type, and alone in the header that says what was applied."""

_FRAME_BYTES = 128
"""What a list has beside its entries, in bytes, at most."""
_ALGORITHM_MAX, _DIGITS_MAX = 32, 64
"""What the tag of a subject has of its digest, in characters."""


def entry(digest: Digest, size: int, outline: Outline) -> Entry:
    """The descriptor of a manifest that refers to another one."""
    described: dict[str, Any] = {"mediaType": outline.media_type, "digest": str(digest), "size": size}
    if outline.artifact_type is not None:
        described["artifactType"] = outline.artifact_type
    if outline.annotations:
        described["annotations"] = dict(outline.annotations)
    return described


def tag_of(subject: Digest) -> str:
    """The tag that means the list of a subject, in registries that have no such lists."""
    return f"{subject.algorithm[:_ALGORITHM_MAX]}-{subject.hex[:_DIGITS_MAX]}"


def wanted_type(query: str) -> str | None:
    """The type of artifact that a client asks for; None for all."""
    return parse_qs(query).get(TYPE_FILTER, [None])[0]


def is_first(query: str) -> bool:
    """Whether a query asks for the first page of a list: registries put marks of their own into those that follow."""
    return not parse_qs(query).keys() - {TYPE_FILTER, "n"}


def entries(body: bytes) -> list[Entry] | None:
    """The descriptors of a list; None if it is none. Those without a digest are left out."""
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    named = document.get("manifests") if isinstance(document, dict) else None
    if named is None and isinstance(document, dict) and document.get("schemaVersion") == 2:
        return []
    if not isinstance(named, list):
        return None
    return [it for it in named if isinstance(it, dict) and named_by(it) is not None]


def named_by(described: Entry) -> Digest | None:
    """What a descriptor names."""
    with contextlib.suppress(DigestInvalid):
        return Digest.parse(str(described.get("digest")))
    return None


def of_type(found: Iterable[Entry], artifact_type: str | None) -> list[Entry]:
    """Those of a type of artifact; all of them without one."""
    return [it for it in found if artifact_type in (None, it.get(TYPE_FILTER))]


def as_list(found: Iterable[Entry], max_bytes: int = MANIFEST_MAX_BYTES) -> bytes:
    """The list of some referrers, each once; what does not fit is left out."""
    by_digest: dict[str, Entry] = {}
    left = max_bytes - _FRAME_BYTES
    for it in found:
        if it["digest"] not in by_digest and (left := left - len(json.dumps(it)) - len(", ")) >= 0:
            by_digest[it["digest"]] = it
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(by_digest.values())}).encode()
