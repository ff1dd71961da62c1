"""How long a client waits for a registry that lets nobody ask for a moment: a pull that is late is better than none."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from ..errors import RateLimited


async def patiently(answer: Callable[[], Awaitable[None]], patience_s: float, step_s: float) -> None:
    """Answer a request; again as soon as the registry may be asked, if that is within the client's patience.

    Args:
        answer: raises `RateLimited` before it has sent anything, or not at all.
        patience_s: bounds the time until the last try begins, s.
        step_s: shortest time between two tries, s.

    Raises:
        RateLimited: the registry may not be asked within that time. It is raised at once, not at the end of it.
        MirrorError: from `answer`.
    """
    until = time.monotonic() + patience_s
    while True:
        try:
            await answer()
            return
        except RateLimited as error:
            wait_s = max(error.wait_s, step_s)
            if time.monotonic() + wait_s > until:
                raise
        await asyncio.sleep(wait_s)
