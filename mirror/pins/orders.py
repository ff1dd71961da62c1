"""What members have this node do: fetch an image, or hash what it holds. They ask again, and hear how far it is."""

import asyncio
import enum
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import MirrorError, Reason, Refusal
from ..oci.content import Content
from ..oci.digest import Digest
from ..settings import PinSettings
from .composition import Image, Part, Read, compose
from .fetching import Pace

if TYPE_CHECKING:
    from .goals import Key

log = logging.getLogger(__name__)


class Hashed(enum.Enum):
    """What became of the order to hash some content; the value is one byte on the wire."""

    WAIT = b"w"
    """It is not done yet: ask again."""
    RIGHT = b"r"
    WRONG = b"x"
    """There is no right copy here; a wrong one was dropped."""
    UNREADABLE = b"u"
    """The disk does not give it."""


class Hashes:
    """Hashes what this node holds, one blob at a time and at a bounded rate.

    Args:
        verify: hashes every copy of some content, and drops what is wrong; says whether a right one is here.
        size: gives the size of what this node holds, in bytes; 0 if it holds nothing.
        settings: bounds.
    """

    def __init__(
        self, verify: Callable[[Digest], Awaitable[bool]], size: Callable[[Digest], int], settings: PinSettings
    ) -> None:
        self._verify = verify
        self._size = size
        self._settings = settings
        self._turn = asyncio.Lock()
        self._pace = Pace(settings.hash_bytes_per_s)
        self._tasks: dict[Digest, asyncio.Task[Hashed]] = {}
        """Those that run, and those that have ended and nobody has asked for since; the oldest first."""

    async def close(self) -> None:
        """Give up what is under way."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def hash(self, digest: Digest) -> Hashed:
        """Hash some content, or go on with it; wait a while for the outcome, which is given once.

        Raises:
            Refusal: too much is to be hashed already.
        """
        task = self._tasks.get(digest)
        if task is None:
            self._make_room()
            if len(self._tasks) >= self._settings.orders_max:
                raise Refusal(Reason.BUSY, f"{len(self._tasks)} blobs are to be hashed already")
            task = self._tasks[digest] = asyncio.create_task(self._hash(digest))
        await asyncio.wait([task], timeout=self._settings.answer_s)
        if not task.done():
            return Hashed.WAIT
        if self._tasks.get(digest) is task:
            del self._tasks[digest]
        return task.result()

    def _make_room(self) -> None:
        """Forget outcomes, the oldest first: who gave such an order may be gone, and asks no more."""
        ended = [digest for digest, task in self._tasks.items() if task.done()]
        for digest in ended[: max(0, len(self._tasks) + 1 - self._settings.orders_max)]:
            self._tasks.pop(digest).exception()

    async def _hash(self, digest: Digest) -> Hashed:
        async with self._turn:
            await asyncio.sleep(self._pace.wait_s())
            size = self._size(digest)
            try:
                is_right = await self._verify(digest)
            except MirrorError:
                return Hashed.UNREADABLE
            self._pace.moved(size)
            return Hashed.RIGHT if is_right else Hashed.WRONG


class State(enum.Enum):
    """How far an order to fetch an image is; the value is one byte on the wire."""

    RUNS = b"r"
    DONE = b"d"
    FAILED = b"f"


@dataclass(frozen=True, slots=True)
class Fetched:
    """How far an order to fetch an image is.

    Args:
        state: whether it goes on.
        parts: that lack, as far as is known.
        missing_bytes: of these.
        all_bytes: of the whole image, as far as is known.
    """

    state: State
    parts: int
    missing_bytes: int
    all_bytes: int

    def encode(self) -> bytes:
        """One byte, and three unsigned numbers of 4, 8 and 8 bytes, the most significant byte first."""
        numbers = self.parts.to_bytes(4), self.missing_bytes.to_bytes(8), self.all_bytes.to_bytes(8)
        return self.state.value + b"".join(numbers)

    @classmethod
    def decode(cls, body: bytes) -> "Fetched":
        """Read that; raise ValueError if it is something else."""
        numbers = [int.from_bytes(body[start:stop]) for start, stop in ((1, 5), (5, 13), (13, 21))]
        return cls(State(body[:1]), *numbers)


@dataclass(slots=True)
class _Order:
    image: Image
    state: State
    asked_at: float
    task: asyncio.Task[None] | None = None


class Prefetches:
    """Fetches images by order, without pinning them.

    Args:
        get: gives a manifest, from elsewhere if need be.
        fetch: fetches a part into the cache.
        holds: whether this node holds some content.
        settings: bounds.
    """

    def __init__(
        self,
        get: Read,
        fetch: Callable[[Part], Awaitable[None]],
        holds: Callable[[Digest], bool],
        settings: PinSettings,
    ) -> None:
        self._get = get
        self._fetch = fetch
        self._holds = holds
        self._settings = settings
        self._orders: OrderedDict[Key, _Order] = OrderedDict()

    async def close(self) -> None:
        """Give up what is under way."""
        tasks = [order.task for order in self._orders.values() if order.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def order(self, content: Content, platforms: tuple[str, ...]) -> Fetched:
        """Have an image fetched, or go on with it; say how far it is.

        Raises:
            Refusal: too many images are to be fetched already.
        """
        self._forget()
        key = content.digest, platforms
        order = self._orders.get(key)
        if order is None or (order.state is not State.RUNS and not self._is_here(order.image)):
            if sum(it.state is State.RUNS for it in self._orders.values()) >= self._settings.orders_max:
                raise Refusal(Reason.BUSY, f"{self._settings.orders_max} images are to be fetched already")
            if order is not None and order.state is State.FAILED:
                del self._orders[key]  # whoever asked hears of it once
                return self._fetched(order)
            order = self._orders[key] = _Order(Image(()), State.RUNS, time.monotonic())
            order.task = asyncio.create_task(self._run(order, content, platforms))
        order.asked_at = time.monotonic()
        return self._fetched(order)

    def _fetched(self, order: _Order) -> Fetched:
        lacking = [part for part in order.image.parts if not self._holds(part.content.digest)]
        return Fetched(order.state, len(lacking), sum(part.size for part in lacking), order.image.bytes)

    def _is_here(self, image: Image) -> bool:
        return bool(image.parts) and all(self._holds(part.content.digest) for part in image.parts)

    def _forget(self) -> None:
        before = time.monotonic() - self._settings.order_kept_s
        ended = [(key, it) for key, it in self._orders.items() if it.state is not State.RUNS]
        for number, (key, it) in enumerate(ended):
            if it.asked_at < before or number < len(ended) - self._settings.orders_max:
                del self._orders[key]

    async def _run(self, order: _Order, content: Content, platforms: tuple[str, ...]) -> None:
        try:
            order.image = await compose(
                content.repository, content.digest, platforms, self._get, self._settings.parts_max
            )
            lacking = [part for part in order.image.parts if not self._holds(part.content.digest)]
            ends = await asyncio.gather(*map(self._fetch, lacking), return_exceptions=True)
            failures = [str(end) for end in ends if isinstance(end, BaseException)]
            if failures or order.image.unread:
                log.warning(
                    "an image was not fetched digest=%s: %s", content.digest, (*failures, order.image.problem)[0]
                )
            else:
                order.state = State.DONE
        finally:
            if order.state is State.RUNS:
                order.state = State.FAILED
