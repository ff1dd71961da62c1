"""Compares what homes say of tags with what upstream says to this node, after the client has its answer."""

import asyncio
import logging
import random

from ..errors import PeerError, UpstreamError
from ..oci.reference import Reference
from ..settings import ImageSettings
from ..stores import Tag
from .member_tags import Claim, MemberTags
from .tag_checks import TagChecks
from .tag_trust import TagTrust

log = logging.getLogger(__name__)


class TagAudit:
    """Finds members that say of a tag what upstream does not say.

    A tag moves, so an answer of some seconds ago may be right and differ. The member is therefore told to ask upstream
    anew, and this node asks before and after it: only who says something else while upstream says the same twice has
    contradicted it.

    Args:
        members: asks the member again.
        checks: asks upstream.
        trust: is told who contradicted upstream.
        settings: how many answers are checked, and how soon a member is asked again.
        rng: chooses them; no member may be able to foresee which.
    """

    def __init__(
        self,
        members: MemberTags,
        checks: TagChecks,
        trust: TagTrust,
        settings: ImageSettings | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._members = members
        self._checks = checks
        self._trust = trust
        self._settings = settings or ImageSettings()
        self._rng = rng or random.SystemRandom()
        self._running: dict[Reference, asyncio.Task[None]] = {}

    async def close(self) -> None:
        """Give up what is under way."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def sample(self, reference: Reference, claiming: asyncio.Task[Claim | None]) -> None:
        """Perhaps check a claim that a tag means what it meant before."""
        if self._rng.randrange(self._settings.tag_sample) == 0:
            self.begin(reference, claiming, None)

    def begin(self, reference: Reference, claiming: asyncio.Task[Claim | None], said: Tag | None) -> None:
        """Check a claim, unless one about the same tag is being checked, or too many are.

        Args:
            reference: the tag.
            claiming: brings the claim, and ends with the check.
            said: what upstream has just said to this node; None: it has not been asked.
        """
        if reference in self._running or len(self._running) >= self._settings.tag_audits_max:
            claiming.cancel()
            return
        task = self._running[reference] = asyncio.create_task(self._run(reference, claiming, said))
        task.add_done_callback(lambda _: self._running.pop(reference))

    async def _run(self, reference: Reference, claiming: asyncio.Task[Claim | None], said: Tag | None) -> None:
        claim = await claiming
        if claim is None:
            return
        try:
            before = said or await self._checks.check(reference)
            if before.digest == claim.tag.digest:
                return
            await asyncio.sleep(self._settings.tag_recheck_s)
            again = await self._members.recheck(claim.peer, reference)
            after = await self._checks.ask(reference)
        except (PeerError, UpstreamError) as error:
            log.info("tag %s: what %s says cannot be compared with upstream: %s", reference, claim.peer.name, error)
            return
        if before.digest == after.digest != again.digest:
            self._trust.contradicted(claim.peer.name, reference, again.digest, after.digest)
