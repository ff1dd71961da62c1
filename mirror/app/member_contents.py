"""What other members ask about content as a whole: which images are here, and orders to delete one."""

from dataclasses import asdict
from urllib.parse import parse_qs

from starlette.types import Scope, Send

from ..errors import Denied, DigestInvalid, NotFound, Pinned, Unsupported
from ..images.removal import Removal
from ..oci.digest import Digest
from ..sources.peers.contents import page
from ..sources.peers.protocol import DELETE_PATH, IMAGES_PATH
from .asked import AskedBy
from .images import Images
from .removal import MEANINGS_MAX, parse_target
from .responses import send_json, send_whole

_METHODS = {IMAGES_PATH: ("GET", "HEAD"), DELETE_PATH: ("POST",)}


class MemberContents:
    """Answers other members.

    Args:
        images: tells which images are here.
        removal: deletes them.
    """

    def __init__(self, images: Images, removal: Removal) -> None:
        self._images = images
        self._removal = removal

    async def answer(self, scope: Scope, send: Send, asked_by: AskedBy) -> bool:
        """Answer a question that is one of these; return whether it is.

        Args:
            scope: of the request.
            send: sends the answer.
            asked_by: who asks. Only who is proven may have something deleted: where the cluster has no key, anybody
                could.

        Raises:
            OciError: it is none that is answered.
        """
        methods = _METHODS.get(scope["path"])
        if methods is None:
            return False
        if scope["method"] not in methods:
            raise Unsupported(f"{scope['path']} takes {methods[0]}")
        query = parse_qs(scope["query_string"].decode("latin-1"))
        if scope["path"] == IMAGES_PATH:
            start = query.get("start", ["0"])[0]
            if not start.isdecimal() or len(start) > 9:
                raise NotFound("start is the number of an image")
            await send_whole(scope, send, page(await self._images.held(), int(start)))
            return True
        if not asked_by.is_proven:
            raise Denied("members delete nothing for each other where the cluster has no key: delete on each node")
        try:
            target = parse_target(query.get("q", [""])[0])
        except ValueError as error:
            raise DigestInvalid(str(error)) from None
        meanings = {Digest.parse(text) for text in query.get("digest", ())[:MEANINGS_MAX]}
        try:
            document: dict[str, object] = asdict(await self._removal.delete(target, meanings))
        except Pinned as error:
            document = {"problem": str(error)}
        await send_json(scope, send, 200, document)
        return True
