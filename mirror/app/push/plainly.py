"""A plain answer to who asks whether something is here before it is pushed: yes or no.

A registry that an agent passes questions on to may say neither: Docker Hub answers 401 for a repository that it does
not have, and others are out. Then it is not here, and who asks may push it; some programs give up at any other answer.
"""

from collections.abc import Callable

from starlette.types import Message, Scope, Send

from ...errors import BlobUnknown, ManifestUnknown
from ..responses import send_error

_NEITHER = (401, 403, 429, 502, 503, 504)
"""What is answered where upstream does not say whether it has something, or does not show it."""


def _is_neither(start: Message) -> bool:
    """Whether an answer says neither. One that asks for credentials says what the client has to do."""
    return start["status"] in _NEITHER and all(name != b"www-authenticate" for name, _ in start["headers"])


class PlainAnswer:
    """Sends the answer to one request.

    Args:
        scope: of the request.
        send: sends a message.
        is_wanted: whether who asks wants yes or no; asked only where the answer is neither.
    """

    def __init__(self, scope: Scope, send: Send, is_wanted: Callable[[], bool]) -> None:
        self._scope = scope
        self._send = send
        self._is_wanted = is_wanted
        self._is_replaced = False

    async def send(self, message: Message) -> None:
        """Send a message of the answer, or of the one in its place."""
        if message["type"] == "http.response.start" and _is_neither(message) and self._is_wanted():
            self._is_replaced = True
            return
        if not self._is_replaced:
            await self._send(message)
        elif not message.get("more_body"):
            what = ManifestUnknown if "/manifests/" in self._scope["path"] else BlobUnknown
            error = what("no member has it, and upstream does not say whether it does: push it, if it is yours")
            await send_error(self._scope, self._send, error)
