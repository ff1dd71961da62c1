"""The cluster's keys, for the operator of this node: which member has which, and the steps of changing them.

Only clients on this machine are answered. An order must be signed with one of the cluster's keys: that a client reaches
this endpoint proves nothing, because every process on the machine can, and a page in a browser too. An order is good
once, and the answer is signed as well. Keys go in, sealed, and never out: answers name a key by its id.
"""

import base64
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..errors import Unauthorized
from .signing import Orders
from .writers import body_of, is_from_here, object_of, refused

_BODY_MAX_BYTES: Final = 4096
"""Bounds the body of an order, which has one key or one id: under 100 bytes."""
_KEY_BYTES: Final = 32
_ID_BYTES: Final = 4


class Outcome(Protocol):
    """The keyring of one member after a step."""

    @property
    def ids(self) -> tuple[bytes, ...]:
        """The ids of its keys; the first one seals."""
        ...

    @property
    def problem(self) -> str:
        """Why the member did not take the step; empty if it did."""
        ...


class Keyrings(Protocol):
    """The keyrings of all members."""

    async def list(self) -> Mapping[str, Outcome]:
        """Who has which keys."""
        ...

    async def install(self, key: bytes) -> Mapping[str, Outcome]:
        """Add a key that opens."""
        ...

    async def use(self, identity: bytes) -> Mapping[str, Outcome]:
        """Seal with an installed key."""
        ...

    async def remove(self, identity: bytes) -> Mapping[str, Outcome]:
        """Drop a key."""
        ...


class KeysEndpoint:
    """The routes about keys.

    Args:
        keyrings: of all members.
        orders: checks that an order is signed with one of the cluster's keys.
        key_file: where this node's keys are. Whoever may read it can sign orders. None: the cluster has no key.
        key_id: gives the id of a key.
        refusal: what `keyrings` raises, with a message for people.
    """

    def __init__(
        self,
        keyrings: Keyrings,
        orders: Orders,
        key_file: Path | None,
        key_id: Callable[[bytes], bytes],
        refusal: tuple[type[Exception], ...],
    ) -> None:
        self._keyrings = keyrings
        self._orders = orders
        self._key_file = key_file
        self._key_id = key_id
        self._refusal = refusal

    def routes(self) -> list[Route]:
        """The routes, for a Starlette application."""
        return [
            Route("/api/v1/keys", self.rings, methods=["GET"]),
            Route("/api/v1/keys/{step}", self.order, methods=["POST"]),
        ]

    async def rings(self, request: Request) -> Response:
        """Who has which keys."""
        if not is_from_here(request.scope):
            return refused(403, "keys are shown on the node itself only: run `skvaller keys` there")
        try:
            return self._shown(await self._keyrings.list())
        except self._refusal as error:
            return refused(409, str(error))

    async def order(self, request: Request) -> Response:
        """Take a step with all members: install `{"key": base64 of it, sealed}`, or `{}`; use, remove `{"id": hex}`."""
        if not is_from_here(request.scope):
            return refused(403, "keys are changed on the node itself only")
        if self._key_file is None:
            return refused(409, "this node has no cluster key: give every node the same one with --key-file first")
        try:
            body = await body_of(request, _BODY_MAX_BYTES)
            step, key_file = request.path_params["step"], self._key_file
            return await self._orders.answer(request.scope, body, lambda: self._take(step, body, key_file))
        except Unauthorized:
            return refused(401, f"the request must be signed with a key of the cluster, as {self._key_file} has")
        except ValueError as error:
            return refused(400, str(error))

    async def _take(self, step: str, body: bytes, key_file: Path) -> Response:
        """Take a step that was ordered by whoever has a key of the cluster."""
        try:
            order = object_of(body)
            match step:
                case "install":
                    return await self._install(order, key_file)
                case "use":
                    return self._shown(await self._keyrings.use(_identity(order)), order["id"])
                case "remove":
                    return self._shown(await self._keyrings.remove(_identity(order)), order["id"])
            return refused(404, "the steps are install, use and remove")
        except ValueError as error:
            return refused(400, str(error))
        except self._refusal as error:
            return refused(409, str(error))

    async def _install(self, order: dict[str, Any], key_file: Path) -> Response:
        if "key" not in order and not is_key_file_replaceable(key_file):
            return refused(409, f"{key_file} cannot be replaced: install a key of which you have a file")
        key = self._key(order)
        await self._keyrings.list()  # raises if keys cannot be sent, before this node's own keyring changes
        return self._shown(await self._keyrings.install(key), self._key_id(key).hex())

    def _key(self, order: dict[str, Any]) -> bytes:
        """The key in an order, or a new one."""
        if "key" not in order:
            return secrets.token_bytes(_KEY_BYTES)
        try:
            key = self._orders.unseal(base64.b64decode(str(order["key"]), validate=True))
        except ValueError:
            key = b""
        if len(key) != _KEY_BYTES:
            raise ValueError("key must be 32 bytes, sealed with a key of the cluster for this node, in base64")
        return key

    def _shown(self, outcomes: Mapping[str, Outcome], key: str | None = None) -> Response:
        rows = [
            {"member": name, "keys": [identity.hex() for identity in outcome.ids], "problem": outcome.problem}
            for name, outcome in sorted(outcomes.items())
        ]
        answer = {
            "name": self._orders.name,
            "key_file": str(self._key_file) if self._key_file else None,
            "members": rows,
        }
        return JSONResponse({"key": key, **answer} if key else answer)


def is_key_file_replaceable(key_file: Path) -> bool:
    """Whether the agent can replace a key file. If not, new keys are lost at its next start."""
    return os.access(key_file.parent, os.W_OK)


def _identity(order: dict[str, Any]) -> bytes:
    try:
        identity = bytes.fromhex(str(order.get("id", "")))
    except ValueError:
        identity = b""
    if len(identity) != _ID_BYTES:
        raise ValueError("id must be 8 hex digits, as `skvaller keys list` shows them")
    return identity
