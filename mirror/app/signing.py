"""Signs what this node answers in clear text: to members, and to whoever changes the cluster's keys."""

from collections.abc import Awaitable, Callable

from starlette.responses import JSONResponse, Response
from starlette.types import Message, Scope, Send

from ..errors import StaleRequest, Unauthorized
from ..sources.peers.auth import PeerAuth, Proof, Request
from ..sources.peers.protocol import TIME_HEADER, needs_signed_body
from .request import target


def signed_request(scope: Scope, body: bytes = b"") -> Request:
    """What the signature of a request covers."""
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    return Request(scope["method"], target(scope), headers, body)


def signing(send: Send, proof: Proof) -> Send:
    """Send an answer with the proof of its head, and of its body if that is short and comes in one piece.

    The head of any other answer leaves at once, for a member takes it for a sign of life.
    """
    waiting: list[Message] = []

    async def send_signed(message: Message) -> None:
        if message["type"] == "http.response.start":
            if _needs_proof_of_body(message):
                waiting.append(message)
            else:
                await send(_signed(message, proof, None))
            return
        if waiting:
            whole = message["type"] == "http.response.body" and not message.get("more_body")
            await send(_signed(waiting.pop(), proof, message.get("body", b"") if whole else None))
        await send(message)

    return send_signed


def _needs_proof_of_body(start: Message) -> bool:
    return needs_signed_body(start["status"], int(dict(start["headers"]).get(b"content-length", b"0")))


def _signed(start: Message, proof: Proof, body: bytes | None) -> Message:
    """The beginning of an answer, with its proofs."""
    headers = list(start["headers"])
    proofs = [proof.of_head(start["status"], [(name.decode(), value.decode("latin-1")) for name, value in headers])]
    if body is not None:
        proofs.append(proof.of_body(body))
    return {**start, "headers": [*headers, *((name.lower().encode(), value.encode()) for name, value in proofs)]}


class Orders:
    """Checks that orders of the operator are signed with a key of the cluster, and signs what is answered.

    Args:
        auth: of this node.
    """

    def __init__(self, auth: PeerAuth) -> None:
        self._auth = auth

    @property
    def name(self) -> str:
        """Of the node for which orders have to be signed."""
        return self._auth.name

    def unseal(self, sealed: bytes) -> bytes:
        """The secret in an order; raise ValueError if it is not sealed for this node with a key of the cluster."""
        return self._auth.unseal(sealed)

    def check_password(self, password: str) -> None:
        """Raise Unauthorized unless a password was made with a key of the cluster, and is still good."""
        self._auth.check_password(password)

    async def answer(self, scope: Scope, body: bytes, carry_out: Callable[[], Awaitable[Response]]) -> Response:
        """Carry an order out, once, and sign the answer.

        Args:
            scope: of the request.
            body: of the request.
            carry_out: does what is ordered.

        Raises:
            Unauthorized: it is not signed with a key of the cluster.
        """
        proof = self._auth.prove(signed_request(scope, body))
        try:
            self._auth.take(proof)
        except Unauthorized as error:
            response: Response = JSONResponse({"error": str(error)}, status_code=error.status)
            if isinstance(error, StaleRequest):
                response.headers[TIME_HEADER] = str(error.now_unix_s)
        else:
            response = await carry_out()
        head = proof.of_head(response.status_code, response.headers.items())
        response.headers.update(dict((head, proof.of_body(bytes(response.body)))))
        return response
