"""What a tag means now. A digest never changes, a tag does.

Upstream says what a tag means, by HEAD, which Docker Hub does not count as a pull. The tag's home asks upstream, and
the others ask the home, or the next one if it fails. What a home says is its word alone, for no digest proves it. So
it counts by itself only if the tag means what upstream has told this node before. A tag that is new to this node, or
that has changed, is asked of upstream by this node, before the client has its answer; if upstream does not answer in
time, the client gets the home's word with a warning. What homes repeat is checked afterwards, now and then
(`tag_audit`).

If upstream cannot be reached, the newest answer that any member knows is good enough. If upstream knows no such tag, or
shows it to nobody with our credentials, an image that was tagged or imported by hand in some member's runtime is the
answer; what upstream said before is none, unless the operator wants that.

A tag that was pushed to this cluster, or loaded into it, means that, whatever upstream says, until it is deleted: its
policy can say otherwise (`upstream-wins`). Every member knows these tags (`own_tags`).

While a registry does not answer, or that is being found out, a client does not wait for it to learn what is known.

Who wants to `verify` takes no member's word: upstream is asked, and without it only this node's own stores count. Who
wants to `trust` takes the home's, so that upstream is asked once for the whole cluster.
"""

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from ..errors import (
    ManifestUnknown,
    Reason,
    UpstreamError,
    UpstreamOffline,
    UpstreamOut,
    UpstreamRateLimited,
    UpstreamUnknown,
)
from ..oci.digest import Digest
from ..oci.reference import Reference
from ..settings import ImageSettings
from ..sources import Standing, TagSource
from ..stores import Tag, TagStore
from .holdings import Holdings
from .member_tags import Claim, MemberTags
from .refusals import refusal
from .tag_audit import TagAudit
from .tag_checks import TagChecks
from .tag_policies import TagPolicies, TagPolicy
from .tag_trust import TagTrust

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tag means.

    Args:
        tag: the digest, and how it is known.
        warning: what a person should know about it (for a `Warning` header), or None if upstream has just said so.
        member: the member that says so; None if upstream told this node, or that is not known any more.
    """

    tag: Tag
    warning: str | None = None
    member: str | None = None


class Tags:
    """Resolves references.

    Args:
        holdings: what this node's own stores know.
        cache: where answers are kept.
        members: what other members know.
        upstream: asks registries.
        trust: is told of members that contradict upstream.
        settings: for how long answers are believed.
        how: `verify`: this node asks no member about tags, but upstream itself; `trust`: what a home says counts.
        denied: whether a tag that upstream denies is answered with what it meant before.
        policies: for how long upstream's word is good, by the tag's name.
    """

    def __init__(  # noqa: PLR0913 - what a tag's meaning is put together from
        self,
        holdings: Holdings,
        cache: TagStore,
        members: MemberTags,
        upstream: TagSource,
        trust: TagTrust,
        settings: ImageSettings | None = None,
        *,
        how: Literal["sample", "verify", "trust"] = "sample",
        denied: Literal["refuse", "serve"] = "refuse",
        policies: TagPolicies | None = None,
    ) -> None:
        self._policies = replace(policies or TagPolicies(), usual_s=(settings or ImageSettings()).tag_fresh_s)
        self._holdings = holdings
        self._cache = cache
        self._members = members
        self._upstream = upstream
        self._settings = settings = settings or ImageSettings()
        self._verify, self._trusts = how == "verify", how == "trust"
        self._serves_denied = denied == "serve"
        self._checks = TagChecks(cache, upstream, settings)
        self._audit = TagAudit(members, self._checks, trust, settings)
        self._resolutions: dict[Reference, asyncio.Task[Answer]] = {}
        self._asking: set[asyncio.Task[Claim | None]] = set()
        """Questions to homes."""

    async def close(self) -> None:
        """Give up what is under way."""
        tasks = [*self._resolutions.values(), *self._asking]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._audit.close()
        await self._checks.close()

    async def resolve(self, reference: Reference, *, fresh: bool = False) -> Answer:
        """Find out what a reference means; all who ask at the same moment share one search.

        Args:
            reference: the tag.
            fresh: whether upstream is to be asked now, whatever this node and the homes know.

        Raises:
            OciError: nobody knows it, or nobody who may know it can be asked.
        """
        policy = self._policies.of(reference)
        if (pushed := _pushed(self._holdings.tags(reference), policy)) is not None:
            return Answer(pushed)
        if not policy.asks_upstream:
            return await self._resolve_without_upstream(reference, UpstreamOffline("its policy is never-upstream"))
        if fresh:
            return await self._resolve_now(reference)
        known = self._cache.tag(reference)
        if known is not None and self._is_fresh(reference, known):
            return Answer(known)
        task = self._resolving(reference, known)
        if known is not None and _age_s(known) < self._policies.fresh_s(reference) + policy.revalidate_s:
            return self._old(reference, known, "upstream is asked meanwhile")
        return await asyncio.shield(task)

    def _resolving(self, reference: Reference, known: Tag | None) -> asyncio.Task[Answer]:
        """The search that is under way, or a new one."""
        task = self._resolutions.get(reference)
        if task is None:
            task = self._resolutions[reference] = asyncio.create_task(self._resolve(reference, known))
            task.add_done_callback(lambda done: self._end(reference, done))
        return task

    async def check(self, reference: Reference, *, recheck: bool = False) -> Tag:
        """What upstream says of a tag, for another member, which takes this node for the tag's home.

        Args:
            reference: the tag.
            recheck: whether the member doubts the last answer: then one of some seconds ago is too old.

        Raises:
            UpstreamError: upstream does not say, or says that there is no such tag.
        """
        if not self._policies.of(reference).asks_upstream:
            raise UpstreamOffline("its policy is never-upstream")
        age_s = self._settings.tag_recheck_s if recheck else self._policies.fresh_s(reference)
        return self._checks.own(reference, age_s) or await self._checks.check(reference)

    async def has_moved(self, reference: Reference, gone: Digest) -> bool:
        """Whether a tag means something else by now than a manifest that is nowhere to be had; upstream is asked.

        Registries may delete what a tag has meant as soon as it means something else.
        """
        if not self._policies.of(reference).asks_upstream:
            return False
        try:
            own = self._checks.own(reference, self._settings.tag_recheck_s)
            return (own or await self._checks.check(reference)).digest != gone
        except UpstreamError:
            return False

    def local(self, reference: Reference) -> Tag | None:
        """What this node knows by itself."""
        tags = self._holdings.tags(reference)
        return _pushed(tags, self._policies.of(reference)) or _newest(tags)

    def _is_fresh(self, reference: Reference, tag: Tag) -> bool:
        """Whether upstream said it a moment ago, to this node or to another."""
        return 0 <= _age_s(tag) < self._policies.fresh_s(reference)

    def _end(self, reference: Reference, task: asyncio.Task[Answer]) -> None:
        del self._resolutions[reference]
        if not task.cancelled():
            task.exception()  # if all who asked have gone meanwhile, nobody else looks at it

    async def _resolve(self, reference: Reference, known: Tag | None) -> Answer:
        claiming = self._begin(self._claim(reference))
        try:
            standing = self._upstream.standing(reference.repository.registry)
            known_s = self._settings.tag_doubted_s if standing is Standing.DOUBTED else self._settings.tag_known_s
            if (known is not None or self._trusts) and await _is_within(known_s, claiming):
                claim = claiming.result()
                known = self._cache.tag(reference) or known  # upstream may have told this node something else meanwhile
                if claim is not None and self._is_believed(reference, claim, known):
                    if not self._trusts:
                        self._audit.sample(reference, claiming)
                    await self._cache.put_tag(reference, claim.tag)
                    return Answer(claim.tag, member=claim.peer.name)
            return await self._ask_upstream(reference, claiming)
        except UpstreamError as error:
            return await self._resolve_without_upstream(reference, error)

    def _begin(self, question: Coroutine[Any, Any, Claim | None]) -> asyncio.Task[Claim | None]:
        """Ask homes. That goes on when the client has its answer: a home may tell that it cannot reach the registry."""
        task = asyncio.create_task(question)
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)
        return task

    async def _resolve_now(self, reference: Reference) -> Answer:
        """Ask upstream, however fresh the last answer is."""
        try:
            return Answer(await self._checks.ask(reference))
        except UpstreamError as error:
            return await self._resolve_without_upstream(reference, error)

    async def _claim(self, reference: Reference) -> Claim | None:
        return None if self._verify else await self._members.from_homes(reference)

    async def _later_claim(self, reference: Reference) -> Claim | None:
        return None if self._verify else await self._members.from_later_homes(reference)

    def _is_believed(self, reference: Reference, claim: Claim, known: Tag | None) -> bool:
        """Whether a home says, of a moment ago, what upstream has told this node before; or is trusted."""
        is_repeated = known is not None and claim.tag.digest == known.digest
        is_newest = known is None or known.checked_unix_s <= claim.tag.checked_unix_s
        return (is_repeated or (self._trusts and is_newest)) and self._is_fresh(reference, claim.tag)

    async def _ask_upstream(self, reference: Reference, claiming: asyncio.Task[Claim | None]) -> Answer:
        """Upstream's word, to this node; if that does not come in time, a home's with a warning.

        Raises:
            UpstreamError: there is neither.
        """
        registry, late_s = reference.repository.registry, self._settings.tag_known_s
        is_asked = self._upstream.standing(registry) is Standing.ASKED
        checking = self._checks.start(reference)
        if not await _is_within(late_s if is_asked else 0.0, checking) and not _has_claim(claiming):
            # What members say waits for upstream longer, and what upstream has denied lately for its word.
            newest = None if self._checks.was_denied(reference) else _newest(self._holdings.tags(reference))
            if newest is not None:
                late = f"upstream has not answered within {late_s:g} s"
                return self._old(reference, newest, late if is_asked else f"{registry} does not answer")
        await asyncio.wait([checking], timeout=self._settings.tag_check_s)
        if not checking.done():
            why = f"upstream has not confirmed it within {self._settings.tag_check_s:g} s"
        elif (error := checking.exception()) is not None:
            why = f"upstream did not confirm it: {error}"
        else:
            self._audit.begin(reference, claiming, checking.result())
            return Answer(checking.result())
        claim = await self._unless_known(reference, claiming)
        if claim is None:
            try:
                return Answer(await asyncio.shield(checking))
            except (UpstreamRateLimited, UpstreamOut):  # the homes after this node may be able to ask
                claim = await self._unless_known(reference, self._begin(self._later_claim(reference)))
                if claim is None:
                    raise
        log.debug("tag %s: %s says %s, and %s", reference, claim.peer.name, claim.tag.digest, why)
        return Answer(claim.tag, f"what member {claim.peer.name} says; {why}", claim.peer.name)

    async def _unless_known(self, reference: Reference, asking: asyncio.Task[Claim | None]) -> Claim | None:
        """What a home claims; where the tag is known already, only if the home says so soon."""
        if not await _is_within(self._settings.tag_known_s, asking) and await self._known(reference):
            return None
        return await asyncio.shield(asking)

    async def _known(self, reference: Reference) -> list[Tag]:
        """What this node's stores and, unless they are not believed, the members know."""
        tags = list(self._holdings.tags(reference))
        if not self._verify:
            tags += [tag for _, tag in await self._members.known(reference)]
        return tags

    async def _resolve_without_upstream(self, reference: Reference, error: UpstreamError) -> Answer:
        """Take the newest answer of this node and the members; where upstream denies the tag, that of a runtime."""
        tags = await self._known(reference)
        kept_s = self._policies.fresh_s(reference) + self._policies.of(reference).error_s
        newest = _newest(tag for tag in tags if _age_s(tag) < kept_s or tag.authority == "pushed")
        if newest is None:
            who = "this node does not know" if self._verify else "no member knows"
            raise refusal(f"{who} {reference}", error, ManifestUnknown)
        is_unknown = isinstance(error, UpstreamUnknown) and not self._checks.has_newer(reference, newest.checked_unix_s)
        if is_unknown or error.reason is Reason.AUTH:
            by_hand = _newest(tag for tag in tags if tag.authority != "upstream")
            if by_hand is None and not self._serves_denied:
                raise _denied(reference, error, newest, "this node" if self._verify else "the cluster")
            newest = by_hand or newest
        return self._old(reference, newest, str(error))

    def _old(self, reference: Reference, tag: Tag, why: str) -> Answer:
        """An answer that upstream has not confirmed now, and why not."""
        log.debug("tag %s: %s by %s, instead of upstream: %s", reference, tag.digest, tag.authority, why)
        whose = "this node" if self._verify else "a member"
        return Answer(tag, f"{_age(time.time() - tag.checked_unix_s)} old answer of {whose}: {why}")


async def _is_within(seconds: float, task: "asyncio.Task[Any]") -> bool:
    """Whether a task ends within some time."""
    await asyncio.wait([task], timeout=seconds)
    return task.done()


def _has_claim(claiming: asyncio.Task[Claim | None]) -> bool:
    """Whether a home has said already what upstream says."""
    return claiming.done() and claiming.result() is not None


def _pushed(tags: Iterable[Tag], policy: TagPolicy) -> Tag | None:
    """What was pushed under a name, if that counts more than upstream's word."""
    return None if policy.upstream_wins else next((tag for tag in tags if tag.authority == "pushed"), None)


def _newest(tags: Iterable[Tag]) -> Tag | None:
    """Among different answers the one that was checked last, never the first to arrive."""
    return max(tags, key=lambda tag: (tag.checked_unix_s, tag.digest.hex), default=None)


def _denied(reference: Reference, error: UpstreamError, held: Tag, who: str) -> ManifestUnknown:
    """What a client is told where upstream denies a tag that somebody here holds."""
    ago = _age(time.time() - held.checked_unix_s)
    return ManifestUnknown(
        f"{reference} is denied: {error}. What it meant {ago} ago, {held.digest}, {who} holds: ask for that digest, or "
        "set --denied-tags serve"
    )


def _age_s(tag: Tag) -> float:
    """How long ago upstream said what a tag means, s; negative if that is to come, by this node's clock."""
    return time.time() - tag.checked_unix_s


def _age(seconds: float) -> str:
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "a moment"
