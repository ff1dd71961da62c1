"""A look at a registry for people: does it answer, and does it take this node's credential? It pulls nothing."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

from yarl import URL

from ...errors import UpstreamError
from .. import Looked
from .authorizer import Authorizer
from .challenge import Party, parse_challenges
from .registries import Registry
from .transport import Transport

_PROBLEM_MAX: Final = 400
"""Bounds what is shown of what went wrong, in characters."""


class Looking:
    """Looks at registries.

    Args:
        transport: gives the connections of a registry.
        authorizer: answers those that want a token or a password.
    """

    def __init__(self, transport: Callable[[Registry], Transport], authorizer: Authorizer) -> None:
        self._transport = transport
        self._authorizer = authorizer

    async def at(self, urls: Sequence[Registry], within_s: float) -> Sequence[Looked]:
        """Ask each URL of a registry for the version of its API (`GET /v2/`), within so many seconds."""
        return await asyncio.gather(*(self._at(registry, within_s) for registry in urls))

    async def _at(self, registry: Registry, within_s: float) -> Looked:
        origin, began = str(URL(registry.url).origin()), time.monotonic()
        party = Party(registry, registry.url, "", "")
        status, has_login = None, False
        try:
            async with asyncio.timeout(within_s):
                status, challenges = await self._ask(registry, None)
                if status == 401:
                    value = await self._authorizer.authorize(party, parse_challenges(challenges))
                    status, _ = await self._ask(registry, value)
                    has_login = self._authorizer.used_credential(party)
                    if status == 401:
                        self._authorizer.reject(party, value)
        except TimeoutError:
            return Looked(origin, time.monotonic() - began, problem=f"no answer within {within_s:g} s")
        except UpstreamError as error:
            return Looked(origin, time.monotonic() - began, status, problem=str(error)[:_PROBLEM_MAX])
        return Looked(origin, time.monotonic() - began, status, has_login)

    async def _ask(self, registry: Registry, authorization: str | None) -> tuple[int, list[str]]:
        """The status, and the challenges of who wants an authorization."""
        headers = {"Authorization": authorization} if authorization else {}
        answer = await self._transport(registry).send("GET", URL(f"{registry.api}/"), headers)
        answer.release()
        return answer.status, answer.headers.getall("WWW-Authenticate", [])
