"""Members whose word about tags does not count for a while, because upstream contradicted it twice."""

import logging
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from ..metrics import Metrics
from ..oci.digest import Digest
from ..oci.reference import Reference
from ..settings import ImageSettings

log = logging.getLogger(__name__)

_MEMBERS_MAX = 1024
"""Bounds the members that are remembered; the oldest contradiction is forgotten first. Ten times the largest cluster
that this is made for."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """What a member said of a tag, and what upstream said to this node before and after it.

    Args:
        reference: the tag.
        said: what the member says that it means.
        upstream: what upstream says.
        until: monotonic seconds until which the member is not asked about tags.
    """

    reference: Reference
    said: Digest
    upstream: Digest
    until: float


class TagTrust:
    """Remembers who contradicted upstream.

    It is no proof of a lie: the member's registry may be another one than this node's. So only the member's word about
    tags counts no more, and a person is told; bytes have digests, and are still taken from it.

    Args:
        metrics: counts contradictions.
        settings: for how long a member is not asked.
    """

    def __init__(self, metrics: Metrics, settings: ImageSettings | None = None) -> None:
        self._metrics = metrics
        self._settings = settings or ImageSettings()
        self._contradictions: OrderedDict[str, Contradiction] = OrderedDict()

    def distrusted(self) -> Mapping[str, Contradiction]:
        """The members that are not asked about tags now, by name, each with what it said last."""
        now = time.monotonic()
        return {name: it for name, it in self._contradictions.items() if it.until > now}

    def contradicted(self, name: str, reference: Reference, said: Digest, upstream: Digest) -> None:
        """Note that a member says what upstream does not say, although it was asked twice."""
        distrust_s = self._settings.tag_distrust_s
        log.error(
            "member %s says that %s is %s, upstream says to this node that it is %s: the member lies, or asks another "
            "registry; it is not asked about tags for %g s", name, reference, said, upstream, distrust_s,
        )  # fmt: skip
        self._metrics.tag_contradictions.inc()
        self._contradictions[name] = Contradiction(reference, said, upstream, time.monotonic() + distrust_s)
        self._contradictions.move_to_end(name)
        while len(self._contradictions) > _MEMBERS_MAX:
            self._contradictions.popitem(last=False)
