"""The cluster's keys, for the operator of this node: which member has which, and the steps of changing them.

Only clients on this machine are answered, and orders need a header that no page in a browser can send across sites.
Keys go in, never out: answers name them by their ids.
"""

import base64
import ipaddress
import json
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

ORDER_HEADER: Final = "Skvaller-Order"
_BODY_MAX_BYTES: Final = 4096
_KEY_BYTES: Final = 32


class Outcome(Protocol):
    """The keyring of one member after a step."""

    @property
    def ids(self) -> tuple[bytes, ...]:
        """The ids of its keys, the one that seals first."""
        ...

    @property
    def problem(self) -> str:
        """Why the step was not taken; empty if it was."""
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
        key_id: the id of a key.
        refusal: what `keyrings` raise, with a message for people.
    """

    def __init__(self, keyrings: Keyrings, key_id: Callable[[bytes], bytes], refusal: type[Exception]) -> None:
        self._keyrings = keyrings
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
        if not _is_local(request):
            return _refused(403, "keys are shown on the node itself only")
        try:
            return _shown(await self._keyrings.list())
        except self._refusal as error:
            return _refused(409, str(error))

    async def order(self, request: Request) -> Response:
        """A step on all members: install `{"key": base64}`, or `{}` for a new one; use, remove `{"id": hex}`."""
        if not _is_local(request) or ORDER_HEADER not in request.headers:
            return _refused(403, f"keys are changed on the node itself only, with the header {ORDER_HEADER}")
        step = request.path_params["step"]
        try:
            what = await _body(request)
            if step == "install":
                key = _key(what)
                return _shown(await self._keyrings.install(key), self._key_id(key).hex())
            if step not in ("use", "remove"):
                return _refused(404, "the steps are install, use and remove")
            identity = _identity(what)
            outcomes = await (self._keyrings.use if step == "use" else self._keyrings.remove)(identity)
            return _shown(outcomes, identity.hex())
        except ValueError as error:
            return _refused(400, str(error))
        except self._refusal as error:
            return _refused(409, str(error))


def _is_local(request: Request) -> bool:
    return request.client is not None and ipaddress.ip_address(request.client.host).is_loopback


async def _body(request: Request) -> dict[str, Any]:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _BODY_MAX_BYTES:
            raise ValueError(f"the body is longer than {_BODY_MAX_BYTES} bytes")
    try:
        what = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        what = None
    if not isinstance(what, dict):
        raise ValueError("the body must be a JSON object")
    return what


def _key(what: dict[str, Any]) -> bytes:
    if "key" not in what:
        return secrets.token_bytes(_KEY_BYTES)
    try:
        key = base64.b64decode(str(what["key"]), validate=True)
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise ValueError("key must be 32 bytes in base64")
    return key


def _identity(what: dict[str, Any]) -> bytes:
    try:
        identity = bytes.fromhex(str(what.get("id", "")))
    except ValueError:
        identity = b""
    if len(identity) != 4:
        raise ValueError("id must be 8 hex digits, as `skvaller keys list` shows them")
    return identity


def _shown(outcomes: Mapping[str, Outcome], key: str | None = None) -> Response:
    rows = [
        {"member": name, "keys": [identity.hex() for identity in outcome.ids], "problem": outcome.problem}
        for name, outcome in sorted(outcomes.items())
    ]
    return JSONResponse({"key": key, "members": rows} if key else {"members": rows})


def _refused(status: int, why: str) -> Response:
    return JSONResponse({"error": why}, status_code=status)
