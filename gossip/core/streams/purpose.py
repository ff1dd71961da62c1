"""What conversations are about, and how the parts of a node have one opened."""

import enum
from typing import Protocol

from ..membership.member import Address
from ..messages import Message


class Purpose(enum.Enum):
    """What a conversation is about."""

    SYNC = "sync"
    FETCH = "fetch"
    PROBE = "probe"
    MESSAGE = "message"
    KEYS = "keys"


class Dial(Protocol):
    """Has a conversation opened: nothing comes of it if one of the same purpose with that address runs already."""

    def __call__(self, address: Address, purpose: Purpose, *opening: Message) -> None:
        """Open it to that address, with these messages at its beginning."""
        ...
