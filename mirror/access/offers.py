"""Offers: what other members may have of this node.

Members trust each other: the one that serves a client decides for it. So a member is given what is marked, with the
mark, if it says that it keeps marks; an agent that does not know them would give the content to anybody. What is kept
nowhere is given to no member at all, nor is it fetched for one.
"""

from typing import Final

from ..errors import BlobUnknown, Reason, Refusal
from ..oci.digest import Digest
from ..oci.reference import Repository
from ..sources import Shown
from ..stores.marks import Mark, Marks
from .policies import PrivatePolicies, Sharing
from .visibility import Visibility

_OLD: Final = "it is private, and the member that asks keeps no marks: it runs an older version"


class Offers:
    """Decides for members.

    Args:
        policies: what the operator says.
        marks: of content.
        visibility: knows what is public.
    """

    def __init__(self, policies: PrivatePolicies, marks: Marks, visibility: Visibility) -> None:
        self._policies = policies
        self._marks = marks
        self._visibility = visibility

    async def admit(self, repository: Repository, path: str, *, keeps_marks: bool, is_home: bool) -> None:
        """Let a member ask for something of a repository.

        Args:
            repository: by which it asks.
            path: what it wants, below the repository's own path.
            keeps_marks: whether it says so.
            is_home: whether it takes this node for a home. Then it asks the next one, or upstream itself.

        Raises:
            Refusal: it gets nothing of that repository here; `BlobUnknown` where it asks for what this node holds.
        """
        sharing = self._policies.of(repository).sharing
        if sharing is Sharing.SHARED or (keeps_marks and sharing is Sharing.CHECKED):
            return
        if await self._visibility.shown(repository, path) is Shown.YES:
            return
        why = "its policy is off" if sharing is Sharing.OFF else _OLD
        message = f"{repository} is not given to members: {why}"
        raise Refusal(Reason.UNABLE, message) if is_home else BlobUnknown(message)

    def mark(self, digest: Digest, *, keeps_marks: bool) -> Mark | None:
        """The mark that goes with some content; None if it has none.

        Raises:
            BlobUnknown: the member that asks may not have it.
        """
        mark = self._marks.of(digest)
        if mark is None or self._policies.all_shared:
            return mark
        least = Sharing.CHECKED if keeps_marks else Sharing.SHARED
        allowed = {Sharing.SHARED, least}
        if not any(
            self._policies.of(name).sharing in allowed or self._visibility.is_known_public(name)
            for name in mark.names | mark.claimed
        ):
            why = "it is kept for no member" if keeps_marks else _OLD
            raise BlobUnknown(f"{digest} is not given to members: {why}")
        return mark

    def has_copy(self, names: frozenset[str]) -> bool:
        """Whether what came under some names may be kept here at all, and be offered to members."""
        return all(
            self._policies.of(name).sharing is not Sharing.OFF or self._visibility.is_known_public(name)
            for name in names
        )
