"""Telling systemd that the agent is ready, or is about to stop. Where no systemd listens, nothing happens.

Source: sd_notify(3): a datagram to the Unix socket that NOTIFY_SOCKET names; `@` at its beginning stands for a zero.
"""

import contextlib
import os
import socket
from typing import Final

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"


def tell_systemd(word: str) -> None:
    """Send a word to who started this process, if it wants to hear one."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as there:
        there.sendto(word.encode(), address.replace("@", "\0", 1) if address.startswith("@") else address)
