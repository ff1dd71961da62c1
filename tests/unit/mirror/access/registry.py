"""A registry that shows things to some, for tests of who may have what."""

from collections import Counter
from collections.abc import Callable

from mirror.errors import Reason, UpstreamError, UpstreamUnknown
from mirror.oci.content import Content
from mirror.oci.reference import Repository
from mirror.sources import RangeRequest, Shown, Sink


class FakeRegistry:
    """Shows what it is told to; `shown` says what, by repository, path and authorization."""

    name = "upstream"

    def __init__(self, shown: Callable[[str, str, str | None], Shown]) -> None:
        self.shown = shown
        self.asked: Counter[tuple[str, str, str | None]] = Counter()
        self.own: set[Content] = set()
        """What this node's own credentials show."""
        self.is_down = False

    async def shows(self, repository: Repository, path: str, authorization: str | None) -> Shown:
        self.asked[str(repository), path, authorization] += 1
        if self.is_down:
            raise UpstreamError(Reason.OUTAGE, "it gives no sign of life")
        return self.shown(str(repository), path, authorization)

    async def size(self, content: Content, expected: int | None = None) -> int:
        if self.is_down:
            raise UpstreamError(Reason.OUTAGE, "it gives no sign of life")
        if content not in self.own:
            raise UpstreamUnknown("404")
        return 1

    async def download(self, content: Content, request: RangeRequest, sink: Sink) -> None:
        raise NotImplementedError


class Clock:
    """Seconds that a test lets pass."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now
