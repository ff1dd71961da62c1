"""One fetch: its life from the first reader to the verified blob, or to the failure that every reader gets."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from functools import partial

from ..cluster.homes import registry_key
from ..errors import MirrorError, OciError, Reason, SourceError, StorageFailed, Unavailable, WrongCopy
from ..oci.content import Content
from ..oci.digest import Digest
from .blame import Blame, Verdict
from .download import Download
from .environment import Environment
from .evidence import Evidence
from .intake import Intake
from .plan import EARLIER, Opening, Plan, Provenance
from .record import Phase, Record
from .repositories import Repositories
from .spool import Spool

log = logging.getLogger(__name__)


class Fetch:
    """Fetches one blob, or the parts of it that other members ask of this node as their home.

    Args:
        content: the blob to fetch, and the repository under which upstream is asked for it.
        env: the node's parts.
        on_detach: is called when whoever asks for the content from then on needs a new fetch.
        on_end: is called once, when nothing more will happen.
        are_several: whether more than one blob is being fetched for clients of this node.
        is_kept: whether the cache may keep the blob; else it passes through memory.
    """

    def __init__(
        self,
        content: Content,
        env: Environment,
        on_detach: Callable[["Fetch"], None],
        on_end: Callable[["Fetch"], None],
        are_several: Callable[[], bool],
        *,
        is_kept: bool = True,
    ) -> None:
        self.content = content
        self.record = Record(str(content.digest), str(content.repository), time.time())
        self._env = env
        self._detach = partial(on_detach, self)
        self._on_end = on_end
        self._phase = Phase.RUNNING
        self._started_at = time.monotonic()
        self._is_proven_wrong = False
        """The whole has another digest, and nobody could be found to blame."""
        self._changed = asyncio.Event()
        self._plan = _plan(content, env, are_several)
        self.requests_max = self._plan.chooser.window(is_alone=False)
        """How many requests it has under way at once for clients of this node, beside other fetches, as long as no
        holders turn up."""
        self.spool = Spool(content, env.settings.spool, self._changed.set, partial(_senders, self._plan))
        self._intake = Intake(content, self.spool, self._plan, self.record, env, self, is_kept=is_kept)
        self._blame = Blame(self.spool, self._plan, self._intake.retracted)
        self._evidence = Evidence(self.spool, self._plan, env, self.distrust, self.record)
        self.names = Repositories(content, env.settings.fetch.names_max)
        self._download = Download(
            self.names,
            self.spool,
            self._plan,
            evidence=self._evidence,
            intake=self._intake,
            record=self.record,
            env=env,
            changed=self._changed,
            on_hopeless=self._detach,
        )
        self.task = asyncio.create_task(self._run(), name=f"fetch {content.digest}")
        self.task.add_done_callback(lambda _: self._end_unless_ended())

    def add_name(self, content: Content) -> None:
        """Take note of another name for the same content: one repository may have what another lacks."""
        self._download.add_name(content)

    @property
    def provenance(self) -> Provenance:
        """Who sent which bytes so far."""
        return self._plan.provenance

    # For the bound of what passes through memory.

    @property
    def is_idle(self) -> bool:
        """Whether nobody reads it now."""
        return self.spool.idle.is_set()

    @property
    def was_read_locally(self) -> bool:
        """Whether a client of this node ever read it."""
        return self.spool.interest.was_read_locally

    async def evict(self) -> None:
        """End it, because its memory is needed."""
        self._detach()
        self.task.cancel()
        await asyncio.wait([self.task])

    # For other members.

    @property
    def whole_is_elsewhere(self) -> bool:
        """Whether another member is the home of the whole, since upstream serves no ranges."""
        return self._plan.candidates.whole_is_elsewhere()

    def origin(self, start: int, stop: int) -> tuple[str | None, int]:
        """The origin of the bytes from `start` on, and how far it goes; see `Provenance.origin`."""
        return self.provenance.origin(start, stop, self._plan.flights)

    async def distrust(self, names: Iterable[str], start: int, stop: int) -> bool:
        """Have what came from some members fetched once more, and everything of a range from others.

        Returns:
            Whether anything is fetched once more.
        """
        avoided = set(names)
        self._plan.avoid(avoided, start, stop)
        segments = [
            segment
            for segment in self._plan.provenance.within(start, stop)
            if segment.origin in avoided or segment.source in avoided
        ]
        is_possible = bool(segments) and not self.spool.is_complete and not self.spool.is_trimmed
        if is_possible:
            await self._blame.retract(segments)
            self._changed.set()
        return is_possible

    # Its own task.

    async def _run(self) -> None:
        """Fetch, verify, commit; whatever happens, the readers learn of it."""
        abandonment = asyncio.create_task(self._abandon_when_idle())
        try:
            with self._env.health.followed(self._changed.set):
                await self._fetch_verified()
                self._intake.commit(self.spool.hasher.proof())
                self.spool.finish()
                self._phase = Phase.COMPLETE
                self.record.seconds = time.monotonic() - self._started_at
                self._env.metrics.fetch_seconds.observe(self.record.seconds)
                await self._fetch_dropped()
        except MirrorError as error:
            self._fail(Phase.FAILED, error)
        except OSError as error:
            self._fail(Phase.FAILED, StorageFailed(f"the cache's disk failed: {error.strerror}"))
        except asyncio.CancelledError:
            phase = Phase.ABANDONED if self.spool.interest.was_read_locally else Phase.RELAYED
            self._fail(phase, Unavailable(f"the fetch of {self.content.digest} was given up"))
        except Exception:  # the root of a task: a bug here must not leave readers waiting for ever
            log.exception("the fetch of %s failed in a way that it should not", self.content.digest)
            self._fail(Phase.FAILED, Unavailable(f"the fetch of {self.content.digest} failed; the log says why"))
        finally:
            abandonment.cancel()
            self._detach()
            try:
                await self._evidence.close()
                if self._is_resumable:
                    await self._intake.look_for_ranges()
            finally:
                self._end()

    def _end_unless_ended(self) -> None:
        """Do what `_run` would have done, if its task was cancelled before it began."""
        if self._phase is Phase.RUNNING:
            self._fail(Phase.ABANDONED, Unavailable(f"the fetch of {self.content.digest} was given up"))
            self._end()

    def _end(self) -> None:
        self.record.outcome, self.record.origins = self._phase, self._plan.provenance.bytes_by_origin()
        self._intake.close(resumable=self._is_resumable)
        self._on_end(self)
        self._env.metrics.fetches.labels(self._phase).inc()
        self.record.write(log)

    def _fail(self, phase: Phase, error: MirrorError) -> None:
        if self._phase is Phase.COMPLETE:  # the blob was right; some who read it came back to what had been dropped
            self.spool.fail(error)
            return
        self._phase = phase
        self.record.seconds = _ended_at(phase, self.spool) - self._started_at
        if phase is Phase.FAILED and (member := self._intake.wrong_about_size) is not None:
            self._env.health.doubt(member, self.content.digest, sent_it=False)  # the word of others, which may be wrong
        if phase is not Phase.RELAYED:
            self.record.failures.append(str(error))
        for content in self.names.tried:
            self._env.absences.note(content, error)
        self._is_proven_wrong = isinstance(error, SourceError) and error.reason is Reason.CORRUPT
        self.spool.fail(error)

    @property
    def _is_resumable(self) -> bool:
        """Whether what is here may be left for the next fetch: only if nothing about it was ever in doubt."""
        return not (self._blame.has_refetched or self._intake.is_disputed or self._is_proven_wrong)

    async def _fetch_verified(self) -> None:
        """Fetch all bytes, and fetch again what may be wrong, until the digest is right."""
        digest = await self._download_and_hash()
        owner = None if digest == self.content.digest else self._blame.sole_owner()
        try:
            await self._mend(digest)
        except (SourceError, OciError) as error:
            if owner is None:
                raise
            # Whose copy it was answers for every byte. Its length is as wrong: what others have may not have fitted.
            self._judge(Verdict({owner: (0, self.spool.size or 0)}, {}, {}))
            raise WrongCopy(f"{self.content.digest}: the copy of {owner} has another digest") from error

    async def _fetch_dropped(self) -> None:
        """Where a part of the blob is held: fetch once more what those need who still read it, but nobody new."""
        self._detach()
        if self.spool.is_trimmed:
            await self._download.run(self.spool.idle.is_set)
            self.spool.fail(Unavailable(f"the fetch of {self.content.digest} has ended"))

    async def _mend(self, digest: Digest) -> None:
        """Fetch again what may be wrong, until the digest, which was found for the whole, is right."""
        blame, rounds, wanted = self._blame, self._blame.rounds(), self.content.digest
        while digest != wanted and not self.spool.is_trimmed:  # bytes that were dropped cannot be compared
            segments = next(rounds, None)
            if segments is None:
                break
            if segments or blame.has_refetched:
                names = ", ".join(sorted({segment.origin for segment in segments}))
                log.info(
                    "%s: wrong digest; fetching %d segments again, not from %s",
                    self.content.digest, len(segments), names,
                )  # fmt: skip
                await blame.retract(segments)
                digest = await self._download_and_hash()
                await blame.compare()
        if digest != wanted:
            names = ", ".join(self._plan.provenance.origins())
            raise SourceError(Reason.CORRUPT, f"{self.content.digest}: what {names} sent has another digest")
        self._judge(await blame.verdict())

    def _judge(self, verdict: Verdict) -> None:
        """Leave those alone that sent wrong bytes: for long where that is proven, else for some seconds."""
        health, digest = self._env.health, self.content.digest
        for name in sorted({*verdict.proven, *verdict.doubted}):
            self.record.failures.append(f"{name} sent wrong bytes")
        for name in sorted(verdict.proven):
            health.sent_corrupt(name, digest)
        for name in sorted({*verdict.doubted, *verdict.named}):
            health.doubt(name, digest, sent_it=name in verdict.doubted)
        for name, wrong in {**verdict.doubted, **verdict.proven}.items():
            health.tell(name, self.content, wrong)

    async def _download_and_hash(self) -> Digest:
        """Download what is missing, hashing along; return the digest of the whole."""
        hashing = asyncio.create_task(self.spool.hash(self._intake.append_prefix))
        hashing.add_done_callback(lambda _: self._changed.set())
        try:
            await self._download.run(hashing.done)
            return await hashing
        finally:
            hashing.cancel()
            await asyncio.gather(hashing, return_exceptions=True)

    async def _abandon_when_idle(self) -> None:
        """Stop a fetch that nobody has read for a while."""
        while True:
            await self.spool.idle.wait()
            await asyncio.sleep(self._env.settings.fetch.idle_s)
            if self.is_idle:
                self._detach()  # whoever asks from now on gets a new fetch, which does not end with this one
                self.task.cancel()


def _ended_at(phase: Phase, spool: Spool) -> float:
    """When a fetch was of no more use, monotonic seconds: one that nobody reads waits for a while before it ends."""
    is_given_up = phase in (Phase.RELAYED, Phase.ABANDONED) and not len(spool.readers)
    return spool.readers.idle_at if is_given_up else time.monotonic()


def _plan(content: Content, env: Environment, are_several: Callable[[], bool]) -> Plan:
    """The plan of a fetch that begins now."""
    key, cluster = content.digest.key, env.cluster
    holders = [peer.name for peer in (*cluster.holders(key), *cluster.last_holders(key))]
    registry, is_manifest = content.repository.registry, content.kind == "manifests"
    ring_key = registry_key(registry) if is_manifest and env.is_scarce(registry) else key
    ring = cluster.ring(ring_key, without=set(holders))
    opening = Opening.PIECE if env.cache.has_partial(content.digest) else Opening.RUN
    if is_manifest:
        opening = Opening.WHOLE
    stated = env.opinion.stated(content)
    plan = Plan(
        cluster.me,
        ring,
        env.throughput,
        holders,
        env.settings.plan,
        opening,
        stated=stated,
        are_several=are_several,
    )
    if env.outages.is_told(registry, time.monotonic()):
        plan.candidates.troubles.is_told_out = True
    return plan


def _senders(plan: Plan, start: int, stop: int) -> set[str] | None:
    """All that had a part in bytes of a range; None if an earlier fetch had: who sent it these bytes is forgotten."""
    senders = plan.provenance.senders(start, stop, plan.flights)
    return None if EARLIER in senders else senders
