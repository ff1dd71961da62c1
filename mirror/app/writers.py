"""Who may change something on this node: push content, pin it, delete it. This is the one place that decides.

A request from this machine may, for whoever can reach its loopback interface or a Unix socket of the agent is let in to
other parts of the machine as well; pages of web sites do not get that far (`origin`). From elsewhere an order of the
API must be signed with a key of the cluster, as members sign.

Programs that push (`docker push`, `skopeo copy`) cannot sign. Whether they may is the operator's to say. From elsewhere
they log in with a password that was made with a key of the cluster, and is good for a time (`skvaller token`).

Source: OCI distribution-spec, "Pushing"; RFC 7617 (Basic).
"""

import base64
import binascii
import enum
import ipaddress
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from ..config import Push
from ..errors import Denied, LoginRequired, Unauthorized, Unsupported
from ..sources import COMMAND_HEADER
from .signing import Orders

_COMMAND = COMMAND_HEADER.lower().encode()
_BODY_MAX_BYTES: Final = 60 * 1024
"""Bounds the body of an order, in bytes; below the bound of the listener for any body."""
_CREDENTIAL_MAX: Final = 1024
"""Bounds what is decoded of credentials, in characters: a password that was made with a key has under 100."""


class _Login(enum.Enum):
    """What a request says of who sends it, by a password."""

    NONE = "no password"
    RIGHT = "a password that was made with a key of the cluster"


class Writers:
    """Decides who may write.

    Args:
        push: who may push with programs of other people.
        orders: checks what is signed with a key of the cluster.
    """

    def __init__(self, push: Push, orders: Orders) -> None:
        self._push = push
        self._orders = orders

    def admit(self, scope: Scope) -> None:
        """Let a request of the distribution API write, or raise.

        Raises:
            Unsupported: nobody may push here.
            Denied: the client may not.
            LoginRequired: it may if it logs in, or its password is none.
        """
        is_command = any(name == _COMMAND for name, _ in scope["headers"])
        if is_from_here(scope) and (is_command or self._push is not Push.OFF):
            return
        if self._push is Push.ANY or self._login(scope) is _Login.RIGHT:
            return
        match self._push:
            case Push.KEY:
                raise LoginRequired("log in to push: any user, and what `skvaller token` prints as the password")
            case Push.LOCAL:
                raise Denied("only clients of the node itself push here (--push local)")
            case _:
                raise Unsupported("nothing is pushed here: this mirror is read-only, unless --push says otherwise")

    def greet(self, scope: Scope) -> None:
        """Answer a client that asks whether it has to log in (`GET /v2/`): that is when some programs find out.

        Raises:
            LoginRequired: those that push from elsewhere do, or the client's password is none.
        """
        if self._push is Push.KEY and not is_from_here(scope) and self._login(scope) is _Login.NONE:
            raise LoginRequired("log in to push: any user, and what `skvaller token` prints as the password")

    async def answer(self, request: Request, carry_out: Callable[[dict[str, Any]], Awaitable[Response]]) -> Response:
        """Carry out an order of the API, `POST` with a JSON object, if who sends it may write.

        Args:
            request: the order. From elsewhere it is signed, is good once, and the answer is signed as well.
            carry_out: does what is ordered. Its ValueError is the sender's fault, and becomes an answer.
        """
        try:
            body = await body_of(request, _BODY_MAX_BYTES)
            order = object_of(body)

            async def carried_out() -> Response:
                try:
                    return await carry_out(order)
                except ValueError as error:
                    return refused(400, str(error))

            if is_from_here(request.scope):
                return await carried_out()
            return await self._orders.answer(request.scope, body, carried_out)
        except Unauthorized:
            return refused(
                401,
                "from another machine an order must be signed with a key of the cluster: name its --key-file",
            )
        except ValueError as error:
            return refused(400, str(error))

    def _login(self, scope: Scope) -> _Login:
        """What a request's password says; raise LoginRequired if it is not one that was made with a key."""
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if not given:
            return _Login.NONE
        try:
            self._orders.check_password(_password(given[0].decode("latin-1")) if len(given) == 1 else "")
        except Unauthorized as error:
            raise LoginRequired(str(error)) from None
        return _Login.RIGHT


def is_from_here(scope: Scope) -> bool:
    """Whether a request comes from this machine: over loopback, or a Unix socket, whose server has no port."""
    server, client = scope.get("server"), scope.get("client")
    if server is not None and server[1] is None:
        return True
    if client is None:
        return False
    address = ipaddress.ip_address(client[0])
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback  # mapped if `listen` is [::]


def refused(status: int, why: str) -> Response:
    """The answer to an order that is not carried out."""
    return JSONResponse({"error": why}, status_code=status)


def _password(credential: str) -> str:
    """The password of an Authorization header; empty if it has none."""
    scheme, _, encoded = credential.partition(" ")
    if scheme.lower() != "basic" or len(encoded) > _CREDENTIAL_MAX:
        return ""
    try:
        return base64.b64decode(encoded.strip(), validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return ""


async def body_of(request: Request, max_bytes: int) -> bytes:
    """The body of an order; raise ValueError if it is longer than a bound, in bytes."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > max_bytes:
            raise ValueError(f"the body is longer than {max_bytes} bytes")
    return body


def object_of(body: bytes) -> dict[str, Any]:
    """The JSON object in an order; an empty body is an empty one. Raise ValueError if it is none."""
    try:
        order = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        order = None
    if not isinstance(order, dict):
        raise ValueError("the body must be a JSON object")
    return order
