"""What members have this node do about images, on its peer endpoint: hash a copy, fetch an image."""

from collections.abc import Mapping

from ..oci.content import Content
from ..pins.stack import PinStack
from ..sources.peers.protocol import MemberRequest, Want
from .peer import Question


def pin_questions(stack: PinStack) -> Mapping[Want, Question]:
    """The questions that `PeerEndpoint` has answered by the parts that keep images."""

    async def hash_copy(content: Content, member: MemberRequest) -> bytes:
        return (await stack.hashes.hash(content.digest)).value

    async def fetch(content: Content, member: MemberRequest) -> bytes:
        image = Content(content.repository, "manifests", content.digest)
        return stack.prefetches.order(image, member.platforms).encode()

    return {Want.HASH: hash_copy, Want.FETCH: fetch}
