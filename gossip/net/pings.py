"""The application's own pings, from the question to the answer."""

import asyncio

from ..core.errors import DeliveryError
from ..core.events import Answered


class Pings:
    """Pings that wait for their answers, by number."""

    def __init__(self) -> None:
        self._waiting: dict[int, asyncio.Future[float]] = {}

    async def answer(self, number: int, name: str, timeout_s: float) -> float:
        """Wait for the answer to a ping. Returns the round-trip time, s.

        Args:
            number: of the ping.
            name: of the member that was asked, for the error.
            timeout_s: s.

        Raises:
            DeliveryError: it did not come in time.
        """
        answer: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError:
            raise DeliveryError(f"{name} did not answer within {timeout_s:g} s") from None
        finally:
            self._waiting.pop(number, None)

    def note(self, event: Answered) -> None:
        """A member answered a ping, perhaps one of the failure detector's."""
        answer = self._waiting.pop(event.number, None)
        if answer is not None and not answer.done():
            answer.set_result(event.rtt_s)
