"""Arrival: how far one blob has come. Its spool changes it; readers look at it and wait for changes."""

import asyncio
from dataclasses import dataclass

from ...errors import MirrorError
from ...oci.ranges import RangeSet
from ..demand import Audience
from .backing import Backing


@dataclass(frozen=True, slots=True)
class Arriving:
    """Bytes are to come, or their digest is to be checked."""


@dataclass(frozen=True, slots=True)
class Complete:
    """All bytes have come, and their digest is right. Where a part of them is held, dropped ones may come once more.

    Args:
        error: what readers get that need dropped bytes; None while these may still come.
    """

    error: MirrorError | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The rest will not come.

    Args:
        error: what readers get when they have read what is present.
    """

    error: MirrorError


State = Arriving | Complete | Failed


class Arrival:
    """The state of one blob, what is present of it and, once the size is known, the file that holds it."""

    def __init__(self) -> None:
        self.state: State = Arriving()
        self.backing: Backing | None = None
        """None until the size is known."""
        self.is_size_confirmed = True
        """Whether more than one member's word says how large the blob is."""
        self.present = RangeSet()
        """Bytes that are in the file, and that readers may have."""
        self._members_refusal: MirrorError | None = None
        self._changed = asyncio.Event()

    @property
    def file(self) -> Backing:
        """The file, for whoever comes after `open`.

        Raises:
            RuntimeError: there is none yet: a mistake in the calling code.
        """
        if self.backing is None:
            raise RuntimeError("the size of the blob is not known yet, so there is no file")
        return self.backing

    @property
    def is_complete(self) -> bool:
        """Whether all bytes have come, and their digest is right."""
        return isinstance(self.state, Complete)

    def open(self, backing: Backing, *, is_size_confirmed: bool) -> None:
        """Take the file, and with it the size."""
        self.backing = backing
        self.is_size_confirmed = is_size_confirmed
        self._notify()

    def become(self, state: State) -> None:
        """Change the state."""
        self.state = state
        self._notify()

    def refuse_members(self, error: MirrorError | None) -> None:
        """Let other members that wait for the size fail with an error, until there is none any more."""
        self._members_refusal = error
        if error is not None:
            self._notify()

    async def opened(self, audience: Audience) -> Backing:
        """Wait until the size is known.

        Raises:
            MirrorError: it never will be; or, for another member, it cannot be found out for members now.
        """
        while self.backing is None:
            if isinstance(self.state, Failed):
                raise self.state.error
            if audience is Audience.MEMBER and self._members_refusal is not None:
                raise self._members_refusal
            await self._changed.wait()
        return self.backing

    async def completed(self) -> None:
        """Wait for the whole blob, verified.

        Raises:
            MirrorError: it does not come.
        """
        while not self.is_complete:
            if isinstance(self.state, Failed):
                raise self.state.error
            await self._changed.wait()

    def _notify(self) -> None:
        """Wake everybody who waits; whoever waits from now on waits for the next change."""
        self._changed.set()
        self._changed = asyncio.Event()
