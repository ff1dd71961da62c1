"""Pulls: all that one client asks for under one name, until it asks no more for a while.

A runtime asks for a manifest, by a tag or a digest, then for what that names, several at once. Nothing in these
requests says that they belong together, or which is the last. So requests of one client for one repository are one pull
as long as the pause between two of them is at most `pull_quiet_s`. When it has ended, the log has one line of it, and
whoever follows what happens is told.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from types import TracebackType
from typing import Final

from starlette.types import Message, Scope, Send

from ..errors import MirrorError, OciError
from ..events import PullBegan, PullEnded, Tell, nobody
from ..fetch.record import Record
from ..oci.digest import Digest
from ..oci.reference import Reference, Repository
from ..settings import AppSettings
from .progress import CACHE, ClientPull
from .request import RegistryRequest
from .shares import Share, why_upstream
from .zerocopy import EXTENSION

log = logging.getLogger(__name__)

_FETCHES_MAX: Final = 256
"""Bounds the fetches that one pull remembers: an image has up to 130 layers, and one for each platform is rare."""
_SOURCES_MAX: Final = 16
"""Bounds the sources that the line of a pull names; the others are summed up, those that sent least."""
OTHERS: Final = "others"
"""Stands for these: no member may have this name twice, and it is the last of them."""
_FIELDS: Final = (
    " image=%s seconds=%.3f bytes=%d sources=%s upstream_bytes=%d home_bytes=%d why_upstream=%s client=%s requests=%d "
    "failed=%d error=%s"
)
_PULLED: Final = f"a client pulled{_FIELDS}"
_LACKING: Final = f"a client did not get all; `skvaller why` says more{_FIELDS}"
_UNMET_MAX: Final = 16
"""Bounds what a pull remembers that its client has not got: the last of these are as good as all."""
_ERROR_MAX: Final = 300
"""Bounds what a pull keeps of its last error, in characters."""


@dataclass(slots=True)
class Pull:
    """What one client asked for under one name.

    Args:
        repository: the name.
        image: the same with the first tag that was asked for, if there was one.
        client: its IP address; `unix` for one at a Unix socket.
        began_at: monotonic seconds.
        began_unix_s: Unix time.
        ended_at: when the last answer ended, monotonic seconds.
        under_way: requests that are being answered.
        requests: all.
        failed: those that were answered with an error.
        unmet: what the client has not got although it asked for it, each with the last error.
        bytes: of bodies, as far as they were sent.
        held: those that this node held, by store.
        fetches: what brings what it did not hold, by digest.
        has_moved: whether a tag meant something else than a client was told before.
    """

    repository: str
    image: str
    client: str
    began_at: float
    began_unix_s: float
    ended_at: float
    under_way: int = 0
    requests: int = 0
    failed: int = 0
    unmet: dict[Reference | Digest, MirrorError] = field(default_factory=dict)
    bytes: int = 0
    held: dict[str, int] = field(default_factory=dict)
    fetches: dict[str, Share] = field(default_factory=dict)
    has_moved: bool = False

    def fetched(self, record: Record) -> None:
        """Take note of a fetch that brings something of it."""
        if len(self.fetches) < _FETCHES_MAX and record.digest not in self.fetches:
            was_there = record.started_unix_s < self.began_unix_s
            self.fetches[record.digest] = Share(record, dict(record.sources) if was_there else {})

    def miss(self, what: Reference | Digest, error: MirrorError) -> None:
        """Take note that the client does not get something."""
        self.failed += 1
        self.unmet.pop(what, None)
        self.unmet[what] = error
        if len(self.unmet) > _UNMET_MAX:
            del self.unmet[next(iter(self.unmet))]

    @property
    def sources(self) -> Mapping[str, int]:
        """Bytes by where they come from, the most first.

        What this node held counts as it is sent, by the store; what it did not, as it comes here, by the member that
        sends it, or `upstream`.
        """
        count = Counter(self.held)
        for fetch in self.fetches.values():
            count.update(fetch.sources)
            if had := fetch.had:
                count[CACHE] += had
        most = count.most_common()
        sources = dict(most[:_SOURCES_MAX])
        if rest := sum(number for _, number in most[_SOURCES_MAX:]):
            sources[OTHERS] = rest
        return sources

    def end(self, tell: Tell) -> None:
        """Write its line, and tell that it has ended."""
        seconds, error = self.ended_at - self.began_at, next(reversed(self.unmet.values()), None)
        sources, why = self.sources, why_upstream(self.fetches.values(), has_moved=self.has_moved)
        upstream_bytes = sum(share.upstream_bytes for share in self.fetches.values())
        home_bytes = sum(share.home_bytes for share in self.fetches.values())
        shown = ",".join(f"{name}:{count}" for name, count in sources.items())
        is_ours = error is not None and (not isinstance(error, OciError) or error.status >= 500)
        last = "" if error is None else str(error)[:_ERROR_MAX]
        log.log(
            logging.WARNING if is_ours else logging.INFO,
            _PULLED if error is None else _LACKING,
            self.image,
            seconds,
            self.bytes,
            shown,
            upstream_bytes,
            home_bytes,
            why,
            self.client,
            self.requests,
            self.failed,
            last,
        )
        tell(
            PullEnded(
                image=self.image,
                client=self.client,
                seconds=round(seconds, 3),
                requests=self.requests,
                failed=self.failed,
                bytes=self.bytes,
                sources=sources,
                upstream_bytes=upstream_bytes,
                home_bytes=home_bytes,
                why_upstream=why,
                error=last,
            )
        )


class Following:
    """A request that is answered as a part of a pull, within `with`; `send` sends the answer.

    It is in the way of each manifest, so it is no generator: one takes 1.5 µs more.

    Args:
        pull: of the client.
        send: sends a message.
        request: what is answered.
    """

    __slots__ = ("_error", "_held_by", "_is_head", "_send", "_what", "pull")

    def __init__(self, pull: Pull, send: Send, request: RegistryRequest) -> None:
        self.pull = pull
        self._send = send
        self._what = request.what
        self._is_head = request.is_head
        self._held_by = ""
        self._error: MirrorError | None = None

    def __enter__(self) -> "Following":
        self.pull.under_way += 1
        self.pull.requests += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pull = self.pull
        pull.under_way -= 1
        pull.ended_at = time.monotonic()
        error = error or self._error
        if isinstance(error, MirrorError):
            pull.miss(self._what, error)
        elif pull.unmet:
            pull.unmet.pop(self._what, None)

    def held(self, store: str) -> None:
        """Take note that what is sent from now on was here, in a store of that name."""
        self._held_by = store

    def broke(self, error: MirrorError) -> None:
        """Take note that the answer ended before its end."""
        self._error = error

    async def send(self, message: Message) -> None:
        """Send a message, and count what it carries."""
        try:
            await self._send(message)
        except BaseException:  # a client that has all may be gone before that is known here
            self._count(message.get("sent", 0))
            raise
        if not self._is_head:
            kind = message["type"]
            if kind == "http.response.body":
                self._count(len(message.get("body", b"")))
            elif kind == EXTENSION:
                self._count(message["count"])

    def _count(self, count: int) -> None:
        pull = self.pull
        pull.bytes += count
        if self._held_by:
            pull.held[self._held_by] = pull.held.get(self._held_by, 0) + count


class Pulls:
    """Follows the pulls of all clients.

    Args:
        settings: when a pull has ended, and how many are followed.
        tell: told of their begin and end.
    """

    def __init__(self, settings: AppSettings | None = None, tell: Tell = nobody) -> None:
        self._settings = settings or AppSettings()
        self._tell = tell
        self._pulls: dict[tuple[str, Repository], Pull] = {}
        self._look: asyncio.TimerHandle | None = None

    @property
    def going_on(self) -> Collection[Pull]:
        """Those that have not ended, which who looks at them may not change."""
        return self._pulls.values()

    def following(self, scope: Scope, request: RegistryRequest, send: Send) -> Following:
        """Follow a request while it is answered."""
        client = scope["client"][0] if scope.get("client") else "unix"
        pull = self._pulls.get((client, request.repository))
        if pull is None:
            pull = self._begin(client, request)
        elif isinstance(request.what, Reference) and pull.image == pull.repository:
            pull.image = str(request.what)
        return Following(pull, send, request)

    def now(self) -> list[ClientPull]:
        """What is followed, at this moment."""
        now = time.monotonic()
        return [
            ClientPull(
                repository=str(repository),
                image=pull.image,
                client=pull.client,
                seconds=now - pull.began_at,
                held=sum(pull.held.values()),
                is_waiting=pull.under_way > 0,
            )
            for (_, repository), pull in self._pulls.items()
        ]

    def close(self) -> None:
        """Write the lines of all pulls."""
        if self._look is not None:
            self._look.cancel()
        while self._pulls:
            self._pulls.popitem()[1].end(self._tell)

    def _begin(self, client: str, request: RegistryRequest) -> Pull:
        """A pull, which is nobody's business if too many others are under way."""
        now, repository = time.monotonic(), str(request.repository)
        image = str(request.what) if isinstance(request.what, Reference) else repository
        pull = Pull(repository, image, client, now, time.time(), now)
        if len(self._pulls) < self._settings.pulls_max or self._make_room():
            self._pulls[client, request.repository] = pull
            self._tell(PullBegan(image, client))
            if self._look is None:
                self._look = asyncio.get_running_loop().call_later(self._settings.pull_quiet_s, self._end_quiet)
        return pull

    def _make_room(self) -> bool:
        """End the pull that is quiet for longest; return whether there was one."""
        quiet = [(pull.ended_at, key) for key, pull in self._pulls.items() if not pull.under_way]
        if quiet:
            self._pulls.pop(min(quiet, key=itemgetter(0))[1]).end(self._tell)
        return bool(quiet)

    def _end_quiet(self) -> None:
        """End those of which nothing was asked for a while."""
        self._look = None
        before = time.monotonic() - self._settings.pull_quiet_s
        for key, pull in list(self._pulls.items()):
            if not pull.under_way and pull.ended_at <= before:
                self._pulls.pop(key).end(self._tell)
        if self._pulls:
            self._look = asyncio.get_running_loop().call_later(self._settings.pull_quiet_s, self._end_quiet)
