"""The gate: whether a client of this node may have what it asks for.

Two questions are asked of each request. May the client have anything of the repository that it names (`enter`)? And is
the content of that repository (`release`)? The second one matters because content is named by its digest: whoever knows
the digest of a private layer, from a log or from the status of a pod, could ask for it under the name of any public
repository. So marked content is given only under a name under which a registry gave it, or that is found to have it;
and freely if one of those names is free to all, for then everybody can have the bytes.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from ..errors import (
    BlobUnknown,
    Denied,
    LoginRequired,
    ManifestUnknown,
    NameUnknown,
    OciError,
    Unavailable,
    UpstreamError,
    UpstreamOut,
    UpstreamRateLimited,
    UpstreamUnknown,
)
from ..oci.content import Content
from ..oci.digest import Digest
from ..oci.reference import Repository
from ..settings import AccessSettings
from ..sources import GuestSource, Shown, SizedSource
from ..stores.marks import Mark, Marks
from .checks import Checks, is_of_cluster, password_in, presented
from .policies import PrivatePolicies, Sharing
from .visibility import Visibility

log = logging.getLogger(__name__)

_UNKNOWN: Final[dict[str, type[OciError]]] = {"manifests": ManifestUnknown, "blobs": BlobUnknown}

Tally = Callable[[str], object]
"""Counts an outcome; see `OUTCOMES`."""

OUTCOMES: Final = ("public", "accepted", "login", "denied", "absent", "unchecked", "apart", "withheld")
"""What becomes of requests for names that are not shared with all: given, for the repository is public; given, for the
credentials are good, or are the cluster's own; asked for credentials; refused, for these are not; the registry shows no
such thing to that client; refused, for the registry does not say; streamed through without being kept; and content that
is not given under a name that is not known to have it."""


@dataclass(frozen=True, slots=True)
class Passage:
    """Who has passed the gate, and how.

    Args:
        repository: what the client may have something of.
        is_apart: whether it is to be streamed through, past all stores and members.
        is_own: whether what this node's own credentials open is meant; else what the client's do, or anybody's.
        authorization: what the client presented, if that was looked at.
        may_ask: whether registries may be asked on behalf of this request.
    """

    repository: Repository
    is_apart: bool = False
    is_own: bool = True
    authorization: str | None = field(default=None, repr=False)
    may_ask: bool = True


class Gate:
    """Decides for clients.

    Args:
        policies: what the operator says.
        marks: of content.
        visibility: knows what is public.
        checks: knows whose credentials are good.
        upstream: is asked whether a repository has some content, as far as this node may know,
        guests: and as far as others may.
        tally: counts.
        is_member: whether a password was made with a key of the cluster: its owner could be a member.
        settings: bounds.
        now: monotonic seconds.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - all that a decision rests on
        self,
        policies: PrivatePolicies,
        marks: Marks,
        visibility: Visibility,
        checks: Checks,
        upstream: SizedSource,
        guests: GuestSource,
        tally: Tally = lambda outcome: None,
        is_member: Callable[[str], bool] = lambda password: False,
        settings: AccessSettings | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policies = policies
        self._marks = marks
        self._visibility = visibility
        self._checks = checks
        self._upstream = upstream
        self._guests = guests
        self._tally = tally
        self._is_member = is_member
        self._settings = settings or AccessSettings()
        self._now = now
        self._absent: OrderedDict[tuple[str, str], float] = OrderedDict()
        """Content of others that a repository does not have, by digest and name, and when that was found out."""

    @property
    def asks_for_login(self) -> bool:
        """Whether clients may have to present credentials. podman sends none unless it is told so beforehand."""
        return self._policies.has_checked

    def behind(self) -> "Gate":
        """The gate of what stands behind this one: who gets there has been let in."""
        return Gate(PrivatePolicies(), self._marks, self._visibility, self._checks, self._upstream, self._guests)

    async def enter(self, repository: Repository, path: str, header: str | None, *, may_ask: bool = True) -> Passage:
        """Let a client in to a repository.

        Args:
            repository: what it wants something of.
            path: what that is, below the repository's own path: `manifests/` and a tag or digest, `blobs/` and a
                digest, or `tags/list`.
            header: its Authorization header, if it sent one.
            may_ask: whether registries may be asked on behalf of this request; else what is known counts.

        Raises:
            LoginRequired: it has to present credentials.
            Denied, ManifestUnknown, BlobUnknown, NameUnknown: the registry shows it no such thing.
            Unavailable: whether it may have that cannot be found out now.
        """
        policy = self._policies.of(repository)
        if policy.sharing is Sharing.SHARED:
            return Passage(repository, may_ask=may_ask)
        to_anybody = await self._visibility.shown(repository, path, may_ask=may_ask)
        if to_anybody is Shown.YES:
            self._tally("public")
            return Passage(repository, is_own=False, may_ask=may_ask)
        if policy.sharing is Sharing.OFF:
            self._tally("apart")
            return Passage(repository, is_apart=True, may_ask=may_ask)
        authorization = presented(header, self._settings.authorization_max)
        password = password_in(authorization)
        if self._is_member(password):
            self._tally("accepted")
            return Passage(repository, may_ask=may_ask)
        if authorization is None or is_of_cluster(password):
            if to_anybody is Shown.ABSENT:
                raise self._absence(repository, path, "anybody")
            self._tally("login")
            raise LoginRequired(
                f"{repository} is private: present credentials that {repository.registry} accepts for it",
                repository.registry,
            )
        shown = await self._shown(repository, path, authorization, policy.accepted_s, may_ask=may_ask)
        if shown is Shown.REFUSED:
            self._tally("denied")
            raise Denied(f"{repository.registry} does not show {repository} to who has these credentials")
        if shown is Shown.ABSENT:
            raise self._absence(repository, path, "who has these credentials")
        self._tally("accepted")
        return Passage(repository, is_own=False, authorization=authorization, may_ask=may_ask)

    def _absence(self, repository: Repository, path: str, who: str) -> OciError:
        """What a client is told that the registry itself would tell that it has no such thing."""
        self._tally("absent")
        unknown = _UNKNOWN.get(path.partition("/")[0], NameUnknown)
        return unknown(f"{repository.registry} has no {path} of {repository} for {who}")

    async def _shown(
        self, repository: Repository, path: str, authorization: str, accepted_s: float, *, may_ask: bool
    ) -> Shown:
        """What the registry shows to who has some credentials; raises Unavailable where it does not say."""
        known = self._checks.known(repository, authorization, accepted_s)
        if known is not None:
            return known
        why, again_s = "this request came round in a circle", None
        if may_ask:
            try:
                return await self._checks.check(repository, path, authorization, accepted_s)
            except UpstreamError as error:
                why = str(error)
                again_s = error.retry_after_s if isinstance(error, UpstreamOut | UpstreamRateLimited) else None
        self._tally("unchecked")
        raise Unavailable(
            f"{repository} is private, and these credentials were not accepted within the last {accepted_s / 60:g} "
            f"minutes; they cannot be checked now: {why}",
            again_s,
        )

    async def release(self, passage: Passage, content: Content) -> None:
        """Let some content that is here go to a client that has been let in.

        Raises:
            ManifestUnknown, BlobUnknown: it is private elsewhere, and not known to be of that repository.
        """
        if self._policies.all_shared:
            return
        mark = self._marks.of(content.digest)
        if mark is None or str(passage.repository) in mark.names or self._is_free(mark):
            return
        if await self._is_there(passage, content):
            self._marks.add(content.digest, Mark.of(passage.repository))
            return
        self._tally("withheld")
        log.debug("%s is private elsewhere, and is not given as one of %s", content.digest, passage.repository)
        raise _UNKNOWN[content.kind](f"{content.digest} is not known to be one of {passage.repository}")

    def may_name(self, repository: Repository, digest: Digest) -> bool:
        """Whether a list of a repository may name some content, as far as is known: nobody is asked."""
        mark = None if self._policies.all_shared else self._marks.of(digest)
        return mark is None or str(repository) in mark.names or self._is_free(mark)

    def _is_free(self, mark: Mark) -> bool:
        """Whether everybody can have some content: by a confirmed name, or by all that are claimed."""
        if mark.names:
            return any(self.is_free(name) for name in mark.names)
        return bool(mark.claimed) and all(self.is_free(name) for name in mark.claimed)

    def is_free(self, name: str) -> bool:
        """Whether a repository, by its name as text, is known to be free to every client."""
        return self._policies.of(name).sharing is Sharing.SHARED or self._visibility.is_known_public(name)

    async def _is_there(self, passage: Passage, content: Content) -> bool:
        """Whether the repository has some content, as far as the client can have it."""
        if not passage.may_ask or self._was_absent(passage.repository, content.digest):
            return False
        path = f"{content.kind}/{content.digest}"
        try:
            if passage.is_own:
                await self._upstream.size(content)
                return True
            if await self._guests.shows(passage.repository, path, passage.authorization) is Shown.YES:
                return True
        except UpstreamUnknown:
            pass
        except UpstreamError as error:
            log.debug("whether %s has %s is not known: %s", passage.repository, content.digest, error)
            return False
        self._absent[content.digest.hex, str(passage.repository)] = self._now()
        while len(self._absent) > self._settings.absent_max:
            self._absent.popitem(last=False)
        return False

    def _was_absent(self, repository: Repository, digest: Digest) -> bool:
        at = self._absent.get((digest.hex, str(repository)))
        return at is not None and self._now() - at < self._settings.absent_s
