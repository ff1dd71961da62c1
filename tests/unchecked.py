"""Checks for tests that are not about them: everything may leave."""

from mirror.errors import Corrupt


class Unchecked:
    """Lets all bytes of a file leave, and knows the pieces that a test says."""

    def __init__(self, prefixes: tuple[bytes, ...] | None = None) -> None:
        self._prefixes = prefixes
        self.uses = self.verifications = 0
        self.is_right = True

    async def ready(self, fd: int, start: int, stop: int) -> int:
        return stop

    async def prefixes(self, fd: int) -> tuple[bytes, ...] | None:
        return self._prefixes

    async def verify(self, fd: int) -> None:
        self.verifications += 1
        if not self.is_right:
            raise Corrupt("as the test says")

    def note_use(self, fd: int) -> None:
        self.uses += 1
