"""Lists that members have: of tags that they know, and of manifests that they hold and that refer to another one."""

import json
from typing import Any

from ...errors import PeerError, Reason
from ...oci.digest import Digest
from ...oci.reference import Repository, is_tag
from ...oci.referrers import entries, named_by
from ...routers import Peer
from .client import PeerClient, quoted
from .protocol import MEMBER_TAGS_MAX, MEMBER_TAGS_MAX_BYTES, SIGNED_BODY_MAX_BYTES


class PeerLists:
    """Asks members for lists.

    Args:
        client: asks them.
    """

    def __init__(self, client: PeerClient) -> None:
        self._client = client

    async def tags(self, peer: Peer, repository: Repository) -> list[str]:
        """Ask which tags of a repository a peer knows itself.

        Raises:
            PeerError: it gave no valid answer.
        """
        body = await self._client.read(peer, _path(repository, "tags/list"), MEMBER_TAGS_MAX_BYTES)
        try:
            tags: Any = json.loads(body)["tags"]
        except (ValueError, RecursionError, KeyError, TypeError):
            tags = None
        if not isinstance(tags, list) or not all(isinstance(tag, str) and is_tag(tag) for tag in tags):
            raise PeerError(Reason.BROKEN, f"{peer.name} answered with no list of tags")
        return tags[:MEMBER_TAGS_MAX]

    async def referrers(self, peer: Peer, repository: Repository, subject: Digest) -> list[Digest]:
        """Ask which manifests a peer holds that refer to one.

        Raises:
            PeerError: it gave no valid answer.
        """
        body = await self._client.read(peer, _path(repository, f"referrers/{subject}"), SIGNED_BODY_MAX_BYTES)
        found = entries(body)
        if found is None:
            raise PeerError(Reason.BROKEN, f"{peer.name} answered with no list of referrers")
        return [digest for digest in map(named_by, found) if digest is not None]


def _path(repository: Repository, what: str) -> str:
    return f"/v2/{repository.path}/{what}?ns={quoted(repository)}"
