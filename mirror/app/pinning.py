"""What keeps images, as the agent starts, serves and stops it."""

from collections.abc import Mapping, Sequence

from starlette.routing import Route

from ..oci.content import Content
from ..pins.stack import PinStack
from ..settings import PinSettings
from ..sources.peers.protocol import MemberRequest, Want
from .peer import Question
from .pins import PinsEndpoint
from .writers import Writers


class Pinning:
    """The parts that keep images, with what they serve.

    Args:
        me: this node's name.
        stack: the parts.
        writers: say who may order something.
        settings: times.
    """

    def __init__(self, me: str, stack: PinStack, writers: Writers, settings: PinSettings) -> None:
        self.stack = stack
        self._endpoint = PinsEndpoint(me, stack, writers, settings)

    @property
    def routes(self) -> Sequence[Route]:
        """Those of the API."""
        return self._endpoint.routes()

    @property
    def questions(self) -> Mapping[Want, Question]:
        """What members have this node do about images, on its peer endpoint."""
        return pin_questions(self.stack)

    async def close(self) -> None:
        """Give up what is under way."""
        await self._endpoint.close()
        await self.stack.close()


def pin_questions(stack: PinStack) -> Mapping[Want, Question]:
    """The questions about images that the parts which keep images answer: hash a copy, fetch an image."""

    async def hash_copy(content: Content, member: MemberRequest) -> bytes:
        return (await stack.hashes.hash(content.digest)).value

    async def fetch(content: Content, member: MemberRequest) -> bytes:
        image = Content(content.repository, "manifests", content.digest)
        return stack.prefetches.order(image, member.platforms).encode()

    return {Want.HASH: hash_copy, Want.FETCH: fetch}
