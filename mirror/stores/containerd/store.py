"""A store that follows containerd: what its namespace holds, known from its API, read from its files.

Events only say that something changed. What containerd holds is always read from a full listing, and compared with what
was known. So a missed event costs time, but nothing becomes wrong. While containerd is away the store keeps what it
knows, for the files stay readable; when containerd is back, everything is listed and checked again. What a lease alone
keeps is listed like everything else, and so it is served until containerd has collected it.
"""

import asyncio
import contextlib
import errno
import logging
import os
import random
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Final

from ...errors import ConfigError, DigestInvalid, StorageFailed
from ...fileio import LACKS, tells_of_file
from ...oci.digest import Digest
from ...oci.reference import Reference
from ...settings import ContainerdSettings
from .. import Held, Listener, Tag
from ..checking import Checker, FileChecks, Findings, Identity, Nowhere
from .client import Client, ContainerdError
from .connection import Connection
from .folder import ContentFolder
from .leases import Leases
from .relist import RelistSchedule
from .sources import Sources
from .tags import tags_of
from .trees import Trees

log = logging.getLogger(__name__)

_SOCKET_PATH_MAX_BYTES: Final = 107
"""unix(7): sun_path has 108 bytes with its terminator."""
_NAMESPACE: Final = re.compile(r"[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*")
_NAMESPACE_MAX_CHARACTERS: Final = 76
"""containerd, pkg/identifiers: the longest name that it accepts."""


class ContainerdStore:
    """Serves what one namespace of a running containerd holds. It reads, and takes leases, but changes nothing else.

    Args:
        address: containerd's gRPC socket: an absolute path, or a URL `unix:///path`.
        namespace: Kubernetes keeps its images in `k8s.io`, `ctr` in `default`, Docker in `moby`.
        settings: bounds on calls, and times between listings.
        on_damaged: called when a file was found damaged.
        is_offered: whether content, or an image, that was pulled under some names is served at all.

    Raises:
        ConfigError: address or namespace is malformed. If nobody answers at the address, that is no error: containerd
            may start later.
    """

    name: Final = "containerd"

    def __init__(
        self,
        address: str | Path,
        namespace: str = "k8s.io",
        settings: ContainerdSettings | None = None,
        on_damaged: Callable[[], object] = lambda: None,
        is_offered: Callable[[frozenset[str]], bool] = lambda names: True,
    ) -> None:
        self._on_damaged = on_damaged
        self.sources = Sources(is_offered)
        """Under which names its content was pulled."""
        self._settings = settings or ContainerdSettings()
        self._socket = _socket_path(str(address))
        if len(namespace) > _NAMESPACE_MAX_CHARACTERS or not _NAMESPACE.fullmatch(namespace):
            raise ConfigError(
                f"containerd-namespace {namespace[:100]!r} is not letters and digits, joined by . _ or -, "
                f"{_NAMESPACE_MAX_CHARACTERS} characters at most"
            )
        self._namespace = namespace
        self._folder = ContentFolder(Path())
        self._sizes: dict[Digest, int] = {}
        self._tags: dict[Reference, Tag] = {}
        self._listener: Listener | None = None
        self._task: asyncio.Task[None] | None = None
        self._connection = Connection(self._socket, namespace)
        self.leases = Leases(lambda digest: digest in self._sizes, self._settings.leases)
        """Keep in containerd what is being taken from here."""
        self._unreadable = False
        findings = Findings(self._found_corrupt, self._found_failing)
        self._checker = Checker(findings, Nowhere(), self._settings.checks)
        self._corrupt: dict[Digest, Identity] = {}
        """Files that are not the content that they are named by, as they were when that was found."""
        self._failing: dict[Digest, float] = {}
        """Files that open, but that the disk does not give; and until when they are not tried again."""
        self._dropped: set[Digest] = set()
        """What was dropped since the last listing began, which may not know it."""

    @property
    def connected(self) -> bool:
        """Whether containerd answers. If not, the store serves what it knew last."""
        return self._connection.is_up

    @property
    def counts(self) -> tuple[int, int]:
        """How many blobs can be served now, and how many tags are known."""
        return len(self._sizes), len(self._tags)

    async def start(self, listener: Listener) -> None:
        """Begin to follow containerd. If it answers in time, return when what it holds has been reported."""
        self._listener = listener
        self._task = asyncio.create_task(self._run(), name=f"containerd {self._socket}")
        await self._connection.tried(self._settings.start_patience_s)

    async def close(self) -> None:
        """Stop. Nothing is served any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        await self._release()
        await self._checker.close()
        self._listener = None
        self._connection.closed()
        self._sizes, self._tags = {}, {}

    def open(self, digest: Digest) -> Held | None:
        """Open content in containerd's own folder; return None, and withdraw it, if the file is gone or broken."""
        size = self._sizes.get(digest)
        if size is None:
            return None
        try:
            fd = self._folder.open(digest, size)
        except OSError as error:
            if tells_of_file(error):
                self._drop(digest, error)
                return None
            raise StorageFailed(f"{digest} cannot be opened in containerd's folder: {error.strerror}") from error
        return Held(fd, size, self.name, FileChecks(self._checker, digest, size))

    def tag(self, reference: Reference) -> Tag | None:
        """What a tag means in the runtime's own store."""
        return self._tags.get(reference)

    def references(self) -> Collection[Reference]:
        """The tags in the runtime's own store."""
        return self._tags.keys()

    def mark_redundant(self, keys: Collection[bytes]) -> None:
        """Do nothing: this content belongs to the runtime."""

    async def _run(self) -> None:
        """Connect, follow, and connect again, until cancelled."""
        now = asyncio.get_running_loop().time
        backoff_s = self._settings.backoff_min_s
        try:
            while True:
                began_at = now()
                try:
                    await self._follow(Client(self._socket, self._namespace, self._settings))
                except* ContainerdError as lost:
                    self._connection.note_lost(lost.exceptions[0], self.counts)
                if now() - began_at > self._settings.backoff_max_s:
                    backoff_s = self._settings.backoff_min_s
                await asyncio.sleep(backoff_s * random.uniform(0.5, 1.0))
                backoff_s = min(2 * backoff_s, self._settings.backoff_max_s)
        except Exception:
            log.exception("containerd store stopped address=%s", self._socket)

    async def _follow(self, client: Client) -> None:
        """List once, and then whenever a listing is due, and keep what is taken, until the connection fails."""
        self._folder = ContentFolder(await client.content_root())
        schedule = RelistSchedule(asyncio.get_running_loop().time(), self._settings)
        changed = asyncio.Event()

        def may_be_gone() -> None:
            schedule.note_change(asyncio.get_running_loop().time())
            changed.set()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_watch(client, schedule, changed))
            tasks.create_task(self._keep_listing(client, schedule, changed))
            tasks.create_task(self.leases.keep(client, may_be_gone))

    async def _release(self) -> None:
        """End what is kept for others, if containerd answers in time."""
        if not self.leases or not self._connection.is_up:
            return
        with contextlib.suppress(ContainerdError, TimeoutError):
            async with asyncio.timeout(self._settings.leases.release_s):
                await self.leases.release(Client(self._socket, self._namespace, self._settings))

    async def _keep_listing(self, client: Client, schedule: RelistSchedule, changed: asyncio.Event) -> None:
        now = asyncio.get_running_loop().time
        checked: Mapping[Digest, int] = {}
        checked_at = now()
        while True:
            schedule.note_listing(now())
            if now() - checked_at >= self._settings.regardless_s:  # a file may have been cut since
                checked, checked_at = {}, now()
            await self._list(client, checked)
            self._connection.note_listed(self.counts)
            checked = self._sizes
            while (wait_s := schedule.due_at - now()) > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await changed.wait()
                        changed.clear()

    async def _list(self, client: Client, checked: Mapping[Digest, int]) -> None:
        """Read what containerd holds now, and hold that.

        Images are listed before content: the content of an image is there before the image.

        Args:
            client: the connection.
            checked: blobs, with their sizes, that opened a short while ago; they are not tried again.
        """
        self._dropped.clear()
        images = await client.images()
        listed: dict[Digest, int] = {}
        refers_to: dict[Digest, tuple[str, ...]] = {}
        with self.sources.listing() as takes:
            async for blobs in client.blobs():
                for blob in blobs:
                    with contextlib.suppress(DigestInvalid):
                        digest = Digest.parse(blob.digest)
                        if takes(digest, blob):
                            listed[digest] = blob.size
                            if blob.refers_to:
                                refers_to[digest] = blob.refers_to
        sizes = {digest: size for digest, size in listed.items() if checked.get(digest) == size}
        fresh = {digest: size for digest, size in listed.items() if digest not in sizes}
        opened, errors = await asyncio.to_thread(self._folder.openable, fresh, dict(self._corrupt))
        kept = {it: fresh[it] for it, error in errors.items() if error.errno in LACKS and it in self._sizes}
        sizes |= opened | kept
        now = asyncio.get_running_loop().time()
        self._failing = {digest: until for digest, until in self._failing.items() if until > now}
        sizes = {digest: sizes[digest] for digest in sizes.keys() - self._dropped - self._failing.keys()}
        self._corrupt = {digest: identity for digest, identity in self._corrupt.items() if digest in listed}
        self._note_readable(bool(sizes), next(iter(errors.values()), None))
        self._become(sizes, tags_of(images, listed))
        self.leases.listed(Trees((image.target for image in images), refers_to, sizes))

    def _drop(self, digest: Digest, error: OSError) -> None:
        """Stop holding a blob that does not open; the next listing tries it again."""
        self._dropped.add(digest)
        if digest not in self._sizes:
            return
        log.debug("containerd content gone digest=%s error=%s", digest, error)
        del self._sizes[digest]
        if self._listener is not None:
            self._listener.vanished({digest.key})

    def _found_corrupt(self, digest: Digest, identity: Identity, what: str) -> None:
        """Withdraw a blob whose file is wrong, until the file is another one."""
        log.warning(
            "containerd's file of %s is damaged: it %s; it is not served, and it is not ours to delete", digest, what
        )
        self._corrupt[digest] = identity
        self._on_damaged()
        self._drop(digest, OSError(errno.EIO, what))

    def _found_failing(self, digest: Digest, error: OSError) -> None:
        """Withdraw a blob that the disk does not give, for a while."""
        if digest in self._sizes:
            log.warning("containerd's file of %s cannot be read, and is not served: %s", digest, error.strerror)
        self._failing[digest] = asyncio.get_running_loop().time() + self._settings.failing_s
        self._drop(digest, error)

    def _become(self, sizes: dict[Digest, int], tags: dict[Reference, Tag]) -> None:
        """Hold this from now on, and report the difference."""
        before, after = _keys(self._sizes, self._tags), _keys(sizes, tags)
        self._sizes, self._tags = sizes, tags
        if self._listener is None:
            return
        if vanished := before - after:
            self._listener.vanished(vanished)
        if appeared := after - before:
            self._listener.appeared(appeared)

    def _note_readable(self, readable: bool, error: OSError | None) -> None:
        """Log once that content cannot be read, and once that it can be read again."""
        if readable and self._unreadable:
            self._unreadable = False
            log.info("containerd content readable again root=%s", self._folder.root)
        elif not readable and error is not None and not self._unreadable and self._folder.is_unreadable(error):
            self._unreadable = True
            log.error(
                "containerd content is not readable, only its tags are served: run with the right to read the folder, "
                "or mount it at the same path root=%s error=%s",
                self._folder.root,
                str(error),
            )


async def _watch(client: Client, schedule: RelistSchedule, changed: asyncio.Event) -> None:
    """Bring the next listing forward at every event. If the stream ends, the connection is lost."""
    now = asyncio.get_running_loop().time
    async for event in client.events():
        log.debug("containerd event topic=%s", event.topic)
        schedule.note_change(now())
        changed.set()
    raise ContainerdError("it closed the stream of events")


def _keys(sizes: Iterable[Digest], tags: Iterable[Reference]) -> set[bytes]:
    """The keys of content and tags."""
    return {digest.key for digest in sizes} | {reference.key for reference in tags}


def _socket_path(address: str) -> Path:
    """Read a path or a URL unix://…; raise ConfigError for anything else."""
    path = address.removeprefix("unix://")
    if not path.startswith("/") or "\0" in path or len(os.fsencode(path)) > _SOCKET_PATH_MAX_BYTES:
        raise ConfigError(
            f"containerd {address[:200]!r} is not the absolute path of a socket, or unix:// and such a path, "
            f"{_SOCKET_PATH_MAX_BYTES} bytes at most"
        )
    return Path(path)
