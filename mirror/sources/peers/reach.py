"""Whether a member's host is there: its kernel answers even while the member itself is too busy to."""

import asyncio

from ...routers import Peer


async def is_there(peer: Peer) -> bool:
    """Whether a member's host takes or refuses a connection. Waits for as long as the kernel tries."""
    try:
        _, writer = await asyncio.open_connection(peer.host, peer.port)
    except ConnectionRefusedError:
        return True
    except (OSError, ValueError, OverflowError):  # no way leads there; or the host or the port is not valid
        return False
    writer.close()
    return True
