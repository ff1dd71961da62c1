"""Leases: while content is taken from containerd's store, containerd keeps the whole image that it belongs to.

The kubelet removes an image that no container uses, and knows nothing of a member that is in the middle of pulling it.
A lease keeps the image's content, not what was unpacked of it. It is asked for beside the answer, which never waits for
it, and it ends

    - a while after the last request for anything of the image, or when the agent stops: then it is deleted here. After
      a crash, the agent that starts next does so with the leases that it finds;
    - at a time that it names itself, if nobody deletes it: after a crash, or where members go on asking for an image
      that was removed. For such an image a lease is not renewed, nor a new one taken.

A lease cannot be made longer: to renew it, another one is made, and then it is deleted.

Source: containerd, docs/garbage-collection.md; api/services/leases/v1.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from ...errors import DigestInvalid
from ...oci.digest import Digest
from ...settings import LeaseSettings
from .client import Client, ContainerdError, Refused
from .messages import Lease
from .trees import Trees

log = logging.getLogger(__name__)

_EXPIRE: Final = "containerd.io/gc.expire"
"""Names the time at which a lease ends by itself. Source: containerd, docs/garbage-collection.md; so does `gc.flat`."""
_FLAT: Final = "containerd.io/gc.flat"
"""Has a lease keep only what it names: of a manifest with all that it refers to, snapshots would stay as well."""
_OURS: Final = "skvaller/image"
"""Marks the leases of an agent, and says of which image they are."""


@dataclass(slots=True)
class _Use:
    """How some content is being taken: by how many now, and when somebody last began or ended, monotonic s."""

    readers: int
    last_at: float


@dataclass(frozen=True, slots=True)
class _Granted:
    """A lease that containerd has, or had a moment ago.

    Args:
        image: that it keeps.
        content: what it keeps, once it keeps all that belongs to the image; empty if an agent made it that ran before.
        made_at: when it was made, or found, monotonic s.
        ends_unix_s: when it ends by itself.
    """

    image: Digest
    content: frozenset[Digest]
    made_at: float
    ends_unix_s: float


class Leases:
    """What is being taken from the store, and the leases that keep it.

    Args:
        holds: whether the store has some content.
        settings: how long and how many.
        now: gives monotonic seconds.
        now_unix_s: gives Unix time, s, which containerd has as well.
    """

    def __init__(
        self,
        holds: Callable[[Digest], bool],
        settings: LeaseSettings,
        now: Callable[[], float] = time.monotonic,
        now_unix_s: Callable[[], float] = time.time,
    ) -> None:
        self._holds = holds
        self._settings = settings
        self._now = now
        self._now_unix_s = now_unix_s
        self._trees = Trees()
        self._uses: dict[Digest, _Use] = {}
        self._new: set[Digest] = set()
        """What is taken, and for which it is to be found out whether it has a lease."""
        self._asked = asyncio.Event()
        self._granted: dict[str, _Granted] = {}
        self._is_refused = False

    def __len__(self) -> int:
        return len(self._granted)

    @property
    def kept(self) -> frozenset[Digest]:
        """What stays in containerd for now, even if nothing else keeps it there."""
        return frozenset().union(*(granted.content for granted in self._granted.values()))

    @contextlib.contextmanager
    def taking(self, digest: Digest) -> Iterator[None]:
        """Note that a client or a member is given some content, as long as the context lasts. Costs no waiting."""
        if not self._holds(digest):
            yield
            return
        use = self._uses.get(digest)
        if use is None:
            use = self._uses[digest] = _Use(0, 0.0)
            self._new.add(digest)
            self._asked.set()
        use.readers += 1
        use.last_at = self._now()
        try:
            yield
        finally:
            use.readers -= 1
            use.last_at = self._now()

    def listed(self, trees: Trees) -> None:
        """Know from now on what containerd's images consist of."""
        self._trees = trees
        self._reconsider(self._uses)

    async def keep(self, client: Client, on_ended: Callable[[], object]) -> None:
        """Take and end leases, until the connection is lost. Never returns.

        Args:
            client: the connection.
            on_ended: called after a lease has ended: containerd now collects what only that kept.
        """
        with contextlib.suppress(Refused):  # said when a lease is wanted
            await self._find_left(client)
        while True:
            try:
                await self.look(client, on_ended)
            except Refused as error:
                self._note_refused(error)
                await asyncio.sleep(self._settings.retry_s)
                self._reconsider(self._uses)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.look_s if self._uses or self._granted else None):
                    await self._asked.wait()

    async def look(self, client: Client, on_ended: Callable[[], object]) -> None:
        """Take and end the leases whose time has come; raise ContainerdError."""
        await self._take(client)
        await self._end(client, on_ended)
        if self._is_refused and self._granted:
            self._is_refused = False
            log.info("containerd grants leases again")

    async def release(self, client: Client) -> None:
        """End all leases."""
        for lease_id in list(self._granted):
            await self._delete(client, lease_id)

    async def _find_left(self, client: Client) -> None:
        """Learn which leases there are: those that an agent left that ran here before end as those of this one do."""
        found = {lease.id: lease for lease in await client.leases(_OURS)}
        self._granted = {lease_id: it for lease_id, it in self._granted.items() if lease_id in found}
        for lease in found.values():
            if lease.id not in self._granted:
                with contextlib.suppress(DigestInvalid):
                    image, ends_unix_s = Digest.parse(lease.labels[_OURS]), _unix_s(lease.labels.get(_EXPIRE, ""))
                    self._granted[lease.id] = _Granted(image, frozenset(), self._now(), ends_unix_s)
        self._reconsider(self._uses)

    async def _take(self, client: Client) -> None:
        """Take leases for what is new."""
        self._asked.clear()
        while self._new:
            digest = self._new.pop()
            if any(digest in self._kept_by(granted) for granted in self._granted.values()):
                continue
            for image in self._trees.with_content(digest, self._settings.sharing_max):
                if len(self._granted) < self._settings.images_max:
                    await self._grant(client, image)

    async def _grant(self, client: Client, image: Digest) -> None:
        """Have containerd keep an image."""
        content = self._trees.of(image, self._settings.contents_max)
        lease_id, ends_unix_s = f"skvaller-{secrets.token_hex(8)}", self._now_unix_s() + self._settings.lasts_s
        ends = datetime.fromtimestamp(ends_unix_s, UTC).isoformat(timespec="seconds")
        # Known before it is there: an agent that is stopped meanwhile ends it.
        self._granted[lease_id] = _Granted(image, frozenset(), self._now(), ends_unix_s)
        try:
            await client.create_lease(Lease(lease_id, {_EXPIRE: ends, _FLAT: "true", _OURS: str(image)}))
            for digest in content:
                await client.add_content(lease_id, str(digest))
        except ContainerdError as error:
            if isinstance(error, Refused):  # else it is found when containerd answers again
                await self._delete(client, lease_id)
            self._granted.pop(lease_id, None)
            raise
        self._granted[lease_id] = replace(self._granted[lease_id], content=frozenset(content))
        log.debug("containerd keeps image=%s lease=%s contents=%d until=%s", image, lease_id, len(content), ends)

    async def _end(self, client: Client, on_ended: Callable[[], object]) -> None:
        """End the leases whose time has come, and renew those of images that somebody still takes."""
        now, idle_s = self._now(), self._settings.idle_s
        self._uses = {it: use for it, use in self._uses.items() if use.readers or now - use.last_at < idle_s}
        for lease_id, granted in list(self._granted.items()):
            age_s = now - granted.made_at
            is_taken = age_s < idle_s or not self._kept_by(granted).isdisjoint(self._uses)
            if is_taken and age_s >= self._settings.renew_s and self._trees.has(granted.image):
                await self._grant(client, granted.image)
            elif is_taken and self._now_unix_s() < granted.ends_unix_s:
                continue
            await self._delete(client, lease_id)
            on_ended()

    async def _delete(self, client: Client, lease_id: str) -> None:
        with contextlib.suppress(Refused):  # it is gone already, or ends by itself
            await client.delete_lease(lease_id)
        self._reconsider(self._kept_by(self._granted.pop(lease_id)) & self._uses.keys())

    def _kept_by(self, granted: _Granted) -> frozenset[Digest]:
        return granted.content or frozenset(self._trees.of(granted.image, self._settings.contents_max))

    def _reconsider(self, digests: Iterable[Digest]) -> None:
        """Find out anew whether some of what is taken has a lease."""
        self._new.update(digests)
        if self._new:
            self._asked.set()

    def _note_refused(self, error: Refused) -> None:
        """Log once that there are no leases, until there are."""
        if not self._is_refused:
            log.warning(
                "containerd grants no lease, trying on: if an image is removed here while another node pulls it, "
                "that pull may fail error=%s",
                error,
            )
        self._is_refused = True


def _unix_s(text: str) -> float:
    """Read a time of RFC 3339; what is none is long past."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0
