"""How members prove to each other that they hold the cluster key where they speak clear text.

A request carries an HMAC, under a key derived from the cluster key, of all that gives it a meaning: method, target,
the name of the member that is meant, time, a nonce, every header of the members' protocol, range and body. So it is
good for one member and one time, and no part of it can be changed.

An answer carries one as well: of the request's nonce, the status, and every header that means something; and another
one of its body, if that is short. So nobody on the path can answer, and an answer is good for its own request alone.
The bytes of a blob are not in it, for their digest is known.

Clocks may differ: a node that is asked at the wrong time says what its time is, in a signed answer, and the asking node
uses that time with it from then on.
"""

import contextlib
import hashlib
import hmac
import math
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ...errors import PeerError, Reason, StaleRequest, Unauthorized
from ...settings import SignatureSettings
from .protocol import AUTH_HEADER, BODY_PROOF_HEADER, PROOF_HEADER, TIME_HEADER

_OURS: Final = "skvaller-"
_PROOFS: Final = frozenset(name.lower() for name in (AUTH_HEADER, PROOF_HEADER, BODY_PROOF_HEADER))
_OF_REQUESTS: Final = frozenset({"range", "if-none-match"})
_OF_ANSWERS: Final = frozenset(
    {"content-length", "content-range", "content-type", "docker-content-digest", "etag", "warning"}
)
"""Headers that mean something, beside those of the members' protocol."""
_NONCE_BYTES: Final = 16
_NONCE: Final = re.compile(f"[0-9a-f]{{{2 * _NONCE_BYTES}}}")
_SEAL_NONCE_BYTES: Final = 12
"""Of AES-GCM. Source: NIST SP 800-38D, section 8.2."""
_STAMP_STEP_S: Final = 0.001
"""The step in which requests tell their time, s."""
_START_S: Final = 0.1
"""Time that a process takes at least from its start to this point, s: what is older was meant for the one before it."""

Headers = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Request:
    """What a request consists of, as far as it means something.

    Args:
        method: of HTTP.
        target: path and query.
        headers: names and values, with one that was sent twice twice.
        body: bytes.
    """

    method: str
    target: str
    headers: Headers = ()
    body: bytes = b""

    def text(self, member: str, stamp: str) -> bytes:
        """What is signed: the same bytes for the same request alone."""
        lines = [f"{self.method} {self.target}", member, stamp, *_covered(self.headers, _OF_REQUESTS)]
        return _encoded(lines, hashlib.sha256(self.body).hexdigest())


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request that was signed, and what its answer is checked with.

    Args:
        member: that is meant.
        stamp: its time and nonce.
        headers: that prove it.
        keys: one of them must have signed the answer; without any, every answer is believed.
        required: whether an answer must be signed.
    """

    member: str
    stamp: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    keys: tuple[bytes, ...] = ()
    required: bool = True

    def check(self, status: int, headers: Headers) -> None:
        """Raise PeerError unless the head of an answer is the member's, and to this request."""
        given = {name.lower(): value for name, value in headers}
        proof = given.get(PROOF_HEADER.lower(), "")
        if self.keys and (proof or self.required):
            self._check(proof, _head(self.stamp, status, given.items()), "answer")

    def check_body(self, headers: Mapping[str, str], body: bytes) -> None:
        """Raise PeerError unless the short body of an answer whose head was checked is the member's as well."""
        proof = headers.get(BODY_PROOF_HEADER, headers.get(BODY_PROOF_HEADER.lower(), ""))
        if self.keys and (proof or self.required):
            self._check(proof, _body(self.stamp, body), "answer's body")

    def _check(self, proof: str, text: bytes, what: str) -> None:
        if not any(hmac.compare_digest(_mac(key, text), proof.encode()) for key in self.keys):
            wrong = "not the one that was signed" if proof else "not signed"
            raise PeerError(Reason.UNPROVEN, f"the {what} of {self.member} is {wrong} with the cluster's key")


@dataclass(frozen=True, slots=True)
class Proof:
    """A request that was found to be a member's, and what its answer is signed with.

    Args:
        stamp: of the request.
        key: the one that signs.
    """

    stamp: str
    key: bytes

    def of_head(self, status: int, headers: Headers) -> tuple[str, str]:
        """The header that proves the head of the answer."""
        return PROOF_HEADER, _mac(self.key, _head(self.stamp, status, headers)).decode()

    def of_body(self, body: bytes) -> tuple[str, str]:
        """The header that proves the body of the answer. It stands in the head, and is no part of what proves that."""
        return BODY_PROOF_HEADER, _mac(self.key, _body(self.stamp, body)).decode()


class PeerAuth:
    """Signs requests and checks those of others, where members speak clear text.

    Args:
        keys: the cluster's keys, 32 bytes each, the first for signing; empty if the cluster has none, then nothing is
            signed and everything accepted.
        name: of this node.
        required: whether unsigned requests are refused. False while a cluster changes from no keys to keys.
        settings: how long a signature is good.
        clock: gives Unix time, s; the monotonic clock moves it on, so that it never jumps.
    """

    def __init__(
        self,
        keys: Iterable[bytes] = (),
        name: str = "",
        *,
        required: bool = True,
        settings: SignatureSettings | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._name = name
        self._required = required
        self._settings = settings = settings or SignatureSettings()
        began = time.time() - time.monotonic()
        self._clock = clock or (lambda: began + time.monotonic())
        self._seen = _Seen(settings, self._clock())
        self._ahead: OrderedDict[str, float] = OrderedDict()
        """By how many seconds members' clocks are ahead of this node's, where they said so."""
        self.use(keys)

    def use(self, keys: Iterable[bytes]) -> None:
        """Replace the keys."""
        keys = tuple(keys)
        self._keys = tuple(hmac.digest(key, b"skvaller questions of members", "sha256") for key in keys)
        self._answer_keys = tuple(hmac.digest(key, b"skvaller answers of members", "sha256") for key in keys)
        self._sealing_keys = tuple(hmac.digest(key, b"skvaller secrets in orders", "sha256") for key in keys)
        self._password_keys = tuple(hmac.digest(key, b"skvaller passwords of clients", "sha256") for key in keys)

    @property
    def name(self) -> str:
        """Of this node."""
        return self._name

    # Of those who ask

    def ask(self, member: str, request: Request) -> SignedRequest:
        """Sign a request to a member; where there is no key, it is not signed, and every answer is believed."""
        if not self._keys:
            return SignedRequest(member)
        now = self._clock() + self._ahead.get(member, 0.0)
        stamp = f"{now:.3f} {secrets.token_hex(_NONCE_BYTES)}"
        proof = _mac(self._keys[0], request.text(member, stamp)).decode()
        return SignedRequest(member, stamp, {AUTH_HEADER: f"{stamp} {proof}"}, self._answer_keys, self._required)

    def learns(self, member: str, status: int, headers: Mapping[str, str]) -> bool:
        """Whether an answer that was checked says that the member's clock differs: then it is worth to ask again."""
        told = _number(headers.get(TIME_HEADER, headers.get(TIME_HEADER.lower(), "")))
        if status != StaleRequest.status or told is None:
            return False
        self._ahead[member] = told - self._clock()
        self._ahead.move_to_end(member)
        while len(self._ahead) > self._settings.members_max:
            self._ahead.popitem(last=False)
        return True

    def seal(self, member: str, secret: bytes) -> bytes:
        """Encrypt a secret for a member with the first key, so that no other program that took its address reads it."""
        nonce = secrets.token_bytes(_SEAL_NONCE_BYTES)
        return nonce + AESGCM(self._sealing_keys[0]).encrypt(nonce, secret, member.encode())

    def password(self, life_s: float) -> str:
        """A password for programs that cannot sign; every node with the same key takes it until its time is over.

        Raises:
            ValueError: there is no key.
        """
        if not self._password_keys:
            raise ValueError("a password is made with a key of the cluster, and there is none")
        until = str(math.ceil(self._clock() + life_s))
        return f"{until}.{_mac(self._password_keys[0], until.encode()).decode()}"

    # Of those who are asked

    def check_password(self, password: str) -> None:
        """Raise Unauthorized unless a password was made with a key of the cluster, and is still good."""
        until, _, proof = password.partition(".")
        if not any(hmac.compare_digest(_mac(key, until.encode()), proof.encode()) for key in self._password_keys):
            raise Unauthorized("the password was not made with a key of this cluster")
        end = _number(until)
        if end is None or end < self._clock():
            raise Unauthorized("the password's time is over, by the clock of this node; `skvaller token` makes another")

    def made(self, password: str) -> bool:
        """Whether a password was made with a key of the cluster, and is still good."""
        try:
            self.check_password(password)
        except Unauthorized:
            return False
        return True

    def unseal(self, sealed: bytes) -> bytes:
        """The secret that was sealed for this node; raise ValueError if none was."""
        nonce, text = sealed[:_SEAL_NONCE_BYTES], sealed[_SEAL_NONCE_BYTES:]
        for key in self._sealing_keys:
            with contextlib.suppress(InvalidTag, ValueError):
                return AESGCM(key).decrypt(nonce, text, self._name.encode())
        raise ValueError("it is not sealed with a key of the cluster for this node")

    def recognise(self, request: Request) -> Proof | None:
        """Find out whether a member has sent a request; `take` comes next.

        Returns:
            What its answer is signed with; None if it is not signed, and needs not be.

        Raises:
            Unauthorized: no member has sent it.
        """
        if not self._keys or (not self._required and not _proofs(request)):
            return None
        return self.prove(request)

    def prove(self, request: Request) -> Proof:
        """The same for a request that must be signed, on the way to keys as well; without keys none can be."""
        proofs = _proofs(request)
        stamp, _, given = (proofs[0] if len(proofs) == 1 else "").rpartition(" ")
        text = request.text(self._name, stamp)
        for key, answer_key in zip(self._keys, self._answer_keys, strict=True):
            if hmac.compare_digest(_mac(key, text), given.encode()):
                return Proof(stamp, answer_key)
        raise Unauthorized("only members of the cluster may ask here: the request is not signed with its key")

    def take(self, proof: Proof) -> None:
        """Take note of a member's request; raise Unauthorized if it was sent before, or is not of now."""
        at, _, nonce = proof.stamp.partition(" ")
        if not _NONCE.fullmatch(nonce):
            raise Unauthorized(f"the nonce of the request must be {2 * _NONCE_BYTES} hex digits")
        self._seen.take(_number(at), nonce, self._clock())


class _Seen:
    """The requests that were answered, so that none is answered twice.

    Args:
        settings: bound how long a question is good, and how many are remembered.
        now_s: Unix time, s. Requests from before are refused, for nobody remembers whether they were answered.
    """

    def __init__(self, settings: SignatureSettings, now_s: float) -> None:
        self._settings = settings
        self._since_s = now_s - _START_S
        self._nonces: OrderedDict[str, float] = OrderedDict()

    def take(self, at_s: float | None, nonce: str, now_s: float) -> None:
        """Take note of a request; raise Unauthorized if it is not of now, or was answered.

        Who is refused for its time is told one that is good. With a full memory, that may be later than now, because
        members whose clocks are ahead have filled it.
        """
        window_s = self._settings.window_s
        if at_s is None or not max(self._since_s, now_s - window_s) <= at_s <= now_s + window_s:
            raise StaleRequest(
                "the request was signed at another time than it is here", max(now_s, self._since_s + _STAMP_STEP_S)
            )
        if nonce in self._nonces:
            raise Unauthorized("the request was answered before: somebody has sent it again")
        self._nonces[nonce] = at_s
        while self._nonces:
            oldest, signed_s = next(iter(self._nonces.items()))
            if signed_s >= now_s - window_s:
                if len(self._nonces) <= self._settings.nonces_max:
                    break
                self._since_s = max(self._since_s, math.nextafter(signed_s, math.inf))
            del self._nonces[oldest]


def _proofs(request: Request) -> list[str]:
    return [value for name, value in request.headers if name.lower() == AUTH_HEADER.lower()]


def _covered(headers: Headers, words: frozenset[str]) -> list[str]:
    """The headers that mean something, as lines in the order of their names."""
    fields = ((name.lower(), value.strip()) for name, value in headers)
    return sorted(
        f"{name}: {value}"
        for name, value in fields
        if name in words or (name.startswith(_OURS) and name not in _PROOFS)
    )


def _head(stamp: str, status: int, headers: Headers) -> bytes:
    return _encoded([stamp, str(status), *_covered(headers, _OF_ANSWERS)], "head")


def _body(stamp: str, body: bytes) -> bytes:
    return _encoded([stamp, hashlib.sha256(body).hexdigest()], "body")


def _encoded(lines: Iterable[str], last: str) -> bytes:
    """Lines as bytes; none of them has a line end, for HTTP has ended it there."""
    return "\n".join([*lines, last]).encode(errors="backslashreplace")


def _mac(key: bytes, text: bytes) -> bytes:
    return hmac.new(key, text, hashlib.sha256).hexdigest().encode()


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
