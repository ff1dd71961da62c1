"""How members prove to each other that they hold the cluster key.

A request to a peer endpoint carries an HMAC of its method and target, under a key that is derived from the cluster key.
A request that changes the cluster's keys has its body in the HMAC as well.

This needs no clock and no additional round trip. Whoever overhears a request can send the same request again. That
gives it only bytes that it could overhear anyway; it cannot make any other request.
"""

import hashlib
import hmac
from collections.abc import Iterable, Mapping

from .protocol import AUTH_HEADER


class PeerAuth:
    """Signs and checks requests between members.

    Args:
        keys: the cluster's keys, 32 bytes each, the first for signing; empty if the cluster has none, then nothing is
            signed and everything accepted.
        required: whether unsigned requests are refused. False while a cluster changes from no keys to keys.
    """

    def __init__(self, keys: Iterable[bytes] = (), *, required: bool = True) -> None:
        self._required = required
        self.use(keys)

    def use(self, keys: Iterable[bytes]) -> None:
        """Replace the keys."""
        self._keys = [hmac.digest(key, b"skvaller peer requests", "sha256") for key in keys]

    def sign(self, method: str, target: str, body: bytes = b"") -> dict[str, str]:
        """The headers that prove membership, for a request's method, target (path and query) and body."""
        return {AUTH_HEADER: _mac(self._keys[0], method, target, body)} if self._keys else {}

    def accepts(self, method: str, target: str, headers: Mapping[str, str]) -> bool:
        """Whether a request may be answered; `headers` must find names case-insensitively."""
        if not self._keys or (not self._required and AUTH_HEADER not in headers):
            return True
        return self.proves(method, target, headers)

    def proves(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> bool:
        """Whether the sender of the request has one of the keys; never where there are no keys."""
        given = headers.get(AUTH_HEADER, "").encode()
        return any(hmac.compare_digest(_mac(key, method, target, body).encode(), given) for key in self._keys)


def _mac(key: bytes, method: str, target: str, body: bytes) -> str:
    request = f"{method} {target}".encode() + (b"\n" + body if body else b"")  # no target has a line end
    return hmac.new(key, request, hashlib.sha256).hexdigest()
