"""`python odd_agent.py lying agent …`, `… settled agent …`: an agent with one fault.

- `lying`: every part of a blob that it sends to another member has a wrong bit. What it holds, and sends to its own
  clients, is right: only its peer endpoint corrupts.
- `settled`: it serves as a home of a settled cluster after a second instead of half a minute.
"""

import sys
from functools import partial
from typing import Any

import mirror.agent
from mirror.app import PeerEndpoint
from mirror.cli import main
from mirror.settings import RouterSettings, Settings


class LyingEndpoint(PeerEndpoint):
    """Flips the last bit of every part of a blob."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def lie(message: Any) -> None:
            if message["type"] == "http.response.body" and (body := message.get("body")):
                message = {**message, "body": bytes(body[:-1]) + bytes([body[-1] ^ 1])}
            await send(message)

        if "/blobs/" in scope["path"]:
            without_sendfile = {**scope, "extensions": {}}  # which it could not change
            await super().__call__(without_sendfile, receive, lie)
        else:
            await super().__call__(scope, receive, send)


if __name__ == "__main__":
    match sys.argv.pop(1):
        case "lying":
            setattr(mirror.agent, "PeerEndpoint", LyingEndpoint)  # noqa: B010 - it is imported there, not exported
        case "settled":
            settled = partial(Settings, router=RouterSettings(new_for_s=1.0))
            setattr(mirror.agent, "Settings", settled)  # noqa: B010 - it is imported there, not exported
    main()
