"""`python odd_agent.py FAULT agent …`: an agent with a fault, or with several that have commas between them.

What it holds, and sends to its own clients, is right: only what it tells other members on its peer endpoint is not.

- `lying`: every part of a blob that it sends has a wrong bit.
- `manifests`: the same for manifests.
- `sizes`: a blob is 4 KiB longer in its words than it is.
- `tags=sha256:…`: each tag that it knows means this digest, and it has checked that just now.
- `settled`: it serves as a home of a settled cluster after a second instead of half a minute.
- `hasty`: it waits for heads of requests for a second, and closes idle connections after two.
- `descriptors=N`: it may have so many descriptors open, and cannot raise the limit.
"""

import re
import resource
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Final

import mirror.agent
import mirror.node
from mirror.app import PeerEndpoint
from mirror.cli import main
from mirror.settings import RouterSettings, ServerSettings, Settings
from mirror.sources.peers.protocol import TAG_AGE_HEADER

_ADDED_BYTES: Final = 4096
"""How much longer a blob is in the words of an agent that lies about sizes, bytes."""

_LIES: Final = ("lying", "manifests", "sizes", "tags")


class LyingEndpoint(PeerEndpoint):
    """Tells other members what is not true."""

    lies: ClassVar[Mapping[str, str]] = {}
    """By name; the value is what follows the name after `=`."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request as the endpoint does, and change what leaves."""
        is_blob = "/blobs/" in scope["path"]
        is_tag = re.search(r"/manifests/[^:]+$", scope["path"]) is not None
        flips = ("lying" if is_blob else "manifests") in self.lies

        async def lie(message: Any) -> None:
            if message["type"] == "http.response.start" and message["status"] < 300:
                headers = list(message["headers"])
                if is_blob and "sizes" in self.lies:
                    headers = [(name, _longer(name, value, scope["method"])) for name, value in headers]
                if is_tag and "tags" in self.lies:
                    headers = [(name, _moved(name, value, self.lies["tags"])) for name, value in headers]
                message = {**message, "headers": headers}
            elif flips and message["type"] == "http.response.body" and (body := message.get("body")):
                message = {**message, "body": bytes(body[:-1]) + bytes([body[-1] ^ 1])}
            await send(message)

        without_sendfile = {**scope, "extensions": {}} if flips else scope  # whose bytes it could not change
        await super().__call__(without_sendfile, receive, lie)


def _longer(name: bytes, value: bytes, method: str) -> bytes:
    """A header's value for a blob that is longer than it is; a body stays as long as its head says."""
    if name == b"content-length" and method == "HEAD":
        return str(int(value) + _ADDED_BYTES).encode()
    if name == b"content-range":
        extent, _, total = value.partition(b"/")
        return extent + b"/" + (str(int(total) + _ADDED_BYTES).encode() if total.isdigit() else total)
    return value


def _moved(name: bytes, value: bytes, digest: str) -> bytes:
    """A header's value for a tag that means another digest as of now."""
    if name == b"docker-content-digest":
        return digest.encode()
    return b"0" if name.lower() == TAG_AGE_HEADER.lower().encode() else value


def _be_odd(faults: Mapping[str, str]) -> None:
    """Give what the agent builds these faults."""
    if lies := {name: value for name, value in faults.items() if name in _LIES}:
        LyingEndpoint.lies = lies
        setattr(mirror.node, "PeerEndpoint", LyingEndpoint)  # noqa: B010 - it is imported there, not exported
    sections: dict[str, Any] = {}
    if "settled" in faults:
        sections["router"] = RouterSettings(new_for_s=1.0)
    if "hasty" in faults:
        sections["server"] = ServerSettings(head_s=1.0, keep_alive_s=2.0)
    if sections:
        setattr(mirror.agent, "Settings", partial(Settings, **sections))  # noqa: B010 - it is imported there
    if "descriptors" in faults:
        count = int(faults["descriptors"])
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))


if __name__ == "__main__":
    _be_odd({name: value for name, _, value in (fault.partition("=") for fault in sys.argv.pop(1).split(","))})
    main()
