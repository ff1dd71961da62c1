"""Who asks the peer endpoint, and what answers questions that are not of the distribution API."""

from dataclasses import dataclass
from typing import Protocol

from starlette.types import Scope, Send


@dataclass(frozen=True, slots=True)
class AskedBy:
    """Who asks.

    Args:
        name: of the member; None where the request names none.
        is_proven: whether a key or a certificate proves it.
    """

    name: str | None
    is_proven: bool


class Answers(Protocol):
    """Answers some paths of the peer endpoint."""

    async def answer(self, scope: Scope, send: Send, asked_by: AskedBy) -> bool:
        """Answer a request, if its path is one of these; return whether it is. Raises OciError."""
        ...
